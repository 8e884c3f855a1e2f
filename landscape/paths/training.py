"""The training of a curve: SGD on the mean of the loss over its points."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import execution, memory, passes
from ..data.samples import cut
from ..errors import InputError, NumericalError, ResourceError, Stopped, UsageError
from ..objective import Objective
from ..results import Path
from ..resume import Pace, Watch
from .curves import CURVES, coefficients, straight


@dataclass(frozen=True)
class Plan:
    """How a curve is trained. Raises UsageError for values out of range.

    The defaults give flat curves between the networks of checkpoints/ in seconds.
    """

    curve: str = "bezier"
    bends: int = 1
    epochs: int = 500
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise UsageError(f"curve must be {' or '.join(CURVES)}, got {self.curve!r}")
        for name in ("bends", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise UsageError(f"lr must be finite and above 0, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum must lie in 0 ... 1, below 1, got {self.momentum}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed must lie in 0 ... 2^63 - 1, got {self.seed}")

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, 1 ... epochs: lr for half of them, falling to .01 lr at .9 of them.

        As in Garipov et al.'s code.
        """
        share = epoch / self.epochs
        return self.lr * (1.0 if share <= 0.5 else 1.0 - (share - 0.5) / 0.4 * 0.99 if share <= 0.9 else 0.01)

    def updates(self, samples: int) -> int:
        """Updates an epoch."""
        return math.ceil(samples / self.batch_size)

    def draws(self, epoch: int, samples: int) -> tuple[Tensor, Tensor]:
        """What is random in an epoch: t ~ U[0, 1) of each update (U,), and the order of the samples (N,).

        The minibatches are the order cut into U parts as equal as may be. From the seed and the epoch alone, so that
        an epoch can be begun again.
        """
        mixed = hashlib.sha256(f"path|{self.seed}|{epoch}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(mixed) >> 1)
        t = torch.rand(self.updates(samples), generator=generator, dtype=torch.float64)
        return t, torch.randperm(samples, generator=generator)


class Training:
    """The training of one curve in progress: its points (K+1, n), the momentum of its bends, the loss of each epoch.

    Minimises E_{t ~ U[0, 1]} L(phi(t)) over the bends theta_1 ... theta_{K-1} (Garipov et al. 2018, equation 2). Each
    update takes one t and one minibatch: dL/dtheta_k = c_k(t) dL/dw at w = phi(t). Batch norm on the statistics of the
    minibatch; otherwise the model runs as it is measured. One forward and one backward pass over the samples an epoch.
    """

    def __init__(self, start: Objective, end: Objective, plan: Plan) -> None:
        self.objective, self.plan = start, plan
        if not start.samples.divisible:
            raise InputError("training a curve needs samples that can be joined; give batches of equal shapes")
        if execution.has_batch_norm(start.model) and start.num_samples < 2 * plan.updates(start.num_samples):
            raise InputError("a minibatch would hold one sample, which has no batch statistics; raise --batch-size")
        self.points = straight(start.params, end.params.to(start.params), plan.bends)
        self.velocity = torch.zeros_like(self.points[1:-1])
        self.losses: list[float] = []
        squares = [start.constants[name].double().square().sum() for name in start.penalised]
        self.fixed = start.l2 / 2 * sum(map(float, squares))

    @property
    def ended(self) -> bool:
        """Whether all epochs are done."""
        return len(self.losses) >= self.plan.epochs

    @property
    def updates(self) -> int:
        """Updates done."""
        return len(self.losses) * self.plan.updates(self.objective.num_samples)

    def take_over(self, partial: Path) -> None:
        """Goes on from the last epoch that a partial result has."""
        bends = torch.as_tensor(partial.bends).to(self.points)
        if bends.shape != self.velocity.shape:
            raise InputError(f"cannot resume: bends of shape {tuple(bends.shape)}, not {tuple(self.velocity.shape)}")
        self.points[1:-1] = bends
        if partial.velocity is not None:
            self.velocity = torch.as_tensor(partial.velocity).to(self.points)
        self.losses = partial.epoch_loss.tolist()

    def run(self, build: Callable[[], Path], watch: Watch) -> None:
        """Trains what is left, saving between epochs; an epoch that is cut is begun again from its start.

        Raises Stopped, after a last save, where `watch.stop` says so; NumericalError where the loss is not finite.
        """
        pace = Pace()
        while not self.ended:
            try:
                whole = self._epoch(watch)
            except (RuntimeError, MemoryError) as error:
                if not memory.out_of_memory(error):
                    raise
                raise ResourceError(f"out of memory with {self.plan.batch_size} samples; lower --batch-size") from error
            if not whole:
                if watch.save:
                    watch.save(build())
                raise Stopped("stopped in the training of the curve; --resume goes on from here")
            if save := watch.save:
                pace.offer(lambda save=save: save(build()))

    def _epoch(self, watch: Watch) -> bool:
        """One epoch; False, with all as it was before, where the caller stops it."""
        plan, objective, epoch = self.plan, self.objective, len(self.losses) + 1
        t, order = plan.draws(epoch, objective.num_samples)
        rows = coefficients(plan.curve, t, plan.bends).to(self.points).unbind()
        batches = order.to(self.points.device).tensor_split(len(rows))
        points, velocity, rate = self.points.clone(), self.velocity.clone(), plan.rate(epoch)
        bends, block, layout = points[1:-1], objective.samples.blocks[0], objective.layout
        summed = torch.zeros((), dtype=torch.float64, device=points.device)
        before = self.updates
        with execution.measuring(objective.model, batch_statistics=True):
            for done, (row, batch) in enumerate(zip(rows, batches, strict=True), before + 1):
                if watch.stop and watch.stop():
                    return False
                place = (row @ points).requires_grad_()
                _, (total, weight) = objective.forward(layout.split(place), cut(block, batch))
                loss = total / weight
                if objective.l2:
                    loss = loss + objective.l2 / 2 * place.square().sum()
                gradient = passes.gradients(loss, [place])[0]
                assert gradient is not None  # the params are one leaf, on which some output depends
                velocity.addr_(row[1:-1], gradient.to(row.dtype), beta=plan.momentum)
                bends.sub_(velocity, alpha=rate)
                summed += loss.detach()
                if watch.progress:
                    watch.progress(done)
        mean = float(summed) / len(batches) + self.fixed
        if not (math.isfinite(mean) and bool(bends.isfinite().all())):
            raise NumericalError(f"the loss on the curve is not finite in epoch {epoch}; lower --lr, now {plan.lr:g}")
        self.points, self.velocity = points, velocity
        self.losses.append(mean)
        return True
