"""The random directions of a slice, from a seed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..objective import Objective
from ..slices import random_direction


def directions_from(objective: Objective, count: int, seed: int, normalize: str) -> tuple[Tensor, ...]:
    """`count` random directions (n,) from one seed: the first of a plane's two is that of a line."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(random_direction(objective, generator, normalize=normalize) for _ in range(count))


def described(seed: int, normalize: str) -> dict[str, Any]:
    """How `directions_from` made its directions, to be kept with a result."""
    return {"kind": "random", "seed": seed, "normalize": normalize, "left out": "params of one dimension"}
