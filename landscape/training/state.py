"""What a run is handed, what it hands back, and what going on with it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..errors import NumericalError
from ..recipe import Recipe
from ..results import Tracked, Training, Updates

Tensors = dict[str, Tensor]


@dataclass
class TrainingState:
    """What going on needs: everything that the next update depends on, and the logs so far."""

    tensors: Tensors
    optimizer: dict[str, Any]
    random: Tensors  # states of the generators: the order's, that of augmentation and noise, torch's own (dropout)
    order: Tensor  # the current epoch's permutation
    position: int  # samples of it already used
    epoch: int  # epochs done
    updates: int
    samples: int  # seen in all
    initial: Tensor  # the params before the first update
    seconds: float
    kept: dict[str, Any]  # the average of the weights, or the best of them, so far
    good: Tensors  # those of the last measurement; empty where that is now
    log: dict[str, list[float]]
    update_log: dict[str, list[float]]
    tracked: dict[str, list[dict[str, float]]]


@dataclass(frozen=True)
class Snapshots:
    """Points of the trajectory that are handed out: `save(tensors, updates, epoch)`.

    `every` epochs, and `per_decade` points for each factor of ten in updates, at round(10^(i / per_decade)); both
    with the initial point.
    """

    save: Callable[[Tensors, int, float], None]
    every: int | None = None
    per_decade: int | None = None

    def after_update(self, updates: int) -> bool:
        """Whether the point after so many updates is one of those spaced evenly in their logarithm."""
        if self.per_decade is None:
            return False
        power = 0
        while (mark := round(10 ** (power / self.per_decade))) < updates:
            power += 1
        return mark == updates

    def after_epoch(self, epoch: int) -> bool:
        """Whether the point after so many epochs is one of those spaced evenly."""
        return self.every is not None and epoch % self.every == 0


@dataclass(frozen=True)
class Tracking:
    """A measure that is taken along the run, every so many epochs: `measure(model)` gives numbers by name."""

    name: str
    measure: Callable[[nn.Module], Mapping[str, float]]
    every: int = 1


@dataclass(frozen=True)
class TrainingWatch:
    """Callbacks: `row` gets each row of the log, `save` a state now and then, `stop` is asked before each update.

    `due` is asked before each update and after each row whether a state should be handed to `save`, which also gets
    one where the run is stopped.
    """

    row: Callable[[dict[str, float]], None] | None = None
    save: Callable[[TrainingState], None] | None = None
    due: Callable[[], bool] | None = None
    stop: Callable[[], bool] | None = None
    snapshots: Snapshots | None = None
    tracking: tuple[Tracking, ...] = ()
    each_update: bool = False  # keep a log of every update too


@dataclass(frozen=True)
class Trained:
    """A finished run: the tensors that it keeps, its logs, and the state from which it can go on."""

    recipe: Recipe
    tensors: Tensors
    log: Training
    state: TrainingState
    updates: Updates | None = None
    tracked: tuple[Tracked, ...] = field(default_factory=tuple)


class Diverged(NumericalError):
    """A run whose train loss is no longer finite; `trained` is what it was at its last finite measurement, if any."""

    def __init__(self, message: str, trained: Trained | None) -> None:
        super().__init__(message)
        self.trained = trained
        self.computed: Mapping[str, Any] = {}  # metrics of it, for printing
