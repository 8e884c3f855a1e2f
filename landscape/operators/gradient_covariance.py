"""The covariance of the samples' gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..objective import Objective
from .empirical_fisher import EmpiricalFisher


class GradientCovariance(EmpiricalFisher):
    """D = sum_i w_i/W g_i g_i' - g g', the covariance of the gradients of the samples' losses about their mean g.

    With `ddof=0` the D of Chaudhari & Soatto (2018, section 2.1); with `ddof=1`, N/(N-1) D, the unbiased estimate of
    the Sigma of McCandlish et al. (2018, section 2.2) from N draws. A step of SGD with batches of B has the covariance
    Sigma / B. The l2 penalty cancels. Costs as EmpiricalFisher, and one gradient pass at the start.
    """

    name = "gradient-covariance"

    def __init__(self, objective: Objective, *, ddof: int = 0, hvp: str = "auto", memory: int | None = None) -> None:
        if objective.num_samples <= ddof:
            raise InputError(f"a covariance with ddof={ddof} needs more samples than {objective.num_samples}")
        super().__init__(objective, hvp=hvp, memory=memory)
        self.ddof = ddof
        penalty = objective.l2 * objective.params.double()
        self.mean = objective.value_and_gradient()[1] - penalty

    def matmat(self, matrix: Tensor) -> Tensor:
        """D X for X of shape (n, s)."""
        about_zero = self.engine.multiply(matrix)
        about_mean = about_zero - torch.outer(self.mean, self.mean @ matrix.double())
        return (self.num_samples_factor * about_mean).to(self.dtype)

    @property
    def num_samples_factor(self) -> float:
        """N / (N - ddof)."""
        return self.objective.num_samples / (self.objective.num_samples - self.ddof)

    def identity(self) -> Mapping[str, Any]:
        return {**super().identity(), "ddof": self.ddof}
