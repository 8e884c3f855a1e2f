"""The forms of a sheet: the terminal's, Markdown, LaTeX."""

from __future__ import annotations

import re
import textwrap

from ..results.comparison import Comparison
from .notes import notes
from .tables import Table, tables

WIDTH = 120  # of the terminal's paragraphs
SPACE = 2  # between columns, and before the rows of a section
ESCAPES = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
# As wide as it is, or as the text where that is narrower.
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def as_text(found: Comparison) -> str:
    """For the terminal: aligned columns, notes, a line for each warning."""
    parts = ["\n".join(_aligned(table)) for table in tables(found)]
    told = [*notes(found), *(f"warning: {line}" for line in found.warnings)]
    return "\n\n".join([*parts, "\n".join(line for one in told for line in textwrap.wrap(one, WIDTH))]) + "\n"


def _aligned(table: Table) -> list[str]:
    """Columns of equal width; the rows of a section are indented under its head."""
    whole = [row for row in (table.head, *table.rows) if len(row) > 1]
    widths = [max(len(row[at]) for row in whole) for at in range(len(table.head))]
    indent = " " * SPACE if len(whole) <= len(table.rows) else ""
    lines = []
    for row in (table.head, *table.rows):
        if len(row) == 1:
            lines.append(row[0])
            continue
        cells = (
            cell.rjust(width) if at in table.numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append((indent + (" " * SPACE).join(cells)).rstrip())
    return lines


def as_markdown(found: Comparison) -> str:
    """Tables in Markdown, sections in bold, notes as paragraphs, warnings as a list."""
    parts = []
    for table in tables(found):
        rule = ("--:" if at in table.numbers else "---" for at in range(len(table.head)))
        rows = [table.head, tuple(rule)]
        for row in table.rows:
            rows.append((f"**{row[0]}**", *[""] * (len(table.head) - 1)) if len(row) == 1 else row)
        lines = (" | ".join(cell.replace("|", r"\|").replace("+-", "±") for cell in row) for row in rows)
        parts.append("\n".join(f"| {line} |" for line in lines))
    parts += [line.replace("+-", "±") for line in notes(found)]
    parts += ["\n".join(f"- **Warning:** {line}" for line in found.warnings)] if found.warnings else []
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text for LaTeX, with +- and powers like ^2 in its mathematics."""
    plain = "".join(ESCAPES.get(letter, letter) for letter in text)
    return re.sub(r"\\textasciicircum\{\}(\d+)", r"$^{\1}$", plain).replace("+-", r"$\pm$")


def _number(cell: str) -> str:
    """A cell of numbers for LaTeX: a true minus, +- and powers of ten."""
    if not any(letter.isdigit() for letter in cell):
        return cell
    text = re.sub(r"e(-?\d+)", r" \\cdot 10^{\1}", cell)
    for plain, latex in (("+-", r"\pm"), (" (", r"\ ("), (" to ", r"\ \mathrm{to}\ ")):
        text = text.replace(plain, latex)
    return f"${text}$"


def as_latex(found: Comparison) -> str:
    r"""A LaTeX table, notes and warnings below it; it needs `\usepackage{booktabs,graphicx}`."""
    lines = [r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"]
    for table in tables(found):
        width = len(table.head)
        columns = "".join("r" if at in table.numbers else "l" for at in range(width))
        lines += [FITTED, rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
        lines += [" & ".join(escaped(cell) for cell in table.head) + r" \\", r"\midrule"]
        for row in table.rows:
            if len(row) == 1:
                lines.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escaped(row[0])}}}}} \\")
            else:
                cells = (_number(cell) if at in table.numbers else escaped(cell) for at, cell in enumerate(row))
                lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\par\medskip"]
    told = [*notes(found), *(f"Warning: {line}." for line in found.warnings)]
    lines += [r"\begin{minipage}{\linewidth}\footnotesize", *(f"{escaped(line)}\\par" for line in told)]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}"]) + "\n"
