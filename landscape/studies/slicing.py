"""The random directions of a slice, from a seed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..objective import Objective
from ..slices import random_direction


def directions_from(objective: Objective, seed: int, normalize: str) -> tuple[Tensor, Tensor]:
    """Two random directions (n,) from one seed: both for a plane, the first for a line."""
    generator = torch.Generator().manual_seed(seed)
    first = random_direction(objective, generator, normalize=normalize)
    return first, random_direction(objective, generator, normalize=normalize)


def described(seed: int, normalize: str) -> dict[str, Any]:
    """How `directions_from` made its directions, to be kept with a result."""
    return {"kind": "random", "seed": seed, "normalize": normalize, "left out": "params of one dimension"}
