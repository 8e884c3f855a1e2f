"""Points on a plane: minima through which it goes, others beside it, and the runs that led there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..objective import Objective
from .directions import Direction, orthogonalised

COLUMNS_AT_ONCE = 2**18  # of the matrix of points in float64 at a time


@dataclass(frozen=True)
class Frame:
    """A plane's centre and its two directions; `place` of a vector (n,) is where its projection lies."""

    centre: Tensor
    first: Tensor
    second: Tensor

    def place(self, point: Tensor) -> tuple[float, float, float, float]:
        """alpha, beta, the distance from the plane, and the distance from the centre.

        Least squares: the two coordinates solve D'D c = D'(w - w0), D = (d1, d2). Float64.
        """
        away = point.to(self.centre) - self.centre
        basis = torch.stack([self.first, self.second])
        coordinates = torch.linalg.solve(basis @ basis.T, basis @ away)
        beside = away - coordinates @ basis
        return (*coordinates.tolist(), float(beside.norm()), float(away.norm()))


@dataclass(frozen=True)
class Marks:
    """Minima to be marked in a plane, by name."""

    minima: Mapping[str, Objective]

    @property
    def identity(self) -> list[str]:
        """What identifies them: contents, not names."""
        return [minimum.identity["params"] for minimum in self.minima.values()]

    def places(self, frame: Frame) -> dict[str, Any]:
        """Where they lie, and how far beside the plane, as fields of a result."""
        found = np.array([frame.place(minimum.params.double()) for minimum in self.minima.values()]).reshape(-1, 4)
        columns = ("alpha", "beta", "residual")
        return {"marks": tuple(self.minima), **{f"mark_{c}": found[:, i] for i, c in enumerate(columns)}}

    def fields(self, frame: Frame) -> dict[str, Any]:
        """The same with their own losses. One forward pass each."""
        losses = np.array([minimum.value() for minimum in self.minima.values()])
        return {**self.places(frame), "mark_loss": losses}


@dataclass(frozen=True)
class Trajectory:
    """The points of runs in order: vectors (n,) by the name of the run, read anew each time, and their digests."""

    runs: Mapping[str, Iterable[Tensor]]
    key: Sequence[str]

    def fields(self, frame: Frame) -> dict[str, Any]:
        """Their projections and their distances from the plane and from its centre, as fields of a result."""
        names: list[str] = []
        places = []
        for name, points in self.runs.items():
            for point in points:
                names.append(name)
                places.append(frame.place(point))
        found = np.array(places).reshape(-1, 4)
        columns = ("alpha", "beta", "residual", "distance")
        return {"trajectory": tuple(names), **{f"trajectory_{c}": found[:, i] for i, c in enumerate(columns)}}

    def components(self) -> tuple[Direction, Direction, np.ndarray]:
        """The two principal components of the points, unit vectors (n,), and the shares of variance explained (2,).

        Of the points less their mean, X (T, n): the eigenvectors u of the Gram matrix XX' (T, T) give X'u / |X'u|, so
        that no (n, n) matrix is needed (Li et al. 2018, section 7.2). Signs: the largest entry positive. All T points
        are in memory at once, in the type of their files. Raises InputError for fewer than three points, or for points
        on one line.
        """
        points = [point.detach().cpu() for run in self.runs.values() for point in run]
        if len(points) < 3:
            raise InputError(f"a plane of a trajectory needs at least three points, got {len(points)}")
        size = len(points[0])
        gram = torch.zeros(len(points), len(points), dtype=torch.float64)
        blocks = [slice(i, min(i + COLUMNS_AT_ONCE, size)) for i in range(0, size, COLUMNS_AT_ONCE)]
        for block in blocks:
            part = _centred(points, block)
            gram += part @ part.T
        variances, vectors = torch.linalg.eigh(gram)
        # what rounding in the Gram matrix leaves of a second component that is not there
        if not float(variances[-2]) > len(points) * torch.finfo(torch.float64).eps * float(variances[-1]):
            raise InputError("the points of the trajectory lie on one line, so they span no plane")
        found = torch.cat([vectors[:, -2:].T.flip(0) @ _centred(points, block) for block in blocks], dim=1)
        keys = [{"component": index, "of": list(self.key)} for index in (0, 1)]
        first = Direction(signed(found[0] / found[0].norm()), key=keys[0])
        second = orthogonalised(signed(found[1] / found[1].norm()), first)
        explained = (variances.flip(0)[:2] / variances.clamp(min=0).sum()).numpy()
        return first, Direction(second.vector / second.vector.norm(), key=keys[1]), explained


def _centred(points: Sequence[Tensor], block: slice) -> Tensor:
    part = torch.stack([point[block].double() for point in points])
    return part - part.mean(0)


def signed(vector: Tensor) -> Tensor:
    """The vector or its opposite: the one whose largest entry is positive."""
    return vector * torch.sign(vector[vector.abs().argmax()])


def through_minima(first: Objective, second: Objective, third: Objective) -> tuple[Direction, Direction]:
    """The directions of the plane through three minima: these lie at (0, 0), (1, 0) and (c, 1).

    d1 = w' - w, d2 = w'' - w less its part along d1; the statistics of batch norm likewise, so that they can move with
    the params and are those of each minimum there. Raises InputError where the three lie on one line.
    """
    ahead, aside = step_between(first, second), step_between(first, third)
    if not float(ahead.vector.norm()) > 0:
        raise InputError("the first two minima are the same point; a plane needs three different ones")
    return ahead, orthogonalised(aside, ahead)


def step_between(start: Objective, end: Objective) -> Direction:
    """The direction from one minimum to another, with that of their statistics."""
    buffers = {
        name: end.constants[name].double() - tensor.double()
        for name, tensor in start.constants.items()
        if tensor.is_floating_point() and name not in start.penalised
    }
    # by the minima, since the last bits of what is made from it may depend on the number of threads
    key = {"from": start.identity["params"], "to": end.identity["params"]}
    return Direction(end.params.double() - start.params.double(), buffers, key)
