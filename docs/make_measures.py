"""Writes docs/measures.md from the table of measures. `make docs` runs it; a test compares file and table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.measures import MEASURES, Measure

TARGET = Path(__file__).with_name("measures.md")
INTRODUCTION = """\
# Measures of sharpness

Written by `make docs` from `landscape/measures/`; do not edit. `landscape sharpness --list` prints the same, and
[concepts.md](concepts.md#sharpness) says how each is computed and when it misleads.

`w` are the params (n of them), `L` the mean loss over N samples, `g` its gradient, `H` its Hessian. A cost is in
gradient passes over the samples. A measure is invariant under

- **layers**: factors of whole ReLU layers, divided out in the next (Dinh et al. 2017);
- **batch norm**: the scale of weights that batch norm on batch statistics undoes;
- **units**: a factor of its own for each hidden unit, divided out in the next layer;
- **loss**: a factor in the loss.

The first three leave the network's function as it is, so a measure that they move cannot by itself say which of two
networks generalises better. `landscape sharpness --control` tries the first on the network at hand.

| measure | layers | batch norm | units | loss | unit | cost |
|---|---|---|---|---|---|---|
"""


def render() -> str:
    """The page."""
    rows = [
        f"| [`{m.name}`](#{m.name}) | {' | '.join(m.invariances.marks())} | {m.unit} | {m.cost} |"
        for m in MEASURES.values()
    ]
    return INTRODUCTION + "\n".join([*rows, "", *(_section(m) for m in MEASURES.values())])


def _section(measure: Measure) -> str:
    options = "; ".join(f"`--{key.replace('_', '-')}` {_default(value)}" for key, value in measure.options.items())
    lines = [
        f"## {measure.name}",
        "",
        f"    {measure.formula}",
        "",
        f"- Source: {measure.source}.",
        f"- Known: {measure.known}.",
        f"- Options and their defaults: {options or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    if isinstance(value, Mapping):
        return " or ".join(f"{number:g} (norm {norm})" for norm, number in value.items())
    return {None: "all samples", False: "off"}.get(value, str(value))


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
