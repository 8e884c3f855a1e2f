"""Lines: the loss along a direction, or between two minima (Goodfellow et al. 2015; Keskar et al. 2017, fig. 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import InputError, UsageError
from ..execution import has_batch_norm
from ..objective import Objective
from ..results import Line, Result, Status
from ..resume import Points, Watch
from ..vectors import digest_of
from .points import COLUMNS, at_points, columns

VERSION = 1


def settings(
    start: Objective,
    end: Objective | Tensor,
    alphas: Sequence[float],
    *,
    split: str,
    test: Objective | None,
    bn: str | None = None,
) -> dict[str, Any]:
    """What identifies the result of `line` with these arguments."""
    other = {"direction": digest_of({"": end})} if isinstance(end, Tensor) else {"end": end.identity}
    return {
        "kind": Line.kind,
        "version": VERSION,
        "alphas": list(_positions(alphas, between=not isinstance(end, Tensor))),
        "split": split,
        "test": None if test is None else test.identity["data"],
        **other,
        **start.identity,
        "bn": _policy(start, end, bn),
    }


def _policy(start: Objective, end: Objective | Tensor, bn: str | None) -> str:
    """Batch norm on this line: what was asked for, else what gives both ends their own statistics."""
    if bn is not None and bn not in ("eval", "interpolate"):
        raise UsageError(f"bn on a line must be eval or interpolate, got {bn!r}; batch is set on the Objective")
    if start.bn == "batch" or not has_batch_norm(start.model):
        return start.bn
    return bn or ("eval" if isinstance(end, Tensor) else "interpolate")


def line(
    start: Objective,
    end: Objective | Tensor,
    alphas: Sequence[float],
    *,
    test: Objective | None = None,
    split: str = "train",
    bn: str | None = None,
    made: Mapping[str, Any] | None = None,
    partial: Result | None = None,
    watch: Watch | None = None,
) -> Line:
    """Loss and accuracy at w(alpha) = (1 - alpha) w + alpha w', or at w + alpha d.

    Between two minima the positions 0 and 1 are evaluated exactly, and added where the range holds them and the
    grid does not. barrier
    = max over t in [0, 1] of L(t) - (1-t) L(0) - t L(1) (Entezari et al. 2022); error_barrier = max of the error
    less the mean of the ends' errors (Frankle et al. 2020). Beyond the ends the variances of batch norm are
    extrapolated too and can fall below zero; such points come out non-finite and are marked so.

    Args:
        start: the objective at alpha = 0.
        end: the objective at alpha = 1, or a direction (n,).
        alphas: positions, increasing.
        test: the same model on test samples; adds test_loss and test_accuracy.
        bn: `interpolate` (the statistics of batch norm move with the params, so that both ends have their own: the
            default between minima), or `eval` (those of `start` everywhere).
        split, made: kept with the result: the name of the split, and how the direction came about.
        partial, watch: a stored partial result to go on from; callbacks (see Watch).

    Costs one forward pass over the samples a point. Raises InputError where the two do not share a layout.
    """
    between = not isinstance(end, Tensor)
    if isinstance(end, Objective):
        _refuse_other_objective(start, end)
    positions = _positions(alphas, between=between)
    given = settings(start, end, alphas, split=split, test=test, bn=bn)
    fixed = given["bn"] == "eval" and has_batch_norm(start.model)
    place = _between(start, end, fixed) if isinstance(end, Objective) else _along(start, end)
    points = Points(positions.shape, COLUMNS)
    if partial is not None:
        points.take_over(partial)
    step = end.params.double() - start.params.double() if isinstance(end, Objective) else end.double()

    def build(status: Status) -> Line:
        measured: dict[str, Any] = dict(columns(points, with_test=test is not None))
        barrier = error_barrier = None
        if between and status is Status.COMPLETE:
            barrier, error_barrier = barriers(positions, points.values["loss"], points.values["accuracy"])
        return Line(
            status=status,
            settings=given,
            alpha=positions,
            point_status=points.status.copy(),
            unit_length=float(step.norm()),
            barrier=barrier,
            error_barrier=error_barrier,
            split=split,
            bn=given["bn"],
            direction=dict(made or {}),
            **measured,
        )

    points.evaluate(at_points(lambda index: place(float(positions[index])), test), build, watch or Watch())
    return build(points.outcome())


def _refuse_other_objective(start: Objective, end: Objective) -> None:
    """The line moves the params of one objective: model, data and loss must be the same at both ends."""
    if end.layout != start.layout or end.identity["model"] != start.identity["model"]:
        raise InputError("the two minima are of different models; a line needs the same architecture")
    different = [
        name
        for name in ("data", "loss", "loss_code", "l2", "bn", "bn_batch")
        if end.identity[name] != start.identity[name]
    ]
    if different:
        raise InputError(f"the two minima differ in {', '.join(different)}; a line needs one objective at both ends")


def _positions(alphas: Sequence[float], *, between: bool) -> np.ndarray:
    positions = np.asarray(alphas, dtype=np.float64)
    if between and positions.min() <= 0.0 and positions.max() >= 1.0:
        # linspace meets 0 and 1 only to rounding
        near = np.isclose(positions, 0.0, atol=1e-12) | np.isclose(positions, 1.0, atol=1e-12)
        positions = np.union1d(positions[~near], [0.0, 1.0])
    return positions


def _along(start: Objective, direction: Tensor) -> Callable[[float], Objective]:
    origin = start.params.double()
    return lambda alpha: start.at(origin + alpha * direction.to(origin))


def _between(start: Objective, end: Objective, fixed: bool) -> Callable[[float], Objective]:
    """Points between two objectives, with the buffers of the first (`fixed`) or mixed ones."""

    def mixed(a: Tensor, b: Tensor, alpha: float) -> Tensor:
        if not a.is_floating_point():
            return a
        # Not a + alpha (b - a): this form gives b itself at alpha = 1.
        return ((1 - alpha) * a.double() + alpha * b.double()).to(a.dtype)

    def place(alpha: float) -> Objective:
        point = start.at(mixed(start.params, end.params, alpha))
        if fixed:
            return point
        # params outside the block that moves stay those of the start
        moving = {name: a for name, a in start.constants.items() if name not in start.penalised}
        return point.with_constants(
            {**start.constants, **{name: mixed(a, end.constants[name], alpha) for name, a in moving.items()}}
        )

    return place


def barriers(alpha: np.ndarray, loss: np.ndarray, accuracy: np.ndarray) -> tuple[float | None, float | None]:
    """Barrier of the loss and of the error over [0, 1]; None where the ends are not among the points."""
    inside = (alpha >= 0) & (alpha <= 1)
    if not (0.0 in alpha and 1.0 in alpha):
        return None, None
    t, inner_loss, error = alpha[inside], loss[inside], 1 - accuracy[inside]
    barrier = float(np.max(inner_loss - (1 - t) * inner_loss[0] - t * inner_loss[-1]))
    return barrier, None if np.isnan(error).any() else float(np.max(error - (error[0] + error[-1]) / 2))
