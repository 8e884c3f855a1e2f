"""The engine: products of one matrix over all samples, with as many chunks kept as the memory budget allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import memory
from ..data import Batch
from ..data.samples import length
from ..errors import InputError, NumericalError, ResourceError, UsageError
from ..objective import Objective
from ..vectors import flatten
from .block import WIDTH, useful_block
from .choice import AGREES, Choice, choose
from .forms import Form
from .makers import Chunk

PATHS = ("auto", "double", "linearize")


class Engine:
    """Products A V of a matrix that is a sum over chunks, divided by the sum of the samples' weights.

    Before the first product every chunk is built once, its product with a random vector taken by reverse mode, and
    the path chosen compared with it. As many chunks as the budget allows then stay built; the rest are built again
    for each product. Where memory runs out, all are dropped, chunk and budget are halved, and it starts again.

    Args:
        hvp: `double` (the graph of reverse mode), `linearize` (traced, evaluated up to what is linear in the vector),
            or `auto`: the faster of the two on the first chunk.
        budget: bytes that chunks may keep; by default half of what is free on the device. 0 keeps nothing.

    Raises InputError where a layer has no second derivative or a param no part in the loss, NumericalError where a
    product is not finite, ResourceError where memory runs out at the smallest chunk.
    """

    def __init__(self, objective: Objective, form: Form, *, hvp: str = "auto", budget: int | None = None) -> None:
        if hvp not in PATHS:
            raise UsageError(f"hvp must be one of {', '.join(PATHS)}, got {hvp!r}")
        if budget is not None and budget < 0:
            raise UsageError(f"memory must not be negative, got {budget} bytes")
        self.objective, self.form, self.hvp, self.budget = objective, form, hvp, budget
        self.pinned: str | None = None  # the path that an earlier run took
        self.layout = objective.layout
        self.chunks: list[Chunk] = []
        self.kept_bytes = 0
        self.block: int | None = None  # vectors multiplied at once; None until measured

    @memory.recovering
    def multiply(self, matrix: Tensor) -> Tensor:
        """A V for V of shape (n, s), in float64."""
        self.build()
        with self.objective.running():
            if self.block is None and matrix.shape[1] >= WIDTH:
                self.block = useful_block(self.chunks[0], self._along(matrix.T[:WIDTH]), self.choice.trial)
            pieces = [self._product(rows) for rows in matrix.T.split(self.block or 1)]
        return torch.cat(pieces).T

    @memory.recovering
    def build(self) -> None:
        """Builds what products need, if it is not there yet; refuses what cannot be multiplied, by name."""
        if not self.chunks:
            with self.objective.running():
                self._build()

    def shrink(self) -> None:
        """Drops what is kept, and halves budget and chunk; ResourceError where both are the least."""
        had, self.chunks, self.kept_bytes = self.kept_bytes, [], 0
        memory.release()
        if had:
            self.budget = had // 2
        try:
            self.objective.shrink()
        except ResourceError:
            if not had:
                raise

    def pin(self, path: str, block: int | None, chunk: int) -> None:
        """Takes path, block and chunk of an earlier run, in place of what clock and memory would choose now."""
        if self.chunks and (path, chunk) != (self.choice.trial.maker.path, self.objective.chunk):
            self.chunks, self.kept_bytes = [], 0
        self.pinned, self.block, self.objective.chunking.size = path, block, chunk

    def report(self) -> Mapping[str, Any]:
        """How products are made: for results and their readers. Empty before the first product."""
        if not self.chunks:
            return {}
        kept = sum(chunk.built is not None for chunk in self.chunks)
        return {
            "path": self.choice.trial.maker.path,
            "reason": self.choice.reason,
            "chunk": self.objective.chunk,
            "chunks": len(self.chunks),
            "kept_chunks": kept,
            "kept_bytes": self.kept_bytes,
            "agreement": self.agreement,
            "gradient_passes": round(self.choice.passes(kept, len(self.chunks)), 2),
            "block": self.block or 1,
            "halvings": self.objective.chunking.halvings,
        }

    def _product(self, rows: Tensor) -> Tensor:
        """A times each row, (s, n) in float64."""
        block = len(rows) > 1
        along = self._along(rows)
        total = torch.zeros(len(rows), self.layout.size, dtype=torch.float64, device=self.objective.device)
        slots = self._views(total)
        for chunk in self.chunks:
            for slot, part in zip(slots, chunk.product(along, block=block), strict=True):
                slot.add_(part)
        return total / self.weight

    def _along(self, rows: Tensor) -> list[Tensor]:
        rows = rows.to(self.objective.device, self.objective.dtype)
        return self._views(rows) if len(rows) > 1 else self.layout.split(rows[0].contiguous())

    def _views(self, rows: Tensor) -> list[Tensor]:
        parts = zip(rows.split(self.layout.sizes, dim=1), self.layout.shapes, strict=True)
        return [part.unflatten(1, shape) if shape else part[:, 0] for part, shape in parts]

    def _build(self) -> None:
        objective = self.objective
        batches = list(objective.samples.chunks(objective.chunk))
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn(self.layout.size, generator=generator, dtype=torch.float64)
        along = self._along((probe / probe.norm())[None])
        budget = self.budget
        if budget is None:
            budget = int(memory.SHARE * memory.free_bytes(objective.device))
        choice = choose(objective, self.form, self.pinned or self.hvp, batches, along, budget)
        self._keep(choice, batches, along, budget)
        if self.agreement is not None and not self.agreement <= AGREES[objective.dtype]:
            reason = f"linearize differs from reverse mode by {self.agreement:.1e} over all chunks"
            if self.hvp == "linearize":
                raise NumericalError(f"{reason}; use --hvp auto or double")
            choice = replace(choose(objective, self.form, "double", batches, along, budget), reason=reason)
            self._keep(choice, batches, along, budget)

    def _keep(self, choice: Choice, batches: list[Batch], along: list[Tensor], budget: int) -> None:
        """Builds every chunk once, holds it against reverse mode, and keeps those that the budget has room for."""
        maker, double = choice.trial.maker, choice.double
        chunks: list[Chunk] = []
        weight = torch.zeros((), dtype=torch.float64, device=self.objective.device)
        used = torch.zeros(len(along), dtype=torch.bool)
        difference, scale, start, self.kept_bytes = 0.0, 0.0, 0, 0
        for index, batch in enumerate(batches):
            graph = double.build(batch)
            reference = flatten(graph.product(along) if index else choice.reference).double()
            weight += graph.weight
            used |= torch.tensor(graph.used)
            norm = float(reference.square().sum())
            if not math.isfinite(norm):
                self._tell_non_finite(batch, reference, start)
            built: Any = graph
            if maker is not double:
                del graph
                built = maker.build(batch) if index else choice.trial.built
                product = maker.product(built, along) if index else choice.trial.product
                difference += float((flatten(product).double() - reference).square().sum())
            scale += norm
            size = maker.kept_bytes(built, batch)
            keep = self.kept_bytes + size <= budget
            self.kept_bytes += size if keep else 0
            chunks.append(Chunk(maker, batch, built if keep else None))
            start += length(batch)
        self._refuse_unused(used)
        # what was tried is kept by its chunk or by none
        self.choice = replace(choice, trial=replace(choice.trial, built=None))
        self.chunks, self.weight = chunks, weight
        self.agreement = None if maker is double else math.sqrt(difference / (scale or 1.0))

    def _tell_non_finite(self, batch: Batch, product: Tensor, start: int) -> None:
        where = f"samples {start} ... {start + length(batch) - 1}"
        if not torch.isfinite(self.form.value(self.objective.parts(), batch)).all():
            raise NumericalError(f"the loss is not finite on {where}; are the params and the data finite?")
        raise NumericalError(f"the matrix-vector product is not finite at {self.layout.leading(product)} on {where}")

    def _refuse_unused(self, used: Tensor) -> None:
        if not bool(used.all()):
            name = self.layout.names[int((~used).nonzero()[0])]
            raise InputError(
                f"param {name} has no part in the loss of any sample; freeze it by requires_grad_(False), "
                f"or choose a block of the params by --params"
            )
