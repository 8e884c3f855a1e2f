"""Measures against generalisation over many checkpoints, one after the other, on the same samples."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import digest
from ..comparing.points import Point, measure_point
from ..comparing.table import POINTS, named, preset
from ..correlation import FEWEST_RUNS, GRANULATED, correlations
from ..errors import InputError, NumericalError, Stopped, UsageError, one_line
from ..results import Array, Correlation, Status
from ..results.correlation import DIVERGED, DONE, GAP, TEST_ACCURACY, TODO
from ..resume import Pace
from . import runfiles
from .correlated import Run, grid_of
from .groups import start_of
from .keeping import Attempt, Found
from .measured import Minimum, Request, one_by_one

VERSION = 1
LABEL = "correlation"
LEVEL = 0.95
SPLITS = ("train", "test")
ENDS = tuple(f"{split}_{what}" for split in SPLITS for what in ("loss", "accuracy"))  # of a run, on all samples
OF_NETWORK = ("model", "block", "bn", "bn_batch", "chunk")  # of an identity: what its network decides
RUN = "run"  # among notes: of a run that has no values at all

Progress = Callable[[int], None]  # called with the number of checkpoints done
Pair = tuple[Minimum, Minimum]  # over the samples of the measures, and over all


def measures_of(names: Sequence[str] | None, of_preset: str = "standard") -> tuple[str, ...]:
    """The measures that a list names, else those of a preset that are not of the test samples.

    UsageError for names that are none, that are of the test samples, or of a pair of minima.
    """
    if names is None:
        return tuple(name for name in preset(of_preset)[0] if "test" not in POINTS[name].needs)
    points, pairs = named(names)
    for name in points:
        if "test" in POINTS[name].needs:
            raise UsageError(f"{name} is of the test samples, which measures are held against; leave it out")
    for name in pairs:
        if name not in points:
            raise UsageError(f"{name} is measured between two minima, not at one; leave it out")
    return points


def correlate(
    runs: Sequence[Run],
    request: Request,
    obtain: Callable[..., Found],
    measures: Sequence[str],
    *,
    label: str = LABEL,
    progress: Progress | None = None,
) -> tuple[Correlation, dict[str, Any]]:
    """The correlation of measures with the gap and the test accuracy over runs, and its provenance.

    `obtain` finds, resumes or computes a result, as `Keeper.obtain` does. What is measured is stored at least once a
    second of work, so that a study that was stopped or killed goes on. Accuracies and losses are of all samples,
    measures of the request's. Costs what the measures cost, once a checkpoint. Raises InputError where a checkpoint
    does not fit, or the data hold no classes or no test split; Stopped.
    """
    pairs = _pairs([run for run in runs if not run.diverged], request)
    measured, whole = first = next(pairs)
    if whole.test is None or math.isnan(whole.test.evaluate().accuracy):
        raise InputError(
            f"measures are held against accuracies on a train and a test split, which {whole.path} has none of; "
            "give --data with both, of classes"
        )
    settings = {
        "kind": Correlation.kind,
        "version": VERSION,
        "measures": list(measures),
        "seed": request.seed,
        "checkpoints": [run.sha256 for run in runs],
        "starts": _starts(runs, measures),
        **{name: value for name, value in measured.objective.identity.items() if name != "params"},
        **_of_networks(runs, request, measured),
        "all_data": [whole.objective.samples.digest(), whole.test.samples.digest()],
    }

    def compute(attempt: Attempt) -> Correlation:
        table = _Table(runs, measures, settings, measured.objective.num_samples)
        if attempt.partial is not None:
            assert isinstance(attempt.partial, Correlation)
            table.take_over(attempt.partial)
        table.fill(itertools.chain([first], pairs), attempt, request.seed, progress)
        return table.result()

    inputs = {str(run.path): run.sha256 for run in runs}
    result, provenance = obtain(label, settings, compute, minima=[replace(measured, inputs=inputs)])
    assert isinstance(result, Correlation)
    return result, provenance


def _pairs(runs: Sequence[Run], request: Request) -> Iterator[Pair]:
    """Each run's minimum over the samples of the measures, and over all of both splits; memory holds one run's."""
    paths, labels = _named(runs)
    complete = replace(request, samples=None, split=None)
    whole = one_by_one(complete, paths, labels)
    if request.samples is None:
        return ((minimum, minimum) for minimum in whole)
    return zip(one_by_one(replace(request, split="train"), paths, labels), whole, strict=True)


def _named(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    return [str(run.path) for run in runs], [run.label for run in runs]


def _starts(runs: Sequence[Run], measures: Sequence[str]) -> list[str | None] | None:
    """Digests of where each run began, which its log tells and not its checkpoint; None where no measure asks."""
    if not any("start" in POINTS[name].needs for name in measures):
        return None
    starts = (None if run.diverged else runfiles.initial_params(run.path) for run in runs)  # memory holds one
    return [None if start is None else digest.of_arrays({"": start}) for start in starts]


def _of_networks(runs: Sequence[Run], request: Request, first: Minimum) -> dict[str, list[Any]]:
    """What of an objective's identity hangs on its network: by name, the values of each architecture.

    One network alone would not do: without batch norm its `bn` is eval, whatever was asked for. Builds every
    architecture but the first once more, where there are several.
    """
    by_network: dict[Any, Run] = {}
    for run in runs:
        if not run.diverged:
            own = None if request.model is not None or run.recipe is None else run.recipe
            by_network.setdefault(own and (own.model, repr(own.model_args)), run)
    others = list(by_network.values())[1:]
    minima = one_by_one(replace(request, split="train"), *_named(others)) if others else ()
    identities = [minimum.objective.identity for minimum in (first, *minima)]
    values = dict.fromkeys(tuple(json.dumps(identity[name]) for name in OF_NETWORK) for identity in identities)
    columns = zip(*values, strict=True)
    return {name: [json.loads(v) for v in column] for name, column in zip(OF_NETWORK, columns, strict=True)}


class _Table:
    """What is found of each run, while it grows; what `partial` holds is not measured again."""

    def __init__(
        self, runs: Sequence[Run], measures: Sequence[str], settings: Mapping[str, Any], num_samples: int
    ) -> None:
        self.runs, self.measures, self.settings, self.num_samples = runs, measures, settings, num_samples
        self.status = np.array([DIVERGED if run.diverged else TODO for run in runs], dtype=np.uint8)
        self.value, self.stderr = (np.full((len(measures), len(runs)), math.nan) for _ in range(2))
        self.ends = {name: np.full(len(runs), math.nan) for name in ENDS}
        self.notes: dict[str, dict[str, str]] = {}
        for run in runs:
            if run.diverged:
                self._note(RUN, run, run.diverged)

    def take_over(self, partial: Correlation) -> None:
        """Goes on from a part of the same settings."""
        self.status, self.value, self.stderr = (
            array.copy() for array in (partial.run_status, partial.value, partial.stderr)
        )
        self.ends = {name: getattr(partial, name).copy() for name in ENDS}
        self.notes = {measure: dict(notes) for measure, notes in partial.notes.items()}

    def fill(self, pairs: Iterable[Pair], attempt: Attempt, seed: int, progress: Progress | None) -> None:
        """Measures what is to do, saving after each run but where saves would take long."""
        places = [i for i, run in enumerate(self.runs) if not run.diverged]
        pace = Pace()
        for done, (i, pair) in enumerate(zip(places, pairs, strict=True), start=1):
            if self.status[i] == TODO:
                if attempt.stop and attempt.stop():
                    if attempt.save:
                        attempt.save(self.result())
                    raise Stopped("stopped between two checkpoints; --resume goes on from here")
                self._measure(i, *pair, seed)
                if (save := attempt.save) and (self.status == TODO).any():
                    pace.offer(lambda save=save: save(self.result()))
            if progress:
                progress(done)

    def _measure(self, i: int, minimum: Minimum, whole: Minimum, seed: int) -> None:
        run = self.runs[i]
        if dict(minimum.inputs) != {str(run.path): run.sha256}:
            raise InputError(f"{run.path} has changed since it was first read; run this again")
        point = Point(minimum.objective, whole.test, start_of(run.path, minimum.objective), seed)
        all_samples = point if whole is minimum else Point(whole.objective, whole.test)
        try:
            for split in SPLITS:
                found = all_samples.evaluation(split)
                assert found is not None
                self.ends[f"{split}_loss"][i], self.ends[f"{split}_accuracy"][i] = found.loss, found.accuracy
            why = "" if all(math.isfinite(column[i]) for column in self.ends.values()) else "its loss is not finite"
        except NumericalError as error:
            why = one_line(error)
        self.status[i] = DIVERGED if why else DONE
        if why:
            self._note(RUN, run, why)
            return
        for m, name in enumerate(self.measures):
            value = measure_point(point, name)
            self.value[m, i] = math.nan if value.value is None else value.value
            self.stderr[m, i] = math.nan if value.stderr is None else value.stderr
            if value.note:
                self._note(name, run, value.said)

    def _note(self, what: str, run: Run, note: str) -> None:
        self.notes.setdefault(what, {})[run.label] = note

    def result(self) -> Correlation:
        """All that is known: no correlations before every run is measured."""
        grid, begun = grid_of(self.runs), bool((self.status == TODO).any())
        gap = self.ends["train_accuracy"] - self.ends["test_accuracy"]
        value = np.full_like(self.value, math.nan) if begun else self.value
        found = correlations(
            dict(zip(self.measures, value, strict=True)),
            {GAP: gap, TEST_ACCURACY: self.ends["test_accuracy"]},
            grid.setting,
            {} if grid.reason else grid.axes,
            [run.seeds for run in self.runs],
            LEVEL,
        )
        reasons = {**found.pop("reasons"), **({GRANULATED: grid.reason} if grid.reason else {})}
        return Correlation(
            status=self._status(begun, found["low"]),
            settings=self.settings,
            names=tuple(run.label for run in self.runs),
            run_status=self.status.copy(),
            batch_size=np.array([run.batch_size for run in self.runs]),
            seed=np.array([run.seed for run in self.runs]),
            setting=grid.setting,
            hyperparameters={name: list(column) for name, column in grid.axes.items()},
            **{name: column.copy() for name, column in self.ends.items()},
            measures=tuple(self.measures),
            units=tuple(POINTS[name].unit for name in self.measures),
            scaling=tuple(POINTS[name].kind for name in self.measures),
            value=self.value.copy(),
            stderr=self.stderr.copy(),
            notes={what: dict(notes) for what, notes in self.notes.items()},
            reasons={} if begun else reasons,
            num_samples=self.num_samples,
            level=LEVEL,
            **found,
        )

    def _status(self, begun: bool, low: Array) -> Status:
        if begun:
            return Status.STOPPED
        if (self.status == DONE).sum() < FEWEST_RUNS:
            return Status.NON_FINITE
        return Status.COMPLETE if np.isfinite(low).any() else Status.NOT_RESOLVED
