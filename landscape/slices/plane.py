"""Planes: the loss over two directions around a point (Li et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..objective import Objective
from ..results import Plane, Result, Status
from ..resume import Points, Watch
from .adaptive import Refinement
from .courses import Positions
from .directions import as_direction
from .ground import Directions, Ground
from .points import COLUMNS, Measure, columns, of_centre
from .projection import Marks, Trajectory
from .statistics import batch_of, policy_of
from .together import POINTS

VERSION = 2


def settings(
    objective: Objective,
    directions: Directions,
    alphas: Positions,
    betas: Positions,
    *,
    split: str = "train",
    test: Objective | None = None,
    bn: str | None = None,
    bn_batch: int | None = None,
    adaptive: float | None = None,
    marks: Marks | None = None,
    trajectory: Trajectory | None = None,
) -> dict[str, Any]:
    """What identifies the result of `plane` with these arguments."""
    policy = plane_policy(objective, directions, bn)
    return {
        "kind": Plane.kind,
        "version": VERSION,
        "alphas": [float(a) for a in alphas],
        "betas": [float(b) for b in betas],
        "directions": [as_direction(direction).identity for direction in directions],
        "split": split,
        "test": None if test is None else test.identity["data"],
        "adaptive": adaptive,
        "marks": None if marks is None else marks.identity,
        "trajectory": None if trajectory is None else list(trajectory.key),
        **objective.identity,
        "bn": policy,
        "bn_batch": objective.bn_batch or batch_of(policy, bn_batch),
    }


def plane_policy(objective: Objective, directions: Directions, bn: str | None) -> str:
    """Batch norm on this plane: what was asked for, else the statistics that move along the directions, if any do."""
    ends = any(bool(as_direction(direction).buffers) for direction in directions)
    return policy_of(objective, bn, default="interpolate" if ends else "eval", ends=ends)


def plane(
    objective: Objective,
    directions: Directions,
    alphas: Positions,
    betas: Positions,
    *,
    test: Objective | None = None,
    split: str = "train",
    bn: str | None = None,
    bn_batch: int | None = None,
    adaptive: float | None = None,
    marks: Marks | None = None,
    trajectory: Trajectory | None = None,
    explained: np.ndarray | None = None,
    made: Mapping[str, Any] | None = None,
    partial: Result | None = None,
    watch: Watch | None = None,
) -> Plane:
    """Loss and accuracy at w + alpha d1 + beta d2 for every pair of positions.

    Args:
        objective: the objective at the centre.
        directions: two directions (n,), not multiples of each other for a plane worth drawing; their cosine is kept.
        alphas, betas: positions along each; the numbers of both may differ. Rows of the results follow alpha.
        bn, bn_batch: see `line`; by default the statistics move along directions between minima (`through_minima`).
        adaptive: evaluate coarse to fine, only where interpolation would err by more than this fraction of the range;
            the other points are interpolated and marked so (see `Refinement`).
        marks, trajectory: minima and runs to be projected onto the plane; kept with the result.
        explained: shares of a trajectory's variance along the two directions.
        test, split, made, partial, watch: see `line`.

    Costs one forward pass over the samples a point (and one over the test split where it is given), two with `bn`
    recompute. Memory does not grow with the number of points. Raises UsageError for wrong `bn` or `adaptive`.
    """
    asked: dict[str, Any] = {"split": split, "test": test, "bn": bn, "bn_batch": bn_batch}
    shown: dict[str, Any] = {"marks": marks, "trajectory": trajectory}
    given = settings(objective, directions, alphas, betas, **asked, adaptive=adaptive, **shown)
    ground = Ground(objective, directions, alphas, betas, given)
    fields = ground.projected(marks, trajectory)
    refinement = None if adaptive is None else Refinement(ground.shape, adaptive, ground.near(fields))
    points = Points(ground.shape, COLUMNS)
    points.take_over(partial)

    def build(status: Status) -> Plane:
        measured: dict[str, Any] = dict(columns(points, with_test=test is not None))
        return Plane(
            status=status,
            settings=given,
            point_status=points.status.copy(),
            tolerance=adaptive,
            interpolation_error=refinement.error if refinement and status is Status.COMPLETE else None,
            explained=explained,
            num_samples=objective.num_samples,
            split=split,
            bn=given["bn"],
            direction=dict(made or {}),
            **ground.fields(),
            **fields,
            **measured,
        )

    measure, watching = (
        Measure(ground.at, of_centre(ground.centre()), test, within=ground.shortcut(test)),
        watch or Watch(),
    )

    def evaluate(indices: np.ndarray | None) -> None:
        points.evaluate(measure, build, watching, only=indices, group=POINTS[objective.device.type])

    if refinement is None:
        evaluate(None)
    else:
        refinement.run(points, evaluate)
    return build(points.outcome())
