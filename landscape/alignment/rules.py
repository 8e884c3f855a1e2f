"""Which rule belongs to which function, method and layer of torch."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from types import EllipsisType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from . import operations
from .operations import Axes, Call, Carried

Rule = Callable[..., Axes | tuple[Axes, ...]]

_ARITHMETIC = (
    "add sub mul div truediv floordiv true_divide neg pow maximum minimum where lerp addcmul eq ne lt le gt ge"
)
_ELEMENTARY = (
    "abs exp expm1 log log1p sqrt rsqrt square reciprocal sin cos erf sign clamp clamp_min clamp_max masked_fill clone "
    "detach contiguous to float double zeros_like ones_like"
)
_ACTIVATIONS = (
    "relu relu6 leaky_relu elu celu selu gelu silu mish softplus softsign sigmoid logsigmoid tanh tanhshrink hardtanh "
    "hardswish hardsigmoid hardshrink softshrink threshold softmax log_softmax softmin normalize dropout dropout1d "
    "dropout2d dropout3d alpha_dropout feature_alpha_dropout"
)
_POINTWISE = f"{_ARITHMETIC} {_ELEMENTARY} {_ACTIVATIONS}"
_POOLS = ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool")
_MOVEMENTS = "view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes movedim t expand chunk split"


def _getitem(call: Call, tensor: Carried, index: Any) -> Axes | tuple[Axes, ...]:
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is None or type(part) in (int, slice, EllipsisType) for part in parts):
        raise ValueError("places picked one by one")
    return operations.movement(call, tensor, index)


def _getattr(call: Call, tensor: Carried, name: str) -> Axes | tuple[Axes, ...]:
    if name not in ("T", "mT"):
        raise ValueError("an attribute that is not understood")
    return operations.movement(call, tensor, name)


BY_NAME: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE.split(), operations.pointwise),
    # in place: the tensor changed keeps its axes, and what is added to it is tied to them
    **dict.fromkeys([f"{name}_" for name in _POINTWISE.split()], operations.pointwise),
    **dict.fromkeys(("iadd", "isub", "imul", "itruediv"), operations.pointwise),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp"), operations.reduction),
    **dict.fromkeys(_MOVEMENTS.split(), operations.movement),
    **dict.fromkeys(("matmul", "mm", "bmm"), operations.matmul),
    **dict.fromkeys(("cat", "concat"), operations.concatenation),
    **dict.fromkeys((f"conv{pixels}d" for pixels in (1, 2, 3)), operations.convolution),
    **dict.fromkeys(("batch_norm", "prelu"), operations.channelwise),
    **dict.fromkeys(("layer_norm", "rms_norm"), operations.layer_norm),
    **{f"{pool}{pixels}d": partial(operations.of_pixels, pixels) for pool in _POOLS for pixels in (1, 2, 3)},
    "linear": operations.linear,
    "embedding": operations.embedding,
    "pad": operations.padding,
    "getitem": _getitem,
}

# The objects themselves, since a function of the user's may have any name.
FUNCTIONS: dict[Any, Rule] = {
    getattr(home, name): rule
    for home in (torch, functional, operator)
    for name, rule in BY_NAME.items()
    if hasattr(home, name)
} | {getattr: _getattr}

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
