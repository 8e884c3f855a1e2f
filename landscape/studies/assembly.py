"""From the cells of a comparison to its rows: values with their errors, what is to be said of them, the footing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..comparing.pairs import ALPHAS
from ..comparing.points import PROBES, Value
from ..comparing.table import PAIRS, POINTS, PointMeasure
from ..comparison import Footing, Interval, Measured, Relation, compared, mean_interval
from ..results import Array, Status
from ..results.comparison import FUNCTION, INVARIANT, NONE, SEEDS, SUBSETS, Comparison, pair_name
from ..results.comparison import PROBES as OVER_PROBES
from .cells import ALL, FOOTING, SLICE, SLICE_ALPHAS, Cells, of_pair, subset
from .groups import Run, Subject, differing, doubts, matched

NOT_YET = "not measured yet"
LOSSES, PARAMS, NOISE = "loss and accuracy", "params and gradient (raw)", "gradient noise (raw)"
RAW_SHARPNESS, SHARPNESS = "sharpness (raw)", "sharpness (invariant)"
SECTIONS = (LOSSES, PARAMS, RAW_SHARPNESS, SHARPNESS, NOISE)
ENDS = ("eigenvalue-max", "eigenvalue-min")
NUMBER = re.compile(r"[-+]?[0-9]+([.][0-9]*)?(e[-+]?[0-9]+)?")
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


def assembled(cells: Cells, given: Mapping[str, Any], status: Status, *, grouped: bool) -> Comparison:
    """The comparison that the cells make so far: what is not measured yet has no value."""
    plan, subjects = cells.plan, cells.subjects
    names = sorted(plan.measures, key=lambda name: SECTIONS.index(section(POINTS[name])))
    minimum = subjects[0].runs[0].minimum
    tested = None if minimum.test is None else minimum.test.num_samples
    measured = [_grouped(cells, name) if grouped else _single(cells, name) for name in names]
    pairs = [(one, two) for at, one in enumerate(subjects) for two in subjects[at + 1 :]]
    count, parts = minimum.objective.num_samples, max(plan.repeats, 1)
    lines = {name: _lines(cells, pairs, name) for name in ("barrier", "aligned-barrier")}
    slices = _slices(cells)
    return compared(
        [subject.label for subject in subjects],
        measured,
        [_relation(cells, pairs, name) for name in plan.pairs],
        settings=given,
        num_samples=count // parts,
        num_all_samples=count,
        num_test_samples=None if tested is None else tested // parts,
        num_all_test_samples=tested,
        num_subsets=plan.repeats,
        seed=plan.seed,
        groups={s.label: [str(run.minimum.path) for run in s.runs] for s in subjects} if grouped else None,
        footing={subject.label: [footing_of(cells, run) for run in subject.runs] for subject in subjects},
        status=status,
        layers={name: layers for name in plan.pairs if (layers := _layers(cells, pairs, name))},
        matched={pair_name(one.label, two.label): _matched(one, two) for one, two in pairs} if grouped else {},
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
    values = [[one] for one in whole]
    resolution = _resolution(whole)
    value = [_number(one.value) for one in whole]
    errors = [math.nan if one.stderr is None else one.stderr for one in whole]
    known = {"value": value, "error": errors, "freedom": [PROBES - 1.0] * len(runs)}
    if cells.plan.repeats and POINTS[name].of_samples:
        drawn = [
            [cells.value(run, subset(index), name) or Value(None, note=NOT_YET) for index in range(cells.plan.repeats)]
            for run in runs
        ]
        resolution = max(resolution, max(_resolution(parts) for parts in zip(*drawn, strict=True)))
        draws = [np.array([_number(one.value) for one in parts]) for parts in drawn]
        return Measured(
            over=SUBSETS,
            draws=draws,
            **known,
            resolution=resolution,
            reasons={**_told(runs, values), **_told(runs, drawn)},
            unresolved=_unresolved(runs, drawn),
            **_named(name),
        )
    probed = any(one.stderr is not None for one in whole)
    return Measured(
        over=OVER_PROBES if probed else NONE,
        **(known if probed else {"value": value}),
        resolution=resolution,
        reasons=_told(runs, values),
        unresolved=_unresolved(runs, values),
        **_named(name),
    )


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
        reasons=_told(labels, drawn),
        unresolved=_unresolved(labels, drawn),
        **_named(name),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _resolution(values: Sequence[Value]) -> float:
    """What the solver leaves open in the difference of two of these: the two largest of theirs."""
    return sum(sorted(value.resolution for value in values)[-2:])


def _told(labels: Sequence[str], values: Sequence[Sequence[Value]]) -> dict[str, str]:
    """What is to be said of the values of each label, where there is something."""
    told = {label: _noted(own) for label, own in zip(labels, values, strict=True)}
    return {label: note for label, note in told.items() if note}


def _unresolved(labels: Sequence[str], values: Sequence[Sequence[Value]]) -> dict[str, str]:
    """Which labels have values that do not tell them from others, and why."""
    doubtful = [[one for one in own if one.status == Status.NOT_RESOLVED] for own in values]
    return _told(labels, doubtful)


def _noted(values: Sequence[Value]) -> str:
    """What is to be said of some of the values, and of how many of them; what differs in its numbers alone, once."""
    first: dict[str, str] = {}
    for value in values:
        first.setdefault(NUMBER.sub("", value.said), value.said)
    counts = Counter(NUMBER.sub("", value.said) for value in values if value.said)
    return "; ".join(
        first[kind] if len(values) == 1 else f"{first[kind]} ({count} of {len(values)})"
        for kind, count in counts.items()
    )


def _matched(one: Subject, two: Subject) -> str:
    """How many pairs of runs a pair of groups is measured by, and by what they were matched."""
    pairs = matched(one, two)
    seeds = [[None if run.recipe is None else run.recipe.seeds["init"] for run in pair] for pair in pairs]
    alike = all(first is not None and first == second for first, second in seeds)
    how = "of one initial seed each" if alike else "in their order, of different initial seeds"
    left = len(one.runs) + len(two.runs) - 2 * len(pairs)
    rest = f"; {left} run{'' if left == 1 else 's'} without one left out" if left else ""
    return f"{len(pairs)} pair{'' if len(pairs) == 1 else 's'} of runs {how}{rest}"


def _cells_of(cells: Cells, one: Subject, two: Subject, name: str) -> list[dict[str, Any]]:
    """What was measured between the matched runs of two labels."""
    keys = [of_pair(a.name, b.name) for a, b in matched(one, two)]
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
            mean = mean_interval(np.array(numbers))
            alike = len(set(numbers)) == 1  # no spread to make an interval of
            values.append(Interval(mean.value, math.nan, math.nan) if alike else mean)
        notes = {_said(cell) for cell in found if cell["note"]} or (set() if found else {NOT_YET})
        if notes:
            reasons[pair_name(one.label, two.label)] = "; ".join(sorted(notes))
    measure = PAIRS[name]
    return Relation(name=name, values=values, unit=measure.unit, reasons=reasons)


def _said(cell: Mapping[str, Any]) -> str:
    return cell["note"] if cell["status"] == Status.COMPLETE else f"{cell['status']}: {cell['note']}"


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


def footing_of(cells: Cells, run: Run) -> Footing:
    """What the measures of a run stand on."""
    objective = run.minimum.objective
    loss, penalty, norm, curvature = cells.found.get(run.name, {}).get(ALL, {}).get(FOOTING) or [None] * 4
    largest, smallest = ((cells.value(run.name, ALL, name) or Value(None)).value for name in ENDS)
    return Footing(
        weight_decay=None if run.recipe is None else run.recipe.weight_decay,
        architecture=f"{objective.identity['model']} {objective.layout.shapes}",
        num_params=objective.layout.size,
        loss=_number(loss),
        gradient_norm=_number(norm),
        curvature=_number(curvature),
        penalty=_number(penalty),
        largest=_number(largest),
        smallest=_number(smallest),
    )
