"""Courses: where the points of a line lie, along a direction or between two minima."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..objective import Objective
from .directions import Direction, as_direction
from .statistics import following, moved_buffers

CURVES = ("linear", "sincos")

End = Objective | Direction | Tensor
Positions = Sequence[float] | np.ndarray  # (m,), increasing


def refuse_other_objective(start: Objective, end: Objective) -> None:
    """A slice moves the params of one objective: model, data and loss must be the same at all its minima."""
    if end.layout != start.layout or end.identity["model"] != start.identity["model"]:
        raise InputError("the minima are of different models; a slice through both needs the same architecture")
    different = [
        name
        for name in ("data", "loss", "loss_code", "l2", "bn", "bn_batch")
        if end.identity[name] != start.identity[name]
    ]
    if different:
        raise InputError(f"the minima differ in {', '.join(different)}; a slice through both needs one objective")


def positions_of(alphas: Positions, *, between: bool) -> np.ndarray:
    """The positions, with 0 and 1 exactly where the range holds them and both ends are minima."""
    positions = np.asarray(alphas, dtype=np.float64)
    if between and positions.min() <= 0.0 and positions.max() >= 1.0:
        # linspace meets 0 and 1 only to rounding
        near = np.isclose(positions, 0.0, rtol=0, atol=1e-12) | np.isclose(positions, 1.0, rtol=0, atol=1e-12)
        positions = np.union1d(positions[~near], [0.0, 1.0])
    return positions


def course(start: Objective, end: End, policy: str, curve: str = "linear") -> Callable[[float], Objective]:
    """The objective at each position, statistics re-estimated by the caller where that is the policy."""
    if isinstance(end, Objective):
        return _between(start, end, policy, curve)
    direction, origin = as_direction(end), start.params.double()
    vector, steps = direction.vector.to(origin), following(start, direction.buffers, policy)

    def along(alpha: float) -> Objective:
        point = start.at(origin + alpha * vector)
        return point.with_constants(moved_buffers(start.constants, steps, alpha)) if steps else point

    return along


def _coefficients(alpha: float, curve: str) -> tuple[float, float]:
    """Weights of the two ends; exactly (1, 0) and (0, 1) at them."""
    if curve == "linear" or alpha in (0.0, 1.0):
        return 1 - alpha, alpha
    return math.cos(math.pi * alpha / 2), math.sin(math.pi * alpha / 2)


def _between(start: Objective, end: Objective, policy: str, curve: str) -> Callable[[float], Objective]:
    """Points between two objectives; of their buffers the statistics move by the policy, all others always."""
    # params outside the block that moves stay those of the start
    outside = {name: tensor for name, tensor in start.constants.items() if name not in start.penalised}
    moving = following(start, outside, policy)

    def mixed(a: Tensor, b: Tensor, weights: tuple[float, float]) -> Tensor:
        if not a.is_floating_point():
            return a
        # Not a + alpha (b - a): this form gives b itself at alpha = 1.
        return (weights[0] * a.double() + weights[1] * b.double()).to(a.dtype)

    def place(alpha: float) -> Objective:
        weights = _coefficients(alpha, curve)
        point = start.at(mixed(start.params, end.params, weights))
        return point.with_constants(
            {**start.constants, **{name: mixed(a, end.constants[name], weights) for name, a in moving.items()}}
        )

    return place
