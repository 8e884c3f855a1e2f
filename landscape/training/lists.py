"""Operations on lists of tensors, each a single call of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = Sequence[Tensor]

_KERNELS: Any = torch  # its foreach kernels, which its type stubs do not list


def norm(tensors: Tensors) -> Tensor:
    """Euclidean norm of the tensors taken as one vector, on the device."""
    return torch.stack(_KERNELS._foreach_norm(list(tensors))).norm()


def add_(tensors: Tensors, others: Tensors | float, *, alpha: float = 1.0) -> None:
    """t = t + alpha o, in place."""
    if isinstance(others, (int, float)):
        _KERNELS._foreach_add_(list(tensors), others)
    else:
        _KERNELS._foreach_add_(list(tensors), list(others), alpha=alpha)


def scaled(tensors: Tensors, by: Tensor) -> list[Tensor]:
    """t b, with a scalar on the device."""
    return list(_KERNELS._foreach_mul(list(tensors), by))


def scale_(tensors: Tensors, by: Tensor) -> None:
    """t = t b, in place, with a scalar on the device."""
    _KERNELS._foreach_mul_(list(tensors), by)


def copy_(tensors: Tensors, others: Tensors) -> None:
    """t = o, in place."""
    _KERNELS._foreach_copy_(list(tensors), list(others))


def lerp_(tensors: Tensors, others: Tensors, share: float) -> None:
    """t = (1 - share) t + share o, in place."""
    _KERNELS._foreach_lerp_(list(tensors), list(others), share)
