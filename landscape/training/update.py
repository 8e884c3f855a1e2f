"""One update: the gradient of a batch as the recipe wants it formed, and a step along it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import memory, passes
from ..data import Batch
from ..data.samples import length
from ..errors import InputError, LandscapeError, one_line
from ..losses import Loss
from ..recipe import Recipe
from . import lists
from .batch_norm import untracked
from .batches import Batches
from .evaluation import totals
from .optimizers import optimizer_of

CONSERVATIVE_STEPS = 3  # steps on each batch (Keskar et al. 2017, appendix E)
TINY = 1e-12  # of a gradient that vanishes


@dataclass(frozen=True)
class Gradient:
    """The gradient of a batch: the numbers of the params it has parts for, these, and loss and right answers."""

    chosen: Sequence[int]
    parts: list[Tensor]
    loss: Tensor
    correct: Tensor | None = None

    @property
    def norm(self) -> Tensor:
        """Euclidean norm, on the device."""
        return lists.norm(self.parts)


class Update:
    """Makes updates; nothing waits for the device."""

    def __init__(self, recipe: Recipe, model: nn.Module, loss: Loss, batches: Batches) -> None:
        self.recipe, self.model, self.loss, self.batches = recipe, model, loss, batches
        self.forward: nn.Module = model
        if recipe.compile:
            self.forward = torch.compile(model)  # pyright: ignore[reportAttributeAccessIssue]
        self.params = [p for p in model.parameters() if p.requires_grad]
        self.values = [p.detach() for p in self.params]  # the same storage
        self.every = range(len(self.params))
        self.optimizer = optimizer_of(recipe, self.params)
        self.last: Tensor | Sequence[Tensor] | None = None
        self.told = False  # whether right answers are counted
        if recipe.multiplicative_noise and loss.per_sample is None:
            raise InputError(f"--multiplicative-noise needs a built-in loss, got {loss.name}")
        self.plain = (
            recipe.accumulate == 1
            and recipe.reduction == "mean"
            and not recipe.multiplicative_noise
            and not recipe.bf16
        )

    def __call__(self, batch: Batch, rate: float) -> Gradient:
        """One update at a learning rate; returns the gradient at the point before it, before it was clipped."""
        recipe = self.recipe
        if recipe.conservative:
            return self._conservative(batch, rate)
        gradient = self._gradient(batch)
        self.last = gradient.parts
        if recipe.sam:
            moved = self._at_the_edge(batch, gradient)
            self._step(moved, rate)
            self.last = gradient.parts
        else:
            self._step(gradient, rate)
        return gradient

    def _step(self, gradient: Gradient, rate: float) -> None:
        parts = gradient.parts
        if self.recipe.clip is not None:
            self.last = norm = gradient.norm
            lists.scale_(parts, (self.recipe.clip / (norm + TINY)).clamp(max=1.0))
        self.optimizer.step(gradient.chosen, parts, rate)

    def last_norm(self) -> float:
        """Norm of the gradient of the last update's batch; nan before the first."""
        if self.last is None:
            return float("nan")
        return float(self.last if isinstance(self.last, Tensor) else lists.norm(self.last))

    def _at_the_edge(self, batch: Batch, gradient: Gradient) -> Gradient:
        """The gradient at w + rho g / |g| (SAM; Foret et al. 2021, algorithm 1); the params are put back."""
        before = [v.clone() for v in self.values]
        moved = [self.values[i] for i in gradient.chosen]
        lists.add_(moved, lists.scaled(gradient.parts, self.recipe.sam / (gradient.norm + TINY)))
        with untracked(self.model):
            there = self._gradient(batch)
        lists.copy_(self.values, before)
        return there

    def _conservative(self, batch: Batch, rate: float) -> Gradient:
        """Steps towards argmin of f_B(w) + lambda/2 |w - w_k|^2 (Keskar et al. 2017, appendix E)."""
        start = [v.clone() for v in self.values]
        first = None
        for _ in range(CONSERVATIVE_STEPS):
            gradient = self._gradient(batch)
            first = first or Gradient(
                gradient.chosen, [p.clone() for p in gradient.parts], gradient.loss, gradient.correct
            )
            pulled = [self.values[i] - start[i] for i in gradient.chosen]
            lists.add_(gradient.parts, pulled, alpha=self.recipe.conservative)
            self._step(gradient, rate)
        assert first is not None
        self.last = first.parts
        return first

    # -- gradients

    def _gradient(self, batch: Batch) -> Gradient:
        try:
            return self._of_mean(batch) if self.plain else self._of_pieces(batch)
        except (ValueError, RuntimeError) as error:  # batch norm of one sample, as the last batch may hold
            if memory.out_of_memory(error) or isinstance(error, LandscapeError):
                raise
            out = "leave --compile out" if self.recipe.compile else "change --batch-size, --accumulate or --ghost-batch"
            raise InputError(
                f"a batch of {length(batch)} samples cannot be trained on: {one_line(error)[:200]}; {out}"
            ) from error

    def _of_mean(self, batch: Batch) -> Gradient:
        """The common case, in as few operations as may be."""
        if self.loss.mean is None or isinstance(batch, dict):
            outputs, (total, weight) = totals(self.forward, self.loss, batch)
            mean = total / weight
        else:
            outputs = self.forward(batch[0])
            mean = self.loss.mean(outputs, batch[1])
        return Gradient(*self._derivative(mean), mean.detach(), self._correct(outputs, batch))

    def _of_pieces(self, batch: Batch) -> Gradient:
        """The sum over micro-batches, divided by the weight of the whole batch where the mean is asked for."""
        sums: dict[int, Tensor] = {}
        spent: list[Tensor] = []
        counts: list[Tensor | None] = []
        factors = self._factors(length(batch))
        begun = 0
        for piece in self.batches.pieces(batch, self.recipe.accumulate):
            with self._arithmetic():
                outputs, (total, weight) = totals(self.forward, self.loss, piece)
                end = begun + length(piece)
                noisy = total if factors is None else self._noisy(outputs, piece, factors[begun:end])
                begun = end
            spent.append(torch.stack([total.detach().double(), weight.detach().double()]))
            counts.append(self._correct(outputs, piece))
            for index, part in zip(*self._derivative(noisy), strict=True):
                sums[index] = part if index not in sums else sums[index].add_(part)
        total, weight = torch.stack(spent).sum(0)
        chosen = sorted(sums)
        parts = [sums[i] for i in chosen]
        if self.recipe.reduction == "mean":
            # a batch whose targets are all ignored weighs nothing and moves nothing
            parts = lists.scaled(parts, torch.where(weight > 0, 1 / weight, torch.zeros_like(weight)))
        correct = None if counts[0] is None else torch.stack([c for c in counts if c is not None]).sum()
        return Gradient(chosen, parts, total / weight, correct)

    def _derivative(self, value: Tensor) -> tuple[Sequence[int], list[Tensor]]:
        found = torch.autograd.grad(value, self.params, allow_unused=True)
        if all(part is not None for part in found):
            return self.every, list(found)
        chosen = [i for i, part in enumerate(found) if part is not None]
        return chosen, [found[i] for i in chosen]

    def _factors(self, count: int) -> Tensor | None:
        """z_i ~ N(1, sigma^2) of a batch, drawn on the CPU (Hoffer et al. 2017, section 4); None without noise."""
        if not self.recipe.multiplicative_noise:
            return None
        drawn = torch.randn(count, generator=self.batches.generator, dtype=torch.float64)
        z = 1 + self.recipe.multiplicative_noise * drawn
        return z.to(self.values[0].device, self.values[0].dtype, non_blocking=True)

    def _noisy(self, outputs: Tensor, batch: Batch, factors: Tensor) -> Tensor:
        """sum_i z_i l_i."""
        assert self.loss.per_sample is not None
        assert not isinstance(batch, dict)
        return (self.loss.per_sample(outputs, batch[1])[0] * factors).sum()

    def _correct(self, outputs: object, batch: Batch) -> Tensor | None:
        return passes.correct(outputs, batch) if self.told else None

    def _arithmetic(self) -> AbstractContextManager[object]:
        if not self.recipe.bf16:
            return nullcontext()
        return torch.autocast(self.values[0].device.type, dtype=torch.bfloat16)
