"""Checks of the arguments and of the data that the built-in networks share."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError, UsageError


def require_bool(name: str, value: object) -> None:
    """UsageError unless `value`, which may come from text, is true or false."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false, got {value!r}")


def require_positive(name: str, value: object) -> None:
    """UsageError unless `value` is a positive integer (a bool is none)."""
    if type(value) is not int or value < 1:
        raise UsageError(f"{name} must be a positive integer, got {value!r}")


def require_images(name: str, input_shape: Sequence[int], pixels: int = 1) -> tuple[int, int, int]:
    """Channels, height and width of the inputs; InputError unless they are images of `pixels` squared or more."""
    if len(input_shape) != 3:
        raise InputError(f"{name} takes images (channels, height, width), got inputs of shape {tuple(input_shape)}")
    channels, height, width = input_shape
    if min(height, width) < pixels:
        raise InputError(
            f"{name} takes images of at least {pixels} x {pixels} pixels, got inputs of shape {tuple(input_shape)}"
        )
    return channels, height, width


def require_cifar(name: str, input_shape: Sequence[int], num_classes: int, classes: int) -> None:
    """InputError unless the data are of the shape of CIFAR-10 or CIFAR-100, as `classes` says."""
    if tuple(input_shape) != (3, 32, 32) or num_classes != classes:
        raise InputError(
            f"{name} takes inputs (3, 32, 32) and {classes} classes (CIFAR-{classes}), "
            f"got {tuple(input_shape)} and {num_classes}"
        )
