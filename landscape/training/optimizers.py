"""The optimisers: torch's fused kernels on lists of tensors, without torch.optim's cost for each step.

On the CPU a step of `torch.optim.SGD(fused=True)` on six small tensors takes 90 us, of which the kernel is 10; a whole
update of a small network takes 200. The arithmetic is torch's: the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..recipe import Recipe
from . import lists

ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}  # Kingma & Ba 2015, and torch's defaults


class Optimizer(Protocol):
    """Moves params along gradients; `state` is a list for each kind of what it remembers, one tensor a param."""

    state: dict[str, list[Tensor]]

    def step(self, chosen: Sequence[int], gradients: Sequence[Tensor], lr: float) -> None:
        """One step of the params of these numbers along their gradients."""
        ...


class Sgd:
    """v = momentum v + g; w = w - lr v, or with Nesterov's momentum w - lr (g + momentum v)."""

    def __init__(self, params: Sequence[Tensor], decays: Sequence[float], *, momentum: float, nesterov: bool) -> None:
        self.params, self.decays = params, decays
        self.momentum, self.nesterov = momentum, nesterov
        self.state = {"velocity": [torch.zeros_like(p) for p in params] if momentum else []}

    def step(self, chosen: Sequence[int], gradients: Sequence[Tensor], lr: float) -> None:
        velocity = self.state["velocity"]
        for decay, group in _groups(self.decays, chosen, gradients):
            torch._fused_sgd_(  # pyright: ignore[reportPrivateImportUsage]
                [self.params[i] for i, _ in group],
                [g for _, g in group],
                [velocity[i] for i, _ in group] if velocity else [],
                weight_decay=decay,
                momentum=self.momentum,
                lr=lr,
                dampening=0.0,
                nesterov=self.nesterov,
                maximize=False,
                is_first_step=False,  # the velocity starts at zero, which gives the same first step
            )


class Adam:
    """Adam (Kingma & Ba 2015); `decoupled`: AdamW (Loshchilov & Hutter 2019)."""

    def __init__(self, params: Sequence[Tensor], decays: Sequence[float], *, decoupled: bool) -> None:
        self.params, self.decays = params, decays
        self.kernel: Any = torch._fused_adamw_ if decoupled else torch._fused_adam_  # pyright: ignore
        count = torch.zeros((), dtype=torch.float32, device=params[0].device)
        self.state = {
            "mean": [torch.zeros_like(p) for p in params],
            "square": [torch.zeros_like(p) for p in params],
            "steps": [count.clone() for _ in params],
        }

    def step(self, chosen: Sequence[int], gradients: Sequence[Tensor], lr: float) -> None:
        mean, square, steps = self.state["mean"], self.state["square"], self.state["steps"]
        lists.add_([steps[i] for i in chosen], 1.0)
        for decay, group in _groups(self.decays, chosen, gradients):
            numbers = [i for i, _ in group]
            self.kernel(
                [self.params[i] for i in numbers],
                [g for _, g in group],
                [mean[i] for i in numbers],
                [square[i] for i in numbers],
                [],
                [steps[i] for i in numbers],
                lr=lr,
                weight_decay=decay,
                amsgrad=False,
                maximize=False,
                **ADAM,
            )


def _groups(
    decays: Sequence[float], chosen: Sequence[int], gradients: Sequence[Tensor]
) -> list[tuple[float, list[tuple[int, Tensor]]]]:
    """Numbers and gradients of the params that share a weight decay."""
    groups: dict[float, list[tuple[int, Tensor]]] = {}
    for index, gradient in zip(chosen, gradients, strict=True):
        groups.setdefault(decays[index], []).append((index, gradient))
    return list(groups.items())


def optimizer_of(recipe: Recipe, params: Sequence[nn.Parameter]) -> Optimizer:
    """The optimiser of a recipe for these params."""
    # biases and the params of norms are those of one axis (Goyal et al. 2017 leave out the norms')
    spared = [recipe.decay_on == "weights" and p.dim() < 2 for p in params]
    decays = [0.0 if spare else recipe.weight_decay for spare in spared]
    data = [p.detach() for p in params]  # the same storage
    if recipe.optimizer == "sgd":
        return Sgd(data, decays, momentum=recipe.momentum, nesterov=recipe.nesterov)
    return Adam(data, decays, decoupled=recipe.optimizer == "adamw")
