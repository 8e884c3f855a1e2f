"""Planes: the loss over two directions around a point (Li et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ..objective import Objective
from ..results import Plane, Result, Status
from ..resume import Points, Watch
from .adaptive import Refinement
from .courses import Positions
from .directions import Direction, as_direction
from .first_layers import first_layers
from .points import COLUMNS, Measure, columns, of_centre
from .projection import Frame, Marks, Trajectory
from .statistics import batch_of, following, moved_buffers, policy_of, recomputed
from .together import POINTS

VERSION = 2

Directions = tuple[Direction | Tensor, Direction | Tensor]


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
    first, second = (as_direction(direction) for direction in directions)
    asked: dict[str, Any] = {"split": split, "test": test, "bn": bn, "bn_batch": bn_batch}
    shown: dict[str, Any] = {"marks": marks, "trajectory": trajectory}
    given = settings(objective, directions, alphas, betas, **asked, adaptive=adaptive, **shown)
    alpha, beta = np.asarray(alphas, dtype=np.float64), np.asarray(betas, dtype=np.float64)
    frame = Frame(objective.params.double(), *(d.vector.to(objective.device).double() for d in (first, second)))
    fields: dict[str, Any] = {
        **(marks.fields(frame) if marks else {}),
        **(trajectory.fields(frame) if trajectory else {}),
    }
    refinement = None
    if adaptive is not None:
        known = [(0.0, 0.0), *zip(fields.get("mark_alpha", ()), fields.get("mark_beta", ()), strict=True)]
        near = [(_nearest(alpha, a), _nearest(beta, b)) for a, b in known]
        refinement = Refinement((len(alpha), len(beta)), adaptive, near)
    points = Points((len(alpha), len(beta)), COLUMNS)
    points.take_over(partial)

    steps = [following(objective, direction.buffers, given["bn"]) for direction in (first, second)]

    def position(index: int) -> tuple[float, float]:
        row, column = divmod(index, len(beta))
        return float(alpha[row]), float(beta[column])

    def at(index: int) -> Objective:
        a, b = position(index)
        point = objective.at(frame.centre.add(frame.first, alpha=a).add_(frame.second, alpha=b))
        if steps[0] or steps[1]:
            moved = moved_buffers(objective.constants, steps[0], a)
            point = point.with_constants(moved_buffers(moved, steps[1], b))
        return recomputed(point, given["bn_batch"]) if given["bn"] == "recompute" else point

    def build(status: Status) -> Plane:
        measured: dict[str, Any] = dict(columns(points, with_test=test is not None))
        lengths = np.array([float(frame.first.norm()), float(frame.second.norm())])
        return Plane(
            status=status,
            settings=given,
            alpha=alpha,
            beta=beta,
            point_status=points.status.copy(),
            tolerance=adaptive,
            interpolation_error=refinement.error if refinement and status is Status.COMPLETE else None,
            unit_lengths=lengths,
            cosine=float(frame.first @ frame.second) / float(lengths.prod()),
            explained=explained,
            num_samples=objective.num_samples,
            split=split,
            bn=given["bn"],
            direction=dict(made or {}),
            **fields,
            **measured,
        )

    centre = recomputed(objective, given["bn_batch"]) if given["bn"] == "recompute" else objective
    layers = first_layers(objective, (frame.first, frame.second), test)
    within = None if layers is None else lambda index: layers.at(*position(index))
    measure, watching = Measure(at, of_centre(centre), test, within=within), watch or Watch()

    def evaluate(indices: np.ndarray | None) -> None:
        points.evaluate(measure, build, watching, only=indices, group=POINTS[objective.device.type])

    if refinement is None:
        evaluate(None)
    else:
        refinement.run(points, evaluate)
    return build(points.outcome())


def _nearest(positions: np.ndarray, place: float) -> int:
    return int(np.abs(positions - place).argmin())
