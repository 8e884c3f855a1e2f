"""From the logs of runs to the trade-off: updates and samples to one train loss by batch size, and the fitted law."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from .. import digest
from ..errors import InputError, UsageError
from ..recipe import Recipe, Schedule, from_json
from ..results import Status, Tracked, TradeOff, Training
from ..results.base import Array
from ..store import Store
from ..trade_off import FEWEST, crossing, fit, regimes

VERSION = 2
SLACK = 0.02  # of the loss that every batch size reaches, which the target lies above it by default
SEEDS = ("seed", "init_seed", "order_seed", "augment_seed")
SAME = ("data", "data_args", "model", "model_args", "loss", "train_samples", "label_noise", "pixels", "data_seed")
WHEN = ("epochs", "updates", "samples", "target_loss", "patience", "monitor", "evaluate_every")  # a run ends, is seen
MOMENTS = ("trace_covariance", "gradient_norm_squared")  # tracked, whose ratio is the noise scale
RATE = ("lr", "scale_lr", "base_batch_size", "regime_adaptation")  # which give the rate, and nothing else where it is


@dataclass(frozen=True)
class LoggedRun:
    """The log of one run, with what it followed; `key` is all of its settings but the seeds."""

    path: Path
    recipe: Recipe
    batch_size: int
    rate: float
    key: str
    log: Training
    noise: Tracked | None

    @property
    def seed(self) -> tuple[Any, ...]:
        return tuple(getattr(self.recipe, name) for name in SEEDS)

    @property
    def lowest(self) -> float:
        return float(np.nanmin(self.log.train_loss))

    def content(self) -> str:
        """The digest of all that is read of it, for what identifies a result."""
        log, noise = self.log, self.noise
        arrays = {"updates": log.updates, "loss": log.train_loss, "samples": log.samples}
        arrays |= {} if noise is None else {**{name: noise.column(name) for name in MOMENTS}, "at": noise.updates}
        return digest.of_settings({"recipe": self.recipe.to_json(), "log": digest.of_arrays(arrays)})  # pyright: ignore[reportArgumentType]

    def reaches(self, target: float) -> tuple[float, float]:
        """Updates and samples to the target; nan where it was not reached."""
        place = crossing(self.log.train_loss, target)
        rows = np.arange(len(self.log.updates))
        assert self.log.samples is not None
        return float(np.interp(place, rows, self.log.updates)), float(np.interp(place, rows, self.log.samples))


@dataclass(frozen=True)
class _Best:
    """The runs of the best settings at one batch size that reached the target; none where no settings did."""

    size: int
    missed: int
    runs: tuple[LoggedRun, ...] = ()
    reached: Array = dataclasses.field(default_factory=lambda: np.full((1, 2), math.nan))  # updates and samples
    at_edge: bool = False  # of the rates that were tried


def read_runs(folders: Sequence[str | Path]) -> list[LoggedRun]:
    """The runs whose logs (NAME.run.h5) lie in these folders: those of sweeps, or of `train --out FOLDER/NAME`.

    Runs with the same settings and seed count once, the longest of them. Raises InputError where there are none, or
    where they differ in what is learned.
    """
    if not folders:
        raise UsageError("no folder of runs; give that of a landscape sweep")
    found: dict[tuple[Any, ...], LoggedRun] = {}
    for folder in folders:
        paths = sorted(Path(folder).glob("*.run.h5"))
        if not paths:
            raise InputError(f"{folder} holds no logs of runs (*.run.h5); give the folder of a landscape sweep")
        for path in paths:
            run = _read(path)
            same = found.get((run.key, run.seed))
            if same is None or same.log.updates[-1] < run.log.updates[-1]:
                found[run.key, run.seed] = run
    runs = list(found.values())
    for name in SAME:
        for run in runs:
            if getattr(run.recipe, name) != getattr(runs[0].recipe, name):
                raise InputError(f"{runs[0].path} and {run.path} differ in {name}; a trade-off is of one problem")
    return runs


def _read(path: Path) -> LoggedRun:
    results = [entry.result for entry in Store(path).entries()]
    log = next((result for result in results if isinstance(result, Training)), None)
    if log is None or log.samples is None or log.batch_size is None:
        raise InputError(f"{path} holds no log with samples and batch sizes; train it again")
    if len(set(log.batch_size.tolist())) > 1:
        raise InputError(f"{path}: the batch size changes along the run, so it has no place here; leave it out")
    recipe = from_json(log.settings["recipe"], str(path))
    size = int(log.batch_size[0])
    count = round(float(log.samples[-1] / log.epoch[-1])) if log.epoch[-1] > 0 else size
    rate = Schedule(recipe, count).peak
    noise = next((r for r in results if isinstance(r, Tracked) and r.measure == "noise"), None)
    return LoggedRun(path, recipe, size, rate, _key(recipe, size, rate), log, noise)


def _key(recipe: Recipe, size: int, rate: float) -> str:
    """Equal for runs that differ in their seeds and in how long they went on at most."""
    values = dataclasses.asdict(recipe) | {"batch_size": size, "rate": f"{rate:.9g}"}
    out: tuple[str, ...] = SEEDS
    if recipe.schedule != "cosine":  # whose every rate depends on the budget
        out += WHEN
    if recipe.schedule == "constant" and recipe.warmup == 0:
        out += RATE
    return digest.canonical_json({name: value for name, value in values.items() if name not in out})


def trade_off(
    runs: Sequence[LoggedRun], *, target: float | None = None, level: float = 0.95
) -> tuple[TradeOff, list[str]]:
    """Updates and samples to a train loss by batch size, the law fitted to them, and what to know about them.

    At each batch size the best settings count: those whose median number of updates, over the seeds that reach the
    target, is least, of those by which at least half of the seeds do (Shallue et al. 2019 tune each batch size by
    itself). A run is there where the loss of the whole training split, as logged, first comes down to the target, log
    loss being linear between two rows; the loss of single batches is no guide, since noise alone takes that of a small
    batch below any target early. The fit counts a batch as samples over updates, so that a short last one is no larger
    than it is. `target`: by default 2 % above the loss that every batch size comes down to. The noise scale beside the
    critical batch size is the median along each run, up to where it is there, and then over runs. It is taken of
    |G|^2 / tr(Sigma), the scale's inverse, which every row has: dropping those where the estimate of |G|^2 is not
    positive would leave the small scales, while a median keeps its place under the inverse. A ratio of means, unbiased
    where |G|^2 stays as it is, would be of those few rows along a run where |G|^2 is largest.

    The status is `not resolved` where an interval has no end. No cost but reading. Raises UsageError for a level out of
    range, InputError where fewer than 3 batch sizes reach the target, or where runs begin below it.
    """
    if not 0 < level < 1:
        raise UsageError(f"the level of intervals must lie in 0 ... 1, ends excluded, got {level}")
    by_size: dict[int, dict[str, list[LoggedRun]]] = {}
    for run in sorted(runs, key=lambda run: (run.batch_size, run.rate)):
        by_size.setdefault(run.batch_size, {}).setdefault(run.key, []).append(run)
    goal = _reached_by_all(by_size) if target is None else float(target)
    _refuse_target(runs, goal)
    best = [_best(size, settings, goal) for size, settings in by_size.items()]
    fitted = [found for found in best if found.runs]
    if len(fitted) < FEWEST:
        sizes = ", ".join(str(found.size) for found in fitted)
        raise InputError(
            f"the fit needs {FEWEST} batch sizes at which half of the runs come down to {goal:.4g}, "
            f"got {len(fitted)} ({sizes or 'none'}); train more, or longer, or raise --target-loss"
        )
    updates, samples = (np.array([np.median(found.reached[:, i]) for found in best]) for i in (0, 1))
    there = np.isfinite(updates)
    law = fit(samples[there] / updates[there], updates[there], level)
    size = np.array([found.size for found in best])
    numbers = {
        f"{name}{end}": getattr(number, part)
        for name, number in (("s_min", law.s_min), ("e_min", law.e_min), ("b_crit", law.b_crit))
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    result = TradeOff(
        status=Status.COMPLETE if law.b_crit.bounded else Status.NOT_RESOLVED,
        settings={
            "kind": TradeOff.kind,
            "version": VERSION,
            "target": goal,
            "level": level,
            "runs": sorted(run.content() for run in runs),
        },
        target=goal,
        batch_size=size,
        updates=updates,
        samples=samples,
        updates_low=np.array([found.reached[:, 0].min() for found in best]),
        updates_high=np.array([found.reached[:, 0].max() for found in best]),
        learning_rate=np.array([found.runs[0].rate if found.runs else math.nan for found in best]),
        num_seeds=np.array([len(found.runs) for found in best]),
        num_missed=np.array([found.missed for found in best]),
        regime=regimes(size, law),
        **numbers,
        level=level,
        misfit=law.misfit,
        **_noise(fitted),
    )
    return result, _notes(best)


def inputs_of(runs: Sequence[LoggedRun]) -> Mapping[str, str]:
    """sha256 of the logs by path, for provenance."""
    return {str(run.path): sha256(run.path.read_bytes()).hexdigest() for run in runs}


def _reached_by_all(by_size: Mapping[int, Mapping[str, list[LoggedRun]]]) -> float:
    """A little above the loss that, at every batch size, half of the seeds of some settings come down to."""
    lowest = [
        min(sorted(run.lowest for run in of)[(len(of) - 1) // 2] for of in settings.values())
        for settings in by_size.values()
    ]
    return max(lowest) + SLACK * abs(max(lowest))


def _refuse_target(runs: Sequence[LoggedRun], target: float) -> None:
    lowest = min(runs, key=lambda run: run.lowest)
    if not lowest.lowest <= target:
        raise InputError(
            f"no run came down to {target:.4g}; the lowest train loss is {lowest.lowest:.4g}, in {lowest.path}"
        )
    for run in runs:
        if run.log.train_loss[0] <= target:
            raise InputError(
                f"{run.path} begins at a train loss of {run.log.train_loss[0]:.4g}, which is not above the target "
                f"{target:.4g}; lower --target-loss"
            )


def _best(size: int, settings: Mapping[str, list[LoggedRun]], target: float) -> _Best:
    missed, found = 0, []
    for runs in settings.values():
        reached = np.array([run.reaches(target) for run in runs])
        there = np.isfinite(reached[:, 0])
        missed += int((~there).sum())
        if 2 * there.sum() >= len(runs):
            kept = tuple(run for run, is_there in zip(runs, there, strict=True) if is_there)
            found.append((float(np.median(reached[there, 0])), kept, reached[there]))
    if not found:
        return _Best(size, missed)
    _, kept, reached = min(found, key=lambda settings: settings[0])
    rates = sorted({runs[0].rate for runs in settings.values()})
    return _Best(size, missed, kept, reached, len(rates) > 1 and kept[0].rate in (rates[0], rates[-1]))


def _noise(fitted: Sequence[_Best]) -> dict[str, float | None]:
    """The noise scale along the runs of the best settings: the median of the runs' medians, the least and the largest.

    None for what has no bound, where a median of |G|^2 / tr(Sigma) is not positive; empty where no run tracked it.
    """
    inverses = []
    for best in fitted:
        for run, (updates, _) in zip(best.runs, best.reached, strict=True):
            if run.noise is not None:
                trace, norm = (run.noise.column(name)[run.noise.updates <= updates] for name in MOMENTS)
                known = np.isfinite(norm) & (trace > 0)  # else the loss was not finite, or samples were all alike
                inverses += [float(np.median(norm[known] / trace[known]))] if known.any() else []
    if not inverses:
        return {}
    found = {"": float(np.median(inverses)), "_low": max(inverses), "_high": min(inverses)}
    return {f"b_simple{end}": 1 / inverse if inverse > 0 else None for end, inverse in found.items()}


def _notes(best: Sequence[_Best]) -> list[str]:
    notes = []
    if edge := [str(found.size) for found in best if found.at_edge]:
        notes.append(
            f"at batch size {', '.join(edge)} the best rate is the least or the largest of those tried; "
            "there may be a better one beyond"
        )
    coarse = [found for found in best if found.runs and (found.reached[:, 0] < found.runs[0].log.updates[1]).any()]
    if coarse:
        sizes = ", ".join(str(found.size) for found in coarse)
        notes.append(f"at batch size {sizes} the target lies before the first measurement; lower --target-loss")
    return notes
