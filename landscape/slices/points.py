"""Evaluating the points of a slice one by one: statuses, partial results, and stopping between two points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError, Stopped
from ..objective import Objective
from ..results import DONE, NON_FINITE, TODO, Result, Status

COLUMNS = ("loss", "loss_stderr", "accuracy", "test_loss", "test_accuracy")
SAVE_EVERY = 1.0  # seconds of work between two saves of a partial result


@dataclass(frozen=True)
class Watch:
    """What a caller wants to know, and to decide, while points are evaluated.

    `save` gets the partial result at least once a second of work; `stop` is asked before each point; `progress`
    gets the number of points done.
    """

    save: Callable[[Result], None] | None = None
    stop: Callable[[], bool] | None = None
    progress: Callable[[int], None] | None = None


@dataclass
class Points:
    """The measured columns of a slice of any shape, and the status of each point."""

    shape: tuple[int, ...]
    values: dict[str, np.ndarray] = field(init=False)
    status: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.values = {name: np.full(self.shape, np.nan) for name in COLUMNS}
        self.status = np.zeros(self.shape, dtype=np.uint8)

    def take_over(self, partial: Result) -> None:
        """Goes on from a partial result of the same settings."""
        done: np.ndarray = getattr(partial, "point_status")  # noqa: B009 - lines and planes alike
        if done.shape != self.shape:
            raise InputError(f"cannot resume: the stored slice has shape {done.shape}, this one {self.shape}")
        self.status = done.copy()
        for name in COLUMNS:
            stored = getattr(partial, name)
            if stored is not None:
                self.values[name] = stored.copy()

    def evaluate(
        self,
        place: Callable[[int], Objective],
        test: Objective | None,
        build: Callable[[Status], Result],
        watch: Watch,
    ) -> None:
        """Evaluates every point still to do, in order. `place(i)` is the objective at flat index i.

        Raises Stopped, after a last save, where `watch.stop` says so.
        """
        saved = time.monotonic()
        for index in self._todo(build, watch):
            at = place(index)
            train_row = at.evaluate()
            finite = bool(np.isfinite(train_row.loss))
            # The largest of several nan is no answer: such a point has no accuracy.
            row = [train_row.loss, train_row.loss_stderr, train_row.accuracy if finite else np.nan, np.nan, np.nan]
            if test is not None and finite:
                test_row = test.at(at.params).with_constants(at.constants).evaluate()
                row[3:] = [test_row.loss, test_row.accuracy]
            for name, number in zip(COLUMNS, row, strict=True):
                self.values[name].flat[index] = number
            self.status.flat[index] = DONE if finite else NON_FINITE
            if watch.progress:
                watch.progress(int((self.status != TODO).sum()))
            if watch.save and time.monotonic() - saved >= SAVE_EVERY:
                watch.save(build(Status.STOPPED))
                saved = time.monotonic()

    def _todo(self, build: Callable[[Status], Result], watch: Watch) -> Iterator[int]:
        for index in np.flatnonzero(self.status.reshape(-1) == TODO):
            if watch.stop and watch.stop():
                if watch.save:
                    watch.save(build(Status.STOPPED))
                raise Stopped("stopped between two points; --resume goes on from here")
            yield int(index)

    def outcome(self) -> Status:
        """Complete, or non-finite where no point is finite. Single non-finite points are masked, not filled."""
        return Status.COMPLETE if (self.status == DONE).any() else Status.NON_FINITE

    def columns(self, *, with_test: bool) -> dict[str, np.ndarray | None]:
        """The measured arrays by name; None for what was not measured."""
        found: dict[str, np.ndarray | None] = {name: array.copy() for name, array in self.values.items()}
        if not with_test:
            found["test_loss"] = found["test_accuracy"] = None
        evaluated = self.status != TODO
        for name in ("accuracy", "test_accuracy"):
            column = found[name]
            if column is not None and evaluated.any() and np.isnan(column[evaluated]).all():
                found[name] = None
        return found
