"""Measures against generalisation over many runs: rank correlations, and their parts by hyper-parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .base import Array, Result, Status, mapping, quantity

RUN = ("run",)
BY_RUN = ("measure", "run")
BY_TARGET = ("measure", "target")
BY_AXIS = ("measure", "target", "hyperparameter")
GAP, TEST_ACCURACY = TARGETS = ("gap", "test-accuracy")
TODO, DONE, DIVERGED = 0, 1, 2  # the status of one run
OWN = "that of the measure"
DECIMALS = 12  # of a target: shares of fewer than a million samples lie further apart


def rounded(target: Array) -> Array:
    """What measures are held against, to 12 decimals, so that runs that tie have equal numbers.

    a/N - b/M in floating point is off by some 1e-17, which would order gaps that are the same.
    """
    return np.round(target, DECIMALS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Correlation(Result):
    """Each measure against the generalisation gap and the test accuracy over runs of different hyper-parameters.

    tau > 0 with the gap: the larger the measure, the larger train less test accuracy; tau < 0 with the test accuracy:
    the larger the measure, the worse the test. Both by Kendall (1945); psi and Psi by Jiang et al. 2020, section 2.2.1.
    """

    kind: ClassVar[str] = "correlation"
    names: tuple[str, ...] = field(metadata={"about": "the runs", "of_run": True})
    run_status: Array = quantity("0 to do, 1 measured, 2 diverged", dims=RUN)
    batch_size: Array = quantity(
        "samples of an update, at the beginning; 0: full, or not known", dims=RUN, unit="samples"
    )
    seed: Array = quantity("seed of the run; -1: not known", dims=RUN)
    setting: Array = quantity("number of its hyper-parameters: runs of one number differ in seeds alone", dims=RUN)
    hyperparameters: Mapping[str, Any] = mapping(
        "what varies over the runs beside seeds: by name, in the order of names, its value in each; null: not known"
    )
    train_loss: Array = quantity("loss on the training split; nan: not measured", dims=RUN, unit="loss")
    train_accuracy: Array = quantity("accuracy on the training split", dims=RUN)
    test_loss: Array = quantity("loss on the test split", dims=RUN, unit="loss")
    test_accuracy: Array = quantity("accuracy on the test split", dims=RUN)
    measures: tuple[str, ...] = field(metadata={"about": "names of the measures"})
    units: tuple[str, ...] = field(metadata={"about": "their units; 1 where there is none"})
    scaling: tuple[str, ...] = field(
        metadata={"about": "function: of the outputs alone; raw: rescaling of layers moves it; invariant: it does not"}
    )
    value: Array = quantity("the measure at each run; nan: none, notes say why", dims=BY_RUN, unit=OWN)
    stderr: Array = quantity("its standard error over probes or draws; nan: nothing is drawn", dims=BY_RUN, unit=OWN)
    tau: Array = quantity("Kendall's tau-b with the gap and with the test accuracy; nan: none", dims=BY_TARGET)
    low: Array = quantity("lower end of its interval; nan: none", dims=BY_TARGET)
    high: Array = quantity("upper end of its interval; nan: none", dims=BY_TARGET)
    num_runs: Array = quantity("runs that have a value of the measure", dims=("measure",))
    num_settings: Array = quantity("different hyper-parameters of these runs", dims=("measure",))
    psi: Array | None = quantity(
        "tau where one hyper-parameter alone varies, averaged over all others; nan: none", dims=BY_AXIS, optional=True
    )
    granulated: Array | None = quantity(
        "Psi, the mean of psi over hyper-parameters; nan: none", dims=BY_TARGET, optional=True
    )
    notes: Mapping[str, Any] = mapping(
        "by measure, then by run: why no value, or what to hold against the one there is; by `run`: why none at all"
    )
    reasons: Mapping[str, Any] = mapping(
        "by measure, then by target: why no tau or no interval; by `granulated`: why no Psi"
    )
    num_samples: int = quantity("samples in the measures; accuracies are of all", unit="samples")
    level: float = quantity("confidence level of the intervals")

    @property
    def missing(self) -> int:
        return int((self.run_status == TODO).sum())

    @property
    def diverged(self) -> int:
        """Runs that are left out, since they diverged."""
        return int((self.run_status == DIVERGED).sum())

    @property
    def num_measured(self) -> int:
        return int((self.run_status == DONE).sum())

    @property
    def settings_measured(self) -> int:
        """Different hyper-parameters of the runs that are measured."""
        return len(np.unique(self.setting[self.run_status == DONE]))

    @property
    def gap(self) -> Array:
        """Train accuracy less test accuracy of each run."""
        return rounded(self.train_accuracy - self.test_accuracy)

    def target(self, name: str) -> Array:
        """What measures are held against, of each run."""
        return self.gap if name == GAP else self.test_accuracy

    def problems(self) -> list[str]:
        runs, measures = len(self.run_status), len(self.measures)
        shapes = {(measures, runs): (self.value, self.stderr), (measures, 2): (self.tau, self.low, self.high)}
        fits = all(array.shape == shape for shape, arrays in shapes.items() for array in arrays)
        columns = (len(self.names), *map(len, self.hyperparameters.values()))
        if not fits or {runs} != {runs, *columns} or {measures} != {measures, len(self.units), len(self.scaling)}:
            return ["names, runs, measures and values are not equally many"]
        if (self.psi is None) != (self.granulated is None):
            return ["psi and Psi are not both there"]
        found = []
        if (self.missing > 0) != (self.status == Status.STOPPED):
            found.append(f"{self.missing} runs are to do, but the status is {self.status}")
        if np.isfinite(self.value[:, self.run_status != DONE]).any():
            found.append("runs that are not measured have values")
        if self.missing == 0 and (np.isfinite(self.value).sum(axis=1) != self.num_runs).any():
            found.append("the runs that have a value are not as many as said")
        if (abs(self.tau) > 1).any() or ((self.low > self.tau) | (self.tau > self.high)).any():
            found.append("a correlation lies outside -1 to 1, or outside its interval")
        if (np.isfinite(self.low) & ~np.isfinite(self.tau)).any():
            found.append("an interval is given of no correlation")
        if np.isfinite(self.low).any() != (self.status == Status.COMPLETE):
            found.append(f"the status is {self.status}, which the intervals do not say")
        return found
