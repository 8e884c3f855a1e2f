"""What one chunk adds to a product, in two forms: a graph of autograd's, and a function that can be traced.

The graph is the reference. Both are sums over the chunk's samples; the engine divides by the sum of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from .. import passes
from ..data import Batch
from ..objective import Objective

Tensors = Sequence[Tensor]


class Graph(Protocol):
    """One chunk at one point, ready to be multiplied. Holds autograd graphs, so it takes memory."""

    weight: Tensor
    used: tuple[bool, ...]  # which of the parts the chunk's sum depends on

    def product(self, along: Tensors, *, block: bool = False) -> tuple[Tensor, ...]:
        """The chunk's part of A v; with `block`, of A V, each tensor of `along` holding one vector a row."""
        ...


class Form(Protocol):
    """A matrix that is a sum over chunks."""

    def value(self, parts: Tensors, batch: Batch) -> Tensor:
        """What is differentiated: one gradient of its sum is the pass that costs are counted in."""
        ...

    def graph(self, parts: Tensors, batch: Batch) -> Graph:
        """The chunk's products by reverse mode alone. `parts` require gradients."""
        ...

    def traced(self, parts: Tensors, along: Tensors, batch: Batch) -> tuple[Tensor, ...]:
        """The same product as one function of tensors, for `linearize`."""
        ...


@dataclass
class _HessianGraph:
    weight: Tensor
    used: tuple[bool, ...]
    first: Sequence[Tensor | None]
    parts: Tensors

    def product(self, along: Tensors, *, block: bool = False) -> tuple[Tensor, ...]:
        return passes.second_product(self.first, self.parts, along, keep=True, block=block)


class HessianForm:
    """H v = d/dw <dL/dw, v>.

    The graph is double backward (Pearlmutter 1994); the traced form is forward over reverse, jvp(grad), which is
    right where it runs. (jvp(jacrev) and reverse over forward are silently wrong for fused norm layers.)
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def value(self, parts: Tensors, batch: Batch) -> Tensor:
        return self.objective.forward(parts, batch)[1][0]

    def graph(self, parts: Tensors, batch: Batch) -> Graph:
        _, (total, weight) = self.objective.forward(parts, batch)
        first = passes.gradients(total, parts, graph=True)
        return _HessianGraph(weight, tuple(g is not None for g in first), first, parts)

    def traced(self, parts: Tensors, along: Tensors, batch: Batch) -> tuple[Tensor, ...]:
        gradient = grad(lambda at: self.value(at, batch))
        return jvp(gradient, (tuple(parts),), (tuple(along),))[1]


# (params, batch) -> what is differentiated, and the chunk's weight
Function = Callable[[Tensors, Batch], tuple[Tensor, Tensor]]
# (value of that function, a tangent of it, batch) -> C times the tangent
Middle = Callable[[Tensor, Tensor, Batch], Tensor]


class GramForm:
    """J' C J v, with J the derivative of `function` and C a symmetric map `middle` between its values.

    J v is the derivative of J' u by u, so that both forms need reverse mode only (no forward formulas of layers).
    """

    def __init__(self, function: Function, middle: Middle) -> None:
        self.function, self.middle = function, middle

    def value(self, parts: Tensors, batch: Batch) -> Tensor:
        return self.function(parts, batch)[0]

    def graph(self, parts: Tensors, batch: Batch) -> Graph:
        values, weight = self.function(parts, batch)
        cotangent = torch.zeros_like(values, requires_grad=True)
        pulled = torch.autograd.grad(values, parts, cotangent, create_graph=True, allow_unused=True)
        used = tuple(p is not None for p in pulled)

        def middle(tangent: Tensor) -> Tensor:
            return self.middle(values.detach(), tangent, batch)

        return _GramGraph(weight, used, values, cotangent, pulled, parts, middle)

    def traced(self, parts: Tensors, along: Tensors, batch: Batch) -> tuple[Tensor, ...]:
        values, pull, *_ = vjp(lambda at: self.function(at, batch)[0], tuple(parts))
        tangent = vjp(lambda u: pull(u)[0], torch.zeros_like(values))[1](tuple(along))[0]
        return pull(self.middle(values, tangent, batch))[0]


@dataclass
class _GramGraph:
    weight: Tensor
    used: tuple[bool, ...]
    values: Tensor
    cotangent: Tensor
    pulled: Sequence[Tensor | None]
    parts: Tensors
    middle: Callable[[Tensor], Tensor]

    def product(self, along: Tensors, *, block: bool = False) -> tuple[Tensor, ...]:
        pairs = [(p, v) for p, v in zip(self.pulled, along, strict=True) if p is not None]
        options: dict[str, Any] = {"retain_graph": True, "is_grads_batched": block}
        (tangent,) = torch.autograd.grad([p for p, _ in pairs], self.cotangent, [v for _, v in pairs], **options)
        curved = vmap(self.middle)(tangent) if block else self.middle(tangent)
        return torch.autograd.grad(self.values, self.parts, curved, materialize_grads=True, **options)
