"""The noise scale along a training loop, from gradients that the loop takes anyway.

Where batches are cut into micro-batches (for DistributedDataParallel see `NoiseScale.ddp_hook`):

    noise, params = NoiseScale(), list(model.parameters())
    for inputs, targets in loader:
        parts = list(zip(inputs.chunk(4), targets.chunk(4)))  # the last part may be shorter
        gradients = (torch.autograd.grad(loss(model(x), y), params) for x, y in parts)
        for param, mean in zip(params, noise.update_from(gradients, small=[len(x) for x, _ in parts])):
            param.grad = mean
        optimizer.step()
    print(noise.b_simple)  # samples; None while it is not resolved
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UsageError

DECAY = 0.99  # of the averages: they look back over some hundred updates


class NoiseScale:
    """The simple noise scale tr(Sigma) / |G|^2 of a user's own training loop, in samples.

    From the squared norms of the mean gradients of `small` and of `big` samples (McCandlish et al. 2018, appendix A.1):

        |G|^2     = (big |G_big|^2 - small |G_small|^2) / (big - small)
        tr(Sigma) = (|G_small|^2 - |G_big|^2) / (1 / small - 1 / big)

    Of small batches of unequal sizes b_k, B samples in all, |G_small|^2 is the mean of |g_k|^2 by weights b_k / B, and
    `small` their mean size: sum_k b_k/B (|G|^2 + tr(Sigma)/b_k) = |G|^2 + tr(Sigma)/small. Both are then unbiased where
    the small batches are independent parts of the big one; their ratio is not, so both are
    averaged over updates with weights that fall by `decay` an update (divided by the sum of the weights), and the ratio
    is that of the averages: a mean over about 1 / (1 - decay) updates, which lags behind by as many.

    Gradients are those of mean losses, before clipping. Those that a GradScaler has scaled would enter the averages by
    the square of a scale that changes: tell it by `scale`, or divide first. Batch norm in training mode normalises
    each small batch by its own statistics: then this is the noise of a network with that small batch, ghost batch norm.
    A weight decay inside the loss counts as part of G. An update whose norms are not finite (as when a loss scaler
    overflows), or of one micro-batch, is skipped and counted. Costs two norms an update.

    Args:
        decay: share of the averages that stays at each update, in (0, 1).

    Raises UsageError for what can give no estimate: sizes that are not 0 < small < big.
    """

    def __init__(self, decay: float = DECAY) -> None:
        if not 0 < decay < 1:
            raise UsageError(f"decay must lie in 0 ... 1, ends excluded, got {decay}")
        self.decay = decay
        self._counts = {"updates": 0, "skipped": 0}
        self._sums = {"norm": 0.0, "trace": 0.0, "weight": 0.0}
        self._waiting: Callable[[], None] | None = None  # an update whose numbers are still on their way

    def update(
        self, *, small_norm_squared: float | Tensor, big_norm_squared: float | Tensor, small: float, big: float
    ) -> None:
        """Counts one update: |G|^2 of batches of `small` samples (the mean over several) and of one of `big`."""
        if not 0 < small < big:
            raise UsageError(f"two batch sizes with 0 < small < big are needed, got {small} and {big}")
        self._settle()
        at_small, at_big = float(small_norm_squared), float(big_norm_squared)
        if not (math.isfinite(at_small) and math.isfinite(at_big)):
            self._counts["skipped"] += 1
            return
        found = {
            "norm": (big * at_big - small * at_small) / (big - small),
            "trace": (at_small - at_big) / (1 / small - 1 / big),
            "weight": 1.0,
        }
        self._counts["updates"] += 1
        for name, value in found.items():
            self._sums[name] = self.decay * self._sums[name] + (1 - self.decay) * value

    def update_from(
        self, gradients: Iterable[Sequence[Tensor | None]], *, small: int | Sequence[int], scale: float = 1.0
    ) -> list[Tensor | None]:
        """Counts one update from the gradients of its micro-batches; returns their mean by samples.

        For gradient accumulation. `small` is the samples of a micro-batch, or of each of them, as where the last is
        shorter. `gradients` may be a generator: each list is read before the next is asked for. None stands for a param
        that a micro-batch does not reach. `scale` is what the losses were multiplied by (`scaler.get_scale()`); the
        mean that is returned still has it. Keeps one copy of the params' size. One micro-batch alone, as a short last
        batch may make, gives no estimate: its gradient is returned, the update skipped. Raises UsageError for sizes
        below 1, for more or fewer of them than micro-batches, and where no gradient is there.
        """
        sizes = None if isinstance(small, int) else list(small)
        if min([small] if isinstance(small, int) else small, default=1) < 1:
            raise UsageError(f"micro-batches have at least 1 sample, got {small}")
        total: list[Tensor | None] = []
        norms: list[Tensor] = []
        for number, parts in enumerate(gradients):
            parts = list(parts)
            if norms and len(parts) != len(total):
                raise UsageError(f"micro-batches have gradients of {len(total)} and of {len(parts)} params")
            if sizes is not None and number == len(sizes):
                raise UsageError(f"there are more micro-batches than the {len(sizes)} sizes of them")
            weight = 1.0 if sizes is None else sizes[number] * len(sizes) / sum(sizes)  # of which the mean is 1
            total = [_sum(one, other, weight) for one, other in zip(total or [None] * len(parts), parts, strict=True)]
            norms.append(weight * _norm_squared(parts))
        count = len(norms)
        if not count or (sizes is not None and count < len(sizes)):
            raise UsageError(f"an update needs the gradients of {len(sizes or [1])} micro-batches or more, got {count}")
        mean = [None if part is None else part.div_(count) for part in total]
        if count == 1:
            self._settle()
            self._counts["skipped"] += 1
            return mean
        each = small if isinstance(small, int) else sum(small) / count
        self.update(
            small_norm_squared=torch.stack(norms).mean() / scale**2,
            big_norm_squared=_norm_squared(mean) / scale**2,
            small=each,
            big=each * count,
        )
        return mean

    def ddp_hook(
        self, *, small: int | Callable[[], int], scale: Callable[[], float] | None = None, group: Any = None
    ) -> Callable[..., Any]:
        """A communication hook of DistributedDataParallel that counts every update.

        `ddp.register_comm_hook(None, noise.ddp_hook(small=B))` with B samples a rank: small batches are those of the
        ranks, the big one is all of them. Gradients are averaged over ranks as without it; beside them one more number
        is. All ranks hold the same averages. With accumulation under `no_sync`, B is what a rank has accumulated.

        B is the same on all ranks, since DistributedDataParallel averages over ranks and not over samples; where it
        changes from update to update, as with a last batch that is shorter, give a function that says it, which is
        called at the end of each backward pass. Under a GradScaler the hook sees scaled gradients: give
        `scale=scaler.get_scale`. Raises UsageError where there is one rank.
        """
        ranks = dist.get_world_size(group)
        if ranks < 2:
            raise UsageError("one rank has no smaller batch than the whole; use update_from with micro-batches")
        local: list[Tensor] = []
        averaged: list[Tensor] = []

        def hook(_state: object, bucket):  # noqa: ANN001, ANN202 - DDP refuses annotations that are strings
            if not local:
                self._settle()
            local.append(_norm_squared([bucket.buffer()]))
            reduced = dist.all_reduce(bucket.buffer().div_(ranks), group=group, async_op=True)
            if bucket.is_last():
                # Here, where all ranks pass in one order, and not in a callback: collectives must match.
                norm = torch.stack(local).sum() / ranks
                other = dist.all_reduce(norm, group=group, async_op=True)
                local.clear()
                # asked now: by the time that the norms are here both may be those of the next update
                size, square = (small() if callable(small) else small), (1.0 if scale is None else scale() ** 2)
                self._waiting = lambda: self._arrived(other, norm, averaged, square, size, size * ranks)

            def noted(future):  # noqa: ANN001, ANN202
                gradient = future.value()[0]
                averaged.append(_norm_squared([gradient]))
                return gradient

            assert reduced is not None
            return reduced.get_future().then(noted)

        return hook

    def _arrived(self, work: Any, norm: Tensor, averaged: list[Tensor], square: float, small: int, big: int) -> None:
        """Counts an update once its backward is over: the wait is for what has arrived already."""
        work.wait()
        total = torch.stack(averaged).sum()
        averaged.clear()
        self.update(small_norm_squared=norm / square, big_norm_squared=total / square, small=small, big=big)

    def _settle(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting()

    @property
    def updates(self) -> int:
        """Updates that were counted."""
        self._settle()
        return self._counts["updates"]

    @property
    def skipped(self) -> int:
        """Updates that were not: their norms were not finite, or they had one micro-batch."""
        self._settle()
        return self._counts["skipped"]

    @property
    def trace_covariance(self) -> float | None:
        """tr(Sigma), the average so far; None before the first update."""
        return self._average("trace")

    @property
    def gradient_norm_squared(self) -> float | None:
        """|G|^2, the average so far, which may be negative; None before the first update."""
        return self._average("norm")

    @property
    def b_simple(self) -> float | None:
        """tr(Sigma) / |G|^2 in samples; None while either average is not positive."""
        trace, norm = self.trace_covariance, self.gradient_norm_squared
        if trace is None or norm is None or trace <= 0 or norm <= 0:
            return None
        return trace / norm

    def _average(self, name: str) -> float | None:
        self._settle()
        return self._sums[name] / self._sums["weight"] if self._counts["updates"] else None

    def state_dict(self) -> dict[str, Any]:
        """All that going on needs, in plain numbers."""
        self._settle()
        return {"decay": self.decay, **self._counts, **self._sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up a `state_dict`."""
        self._waiting = None
        self.decay = float(state["decay"])
        self._counts = {name: int(state[name]) for name in self._counts}
        self._sums = {name: float(state[name]) for name in self._sums}


def _norm_squared(gradients: Sequence[Tensor | None]) -> Tensor:
    """In float64, on the device; one number."""
    present = [part.detach() for part in gradients if part is not None]
    if not present:
        raise UsageError("no gradient is there; call backward first")
    norms = [torch.linalg.vector_norm(part, dtype=torch.float64) for part in present]
    return torch.stack([norm.to(norms[0].device) for norm in norms]).square().sum()


def _sum(one: Tensor | None, other: Tensor | None, weight: float) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other.detach() * weight
    return one.add_(other.detach(), alpha=weight)
