"""The built-in networks. Each takes the shape of an input and the number of classes from the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from ..errors import InputError, UsageError

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "softplus": nn.Softplus}


def mlp(
    widths: Sequence[int] = (128, 128),
    activation: str = "relu",
    batch_norm: bool = False,
    *,
    input_shape: Sequence[int],
    num_classes: int,
) -> nn.Module:
    """A multilayer perceptron: `widths` are those of the hidden layers, each linear, [norm,] activation."""
    if activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation {activation!r}; one of {', '.join(ACTIVATIONS)}")
    if not isinstance(widths, Sequence) or not all(type(w) is int and w > 0 for w in widths):
        raise UsageError(f"mlp widths must be a list of positive integers, got {widths!r}")
    _require_bool("batch_norm", batch_norm)
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(input_shape)
    for width in widths:
        layers.append(nn.Linear(size, width))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(ACTIVATIONS[activation]())
        size = width
    return nn.Sequential(*layers, nn.Linear(size, num_classes))


def f1(*, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Network F1 of Keskar et al. (2017, appendix B): 784 - 5 x [512, batch norm, ReLU] - 10; 1,462,794 params."""
    if math.prod(input_shape) != 784 or num_classes != 10:
        raise InputError(f"f1 takes 784 inputs and 10 classes (MNIST), got {tuple(input_shape)} and {num_classes}")
    return mlp((512,) * 5, batch_norm=True, input_shape=input_shape, num_classes=num_classes)


def cnn(
    channels: Sequence[int] = (16, 32),
    width: int = 64,
    batch_norm: bool = False,
    *,
    input_shape: Sequence[int],
    num_classes: int,
) -> nn.Module:
    """A small convolutional network: for each of `channels` conv 3x3, [norm,] ReLU, max-pool 2; then two dense."""
    if len(input_shape) != 3:
        raise InputError(f"cnn takes images (channels, height, width), got inputs of shape {tuple(input_shape)}")
    if not isinstance(channels, Sequence) or not all(type(c) is int and c > 0 for c in channels):
        raise UsageError(f"cnn channels must be a list of positive integers, got {channels!r}")
    if type(width) is not int or width < 1:
        raise UsageError(f"cnn width must be a positive integer, got {width!r}")
    _require_bool("batch_norm", batch_norm)
    planes, height, breadth = input_shape
    layers: list[nn.Module] = []
    for count in channels:
        layers.append(nn.Conv2d(planes, count, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(count))
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
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


def _require_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false, got {value!r}")
