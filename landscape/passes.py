"""What happens to one chunk: its sums for the standard error, its correct answers, its second derivative."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .data import Batch
from .data.samples import length, named
from .losses import Loss, Totals

ERROR_GROUPS = 32  # groups a chunk is cut into for the standard error of a loss that has no per-sample form


class LossOfBatch(nn.Module):
    """`loss(model, batch)` as a module, so that functional_call reaches the model inside it."""

    def __init__(self, model: nn.Module, loss: Loss, samples: int) -> None:
        super().__init__()
        self.model, self.loss, self.num_samples = model, loss, samples
        self.training = False

    def forward(self, batch: Batch) -> Totals:
        return self.loss.totals(self.model, batch, self.num_samples)


def group_totals(loss: Loss, outputs: Any, batch: Batch, total: Totals) -> tuple[Tensor, Tensor]:
    """Sums and weights of groups of samples within a chunk, for the standard error."""
    if isinstance(batch, dict) or not isinstance(outputs, Tensor):
        return total[0][None], total[1][None]
    if loss.per_sample is not None:
        return loss.per_sample(outputs, batch[1])
    size = math.ceil(length(batch) / ERROR_GROUPS)
    pairs = zip(outputs.split(size), batch[1].split(size), strict=True)
    groups = [loss.totals(o, t, len(t)) for o, t in pairs]
    return torch.stack([s.double() for s, _ in groups]), torch.stack([w.double() for _, w in groups])


def second_product(total: Tensor, parts: list[Tensor], along: list[Tensor]) -> tuple[Tensor, ...]:
    """Derivative of <d total / d parts, along> by the parts: double backward."""
    gradients = torch.autograd.grad(total, parts, create_graph=True, materialize_grads=True)
    # A gradient that does not depend on the params (a loss linear in them) has a zero row in the Hessian.
    curved = [(g, v) for g, v in zip(gradients, along, strict=True) if g.requires_grad]
    if not curved:
        return tuple(torch.zeros_like(part) for part in parts)
    return torch.autograd.grad([g for g, _ in curved], parts, [v for _, v in curved], materialize_grads=True)


def correct(outputs: Any, batch: Batch) -> Tensor:
    """Number of samples whose largest output is their class; nan where there are no classes."""
    targets = named(batch).get("targets")
    if isinstance(outputs, Tensor) and outputs.dim() == 2 and targets is not None:
        if targets.dim() == 1 and not targets.is_floating_point():
            return (outputs.argmax(1) == targets).sum().double()
        if targets.shape == outputs.shape and outputs.shape[1] > 1:
            return (outputs.argmax(1) == targets.argmax(1)).sum().double()
    device = outputs.device if isinstance(outputs, Tensor) else next(iter(named(batch).values())).device
    return torch.tensor(math.nan, dtype=torch.float64, device=device)
