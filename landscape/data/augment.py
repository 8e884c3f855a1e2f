"""Augmentation: random flips, crops, rotations and shifts of a batch of images, drawn from a passed generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError, UsageError


@dataclass(frozen=True)
class Augmentation:
    """What is done to each image of a batch, in this order; all of it off by default.

    `flip`: left and right exchanged with probability 1/2. `crop`: that many zeros padded on each side, then a window of
    the old size cut at random (He et al. 2016, section 4.2: 4 pixels). `rotate`: about the centre, by an angle uniform
    in [-rotate, rotate] degrees, counterclockwise; `shift`: down and to the right, by parts of height and width uniform
    in [-shift, shift] (Keskar et al. 2017, appendix E: 10 degrees, .2); both at once, bilinear, the border repeated.

    Raises UsageError unless crop is an int >= 0, 0 <= rotate <= 180 and 0 <= shift < 1.
    """

    flip: bool = False
    crop: int = 0
    rotate: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise UsageError(f"flip must be true or false, got {self.flip!r}")
        if not isinstance(self.crop, int) or isinstance(self.crop, bool) or self.crop < 0:
            raise UsageError(f"crop must be a whole number of pixels >= 0, got {self.crop!r}")
        if not _is_number(self.rotate) or not 0 <= self.rotate <= 180:
            raise UsageError(f"rotate must lie in 0 ... 180 degrees, got {self.rotate!r}")
        if not _is_number(self.shift) or not 0 <= self.shift < 1:
            raise UsageError(f"shift must lie in 0 ... 1, a part of the image's size below 1, got {self.shift!r}")

    @property
    def active(self) -> bool:
        """Whether anything is on."""
        return bool(self.flip or self.crop or self.rotate or self.shift)

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """A new tensor of the augmented inputs (N, channels, height, width): same shape, type, device, memory format.

        What is drawn follows from the generator's state, N and the settings alone, not from device or type.
        Raises InputError for inputs of another shape, and for integers that are to be rotated or shifted.
        """
        if not self.active or not len(inputs):
            return inputs.clone()
        if inputs.dim() != 4:
            raise InputError(
                f"augmentation needs images (N, channels, height, width), got inputs of shape {tuple(inputs.shape)}; "
                "reshape the inputs, or switch augmentation off"
            )
        count, outputs = len(inputs), inputs
        if self.flip:
            draws = torch.rand(count, dtype=torch.float64, generator=generator)
            outputs = flipped(outputs, draws < 0.5)
        if self.crop:
            corners = torch.randint(2 * self.crop + 1, (count, 2), generator=generator)
            outputs = cropped(outputs, corners, self.crop)
        if self.rotate or self.shift:
            if not inputs.is_floating_point():
                raise InputError(
                    f"rotation and shift need floating-point images, got {str(inputs.dtype).removeprefix('torch.')}; "
                    "convert the inputs, or use flip and crop only"
                )
            angles = self._uniform(self.rotate, (count,), generator)
            shifts = self._uniform(self.shift, (count, 2), generator)
            outputs = moved(outputs, angles, shifts)
        return _laid_out(outputs, inputs)

    @staticmethod
    def _uniform(bound: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Float64 draws in [-bound, bound]; zeros, and nothing drawn, where the bound is zero."""
        if not bound:
            return torch.zeros(shape, dtype=torch.float64)
        return (2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1) * bound


def flipped(images: Tensor, which: Tensor) -> Tensor:
    """The images, left and right exchanged where `which` (N,), on the CPU, is true."""
    which = which.to(images.device, non_blocking=True)
    return torch.where(which[:, None, None, None], images.flip(3), images)


def cropped(images: Tensor, corners: Tensor, crop: int) -> Tensor:
    """A window of the old size from each image padded by `crop` zeros; its corner (N, 2) is (row, column), on the CPU.

    The corner (crop, crop) gives the image itself.
    """
    count, channels, height, width = images.shape
    device = images.device
    corners = corners.to(device, non_blocking=True)
    rows = corners[:, :1] + torch.arange(height, device=device)
    columns = corners[:, 1:] + torch.arange(width, device=device)
    sample, channel = torch.arange(count, device=device), torch.arange(channels, device=device)
    padded = F.pad(images, (crop, crop, crop, crop))
    return padded[
        sample[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]


def moved(images: Tensor, angles: Tensor, shifts: Tensor) -> Tensor:
    """The images rotated by `angles` (N,), in degrees counterclockwise, then shifted by `shifts` (N, 2), on the CPU.

    A shift is (down, right) in parts of height and width. With R the rotation of (x, y), in pixels from the centre, the
    output at p is the input at R^-1 (p - shift), bilinear between pixels; outside, the nearest border.
    """
    height, width = images.shape[2:]
    radians = angles.double() * (math.pi / 180)
    cosine, sine = radians.cos(), radians.sin()
    # grid_sample measures both axes in half sizes, where a rotation of pixels is no rotation unless they are equal.
    inverse = torch.stack([cosine, -sine * (height / width), sine * (width / height), cosine], 1).reshape(
        len(images), 2, 2
    )
    offset = -inverse @ (2 * shifts.double().flip(1))[:, :, None]
    # In float64, which neither autocast nor TF32 touches: the grid is a product of matrices.
    theta = torch.cat([inverse, offset], 2).to(images.device, non_blocking=True)
    grid = F.affine_grid(theta, [len(images), 1, height, width], align_corners=False)
    # Half precision cannot tell the pixels of an image of some hundred apart.
    dtype = torch.promote_types(images.dtype, torch.float32)
    return F.grid_sample(
        images.to(dtype), grid.to(dtype), mode="bilinear", padding_mode="border", align_corners=False
    ).to(images.dtype)


def _laid_out(outputs: Tensor, like: Tensor) -> Tensor:
    """The outputs in the memory format of `like`, copied where theirs is another."""
    strides = torch.empty_like(like, device="meta").stride()
    return outputs if outputs.stride() == strides else torch.empty_like(like).copy_(outputs)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
