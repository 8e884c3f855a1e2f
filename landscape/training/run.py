"""The run: updates until the budget is spent, measured after each epoch, in a state that goes on bit for bit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import execution
from ..data import Splits
from ..data.samples import length
from ..errors import InputError, LandscapeError, Stopped, one_line
from ..recipe import Recipe
from ..results import Status
from . import batch_norm
from .evaluation import chunk_of, evaluate
from .machine import Machine, copied
from .state import Diverged, Tensors, Trained, TrainingState, TrainingWatch
from .update import Gradient

KEPT = ("epoch", "updates", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "weight_norm", "distance")


def train(
    recipe: Recipe,
    splits: Splits,
    *,
    device: str | torch.device = "cpu",
    start: Mapping[str, Tensor] | None = None,
    state: TrainingState | None = None,
    watch: TrainingWatch | None = None,
) -> Trained:
    """Runs a recipe from its initial point, or goes on from `state`, until its budget is spent.

    `splits` are those of the recipe as they are, unchanged (`changed` makes the recipe's changes); `start` are the
    tensors of the initial point where the recipe's `init` names a checkpoint. Each epoch is a permutation of the
    samples; its last batch may be short. Metrics are those of the whole splits in eval mode, after each
    `evaluate_every` epochs and at the end. The same recipe, device and number of threads give the same bits,
    interrupted or not. Costs one gradient pass an epoch (two with SAM, three if conservative) and a third for the
    metrics.

    Raises Diverged (a NumericalError), which holds the run up to its last finite measurement, where the train loss
    stops being finite; Stopped where `watch.stop` says so (the state having been handed to `watch.save`); InputError
    where data, model and loss do not fit.
    """
    run = _Run(recipe, splits, execution.resolve_device(device), watch or TrainingWatch())
    with run.random_state(), execution.repeatable():
        if state is not None:
            run.restore(state)
        else:
            run.begin(start)
        run.go()
        # inside: the state holds the run's own random state, which the next lines put away
        return run.trained(Status.COMPLETE if run.reached else Status.NOT_CONVERGED)


class _Run(Machine):
    """A run in progress: updates, measurements, and how it ends."""

    def __init__(self, recipe: Recipe, splits: Splits, device: torch.device, watch: TrainingWatch) -> None:
        super().__init__(recipe, splits, device, watch)
        self.reached = recipe.target_loss is None

    def begin(self, start: Mapping[str, Tensor] | None) -> None:
        """Row 0 of the log: the initial point. It is measured on all samples, so that misfits are told here."""
        if start is not None:
            self.model.load_state_dict(dict(start))
            self.initial = self.vector()
        try:
            self._measure()
        except (LandscapeError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise InputError(
                f"model {self.recipe.model}, loss {self.recipe.loss} and data {self.recipe.data} do not fit: "
                f"{one_line(error)}"
            ) from error
        if self.watch.snapshots:
            self._snapshot()
        self._track()

    # -- the loop

    def go(self) -> None:
        """Epoch after epoch until the budget is spent, the target reached or patience at its end."""
        if self.updates and not self._due() and self._over():
            # ended already, at a measurement that its state leaves out for longer runs
            self._consider({name: values[-1] for name, values in self.logs.rows.items()})
        while not self._over():
            self._epoch()
            if self.batches.position == 0:
                self._along()
            if self._due() or self._over():
                self._measure()
                if self.watch.save and (self.watch.due is None or self.watch.due()):
                    self.watch.save(self.state())

    def _due(self) -> bool:
        """Whether the splits are measured here, however long the run is."""
        return self.batches.position == 0 and self.epoch % self.recipe.evaluate_every == 0

    def _along(self) -> None:
        """Checkpoints of the trajectory and tracked measures at the end of an epoch."""
        if self.watch.snapshots and self.watch.snapshots.after_epoch(self.epoch):
            self._snapshot()
        self._track()

    def _over(self) -> bool:
        if self.recipe.target_loss is not None and self.logs.rows["updates"][-1] == self.updates:
            self.reached = self.logs.rows["train_loss"][-1] <= self.recipe.target_loss
            if self.reached:
                return True
        return self.kept.exhausted or self.schedule.spent(self.position)

    def _epoch(self) -> None:
        """Updates to the end of the epoch or of the budget."""
        began, before, watch = time.perf_counter(), self.seconds, self.watch
        self.training_mode()
        while not self.batches.ended and not self.schedule.spent(self.position):
            self.seconds = before + time.perf_counter() - began
            if watch.stop and watch.stop():
                if watch.save:
                    watch.save(self.state())
                raise Stopped(f"stopped after {self.updates} updates; --resume goes on from here")
            if watch.due and watch.save and watch.due():
                watch.save(self.state())
            self._one()
        self.synchronise()
        self.seconds = before + time.perf_counter() - began
        if self.batches.ended:
            self._next_epoch()

    def _next_epoch(self) -> None:
        self.epoch += 1
        self.batches.next_epoch()

    def _one(self) -> None:
        """One update, and what is noted of it."""
        frozen = self.recipe.freeze_bn
        if frozen is not None and not self.frozen and self.schedule.clock(self.position) >= frozen:
            batch_norm.freeze(self.model)
            self.frozen = True
        if self.schedule.moves:
            at = self.position
            self.rate, self.batch_size = self.schedule.rate(at), self.schedule.batch_size(at)
        batch = self.batches.take(self.batch_size)
        gradient = self.update(batch, self.rate)
        self.updates += 1
        self.samples += length(batch)
        if self.recipe.average == "ema":
            self.kept.after_update(self.update.values, self.schedule.clock(self.position))
        if self.watch.each_update:
            self._note(gradient, length(batch))
        if self.watch.snapshots and self.watch.snapshots.after_update(self.updates):
            self._snapshot()

    def _note(self, gradient: Gradient, size: int) -> None:
        values = self.vector()
        host = {
            "update": self.updates,
            "samples": self.samples,
            "learning_rate": self.rate,
            "batch_size": size,
            "seconds": self.seconds,
        }
        norm = self.update.last if isinstance(self.update.last, Tensor) else gradient.norm
        correct = torch.tensor(np.nan) if gradient.correct is None else gradient.correct / size
        device = [gradient.loss, correct.to(self.device), norm, values.norm(), (values - self.initial).norm()]
        self.logs.update(host, device)

    # -- measurements

    def _snapshot(self) -> None:
        assert self.watch.snapshots is not None
        self.watch.snapshots.save(copied(self.model.state_dict()), self.updates, self.samples / self.batches.count)

    def _measured(self) -> dict[str, float]:
        """Losses, accuracies and norms of the model as it is."""
        test = (np.nan, np.nan)
        if self.chunk is None:
            self.chunk = chunk_of(self.model, self.loss, self.train_samples, self.device)
        train_loss, train_accuracy = evaluate(self.model, self.loss, self.train_samples, self.chunk)
        if self.test_samples is not None and np.isfinite(train_loss):
            test = evaluate(self.model, self.loss, self.test_samples, self.chunk)
        vector = self.vector().double()
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test[0],
            "test_accuracy": test[1],
            "weight_norm": float(vector.norm()),
            "distance": float((vector - self.initial.double()).norm()),
        }

    def _measure(self) -> None:
        """A row of the log; refuses to go on from a loss that is not finite."""
        self.logs.gather()
        found = self._measured()
        if not np.isfinite(found["train_loss"]):
            raise self._diverged(found["train_loss"])
        row = found | {
            "epoch": self.samples / self.batches.count,
            "updates": self.updates,
            "samples": self.samples,
            "learning_rate": self.rate,
            "batch_size": self.batch_size,
            "gradient_norm": self.update.last_norm(),
            "seconds": self.seconds,
        }
        if self.recipe.patience is not None and not self.updates and np.isnan(row[self.recipe.monitor]):
            raise InputError(
                f"--patience looks at {self.recipe.monitor}, which these data do not have; name a --monitor"
            )
        self.logs.row(row)
        self.good = copied(self.model.state_dict())
        self._consider(row)
        if self.watch.row:
            self.watch.row(row)

    def _consider(self, row: Mapping[str, float]) -> None:
        """Lets what is kept move by a measurement."""
        clock = self.schedule.clock(self.position)
        self.kept.after_row(row, self.update.values, clock, lambda: dict(self.good), last=not self._due())

    def _track(self) -> None:
        for tracking in self.watch.tracking:
            if self.epoch % tracking.every == 0:
                values = {name: float(value) for name, value in tracking.measure(self.model).items()}
                rows = self.logs.tracked.setdefault(tracking.name, [])
                rows.append({"epoch": float(self.epoch), "updates": float(self.updates), **values})

    # -- the end

    def trained(self, status: Status) -> Trained:
        """The outcome, with the tensors that the recipe wants kept."""
        state, kept = self.state(), self._keep()
        tensors = copied(self.model.state_dict())
        return self._outcome(status, tensors, kept, state)

    def _outcome(self, status: Status, tensors: Tensors, kept: Mapping[str, Any], state: TrainingState) -> Trained:
        return Trained(
            self.recipe,
            tensors,
            self.logs.training(self.recipe, self.initial, status, kept),
            state,
            self.logs.each_update(self.recipe, status),
            self.logs.measures(self.recipe, status),
        )

    def _last(self) -> dict[str, Any]:
        nominal = {"nominal_updates": self.schedule.nominal_updates()} if self.recipe.epochs is not None else {}
        return {name: self.logs.rows[name][-1] for name in KEPT} | nominal

    def _keep(self) -> dict[str, Any]:
        """Puts what is kept into the model; says what it is, with its metrics."""
        if self.kept.average:
            with torch.no_grad():
                for mine, average in zip(self.update.values, self.kept.average, strict=True):
                    mine.copy_(average)
            size = self.recipe.ghost_batch or self.batch_size
            batch_norm.re_estimate(self.model, self.loss, self.train_samples, size)
            return {**self._last(), "what": self.recipe.average, "points": self.kept.count, **self._measured()}
        best = self.kept.best
        if best:
            self.model.load_state_dict(best["tensors"])
            return {**self._last(), "what": "best", **{name: best["row"][name] for name in KEPT}}
        return {"what": "last", **self._last()}

    def _diverged(self, loss: float) -> LandscapeError:
        message = f"training diverged: the train loss is {loss} after {self.updates} updates; lower --lr"
        if not self.logs.rows["updates"]:
            return Diverged(message, None)
        kept = {"what": "last finite", **self._last()}
        return Diverged(message, self._outcome(Status.NON_FINITE, self.good, kept, self.state()))
