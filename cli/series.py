"""What `landscape sharpness --against` does: series over many checkpoints, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from landscape.measures import unresolved

from .computing import bar, counted, emit, fields_of, tell, verdict

if TYPE_CHECKING:
    from landscape.results import SharpnessSeries
    from landscape.store import Store
    from landscape.studies.measured import Request

Found = tuple[str, Any, Mapping[str, Any]]  # label, series, provenance
STATES = {1: "", 2: "not finite", 3: "not converged", 4: "the run diverged", 5: "not resolved"}


def over(
    what: str,
    paths: Sequence[str],
    measures: Sequence[str],
    given: Mapping[str, Any],
    asked: Request,
    store: Store | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Measures, stores and prints each series; the exit code is the worst of theirs.

    `given` are the options asked for; each measure takes those that it knows.
    """
    from landscape.studies.keeping import Keeper
    from landscape.studies.rows import plans
    from landscape.studies.series import measure_series

    planned = plans(paths, what, asked.labels)
    keeper = Keeper(store, ["landscape", *sys.argv[1:]], overwrite=overwrite, say=tell)
    found: list[Found] = []
    for plan in planned:
        if plan.missing:
            tell(f"{plan.label}: {counted(plan.missing, 'run')} of the sweep not trained yet, left out")
        for name in measures:
            with bar(f"{plan.label}, {name}", len(plan.rows)) as update:
                series, origin = measure_series(plan, asked, keeper, name, progress=update, **given)
            found.append((plan.label, series, origin))
    if as_json:
        _emit(found)
    else:
        for label, series, _ in found:
            for line in _text(label, series):
                click.echo(line)
    return max(
        verdict(series, f"{label}: {series.measure}", origin, unresolved(series.measure))
        for label, series, origin in found
    )


def _emit(found: Sequence[Found]) -> None:
    objects = [{"label": label, **fields_of(series), "provenance": origin} for label, series, origin in found]
    if len(objects) == 1:
        emit(objects[0])
        return
    states = {str(series.status) for _, series, _ in found}
    worst = next((state for state in ("non-finite", "not converged", "not resolved") if state in states), "complete")
    origin = {"command": ["landscape", *sys.argv[1:]]}
    emit({"kind": objects[0]["kind"], "status": worst, "label": None, "results": objects, "provenance": origin})


def _text(label: str, series: SharpnessSeries) -> list[str]:
    """A line for each checkpoint."""
    options = ", ".join(f"{name} {value}" for name, value in series.options.items() if value is not None)
    unit = "" if series.unit("value") == "1" else f", {series.unit('value')}"
    head = f"{label}: {series.measure}{unit}" + (f"   ({options})" if options else "")
    rows: list[tuple[str, ...]] = [
        ("checkpoint", series.against.replace("-", " "), "value", "+-", "loss", "test accuracy", "status")
    ]
    for i in sorted(range(len(series.names)), key=lambda i: (series.position[i], series.names[i])):
        name = series.names[i]
        error = series.stderr[i] or float("nan")  # exact values have none
        numbers = [_number(column) for column in (series.value[i], error, series.loss[i])]
        accuracy = _number(100 * series.test_accuracy[i])
        rows.append((name, f"{series.position[i]:g}", *numbers, accuracy, STATES[int(series.run_status[i])]))
    kept = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [head, *("  ".join(row[i].ljust(widths[i]) for i in kept).rstrip() for row in rows), ""]


def _number(value: float) -> str:
    return f"{value:.4g}" if value == value else ""
