"""What happens to one chunk: its sums for the value and its standard error, its correct answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from . import memory
from .data import Batch
from .data.samples import length, named
from .errors import InputError, one_line
from .losses import Loss, Totals, in_range

HELD = 2**20  # numbers of outputs from which on they are counted
NO_CLASS = -1  # of a sample whose outputs tell none
ROUNDED = 1e-2  # how far the sum of a distribution may be from 1: its entries may come from bfloat16
ERROR_GROUPS = 32  # groups a chunk is cut into for the standard error of a loss that has no per-sample form


@dataclass(frozen=True)
class Evaluation:
    """Value of the objective at a point, its standard error over samples, and the accuracy (nan without classes)."""

    loss: float
    loss_stderr: float
    accuracy: float


@dataclass(frozen=True)
class Measured:
    """Loss and accuracy at a point, and what each group of samples has to do with them.

    A group is a sample for built-in losses, for a user's callable one of 32 groups of a chunk.

    loss, accuracy: scalars; influence (G,): (s_i - L w_i) / W, which sum to zero; hits and sizes (G,): right answers in
    each group, and its samples. All in float64, on the device; of several points each has one more axis in front. The
    standard error over samples of a combination of losses at several points, sum_k c_k L_k, follows from the same
    combination of influences, since the points share their samples (linearisation of a ratio of sums, Cochran 1977,
    section 6.4).
    """

    loss: Tensor
    accuracy: Tensor
    influence: Tensor
    hits: Tensor
    sizes: Tensor

    @property
    def error_influence(self) -> Tensor:
        """What each group has to do with the error: (1 - hit_i - E) / N for a sample."""
        return (self.accuracy[..., None] * self.sizes - self.hits) / self.sizes.sum(-1, keepdim=True)

    def evaluation(self) -> Evaluation:
        """As plain numbers. One host synchronisation."""
        return Evaluation(*torch.stack([self.loss, stderr(self.influence), self.accuracy]).tolist())


def stderr(influence: Tensor) -> Tensor:
    """sqrt(G/(G-1) sum_i u_i^2) of the influences u_i (..., G) of groups of samples; nan for a single one."""
    count = influence.shape[-1]
    factor = math.sqrt(count / (count - 1)) if count > 1 else math.nan
    return influence.square().sum(-1).sqrt() * factor


@dataclass(frozen=True)
class Groups:
    """Sums, weights and right answers of groups of samples (..., G) in float64, and their sizes (G,)."""

    sums: Tensor
    weights: Tensor
    hits: Tensor
    sizes: Tensor

    def measured(self, total_sum: Tensor, total_weight: Tensor, penalty: Tensor) -> Measured:
        """The loss of these totals with its penalty, the accuracy, and the influences."""
        weight = self.weights.sum(-1, keepdim=True)
        mean = self.sums.sum(-1, keepdim=True) / weight
        return Measured(
            total_sum / total_weight + penalty,
            self.hits.sum(-1) / self.sizes.sum(-1),
            (self.sums - mean * self.weights) / weight,
            self.hits,
            self.sizes,
        )


class Tally:
    """Sums over chunks for Measured, kept on the device until the end.

    Outputs of a loss that has a per-sample form are held back until there are many: on the small outputs of a chunk
    each of the dozen operations that follow takes longer to start than to run.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.groups: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self.totals: list[Tensor] = []
        self.held: list[tuple[Tensor, Tensor]] = []

    def add(self, batch: Batch, outputs: Any, total: Totals) -> None:
        """Counts one chunk whose total is known."""
        sums, weights = group_totals(self.loss, outputs, batch, total)
        size = math.ceil(length(batch) / len(sums))
        found = hits(outputs, batch)
        sizes = torch.ones_like(found)
        if size > 1:
            found, sizes = (torch.stack([part.sum() for part in parts.split(size)]) for parts in (found, sizes))
        self.groups.append((sums.double(), weights.double(), found, sizes))
        self.totals.append(torch.stack([part.double() for part in total]))

    def hold(self, outputs: Tensor, targets: Tensor) -> None:
        """Takes a chunk's outputs; they are counted with those of other chunks."""
        if self.held and self.held[0][0].shape[1:] != outputs.shape[1:]:
            self._count_held()
        self.held.append((outputs, targets))
        if sum(held.numel() for held, _ in self.held) >= HELD:
            self._count_held()

    def _count_held(self) -> None:
        outputs, targets = (torch.cat(parts) for parts in zip(*self.held, strict=True))
        self.held = []
        assert self.loss.per_sample is not None
        sums, weights = (part.double() for part in self.loss.per_sample(outputs, targets))
        self.groups.append((sums, weights, found := hits(outputs, (outputs, targets)), torch.ones_like(found)))
        self.totals.append(torch.stack([sums.sum(), weights.sum()]))

    def measured(self, penalty: Tensor) -> Measured:
        """The loss with its penalty, the accuracy, and the influences of the groups."""
        if self.held:
            self._count_held()
        groups = Groups(*(torch.cat(parts) for parts in zip(*self.groups, strict=True)))
        total_sum, total_weight = torch.stack(self.totals).sum(0)
        return groups.measured(total_sum, total_weight, penalty)


class AllChunks(nn.Module):
    """All chunks counted under one functional_call: to swap the params for each chunk took 2 % of a small network."""

    def __init__(self, model: nn.Module, tally: Tally) -> None:
        super().__init__()
        self.model, self.tally = model, tally
        self.training = False

    def run(self, state: Mapping[str, Tensor], chunks: Iterator[Batch]) -> None:
        """Counts the chunks at the params and buffers of `state`."""
        functional_call(self, {f"model.{name}": tensor for name, tensor in state.items()}, (chunks,))

    def forward(self, chunks: Iterator[Batch]) -> None:
        for batch in chunks:
            assert isinstance(batch, tuple)
            with in_range("the network", "inputs"):
                outputs = self.model(batch[0])
            self.tally.hold(outputs, batch[1])


class LossOfBatch(nn.Module):
    """`loss(model, batch)` as a module, so that functional_call reaches the model inside it."""

    def __init__(self, model: nn.Module, loss: Loss, samples: int) -> None:
        super().__init__()
        self.model, self.loss, self.num_samples = model, loss, samples
        self.training = False

    def forward(self, batch: Batch) -> Totals:
        return self.loss.totals(self.model, batch, self.num_samples)


def group_totals(loss: Loss, outputs: Any, batch: Batch, total: Totals) -> tuple[Tensor, Tensor]:
    """Sums and weights of groups of samples within a chunk, for the standard error, where single ones are not known."""
    if isinstance(batch, dict) or not isinstance(outputs, Tensor):
        return total[0][None], total[1][None]
    size = math.ceil(length(batch) / ERROR_GROUPS)
    pairs = zip(outputs.split(size), batch[1].split(size), strict=True)
    groups = [loss.totals(o, t, len(t)) for o, t in pairs]
    return torch.stack([s.double() for s, _ in groups]), torch.stack([w.double() for _, w in groups])


def gradients(total: Tensor, parts: Sequence[Tensor], *, graph: bool = False) -> tuple[Tensor | None, ...]:
    """Gradient of a chunk's sum, None for what it does not depend on; with `graph`, to be differentiated again.

    InputError where torch refuses.
    """
    with _refusals("a layer or the loss has no derivative in torch"):
        return torch.autograd.grad(total, parts, create_graph=graph, allow_unused=True)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """What torch raises for a derivative that it does not have, as an InputError."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if memory.out_of_memory(error):
            raise
        raise InputError(f"{what}: {one_line(error)[:160]}") from error


def second_product(
    first: Sequence[Tensor | None],
    parts: Sequence[Tensor],
    along: Sequence[Tensor],
    *,
    keep: bool = False,
    block: bool = False,
) -> tuple[Tensor, ...]:
    """Derivative of <first, along> by the parts; `keep` the graph; `block`: `along` holds several, one a row."""
    # A gradient that does not depend on the params (a loss linear in them) has a zero row in the Hessian.
    curved = [(g, v) for g, v in zip(first, along, strict=True) if g is not None and g.requires_grad]
    if not curved:
        shape = along[0].shape[:1] if block else ()
        return tuple(part.new_zeros(shape + part.shape) for part in parts)
    with _refusals("a layer or the loss has no second derivative in torch"):
        return torch.autograd.grad(
            [g for g, _ in curved],
            parts,
            [v for _, v in curved],
            retain_graph=keep,
            materialize_grads=True,
            is_grads_batched=block,
        )


def suspects(first: Sequence[Tensor | None]) -> list[str]:
    """Names of the custom functions behind a gradient, which may lack the second derivative that they seem to have."""
    nodes = [g.grad_fn for g in first if g is not None]
    seen: set[Any] = set()
    names: dict[str, None] = {}
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        if node.name() == "torch::autograd::Error":
            names["a function marked once_differentiable"] = None
        elif isinstance(node, torch.autograd.function.BackwardCFunction):
            names[node.name().removesuffix("Backward")] = None
    return list(names)


def classes(outputs: Tensor) -> Tensor:
    """The class of each sample (N,): the first of its largest outputs (N, K), -1 where that is nan or infinite.

    A nan among the outputs is the largest; -inf beside finite ones is a class that is never taken, and nothing more.
    """
    # as argmax gives it, in a third of its time
    largest = outputs.max(1)
    return torch.where(largest.values.isfinite(), largest.indices, NO_CLASS)


def hits(outputs: Any, batch: Batch) -> Tensor:
    """1 for a sample whose largest output is its class, else 0, in float64; nan where there are no classes.

    Classes are indices (N,), or rows (N, K) that are one-hot or distributions: non-negative, of sum 1. A row of other
    numbers is no class, so that real targets of a regression have no accuracy. Outputs that are not finite are wrong.
    """
    targets = named(batch).get("targets")
    if isinstance(outputs, Tensor) and outputs.dim() == 2 and targets is not None:
        if targets.dim() == 1 and not targets.is_floating_point():
            found = classes(outputs)
            return ((found == targets) & (found != NO_CLASS)).double()
        if targets.shape == outputs.shape and outputs.shape[1] > 1:
            # row by row and without a look at values: this runs under vmap too, and does not wait for the device
            right = (classes(outputs) == targets.max(1).indices).double()
            whole = (targets.sum(1, dtype=torch.float64) - 1).abs() <= ROUNDED
            return right.where((targets >= 0).all(1) & whole, math.nan)
    device = outputs.device if isinstance(outputs, Tensor) else next(iter(named(batch).values())).device
    return torch.full((length(batch),), math.nan, dtype=torch.float64, device=device)


def correct(outputs: Any, batch: Batch) -> Tensor:
    """Number of samples whose largest output is their class; nan where there are no classes."""
    return hits(outputs, batch).sum()
