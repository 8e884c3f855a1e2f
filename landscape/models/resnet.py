"""Residual networks for CIFAR (He, Zhang, Ren & Sun 2016, section 4.2), with and without their shortcuts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from ..errors import UsageError
from .checks import require_bool, require_images, require_positive
from .norms import image_norm


class Block(nn.Module):
    """relu(shortcut(x) + residual(x)), where the residual is conv 3x3, norm, ReLU, conv 3x3, norm.

    Without `shortcut` it is relu(residual(x)): Li et al. (2018). Inputs (batch, planes, height, width), outputs
    (batch, channels, height / stride, width / stride), rounded up.
    """

    def __init__(self, planes: int, channels: int, stride: int, norm: str, shortcut: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(planes, channels, 3, stride=stride, padding=1, bias=False),
            *image_norm(norm, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            *image_norm(norm, channels),
        )
        self.extra, self.stride, self.has_shortcut = channels - planes, stride, shortcut

    def shortcut(self, inputs: torch.Tensor) -> torch.Tensor:
        """Option A of He et al.: every `stride`-th pixel, and channels of zeros after those there are; no params."""
        if self.stride == 1 and not self.extra:
            return inputs
        kept = inputs[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, 0, self.extra))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.residual(inputs)
        return torch.relu(self.shortcut(inputs) + outputs if self.has_shortcut else outputs)


def resnet(
    depth: int,
    /,
    shortcuts: bool = True,
    zero_gamma: bool = False,
    width: int = 16,
    norm: str = "batch",
    *,
    input_shape: Sequence[int],
    num_classes: int,
) -> nn.Module:
    """ResNet-20, 32, 44 or 56 for CIFAR: 269,722, 464,154, 658,586 or 853,018 params at (3, 32, 32) and 10 classes.

    He et al. (2016, section 4.2): conv 3x3; three stages of (depth - 2) / 6 blocks, of `width`, 2 `width` and 4 `width`
    channels, the second and third halving the image; global average pool; one dense layer. Convolutions have no bias,
    with any norm, and are drawn from the normal distribution of He et al. (2015) with fan-out. `shortcuts=False` is the
    network of Li et al. (2018) without them, with as many params; `zero_gamma` lets the last norm of each block begin
    at zero (Goyal et al. 2017, section 5.1). Images of any channels, 8 x 8 pixels or more. Raises InputError for other
    inputs, UsageError for wrong arguments, among them zero_gamma without a norm or without shortcuts.
    """
    name = f"resnet{depth}"
    planes, _, _ = require_images(name, input_shape, pixels=8)
    require_bool("shortcuts", shortcuts)
    require_bool("zero_gamma", zero_gamma)
    require_positive(f"{name} width", width)
    if zero_gamma and norm == "none":
        raise UsageError("zero_gamma needs a norm, got norm 'none'; give batch or group")
    if zero_gamma and not shortcuts:
        # Each block would put out zeros, at which the gradient of ReLU is zero: no step would ever change that.
        raise UsageError("zero_gamma needs shortcuts, got shortcuts False; leave one of them as it is by default")
    layers = [nn.Conv2d(planes, width, 3, padding=1, bias=False), *image_norm(norm, width), nn.ReLU()]
    planes = width
    for channels in (width, 2 * width, 4 * width):
        # depth counts the first convolution, two for each block of the three stages, and the dense layer.
        for _ in range((depth - 2) // 6):
            stride = 1 if planes == channels else 2
            layers.append(Block(planes, channels, stride, norm, shortcuts))
            planes = channels
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(planes, num_classes))
    _initialise(model, zero_gamma)
    return model


def _initialise(model: nn.Module, zero_gamma: bool) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Block) and zero_gamma:
            gamma = module.residual[-1].weight
            assert isinstance(gamma, torch.Tensor)
            nn.init.zeros_(gamma)
