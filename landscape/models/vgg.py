"""VGG networks for CIFAR: stacks of 3x3 convolutions, each stack ended by a max-pooling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .checks import require_images
from .norms import dense_norm, image_norm

Stacks = Sequence[Sequence[int]]

VGG9: Stacks = ((64,) * 2, (128,) * 2, (256,) * 3)
VGG11: Stacks = ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2)
VGG16: Stacks = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)


def convolutions(stacks: Stacks, planes: int, norm: str) -> list[nn.Module]:
    """For each count of channels conv 3x3 (padding 1, with bias), norm and ReLU; after each stack max-pool 2."""
    layers: list[nn.Module] = []
    for stack in stacks:
        for count in stack:
            layers += [nn.Conv2d(planes, count, 3, padding=1), *image_norm(norm, count), nn.ReLU()]
            planes = count
        layers.append(nn.MaxPool2d(2))
    return layers


def vgg9(norm: str = "batch", *, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """VGG-9: the first 7 convolutions of VGG-16 with norm, dense 256 with norm and ReLU, and the output.

    Li, Xu, Taylor, Studer & Goldstein (2018), the network of their lines between minima; the width of the dense layer
    is that of their published code. Images of any channels, 8 x 8 pixels or more; 2,789,706 params at (3, 32, 32), 10
    classes and batch norm. Raises InputError for other inputs, UsageError for an unknown norm.
    """
    return _vgg("vgg9", VGG9, (256,), norm, input_shape, num_classes)


def vgg11(norm: str = "batch", *, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """VGG-11: the 8 convolutions of configuration A with norm, and one dense layer.

    Simonyan & Zisserman (2015, table 1, A), in its usual form for CIFAR: batch norm, and the output right after the
    convolutions. Images of any channels, 32 x 32 pixels or more; 9,231,114 params at (3, 32, 32), 10 classes and batch
    norm. Raises InputError for other inputs, UsageError for an unknown norm.
    """
    return _vgg("vgg11", VGG11, (), norm, input_shape, num_classes)


def vgg16(norm: str = "batch", *, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """VGG-16: the 13 convolutions of configuration D with norm, and one dense layer.

    Simonyan & Zisserman (2015, table 1, D), in its usual form for CIFAR: batch norm, and the output right after the
    convolutions. Images of any channels, 32 x 32 pixels or more; 14,728,266 params at (3, 32, 32), 10 classes and batch
    norm. Raises InputError for other inputs, UsageError for an unknown norm.
    """
    return _vgg("vgg16", VGG16, (), norm, input_shape, num_classes)


def _vgg(
    name: str, stacks: Stacks, widths: Sequence[int], norm: str, input_shape: Sequence[int], num_classes: int
) -> nn.Module:
    shrinking = 2 ** len(stacks)
    planes, height, breadth = require_images(name, input_shape, pixels=shrinking)
    layers = [*convolutions(stacks, planes, norm), nn.Flatten()]
    size = stacks[-1][-1] * (height // shrinking) * (breadth // shrinking)
    for width in widths:
        layers += [nn.Linear(size, width), *dense_norm(norm, width), nn.ReLU()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, num_classes))
