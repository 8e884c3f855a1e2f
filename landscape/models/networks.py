"""Networks of any width and depth, and F1. As all built-in ones they take input shape and classes from the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from ..errors import InputError, UsageError
from .checks import require_images, require_positive
from .norms import dense_norm, image_norm, require_norm

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "softplus": nn.Softplus}


def mlp(
    widths: Sequence[int] = (128, 128),
    activation: str = "relu",
    norm: str = "none",
    *,
    input_shape: Sequence[int],
    num_classes: int,
) -> nn.Module:
    """A multilayer perceptron: `widths` are those of the hidden layers, each linear, [norm,] activation."""
    if activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation {activation!r}; one of {', '.join(ACTIVATIONS)}")
    if not isinstance(widths, Sequence) or not all(type(w) is int and w > 0 for w in widths):
        raise UsageError(f"mlp widths must be a list of positive integers, got {widths!r}")
    require_norm(norm)
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(input_shape)
    for width in widths:
        layers += [nn.Linear(size, width), *dense_norm(norm, width), ACTIVATIONS[activation]()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, num_classes))


def f1(*, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Network F1 of Keskar et al. (2017, appendix B): 784 - 5 x [512, batch norm, ReLU] - 10; 1,462,794 params."""
    if math.prod(input_shape) != 784 or num_classes != 10:
        raise InputError(f"f1 takes 784 inputs and 10 classes (MNIST), got {tuple(input_shape)} and {num_classes}")
    return mlp((512,) * 5, norm="batch", input_shape=input_shape, num_classes=num_classes)


def cnn(
    channels: Sequence[int] = (16, 32),
    width: int = 64,
    norm: str = "none",
    *,
    input_shape: Sequence[int],
    num_classes: int,
) -> nn.Module:
    """A small convolutional network: for each of `channels` conv 3x3, [norm,] ReLU, max-pool 2; then two dense."""
    planes, height, breadth = require_images("cnn", input_shape)
    if not isinstance(channels, Sequence) or not all(type(c) is int and c > 0 for c in channels):
        raise UsageError(f"cnn channels must be a list of positive integers, got {channels!r}")
    require_positive("cnn width", width)
    require_norm(norm)
    layers: list[nn.Module] = []
    for count in channels:
        layers += [nn.Conv2d(planes, count, 3, padding=1), *image_norm(norm, count), nn.ReLU(), nn.MaxPool2d(2)]
        planes, height, breadth = count, height // 2, breadth // 2
    if height < 1 or breadth < 1:
        raise InputError(f"cnn with {len(channels)} poolings is too deep for inputs of shape {tuple(input_shape)}")
    layers += [
        nn.Flatten(),
        nn.Linear(planes * height * breadth, width),
        nn.ReLU(),
        nn.Linear(width, num_classes),
    ]
    return nn.Sequential(*layers)
