"""The generalised Gauss-Newton matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vjp

from ..data import Batch
from ..data.samples import length
from ..objective import Objective
from ..products import GramForm
from .outputs import outputs_and_weight, slope
from .sampled import SampledOperator
from .selfcheck import check_gram


class GaussNewton(SampledOperator):
    """G = 1/W sum_i J_i' C_i J_i: J the derivative of the outputs, C the Hessian of the loss by the outputs.

    What the Hessian would be if the network were linear in its params (Schraudolph 2002); positive semidefinite for a
    loss that is convex in the outputs. The l2 penalty is included. Any loss of (outputs, targets); a product costs
    about 1.2 to 2 gradient passes with all chunks kept. InputError for a loss of (model, batch).
    """

    name = "ggn"

    def __init__(self, objective: Objective, *, hvp: str = "auto", memory: int | None = None) -> None:
        self.form = GramForm(outputs_and_weight(objective), _curvature(objective))
        super().__init__(objective, self.form, hvp=hvp, memory=memory, ridge=objective.l2)

    def self_check(self, seed: int) -> Mapping[str, Any]:
        self.engine.build()
        return check_gram(self.objective, lambda part: GaussNewton(part, hvp="double").engine, _square, seed)


def _curvature(objective: Objective) -> Any:
    def curvature(outputs: Tensor, tangent: Tensor, batch: Batch) -> Tensor:
        def total(at: Tensor) -> Tensor:
            return objective.loss.totals(at, batch[1], length(batch))[0]  # pyright: ignore[reportArgumentType]

        return vjp(grad(total), outputs)[1](tangent)[0]

    return curvature


def _square(objective: Objective, batch: Batch, v: list[Tensor], step: float) -> Tensor:
    """W v'Gv of a chunk by central differences: of the outputs along v, then of the loss's gradient along those."""
    tangent, outputs = slope(objective, batch, v, step)

    def gradient(at: Tensor) -> Tensor:
        at = at.detach().requires_grad_()
        total = objective.loss.totals(at, batch[1], length(batch))[0]  # pyright: ignore[reportArgumentType]
        return torch.autograd.grad(total, at)[0]

    scaled = step / (float(tangent.norm()) or 1.0)
    bend = (gradient(outputs + scaled * tangent) - gradient(outputs - scaled * tangent)) / (2 * scaled)
    return (bend * tangent).sum()
