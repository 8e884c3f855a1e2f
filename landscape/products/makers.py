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

MAX_TRACES = 4  # shapes of chunks that linearize takes on
WORTH_A_TRACE = 0.2  # share of the samples from which a further shape takes a trace of its own


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
    """The traced product, evaluated up to what is linear in the vector.

    A shape of chunks takes a trace if it is the first, or a good share of the samples come in it; the others (a short
    last chunk) go by `double`. InputError for more than MAX_TRACES.
    """

    path = "linearize"

    def __init__(self, form: Form, double: DoubleMaker, batches: Sequence[Batch], constants: list[Tensor]) -> None:
        self.double = double
        self.parts = [part.detach() for part in double.parts]
        self.own = [*self.parts, *constants]  # storages that are there anyway
        samples: dict[Any, int] = {}
        examples: dict[Any, Batch] = {}
        for batch in batches:
            samples[_shape(batch)] = samples.get(_shape(batch), 0) + length(batch)
            examples.setdefault(_shape(batch), batch)
        least = WORTH_A_TRACE * sum(samples.values())
        chosen = [shape for index, shape in enumerate(samples) if index == 0 or samples[shape] >= least]
        if len(samples) > MAX_TRACES:
            raise InputError(f"chunks come in {len(samples)} shapes, and each would take a trace")
        self.traces = {shape: linearize(form.traced, self.parts, examples[shape]) for shape in chosen}

    def build(self, batch: Batch) -> tuple[Linearized | None, Any]:
        trace = self.traces.get(_shape(batch))
        return trace, self.double.build(batch) if trace is None else trace.residuals(self.parts, batch)

    def product(self, built: Any, along: Sequence[Tensor], *, block: bool = False) -> tuple[Tensor, ...]:
        trace, kept = built
        if trace is None:
            return self.double.product(kept, along, block=block)
        return trace.product(kept, along, block=block)

    def kept_bytes(self, built: Any, batch: Batch) -> int:
        trace, kept = built
        if trace is None:
            return self.double.kept_bytes(kept, batch)
        return memory.storage_bytes([*kept], without=[*self.own, *named(batch).values()])


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
