"""Outputs of an objective's model as what a matrix of the form J'CJ is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..data import Batch
from ..data.samples import length
from ..errors import InputError
from ..objective import Objective


def refuse_dict_batches(objective: Objective, name: str) -> None:
    """InputError where the loss takes the model and a batch, so that there are no outputs to speak of."""
    if isinstance(objective.samples.blocks[0], dict):
        raise InputError(f"{name} needs outputs apart from the loss; give (inputs, targets) and loss(outputs, targets)")


def outputs_and_weight(objective: Objective) -> Callable[[Sequence[Tensor], Batch], tuple[Tensor, Tensor]]:
    """(params, batch) -> (outputs, weight of the chunk). InputError where the outputs are no tensor."""
    refuse_dict_batches(objective, "the matrix")

    def function(parts: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        outputs, (_, weight) = objective.forward(parts, batch)
        if not isinstance(outputs, Tensor):
            raise InputError(f"the model must return one tensor of outputs, got {type(outputs).__name__}")
        return outputs, weight

    return function


def slope(objective: Objective, batch: Batch, v: Sequence[Tensor], step: float) -> tuple[Tensor, Tensor]:
    """Central difference of the outputs along v, and the outputs themselves."""
    parts = objective.parts()
    with torch.no_grad():
        ahead, behind = (
            objective.outputs([p + sign * step * d for p, d in zip(parts, v, strict=True)], batch) for sign in (1, -1)
        )
        return (ahead - behind) / (2 * step), objective.outputs(parts, batch)


def sample_losses(objective: Objective) -> Callable[[Sequence[Tensor], Batch], tuple[Tensor, Tensor]]:
    """(params, batch) -> (s_i / sqrt(w_i) of each sample (B,), weight of the chunk); 0 for samples of no weight.

    The sum of the squares' derivatives over W is then the mean, by weight, of the samples' squared mean losses.
    """

    def function(parts: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        sums, weights = sample_totals(objective, parts, batch)
        counted = weights > 0
        scale = torch.where(counted, weights, torch.ones_like(weights)).to(sums.dtype).rsqrt()
        return torch.where(counted, sums * scale, torch.zeros_like(sums)), weights.sum()

    return function


def sample_totals(objective: Objective, parts: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    """Sums and weights of the losses of single samples, (B,) each. Inside `objective.running()`."""
    loss = objective.loss
    if isinstance(batch, dict):
        singles = [{key: tensor[i : i + 1] for key, tensor in batch.items()} for i in range(length(batch))]
        totals = [objective.forward(parts, single)[1] for single in singles]
    else:
        outputs = objective.outputs(parts, batch)
        if loss.per_sample is not None:
            return loss.per_sample(outputs, batch[1])
        totals = [loss.totals(outputs[i : i + 1], batch[1][i : i + 1], 1) for i in range(length(batch))]
    weights = torch.stack([weight.to(objective.device, torch.float64) for _, weight in totals])
    return torch.stack([total for total, _ in totals]), weights


def num_classes(objective: Objective) -> int | None:
    """Classes of the outputs, where the targets are class indices or the loss is a cross-entropy; else None."""
    count = objective.bn_batch or 1
    batch = next(objective.samples.head(count).chunks(count))
    if isinstance(batch, dict) or (batch[1].is_floating_point() and objective.loss.name != "cross_entropy"):
        return None
    with objective.running(), torch.no_grad():
        outputs = objective.outputs(objective.parts(), batch)
    return outputs.shape[1] if isinstance(outputs, Tensor) and outputs.dim() > 1 else None
