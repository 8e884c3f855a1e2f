"""Sharpness as Keskar et al. (2017) define it: metric 2.1, in the full space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize
import torch

from .errors import NumericalError, UsageError
from .objective import Objective
from .results import Sharpness, Status

VERSION = 1
MEASURES = ("keskar",)
DISPLACEMENT = 0.1  # of the box's half-widths: the start where the gradient vanishes


def settings(objective: Objective, *, epsilon: float, iterations: int, seed: int) -> dict[str, Any]:
    """What identifies the result of `keskar` with these arguments."""
    return {
        "kind": Sharpness.kind,
        "version": VERSION,
        "measure": "keskar",
        "space": "full",
        "epsilon": epsilon,
        "iterations": iterations,
        "seed": seed,
        **objective.identity,
    }


def keskar(
    objective: Objective,
    *,
    epsilon: float = 1e-3,
    iterations: int = 10,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Sharpness:
    """Metric 2.1 in the full space (A = I): 100 (max over C of f - f(x)) / (1 + f(x)), in percent.

    C = {x + z : |z_i| <= epsilon (|x_i| + 1)} (Keskar et al. 2017, section 2.2.2; epsilon 1e-3 and 5e-4 there). The
    maximum is sought, inexactly, by `iterations` iterations of L-BFGS-B, 10 in the paper: a lower bound, not yet
    converged after 10 (50 give 1.3 to 1.8 times as much on a small network).

    Three traps: SciPy's default tolerances stop at once at an interpolating minimum, so ftol = gtol = 0 and all is
    float64 (give an Objective with dtype float64); the value of random subspaces depends on their law (not used
    here); and sharpness follows the train loss, which therefore stands in the result as `loss`. The measure is not
    invariant to rescaling the layers (Dinh et al. 2017).

    Where the gradient vanishes at x the search starts a tenth of the box off centre, in a direction drawn from
    `seed`, and `displaced_start` says so. Costs one gradient pass an evaluation, about 1.2 evaluations an iteration.
    Raises UsageError for epsilon <= 0 or iterations < 1, NumericalError where the loss is not finite in the box.
    """
    if not epsilon > 0:
        raise UsageError(f"epsilon must be positive, got {epsilon}")
    if iterations < 1:
        raise UsageError(f"iterations must be at least 1, got {iterations}")
    ascent = _Ascent(objective, progress)
    centre = ascent.origin
    half_widths = epsilon * (np.abs(centre) + 1.0)
    loss, gradient = ascent.negative(np.zeros_like(centre))
    loss = -loss
    if not 1.0 + loss > 0:
        raise NumericalError(f"the metric divides by 1 + loss, which is {1.0 + loss:.3g} here; use a loss above -1")
    displaced = not gradient.any()
    start = np.zeros_like(centre)
    if displaced:
        draws = torch.rand(len(centre), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        start = DISPLACEMENT * half_widths * (2 * draws.numpy() - 1)
    found = scipy.optimize.minimize(
        ascent.negative,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=scipy.optimize.Bounds(-half_widths, half_widths),  # pyright: ignore[reportArgumentType]
        options={"maxiter": iterations, "ftol": 0.0, "gtol": 0.0, "maxfun": 100 * iterations},
    )
    return Sharpness(
        status=Status.COMPLETE,
        settings=settings(objective, epsilon=epsilon, iterations=iterations, seed=seed),
        measure="keskar",
        space="full",
        value=100.0 * (ascent.highest - loss) / (1.0 + loss),
        stderr=None,
        epsilon=epsilon,
        loss=loss,
        max_loss=ascent.highest,
        iterations=int(found.nit),
        num_evaluations=ascent.count,
        on_boundary=float(np.mean(np.abs(ascent.highest_at) >= half_widths * (1 - 1e-12))),
        displaced_start=displaced,
        num_params=len(centre),
        num_samples=objective.num_samples,
    )


@dataclass
class _Ascent:
    """The negated objective around its point, for a minimiser; remembers the highest value met."""

    objective: Objective
    progress: Callable[[int], None] | None
    count: int = 0
    highest: float = -np.inf
    origin: np.ndarray = field(init=False)
    highest_at: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.origin = self.objective.params.double().cpu().numpy().copy()

    def negative(self, shift: np.ndarray) -> tuple[float, np.ndarray]:
        """-f(x + shift) and its gradient, float64."""
        point = torch.from_numpy(self.origin + shift)
        value, gradient = self.objective.at(point).value_and_gradient()
        self.count += 1
        if not np.isfinite(value):
            away = float(np.abs(shift).max())
            raise NumericalError(f"the loss is {value} within {away:.1e} of the params in each coordinate")
        if value > self.highest:
            self.highest, self.highest_at = value, shift.copy()
        if self.progress:
            self.progress(self.count)
        return -value, -gradient.cpu().numpy()
