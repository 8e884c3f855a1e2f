"""A product as a graph of tensor operations, cut in two: what the point alone fixes, and what is linear in the vector.

The product of a chunk is traced once (forward over reverse, as `torch.func.linearize` would). Operations that do not
depend on the vector are evaluated once a chunk, and what the others need of them, the residuals, is kept: a product
then costs the linear operations alone. Chunks of equal shapes share one trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functionalize, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from ..data import Batch
from ..data.samples import named

Traceable = Callable[[Sequence[Tensor], Sequence[Tensor], Batch], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Linearized:
    """A product A v of one chunk: `known(*parts, *batch)` gives residuals, `linear(*residuals, *v)` the product."""

    known: fx.GraphModule
    linear: fx.GraphModule
    fused: fx.GraphModule  # the same as `linear`, for one vector

    def residuals(self, parts: Sequence[Tensor], batch: Batch) -> tuple[Any, ...]:
        """What a chunk keeps."""
        with torch.no_grad():
            return self.known(*parts, *named(batch).values())

    def product(self, residuals: Sequence[Any], along: Sequence[Tensor], *, block: bool = False) -> tuple[Tensor, ...]:
        """The chunk's part of A v, or with `block` of A V, each tensor of `along` holding one vector a row."""
        with torch.no_grad():
            if block:
                axes = (None,) * len(residuals) + (0,) * len(along)
                return vmap(self.linear, in_dims=axes)(*residuals, *along)
            return self.fused(*residuals, *along)


def linearize(product: Traceable, parts: Sequence[Tensor], batch: Batch) -> Linearized:
    """Traces `product(parts, along, batch)` for chunks of the shapes of `batch`.

    Tracing runs on tensors without data: what depends on values (a branch, a size) raises, whatever torch raises
    then. Mutations are made functional first, since an edge of the graph does not show them.
    """
    count, keys = len(parts), list(named(batch))

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        values = tensors[2 * count :]
        rebuilt = dict(zip(keys, values, strict=True)) if isinstance(batch, dict) else (values[0], values[1])
        return product(tensors[:count], tensors[count : 2 * count], rebuilt)

    inputs = [*(p.detach() for p in parts), *(torch.empty_like(p) for p in parts), *named(batch).values()]
    tracer = make_fx(functionalize(flat, remove="mutations"), tracing_mode="fake", _allow_non_fake_inputs=True)
    whole = tracer(*inputs)
    whole.graph.eliminate_dead_code()
    return _cut(whole, range(count, 2 * count))


def _cut(whole: fx.GraphModule, vector: range) -> Linearized:
    nodes = list(whole.graph.nodes)
    along = [[node for node in nodes if node.op == "placeholder"][i] for i in vector]
    output = nodes[-1]
    moving = {*along, output}  # what depends on the vector
    for node in nodes:
        if moving.intersection(node.all_input_nodes):
            moving.add(node)
    still = [node for node in nodes if node not in moving]
    residuals = [node for node in still if moving.intersection(node.users)]

    known = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in still:
        copies[node] = known.node_copy(node, lambda n: copies[n])
    known.output(tuple(copies[node] for node in residuals))
    known.eliminate_dead_code()

    linear = fx.Graph()
    moved = {node: linear.placeholder(f"residual_{i}") for i, node in enumerate(residuals)}
    moved |= {node: linear.placeholder(f"along_{i}") for i, node in enumerate(along)}
    for node in nodes:
        if node in moving and node not in moved and node is not output:
            moved[node] = linear.node_copy(node, lambda n: moved[n])
    linear.output(tuple(moved[node] for node in output.args[0]))
    linear.eliminate_dead_code()
    fused = fx.Graph()
    fused.output(fused.graph_copy(linear, {}))
    return Linearized(*(fx.GraphModule(whole, graph) for graph in (known, linear, _fused(fused))))


def _fused(graph: fx.Graph) -> fx.Graph:
    """x + a b as one operation that adds into x, where x is a product of its own with no other use.

    Most additions of a product's graph are of this kind, and each saves a pass over memory. Not for blocks of vectors:
    there x may lack the axis of the block.
    """
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not aten.add.Tensor or node.kwargs:
            continue
        for first, second in (node.args, node.args[::-1]):
            own = isinstance(first, fx.Node) and first.target in (aten.mm.default, aten.addmm_.default)
            if own and len(first.users) == 1 and _is_own_product(second) and _shape(first) == _shape(second):
                with graph.inserting_before(node):
                    node.replace_all_uses_with(graph.call_function(aten.addmm_.default, (first, *second.args)))
                graph.erase_node(node)
                graph.erase_node(second)
                break
    return graph


def _is_own_product(node: Any) -> bool:
    return isinstance(node, fx.Node) and node.target is torch.ops.aten.mm.default and len(node.users) == 1


def _shape(node: fx.Node) -> Any:
    return node.meta["val"].shape if "val" in node.meta else None
