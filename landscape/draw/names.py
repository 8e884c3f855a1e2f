"""What slices are called: the axis they run along, and what tells several of one label apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

import numpy as np

from ..results import LayerLines, Line

DIRECTIONS = {
    "random": "random direction",
    "eigen": "eigenvector",
    "gradient": "gradient",
    "file": "direction from a file",
}
CURVES = {"linear": "linear", "sincos": "sin/cos"}
# What of the settings may tell two lines apart, and how it is said.
_SETTINGS = {"l2": "l2 {}", "bn_batch": "bn batch {}", "dtype": "{}", "num_samples": "{} samples"}


def between(found: Line | LayerLines) -> tuple[str, str] | None:
    """The names of the two minima at 0 and 1; None along a direction."""
    ends = found.direction.get("ends", ())
    return (str(ends[0]), str(ends[1])) if len(ends) == 2 else None


def curve_of(found: Line | LayerLines) -> str:
    """How the line goes from one end to the other."""
    return str(found.direction.get("curve") or found.settings.get("curve") or "linear")


def unit_text(length: float, more: str = "") -> str:
    """The length of one unit in brackets; empty where it is not known, as in imported files."""
    parts = [f"unit {length:.3g}"] if np.isfinite(length) else []
    parts += [more] if more else []
    return f" ({', '.join(parts)})" if parts else ""


def alpha_label(found: Line | LayerLines) -> str:
    """What alpha is: which minima it joins and how, or which direction it follows and how long one unit is."""
    ends = between(found)
    if ends is None:
        kind = str(found.direction.get("kind", ""))
        along = f" along the {DIRECTIONS.get(kind, kind)}" if kind else ""
        return r"$\alpha$" + along + (unit_text(found.unit_length) if isinstance(found, Line) else "")
    notes = ["sin/cos curve"] if curve_of(found) == "sincos" else []
    notes += ["after permutation"] if found.direction.get("align") else []
    return rf"$\alpha$ from {ends[0]} to {ends[1]}" + (f" ({', '.join(notes)})" if notes else "")


def alpha_and_policy(found: Line | LayerLines) -> str:
    """The same with the policy of batch norm where it is not that of use, which a single drawing would not show."""
    return alpha_label(found) + (f", bn {found.bn}" if found.bn != "eval" else "")


def line_names(lines: Sequence[Line]) -> list[str]:
    """What tells the lines apart, a name each: only that in which they differ.

    The range of alpha is seen in the drawing; it is named where nothing else makes the names different.
    """
    names: list[list[str]] = [[] for _ in lines]
    for facet in _facets():
        found = [facet(line) for line in lines]
        if len({text for text in found if text is not None}) > 1:
            for parts, text in zip(names, found, strict=True):
                parts.extend([text] if text else [])
    texts = [", ".join(parts) for parts in names]
    if len(set(texts)) < len(texts):
        ranges = [rf"$\alpha$ in [{line.alpha[0]:g}, {line.alpha[-1]:g}]" for line in lines]
        if len(set(ranges)) == 1:
            ranges = [f"{len(line.alpha)} points" for line in lines]
        if len(set(ranges)) > 1:
            texts = [", ".join(part for part in pair if part) for pair in zip(texts, ranges, strict=True)]
    return [
        f"{text} #{texts[: index + 1].count(text)}".strip() if texts.count(text) > 1 else text
        for index, text in enumerate(texts)
    ]


def _facets() -> list[Callable[[Line], str | None]]:
    """The texts of a line, each for one thing in which lines can differ; None where it says nothing about this one."""
    return [
        lambda line: DIRECTIONS.get(_kind(line), _kind(line)) or None,
        _normalisation,
        lambda line: f"seed {line.direction['seed']}" if _kind(line) == "random" and "seed" in line.direction else None,
        lambda line: ", ".join(PurePath(str(path)).stem for path in line.direction.get("files", ())) or None,
        lambda line: CURVES.get(curve_of(line), curve_of(line)),
        lambda line: "after permutation" if line.direction.get("align") else "as trained",
        lambda line: f"bn {line.bn}",
        lambda line: line.split,
        *(lambda line, key=key, form=form: _setting(line, key, form) for key, form in _SETTINGS.items()),
    ]


def _kind(line: Line) -> str:
    return str(line.direction.get("kind", ""))


def _normalisation(line: Line) -> str | None:
    """How the direction was scaled; that one which is no random one is as it came goes without saying."""
    found = line.direction.get("normalize")
    if found is None or (found == "none" and _kind(line) != "random"):
        return None
    scaled = "not normalised" if found == "none" else f"{found}-normalised"
    return f"{scaled}, biases too" if line.direction.get("left out") == "nothing" else scaled


def _setting(line: Line, key: str, form: str) -> str | None:
    value = line.settings.get(key)
    return None if value is None or isinstance(value, (list, Mapping)) else form.format(value)
