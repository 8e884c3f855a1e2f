"""Batch norm on a slice: whose statistics the network has at a point that was never trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from .. import execution, memory
from ..data.samples import cut, length
from ..errors import InputError, ResourceError, UsageError
from ..objective import DEFAULT_BN_BATCH, Objective

POLICIES = ("eval", "batch", "recompute", "interpolate")
LEAST = 32  # samples of a batch whose statistics are averaged


def policy_of(objective: Objective, asked: str | None, *, default: str, ends: bool) -> str:
    """The policy on a slice: what was asked for, else the default; `eval` for a network without batch norm.

    `eval`: the statistics of the centre everywhere; `batch`: those of batches (an Objective of its own); `recompute`:
    re-estimated at each point (`recomputed`); `interpolate`: they move with the params, between minima that have their
    own (`ends`). Raises UsageError for what does not fit.
    """
    if asked is not None and asked not in POLICIES:
        raise UsageError(f"bn must be one of {', '.join(POLICIES)}, got {asked!r}")
    if objective.bn == "batch" or not execution.has_batch_norm(objective.model):
        return objective.bn
    if asked == "batch":
        raise UsageError("bn on a slice is eval, recompute or interpolate; batch is set on the Objective")
    if asked == "interpolate" and not ends:
        raise UsageError("bn interpolate needs minima with statistics of their own; along a direction use recompute")
    return asked or default


def batch_of(policy: str, bn_batch: int | None) -> int | None:
    """Samples that share statistics where they are re-estimated, as part of what identifies a result."""
    return (bn_batch or DEFAULT_BN_BATCH) if policy == "recompute" else None


def recomputed(objective: Objective, batch: int = DEFAULT_BN_BATCH) -> Objective:
    """The same point with statistics re-estimated on the objective's samples.

    The average over batches of about `batch` samples each, no fewer than 32, of their means and their variances
    (Izmailov et al. 2018, section 3.2; Garipov et al. 2018, appendix A). The network itself is not changed. One forward
    pass. Raises InputError where the samples cannot be cut into batches that have a variance.
    """
    fresh = fresh_statistics(objective)
    if not fresh:
        return objective
    moved = objective.with_constants({**objective.constants, **fresh})
    parts = moved.parts()
    with torch.no_grad(), execution.estimating(moved.model), _told(batch):
        for block in moved.samples.blocks:
            samples = length(block)
            if samples < 2:
                raise InputError("bn recompute needs batches of at least two samples; give --bn eval or more samples")
            count = max(1, samples // max(batch, LEAST)) if moved.samples.divisible else 1
            ends = [samples * (i + 1) // count for i in range(count)]
            for start, end in zip([0, *ends], ends, strict=False):
                moved.forward(parts, cut(block, slice(start, end)))
    return moved


@contextmanager
def _told(batch: int) -> Iterator[None]:
    """Memory that runs out: a batch cannot be halved, since its statistics belong together."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not memory.out_of_memory(error):
            raise
        raise ResourceError(f"out of memory with {batch} samples that share statistics; lower --bn-batch") from error


def fresh_statistics(objective: Objective) -> dict[str, Tensor]:
    """Statistics that have seen nothing, by the names of the buffers."""
    found: dict[str, Tensor] = {}
    for name, module in objective.model.named_modules():
        if isinstance(module, execution.BATCH_NORMS) and module.track_running_stats:
            for buffer, start in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
                key = f"{name}.{buffer}" if name else buffer
                found[key] = torch.full_like(objective.constants[key], start)
    return found


def following(objective: Objective, steps: Mapping[str, Tensor], policy: str) -> dict[str, Tensor]:
    """The steps of buffers that are made under a policy: frozen params always, statistics with `interpolate` alone."""
    statistics = fresh_statistics(objective) if policy != "interpolate" else {}
    return {name: step for name, step in steps.items() if name not in statistics}


def moved_buffers(constants: Mapping[str, Tensor], steps: Mapping[str, Tensor], times: float) -> dict[str, Tensor]:
    """Buffers with so many times a step added to those that have one, in float64 and back."""
    return {
        name: (tensor.double() + times * steps[name]).to(tensor.dtype) if name in steps else tensor
        for name, tensor in constants.items()
    }
