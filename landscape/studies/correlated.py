"""Which checkpoints a correlation is over: patterns to files, and what their recipes say of them."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoint import Checkpoint, load_checkpoint
from ..correlation import FEWEST_RUNS, axes_of, numbered
from ..errors import InputError, NumericalError, UsageError, one_line
from ..recipe import Recipe
from ..results import Array
from .measured import Request, refuse_different

SEED = "seed"  # how the names of fields end that are no hyper-parameters
NOT_RECIPE = "a checkpoint carries no recipe, so its hyper-parameters are not known"
ALIKE = "the recipes differ in nothing but seeds"


@dataclass(frozen=True)
class Run:
    """A checkpoint of a correlation, without its tensors; `diverged` says how, empty where it did not."""

    label: str
    path: Path
    sha256: str
    recipe: Recipe | None = None
    batch_size: int = 0
    diverged: str = ""

    @property
    def seed(self) -> int:
        return -1 if self.recipe is None else self.recipe.seed

    @property
    def seeds(self) -> tuple[Any, ...]:
        """All that is drawn: runs that share it repeat nothing."""
        return () if self.recipe is None else tuple(self._fields(seeds=True).values())

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The recipe but for its seeds, arguments one by one."""
        return self._fields(seeds=False)

    def _fields(self, *, seeds: bool) -> dict[str, Any]:
        assert self.recipe is not None
        found: dict[str, Any] = {}
        for name, value in dataclasses.asdict(self.recipe).items():
            if name.endswith(SEED) != seeds:
                continue
            found |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, Mapping) else {name: value}
        return found


@dataclass(frozen=True)
class Grid:
    """How runs differ: their settings (runs,) numbered, axes by name, and why there are no axes."""

    setting: Array
    axes: Mapping[str, tuple[str | None, ...]]
    reason: str = ""


def files_of(patterns: Sequence[str]) -> list[Path]:
    """The files that paths and patterns name, sorted, each once.

    A path that stands is taken as it is, whatever it looks like. UsageError where paths alone, without a pattern, are
    too few for a correlation; InputError where a pattern or path names nothing, or all name too few.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        names = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        paths = [Path(name) for name in names]
        if not paths:
            raise InputError(f"{pattern} names no file; give checkpoints, or a pattern as 'runs/*.safetensors'")
        folder = next((path for path in paths if path.is_dir()), None)
        if folder is not None:
            raise InputError(f"{folder} is a folder; give its checkpoints, as '{folder}/*.safetensors'")
        for path in paths:
            found.setdefault(path.resolve(), path)
    if len(found) < FEWEST_RUNS:
        got = f"a correlation takes {FEWEST_RUNS} checkpoints at least, better dozens; got {len(found)}"
        raise InputError(f"{got}; give more, or a pattern as 'runs/*.safetensors'")
    return sorted(found.values())


def refuse_few(patterns: Sequence[str]) -> None:
    """UsageError where the text alone tells that there are too few checkpoints: less than 3 paths, none a pattern."""
    if len(set(patterns)) < FEWEST_RUNS and not any(glob.has_magic(pattern) for pattern in patterns):
        raise UsageError(
            f"a correlation takes {FEWEST_RUNS} checkpoints at least, better dozens; got {len(set(patterns))}; "
            "a pattern as 'runs/*.safetensors' names many"
        )


def runs_of(paths: Sequence[Path], request: Request) -> list[Run]:
    """What the checkpoints say of their runs. A run that diverged is one of them, marked.

    InputError where they were trained on different data or losses and the request does not name one, or where two hold
    the same; NumericalError where too few did not diverge.
    """
    runs, read = [], []
    for path, label in zip(paths, _labels(paths), strict=True):
        try:
            checkpoint = replace(load_checkpoint(path), tensors={})
        except NumericalError as error:
            runs.append(Run(label, path, hashlib.sha256(path.read_bytes()).hexdigest(), diverged=one_line(error)))
            continue
        read.append(checkpoint)
        runs.append(_run(checkpoint, label))
    refuse_different(request, read)
    by_content: dict[str, Run] = {}
    for run in runs:
        if (same := by_content.setdefault(run.sha256, run)) is not run:
            raise InputError(f"{same.path} and {run.path} hold the same; give each minimum once")
    finite = sum(not run.diverged for run in runs)
    if finite < FEWEST_RUNS:
        raise NumericalError(f"{len(runs) - finite} of {len(runs)} runs diverged; a correlation takes {FEWEST_RUNS}")
    return runs


def grid_of(runs: Sequence[Run]) -> Grid:
    """Settings and axes of the runs that did not diverge; what no recipe tells of is a setting of its own."""
    told = [i for i, run in enumerate(runs) if run.recipe is not None and not run.diverged]
    axes = axes_of([runs[i].hyperparameters for i in told])
    places = {i: place for place, i in enumerate(told)}
    columns: dict[str, tuple[str | None, ...]] = {
        name: tuple(column[places[i]] if i in places else None for i in range(len(runs)))
        for name, column in axes.items()
    }
    own = [None if i in places else i for i in range(len(runs))]
    setting = numbered(*columns.values(), own)
    if any(run.recipe is None and not run.diverged for run in runs):
        return Grid(setting, columns, NOT_RECIPE)
    return Grid(setting, columns, "" if axes else ALIKE)


def _run(checkpoint: Checkpoint, label: str) -> Run:
    said, recipe = checkpoint.metadata or {}, checkpoint.recipe
    size = said.get("batch_size", 0 if recipe is None else recipe.batch_size)
    diverged = "the run diverged" if said.get("status") == "non-finite" else ""
    number = size if isinstance(size, int) else 0
    return Run(label, checkpoint.path, checkpoint.sha256, recipe, number, diverged)


def _labels(paths: Sequence[Path]) -> list[str]:
    """The stems, with folders where they would be alike."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    full = [f"{path.resolve().parent.name}-{path.stem}" for path in paths]
    return full if len(set(full)) == len(full) else [str(path) for path in paths]
