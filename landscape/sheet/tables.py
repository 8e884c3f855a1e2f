"""The tables of a comparison, cells of plain text that the forms put into theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..results.comparison import NONE, SUBSETS, Comparison

SMALL, LARGE = 1e-3, 1e5  # magnitudes beyond which numbers are written with an exponent
DIGITS = 4  # of a number without an interval; with one, two digits of its half-width
Z95 = 1.96  # standard errors, over 30 probes
EVEN = 0.02  # of the half-width: ends that lie closer to even about the value than two digits can show


@dataclass(frozen=True)
class Table:
    """Cells of text; a row of one cell heads a section. Columns in `numbers` stand to the right."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numbers: frozenset[int]


def number(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """`12.3 +- 1.2`, `12.3 (11.0 to 14.9)` where the interval is uneven, four digits where there is none, `-` for nan.

    The half-width has two digits and the value ends where it does; beyond .001 and 100000 both share one exponent.
    """
    if math.isnan(value):
        return "-"
    bounded = math.isfinite(low + high)
    half = float(f"{(high - low) / 2:.1e}") if bounded else 0.0
    size = max(abs(value), half)
    exponent = math.floor(math.log10(size)) if size and not SMALL <= size < LARGE else 0
    if not half:
        text = f"{value / 10.0**exponent:.{DIGITS}g}" + (" +- 0" if bounded else "")
        return f"({text})e{exponent}" if exponent and bounded else f"{text}e{exponent}" if exponent else text
    places = 1 - math.floor(math.log10(half)) + exponent
    shown, down, up, width = (
        f"{round(one / 10.0**exponent, places):.{max(places, 0)}f}" for one in (value, low, high, half)
    )
    if abs((high + low) / 2 - value) <= EVEN * half:
        text = f"{shown} +- {width}"
        return f"({text})e{exponent}" if exponent else text
    return f"{shown}e{exponent} ({down}e{exponent} to {up}e{exponent})" if exponent else f"{shown} ({down} to {up})"


def tables(found: Comparison) -> list[Table]:
    """The measures with their differences, for more than two labels in a table of their own, and the pairs' own."""
    full = any(math.isfinite(value) for value in found.full.flat)
    mixed = len(set(found.over) - {NONE}) > 1
    marks = [("interval over", tuple("-" if over == NONE else over for over in found.over))] if mixed else []
    every = range(len(found.labels))
    made = [_values(found, [cell for i in every for cell in _of_label(found, i, full)], marks)]
    if len(found.pairs) == 1:
        made = [_values(found, [*(c for i in every for c in _of_label(found, i, full)), *_of_pair(found, 0)], marks)]
    else:
        made.append(_values(found, [cell for k in range(len(found.pairs)) for cell in _of_pair(found, k)], []))
    relations = _relations(found)
    return [*made, relations] if relations.rows else made


def _named(title: str, unit: str) -> str:
    return title if unit == "1" else f"{title} ({unit})"


def _of_label(found: Comparison, i: int, full: bool) -> list[tuple[str, list[str]]]:
    label, rows = found.labels[i], range(len(found.measures))
    cells = [(label, [number(found.value[m, i], found.low[m, i], found.high[m, i]) for m in rows])]
    # a measure without subsets has but one value, which would stand there twice
    error = Z95 * found.full_stderr
    ends = zip(found.full - error, found.full + error, strict=True)
    alls = [
        number(found.full[m, i], low[i], high[i]) if found.over[m] == SUBSETS else ""
        for m, (low, high) in enumerate(ends)
    ]
    return [*cells, (f"{label}, all", alls)] if full and any(alls) else cells


def _of_pair(found: Comparison, k: int) -> list[tuple[str, list[str]]]:
    first, second = found.pairs[k]
    ends = zip(found.difference[:, k], found.difference_low[:, k], found.difference_high[:, k], strict=True)
    verdicts = [found.verdict_text(m, k) for m in range(len(found.measures))]
    return [(f"{first} - {second}", [number(*one) for one in ends]), ("verdict", verdicts)]


def _values(
    found: Comparison, columns: Sequence[tuple[str, list[str]]], marks: Sequence[tuple[str, tuple[str, ...]]]
) -> Table:
    """A table of columns by measure, with a row that heads each section."""
    rows, before = [], ""
    for m, (title, unit, section) in enumerate(zip(found.titles, found.units, found.sections, strict=True)):
        if section != before:
            rows.append((section,))
            before = section
        rows.append((_named(title, unit), *(cells[m] for _, cells in marks), *(cells[m] for _, cells in columns)))
    head = ("", *(name for name, _ in marks), *(name for name, _ in columns))
    begin = 1 + len(marks)
    numbers = frozenset(begin + at for at, (name, _) in enumerate(columns) if name != "verdict")
    return Table(head, rows, numbers)


def _relations(found: Comparison) -> Table:
    head = ("of the pair", *(f"{first}, {second}" for first, second in found.pairs))
    rows: list[tuple[str, ...]] = []
    for r, (title, unit) in enumerate(zip(found.relation_titles, found.relation_units, strict=True)):
        ends = (found.relation_value[r], found.relation_low[r], found.relation_high[r])
        rows.append((_named(title, unit), *(number(*one) for one in zip(*ends, strict=True))))
    return Table(head, rows, frozenset(range(1, len(head))))
