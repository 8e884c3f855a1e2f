"""The Hessian of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..objective import Objective
from ..products import HessianForm
from .sampled import SampledOperator
from .selfcheck import check_hessian


class Hessian(SampledOperator):
    """d^2 L / dw^2 of an Objective, its l2 penalty included.

    A product costs 1.5 to 3 gradient passes with all chunks kept, 2.5 to 5 with none.

    Args:
        objective: the point, the samples, and the params (n of them, or a block).
        hvp: `auto`, `double` or `linearize`.
        memory: bytes that chunks may keep; by default half of what is free.
    """

    name = "hessian"

    def __init__(self, objective: Objective, *, hvp: str = "auto", memory: int | None = None) -> None:
        super().__init__(objective, HessianForm(objective), hvp=hvp, memory=memory, ridge=objective.l2)

    def self_check(self, seed: int) -> Mapping[str, Any]:
        self.engine.build()  # it names the samples and params that are at fault
        return check_hessian(self.objective, seed)
