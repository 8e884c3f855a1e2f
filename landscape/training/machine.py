"""The parts of a run: model, batches, update, logs; everything that the next update depends on, out and in again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from .. import execution
from ..data import Splits
from ..data.corruption import changed
from ..errors import InputError
from ..losses import Loss, resolve_loss
from ..models import build_model
from ..recipe import Position, Recipe, Schedule
from ..vectors import flatten
from . import batch_norm
from .batches import Batches
from .keeping import Kept
from .log import Logs
from .state import Tensors, TrainingState, TrainingWatch
from .update import Update

APART = 0x5DEECE66D  # so that what is drawn for each batch does not repeat what orders the samples


def copied(tensors: Mapping[str, Tensor]) -> Tensors:
    """Tensors of their own on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


class Machine:
    """A run's parts, at one moment of it."""

    def __init__(self, recipe: Recipe, splits: Splits, device: torch.device, watch: TrainingWatch) -> None:
        self.recipe, self.device, self.watch = recipe, device, watch
        dtype = execution.resolve_dtype(recipe.dtype)
        splits = changed(splits, **recipe.changes)
        self.train_samples = splits.train.to(device, dtype)
        self.test_samples = None if splits.test is None else splits.test.to(device, dtype)
        if not self.train_samples.divisible:
            raise InputError("training needs samples that can be joined; give batches of equal shapes")
        self.model = build_model(recipe.model, recipe.model_args, splits, recipe.seeds["init"]).to(device, dtype)
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if recipe.ghost_batch is not None:
            batch_norm.use_ghosts(self.model, recipe.ghost_batch)
        if not any(p.requires_grad for p in self.model.parameters()):
            raise InputError(f"model {recipe.model} has no params to train; let some of them require gradients")
        self.loss: Loss = resolve_loss(recipe.loss)
        self.generator = torch.Generator().manual_seed(recipe.seeds["augment"] ^ APART)
        self.batches = Batches(recipe, self.train_samples, self.generator)
        self.schedule = Schedule(recipe, len(self.train_samples))
        self.update = Update(recipe, self.model, self.loss, self.batches)
        self.update.told = watch.each_update
        self.kept = Kept(recipe)
        self.logs = Logs()
        self.epoch = self.updates = self.samples = 0
        self.rate, self.batch_size = self.schedule.rate(self.position), self.schedule.batch_size(self.position)
        self.seconds = 0.0
        self.frozen = False  # batch norms are
        self.chunk: int | None = None  # samples a pass of a measurement, once known
        self.good: Tensors = {}  # those of the last measurement, all finite
        self.initial = self.vector()

    @property
    def position(self) -> Position:
        """How far the run has come."""
        return Position(self.samples, self.updates)

    @contextmanager
    def random_state(self) -> Iterator[None]:
        """torch's own generator borrowed for the run (dropout draws from it), seeded, and put back."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.recipe.seed)
            yield

    def vector(self) -> Tensor:
        """The params as one vector, a copy."""
        return flatten([p.detach() for p in self.model.parameters() if p.requires_grad]).clone()

    def synchronise(self) -> None:
        """Waits for the device, before a clock is read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def training_mode(self) -> None:
        """Training mode; batch norms freeze at the next update, where that is due."""
        self.model.train()
        self.frozen = False

    def restore(self, state: TrainingState) -> None:
        """Takes up a state, its random generators included."""
        self.model.load_state_dict(state.tensors)
        for name, tensors in self.update.optimizer.state.items():
            for mine, theirs in zip(tensors, state.optimizer[name], strict=True):
                mine.copy_(theirs)
        self.batches.shuffler.set_state(state.random["order"])
        self.generator.set_state(state.random["augment"])
        torch.set_rng_state(state.random["cpu"])
        if "cuda" in state.random and self.device.type == "cuda":
            torch.cuda.set_rng_state(state.random["cuda"], self.device)
        self.batches.restore(state.order, state.position)
        self.epoch, self.updates, self.samples, self.seconds = state.epoch, state.updates, state.samples, state.seconds
        self.initial = state.initial.to(self.device)
        self.kept.restore(state.kept, self.device)
        self.good = state.good or copied(self.model.state_dict())
        self.logs.restore(state.log, state.update_log, state.tracked, state.updates)
        self.rate, self.batch_size = state.log["learning_rate"][-1], int(state.log["batch_size"][-1])

    def state(self) -> TrainingState:
        """A copy of everything that the next update depends on."""
        self.logs.gather()
        random = {
            "order": self.batches.shuffler.get_state(),
            "augment": self.generator.get_state(),
            "cpu": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        kept = self.update.optimizer.state
        return TrainingState(
            tensors=copied(self.model.state_dict()),
            optimizer={name: [t.cpu().clone() for t in tensors] for name, tensors in kept.items()},
            random=random,
            order=self.batches.order.clone(),
            position=self.batches.position,
            epoch=self.epoch,
            updates=self.updates,
            samples=self.samples,
            initial=self.initial.cpu(),
            seconds=self.seconds,
            kept=self.kept.state,
            good={} if self.logs.rows["updates"][-1:] == [self.updates] else self.good,
            log={name: list(values) for name, values in self.logs.rows.items()},
            update_log={name: list(values) for name, values in self.logs.updates.items()},
            tracked={name: [dict(row) for row in rows] for name, rows in self.logs.tracked.items()},
        )
