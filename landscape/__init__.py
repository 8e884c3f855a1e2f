"""What batch size does to a neural network: train, measure and draw the loss around its minima.

Public names load on first use, so that `import landscape` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Objective": "objective",
    "AbstractOperator": "operators",
    "Congruent": "operators",
    "Deflated": "operators",
    "Dense": "operators",
    "EmpiricalFisher": "operators",
    "Fisher": "operators",
    "GaussNewton": "operators",
    "GradientCovariance": "operators",
    "Hessian": "operators",
    "Shifted": "operators",
    "top_eigenpairs": "spectrum",
    "trace": "traces",
    "spectral_density": "quadrature",
    "subspace_overlap": "subspace",
    "line": "slices",
    "plane": "slices",
    "path": "paths",
    "random_direction": "slices",
    "rescale": "rescaling",
    "keskar": "sharpness",
    "measure": "sharpness",
    "gradient_noise": "noise",
    "batch_errors": "noise",
    "NoiseScale": "noise",
    "Recipe": "recipe",
    "train": "training",
    "load_checkpoint": "checkpoint",
    "load_data": "data",
    "build_model": "models",
    "Store": "store",
    "BatchErrors": "results",
    "BatchSizes": "results",
    "Comparison": "results",
    "Correlation": "results",
    "Density": "results",
    "Eigenpairs": "results",
    "GradientNoise": "results",
    "Line": "results",
    "Plane": "results",
    "Sharpness": "results",
    "SharpnessSeries": "results",
    "Trace": "results",
    "TradeOff": "results",
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
    from .noise import NoiseScale, batch_errors, gradient_noise
    from .objective import Objective
    from .operators import (
        AbstractOperator,
        Congruent,
        Deflated,
        Dense,
        EmpiricalFisher,
        Fisher,
        GaussNewton,
        GradientCovariance,
        Hessian,
        Shifted,
    )
    from .paths import path
    from .quadrature import spectral_density
    from .recipe import Recipe
    from .rescaling import rescale
    from .results import (
        BatchErrors,
        BatchSizes,
        Comparison,
        Correlation,
        Density,
        Eigenpairs,
        GradientNoise,
        Line,
        Plane,
        Sharpness,
        SharpnessSeries,
        Status,
        Trace,
        TradeOff,
        Training,
    )
    from .sharpness import keskar, measure
    from .slices import line, plane, random_direction
    from .spectrum import top_eigenpairs
    from .store import Store
    from .subspace import subspace_overlap
    from .traces import trace
    from .training import train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
