"""What the operators of an objective share: products by the engine, blocks by the layout."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from torch import Tensor

from ..objective import Objective
from ..products import Engine, Form
from .base import AbstractOperator
from .outputs import num_classes


class SampledOperator(AbstractOperator):
    """A matrix that is a mean over the objective's samples, plus `ridge` times the identity.

    `hvp` and `memory` (bytes that chunks may keep) are the engine's; see `landscape.products.Engine`. `over` is the
    objective that the engine runs on, where the targets of its samples are others.
    """

    def __init__(
        self,
        objective: Objective,
        form: Form,
        *,
        hvp: str,
        memory: int | None,
        ridge: float = 0.0,
        over: Objective | None = None,
    ) -> None:
        self.objective, self.ridge = objective, ridge
        self.engine = Engine(over or objective, form, hvp=hvp, budget=memory)
        self.size = objective.layout.size
        self.dtype, self.device = objective.dtype, objective.device
        self.num_samples = objective.num_samples
        self.loss = objective.value()
        self.num_classes = num_classes(objective)

    def matvec(self, vector: Tensor) -> Tensor:
        return self.matmat(vector[:, None])[:, 0]

    def matmat(self, matrix: Tensor) -> Tensor:
        """A X for X of shape (n, s); several columns in one pass where that is faster."""
        return (self.engine.multiply(matrix) + self.ridge * matrix).to(self.dtype)

    def gradient(self) -> Tensor:
        """Of the objective, its penalty included. One gradient pass."""
        return self.objective.value_and_gradient()[1]

    def identity(self) -> Mapping[str, Any]:
        return {**self.objective.identity, "hvp": self.engine.hvp}

    def report(self) -> Mapping[str, Any]:
        return self.engine.report()

    def conditions(self) -> Mapping[str, Any]:
        report = self.engine.report()
        return {"path": report.get("path"), "block": self.engine.block, "chunk": self.objective.chunk}

    def pin(self, conditions: Mapping[str, Any]) -> None:
        self.engine.pin(conditions["path"], conditions["block"], conditions["chunk"])

    def blocks(self) -> Mapping[str, slice]:
        layout = self.objective.layout
        ends = list(accumulate(layout.sizes))
        return {name: slice(end - size, end) for name, end, size in zip(layout.names, ends, layout.sizes, strict=True)}
