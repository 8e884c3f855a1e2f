"""Curvature along a slice: the largest eigenvalue of the Hessian at each point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import NumericalError
from ..objective import Objective
from ..operators import Hessian
from ..spectrum import top_eigenpairs

EIGEN_COLUMNS = ("eigenvalue", "eigenvalue_residual")


@dataclass(frozen=True)
class Curvature:
    """The largest eigenvalue l of the Hessian at a point, and its relative residual |Hv - lv| / |l|.

    Each point on its own, from the same random start. Products by double backward: the faster of two paths would be
    taken by a clock, and a line that goes on must have the same bits. About 20 to 60 products a point.
    """

    tol: float = 1e-2
    max_matvecs: int = 200
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """What identifies it."""
        return {"tol": self.tol, "max_matvecs": self.max_matvecs, "seed": self.seed}

    def __call__(self, objective: Objective) -> Mapping[str, float]:
        """The columns at a point; nan where the Hessian is not finite."""
        try:
            found = top_eigenpairs(Hessian(objective, hvp="double"), 1, which="largest", **self.settings)
        except NumericalError:
            return dict.fromkeys(EIGEN_COLUMNS, math.nan)
        return dict(zip(EIGEN_COLUMNS, (float(found.eigenvalues[0]), float(found.residuals[0])), strict=True))
