"""The convolutional networks C1 to C4 of Keskar et al. (2017, arXiv 1609.04836, appendix B); F1 is in networks.py."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .checks import require_cifar
from .norms import dense_norm, image_norm
from .vgg import VGG16, convolutions


def c1(norm: str = "batch", *, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Network C1: an AlexNet of two convolutions for CIFAR-10.

    Keskar et al. (2017, appendix B): 2 x [conv 5x5 with 64 channels, norm, ReLU, max-pool 3 of stride 2] - 2 x [dense,
    norm, ReLU, dropout .5] with 384 and 192 units - 10. 1,757,834 params with batch norm. Raises InputError unless the
    data are (3, 32, 32) with 10 classes, UsageError for an unknown norm.
    """
    require_cifar("c1", input_shape, num_classes, 10)
    return _shallow(norm, num_classes)


def c2(norm: str = "batch", *, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Network C2: a VGG-16 with one hidden dense layer for CIFAR-10.

    Keskar et al. (2017, appendix B): 2 x 64, 2 x 128, 3 x 256, 3 x 512 and 3 x 512 of [conv 3x3, norm, ReLU], max-pool
    2 after each stack - dense 512, norm, ReLU, dropout .5 - 10. The authors' published code has more dropout, between
    the convolutions too. 14,991,946 params with batch norm. Raises InputError unless the data are (3, 32, 32) with 10
    classes, UsageError for an unknown norm.
    """
    require_cifar("c2", input_shape, num_classes, 10)
    return _deep(norm, num_classes)


def c3(norm: str = "batch", *, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Network C3: C1 with the 100 classes of CIFAR-100.

    Keskar et al. (2017, appendix B). 1,775,204 params with batch norm. Raises InputError unless the data are
    (3, 32, 32) with 100 classes, UsageError for an unknown norm.
    """
    require_cifar("c3", input_shape, num_classes, 100)
    return _shallow(norm, num_classes)


def c4(norm: str = "batch", *, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """Network C4: C2 with the 100 classes of CIFAR-100.

    Keskar et al. (2017, appendix B). 15,038,116 params with batch norm. Raises InputError unless the data are
    (3, 32, 32) with 100 classes, UsageError for an unknown norm.
    """
    require_cifar("c4", input_shape, num_classes, 100)
    return _deep(norm, num_classes)


def _shallow(norm: str, num_classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for planes in (3, 64):
        layers += [nn.Conv2d(planes, 64, 5, padding=2), *image_norm(norm, 64), nn.ReLU()]
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    # Two poolings leave 8 x 8 of the 32 x 32 pixels.
    layers += [nn.Flatten(), *_dense(64 * 8 * 8, 384, norm), *_dense(384, 192, norm)]
    return nn.Sequential(*layers, nn.Linear(192, num_classes))


def _deep(norm: str, num_classes: int) -> nn.Module:
    # Five poolings leave one of the 32 x 32 pixels.
    layers = [*convolutions(VGG16, 3, norm), nn.Flatten(), *_dense(512, 512, norm)]
    return nn.Sequential(*layers, nn.Linear(512, num_classes))


def _dense(size: int, width: int, norm: str) -> list[nn.Module]:
    return [nn.Linear(size, width), *dense_norm(norm, width), nn.ReLU(), nn.Dropout(0.5)]
