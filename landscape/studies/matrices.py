"""The operators that commands name."""

from __future__ import annotations

from collections.abc import Callable

from .. import operators
from ..objective import Objective
from ..operators import AbstractOperator
from .measured import Request

Make = Callable[[Objective, Request], AbstractOperator]


def _fisher(objective: Objective, request: Request, monte_carlo: int | None) -> AbstractOperator:
    options = {"hvp": request.hvp, "memory": request.memory}
    return operators.Fisher(objective, monte_carlo=monte_carlo, seed=request.seed, **options)


OPERATORS: dict[str, Make] = {
    "hessian": lambda o, r: operators.Hessian(o, hvp=r.hvp, memory=r.memory),
    "ggn": lambda o, r: operators.GaussNewton(o, hvp=r.hvp, memory=r.memory),
    "fisher": lambda o, r: _fisher(o, r, None),
    "fisher-mc": lambda o, r: _fisher(o, r, 1),
    "empirical-fisher": lambda o, r: operators.EmpiricalFisher(o, hvp=r.hvp, memory=r.memory),
    "gradient-covariance": lambda o, r: operators.GradientCovariance(o, hvp=r.hvp, memory=r.memory),
}


def operator_of(name: str, objective: Objective, request: Request) -> AbstractOperator:
    """The operator of a name at an objective, with the request's path, memory and seed."""
    return OPERATORS[name](objective, request)
