"""Which rule belongs to which function, method and layer of torch."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .operations import (
    Rule,
    adding,
    affine,
    attribute,
    clamp,
    concatenating,
    dividing,
    embedding,
    multiplying,
    norm_of_sample,
    norm_of_statistics,
    normalising,
    of_layer,
    padding,
    passing,
    prelu,
    rectifying,
)

_POOLS = [
    f"{pool}{pixels}d"
    for pool in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool")
    for pixels in (1, 2, 3)
]
_CONVOLUTIONS = [f"conv{kind}{pixels}d" for kind in ("", "_transpose") for pixels in (1, 2, 3)]
_MOVEMENTS = (
    "view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes movedim t expand repeat chunk split "
    "flip roll clone detach contiguous to float double getitem"
)
_LINEAR = "neg mean sum cumsum interpolate pixel_shuffle pixel_unshuffle channel_shuffle"
_HOMOGENEOUS = "amax amin dropout dropout1d dropout2d dropout3d"
_RECTIFIERS = "relu relu_ leaky_relu leaky_relu_ rrelu rrelu_"

# What is written over its first argument is listed only where that keeps its scale.
BY_NAME: dict[str, Rule] = {
    **dict.fromkeys([*_POOLS, *_MOVEMENTS.split(), *_LINEAR.split(), *_HOMOGENEOUS.split()], passing),
    **dict.fromkeys(_RECTIFIERS.split(), rectifying),
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"), clamp),
    **dict.fromkeys(["add", "add_", "iadd", "sub", "sub_", "isub", "subtract", "maximum", "minimum"], adding),
    **dict.fromkeys(("cat", "concat", "stack"), concatenating),
    **dict.fromkeys(["mul", "multiply", "matmul", "mm", "bmm"], multiplying),
    **dict.fromkeys(["div", "divide", "true_divide", "truediv"], dividing),
    **dict.fromkeys(("linear", *_CONVOLUTIONS), affine),
    **dict.fromkeys(("batch_norm", "instance_norm"), norm_of_statistics),
    **dict.fromkeys(("layer_norm", "group_norm", "rms_norm"), norm_of_sample),
    "prelu": prelu,
    "embedding": embedding,
    "pad": padding,
}

# Of torch's own functions these take their arguments in another order than torch.nn.functional's.
_OTHER_ORDER = {torch.batch_norm, torch.instance_norm, torch.embedding}

# The objects themselves, since a function of the user's may have any name.
FUNCTIONS: dict[Any, Rule] = {
    getattr(home, name): rule
    for home in (torch, functional, operator)
    for name, rule in BY_NAME.items()
    if hasattr(home, name) and getattr(home, name) not in _OTHER_ORDER
} | {getattr: attribute}


def _layers(names: str, rule: Rule) -> dict[type[nn.Module], Rule]:
    return {getattr(nn, name): rule for name in names.split()}


LAYERS: dict[type[nn.Module], Rule] = {
    **_layers("BatchNorm1d BatchNorm2d BatchNorm3d GroupNorm", of_layer(normalising)),
    **_layers("InstanceNorm1d InstanceNorm2d InstanceNorm3d", of_layer(normalising)),
    **_layers("ConvTranspose1d ConvTranspose2d ConvTranspose3d", of_layer(affine)),
    **_layers("ZeroPad1d ZeroPad2d ZeroPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d", passing),
    **_layers("ReplicationPad1d ReplicationPad2d ReplicationPad3d PixelShuffle PixelUnshuffle Upsample", passing),
}
