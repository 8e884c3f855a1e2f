"""Paths: the loss along a curve that is trained to stay low between two minima (Garipov et al. 2018)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import InputError, UsageError
from ..objective import Objective
from ..results import Path, Result, Status
from ..resume import Points, Watch
from ..slices.line import barrier_fields, course, refuse_other_objective
from ..slices.points import ALL, Measure, columns, of_chord
from ..slices.projection import step_between
from ..slices.statistics import batch_of, following, policy_of, recomputed
from .curves import arc_length, coefficients, point
from .training import Plan, Training

VERSION = 1
POSITIONS = 61  # evenly spaced in [0, 1], as Garipov et al. evaluate theirs


def settings(
    start: Objective,
    end: Objective,
    plan: Plan | None = None,
    positions: Sequence[float] | None = None,
    *,
    split: str = "train",
    test: Objective | None = None,
    bn: str | None = None,
    bn_batch: int | None = None,
) -> dict[str, Any]:
    """What identifies the result of `path` with these arguments, the training's own in a Plan."""
    policy = policy_of(start, bn, default="recompute", ends=True)
    return {
        "kind": Path.kind,
        "version": VERSION,
        "t": positions_of(positions).tolist(),
        **dataclasses.asdict(plan or Plan()),
        "split": split,
        "test": None if test is None else test.identity["data"],
        "end": end.identity,
        **start.identity,
        "bn": policy,
        "bn_batch": start.bn_batch or batch_of(policy, bn_batch),
    }


def path(
    start: Objective,
    end: Objective,
    *,
    curve: str = Plan.curve,
    bends: int = Plan.bends,
    positions: Sequence[float] | None = None,
    epochs: int = Plan.epochs,
    batch_size: int = Plan.batch_size,
    lr: float = Plan.lr,
    momentum: float = Plan.momentum,
    seed: int = Plan.seed,
    test: Objective | None = None,
    split: str = "train",
    bn: str | None = None,
    bn_batch: int | None = None,
    made: Mapping[str, Any] | None = None,
    partial: Result | None = None,
    watch: Watch | None = None,
) -> Path:
    """Loss and accuracy on a curve phi from one minimum to another, its bends trained so that it stays low.

    phi(t) = sum_k c_k(t) theta_k with theta_0 and theta_K the minima (see `coefficients`); the bends between start on
    the straight segment and minimise E_{t ~ U[0, 1]} L(phi(t)) (Garipov et al. 2018, section 3; see `Training`). The
    result has the bends (K-1, n), the length of the curve, and the barriers of loss and error (see `barriers`).

    Args:
        start, end: the same objective at two minima; it is minimised on the samples of `start`.
        curve, bends: `bezier` of degree bends+1, or `polychain` of bends+1 straight segments.
        positions: t in [0, 1], increasing; the ends are added.
        epochs, batch_size, lr, momentum, seed: of SGD; the rate falls as in `Plan.rate`.
        test: the same model on test samples; adds test_loss and test_accuracy.
        bn: `recompute` (statistics of batch norm re-estimated at each point on the samples of `start`, in batches of
            `bn_batch`: the default), `interpolate` (they move linearly in t), or `eval` (those of `start`).
        split, made: kept with the result: the name of the split, and which minima these are.
        partial, watch: a stored partial result to go on from; callbacks (see Watch), `progress` with the number of
            updates and points done.

    Costs one forward and one backward pass over the samples an epoch, then one or two forward passes a point. Raises
    InputError where the two do not share a layout or are the same point, UsageError for values out of range,
    NumericalError where the training diverges.
    """
    plan = Plan(curve, bends, epochs, batch_size, lr, momentum, seed)
    refuse_other_objective(start, end)
    if torch.equal(start.params, end.params):
        raise InputError("both ends are the same point; a path needs two different minima")
    others = following(start, step_between(start, end).buffers, "recompute")
    if any(bool(step.any()) for step in others.values()):
        raise InputError("the minima differ in frozen params or buffers, which a path does not train; unfreeze them")
    given = settings(start, end, plan, positions, split=split, test=test, bn=bn, bn_batch=bn_batch)
    t, watch, training = np.array(given["t"]), watch or Watch(), Training(start, end, plan)
    points = Points(t.shape, ALL)
    if isinstance(partial, Path):
        training.take_over(partial)
        points.take_over(partial)

    def build(status: Status) -> Path:
        measured: dict[str, Any] = dict(columns(points, with_test=test is not None))
        if status is Status.COMPLETE:
            measured |= {**barrier_fields(t, points), **_errors(points)}
        return Path(
            status=status,
            settings=given,
            t=t,
            point_status=points.status.copy(),
            curve=curve,
            bends=training.points[1:-1].cpu().numpy().copy(),
            velocity=None if training.ended else training.velocity.cpu().numpy().copy(),
            epochs=len(training.losses),
            updates=training.updates,
            epoch=np.arange(1, len(training.losses) + 1),
            epoch_loss=np.array(training.losses, dtype=np.float64),
            length=arc_length(curve, training.points),
            distance=float((end.params.double() - start.params.double()).norm()),
            num_samples=start.num_samples,
            split=split,
            bn=given["bn"],
            direction={**(made or {}), **dataclasses.asdict(plan)},
            **measured,
        )

    training.run(lambda: build(Status.STOPPED), watch)
    weights, between = coefficients(curve, t.tolist(), bends), course(start, end, given["bn"])

    def at(index: int) -> Objective:
        # The course of the line has the buffers that the policy asks for at t.
        place = between(float(t[index])).at(point(training.points, weights[index]))
        return recomputed(place, given["bn_batch"]) if given["bn"] == "recompute" else place

    shown = watch.progress
    counted = Watch(watch.save, watch.stop, (lambda done: shown(training.updates + done)) if shown else None)
    points.evaluate(Measure(at, of_chord(at(0), at(len(t) - 1), t), test, errors=True), build, counted)
    return build(points.outcome())


def positions_of(positions: Sequence[float] | None) -> np.ndarray:
    """The positions on a curve, 0 and 1 among them exactly. Raises UsageError for what is not in [0, 1]."""
    asked = np.linspace(0, 1, POSITIONS) if positions is None else np.asarray(positions, dtype=np.float64)
    if asked.ndim != 1 or not ((asked >= 0) & (asked <= 1)).all() or (np.diff(asked) <= 0).any():
        raise UsageError("the positions on a curve must lie in 0 ... 1 and rise")
    return np.union1d(asked, [0.0, 1.0])


def _errors(points: Points) -> dict[str, float | None]:
    """The largest error on the curve and that of its ends, for each split; None without classes."""
    found: dict[str, float | None] = {}
    for prefix in ("", "test_"):
        error = 1 - points.values[f"{prefix}accuracy"]
        if not np.isnan(error).all():
            found[f"max_{prefix}error"] = float(error.max())
            found[f"max_{prefix}end_error"] = float(max(error[0], error[-1]))
    return found
