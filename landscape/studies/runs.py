"""A training run with its files: the checkpoint, the log beside it, and the state from which it goes on."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .. import code, execution, files
from ..checkpoint import load_checkpoint, save_checkpoint
from ..data import Splits, load_data
from ..errors import InputError, UsageError, one_line
from ..models import build_model
from ..provenance import provenance
from ..recipe import Recipe
from ..results import Training
from ..resume import refuse_other
from ..store import Entry, Store
from ..training import Trained, TrainingState, TrainingWatch, train

SAVE_EVERY = 5.0  # seconds of training between two saves of the state
METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "distance")


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, beside each other: NAME.safetensors, NAME.run.h5, NAME.state."""

    checkpoint: Path

    def __post_init__(self) -> None:
        if self.checkpoint.suffix != ".safetensors":
            raise UsageError(f"a checkpoint's name ends in .safetensors, got {self.checkpoint}")

    @property
    def log(self) -> Path:
        """The log and the initial point."""
        return self.checkpoint.with_suffix(".run.h5")

    @property
    def state(self) -> Path:
        """What going on needs."""
        return self.checkpoint.with_suffix(".state")


def run(
    recipe: Recipe,
    out: str | os.PathLike[str] | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    epoch: Callable[[dict[str, float]], None] | None = None,
    stop: Callable[[], bool] | None = None,
    command: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Trains a recipe and writes its files; returns the run's metrics, its checkpoint's path and its provenance.

    With `resume` it goes on from NAME.state where there is one (and from the beginning otherwise), for longer if
    the budget has grown. Raises InputError where a checkpoint or a state exists and neither `resume` nor
    `overwrite` is given, or where the state is of another recipe.
    """
    target = None if out is None else RunFiles(Path(out))
    going_on = target is not None and resume and files.exists(target.state)
    if target is not None:
        files.require_writable(target.checkpoint)
        for existing in (target.checkpoint, target.state):
            if files.exists(existing) and not (going_on or overwrite):
                raise InputError(f"{existing} exists; --resume, --overwrite, or another --out")
    splits = load_data(recipe.data, recipe.data_args)
    conditions = _conditions(recipe, splits, device)
    state = _read_state(target.state, recipe, conditions) if target is not None and going_on else None
    began = time.perf_counter()
    watch = TrainingWatch(epoch=epoch, stop=stop, save=_saver(target, recipe, conditions))
    trained = train(recipe, splits, device=device, state=state, watch=watch)
    origin = provenance(
        command=command,
        settings=json.loads(recipe.to_json()),
        inputs={},
        seconds=time.perf_counter() - began,
        threads=torch.get_num_threads(),
    )
    if target is not None:
        _write(target, trained, conditions, origin)
    place = None if target is None else str(target.checkpoint)
    return metrics(recipe, trained.log) | {"checkpoint": place, "provenance": origin}


def _conditions(recipe: Recipe, splits: Splits, device: str) -> dict[str, Any]:
    """What fixes the bits of a run besides its recipe."""
    model = build_model(recipe.model, recipe.model_args, splits, recipe.seed)
    return {
        "data": splits.train.digest(),
        "model code": code.of_model(model),
        **execution.conditions(execution.resolve_device(device)),
    }


def metrics(recipe: Recipe, log: Training) -> dict[str, Any]:
    """The last row of a log, as the command line prints it."""
    last = {name: float(getattr(log, name)[-1]) for name in (*METRICS, "epoch", "seconds")}
    return {
        **{name: last[name] for name in METRICS},
        "updates": int(log.updates[-1]),
        "epochs": last["epoch"],
        "seconds": last["seconds"],
        "batch_size": recipe.batch_size,
    }


def stored_run(path: str | os.PathLike[str], recipe: Recipe) -> dict[str, Any] | None:
    """The metrics of a finished run of exactly this recipe at `path`; None where there is none."""
    target = RunFiles(Path(path))
    if not target.checkpoint.exists() or not target.log.exists():
        return None
    if load_checkpoint(target.checkpoint).recipe != recipe:
        return None
    return metrics(recipe, read_log(target.checkpoint)) | {"checkpoint": str(target.checkpoint)}


def read_log(checkpoint: str | os.PathLike[str]) -> Training:
    """The log that lies beside a checkpoint."""
    result = read_entry(checkpoint).result
    assert isinstance(result, Training)
    return result


def read_entry(checkpoint: str | os.PathLike[str]) -> Entry:
    """The log that lies beside a checkpoint, with its provenance."""
    entries = Store(RunFiles(Path(checkpoint)).log).find(kind=Training.kind)
    if not entries:
        raise InputError(f"no training log beside {checkpoint}")
    return entries[0]


def _write(target: RunFiles, trained: Trained, conditions: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    _write_state(target.state, trained.recipe, conditions, trained.state)
    about = metrics(trained.recipe, trained.log)
    # A new file each time: the log of the run that made this checkpoint and no other.
    target.log.unlink(missing_ok=True)
    Store(target.log).add(target.checkpoint.stem, trained.log, origin)
    save_checkpoint(target.checkpoint, trained.tensors, trained.recipe, about)


def _saver(
    target: RunFiles | None, recipe: Recipe, conditions: Mapping[str, Any]
) -> Callable[[TrainingState], None] | None:
    if target is None:
        return None
    saved = [time.monotonic()]

    def save(state: TrainingState) -> None:
        stopped = state.position > 0
        if stopped or time.monotonic() - saved[0] >= SAVE_EVERY:
            _write_state(target.state, recipe, conditions, state)
            saved[0] = time.monotonic()

    return save


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
        stored, state = Recipe.from_json(loaded["recipe"], str(path)), TrainingState(**loaded["state"])
        before = dict(loaded["conditions"])
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is damaged: {one_line(error)[:120]}; --overwrite starts again") from error
    different = recipe.differences(stored)
    if different:
        raise InputError(f"cannot resume: {path} is of another run ({', '.join(different)} differ); --overwrite")
    refuse_other(str(path), before, conditions)
    if state.epoch > (recipe.epochs or state.epoch) or state.updates > (recipe.updates or state.updates):
        raise InputError(
            f"cannot resume: {path} is at epoch {state.epoch}, update {state.updates}, beyond this budget; ask for more"
        )
    return state
