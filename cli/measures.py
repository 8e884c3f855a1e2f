"""What `landscape sharpness` prints: the table of measures, one result in full, several as rows, controls."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from landscape.errors import InputError, LandscapeError, NumericalError, ResourceError, one_line
from landscape.measures import MEASURES, Measure, unresolved

from .computing import counted, emit, fields_of, present, tell, verdict

if TYPE_CHECKING:
    from landscape.results import Sharpness

WORST_FIRST = ("out of resources", "non-finite", "refused", "not converged", "not resolved")
INVARIANCES = ("layers", "batch norm", "units", "loss")


@dataclass(frozen=True)
class Entry:
    """One measure at one minimum, or why there is none; the same at rescaled copies, by their factors."""

    measure: str
    label: str
    result: Any = None
    provenance: Mapping[str, Any] | None = None
    error: LandscapeError | None = None
    test: Mapping[str, float] | None = None
    copies: tuple[tuple[float, Entry], ...] = ()

    def with_test(self, test: Mapping[str, float]) -> Entry:
        """With loss and accuracy on the test split."""
        return replace(self, test=test)

    def with_copies(self, copies: Sequence[tuple[float, Entry]]) -> Entry:
        """With the same measure at rescaled copies."""
        return replace(self, copies=tuple(copies))

    @property
    def status(self) -> str:
        """That of the result, or what kept it from being one."""
        if self.error is None:
            return str(self.result.status)
        known = {InputError: "refused", ResourceError: "out of resources"}
        return getattr(self.error, "status", known.get(type(self.error), "non-finite"))

    @property
    def value(self) -> float:
        return float("nan") if self.result is None else self.result.value

    def control(self) -> dict[str, Any] | None:
        """Whether the copies have another value, and whether they should."""
        if not self.copies:
            return None
        from landscape.studies.control import as_expected, moved

        found = {
            alpha: None if self.result is None or copy.result is None else moved(self.result, copy.result)
            for alpha, copy in self.copies
        }
        stays = MEASURES[self.measure].invariances.layers
        return {
            "copies": [
                {"alpha": a, "value": copy.value, "status": copy.status, "moved": found[a]} for a, copy in self.copies
            ],
            "expected": "stays" if stays else "moves",
            "as_expected": as_expected(stays, list(found.values())),
        }

    def as_json(self) -> dict[str, Any]:
        """The object of this entry."""
        if self.result is None:
            assert self.error is not None
            shown = {"kind": "sharpness", "status": self.status, "measure": self.measure, "label": self.label}
            return shown | {"error": one_line(self.error), **getattr(self.error, "computed", {})}
        control = self.control()
        more = {**(self.test or {}), **({} if control is None else {"control": control})}
        return {"label": self.label, **fields_of(self.result), **more, "provenance": self.provenance}


def listing(as_json: bool) -> int:
    """Prints the table of measures."""
    if as_json:
        rows = [
            {
                "name": m.name,
                "formula": m.formula,
                "source": m.source,
                "unit": m.unit,
                "gradient_passes": m.cost,
                "invariances": dict(zip(INVARIANCES, m.invariances.marks(), strict=True)),
                "known": m.known,
                "options": dict(m.options),
            }
            for m in MEASURES.values()
        ]
        origin = {"command": ["landscape", *sys.argv[1:]]}
        emit({"kind": "measures", "status": "complete", "label": None, "measures": rows, "provenance": origin})
        return 0
    for measure in MEASURES.values():
        for line in _described(measure):
            click.echo(line)
    click.echo("Costs are in gradient passes over the samples. Invariant under: layers, factors of whole ReLU layers;")
    click.echo("batch norm, the scale of weights before it (--bn batch); units, a factor of its own for each hidden")
    click.echo("unit; loss, a factor in the loss. `landscape sharpness --control` tries the first.")
    return 0


def _described(measure: Measure) -> list[str]:
    held = [name for name, mark in zip(INVARIANCES, measure.invariances.marks(), strict=True) if mark == "yes"]
    defaults = ", ".join(f"--{_flag(name)} {_default(value)}" for name, value in measure.options.items())
    parts = {
        "source": measure.source,
        "unit": measure.unit,
        "cost": measure.cost,
        "invariant": ", ".join(held) or "under none of the four",
        "known": measure.known,
        "options": defaults or "none",
    }
    lines = [measure.name, *textwrap.wrap(measure.formula, 100, initial_indent="    ", subsequent_indent="        ")]
    for name, text in parts.items():
        lines += textwrap.wrap(text, 100, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12)
    return [*lines, ""]


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _default(value: Any) -> str:
    if isinstance(value, Mapping):
        return " or ".join(f"{number:g} (norm {norm})" for norm, number in value.items())
    return {None: "all", False: "off"}.get(value, str(value))


def present_all(found: Sequence[Entry], as_json: bool) -> int:
    """Prints one result in full, or several as rows; the exit code is the worst of theirs."""
    if len(found) == 1 and found[0].error is None and not found[0].copies:
        entry = found[0]
        assert entry.provenance is not None
        text, why = _in_full(entry.result), unresolved(entry.measure)
        return present(entry.result, entry.label, entry.provenance, text, as_json, entry.test, why)
    if as_json:
        _emit_all(found)
    else:
        for line in [*_rows(found), *_tests(found), *_controls(found)]:
            click.echo(line)
    return max(_code(part) for entry in found for part in (entry, *(copy for _, copy in entry.copies)))


def _emit_all(found: Sequence[Entry]) -> None:
    states = {entry.status for entry in found}
    worst = next((s for s in WORST_FIRST if s in states), "complete")
    labels = {entry.label for entry in found}
    emit(
        {
            "kind": "sharpness",
            "status": worst,
            "label": labels.pop() if len(labels) == 1 else None,
            "results": [entry.as_json() for entry in found],
            "provenance": {"command": ["landscape", *sys.argv[1:]]},
        }
    )


def _code(entry: Entry) -> int:
    """The exit code of an entry, whose trouble is told."""
    if entry.error is not None:
        tell(f"landscape: {entry.label}: {entry.measure}: {one_line(entry.error)}")
        return entry.error.exit_code
    assert entry.provenance is not None
    code = verdict(entry.result, f"{entry.label}: {entry.measure}", entry.provenance, unresolved(entry.measure))
    control = entry.control()
    if control is not None and control["as_expected"] is False:
        tell(f"landscape: {entry.label}: {entry.measure} {control['expected']} under rescaling, but here it does not")
        code = max(code, NumericalError.exit_code)
    return code


def _in_full(result: Sharpness) -> list[str]:
    """A result in a few lines."""
    notes = [f"{name} {value:g}" for name, value in (("epsilon", result.epsilon), ("rho", result.rho)) if value]
    notes += [f"norm {result.norm}"] if result.norm else []
    if result.measure == "keskar":
        notes.append("full space" if result.space == "full" else f"{result.law} subspaces of {result.dimension}")
    notes += [f"batches of {result.m}"] if result.m else []
    notes += [f"layer {result.layer}"] if result.layer else []
    error = "" if result.stderr is None else f" +- {result.stderr:.2g}"
    unit = "" if result.unit("value") == "1" else f" {result.unit('value')}"
    lines = [f"{result.measure} {result.value:.6g}{error}{unit}" + (f"   ({', '.join(notes)})" if notes else "")]
    if result.std is not None:
        lines.append(f"standard deviation {result.std:.3g} over {counted(result.repeats or 0, 'repeat')}")
    lines += [f"  {name.replace('_', ' ')} {_shown(value)}" for name, value in (result.parts or {}).items()]
    if (result.parts or {}).get("decrement", 0.0) > 1:
        lines.append(
            "  no minimum of loss and penalty, which the evidence is about: a step of Newton gains the decrement"
        )
    highest = "" if result.max_loss is None else f" -> {result.max_loss:.6g}"
    lines.append(f"loss {result.loss:.6g}{highest} over {result.num_samples} samples{_effort(result)}")
    if result.space == "random" and result.num_params < 10_000:
        lines.append("below 10,000 params a random subspace gives more than the full space: its law decides")
    return lines


def _shown(value: Any) -> str:
    """A part of a measure, which may be a number, a name or nothing."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def _on_box(result: Sharpness) -> str:
    """How many of the coordinates ended on the box: their number where the share would be shown as 0."""
    assert result.on_boundary is not None
    share, size = result.on_boundary, result.num_params
    if result.space == "random":
        size = (result.dimension or 0) * (result.repeats or 0)
    if 0 < share < 0.0005:
        return f"{counted(max(1, round(share * size)), 'coordinate')} of {size} on the box"
    return f"{share:.1%} of the coordinates on the box"


def _effort(result: Sharpness) -> str:
    notes = [] if result.iterations is None else [counted(result.iterations, "iteration")]
    notes += [] if result.num_evaluations is None else [counted(result.num_evaluations, "evaluation")]
    notes += [] if result.num_matvecs is None else [counted(result.num_matvecs, "product")]
    notes += [] if result.on_boundary is None else [_on_box(result)]
    notes += [] if result.gap is None else [f"{result.gap:.2g} of the rise left to first order"]
    notes += ["started off centre"] if result.displaced_start else []
    return f"; {', '.join(notes)}" if notes else ""


def _rows(found: Sequence[Entry]) -> list[str]:
    """Several results as a table."""
    rows = [("label", "measure", "value", "+-", "unit", "loss", "status")]
    for entry in found:
        r = entry.result
        if r is None:
            rows.append((entry.label, entry.measure, "-", "", "", "", entry.status))
        else:
            error = "" if r.stderr is None else f"{r.stderr:.2g}"
            rows.append(
                (entry.label, entry.measure, f"{r.value:.6g}", error, r.unit("value"), f"{r.loss:.4g}", str(r.status))
            )
    return _aligned(rows)


def _tests(found: Sequence[Entry]) -> list[str]:
    """Loss and accuracy on the test split of each minimum, where they were asked for."""
    lines = []
    for label, test in {entry.label: entry.test for entry in found if entry.test}.items():
        lines.append(f"{label}: " + ", ".join(f"{name.replace('_', ' ')} {value:.6g}" for name, value in test.items()))
    return lines


def _controls(found: Sequence[Entry]) -> list[str]:
    """What rescaled copies have, beside what they should."""
    if not any(entry.copies for entry in found):
        return []
    alphas = [f"x {alpha:g}" for alpha, _ in found[0].copies]
    rows = [("label", "measure", "value", *alphas, "expected", "found")]
    for entry in found:
        control = entry.control()
        assert control is not None
        values = [f"{copy['value']:.6g}" for copy in control["copies"]]
        outcome = {True: "as expected", False: "NOT as expected", None: "not known"}[control["as_expected"]]
        rows.append((entry.label, entry.measure, f"{entry.value:.6g}", *values, control["expected"], outcome))
    head = "The same function with the outputs of each ReLU layer rescaled:"
    return ["", head, *_aligned(rows)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
