"""What stands on the page of a comparison, in words that fit, and where: all lengths in points (1/72 inch)."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from ..results.comparison import INVARIANT, NONE, Comparison
from .style import MEASURES, WIDTH

ALL = 72 * WIDTH  # of the page
TEXT, SMALL, LEGEND = 6.5, 6.0, 7.0  # sizes of letters: names, numbers, entries of legends
EDGE = 5.0  # left free at both sides
GAP = 12.0  # between panels
SPACE = 5.0  # between columns of text
NAMES = 130.0  # of the names of rows at most
PER_ROW = 4  # panels at most
HANDLE = 27.0  # of an entry of a legend without its letters
COLUMN, UNIT = 39.0, 45.0  # of a label's values beside the panel of a single pair, and of their units
WHOLE = 1.08  # how much wider letters become where their widths are whole pixels
SHORTER = {"of the Hessian": "of H", "normalised": "norm."}


@dataclass(frozen=True)
class Plan:
    """What a page has: labels as they are shown with what they stand for, rows from above, places of columns."""

    labels: tuple[str, ...]
    key: Sequence[str]
    rows: Sequence[int | str]  # measures by index, and the heads of sections
    names: Sequence[str]  # of the rows
    relations: Sequence[str]  # names
    cells: Sequence[Sequence[str]]  # of the relations, by pair
    left: float  # of panels
    columns: int  # panels in a row
    panel: float  # width
    table: float  # left of the numbers of relations
    pairs: int  # pairs in a row of these

    def pair(self, found: Comparison, k: int, between: str) -> str:
        """Both labels of a pair."""
        return f"{self.labels[found.first[k]]}{between}{self.labels[found.second[k]]}"


def plan(found: Comparison) -> Plan:
    """What fits where: labels are called A, B, ... where they would not fit over a column or beside an axis."""
    rows = _rows(found)
    heads = [isinstance(row, str) for row in rows]
    names = [fitting(_name(found, row), NAMES, bold=head) for row, head in zip(rows, heads, strict=True)]
    relations = [
        fitting(title if unit == "1" else f"{title} ({unit})", NAMES)
        for title, unit in zip(found.relation_titles, found.relation_units, strict=True)
    ]
    widths = [width(name, bold=head) for name, head in zip(names, heads, strict=True)]
    left, table = (EDGE + SPACE + max(column, default=0.0) for column in (widths, map(width, relations)))
    room, count = ALL - left - EDGE, len(found.pairs)
    columns = math.ceil(count / math.ceil(count / PER_ROW))
    panel = room - 2 * COLUMN - UNIT - SPACE if count == 1 else (room - GAP * (columns - 1)) / columns
    cells = _cells(found)
    widest = max((width(cell, SMALL) for column in cells for cell in column), default=0.0)
    labels, key = _labels(found, panel)
    return Plan(
        labels=labels,
        key=key,
        rows=rows,
        names=names,
        relations=relations,
        cells=cells,
        left=left,
        columns=columns,
        panel=panel,
        table=table,
        pairs=min(columns, max(1, int((ALL - EDGE - table + SPACE) // (widest + SPACE)))),
    )


def width(text: str, size: float = TEXT, *, bold: bool = False) -> float:
    """How wide a text is at most."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return WHOLE * text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def fitting(text: str, room: float, size: float = TEXT, *, bold: bool = False) -> str:
    """The text, without its middle where it is wider than `room`."""
    found, kept = text, len(text)
    while kept > 1 and width(found, size, bold=bold) > room:
        kept -= 1
        found = f"{text[: (kept + 1) // 2]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - kept // 2 :]}"
    return found


def in_columns(labels: Sequence[str], room: float, size: float = LEGEND) -> int:
    """How many entries of a legend stand side by side."""
    widths = [HANDLE + width(label, size) for label in labels]
    return len(labels) if sum(widths) <= room else max(1, int(room // max(widths)))


def notes(found: Comparison, key: Sequence[str]) -> list[str]:
    """Lines at the head: what labels stand for, what bars are over, what italics mean."""
    over = [kind for kind in dict.fromkeys(found.over) if kind != NONE]
    parts = [f"bars: {_level(found)} over {', '.join(over)}"] if over else []
    parts += [r"$\it{italic}$: rescaling does not move it"] if INVARIANT in found.scaling else []
    return [*key, "; ".join(parts)] if parts else list(key)


def of_the_pair(found: Comparison) -> str:
    """The head of the table of relations: what their intervals are over."""
    over = "matched runs" if found.groups else "samples"
    bounded = np.isfinite(found.relation_low + found.relation_high).any()
    return f"of the pair ({_level(found)} intervals over {over})" if bounded else "of the pair"


def number(value: float) -> str:
    """Three digits; - where there is no value."""
    return "-" if math.isnan(value) else f"{float(f'{value:.3g}'):g}"


def _level(found: Comparison) -> str:
    return f"{100 * found.level:g} %"


def _rows(found: Comparison) -> list[int | str]:
    rows: list[int | str] = []
    before = ""
    for m, section in enumerate(found.sections):
        rows += [section, m] if section != before else [m]
        before = section
    return rows


def _name(found: Comparison, row: int | str) -> str:
    if isinstance(row, str):
        return row
    name = MEASURES.get(found.measures[row], found.titles[row])
    for long, short in SHORTER.items():
        name = name.replace(long, short)
    return name


def _cells(found: Comparison) -> list[list[str]]:
    ends = (found.relation_value.T, found.relation_low.T, found.relation_high.T)
    return [
        [
            number(value) + (f" [{number(low)}, {number(high)}]" if math.isfinite(low + high) else "")
            for value, low, high in zip(*columns, strict=True)
        ]
        for columns in zip(*ends, strict=True)
    ]


def _labels(found: Comparison, panel: float) -> tuple[tuple[str, ...], list[str]]:
    """The labels as they are shown, and lines that say what they stand for where these are tags."""
    fit = all(width(" - ".join(pair), LEGEND) <= panel for pair in found.pairs)
    fit &= not any(label.startswith("_") for label in found.labels)  # which a legend leaves out
    if len(found.labels) == 2:
        fit &= all(width(label) <= COLUMN for label in found.labels)
    if fit:
        return tuple(map(_plain, found.labels)), []
    letters = string.ascii_uppercase
    tags = tuple(letters if len(found.labels) <= len(letters) else map(str, range(1, len(found.labels) + 1)))
    room, lines = ALL - 4 * EDGE, [""]
    for tag, label in zip(tags, found.labels, strict=False):
        entry = fitting(f"{tag}: {label}", room)
        longer = f"{lines[-1]}    {entry}" if lines[-1] else entry
        lines = [*lines[:-1], longer] if width(longer) <= room else [*lines, entry]
    return tags[: len(found.labels)], list(map(_plain, lines))


def _plain(text: str) -> str:
    """Dollar signs as they are, not as the ends of a formula."""
    return text.replace("$", r"\$")
