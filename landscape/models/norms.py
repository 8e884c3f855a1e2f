"""The normalisation layers of the built-in networks: none, of the batch, or of groups of channels."""

from __future__ import annotations

import math

from torch import nn

from ..errors import UsageError

NORMS = ("none", "batch", "group")
# Groups where the channels allow so many: Wu & He (2018) take 32 in networks that begin with 64 channels, two channels
# a group; those here begin with 16.
GROUPS = 8


def require_norm(norm: object) -> None:
    """UsageError unless `norm` is one of NORMS."""
    if norm not in NORMS:
        raise UsageError(f"unknown norm {norm!r}; one of {', '.join(NORMS)}")


def image_norm(norm: str, channels: int) -> list[nn.Module]:
    """The normalisation after a convolution, as a list of no or one layer.

    "batch": Ioffe & Szegedy (2015). "group": Wu & He (2018), the greatest common divisor of 8 and `channels` groups;
    it keeps no statistics and sees each sample alone. Inputs (batch, channels, height, width); 2 * channels params.
    Raises UsageError for another name.
    """
    require_norm(norm)
    if norm == "group":
        return [nn.GroupNorm(math.gcd(GROUPS, channels), channels)]
    return [nn.BatchNorm2d(channels)] if norm == "batch" else []


def dense_norm(norm: str, width: int) -> list[nn.Module]:
    """The normalisation after a dense layer, as `image_norm`; inputs (batch, width), 2 * width params.

    Raises UsageError for another name, and for a group norm whose groups would hold one unit each.
    """
    require_norm(norm)
    if norm == "group":
        groups = math.gcd(GROUPS, width)
        if groups == width:
            # One number less its own mean is zero: the layer would put out the same whatever came in.
            raise UsageError(f"norm group needs dense layers of two units a group, got width {width}; try {2 * width}")
        return [nn.GroupNorm(groups, width)]
    return [nn.BatchNorm1d(width)] if norm == "batch" else []
