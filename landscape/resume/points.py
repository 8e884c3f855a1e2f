"""Work that falls into points: a status for each, partial results, and stopping between two of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, ResourceError, Stopped
from ..results import DONE, NON_FINITE, TODO, Result, Status

SAVE_EVERY = 1.0  # seconds of work between two saves of a partial result
SAVE_SHARE = 20  # times as long as the last save took, at least: files of many results take long to replace

Row = Mapping[str, float] | None  # what is measured at a point, None where it is not finite


@dataclass(frozen=True)
class Watch:
    """What a caller wants to know, and to decide, while points are evaluated.

    `save` gets the partial result at least once a second of work; `stop` is asked before each point; `progress`
    gets the number of points done.
    """

    save: Callable[[Result], None] | None = None
    stop: Callable[[], bool] | None = None
    progress: Callable[[int], None] | None = None


class Pace:
    """When a part is saved: SAVE_EVERY seconds after the last save at least, and SAVE_SHARE times what that took."""

    def __init__(self) -> None:
        self._saved, self._pause = time.monotonic(), SAVE_EVERY

    def offer(self, save: Callable[[], None] | None) -> None:
        """Saves, where there is a way to and the time has come."""
        began = time.monotonic()
        if save is None or began - self._saved < self._pause:
            return
        save()
        self._saved = time.monotonic()
        self._pause = max(SAVE_EVERY, SAVE_SHARE * (self._saved - began))


class Points:
    """The measured columns at the points of a grid of any shape, and the status of each point.

    The points are evaluated each on its own (or in the same fixed groups), so that where the work was cut makes no
    difference.
    """

    def __init__(self, shape: tuple[int, ...], columns: Sequence[str]) -> None:
        try:
            self.values = {name: np.full(shape, np.nan) for name in columns}
            self.status = np.zeros(shape, dtype=np.uint8)
        except MemoryError as error:
            raise ResourceError(f"no memory for {' x '.join(map(str, shape))} points; ask for fewer") from error
        self._pace = Pace()

    def take_over(self, partial: Result | None) -> None:
        """Goes on from a partial result of the same settings, if there is one."""
        if partial is None:
            return
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
        measure: Callable[[Sequence[int]], Sequence[Row]],
        build: Callable[[Status], Result],
        watch: Watch,
        *,
        only: np.ndarray | None = None,
        group: int = 1,
    ) -> None:
        """Measures every point still to do, or those of the flat indices `only`, `group` points at once.

        `measure` gives the rows of a group of flat indices. A group is measured whole where any of its points is to do:
        rounding may depend on what is computed together. Raises Stopped, after a last save, where `watch.stop` says so.
        """
        asked = np.arange(self.status.size) if only is None else np.asarray(only)
        for indices in self._todo(asked, group, build, watch):
            for index, row in zip(indices, measure(indices), strict=True):
                for name, column in self.values.items():
                    column.flat[index] = (row or {}).get(name, np.nan)
                self.status.flat[index] = NON_FINITE if row is None else DONE
            if watch.progress:
                watch.progress(int((self.status != TODO).sum()))
            if save := watch.save:
                self._pace.offer(lambda save=save: save(build(Status.STOPPED)))

    def _todo(
        self, asked: np.ndarray, group: int, build: Callable[[Status], Result], watch: Watch
    ) -> Iterator[list[int]]:
        for start in range(0, len(asked), group):
            indices = asked[start : start + group]
            if (self.status.flat[indices] != TODO).all():
                continue
            if watch.stop and watch.stop():
                if watch.save:
                    watch.save(build(Status.STOPPED))
                raise Stopped("stopped between two points; --resume goes on from here")
            yield indices.tolist()

    def outcome(self) -> Status:
        """Complete, or non-finite where no point is finite. Single non-finite points are masked, not filled."""
        return Status.COMPLETE if (self.status == DONE).any() else Status.NON_FINITE
