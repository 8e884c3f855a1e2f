"""Lines: the loss along a direction, or between two minima (Goodfellow et al. 2015; Keskar et al. 2017, fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import UsageError
from ..objective import Objective
from ..results import Line, Result, Status
from ..resume import Points, Watch
from .barriers import barriers
from .courses import CURVES, End, Positions, course, positions_of, refuse_other_objective
from .curvature import EIGEN_COLUMNS, Curvature
from .directions import as_direction
from .points import ALL, Measure, columns, of_centre, of_chord
from .statistics import batch_of, policy_of, recomputed
from .together import POINTS

VERSION = 2


def settings(
    start: Objective,
    end: End,
    alphas: Positions,
    *,
    split: str = "train",
    test: Objective | None = None,
    bn: str | None = None,
    bn_batch: int | None = None,
    curve: str = "linear",
    curvature: Curvature | None = None,
) -> dict[str, Any]:
    """What identifies the result of `line` with these arguments."""
    between = isinstance(end, Objective)
    other = {"end": end.identity} if isinstance(end, Objective) else {"direction": as_direction(end).identity}
    policy = line_policy(start, end, bn, curve)
    return {
        "kind": Line.kind,
        "version": VERSION,
        "alphas": list(positions_of(alphas, between=between)),
        "split": split,
        "test": None if test is None else test.identity["data"],
        "curve": curve,
        "curvature": None if curvature is None else curvature.settings,
        **other,
        **start.identity,
        "bn": policy,
        "bn_batch": start.bn_batch or batch_of(policy, bn_batch),
    }


def line_policy(start: Objective, end: End, bn: str | None, curve: str) -> str:
    """Batch norm on this line: what was asked for, else what gives both ends their own statistics.

    A curve is no line in the statistics: there they are re-estimated.
    """
    between = isinstance(end, Objective)
    default = ("interpolate" if curve == "linear" else "recompute") if between else "eval"
    return policy_of(start, bn, default=default, ends=isinstance(end, Objective) or bool(as_direction(end).buffers))


def line(
    start: Objective,
    end: End,
    alphas: Positions,
    *,
    test: Objective | None = None,
    split: str = "train",
    bn: str | None = None,
    bn_batch: int | None = None,
    curve: str = "linear",
    curvature: Curvature | None = None,
    made: Mapping[str, Any] | None = None,
    partial: Result | None = None,
    watch: Watch | None = None,
) -> Line:
    """Loss and accuracy at w(alpha) = (1 - alpha) w + alpha w', or at w + alpha d.

    Between two minima the positions 0 and 1 are evaluated exactly, and added where the range holds them and the
    grid does not; the result has the barriers of loss and error (see `barriers`). Beyond the ends the variances of
    batch norm are extrapolated too and can fall below zero; such points come out non-finite and are marked so.

    Args:
        start: the objective at alpha = 0.
        end: the objective at alpha = 1, or a direction (n,).
        alphas: positions, increasing.
        test: the same model on test samples; adds test_loss and test_accuracy.
        bn: `interpolate` (the statistics of batch norm move with the params, so that both ends have their own: the
            default between minima), `recompute` (re-estimated at each point on the samples of `start`, in batches of
            `bn_batch`), or `eval` (those of `start` everywhere).
        curve: `linear`, or `sincos`: cos(pi alpha/2) w + sin(pi alpha/2) w' (Keskar et al. 2017, appendix C).
        curvature: adds the largest eigenvalue of the Hessian at each point.
        split, made: kept with the result: the name of the split, and how the direction came about.
        partial, watch: a stored partial result to go on from; callbacks (see Watch).

    Costs one forward pass over the samples a point, two with `recompute`. Raises InputError where the two do not share
    a layout, UsageError for a wrong `bn` or `curve`.
    """
    between = isinstance(end, Objective)
    if curve not in CURVES or (curve != "linear" and not between):
        raise UsageError(f"curve must be linear, or sincos between two minima, got {curve!r}")
    if isinstance(end, Objective):
        refuse_other_objective(start, end)
    asked: dict[str, Any] = {"split": split, "test": test, "bn": bn, "bn_batch": bn_batch}
    given = settings(start, end, alphas, **asked, curve=curve, curvature=curvature)
    positions = np.array(given["alphas"])
    place = course(start, end, given["bn"], curve)
    points = Points(positions.shape, (*ALL, *(EIGEN_COLUMNS if curvature else ())))
    points.take_over(partial)
    step = end.params.double() - start.params.double() if isinstance(end, Objective) else as_direction(end).vector

    def at_alpha(alpha: float) -> Objective:
        point = place(alpha)
        return recomputed(point, given["bn_batch"]) if given["bn"] == "recompute" else point

    def build(status: Status) -> Line:
        measured: dict[str, Any] = dict(columns(points, with_test=test is not None))
        if between and status is Status.COMPLETE:
            measured |= barrier_fields(positions, points)
        return Line(
            status=status,
            settings=given,
            alpha=positions,
            point_status=points.status.copy(),
            unit_length=float(step.double().norm()),
            num_samples=start.num_samples,
            split=split,
            bn=given["bn"],
            direction=dict(made or {}),
            **measured,
        )

    if isinstance(end, Objective):
        reference = of_chord(at_alpha(0.0), at_alpha(1.0), positions)
    else:
        reference = of_centre(at_alpha(0.0))
    measure = Measure(lambda index: at_alpha(float(positions[index])), reference, test, curvature, errors=between)
    points.evaluate(measure, build, watch or Watch(), group=POINTS[start.device.type])
    return build(points.outcome())


def barrier_fields(positions: np.ndarray, points: Points) -> dict[str, float | None]:
    """The barriers of loss and error and their intervals, as fields of a result."""
    values = points.values
    of = [values[name] for name in ("loss", "accuracy", "difference_stderr", "error_difference_stderr")]
    fields: dict[str, float | None] = {}
    for name, found in zip(("barrier", "error_barrier"), barriers(positions, *of), strict=True):
        if found is not None:
            fields |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return fields
