"""The files of a training run, and what they say: checkpoint, logs, state, points of the trajectory."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import load_checkpoint, save_checkpoint
from ..errors import InputError, UsageError
from ..recipe import Recipe
from ..results import Array, Training
from ..store import Entry, Store
from ..training import Trained

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

    @property
    def trajectory(self) -> Path:
        """The folder of the points of the trajectory."""
        return self.checkpoint.with_suffix(".trajectory")

    def point(self, updates: int) -> Path:
        """A point of the trajectory."""
        return self.trajectory / f"{updates:08d}.safetensors"

    def begin(self) -> None:
        """Removes the points of the trajectory of the run that was here before."""
        for old in self.trajectory.glob("*.safetensors"):
            old.unlink()


def metrics(recipe: Recipe, log: Training) -> dict[str, Any]:
    """Metrics of the tensors that a run kept, and how long it was, as the command line prints them."""
    last = {name: float(getattr(log, name)[-1]) for name in (*METRICS, "epoch", "seconds")}
    found: Mapping[str, Any] = log.kept or last
    return {
        "status": str(log.status),
        # stored as JSON, in which what is not finite is null
        **{name: math.nan if found[name] is None else float(found[name]) for name in METRICS},
        "updates": int(log.updates[-1]),
        "epochs": last["epoch"],
        "seconds": last["seconds"],
        "batch_size": recipe.batch_size if log.batch_size is None else int(log.batch_size[0]),
        **({"nominal_updates": found["nominal_updates"]} if "nominal_updates" in found else {}),
        "kept": found.get("what", "last"),
        "kept_epoch": float(found["epoch"]),
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


def entries(checkpoint: str | os.PathLike[str]) -> list[Entry]:
    """All that was written down along the run of a checkpoint."""
    return Store(RunFiles(Path(checkpoint)).log).entries()


def read_entry(checkpoint: str | os.PathLike[str]) -> Entry:
    """The log that lies beside a checkpoint, with its provenance."""
    entries = Store(RunFiles(Path(checkpoint)).log).find(kind=Training.kind)
    if not entries:
        raise InputError(f"no training log beside {checkpoint}")
    return entries[0]


def initial_params(checkpoint: str | os.PathLike[str]) -> Array | None:
    """The params (n,) before the first update, where the log of the run lies beside its checkpoint and has them."""
    path = Path(checkpoint)
    if path.suffix != ".safetensors" or not RunFiles(path).log.exists():
        return None
    found = read_log(path).initial_params
    return None if found is None else found.copy()


def write(target: RunFiles, trained: Trained, origin: Mapping[str, Any]) -> None:
    """Writes a finished run: its logs, then its checkpoint."""
    label, recipe = target.checkpoint.stem, trained.recipe
    # A new file each time: the logs of the run that made this checkpoint and no other.
    target.log.unlink(missing_ok=True)
    store = Store(target.log)
    for result in (trained.log, trained.updates, *trained.tracked):
        if result is not None:
            store.add(label, result, origin)
    save_checkpoint(target.checkpoint, trained.tensors, recipe, metrics(recipe, trained.log))
