"""Several points at once: on a GPU one point of a small network leaves most of the device idle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from .. import memory, passes
from ..objective import Objective
from ..passes import Measured

# Points at once. On a CPU more gained nothing on an mlp and cost a factor of two on a cnn.
POINTS = {"cpu": 1, "cuda": 16}
AGREES = {torch.float32: 1e-4, torch.float64: 1e-9}  # relative difference of the losses by both ways


Three = tuple[Tensor, Tensor, Tensor]


class Together:
    """Measures groups of points of one objective, by `vmap` over the params where that runs and agrees.

    The first points of the slice are measured both ways, wherever the work goes on. Where a layer does not run under
    vmap or the losses differ, where the loss is the user's own, and with batch statistics, the points go one by one; so
    does a group for which memory runs out. A group is always measured whole, so that what is computed together does not
    depend on where the work was cut. Costs one forward pass a point.
    """

    def __init__(self, first: Callable[[int], Sequence[Objective]]) -> None:
        self.first, self.works = first, None

    def __call__(self, points: Sequence[Objective]) -> Measured:
        """Values with a leading axis: loss (P,), influences (P, G)."""
        if len(points) > 1 and _fits(points[0]):
            if self.works is None:
                self.works = self._decided(self.first(len(points)))
            found = self._tried(points) if self.works else None
            if found is not None:
                return found
        return joined([point.measured() for point in points])

    def _decided(self, points: Sequence[Objective]) -> bool:
        found, alone = self._tried(points), joined([point.measured() for point in points])
        near = AGREES[points[0].dtype]
        return found is not None and torch.allclose(found.loss, alone.loss, rtol=near, atol=near, equal_nan=True)

    def _tried(self, points: Sequence[Objective]) -> Measured | None:
        try:
            return at_once(points)
        except RuntimeError as error:  # what torch raises for a layer that vmap does not know, too
            if memory.out_of_memory(error):
                memory.release()
        return None


def _fits(objective: Objective) -> bool:
    return objective.loss.per_sample is not None and objective.bn == "eval" and objective.samples.divisible


def joined(found: Sequence[Measured]) -> Measured:
    """Points measured one by one, with a leading axis."""
    if len(found) == 1:
        return Measured(*(getattr(found[0], name)[None] for name in Measured.__dataclass_fields__))
    return Measured(*(torch.stack([getattr(one, name) for one in found]) for name in Measured.__dataclass_fields__))


def at_once(points: Sequence[Objective]) -> Measured:
    """The same by one forward pass over all points' params, (P, n)."""
    first = points[0]
    parts = [torch.stack(tensors) for tensors in zip(*(point.parts() for point in points), strict=True)]
    moving = {
        name: torch.stack([point.constants[name] for point in points])
        for name, tensor in first.constants.items()
        if any(point.constants[name] is not tensor for point in points)
    }
    per_sample = first.loss.per_sample
    assert per_sample is not None

    def one(
        own: list[Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        state: dict[str, Any] = {**first.constants, **buffers, **dict(zip(first.layout.names, own, strict=True))}
        outputs = functional_call(first.model, state, (inputs,))
        sums, weights = per_sample(outputs, targets)
        return sums, weights, passes.hits(outputs, (inputs, targets))

    columns: list[Three] = []
    with first.running(), torch.no_grad():
        for batch in first.samples.chunks(first.chunk):
            assert isinstance(batch, tuple)
            columns.append(vmap(one, in_dims=(0, 0, None, None))(parts, moving, *batch))
    sums, weights, found = (torch.cat(column, dim=1).double() for column in zip(*columns, strict=True))
    totals = torch.stack([torch.stack([s.sum(1), w.sum(1)]).double() for s, w, _ in columns]).sum(0)
    groups = passes.Groups(sums, weights, found, torch.ones_like(sums))
    total_sum, total_weight = totals
    return groups.measured(total_sum, total_weight, torch.stack([point.penalty() for point in points]))
