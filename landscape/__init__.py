"""What batch size does to a neural network: train, measure and draw the loss around its minima.

Public names load on first use, so that `import landscape` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Objective": "objective",
    "AbstractOperator": "operators",
    "Dense": "operators",
    "Hessian": "operators",
    "to_scipy": "operators",
    "top_eigenpairs": "spectrum",
    "line": "slices",
    "plane": "slices",
    "random_direction": "slices",
    "keskar": "sharpness",
    "Recipe": "recipe",
    "train": "training",
    "load_checkpoint": "checkpoint",
    "load_data": "data",
    "build_model": "models",
    "Store": "store",
    "Eigenpairs": "results",
    "Line": "results",
    "Plane": "results",
    "Sharpness": "results",
    "Training": "results",
    "Status": "results",
    "LandscapeError": "errors",
}

__all__ = list(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .checkpoint import load_checkpoint
    from .data import load_data
    from .errors import LandscapeError
    from .models import build_model
    from .objective import Objective
    from .operators import AbstractOperator, Dense, Hessian, to_scipy
    from .recipe import Recipe
    from .results import Eigenpairs, Line, Plane, Sharpness, Status, Training
    from .sharpness import keskar
    from .slices import line, plane, random_direction
    from .spectrum import top_eigenpairs
    from .store import Store
    from .training import train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
