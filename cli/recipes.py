"""The flags of a training run, made from the fields of the recipe; what they and a file give together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from landscape.errors import InputError, UsageError
from landscape.specs import parse_arguments

from . import options

if TYPE_CHECKING:
    from landscape.recipe import Recipe

Command = Callable[..., Any]


def _flag(item: dataclasses.Field[Any]) -> Callable[[Command], Command]:
    """The flag of a field. Its default is None: not given."""
    name, about, choices = f"--{item.name.replace('_', '-')}", item.metadata["about"], item.metadata["choices"]
    kind = str(item.type)
    if kind.startswith("Mapping"):
        return click.option(name.removesuffix("s"), item.name, metavar="K=V", multiple=True, help=about, default=None)
    shown = f"{about}{_default(item)}"
    if kind == "bool":
        return click.option(f"{name}/--no-{name[2:]}", item.name, default=None, help=shown)
    if choices:
        return click.option(name, item.name, type=click.Choice(choices), help=shown)
    if kind.startswith("tuple"):
        return click.option(name, item.name, metavar="NUMBERS", callback=_numbers, help=shown)
    if "int | str" in kind:
        return click.option(name, item.name, metavar="INTEGER|full", callback=batch_size, help=shown)
    types: Mapping[str, Any] = {"int": int, "float": float}
    return click.option(name, item.name, type=types.get(kind.removesuffix(" | None"), str), help=shown)


def _default(item: dataclasses.Field[Any]) -> str:
    value = item.default
    if "[default" in item.metadata["about"] or value in (None, False, ()):
        return ""
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else "on" if value is True else str(value)
    return f"  [default: {shown}]"


def _numbers(_context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(number(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option.opts[0]} takes numbers, as 60,120,160, got {text!r}") from error


def number(text: str) -> float:
    """A whole number as an int, another as a float."""
    value = float(text)
    return int(value) if value.is_integer() else value


def batch_size(_context: click.Context, option: click.Parameter, text: str | None) -> int | str | None:
    """The value of a flag for one batch size."""
    return None if text is None else size(option.opts[0], text)


def size(flag: str, text: str) -> int | str:
    """A batch size."""
    try:
        return text if text == "full" else int(text)
    except ValueError as error:
        raise UsageError(f"{flag} takes whole numbers or full, got {text!r}") from error


def flags(*, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """The flag of every field of the recipe but those `without`, and --recipe."""
    from landscape.recipe.recipe import Recipe

    fields = [item for item in dataclasses.fields(Recipe) if item.name not in without]

    def decorate(command: Command) -> Command:
        for item in reversed(fields):
            command = _flag(item)(command)
        return click.option("--recipe", metavar="FILE.toml", help="A recipe; flags override its fields.")(command)

    return decorate


def tracked(command: Command) -> Command:
    """The flags of what is measured along a run."""
    return options.stack(
        click.option(
            "--track",
            multiple=True,
            metavar="MEASURE",
            help="Measure along a run: eigen, sharpness, noise; repeatable.",
        ),
        click.option(
            "--track-every", type=int, default=1, show_default=True, help="Epochs between two measures of --track."
        ),
        click.option(
            "--track-samples", type=int, default=1000, show_default=True, help="Samples that --track measures on."
        ),
    )(command)


def check_tracked(every: int, samples: int) -> None:
    """UsageError where they are not positive."""
    for name, value in {"--track-every": every, "--track-samples": samples}.items():
        if value < 1:
            raise UsageError(f"{name} must be above 0, got {value}")


def recipe_of(file: str | None, given: Mapping[str, Any]) -> Recipe:
    """The recipe of a file and of flags, None among these being those not given; removes no key."""
    from landscape.recipe import from_toml, overridden

    chosen = {name: value for name, value in given.items() if value is not None and value != ()}
    for name in ("model_args", "data_args"):
        if name in chosen:
            chosen[name] = parse_arguments(chosen[name])
    if file is None:
        return overridden({}, chosen)
    fields = from_toml(file)
    try:
        return overridden(fields, chosen)
    except UsageError as error:
        try:
            overridden(fields, {})
        except UsageError as own:
            raise InputError(f"{file}: {own}") from error
        raise  # the flags are at fault
