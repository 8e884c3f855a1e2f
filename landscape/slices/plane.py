"""Planes: the loss over two directions around a point (Li et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..objective import Objective
from ..results import Plane, Result, Status
from ..resume import Points, Watch
from ..vectors import digest_of
from .points import COLUMNS, at_points, columns

VERSION = 1

Directions = tuple[Tensor, Tensor]


def settings(
    objective: Objective,
    directions: Directions,
    alphas: Sequence[float],
    betas: Sequence[float],
    *,
    split: str,
    test: Objective | None,
) -> dict[str, Any]:
    """What identifies the result of `plane` with these arguments."""
    return {
        "kind": Plane.kind,
        "version": VERSION,
        "alphas": [float(a) for a in alphas],
        "betas": [float(b) for b in betas],
        "directions": [digest_of({"": direction}) for direction in directions],
        "split": split,
        "test": None if test is None else test.identity["data"],
        **objective.identity,
    }


def plane(
    objective: Objective,
    directions: Directions,
    alphas: Sequence[float],
    betas: Sequence[float],
    *,
    test: Objective | None = None,
    split: str = "train",
    made: Mapping[str, Any] | None = None,
    partial: Result | None = None,
    watch: Watch | None = None,
) -> Plane:
    """Loss and accuracy at w + alpha d1 + beta d2 for every pair of positions.

    Args:
        objective: the objective at the centre.
        directions: two directions (n,), not multiples of each other for a plane worth drawing; their cosine is kept.
        alphas, betas: positions along each; the numbers of both may differ. Rows of the results follow alpha.
        test, split, made, partial, watch: see `line`.

    Costs one forward pass over the samples a point.
    """
    first, second = (direction.to(objective.device).double() for direction in directions)
    alpha, beta = np.asarray(alphas, dtype=np.float64), np.asarray(betas, dtype=np.float64)
    given = settings(objective, directions, alphas, betas, split=split, test=test)
    origin = objective.params.double()
    points = Points((len(alpha), len(beta)), COLUMNS)
    if partial is not None:
        points.take_over(partial)

    def place(index: int) -> Objective:
        row, column = divmod(index, len(beta))
        return objective.at(origin + float(alpha[row]) * first + float(beta[column]) * second)

    def build(status: Status) -> Plane:
        measured: dict[str, Any] = dict(columns(points, with_test=test is not None))
        return Plane(
            status=status,
            settings=given,
            alpha=alpha,
            beta=beta,
            point_status=points.status.copy(),
            unit_lengths=np.array([float(first.norm()), float(second.norm())]),
            cosine=float(first @ second / (first.norm() * second.norm())),
            split=split,
            direction=dict(made or {}),
            **measured,
        )

    points.evaluate(at_points(place, test), build, watch or Watch())
    return build(points.outcome())
