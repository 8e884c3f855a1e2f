"""Two or more minima, or groups of training runs, measured on one footing and held against each other."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import digest
from ..comparing.pairs import ALPHAS, refuse_other_samples
from ..comparing.points import PROBES, Value
from ..comparing.table import PAIRS, POINTS, PointMeasure
from ..comparison import Footing, Interval, Measured, Relation, compared, mean_interval
from ..errors import UsageError
from ..results import Array, Result, Status
from ..results.comparison import FUNCTION, INVARIANT, NONE, SEEDS, SUBSETS, Comparison, pair_name
from ..results.comparison import PROBES as OVER_PROBES
from ..vectors import digest_of
from .cells import ALL, FOOTING, SLICE, SLICE_ALPHAS, Cell, Cells, Plan, Progress, of_pair, subset
from .groups import Run, Subject, differing, doubts
from .keeping import Attempt
from .measured import Minimum

VERSION = 1
NOT_YET = "not measured yet"

LOSSES, PARAMS, NOISE = "loss and accuracy", "params and gradient (raw)", "gradient noise (raw)"
RAW_SHARPNESS, SHARPNESS = "sharpness (raw)", "sharpness (invariant)"
SECTIONS = (LOSSES, PARAMS, RAW_SHARPNESS, SHARPNESS, NOISE)
OF_PARAMS = ("param-norm", "distance", "gradient-norm")


def section(measure: PointMeasure) -> str:
    """The part of the sheet that a measure stands in."""
    if measure.kind == FUNCTION:
        return LOSSES
    if measure.name in OF_PARAMS:
        return PARAMS
    if measure.name == "noise-scale":
        return NOISE
    return SHARPNESS if measure.kind == INVARIANT else RAW_SHARPNESS


def refuse(subjects: Sequence[Subject], plan: Plan) -> None:
    """UsageError for less than two labels, or repeats with groups; InputError for runs over other samples."""
    if len(subjects) < 2:
        raise UsageError(f"a comparison takes 2 minima or groups at least, got {len(subjects)}")
    if plan.repeats and any(len(subject.runs) > 1 for subject in subjects):
        raise UsageError("the intervals of groups are over their seeds; leave out --repeats")
    if plan.repeats == 1 or plan.repeats < 0:
        raise UsageError(f"intervals take 2 disjoint subsets at least (or 0: none), got {plan.repeats}")
    cells = Cells(plan, subjects)
    points = list(cells.points.values())
    for other in points[1:]:
        refuse_other_samples(points[0], other)


def settings(subjects: Sequence[Subject], plan: Plan, *, grouped: bool) -> dict[str, Any]:
    """What identifies a comparison: the minima by content, where they began, what is measured and on what."""
    minima = [run.minimum for subject in subjects for run in subject.runs]
    common = dict(minima[0].objective.identity)
    for own in ("model", "params", "block"):
        common.pop(own)
    test = minima[0].test
    return {
        "kind": Comparison.kind,
        "version": VERSION,
        "measures": list(plan.measures),
        "pairs": list(plan.pairs),
        "repeats": plan.repeats,
        "seed": plan.seed,
        "probes": PROBES,
        "grouped": grouped,
        "minima": [[subject.label, [_identity(run) for run in subject.runs]] for subject in subjects],
        "test": None if test is None else test.identity["data"],
        **common,
    }


def _identity(run: Run) -> dict[str, Any]:
    identity = run.minimum.objective.identity
    return {
        **{name: identity[name] for name in ("model", "params", "block")},
        "start": None if run.start is None else digest_of({"": run.start}),
        "recipe": None if run.recipe is None else digest.of_settings(dataclasses.asdict(run.recipe)),
    }


def minima_of(subjects: Sequence[Subject]) -> list[Minimum]:
    """Every minimum that is measured."""
    return [run.minimum for subject in subjects for run in subject.runs]


def compare(
    subjects: Sequence[Subject],
    plan: Plan,
    *,
    grouped: bool = False,
    attempt: Attempt | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measures of each minimum and of each pair, with intervals, verdicts and what is not on equal footing.

    Without groups intervals are over `plan.repeats` disjoint subsets of the samples, the same for every label, or over
    probes where there are none; with groups over their runs. All is drawn from `plan.seed`: the same probes, subsets
    and directions at every minimum. Goes on from the part that an attempt holds. Costs what the table of measures says
    at each minimum, about as much again for subsets. Raises what `refuse` does; Stopped, with the part saved.
    """
    refuse(subjects, plan)
    attempt = attempt or Attempt()
    cells = Cells(plan, subjects, _held(attempt.partial), stop=attempt.stop, progress=progress)
    given = settings(subjects, plan, grouped=grouped)
    save = attempt.save
    if save is not None:
        cells.save = lambda: save(_assembled(cells, given, Status.STOPPED, grouped=grouped))
    cells.measure()
    finite = all(_footing(cells, run).loss == _footing(cells, run).loss for s in subjects for run in s.runs)
    return _assembled(cells, given, Status.COMPLETE if finite else Status.NON_FINITE, grouped=grouped)


def _held(partial: Result | None) -> dict[str, dict[str, dict[str, Cell]]]:
    """The cells of an earlier attempt, copied."""
    held = partial.cells if isinstance(partial, Comparison) else {}
    return {of: {part: dict(cells) for part, cells in parts.items()} for of, parts in held.items()}


def _assembled(cells: Cells, given: Mapping[str, Any], status: Status, *, grouped: bool) -> Comparison:
    plan, subjects = cells.plan, cells.subjects
    names = sorted(plan.measures, key=lambda name: SECTIONS.index(section(POINTS[name])))
    objective = subjects[0].runs[0].minimum.objective
    measured = [_grouped(cells, name) if grouped else _single(cells, name) for name in names]
    pairs = [(one, two) for at, one in enumerate(subjects) for two in subjects[at + 1 :]]
    count = objective.num_samples
    lines = {name: _lines(cells, pairs, name) for name in ("barrier", "aligned-barrier")}
    slices = _slices(cells)
    return compared(
        [subject.label for subject in subjects],
        measured,
        [_relation(cells, pairs, name) for name in plan.pairs],
        settings=given,
        num_samples=count // plan.repeats if plan.repeats else count,
        num_all_samples=count,
        num_subsets=plan.repeats,
        seed=plan.seed,
        groups={s.label: [str(run.minimum.path) for run in s.runs] for s in subjects} if grouped else None,
        footing={subject.label: [_footing(cells, run) for run in subject.runs] for subject in subjects},
        status=status,
        layers={name: layers for name in plan.pairs if (layers := _layers(cells, pairs, name))},
        differing=differing(subjects),
        warnings=tuple(doubts(subjects)),
        alpha=None if slices is None else SLICE_ALPHAS,
        slice_loss=slices,
        t=None if lines["barrier"] is None and lines["aligned-barrier"] is None else ALPHAS,
        between_loss=lines["barrier"],
        aligned_loss=lines["aligned-barrier"],
        cells={of: dict(parts) for of, parts in cells.found.items()},
    )


def _named(name: str) -> dict[str, Any]:
    measure = POINTS[name]
    return {"name": name, "unit": measure.unit, "section": section(measure), "scaling": measure.kind}


def _single(cells: Cells, name: str) -> Measured:
    """A measure of checkpoints: over subsets of the samples, else over probes, else a number alone."""
    runs = [subject.runs[0].name for subject in cells.subjects]
    whole = [cells.value(run, ALL, name) or Value(None, note=NOT_YET) for run in runs]
    reasons = {run: value.note for run, value in zip(runs, whole, strict=True) if value.note}
    resolution = _resolution(whole)
    value = [_number(one.value) for one in whole]
    if cells.plan.repeats and POINTS[name].of_samples:
        drawn = [
            [cells.value(run, subset(index), name) or Value(None, note=NOT_YET) for index in range(cells.plan.repeats)]
            for run in runs
        ]
        reasons |= {run: _noted(parts) for run, parts in zip(runs, drawn, strict=True) if _noted(parts)}
        resolution = max(resolution, max(_resolution(parts) for parts in zip(*drawn, strict=True)))
        draws = [np.array([_number(one.value) for one in parts]) for parts in drawn]
        return Measured(over=SUBSETS, draws=draws, value=value, resolution=resolution, reasons=reasons, **_named(name))
    if all(one.stderr is not None for one in whole if one.value is not None) and any(
        one.value is not None for one in whole
    ):
        errors = [math.nan if one.stderr is None else one.stderr for one in whole]
        freedom = [PROBES - 1.0] * len(runs)
        return Measured(
            over=OVER_PROBES,
            value=value,
            error=errors,
            freedom=freedom,
            resolution=resolution,
            reasons=reasons,
            **_named(name),
        )
    return Measured(over=NONE, value=value, resolution=resolution, reasons=reasons, **_named(name))


def _grouped(cells: Cells, name: str) -> Measured:
    """A measure of groups: over their runs, each on all samples."""
    drawn = [
        [cells.value(run.name, ALL, name) or Value(None, note=NOT_YET) for run in subject.runs]
        for subject in cells.subjects
    ]
    labels = [subject.label for subject in cells.subjects]
    return Measured(
        over=SEEDS,
        draws=[np.array([_number(one.value) for one in values]) for values in drawn],
        resolution=max(_resolution(values) for values in drawn),
        reasons={label: _noted(values) for label, values in zip(labels, drawn, strict=True) if _noted(values)},
        **_named(name),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _resolution(values: Sequence[Value]) -> float:
    """What the solver leaves open in the difference of two of these: the two largest of theirs."""
    return sum(sorted(value.resolution for value in values)[-2:])


def _noted(values: Sequence[Value]) -> str:
    """What is to be said of some of the values, and of how many of them."""
    counts = Counter(value.note for value in values if value.note)
    return "; ".join(
        note if len(values) == 1 else f"{note} ({count} of {len(values)})" for note, count in counts.items()
    )


def _cells_of(cells: Cells, one: Subject, two: Subject, name: str) -> list[dict[str, Any]]:
    """What was measured between the matched runs of two labels."""
    keys = [of_pair(a.name, b.name) for a, b in zip(one.runs, two.runs, strict=False)]
    found = [cells.found.get(key, {}).get(ALL, {}).get(name) for key in keys]
    return [cell for cell in found if cell is not None]


def _relation(cells: Cells, pairs: Sequence[tuple[Subject, Subject]], name: str) -> Relation:
    """A measure of each pair: of groups the mean over matched runs, with its interval."""
    values, reasons = [], {}
    for one, two in pairs:
        found = _cells_of(cells, one, two, name)
        numbers = [_number(cell["value"]) for cell in found]
        if len(found) == 1 and math.isfinite(numbers[0]):
            values.append(Interval(numbers[0], _number(found[0]["low"]), _number(found[0]["high"])))
        else:
            values.append(mean_interval(np.array(numbers)))
        notes = {cell["note"] for cell in found if cell["note"]} or (set() if found else {NOT_YET})
        if notes:
            reasons[pair_name(one.label, two.label)] = "; ".join(sorted(notes))
    measure = PAIRS[name]
    return Relation(name=name, values=values, unit=measure.unit, reasons=reasons)


def _layers(cells: Cells, pairs: Sequence[tuple[Subject, Subject]], name: str) -> dict[str, dict[str, float]]:
    """By pair the values of each layer, of groups their means over matched runs."""
    found = {}
    for one, two in pairs:
        by_layer = [cell["layers"] for cell in _cells_of(cells, one, two, name) if cell["layers"]]
        if by_layer:
            means = {layer: np.mean([_number(own[layer]) for own in by_layer]) for layer in by_layer[0]}
            found[pair_name(one.label, two.label)] = {layer: float(mean) for layer, mean in means.items()}
    return found


def _lines(cells: Cells, pairs: Sequence[tuple[Subject, Subject]], name: str) -> Array | None:
    """The losses of the lines behind a barrier, (pair, t), nan where there is none."""
    rows, any_there = [], False
    for one, two in pairs:
        found = [cell["line"] for cell in _cells_of(cells, one, two, name) if cell["line"]]
        any_there = any_there or bool(found)
        rows.append(np.array(found, dtype=float).mean(axis=0) if found else np.full(len(ALPHAS), np.nan))
    return np.array(rows) if any_there else None


def _slices(cells: Cells) -> Array | None:
    """The losses along the random direction, (label, alpha), nan where they are not measured yet."""
    rows = []
    for subject in cells.subjects:
        found = [cells.found.get(run.name, {}).get(ALL, {}).get(SLICE) for run in subject.runs]
        there = [one for one in found if one]
        rows.append(np.array(there, dtype=float).mean(axis=0) if there else np.full(len(SLICE_ALPHAS), np.nan))
    return np.array(rows) if any(np.isfinite(row).any() for row in rows) else None


def _footing(cells: Cells, run: Run) -> Footing:
    objective = run.minimum.objective
    loss, norm, curvature = cells.found.get(run.name, {}).get(ALL, {}).get(FOOTING) or (None, None, None)
    return Footing(
        weight_decay=None if run.recipe is None else run.recipe.weight_decay,
        architecture=f"{objective.identity['model']} {objective.layout.shapes}",
        num_params=objective.layout.size,
        loss=_number(loss),
        gradient_norm=_number(norm),
        curvature=_number(curvature),
    )
