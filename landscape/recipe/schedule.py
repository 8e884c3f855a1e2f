"""Batch size and learning rate at each moment of a run, and its end: arithmetic alone."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from .recipe import FULL, Recipe


@dataclass(frozen=True)
class Position:
    """How far a run has come: samples seen and updates done."""

    samples: int
    updates: int


@dataclass(frozen=True)
class Schedule:
    """The schedules of a recipe over N training samples.

    The clock is t = samples / N / stretch, in epochs; the stretch is 1, or B / B0 where the regime is adapted
    (Hoffer et al. 2017): every length of the recipe is then B / B0 times as many passes over the data. With a budget of
    updates an adapted regime counts these: t = updates / ceil(N / B0), as many as the base batch size makes an epoch.
    """

    recipe: Recipe
    num_samples: int

    @cached_property
    def first_batch_size(self) -> int:
        """Batch size at the beginning; a batch never holds more than all samples."""
        size = self.recipe.batch_size
        return self.num_samples if size == FULL else min(int(size), self.num_samples)

    @cached_property
    def base_batch_size(self) -> int:
        """B0, which like B is never more than all samples."""
        return min(self.recipe.base_batch_size or self.first_batch_size, self.num_samples)

    @cached_property
    def stretch(self) -> float:
        """Passes over the data for each epoch of the recipe."""
        return self.first_batch_size / self.base_batch_size if self.recipe.regime_adaptation else 1.0

    @cached_property
    def _by_updates(self) -> bool:
        return self.recipe.regime_adaptation and self.recipe.updates is not None

    @cached_property
    def peak(self) -> float:
        """The scaled rate: lr B/B0 (linear; Goyal et al. 2017), lr sqrt(B/B0) (Hoffer et al. 2017), or lr."""
        ratio = self.first_batch_size / self.base_batch_size
        return self.recipe.lr * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[self.recipe.scale_lr]

    def clock(self, at: Position) -> float:
        """t, in epochs of the recipe."""
        if self._by_updates:
            return at.updates / math.ceil(self.num_samples / self.base_batch_size)
        return at.samples / self.num_samples / self.stretch

    # -- batch size

    @cached_property
    def _cap(self) -> int:
        """Where growth ends: about N/10 by default (Smith et al. 2018)."""
        asked = self.recipe.max_batch_size or self.num_samples // 10
        return max(self.first_batch_size, min(asked, self.num_samples))

    def batch_size(self, at: Position) -> int:
        """Samples of the next update."""
        if self.recipe.batch_schedule == "constant":
            return self.first_batch_size
        return min(self._nominal_batch_size(self.clock(at)), self.num_samples)

    def _nominal_batch_size(self, clock: float) -> int:
        recipe, size = self.recipe, self.first_batch_size
        if recipe.batch_schedule == "grow":
            return min(round(size / self._steps(clock)), self._cap)
        if recipe.batch_schedule == "cyclic" and self._second_half(clock):
            return round(size * recipe.cycle_factor)
        return size

    def _steps(self, clock: float) -> float:
        """Product of the factors of the milestones passed."""
        recipe = self.recipe
        passed = bisect_right(recipe.milestones, clock)
        factors = recipe.decay if len(recipe.decay) > 1 else recipe.decay * len(recipe.milestones)
        return math.prod(factors[:passed])

    def _second_half(self, clock: float) -> bool:
        assert self.recipe.cycle is not None
        return int(clock / self.recipe.cycle) % 2 == 1

    # -- learning rate

    def rate(self, at: Position) -> float:
        """Learning rate of the next update."""
        recipe, clock = self.recipe, self.clock(at)
        if clock < recipe.warmup:
            start, gradual = recipe.warmup_lr, recipe.warmup_shape == "gradual"
            if start is None:
                start = 0.0 if gradual and recipe.scale_lr == "none" else recipe.lr
            rise = clock / recipe.warmup if gradual else 0.0
            return start + (self.peak - start) * rise
        return self.peak * self._factor(clock, at)

    def _factor(self, clock: float, at: Position) -> float:
        recipe = self.recipe
        match recipe.schedule:
            case "step" if recipe.batch_schedule == "grow":
                # what the batch could not take over: lr / B falls by the factors of the steps (Smith et al. 2018)
                return min(1.0, self._cap * self._steps(clock) / self.first_batch_size)
            case "step":
                return self._steps(clock)
            case "exponential":
                return recipe.decay[0] ** math.floor(clock)  # once an epoch, as in Zhang et al. 2017
            case "cosine":
                return (1 + math.cos(math.pi * min(1.0, self._progress(at)))) / 2
            case "cyclic":
                return 1 / recipe.cycle_factor if self._second_half(clock) else 1.0
        return 1.0

    def _progress(self, at: Position) -> float:
        """Share of what follows the warm-up that is done."""
        recipe, warm = self.recipe, self.recipe.warmup
        if recipe.epochs is not None:
            return (self.clock(at) - warm) / max(recipe.epochs - warm, 1e-9)
        skipped = warm * self.num_samples * self.stretch
        if recipe.samples is not None:
            return (at.samples - skipped) / max(recipe.samples - skipped, 1)
        assert recipe.updates is not None
        size = self.base_batch_size if self._by_updates else self.first_batch_size
        skipped = warm * math.ceil(self.num_samples / size) * (1.0 if self._by_updates else self.stretch)
        return (at.updates - skipped) / max(recipe.updates - skipped, 1)

    @cached_property
    def moves(self) -> bool:
        """Whether rate or batch size change at all."""
        recipe = self.recipe
        return recipe.warmup > 0 or recipe.schedule != "constant" or recipe.batch_schedule != "constant"

    # -- the end

    def spent(self, at: Position) -> bool:
        """Whether the budget of epochs, updates or samples is spent; never where there is none."""
        recipe = self.recipe
        if recipe.updates is not None:
            return at.updates >= recipe.updates
        if recipe.samples is not None:
            return at.samples >= recipe.samples
        return recipe.epochs is not None and at.samples >= round(recipe.epochs * self.stretch * self.num_samples)

    def beyond(self, at: Position, last: int) -> bool:
        """Whether the budget was spent already before the last batch, of so many samples."""
        before = Position(at.samples - last, at.updates - 1)
        return at.updates > 0 and self.spent(before)

    def nominal_updates(self) -> float | None:
        """Updates if every epoch were cut into N / B batches, fractions counted; None without a length.

        The sum over the phases of epochs N / B. The real number of updates is larger where the last batch of an
        epoch is short.
        """
        recipe = self.recipe
        if recipe.epochs is None:
            return recipe.updates
        moments = {0.0, recipe.epochs, *(m for m in recipe.milestones if m < recipe.epochs)}
        if recipe.cycle is not None:
            moments |= {i * recipe.cycle for i in range(math.ceil(recipe.epochs / recipe.cycle))}
        ordered = sorted(moments)
        phases = [
            (end - start) / self._nominal_batch_size(start) for start, end in zip(ordered, ordered[1:], strict=False)
        ]
        return sum(phases) * self.num_samples * self.stretch
