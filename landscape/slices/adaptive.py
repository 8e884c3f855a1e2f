"""Adaptive planes: points are evaluated where interpolation would err, the others are interpolated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import binary_dilation

from ..errors import UsageError
from ..results import INTERPOLATED, NON_FINITE, TODO
from ..resume import Points

# The constants were chosen on six planes of three networks, 41 x 37 to 51 x 51 points: at a tolerance of 1 % the
# largest true error was .81 %, with 112 to 298 of at most 2,601 points evaluated.
COARSE = 8  # points along each side of the grid that is evaluated first
SHARE = 100  # a round evaluates one point in so many of the whole grid, and no fewer than LEAST
LEAST = 24
RANDOM = 6  # one point in so many of a round is drawn at random, so that no place goes unseen
APART = 2  # rows and columns between two points of one round
CALM = 2  # rounds in a row whose largest error must stay below SAFETY times the tolerance
SAFETY = 0.7
WIDE = 100.0  # ratio of the largest to the smallest loss above which the logarithm counts too
POWER = 1 / 8  # a wide range is interpolated as loss^(1/8): between the loss itself, which hides its small values, and
# its logarithm, which is singular at a minimum of zero
RESOLVED = 1e-6  # of the largest value: what is smaller counts as that small, as in the figures
UNDER = 0.1  # of the smallest value seen, below which none is interpolated
LOCAL = 1200  # points above which the interpolation is local, from the nearest NEIGHBOURS
NEIGHBOURS = 80


@dataclass(frozen=True)
class Scale:
    """How far two losses are apart, as a fraction of the range; of a wide range, on both scales."""

    low: float
    high: float

    @property
    def wide(self) -> bool:
        """Whether the values span decades."""
        return self.low >= 0 and self.high > WIDE * self.low

    @property
    def floor(self) -> float:
        """The value below which logarithms are not told apart."""
        return max(self.low, RESOLVED * self.high)

    def flat(self, values: np.ndarray) -> np.ndarray:
        """Values as they are interpolated."""
        return values**POWER if self.wide else values

    def back(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `flat`."""
        return np.maximum(values, (UNDER * self.low) ** POWER) ** (1 / POWER) if self.wide else values

    def error(self, found: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """|found - truth| / range, and where it is wide no less than that of the logarithms."""
        error = np.abs(found - truth) / max(self.high - self.low, np.finfo(float).tiny)
        if not self.wide:
            return error
        ratio = np.log(np.maximum(found, self.floor) / np.maximum(truth, self.floor))
        return np.maximum(error, np.abs(ratio) / np.log(self.high / self.floor))


class Refinement:
    """Coarse to fine: rounds of points where two interpolations differ most, until they no longer err.

    A coarse grid is evaluated, and the points around known minima, where a loss near zero is hardest to interpolate;
    then rounds of points. Each round takes the points, some grid steps apart, where the interpolations of everything
    evaluated so far by the radial functions r^5 and r^3 (Wahba 1990, section 2.4) differ most, and a few at random.
    What r^5 said there before is held against what is found: errors at points that the interpolation had not seen,
    where it is worst. When they stay below .7 of the tolerance for two rounds, the rest is interpolated and marked so.
    Around non-finite points everything is evaluated; none of them is filled.

    The estimate kept is the largest of those errors in the last two rounds. It is no bound: along a cusp, thinner than
    the points are apart, errors up to twice the tolerance were seen.

    The points follow from the values alone, so a plane that goes on takes the same ones. Raises UsageError for a
    tolerance outside (0, 1).
    """

    kernels: ClassVar[tuple[tuple[str, int], ...]] = (("quintic", 2), ("cubic", 1))  # with the degree each needs

    def __init__(self, shape: tuple[int, int], tolerance: float, minima: Sequence[tuple[int, int]] = ()) -> None:
        if not 0 < tolerance < 1:
            raise UsageError(f"adaptive is a fraction of the range between 0 and 1, got {tolerance}")
        self.shape, self.tolerance = shape, tolerance
        self.minima = np.zeros(shape, dtype=bool)  # the grid points next to minima, and those around them
        for row, column in minima:
            self.minima[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
        self.error = 0.0  # estimate: the largest error of the last rounds, at points not seen before
        self.asked = np.zeros(shape, dtype=bool)
        rows, columns = (np.linspace(0, 1, count) for count in shape)
        self.places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        self.random = np.random.default_rng(0)

    def run(self, points: Points, evaluate: Callable[[np.ndarray], None]) -> None:
        """Evaluates what is needed by `evaluate(flat indices)`, and interpolates the rest into `points`."""
        coarse = [np.unique(np.linspace(0, count - 1, min(count, COARSE)).round().astype(int)) for count in self.shape]
        first = self.minima.copy()
        first[np.ix_(*coarse)] = True
        self._ask(np.flatnonzero(first), points, evaluate)
        calm: list[float] = []
        while len(calm) < CALM and not self.asked.all():
            predictions = [self._interpolated(points, "loss", kernel) for kernel in self.kernels]
            scale = self._scale(points.values["loss"])
            chosen = self._worst(scale.error(predictions[1], predictions[0]))
            self._ask(chosen, points, evaluate)
            found = points.values["loss"].flat[chosen]
            good = np.isfinite(found)
            errors = scale.error(predictions[0][chosen][good], found[good])
            worst = float(errors.max(initial=0.0)) if good.all() else 1.0
            calm = [*calm, worst] if worst <= SAFETY * self.tolerance else []
        if not self.asked.all():
            self.error = max(calm)
            self._fill(points)

    def _ask(self, indices: np.ndarray, points: Points, evaluate: Callable[[np.ndarray], None]) -> None:
        """Evaluates points, and all that lie near those of them that are not finite."""
        while len(indices):
            self.asked.flat[indices] = True
            evaluate(indices)
            # of those asked for only: a part that goes on may hold later ones already
            lost = self.asked & (points.status == NON_FINITE)
            reach = max(1, max(self.shape) // COARSE)
            near = binary_dilation(lost, iterations=reach) if lost.any() else lost
            indices = np.flatnonzero(near & ~self.asked)

    def _seen(self) -> np.ndarray:
        return np.flatnonzero(self.asked)

    def _scale(self, values: np.ndarray) -> Scale:
        seen = values.flat[self._seen()]
        seen = seen[np.isfinite(seen)]
        return Scale(float(seen.min()), float(seen.max())) if seen.size else Scale(0.0, 1.0)

    def _interpolated(self, points: Points, name: str, kernel: tuple[str, int]) -> np.ndarray:
        """A column at all points, from those evaluated."""
        values, seen = points.values[name], self._seen()
        seen = seen[np.isfinite(values.flat[seen])]
        name_of, degree = kernel
        rows, columns = np.unravel_index(seen, self.shape)
        if min(len(np.unique(rows)), len(np.unique(columns))) <= degree or len(seen) < 2 * (degree + 1) * (degree + 2):
            return np.full(values.size, np.nan)  # no polynomial of the degree is fixed by these
        scale = self._scale(values) if name.endswith("loss") else Scale(0.0, 0.0)
        near = NEIGHBOURS if len(seen) > LOCAL else None
        function = RBFInterpolator(
            self.places[seen], scale.flat(values.flat[seen]), kernel=name_of, degree=degree, neighbors=near
        )
        return scale.back(function(self.places))

    def _worst(self, difference: np.ndarray) -> np.ndarray:
        """The next points: those where the interpolations differ most, apart from each other, and some at random."""
        rest = np.flatnonzero(~self.asked)
        count = min(len(rest), max(LEAST, self.asked.size // SHARE))
        if np.isnan(difference).any():
            return rest  # too few finite points to interpolate from
        drawn = self.random.choice(rest, size=max(1, count // RANDOM), replace=False)
        taken = np.zeros(self.shape, dtype=bool)
        taken.flat[drawn] = True
        near = np.zeros(self.shape, dtype=bool)
        for index in rest[np.argsort(-difference[rest], kind="stable")]:
            if taken.sum() >= count:
                break
            row, column = divmod(int(index), self.shape[1])
            if not near[row, column]:
                taken[row, column] = True
                near[max(0, row - APART) : row + APART + 1, max(0, column - APART) : column + APART + 1] = True
        return np.flatnonzero(taken)

    def _kernel(self, name: str) -> tuple[str, int]:
        """For losses r^5; an accuracy is a step function, over which it would shoot, an error has a kink at 0."""
        return self.kernels[0] if name.endswith("loss") else ("linear", 0)

    def _fill(self, points: Points) -> None:
        """Interpolates every column where nothing was evaluated; shares stay between 0 and 1, errors above 0."""
        rest = np.flatnonzero(~self.asked)
        for name, values in points.values.items():
            if np.isnan(values).all():
                continue  # not measured
            found = self._interpolated(points, name, self._kernel(name))[rest]
            if name.endswith("accuracy"):
                found = found.clip(0, 1)
            elif np.nanmin(values) >= 0:
                found = found.clip(0)
            values.flat[rest] = found
        assert (points.status.flat[rest] == TODO).all()
        points.status.flat[rest] = INTERPOLATED
