"""Which path a product takes: the one asked for, or the faster of those that run and agree, on the first chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
PREFERENCE = 0.85  # linearize is left only where double is faster by more than this, so that noise decides less


@dataclass(frozen=True)
class Trial:
    """The first chunk by one path: what was built, its product, and the seconds and bytes that these took."""

    maker: Maker
    built: Any
    product: tuple[Tensor, ...]
    build_seconds: float
    product_seconds: float
    kept_bytes: int

    def expected(self, share_kept: float) -> float:
        """Seconds of a chunk's product where that share of the chunks is kept."""
        return self.product_seconds + (1 - share_kept) * self.build_seconds


@dataclass(frozen=True)
class Choice:
    """A path, why it was taken, and its first chunk beside the reference."""

    trial: Trial
    double: DoubleMaker  # the reference
    reference: tuple[Tensor, ...]  # the first chunk's product by it
    reason: str
    gradient_seconds: float  # of the first chunk

    def passes(self, kept: int, chunks: int) -> float:
        """Cost of a product in gradient passes with so many chunks kept."""
        return self.trial.expected(kept / chunks) / max(self.gradient_seconds, 1e-9)


def choose(
    objective: Objective, form: Form, hvp: str, batches: Sequence[Batch], along: Sequence[Tensor], budget: int
) -> Choice:
    """The path for these chunks. Raises InputError or NumericalError where the path asked for cannot be taken."""
    parts = [part.requires_grad_() for part in objective.parts()]
    first, device = batches[0], objective.device
    double = DoubleMaker(form, parts)
    by_double = _tried(double, first, along, device)
    gradient = seconds(lambda: torch.autograd.grad(form.value(parts, first).sum(), parts, allow_unused=True), device)

    def taken(trial: Trial, reason: str) -> Choice:
        return Choice(trial, double, by_double.product, reason, gradient)

    if hvp == "double":
        return taken(by_double, "asked for")
    if hvp == "auto" and by_double.product_seconds * len(batches) < WORTH_TRACING:
        return taken(by_double, "a product is so cheap that tracing it would not pay")
    try:
        constants = list(objective.constants.values())
        by_linear = _trusted(_tried(LinearMaker(form, double, batches, constants), first, along, device), by_double)
    except Exception as error:
        if memory.out_of_memory(error):
            raise
        reason = f"linearize does not do here: {one_line(error)[:160]}"
        if hvp == "linearize":
            kind = NumericalError if isinstance(error, NumericalError) else InputError
            raise kind(f"{reason}; use --hvp auto or double") from error
        return taken(by_double, reason)
    if hvp == "linearize":
        return taken(by_linear, "asked for")

    def expected(trial: Trial) -> float:
        return trial.expected(min(1.0, budget / max(1, trial.kept_bytes * len(batches))))

    faster = by_double if expected(by_double) < PREFERENCE * expected(by_linear) else by_linear
    return taken(faster, "faster on the first chunk")


def _tried(maker: Maker, batch: Batch, along: Sequence[Tensor], device: torch.device) -> Trial:
    began = time.perf_counter()
    built = maker.build(batch)
    _synchronize(device)
    build_seconds = time.perf_counter() - began
    product = maker.product(built, along)
    product_seconds = min(seconds(lambda: maker.product(built, along), device) for _ in range(2))
    return Trial(maker, built, product, build_seconds, product_seconds, maker.kept_bytes(built, batch))


def _trusted(trial: Trial, reference: Trial) -> Trial:
    difference = relative_difference(trial.product, reference.product)
    limit = AGREES[reference.product[0].dtype]
    if not difference <= limit:
        raise NumericalError(f"its product differs from reverse mode by {difference:.1e}, more than {limit:.0e}")
    return trial


def relative_difference(found: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """|found - reference| / |reference| over lists of tensors."""
    pairs = [(f.double(), r.double()) for f, r in zip(found, reference, strict=True)]
    difference = torch.stack([(f - r).square().sum() for f, r in pairs]).sum().sqrt()
    scale = torch.stack([r.square().sum() for _, r in pairs]).sum().sqrt()
    return float(difference) / (float(scale) or 1.0)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of `work`, the device's part included."""
    _synchronize(device)
    began = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - began


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
