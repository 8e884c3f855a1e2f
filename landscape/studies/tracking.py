"""Measures along a training run, by name: what `--track` hands to the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import torch
from torch import nn

from ..data import Samples, load_data
from ..data.corruption import changed
from ..errors import NumericalError, UsageError
from ..noise import gradient_noise
from ..objective import Objective
from ..operators import Hessian
from ..recipe import Recipe
from ..sharpness import measure
from ..spectrum import top_eigenpairs
from ..training import Tracking

Measure = Callable[[Objective], Mapping[str, float]]

TOLERANCE = 1e-3  # relative residual of a tracked eigenvalue
MATVECS = 200


def _eigen(objective: Objective) -> Mapping[str, float]:
    """The largest eigenvalue of the Hessian, as in Jastrzebski et al. (2019); its residual; 2 / it, the largest
    stable rate of plain gradient descent (Cohen et al. 2021)."""
    pairs = top_eigenpairs(Hessian(objective), 1, tol=TOLERANCE, max_matvecs=MATVECS)
    top = float(pairs.eigenvalues[0])
    return {"eigenvalue": top, "residual": float(pairs.residuals[0]), "stable_rate": 2 / top if top > 0 else torch.inf}


def _sharpness(objective: Objective) -> Mapping[str, float]:
    """Keskar's sharpness in the full space, and the rise of the loss along the gradient in units of the weights
    (Kwon et al. 2021), which rescaled layers leave alone; the loss at these samples, which both follow. In float64:
    in float32 the rise at an interpolating minimum is rounding. A measure that is not finite ends no run: it is nan."""
    exact = objective.subset(objective.num_samples, dtype=torch.float64)
    found = {"sharpness": math.nan, "loss": exact.value(), "adaptive": math.nan}
    for column, name in (("sharpness", "keskar"), ("adaptive", "sam-adaptive")):
        with suppress(NumericalError):
            found[column] = measure(exact, name).value
    return found


NOISE = ("b_simple", "b_simple_low", "b_simple_high", "trace_covariance", "gradient_norm_squared")


def _noise(objective: Objective) -> Mapping[str, float]:
    """The simple noise scale tr(Sigma)/|G|^2 with the ends of its interval (McCandlish et al. 2018, section 2.2), what
    it is the ratio of, and the loss at these samples. nan: the scale where the estimate of |G|^2 is not positive, the
    upper end where |G|^2 cannot be told from zero, all where a gradient is not finite. Batch norm uses its stored
    statistics."""
    found = dict.fromkeys(NOISE, math.nan) | {"loss": math.nan}
    with suppress(NumericalError):
        noise = gradient_noise(objective)
        values = {name: getattr(noise, name) for name in found}
        found |= {name: math.nan if value is None else float(value) for name, value in values.items()}
    return found


MEASURES: Mapping[str, Measure] = {"eigen": _eigen, "sharpness": _sharpness, "noise": _noise}


def tracking(name: str, recipe: Recipe, samples: int, every: int) -> Tracking:
    """A measure of the train loss over the first `samples` of a fixed permutation, every so many epochs.

    Raises UsageError for an unknown name. The run does not notice: modes and random states are put back.
    """
    if name not in MEASURES:
        raise UsageError(f"unknown measure {name!r} to track; there are: {', '.join(MEASURES)}")
    found: list[Samples] = []

    def measured(model: nn.Module) -> Mapping[str, float]:
        if not found:
            train = changed(load_data(recipe.data, recipe.data_args), **recipe.changes).train
            found.append(train.first(min(samples, len(train))))
        device = next(model.parameters()).device
        return MEASURES[name](Objective(model, recipe.loss, found[0], device=device, dtype=recipe.dtype))

    return Tracking(name, measured, every)


def tracked(names: Sequence[str], recipe: Recipe, samples: int, every: int) -> tuple[Tracking, ...]:
    """The measures of these names."""
    return tuple(tracking(name, recipe, samples, every) for name in names)
