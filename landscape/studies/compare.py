"""Two or more minima, or groups of training runs, measured on one footing and held against each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from .. import digest
from ..comparing.pairs import refuse_other_samples
from ..comparing.points import PROBES
from ..errors import UsageError
from ..results import Result, Status
from ..results.comparison import Comparison
from ..vectors import digest_of
from .assembly import assembled, footing_of
from .cells import FOOTING, SLICE, Cell, Cells, Plan, Progress
from .groups import Run, Subject
from .keeping import Attempt
from .measured import Minimum

VERSION = 1
# What a minimum has of its own: batch statistics only where the network takes some.
OWN = ("model", "params", "block", "bn", "bn_batch")


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
    for own in OWN:
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
        **{name: identity[name] for name in OWN},
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
        cells.save = lambda: save(assembled(cells, given, Status.STOPPED, grouped=grouped))
    cells.measure()
    return assembled(cells, given, _ended(cells), grouped=grouped)


def _ended(cells: Cells) -> Status:
    """`non-finite` where a number came out so or a check of products was contradicted, `not converged`, or complete."""
    found = {
        cell["status"] if isinstance(cell, dict) else cell[-1]
        for parts in cells.found.values()
        for by_name in parts.values()
        for name, cell in by_name.items()
        if name not in (FOOTING, SLICE)
    }
    lost = any(not math.isfinite(footing_of(cells, run).loss) for subject in cells.subjects for run in subject.runs)
    if lost or Status.NON_FINITE in found:
        return Status.NON_FINITE
    return Status.NOT_CONVERGED if Status.NOT_CONVERGED in found else Status.COMPLETE


def _held(partial: Result | None) -> dict[str, dict[str, dict[str, Cell]]]:
    """The cells of an earlier attempt, copied."""
    held = partial.cells if isinstance(partial, Comparison) else {}
    return {of: {part: dict(cells) for part, cells in parts.items()} for of, parts in held.items()}
