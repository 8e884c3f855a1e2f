"""Which path a product takes: the one asked for, or the faster of those that run and agree, on the first chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import memory
from ..data import Batch
from ..errors import InputError, NumericalError, one_line
from ..objective import Objective
from .forms import Form
from .makers import DoubleMaker, LinearMaker, Maker

# Relative difference from reverse mode above which a traced product is not believed.
AGREES = {torch.float32: 1e-3, torch.float64: 1e-8}
WORTH_TRACING = 0.03  # seconds of a product over all samples below which a trace costs more than it saves
PREFERENCE = 0.95  # linearize is left only where double is faster by more than this, so that noise decides less


@dataclass(frozen=True)
class Cost:
    """Seconds of the first chunk's product, kept and built again, and of the objective's gradient."""

    kept: float
    again: float
    bytes_kept: int


@dataclass(frozen=True)
class Choice:
    """A path and why it was taken."""

    maker: Maker
    double: DoubleMaker  # the reference
    reason: str
    cost: Cost
    gradient: float  # seconds of the gradient on the first chunk

    def because(self, reason: str) -> Choice:
        """The same for another reason."""
        return replace(self, reason=reason)

    def passes(self, kept: int, chunks: int) -> float:
        """Cost of a product in gradient passes with so many chunks kept."""
        share = kept / chunks
        return (share * self.cost.kept + (1 - share) * self.cost.again) / max(self.gradient, 1e-9)


def choose(
    objective: Objective, form: Form, hvp: str, batches: Sequence[Batch], along: Sequence[Tensor], budget: int
) -> Choice:
    """The path for these chunks. Raises InputError or NumericalError where the path asked for cannot be taken."""
    parts = [part.requires_grad_() for part in objective.parts()]
    first = batches[0]
    double = DoubleMaker(form, parts)
    reference = double.product(double.build(first), along)
    gradient = seconds(
        lambda: torch.autograd.grad(form.value(parts, first).sum(), parts, allow_unused=True), objective.device
    )
    by_double = _cost(double, first, along, objective.device)

    def taken(maker: Maker, cost: Cost, reason: str) -> Choice:
        return Choice(maker, double, reason, cost, gradient)

    if hvp == "double":
        return taken(double, by_double, "asked for")
    if hvp == "auto" and by_double.kept * len(batches) < WORTH_TRACING:
        return taken(double, by_double, "a product is so cheap that tracing it would not pay")
    try:
        linear = _trusted(
            LinearMaker(form, parts, batches, list(objective.constants.values())), first, along, reference
        )
        by_linear = _cost(linear, first, along, objective.device)
    except Exception as error:
        if memory.out_of_memory(error):
            raise
        reason = f"linearize does not do here: {one_line(error)[:160]}"
        if hvp == "linearize":
            kind = NumericalError if isinstance(error, NumericalError) else InputError
            raise kind(f"{reason}; use --hvp auto or double") from error
        return taken(double, by_double, reason)
    if hvp == "linearize":
        return taken(linear, by_linear, "asked for")

    def expected(cost: Cost) -> float:
        share = min(1.0, budget / max(1, cost.bytes_kept * len(batches)))
        return share * cost.kept + (1 - share) * cost.again

    if expected(by_double) < PREFERENCE * expected(by_linear):
        return taken(double, by_double, "faster on the first chunk")
    return taken(linear, by_linear, "faster on the first chunk")


def _trusted(maker: LinearMaker, batch: Batch, along: Sequence[Tensor], reference: Sequence[Tensor]) -> LinearMaker:
    found = maker.product(maker.build(batch), along)
    difference = relative_difference(found, reference)
    limit = AGREES[reference[0].dtype]
    if not difference <= limit:
        raise NumericalError(f"its product differs from reverse mode by {difference:.1e}, more than {limit:.0e}")
    return maker


def relative_difference(found: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """|found - reference| / |reference| over lists of tensors."""
    pairs = [(f.double(), r.double()) for f, r in zip(found, reference, strict=True)]
    difference = torch.stack([(f - r).square().sum() for f, r in pairs]).sum().sqrt()
    scale = torch.stack([r.square().sum() for _, r in pairs]).sum().sqrt()
    return float(difference) / (float(scale) or 1.0)


def _cost(maker: Maker, batch: Batch, along: Sequence[Tensor], device: torch.device) -> Cost:
    built = maker.build(batch)
    kept = seconds(lambda: maker.product(built, along), device)
    size = maker.kept_bytes(built, batch)
    built = None  # so that the next is not built beside it
    again = seconds(lambda: maker.product(maker.build(batch), along), device)
    return Cost(kept, again, size)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of `work`, the device's part included."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronize()
    began = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - began
