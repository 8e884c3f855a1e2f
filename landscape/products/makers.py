"""The two paths of a product: how a chunk is built, multiplied, and what it keeps in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .. import memory
from ..data import Batch
from ..data.samples import length, named
from ..errors import InputError
from .forms import Form, Graph
from .linear import Linearized, linearize

MAX_TRACES = 4  # shapes of chunks that linearize takes on; each costs a trace


class Maker(Protocol):
    """One path at one point."""

    path: str

    def build(self, batch: Batch) -> Any:
        """What the chunk's products need and can keep."""
        ...

    def product(self, built: Any, along: Sequence[Tensor], *, block: bool = False) -> tuple[Tensor, ...]:
        """The chunk's part of A v, or with `block` of A V."""
        ...

    def kept_bytes(self, built: Any, batch: Batch) -> int:
        """Memory that keeping it takes."""
        ...


class DoubleMaker:
    """The graph of reverse mode, kept by autograd."""

    path = "double"

    def __init__(self, form: Form, parts: Sequence[Tensor]) -> None:
        self.form, self.parts = form, parts
        self.bytes_per_sample: float | None = None

    def build(self, batch: Batch) -> Graph:
        if self.bytes_per_sample is not None:
            return self.form.graph(self.parts, batch)
        with memory.Ledger() as made:  # autograd does not tell what it keeps; all chunks are alike
            graph = self.form.graph(self.parts, batch)
            self.bytes_per_sample = made.living() / length(batch)
        return graph

    def product(self, built: Graph, along: Sequence[Tensor], *, block: bool = False) -> tuple[Tensor, ...]:
        return built.product(along, block=block)

    def kept_bytes(self, built: Graph, batch: Batch) -> int:  # noqa: ARG002
        return int((self.bytes_per_sample or 0.0) * length(batch))


class LinearMaker:
    """The traced product, evaluated up to what is linear in the vector. InputError for too many shapes of chunks."""

    path = "linearize"

    def __init__(self, form: Form, parts: Sequence[Tensor], batches: Sequence[Batch], own: list[Tensor]) -> None:
        self.parts = [part.detach() for part in parts]
        self.own = [*self.parts, *own]  # storages that are there anyway
        shapes = {_shape(batch): batch for batch in batches}
        if len(shapes) > MAX_TRACES:
            raise InputError(f"chunks come in {len(shapes)} shapes, and each would take a trace")
        self.traces: dict[Any, Linearized] = {
            shape: linearize(form.traced, self.parts, batch) for shape, batch in shapes.items()
        }

    def build(self, batch: Batch) -> tuple[Linearized, tuple[Any, ...]]:
        trace = self.traces[_shape(batch)]
        return trace, trace.residuals(self.parts, batch)

    def product(self, built: Any, along: Sequence[Tensor], *, block: bool = False) -> tuple[Tensor, ...]:
        trace, residuals = built
        return trace.product(residuals, along, block=block)

    def kept_bytes(self, built: Any, batch: Batch) -> int:
        tensors = [t for t in built[1] if isinstance(t, Tensor)]
        return memory.storage_bytes(tensors, without=[*self.own, *named(batch).values()])


@dataclass
class Chunk:
    """A batch and, where it is kept, what was built of it."""

    maker: Maker
    batch: Batch
    built: Any = None

    def product(self, along: Sequence[Tensor], *, block: bool = False) -> tuple[Tensor, ...]:
        """The chunk's part of A v, or with `block` of A V; built again where it is not kept."""
        built = self.maker.build(self.batch) if self.built is None else self.built
        return self.maker.product(built, along, block=block)


def _shape(batch: Batch) -> tuple[tuple[str, torch.Size, torch.dtype], ...]:
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in named(batch).items())
