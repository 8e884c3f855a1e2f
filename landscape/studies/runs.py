"""A training run with its files: begun, gone on with, watched, and written down."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import code, execution, files
from ..checkpoint import Checkpoint, fitted, load_checkpoint, save_checkpoint
from ..data import Splits, load_data
from ..data.corruption import changed
from ..errors import InputError, UsageError, one_line
from ..models import build_model
from ..provenance import provenance
from ..recipe import Position, Recipe, Schedule, from_json
from ..results import Status
from ..resume import refuse_other
from ..training import Diverged, Snapshots, Tracking, TrainingState, TrainingWatch, train
from .runfiles import RunFiles, metrics, write

SAVE_EVERY = 5.0  # seconds of training between two saves of the state, more where a save takes long:
SHARE = 0.05  # of the time is for saving at most


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is written down along a run besides its measurements; none of it changes a bit of the run.

    `each_update`: a log of every update. `save_every` epochs, `save_log` times in each factor of ten in updates: a
    checkpoint of the trajectory. `tracking`: measures taken along it.
    """

    each_update: bool = False
    save_every: int | None = None
    save_log: int | None = None
    tracking: tuple[Tracking, ...] = ()


def run(
    recipe: Recipe,
    out: str | os.PathLike[str] | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    row: Callable[[dict[str, float]], None] | None = None,
    stop: Callable[[], bool] | None = None,
    extras: Extras | None = None,
    splits: Splits | None = None,
    save_every: float = SAVE_EVERY,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Trains a recipe and writes its files; returns the run's metrics, its checkpoint's path and its provenance.

    With `resume` it goes on from NAME.state where there is one (and from the beginning otherwise), for longer if
    the budget has grown. A state is written every `save_every` seconds at most. Raises InputError where a checkpoint
    or a state exists and neither `resume` nor `overwrite` is given, or where the state is of another recipe; Diverged
    where the loss is no longer finite, after writing a checkpoint of the last measurement that was.
    """
    extras = extras or Extras()
    target = None if out is None else RunFiles(Path(out))
    if target is None and (extras.save_every or extras.save_log):
        raise UsageError("checkpoints of the trajectory need --out")
    going_on = target is not None and resume and files.exists(target.state)
    if target is not None:
        _refuse_place(target, resume=resume, going_on=going_on, overwrite=overwrite)
    splits = splits or load_data(recipe.data, recipe.data_args)
    first = None if recipe.init is None else load_checkpoint(recipe.init)
    conditions = _conditions(recipe, splits, first, device)
    state = _read_state(target.state, recipe, conditions) if target is not None and going_on else None
    began = time.perf_counter()

    def origin() -> dict[str, Any]:
        return provenance(
            command=command,
            settings=json.loads(recipe.to_json()),
            inputs={} if first is None else {str(first.path): first.sha256},
            seconds=time.perf_counter() - began,
            threads=torch.get_num_threads(),
        )

    if target is not None and state is None:
        target.begin()
    saver = None if target is None else _Saver(target, recipe, conditions, save_every)
    watch = TrainingWatch(
        row=row,
        stop=stop,
        due=saver.due if saver else None,
        save=saver.save if saver else None,
        snapshots=_snapshots(target, recipe, extras),
        tracking=extras.tracking,
        each_update=extras.each_update,
    )
    start = None if first is None else _start(recipe, splits, first)
    with _written_when_diverged(target, recipe, origin):
        trained = train(recipe, splits, device=device, start=start, state=state, watch=watch)
    if target is not None:
        _write_state(target.state, recipe, conditions, trained.state)
        write(target, trained, origin())
    place = None if target is None else str(target.checkpoint)
    return metrics(recipe, trained.log) | {"checkpoint": place, "provenance": origin()}


def _refuse_place(target: RunFiles, *, resume: bool, going_on: bool, overwrite: bool) -> None:
    """InputError where the files cannot be written, or hold another run that may not be replaced."""
    for place in (target.checkpoint, target.state, target.log):
        files.require_writable(place)
    if going_on or overwrite:
        return
    if resume and files.exists(target.checkpoint):
        status = (load_checkpoint(target.checkpoint).metadata or {}).get("status")
        if status != Status.NON_FINITE:  # a run that diverged before its first state begins anew
            raise InputError(f"{target.checkpoint} has no state beside it to go on from; --overwrite starts again")
        return
    for existing in (target.checkpoint, target.state):
        if files.exists(existing):
            raise InputError(f"{existing} exists; --resume, --overwrite, or another --out")


def _conditions(recipe: Recipe, splits: Splits, first: Checkpoint | None, device: str) -> dict[str, Any]:
    """What fixes the bits of a run besides its recipe."""
    model = build_model(recipe.model, recipe.model_args, splits, recipe.seeds["init"])
    return {
        "data": splits.train.digest(),
        "model code": code.of_model(model),
        **({} if first is None else {"init": first.sha256}),
        **execution.conditions(execution.resolve_device(device)),
    }


def _start(recipe: Recipe, splits: Splits, first: Checkpoint) -> Mapping[str, Tensor]:
    """The tensors of the checkpoint that a run begins with."""
    return fitted(
        first, build_model(recipe.model, recipe.model_args, changed(splits, **recipe.changes), recipe.seeds["init"])
    )


def _snapshots(target: RunFiles | None, recipe: Recipe, extras: Extras) -> Snapshots | None:
    if target is None or not (extras.save_every or extras.save_log):
        return None

    def save(tensors: Mapping[str, Tensor], updates: int, epoch: float) -> None:
        place = target.point(updates)
        place.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(place, tensors, recipe, {"updates": updates, "epochs": epoch, "kept": "point of a trajectory"})

    return Snapshots(save, extras.save_every, extras.save_log)


@contextmanager
def _written_when_diverged(
    target: RunFiles | None, recipe: Recipe, origin: Callable[[], dict[str, Any]]
) -> Iterator[None]:
    """A run that diverged leaves the checkpoint and the log of its last finite measurement, marked as such."""
    try:
        yield
    except Diverged as error:
        if target is None or error.trained is None:
            raise
        write(target, error.trained, origin())
        found = metrics(recipe, error.trained.log)
        told = Diverged(f"{error}; {target.checkpoint} is of update {found['updates']}, the last finite", error.trained)
        told.computed = found | {"checkpoint": str(target.checkpoint)}
        raise told from error


class _Saver:
    """Writes the state of a run now and then."""

    def __init__(self, target: RunFiles, recipe: Recipe, conditions: Mapping[str, Any], every: float) -> None:
        self.target, self.recipe, self.conditions = target, recipe, conditions
        self.every, self.wait = every, every
        self.saved = time.monotonic()

    def due(self) -> bool:
        """Whether a state should be written."""
        return time.monotonic() - self.saved >= self.wait

    def save(self, state: TrainingState) -> None:
        """Writes a state."""
        began = time.monotonic()
        _write_state(self.target.state, self.recipe, self.conditions, state)
        self.saved = time.monotonic()
        self.wait = max(self.every, (self.saved - began) / SHARE)


def _write_state(path: Path, recipe: Recipe, conditions: Mapping[str, Any], state: TrainingState) -> None:
    buffer = io.BytesIO()
    torch.save({"recipe": recipe.to_json(), "conditions": dict(conditions), "state": _fields(state)}, buffer)
    files.sweep_temporaries(path)
    files.write_atomically(path, buffer.getvalue())


def _fields(state: TrainingState) -> Mapping[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}


def _read_state(path: Path, recipe: Recipe, conditions: Mapping[str, Any]) -> TrainingState:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        stored, state = from_json(loaded["recipe"], str(path)), TrainingState(**loaded["state"])
        before = dict(loaded["conditions"])
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is damaged: {one_line(error)[:120]}; --overwrite starts again") from error
    different = recipe.differences(stored)
    if different:
        raise InputError(f"cannot resume: {path} is of another run ({', '.join(different)} differ); --overwrite")
    refuse_other(str(path), before, conditions)
    schedule = Schedule(recipe, len(state.order))
    if schedule.beyond(Position(state.samples, state.updates), int(state.log["batch_size"][-1])):
        passes = state.samples / len(state.order)
        raise InputError(
            f"cannot resume: {path} is after {passes:g} passes and {state.updates} updates, beyond this budget; "
            "ask for more"
        )
    return state
