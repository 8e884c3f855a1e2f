"""A grid of training runs from one recipe: batch sizes, rules for the learning rate, seeds."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from .. import files
from ..checkpoint import load_checkpoint
from ..data import load_data
from ..data.corruption import changed
from ..errors import InputError, Stopped, UsageError
from ..provenance import provenance
from ..recipe import Position, Recipe, Schedule
from ..results import Status, Sweep
from ..results.sweeps import DIVERGED, DONE, MISSED, TODO
from ..store import Store
from ..training import Diverged
from . import runfiles, runs

VERSION = 1
STATES = {"complete": DONE, "non-finite": DIVERGED, "not converged": MISSED}
COLUMNS = ("updates", "epochs", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "distance", "seconds")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Batch sizes x rules x seeds around one recipe, whose batch size is the base of the rules unless it names one.

    `budget`: "epochs", each run has the recipe's budget; "updates", each has as many updates as the base batch size
    makes in the recipe's epochs, and its schedules are stretched to them (Hoffer's regime adaptation).
    """

    recipe: Recipe
    batch_sizes: tuple[int | str, ...]
    rules: tuple[str, ...] = ("none",)
    seeds: tuple[int, ...] = (0,)
    budget: str = "epochs"

    def __post_init__(self) -> None:
        for name in ("batch_sizes", "rules", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UsageError(f"a sweep needs {name.replace('_', ' ')} that differ, got {list(values)}")
        if self.budget not in ("epochs", "updates"):
            raise UsageError(f"the budget of a sweep is epochs or updates, got {self.budget!r}")
        if self.budget == "updates" and (self.recipe.epochs is None or not float(self.recipe.epochs).is_integer()):
            raise UsageError(
                "--budget updates needs a recipe with whole epochs: they say how many updates all runs make"
            )

    @property
    def base(self) -> int | str:
        """The batch size that the recipe's rate and schedules are meant for."""
        return self.recipe.base_batch_size or self.recipe.batch_size

    def runs(self, samples: int) -> Iterator[Run]:
        """All runs over so many training samples, smallest batches last: the quick ones show first."""
        base = samples if self.base == "full" else min(int(self.base), samples)
        sizes = [samples if size == "full" else min(int(size), samples) for size in self.batch_sizes]
        if len(set(sizes)) < len(sizes):
            raise InputError(f"of the batch sizes some hold all {samples} samples alike; give full once")
        for size in _largest_first(self.batch_sizes):
            for rules in self._alike(size in (base, self.base)):
                for seed in self.seeds:
                    rule = rules[0]
                    fields: dict[str, Any] = {"batch_size": size, "scale_lr": rule, "seed": seed}
                    fields["base_batch_size"] = base
                    if self.budget == "updates":
                        assert self.recipe.epochs is not None
                        each = math.ceil(samples / base)
                        fields |= {"epochs": None, "updates": int(self.recipe.epochs) * each, "regime_adaptation": True}
                    yield Run(_name(size, rule, seed), rules, dataclasses.replace(self.recipe, **fields))

    def _alike(self, at_base: bool) -> list[tuple[str, ...]]:
        """Rules that give the same run: all of them at the base batch size, unless a warm-up begins elsewhere."""
        recipe = self.recipe
        begins_alike = recipe.warmup == 0 or recipe.warmup_lr is not None or recipe.warmup_shape == "constant"
        same = at_base and begins_alike
        return [self.rules] if same else [(rule,) for rule in self.rules]


def _largest_first(sizes: Sequence[int | str]) -> list[int | str]:
    return sorted(sizes, key=lambda size: math.inf if size == "full" else float(size), reverse=True)


def _name(size: int | str, rule: str, seed: int) -> str:
    return f"b{size}-{rule}-s{seed}"


@dataclass(frozen=True)
class Run:
    """One run of a grid, which may stand for several rules."""

    name: str
    rules: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Watch:
    """Callbacks of a sweep: a line for the user; the rows of the log of the run at work; asked whether to stop."""

    say: Callable[[str], None] | None = None
    row: Callable[[dict[str, float]], None] | None = None
    stop: Callable[[], bool] | None = None


def sweep(
    grid: Grid,
    folder: str | Path,
    *,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    device: str = "auto",
    extras: runs.Extras | None = None,
    watch: Watch | None = None,
    command: Sequence[str] = (),
) -> tuple[dict[str, Sweep], list[dict[str, Any]]]:
    """Trains the runs of a grid that `folder` lacks; returns a summary for each rule, and the metrics of each run.

    `shard` (i, n): every n-th run from the i-th, for job arrays that share the folder. What is found finished is not
    trained again, what was begun goes on; `extras` are kept of those that are trained. A run that diverges is noted as
    such and the sweep goes on. The summaries hold what is in the folder, of whichever shard, and lie in sweep.h5 there.
    Raises Stopped, UsageError, InputError.
    """
    watch, target = watch or Watch(), Path(folder)
    files.require_writable(target / "sweep.h5")
    splits = load_data(grid.recipe.data, grid.recipe.data_args)
    count = len(changed(splits, train_samples=grid.recipe.train_samples).train)
    planned = list(grid.runs(count))
    first, of = shard
    for number, run in enumerate(planned[first - 1 :: of], start=1):
        path = target / f"{run.name}.safetensors"
        if not overwrite and runfiles.stored_run(path, run.recipe) is not None:
            continue
        if watch.say:
            watch.say(f"{run.name}: training, run {number} of {len(planned[first - 1 :: of])}")
        try:
            runs.run(
                run.recipe,
                path,
                resume=not overwrite,
                overwrite=overwrite,
                device=device,
                row=watch.row,
                stop=watch.stop,
                extras=extras,
                splits=splits,
                command=command,
            )
        except Diverged as error:
            if watch.say:
                watch.say(f"{run.name}: {error}")
        except Stopped as error:
            raise Stopped(f"stopped in {run.name}; the same command goes on from there") from error
    # one after another, since each reads what the others trained
    with FileLock(target / ".sweep.lock"):
        return _summaries(grid, target, planned, count, command)


def _summaries(
    grid: Grid, folder: Path, planned: Sequence[Run], count: int, command: Sequence[str]
) -> tuple[dict[str, Sweep], list[dict[str, Any]]]:
    found = {run.name: runfiles.stored_run(folder / f"{run.name}.safetensors", run.recipe) for run in planned}
    summaries = {}
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Store(Path(scratch) / "sweep.h5")
        for rule in grid.rules:
            of_rule = [run for run in planned if rule in run.rules]
            summaries[rule] = _summary(grid, rule, of_rule, [found[run.name] for run in of_rule], count)
            settings = summaries[rule].settings
            origin = provenance(command=command, settings=settings, inputs={}, seconds=0.0, threads=None)
            fresh.add(rule, summaries[rule], origin)
        # a new file each time: what it said of another grid in this folder is gone with that grid's runs
        files.write_atomically(folder / "sweep.h5", fresh.path.read_bytes())
    rows = [
        {"label": run.name, **metrics, "rules": list(run.rules), "recipe": dataclasses.asdict(run.recipe)}
        for run in planned
        if (metrics := found[run.name]) is not None
    ]
    return summaries, rows


def _summary(
    grid: Grid, rule: str, planned: Sequence[Run], found: Sequence[Mapping[str, Any] | None], count: int
) -> Sweep:
    states = np.array([TODO if m is None else STATES[m["status"]] for m in found], dtype=np.uint8)
    schedules = [Schedule(run.recipe, count) for run in planned]
    nowhere = dict.fromkeys(COLUMNS, math.nan)
    columns: dict[str, Any] = {name: np.array([float((m or nowhere)[name]) for m in found]) for name in COLUMNS}
    return Sweep(
        status=Status.STOPPED if (states == TODO).any() else Status.COMPLETE,
        settings={
            "kind": Sweep.kind,
            "version": VERSION,
            "recipe": grid.recipe.to_json(),
            "rule": rule,
            "budget": grid.budget,
            "batch_sizes": list(grid.batch_sizes),
            "seeds": list(grid.seeds),
        },
        rule=rule,
        budget=grid.budget,
        batch_size=np.array([schedule.batch_size(Position(0, 0)) for schedule in schedules]),
        seed=np.array([run.recipe.seed for run in planned]),
        run_status=states,
        learning_rate=np.array([schedule.peak for schedule in schedules]),
        **columns,
    )


def read(folder: str | Path) -> dict[str, tuple[Sweep, list[Path | None]]]:
    """By rule, what a sweep left in its folder: the summary, and the checkpoint of each of its rows or None if to do.

    Raises InputError where the folder holds no sweep, or where a checkpoint is gone or is another than was summarised.
    """
    place = Path(folder) / "sweep.h5"
    if not place.is_file():
        raise InputError(f"{folder} holds no sweep.h5; give the folder of a landscape sweep")
    held = {entry.label: entry.result for entry in Store(place).find(kind=Sweep.kind)}
    summaries = {rule: found for rule, found in held.items() if isinstance(found, Sweep)}
    return {rule: (found, _checkpoints(Path(folder), found, next(iter(held)))) for rule, found in summaries.items()}


def _checkpoints(folder: Path, summary: Sweep, shared: str) -> list[Path | None]:
    """In the order of the rows, which is that of `Grid.runs`. A run of several rules has the name of the first."""
    asked = summary.settings
    order = [(size, seed) for size in _largest_first(asked["batch_sizes"]) for seed in asked["seeds"]]
    paths: list[Path | None] = []
    for row, (size, seed) in enumerate(order):
        if summary.run_status[row] == TODO:
            paths.append(None)
            continue
        names = [folder / f"{_name(size, rule, seed)}.safetensors" for rule in (summary.rule, shared)]
        found = next((path for path in names if path.exists() and _is_of(path, summary, row)), None)
        if found is None:
            raise InputError(f"{names[0]} is gone, or is not what {folder}/sweep.h5 summarises; sweep again")
        paths.append(found)
    return paths


def _is_of(path: Path, summary: Sweep, row: int) -> bool:
    said = load_checkpoint(path).metadata or {}
    same = [said.get(name) == int(getattr(summary, name)[row]) for name in ("batch_size", "updates")]
    return all([*same, said.get("distance") == float(summary.distance[row])])
