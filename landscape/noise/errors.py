"""The law of errors: how far the gradient of a batch lies from that of all samples, by the size of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import memory, passes
from ..data.samples import cut
from ..errors import InputError, NumericalError, UsageError
from ..objective import Objective
from ..results import BatchErrors, Status
from ..vectors import flatten
from .moments import moments
from .routes import route_of

VERSION = 1
DRAWS = 32  # orders of each kind: with half as many, three standard errors hold less than 98 % (measured)
BATCHES = 32  # of one size in an order, at most: of a few samples a single one may lie anywhere, most often too low

Progress = Callable[[int], None]


def batch_errors(
    objective: Objective,
    *,
    batch_sizes: Sequence[int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
) -> BatchErrors:
    """E|g_B - g|^2 of batches of B of the N samples, drawn with and without replacement, against its two laws.

    With replacement tr(Sigma_N) / B, without (N - B) / (N - 1) of it (Cochran 1977, theorem 2.2; Hoffer et al. 2017,
    section 4): g_B is the gradient of the batch's own mean loss, its sum over its weight, g that of all N, Sigma_N =
    1/N sum_i (g_i - g)(g_i - g)', whose trace comes from `moments`; the penalty of the objective cancels. Where
    samples have different weights, g_B is a ratio, and the laws hold to first order in 1/B.

    A draw is a random order of N samples, which is cut into batches of each size B (1, 2, 4, ... and N by default): as
    many as there are, 32 at most. Averaged are the means of draws, so that standard errors over draws hold at each
    size; neighbouring sizes share samples and err alike. Units: loss^2 / param^2. Costs 2 `draws` gradient passes (64
    by default), in part in small batches, and two for g and tr(Sigma_N); keeps a vector of the params for each size.
    Where one sample makes most of tr(Sigma_N) (`largest_part`) few batches hold it, and means over draws are mostly too
    low. Raises UsageError and InputError for sizes out of range, batch statistics, samples that cannot be cut, and
    batches without weight, NumericalError where a gradient is not finite.
    """
    identity = errors_settings(objective, batch_sizes=batch_sizes, draws=draws, seed=seed)
    sizes = identity["batch_sizes"]
    count = objective.num_samples
    route, _ = memory.recovering(route_of)(objective, "auto", seed)
    noise = moments(objective, route, seed, pairs=False)
    trace = noise.trace * (count - 1) / count
    spread = float(noise.spread.sum())
    measured = _Batches(objective, noise.own.to(objective.device))
    generator = torch.Generator().manual_seed(seed)
    below = [size for size in sizes if size < count]  # all of them in any order are no batch to be measured
    found: dict[bool, list[Tensor]] = {True: [], False: []}
    for draw in range(draws):
        for replaced, kept in found.items():
            if replaced:
                order = torch.randint(count, (count,), generator=generator)
            else:
                order = torch.randperm(count, generator=generator)
            kept.append(measured.squared_errors(order, sizes if replaced else below))
            if progress:
                progress(2 * draw + 2 - replaced)
    errors = {replaced: torch.stack(kept) for replaced, kept in found.items()}
    if sizes[-1] == count:
        errors[False] = torch.cat([errors[False], torch.zeros(draws, 1, dtype=torch.float64)], 1)
    columns: dict[str, Any] = {}
    for name, replaced in (("with_replacement", True), ("without_replacement", False)):
        columns[name] = errors[replaced].mean(0).numpy()
        columns[f"{name}_stderr"] = (errors[replaced].std(0) / math.sqrt(draws)).numpy()
    size = torch.tensor(sizes, dtype=torch.float64)
    return BatchErrors(
        status=Status.COMPLETE,
        settings=identity,
        batch_size=torch.tensor(sizes).numpy(),
        **columns,
        predicted=(trace / size).numpy(),
        predicted_finite=(trace / size * (count - size) / (count - 1)).numpy(),
        trace_covariance=trace,
        mean_gradient_norm_squared=float(noise.gradient @ noise.gradient),
        draws=draws,
        num_params=objective.layout.size,
        num_samples=count,
        loss=noise.loss,
        largest_part=float(noise.spread.max()) / spread if spread > 0 and route.unit_size == 1 else None,
    )


def errors_settings(
    objective: Objective, *, batch_sizes: Sequence[int] | None = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """What identifies the errors of batches with these options; refuses what cannot be measured."""
    count = objective.num_samples
    if objective.bn == "batch":
        raise InputError("with batch statistics the gradients of samples depend on each other; use bn='eval'")
    if not objective.samples.divisible:
        raise InputError("batches are drawn from samples that can be joined; give batches of equal shapes")
    if count < 2:
        raise InputError(f"errors of batches need at least 2 samples, got {count}")
    if draws < 2:
        raise UsageError(f"draws must be at least 2, for a standard error, got {draws}")
    chosen = [2**k for k in range((count - 1).bit_length())] + [count] if batch_sizes is None else list(batch_sizes)
    if not chosen or min(chosen) < 1:
        raise UsageError(f"batch sizes must be at least 1, got {chosen}")
    if max(chosen) > count:
        raise InputError(f"a batch of {max(chosen)} is more than the {count} samples; take a smaller one")
    return {
        "kind": BatchErrors.kind,
        "version": VERSION,
        "batch_sizes": sorted({int(size) for size in chosen}),
        "draws": draws,
        "seed": seed,
        **objective.identity,
    }


class _Batches:
    """Gradients of the batches that an order of samples is cut into, against that of all samples."""

    def __init__(self, objective: Objective, gradient: Tensor) -> None:
        self.objective, self.gradient = objective, gradient

    def shrink(self) -> None:
        """Halves the chunk."""
        self.objective.shrink()

    @memory.recovering
    def squared_errors(self, order: Tensor, sizes: Sequence[int]) -> Tensor:
        """For each of the sizes B the mean of |g_B - g|^2 over consecutive batches of an order. On the CPU."""
        if not sizes:
            return torch.zeros(0, dtype=torch.float64)
        counts = {size: min(len(order) // size, BATCHES) for size in sizes}
        ends = sorted({size * number for size, count in counts.items() for number in range(1, count + 1)})
        parts = [part.requires_grad_() for part in self.objective.parts()]
        total, weight = torch.zeros_like(self.gradient), self.gradient.new_zeros(())
        begun = {0: (total.clone(), weight.clone())}  # sums up to where a batch begins that has not ended
        found: dict[int, list[Tensor]] = {size: [] for size in sizes}
        with self.objective.running():
            for begin, end in zip([0, *ends], ends, strict=False):
                for gradient, part_weight in self._sums(parts, order[begin:end]):
                    total += gradient
                    weight += part_weight
                for size in [size for size, count in counts.items() if end % size == 0 and end // size <= count]:
                    before, weight_before = begun[end - size]
                    batch_weight = weight - weight_before
                    error = ((total - before) / batch_weight - self.gradient).square().sum()
                    found[size].append(torch.stack([error, batch_weight]))
                going = {end // size * size for size, count in counts.items() if end // size < count}
                begun = {place: sums for place, sums in begun.items() if place in going}
                if end in going:
                    begun[end] = (total.clone(), weight.clone())
        return torch.stack([self._mean(size, torch.stack(batches).cpu()) for size, batches in found.items()])

    def _sums(self, parts: Sequence[Tensor], index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Summed gradients and weights of samples, chunk by chunk."""
        block = self.objective.samples.blocks[0]
        for some in index.split(self.objective.chunk):
            _, (total, weight) = self.objective.forward(parts, cut(block, some))
            pairs = zip(passes.gradients(total, parts), parts, strict=True)
            yield flatten([torch.zeros_like(p) if g is None else g for g, p in pairs]), weight.detach()

    def _mean(self, size: int, batches: Tensor) -> Tensor:
        errors, weights = batches.unbind(1)
        if not bool((weights > 0).all()):
            raise InputError(f"a batch of {size} holds no sample that counts; leave out sizes up to it")
        if not bool(torch.isfinite(errors).all()):
            raise NumericalError(f"the gradient of a batch of {size} samples is not finite; is the loss?")
        return errors.mean()
