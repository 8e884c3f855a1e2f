"""Work that falls into points: a status for each, partial results, and stopping between two of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, Stopped
from ..results import DONE, NON_FINITE, TODO, Result, Status

SAVE_EVERY = 1.0  # seconds of work between two saves of a partial result
SAVE_SHARE = 20  # times as long as the last save took, at least: files of many results take long to replace


@dataclass(frozen=True)
class Watch:
    """What a caller wants to know, and to decide, while points are evaluated.

    `save` gets the partial result at least once a second of work; `stop` is asked before each point; `progress`
    gets the number of points done.
    """

    save: Callable[[Result], None] | None = None
    stop: Callable[[], bool] | None = None
    progress: Callable[[int], None] | None = None


class Points:
    """The measured columns at the points of a grid of any shape, and the status of each point.

    The points are evaluated in order, each on its own, so that where the work was cut makes no difference.
    """

    def __init__(self, shape: tuple[int, ...], columns: Sequence[str]) -> None:
        self.values = {name: np.full(shape, np.nan) for name in columns}
        self.status = np.zeros(shape, dtype=np.uint8)

    def take_over(self, partial: Result) -> None:
        """Goes on from a partial result of the same settings."""
        done: np.ndarray = getattr(partial, "point_status")  # noqa: B009 - of every result that has points
        if done.shape != self.status.shape:
            raise InputError(f"cannot resume: the stored part has shape {done.shape}, this one {self.status.shape}")
        self.status = done.copy()
        for name in self.values:
            stored = getattr(partial, name)
            if stored is not None:
                self.values[name] = stored.copy()

    def evaluate(
        self,
        measure: Callable[[int], Mapping[str, float] | None],
        build: Callable[[Status], Result],
        watch: Watch,
    ) -> None:
        """Measures every point still to do: `measure(i)` gives the columns at flat index i, None if not finite.

        Raises Stopped, after a last save, where `watch.stop` says so.
        """
        saved, pause = time.monotonic(), SAVE_EVERY
        for index in self._todo(build, watch):
            row = measure(index)
            for name, number in (row or {}).items():
                self.values[name].flat[index] = number
            self.status.flat[index] = NON_FINITE if row is None else DONE
            if watch.progress:
                watch.progress(int((self.status != TODO).sum()))
            began = time.monotonic()
            if watch.save and began - saved >= pause:
                watch.save(build(Status.STOPPED))
                saved = time.monotonic()
                pause = max(SAVE_EVERY, SAVE_SHARE * (saved - began))

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
