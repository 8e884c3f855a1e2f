"""The objective around a point, for whoever looks for its highest value there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import NumericalError
from ..measures import chosen
from ..objective import Objective
from ..passes import Evaluation
from ..results import Sharpness

VERSION = 2
BISECTIONS = 20
DISPLACEMENT = 0.1  # of the bounds' half-widths: the start where the gradient vanishes

Progress = Callable[[int], None]


def settings(objective: Objective, measure: str, *, seed: int = 0, **asked: Any) -> dict[str, Any]:
    """What identifies a sharpness measure by name with these options, None being the measure's default."""
    options = chosen(measure, asked)
    return {
        "kind": Sharpness.kind,
        "version": VERSION,
        "measure": measure,
        **options,
        "seed": seed,
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

    def __init__(self, message: str, radius: float) -> None:
        super().__init__(message)
        self.computed: Mapping[str, Any] = {"radius": radius}


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
        value, gradient = self.objective.at(self.origin + self.space.into_params(y)).value_and_gradient()
        self.count += 1
        inward = self.space.adjoint(gradient)
        if not math.isfinite(value) or not bool(torch.isfinite(inward).all()):
            raise self._refusal(y, value)
        self.known(y, value, inward)
        if self.progress:
            self.progress(self.count)
        return value, inward

    def value(self, y: Tensor) -> float:
        """L(w + B y) alone. One forward pass."""
        found = self._measured(y).loss
        if not math.isfinite(found):
            raise self._refusal(y, found)
        return found

    def error(self, y: Tensor) -> float:
        """1 - accuracy at w + B y. One forward pass; the loss may be whatever it is."""
        return 1 - self._measured(y).accuracy

    def _measured(self, y: Tensor) -> Evaluation:
        found = self.objective.at(self.origin + self.space.into_params(y)).evaluate()
        self.count += 1
        if self.progress:
            self.progress(self.count)
        return found

    def _refusal(self, y: Tensor, value: float) -> NumericalError:
        """The refusal of a place, with the radius from which on the loss is not finite in its direction."""
        good, bad = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (good + bad) / 2
            found = self.objective.at(self.origin + self.space.into_params(middle * y)).evaluate().loss
            good, bad = (middle, bad) if math.isfinite(found) else (good, middle)
        radius = self.space.radius(bad * y)
        what = f"the loss is {value}" if not math.isfinite(value) else "the gradient is not finite"
        return NonFinite(
            f"{what} within the bounds, from radius {radius:.3g} on in one direction; take a smaller radius", radius
        )


def described(objective: Objective) -> dict[str, Any]:
    """The fields that every measure has of its objective."""
    return {"num_params": objective.layout.size, "num_samples": objective.num_samples}
