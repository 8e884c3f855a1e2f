"""Planes through minima and along trajectories, with what is to be seen in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import fitted, load_checkpoint
from ..errors import InputError
from ..execution import has_batch_norm
from ..objective import Objective
from ..slices import Direction, Marks, Trajectory, through_minima
from ..slices.projection import Frame
from ..slices.statistics import fresh_statistics
from . import runfiles
from .measured import Minimum
from .runfiles import RunFiles

MARGIN = 0.25  # of the span of what is shown, on each side
INITIAL = "initial point"


@dataclass(frozen=True)
class View:
    """A plane to be evaluated: its directions, what is marked in it, and how it came about."""

    directions: tuple[Direction, Direction]
    made: dict[str, Any]
    marks: Marks | None = None
    trajectory: Trajectory | None = None
    explained: np.ndarray | None = None
    bn: str | None = None  # the policy where none was asked for

    def covering(self, centre: Objective, count: int) -> tuple[list[float], list[float]]:
        """Positions along both axes that cover all that is shown, with a margin of a quarter on each side."""
        frame = Frame(centre.params.double(), *(d.vector.to(centre.params.device).double() for d in self.directions))
        shown = [{}] if self.marks is None else [self.marks.places(frame)]
        shown += [] if self.trajectory is None else [self.trajectory.fields(frame)]
        axes = []
        for name in ("alpha", "beta"):
            values = np.concatenate([np.zeros(1), *(v for s in shown for key, v in s.items() if key.endswith(name))])
            low, high = float(values.min()), float(values.max())
            margin = MARGIN * (high - low) or 1.0
            axes.append(np.linspace(low - margin, high + margin, count).tolist())
        return axes[0], axes[1]


def through(minima: Sequence[Minimum], marked: Sequence[Minimum]) -> View:
    """The plane through three minima; through two and the initial point that their runs share, where two are given."""
    points = {minimum.label: minimum.objective for minimum in minima}
    bn = None
    if INITIAL in {minimum.label for minimum in (*minima, *marked)}:
        raise InputError(f"{INITIAL!r} is the name of a mark, not of a minimum; give another --label")
    if len(minima) == 2:
        points[INITIAL] = initial_point(minima)
        # an initial point has seen no data, so its statistics are no network's
        bn = "recompute" if has_batch_norm(minima[0].objective.model) else None
    first, second, third = points.values()
    made = {"kind": "minima", "through": list(points), "orthogonalised": True}
    points |= {minimum.label: minimum.objective for minimum in marked}
    return View(through_minima(first, second, third), made, Marks(points), bn=bn)


def along_trajectory(minima: Sequence[Minimum], marked: Sequence[Minimum]) -> View:
    """The plane of the two principal components of the runs' points, around the first minimum."""
    runs = trajectory_of(minima)
    first, second, explained = runs.components()
    device = minima[0].objective.device
    pair = (replace(first, vector=first.vector.to(device)), replace(second, vector=second.vector.to(device)))
    made = {"kind": "trajectory", "runs": list(runs.runs), "points": len(runs.key), "orthogonalised": True}
    marks = Marks({minimum.label: minimum.objective for minimum in (*minima, *marked)})
    return View(pair, made, marks, runs, explained)


def with_trajectories(view: View, minima: Sequence[Minimum]) -> View:
    """The same plane with the minima's runs projected onto it."""
    return replace(view, trajectory=view.trajectory or trajectory_of(minima))


def initial_point(minima: Sequence[Minimum]) -> Objective:
    """Where the runs of the minima began. Raises InputError where they began at different points, or it is not kept."""
    start = minima[0].objective
    found = [_initial_params(minimum) for minimum in minima]
    if any(not np.array_equal(found[0], other) for other in found[1:]):
        raise InputError("the runs began at different points; give a third checkpoint for the plane")
    vector = start.params.new_tensor(found[0])
    return start.at(vector).with_constants({**start.constants, **fresh_statistics(start)})


def _initial_params(minimum: Minimum) -> np.ndarray:
    if minimum.path is None or not RunFiles(minimum.path).log.exists():
        raise InputError(f"{minimum.label}: no run log beside it with the initial point; give a third checkpoint")
    initial = runfiles.read_log(minimum.path).initial_params
    if initial is None or initial.shape != (minimum.objective.layout.size,):
        raise InputError(f"{minimum.label}: no initial point of these params in its run log; give a third checkpoint")
    return initial


@dataclass(frozen=True)
class _Run:
    """The points of a run in order, each read when it is needed; the minimum itself comes last."""

    files: tuple[Path, ...]
    minimum: Minimum

    def __iter__(self) -> Iterator[Tensor]:
        objective = self.minimum.objective
        last = None
        for path in self.files:
            last = objective.layout.join(fitted(load_checkpoint(path), objective.model)).to(objective.params)
            yield last
        if last is None or not torch.equal(last, objective.params):  # else it is the run's last point
            yield objective.params


def trajectory_of(minima: Sequence[Minimum]) -> Trajectory:
    """The points that the runs of the minima kept. Raises InputError where a run kept none."""
    runs: dict[str, _Run] = {}
    key: list[str] = []
    for minimum in minima:
        files = () if minimum.path is None else tuple(sorted(RunFiles(minimum.path).trajectory.glob("*.safetensors")))
        if not files:
            raise InputError(f"{minimum.label}: its run kept no points of its trajectory; train with --save-every")
        runs[minimum.label] = _Run(files, minimum)
        key += [*(load_checkpoint(path).sha256 for path in files), minimum.objective.identity["params"]]
    return Trajectory(runs, key)
