"""Loss and accuracy over whole splits, and over one batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .. import execution, passes
from ..chunking import default_chunk
from ..data import Batch, Samples
from ..data.samples import length
from ..losses import Loss, Totals


def totals(model: nn.Module, loss: Loss, batch: Batch) -> tuple[Any, Totals]:
    """Outputs (None for a loss of model and batch), and sum and weight of a batch."""
    if isinstance(batch, dict):
        return None, loss.totals(model, batch, length(batch))
    outputs = model(batch[0])
    return outputs, loss.totals(outputs, batch[1], length(batch))


def chunk_of(model: nn.Module, loss: Loss, samples: Samples, device: torch.device) -> int:
    """Samples a pass by the activations of two of them."""
    batch = samples.head(2).blocks[0]
    with execution.measuring(model, batch_statistics=False):
        return default_chunk(lambda: totals(model, loss, batch), length(batch), device)


@torch.no_grad()
def evaluate(model: nn.Module, loss: Loss, samples: Samples, chunk: int) -> tuple[float, float]:
    """Loss and accuracy over all samples in eval mode; accuracy is nan where there are no classes."""
    sums = []
    with execution.measuring(model, batch_statistics=False):
        for batch in samples.chunks(chunk):
            outputs, (total, weight) = totals(model, loss, batch)
            sums.append(torch.stack([total.double(), weight.double(), passes.correct(outputs, batch)]))
    total, weight, correct = torch.stack(sums).sum(0).tolist()
    return total / weight, correct / len(samples)
