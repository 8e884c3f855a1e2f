"""Training: data on the device, no host synchronisation per update, and a state that goes on bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import execution, passes
from .data import Batch, Samples, Splits
from .data.samples import cut, length
from .errors import InputError, LandscapeError, NumericalError, Stopped, one_line
from .losses import Loss, resolve_loss
from .models import build_model
from .recipe import Recipe
from .results import Status, Training
from .vectors import flatten, layout_of

EVALUATION_CHUNK = 2048
LOG = (
    "epoch",
    "updates",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "learning_rate",
    "distance",
    "seconds",
)


@dataclass
class TrainingState:
    """What going on needs: everything that the next update depends on, and the log so far."""

    tensors: dict[str, Tensor]
    optimizer: dict[str, Any]
    random: dict[str, Tensor]  # states of the generators: the order's, and torch's own (dropout)
    order: Tensor  # the current epoch's permutation
    position: int  # samples of it already used
    epoch: int  # epochs done
    updates: int
    initial: Tensor  # the params before the first update
    seconds: float
    log: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LOG})


@dataclass(frozen=True)
class TrainingWatch:
    """Callbacks: `epoch` gets each row of the log, `save` a state at each epoch's end, `stop` is asked each update."""

    epoch: Callable[[dict[str, float]], None] | None = None
    save: Callable[[TrainingState], None] | None = None
    stop: Callable[[], bool] | None = None


@dataclass(frozen=True)
class Trained:
    """A finished run: the model's tensors, its log, and the state from which it can go on."""

    recipe: Recipe
    tensors: dict[str, Tensor]
    log: Training
    state: TrainingState


def train(
    recipe: Recipe,
    splits: Splits,
    *,
    device: str | torch.device = "cpu",
    state: TrainingState | None = None,
    watch: TrainingWatch | None = None,
) -> Trained:
    """Runs a recipe from its initial point, or goes on from `state`, until its budget is spent.

    Each epoch is a fresh permutation of the samples; its last batch may be short. Metrics are those of the whole
    splits in eval mode, after each epoch and at the end. The same recipe, device and number of threads give the
    same bits, interrupted or not. Costs one gradient pass and a third (the metrics) an epoch.

    Raises NumericalError where the loss stops being finite, Stopped where `watch.stop` says so (the state having
    been handed to `watch.save`), InputError where data, model and loss do not fit.
    """
    run = _Run(recipe, splits, execution.resolve_device(device), watch or TrainingWatch())
    with run.random_state():
        run.restore(state) if state is not None else run.begin()
        run.go()
        # inside: the state holds the run's own random state, which the next lines put away
        return Trained(recipe, _copied(run.model.state_dict()), run.result(), run.state())


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


class _Run:
    """One run in progress."""

    def __init__(self, recipe: Recipe, splits: Splits, device: torch.device, watch: TrainingWatch) -> None:
        self.recipe, self.device, self.watch = recipe, device, watch
        dtype = execution.resolve_dtype(recipe.dtype)
        self.train_samples = splits.train.to(device, dtype)
        self.test_samples = None if splits.test is None else splits.test.to(device, dtype)
        if not self.train_samples.divisible:
            raise InputError("training needs samples that can be joined; give batches of equal shapes")
        self.model = build_model(recipe.model, recipe.model_args, splits, recipe.seed).to(device, dtype)
        self.loss: Loss = resolve_loss(recipe.loss)
        self.layout = layout_of(self.model)
        self.params = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = _optimizer(recipe, self.params)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.order = torch.empty(0, dtype=torch.int64)
        self.position = self.epoch = self.updates = 0
        self.seconds = 0.0
        self.initial = self._vector()
        self.log: dict[str, list[float]] = {name: [] for name in LOG}

    @contextmanager
    def random_state(self) -> Iterator[None]:
        """torch's own generator borrowed for the run (dropout draws from it), seeded, and put back."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.recipe.seed)
            yield

    def begin(self) -> None:
        """Row 0 of the log: the initial point. It is measured on all samples, so that misfits are told here."""
        self._next_order()
        try:
            self._log()
        except (LandscapeError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise InputError(
                f"model {self.recipe.model}, loss {self.recipe.loss} and data {self.recipe.data} do not fit: "
                f"{one_line(error)}"
            ) from error

    def restore(self, state: TrainingState) -> None:
        """Takes up a state, its random generators included."""
        self.model.load_state_dict(state.tensors)
        self.optimizer.load_state_dict(state.optimizer)
        self.generator.set_state(state.random["order"])
        torch.set_rng_state(state.random["cpu"])
        if "cuda" in state.random and self.device.type == "cuda":
            torch.cuda.set_rng_state(state.random["cuda"], self.device)
        self.order, self.position = state.order.clone(), state.position
        self.epoch, self.updates, self.seconds = state.epoch, state.updates, state.seconds
        self.initial = state.initial.to(self.device)
        self.log = {name: list(rows) for name, rows in state.log.items()}

    def state(self) -> TrainingState:
        """A copy of everything that the next update depends on."""
        random = {"order": self.generator.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        return TrainingState(
            tensors=_copied(self.model.state_dict()),
            optimizer=self.optimizer.state_dict(),
            random=random,
            order=self.order.clone(),
            position=self.position,
            epoch=self.epoch,
            updates=self.updates,
            initial=self.initial.cpu(),
            seconds=self.seconds,
            log={name: list(rows) for name, rows in self.log.items()},
        )

    def go(self) -> None:
        """Epoch after epoch until the budget is spent."""
        while not self._done():
            self._epoch()
            self._log()
            if self.watch.save:
                self.watch.save(self.state())

    def _done(self) -> bool:
        if self.recipe.updates is not None:
            return self.updates >= self.recipe.updates
        assert self.recipe.epochs is not None
        return self.epoch >= self.recipe.epochs

    def _epoch(self) -> None:
        """Updates to the end of the epoch or of the budget."""
        began = time.perf_counter()
        self.model.train()
        size, count = self.recipe.batch_size, len(self.train_samples)
        block = self.train_samples.blocks[0]
        order = self.order.to(self.device)
        while self.position < count and not (self.recipe.updates is not None and self._done()):
            if self.watch.stop and self.watch.stop():
                self.seconds += time.perf_counter() - began
                if self.watch.save:
                    self.watch.save(self.state())
                raise Stopped(f"stopped after {self.updates} updates; --resume goes on from here")
            self._update(cut(block, order[self.position : self.position + size]))
            self.position += size
        self.seconds += time.perf_counter() - began
        if self.position >= count:
            self.epoch += 1
            self._next_order()

    def _update(self, batch: Batch) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        try:
            total, weight = _totals(self.model, self.loss, batch)[1]
        except ValueError as error:  # batch norm of one sample, as the last batch may hold
            raise InputError(
                f"a batch of {length(batch)} samples cannot be trained on: {one_line(error)}; change --batch-size"
            ) from error
        (total / weight).backward()
        self.optimizer.step()
        self.updates += 1

    def _next_order(self) -> None:
        self.order = torch.randperm(len(self.train_samples), generator=self.generator)
        self.position = 0

    def _vector(self) -> Tensor:
        return flatten([p.detach() for p in self.params]).clone()

    def _log(self) -> None:
        """A row of the log; refuses to go on from a loss that is not finite."""
        train_loss, train_accuracy = evaluate(self.model, self.loss, self.train_samples)
        if not np.isfinite(train_loss):
            raise NumericalError(
                f"training diverged: the train loss is {train_loss} after {self.updates} updates; lower --lr"
            )
        test = (np.nan, np.nan)
        if self.test_samples is not None:
            test = evaluate(self.model, self.loss, self.test_samples)
        row = dict.fromkeys(LOG, 0.0) | {
            "epoch": self.updates / self._updates_per_epoch(),
            "updates": self.updates,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test[0],
            "test_accuracy": test[1],
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "distance": float((self._vector() - self.initial).double().norm()),
            "seconds": self.seconds,
        }
        for name, value in row.items():
            self.log[name].append(value)
        if self.watch.epoch:
            self.watch.epoch(row)

    def _updates_per_epoch(self) -> int:
        return -(-len(self.train_samples) // self.recipe.batch_size)

    def result(self) -> Training:
        """The log as a result."""
        columns: dict[str, Any] = {name: np.array(rows) for name, rows in self.log.items()}
        return Training(
            status=Status.COMPLETE,
            settings={"kind": Training.kind, "version": 1, "recipe": self.recipe.to_json()},
            initial_params=self.initial.cpu().numpy(),
            **columns,
        )


def _optimizer(recipe: Recipe, params: list[nn.Parameter]) -> torch.optim.Optimizer:
    # fused: one kernel an update instead of several a param tensor
    if recipe.optimizer == "adam":
        return torch.optim.Adam(params, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        params,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _totals(model: nn.Module, loss: Loss, batch: Batch) -> tuple[Any, tuple[Tensor, Tensor]]:
    if isinstance(batch, dict):
        return None, loss.totals(model, batch, length(batch))
    outputs = model(batch[0])
    return outputs, loss.totals(outputs, batch[1], length(batch))


@torch.no_grad()
def evaluate(model: nn.Module, loss: Loss, samples: Samples) -> tuple[float, float]:
    """Loss and accuracy over all samples in eval mode; accuracy is nan where there are no classes."""
    sums = []
    with execution.measuring(model, batch_statistics=False):
        for batch in samples.chunks(EVALUATION_CHUNK):
            outputs, (total, weight) = _totals(model, loss, batch)
            sums.append(torch.stack([total.double(), weight.double(), passes.correct(outputs, batch)]))
    total, weight, correct = torch.stack(sums).sum(0).tolist()
    return total / weight, correct / len(samples)
