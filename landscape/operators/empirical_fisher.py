"""The empirical Fisher matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..data import Batch
from ..errors import InputError
from ..objective import Objective
from ..products import GramForm
from .outputs import sample_losses
from .sampled import SampledOperator
from .selfcheck import check_gram


class EmpiricalFisher(SampledOperator):
    """E = sum_i w_i/W g_i g_i': the second moment of the gradients of the samples' losses, at the given targets.

    g_i is the gradient of sample i's mean loss and w_i its weight (1 where samples weigh alike: then the mean over N).
    No Fisher matrix (Kunstner et al. 2019): its trace is small at a minimum that fits all samples. The l2 penalty has
    no part in it. A product costs about 1.2 to 2 gradient passes; a user's loss is called once a sample. InputError
    with batch statistics, where a sample has no gradient of its own.
    """

    name = "empirical-fisher"

    def __init__(self, objective: Objective, *, hvp: str = "auto", memory: int | None = None) -> None:
        if objective.bn == "batch":
            raise InputError("with --bn batch samples share statistics and have no gradients of their own; --bn eval")
        super().__init__(objective, GramForm(sample_losses(objective), _same), hvp=hvp, memory=memory)

    def self_check(self, seed: int) -> Mapping[str, Any]:
        self.engine.build()
        return check_gram(self.objective, lambda part: EmpiricalFisher(part, hvp="double").engine, _square, seed)


def _same(values: Tensor, tangent: Tensor, batch: Batch) -> Tensor:  # noqa: ARG001
    return tangent


def _square(objective: Objective, batch: Batch, v: list[Tensor], step: float) -> Tensor:
    """W v'Ev of a chunk: squared central differences of the samples' losses along v."""
    function, parts = sample_losses(objective), objective.parts()
    with torch.no_grad():
        ahead, behind = (
            function([p + sign * step * d for p, d in zip(parts, v, strict=True)], batch)[0] for sign in (1, -1)
        )
        return ((ahead - behind) / (2 * step)).square().sum()
