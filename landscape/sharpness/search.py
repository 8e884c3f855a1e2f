"""The objective around a point, for whoever looks for its highest value there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import NumericalError
from ..measures import checked_seed, chosen
from ..objective import Objective
from ..passes import Evaluation
from ..results import Sharpness

VERSION = 3
BISECTIONS = 20
DISPLACEMENT = 0.1  # of the bounds' half-widths: the start where the gradient vanishes

Progress = Callable[[int], None]


def settings(objective: Objective, measure: str, *, seed: int = 0, **asked: Any) -> dict[str, Any]:
    """What identifies a sharpness measure by name with these options, None being the measure's default.

    UsageError for options and seeds of another type or out of range.
    """
    options = chosen(measure, asked)
    return {
        "kind": Sharpness.kind,
        "version": VERSION,
        "measure": measure,
        **options,
        "seed": checked_seed(seed),
        **objective.identity,
    }


@dataclass(frozen=True)
class Space:
    """Where is searched: y (p,) stands for the params w + B y, B linear.

    `into_params` is B, `adjoint` its transpose, `radius` the size of y that the bounds are about.
    """

    size: int
    into_params: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    radius: Callable[[Tensor], float]


class NonFinite(NumericalError):
    """The loss is not finite at some radius around the params, which `--json` prints."""

    def __init__(self, message: str, radius: float, num_evaluations: int) -> None:
        super().__init__(message)
        self.computed: Mapping[str, Any] = {"radius": radius, "num_evaluations": num_evaluations}


@dataclass
class Search:
    """Values and gradients in a space; counts them, and remembers the highest.

    All is float64. NonFinite, a NumericalError, where a loss is not finite: with the smallest radius towards that place
    at which it happens, by bisection.
    """

    objective: Objective
    space: Space
    progress: Progress | None = None
    count: int = 0
    highest: float = -math.inf
    highest_at: Tensor = field(init=False)
    highest_gradient: Tensor = field(init=False)

    origin: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.origin = self.objective.params.double()

    def known(self, y: Tensor, value: float, gradient: Tensor) -> None:
        """Takes note of a place whose value is known."""
        if value > self.highest:
            self.highest, self.highest_at, self.highest_gradient = value, y.clone(), gradient

    def leave(self) -> None:
        """Forgets the highest place: a stationary one, to which a search that begins elsewhere must not return."""
        self.highest = -math.inf

    def evaluate(self, y: Tensor) -> tuple[float, Tensor]:
        """L(w + B y) and its gradient by y, B' grad L. One gradient pass; none at the highest place."""
        if math.isfinite(self.highest) and torch.equal(y, self.highest_at):
            return self.highest, self.highest_gradient
        value, inward = self._with_gradient(y)
        if not _finite(value, inward):
            raise self._refusal(y, value, by_gradient=math.isfinite(value))
        self.known(y, value, inward)
        return value, inward

    def value(self, y: Tensor, radius: float | None = None) -> float:
        """L(w + B y) alone. One forward pass. `radius` is the size of y in a refusal, by default the space's."""
        found = self._measured(y).loss
        if not math.isfinite(found):
            raise self._refusal(y, found, radius=radius)
        return found

    def error(self, y: Tensor) -> float:
        """1 - accuracy at w + B y. One forward pass; the loss may be whatever it is."""
        return 1 - self._measured(y).accuracy

    def _measured(self, y: Tensor) -> Evaluation:
        found = self.objective.at(self.origin + self.space.into_params(y)).evaluate()
        self._counted()
        return found

    def _with_gradient(self, y: Tensor) -> tuple[float, Tensor]:
        value, gradient = self.objective.at(self.origin + self.space.into_params(y)).value_and_gradient()
        self._counted()
        return value, self.space.adjoint(gradient)

    def _counted(self) -> None:
        self.count += 1
        if self.progress:
            self.progress(self.count)

    def _refusal(self, y: Tensor, value: float, *, by_gradient: bool = False, radius: float | None = None) -> NonFinite:
        """The refusal of a place, with the radius from which on it is not finite in its direction.

        Bisects by values, or by gradients where the value is finite; what that costs is counted.
        """
        what = "the gradient is not finite" if by_gradient else f"the loss is {value}"
        if not bool(y.any()):
            return NonFinite(f"{what} at the params", 0.0, self.count)
        good, bad = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (good + bad) / 2
            found = self._with_gradient(middle * y) if by_gradient else (self._measured(middle * y).loss, None)
            good, bad = (middle, bad) if _finite(*found) else (good, middle)
        size = bad * (self.space.radius(y) if radius is None else radius)
        return NonFinite(
            f"{what} within the bounds, from radius {size:.3g} on in one direction; take a smaller --rho or --epsilon",
            size,
            self.count,
        )


def _finite(value: float, gradient: Tensor | None) -> bool:
    return math.isfinite(value) and (gradient is None or bool(torch.isfinite(gradient).all()))


def described(objective: Objective) -> dict[str, Any]:
    """The fields that every measure has of its objective."""
    return {"num_params": objective.layout.size, "num_samples": objective.num_samples}
