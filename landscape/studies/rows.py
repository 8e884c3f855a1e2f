"""Which checkpoints a series is of: those of a sweep, of one run, or of runs that began from other checkpoints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint, load_checkpoint
from ..errors import InputError, UsageError
from ..results import Training
from ..results.series import AXES
from ..results.sweeps import DIVERGED, TODO
from . import runfiles, sweep
from .runfiles import RunFiles

WARM = "warm-starts"  # the label of a series of them


@dataclass(frozen=True, kw_only=True)
class Row:
    """One checkpoint of a series, with what its run said of it."""

    label: str
    path: Path
    sha256: str
    batch_size: int
    seed: int
    epoch: float
    updates: int
    train_accuracy: float = math.nan
    test_accuracy: float = math.nan
    warm_epochs: float = math.nan
    start_accuracy: float = math.nan
    diverged: bool = False


@dataclass(frozen=True)
class Plan:
    """A series to be measured: its label, what it is against, its rows; `missing` of them are not trained yet."""

    label: str
    against: str
    rows: tuple[Row, ...]
    missing: int = 0


def plans(paths: Sequence[str], against: str, labels: Sequence[str] = ()) -> list[Plan]:
    """What is to be measured.

    `batch-size`: a series for each rule of each sweep's folder; `epoch`: one for each run, of the points that it kept
    and its checkpoint; `warm-epochs`: one of all the checkpoints, by the epochs of those that they began from. `labels`
    name the series. Raises UsageError where they do not fit, InputError for paths that hold no such thing.
    """
    if against not in AXES:
        raise UsageError(f"a series is against {', '.join(AXES)}, got {against!r}")
    if not paths:
        raise UsageError(f"nothing to measure against {against}; give {NEEDED[against]}")
    if against == "batch-size":
        found = [plan for path in paths for plan in _of_sweep(Path(path), alone=len(paths) == 1)]
    elif against == "epoch":
        found = [_of_run(Path(path)) for path in paths]
    else:
        found = [_of_warm_starts([Path(path) for path in paths])]
    if labels and len(labels) != len(found):
        raise UsageError(f"these checkpoints make {len(found)} series, got {len(labels)} labels")
    named = [replace(plan, label=label) for plan, label in zip(found, labels, strict=True)] if labels else found
    if len({plan.label for plan in named}) < len(named):
        raise UsageError(f"the labels {', '.join(plan.label for plan in named)} are not all different; give --label")
    return named


NEEDED = {
    "batch-size": "the folder of a sweep",
    "epoch": "the checkpoint of a run that was trained with --save-every",
    "warm-epochs": "checkpoints of runs that were trained with --init",
}


def _of_sweep(folder: Path, *, alone: bool) -> Iterator[Plan]:
    for rule, (summary, checkpoints) in sweep.read(folder).items():
        rows = []
        for index, path in enumerate(checkpoints):
            if path is None:
                continue
            row = _row(load_checkpoint(path), path.stem if alone else f"{folder.name}-{path.stem}")
            rows.append(replace(row, diverged=bool(summary.run_status[index] == DIVERGED)))
        if not rows:
            raise InputError(f"no run of the sweep in {folder} is trained yet; run landscape sweep again")
        missing = int((summary.run_status == TODO).sum())
        yield Plan(rule if alone else f"{folder.name}-{rule}", "batch-size", tuple(rows), missing)


def _of_run(path: Path) -> Plan:
    """The kept points of a run in order, then what its checkpoint holds where that is a later point of the run."""
    target = RunFiles(path)
    last = load_checkpoint(path)
    points = sorted(target.trajectory.glob("*.safetensors"))
    if not points:
        raise InputError(f"{path}: its run kept no points of its trajectory; train with --save-every")
    log = runfiles.read_log(path) if target.log.exists() else None
    end = _row(last, path.stem)
    rows = [_logged(_row(load_checkpoint(point), f"{path.stem}@{int(point.stem)}"), log) for point in points]
    rows = [replace(row, batch_size=end.batch_size) for row in rows]
    if _said(last).get("kept", "last") == "last" and end.updates > rows[-1].updates:
        rows.append(end)
    return Plan(path.stem, "epoch", tuple(rows))


def _logged(row: Row, log: Training | None) -> Row:
    """The row with the accuracies that the run logged at this update, if it did."""
    at = [] if log is None else np.flatnonzero(log.updates == row.updates)
    if log is None or not len(at):
        return row
    return replace(
        row, train_accuracy=float(log.train_accuracy[at[-1]]), test_accuracy=float(log.test_accuracy[at[-1]])
    )


def _of_warm_starts(paths: Sequence[Path]) -> Plan:
    rows, begun = [], 0
    for path in paths:
        checkpoint = load_checkpoint(path)
        init = None if checkpoint.recipe is None else checkpoint.recipe.init
        begun += init is not None
        rows.append(_begun(path, _row(checkpoint, path.stem), init))
    if not begun:
        raise InputError(f"none of the {len(paths)} checkpoints began from another; train with --init")
    several = Counter(row.label for row in rows)
    rows = [
        replace(row, label=f"{row.path.resolve().parent.name}-{row.label}") if several[row.label] > 1 else row
        for row in rows
    ]
    twice = [str(row.path) for row in rows if sum(row.label == other.label for other in rows) > 1]
    if twice:
        raise InputError(f"{' and '.join(twice[:2])} have one name, or are the same; name or give each once")
    return Plan(WARM, "warm-epochs", tuple(sorted(rows, key=lambda row: (row.warm_epochs, row.seed))))


def _begun(path: Path, row: Row, init: str | None) -> Row:
    """The row with the epochs of the checkpoint that its run began from, which must still be what it was."""
    if not RunFiles(path).log.exists():
        return replace(row, warm_epochs=_epochs_of(path, init, None))
    entry = runfiles.read_entry(path)
    assert isinstance(entry.result, Training)
    was: Mapping[str, str] = entry.provenance.get("inputs", {})
    epochs = _epochs_of(path, init, was.get(str(init)))
    return replace(row, warm_epochs=epochs, start_accuracy=float(entry.result.test_accuracy[0]))


def _epochs_of(path: Path, init: str | None, was: str | None) -> float:
    if init is None:
        return 0.0
    if not Path(init).is_file():
        raise InputError(f"{path} began from {init}, which is not there; run this from where it was trained")
    start = load_checkpoint(init)
    if was is not None and start.sha256 != was:
        raise InputError(f"{path} began from {init}, which has changed since; train it again")
    return float(_said(start)["epochs"])


def _row(checkpoint: Checkpoint, label: str) -> Row:
    said, recipe = _said(checkpoint), checkpoint.recipe
    assert recipe is not None
    size = said.get("batch_size", recipe.batch_size)
    return Row(
        label=label,
        path=checkpoint.path,
        sha256=checkpoint.sha256,
        batch_size=0 if size == "full" else int(size),
        seed=recipe.seed,
        epoch=float(said["epochs"]),
        updates=int(said["updates"]),
        train_accuracy=float(said.get("train_accuracy", math.nan)),
        test_accuracy=float(said.get("test_accuracy", math.nan)),
        diverged=said.get("status") == "non-finite",
    )


def _said(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """What the run wrote into its checkpoint; InputError for a checkpoint of another make."""
    said = checkpoint.metadata or {}
    if checkpoint.recipe is None or not {"epochs", "updates"} <= set(said):
        raise InputError(f"{checkpoint.path} carries no recipe and no place in a run; train it by landscape train")
    return said
