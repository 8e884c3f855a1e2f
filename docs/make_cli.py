"""Writes docs/cli.md from the --help of every command. `make docs` runs it; a test compares file and commands."""

from __future__ import annotations

from pathlib import Path

import click
from landscape_cli.main import COMMANDS, group

WIDTH = 100  # columns, fixed so that the terminal has no say
TARGET = Path(__file__).with_name("cli.md")
HEADER = """\
# Commands

Written by `make docs` from the commands' own help; do not edit.
Exit codes: 0 done, 1 a bug, 2 usage, 3 input refused, 4 numerical, 5 resources, 6 stopped and resumable,
130 or 143 killed by a signal."""


def render() -> str:
    """The text of docs/cli.md."""
    root = click.Context(group, info_name="landscape", terminal_width=WIDTH, **group.context_settings)
    sections = [HEADER, _section("landscape", root)]
    for name in COMMANDS:
        command = group.get_command(root, name)
        assert command is not None
        sections.append(_section(f"landscape {name}", click.Context(command, parent=root, info_name=name)))
    return "\n\n".join(sections) + "\n"


def _section(title: str, context: click.Context) -> str:
    lines = [line.rstrip() for line in context.get_help().splitlines()]
    return "\n".join([f"## {title}", "", "```text", *lines, "```"])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
