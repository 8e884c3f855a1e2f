"""Batch norm in training: over ghosts (Hoffer et al. 2017), frozen, and re-estimated for averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import Samples
from ..data.samples import cut
from ..errors import InputError
from ..execution import BATCH_NORMS
from ..losses import Loss
from .evaluation import totals

LEAST = 32  # samples of a batch whose statistics are averaged


def norms_of(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch-norm layers of a model."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS)]


def use_ghosts(model: nn.Module, size: int) -> None:
    """Makes every batch norm normalise each ghost of `size` samples by its own statistics while it trains.

    Hoffer et al. (2017, algorithm 1): the running statistics move ghost by ghost, r = (1 - m) r + m s_j; the last
    ghost may be short. In eval mode nothing changes, and neither do the names of params and buffers.
    """
    for module in norms_of(model):
        if isinstance(module, nn.SyncBatchNorm):
            raise InputError("--ghost-batch does not know SyncBatchNorm; use BatchNorm")
        setattr(module, "forward", partial(_ghosts, module, type(module).forward, size))  # noqa: B010 - by instance


def _ghosts(module: nn.modules.batchnorm._BatchNorm, whole: Callable[..., Tensor], size: int, inputs: Tensor) -> Tensor:
    if not module.training or len(inputs) <= size:
        return whole(module, inputs)
    even = len(inputs) // size * size
    parts = [_even_ghosts(module, inputs[:even], size)]
    if even < len(inputs):
        parts.append(_even_ghosts(module, inputs[even:], len(inputs) - even))
    return torch.cat(parts)


def _even_ghosts(module: nn.modules.batchnorm._BatchNorm, inputs: Tensor, size: int) -> Tensor:
    """All ghosts in one call: the g ghosts of c channels are g c channels of a batch of `size` samples."""
    module._check_input_dim(inputs)
    count, channels, rest = len(inputs) // size, inputs.shape[1], inputs.shape[2:]
    if size * rest.numel() == 1:
        raise ValueError("Expected more than 1 value per channel when training: a ghost of one sample")
    folded = inputs.view(count, size, channels, *rest).transpose(0, 1).reshape(size, count * channels, *rest)
    kept = torch.float32 if inputs.dtype in (torch.bfloat16, torch.float16) else inputs.dtype
    mean = torch.zeros(count * channels, dtype=kept, device=inputs.device)
    variance = torch.zeros_like(mean)
    affine = [None if p is None else p.repeat(count) for p in (module.weight, module.bias)]
    # with momentum 1 the running statistics of this call are those of each ghost
    out = functional.batch_norm(folded, mean, variance, *affine, training=True, momentum=1.0, eps=module.eps)
    if module.track_running_stats:
        _follow(module, mean.view(count, channels), variance.view(count, channels))
    return out.view(size, count, channels, *rest).transpose(0, 1).reshape(inputs.shape)


@torch.no_grad()
def _follow(module: nn.modules.batchnorm._BatchNorm, means: Tensor, variances: Tensor) -> None:
    assert module.num_batches_tracked is not None
    assert module.running_mean is not None
    assert module.running_var is not None
    for mean, variance in zip(means, variances, strict=True):
        module.num_batches_tracked.add_(1)
        # momentum None: the plain average over all ghosts so far, as torch defines it
        share = 1.0 / module.num_batches_tracked.to(mean.dtype) if module.momentum is None else module.momentum
        module.running_mean.lerp_(mean, share)
        module.running_var.lerp_(variance, share)


def freeze(model: nn.Module) -> None:
    """Batch norms on stored statistics from now on, which stay as they are; their weights still learn."""
    for module in norms_of(model):
        module.eval()


@contextmanager
def untracked(model: nn.Module) -> Iterator[None]:
    """Batch statistics used but not followed: a second pass over a batch must not count twice."""
    tracking = [m for m in norms_of(model) if m.track_running_stats]
    try:
        for module in tracking:
            module.track_running_stats = False
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


@torch.no_grad()
def re_estimate(model: nn.Module, loss: Loss, samples: Samples, batch_size: int) -> None:
    """Running statistics of the params as they are: the average over batches of all samples, in order.

    Izmailov et al. (2018, section 3.2): averaged weights have never seen a batch. The batches hold about `batch_size`
    samples each, and no fewer than 32, so that none has too few for a variance. One forward pass.
    """
    layers = [m for m in norms_of(model) if m.track_running_stats]
    if not layers:
        return
    momenta = [m.momentum for m in layers]
    modes = {module: module.training for module in model.modules()}
    ghosts = {module: module.__dict__.pop("forward") for module in layers if "forward" in module.__dict__}
    count = max(1, len(samples) // max(batch_size, LEAST))
    ends = [len(samples) * (i + 1) // count for i in range(count)]
    try:
        model.eval()
        for module in layers:
            module.reset_running_stats()
            module.momentum = None
            module.train()
        for start, end in zip([0, *ends], ends, strict=False):
            totals(model, loss, cut(samples.blocks[0], slice(start, end)))
    finally:
        for module, forward in ghosts.items():
            setattr(module, "forward", forward)  # noqa: B010 - by instance
        for module, momentum in zip(layers, momenta, strict=True):
            module.momentum = momentum
        for module, training in modes.items():
            module.training = training
