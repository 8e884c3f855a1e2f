"""Nothing is computed twice that a store holds, and nothing is lost that was begun."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import digest, execution
from ..errors import InputError, LandscapeError, NumericalError, ResourceError
from ..objective import Objective
from ..operators import AbstractOperator, Journaled
from ..provenance import provenance
from ..results import Result
from ..resume import HOW, Journal, Watch, different, drop_journal, journal_path, journals_of, refuse_other
from ..store import Entry, Store
from .measured import Minimum

Found = tuple[Result, dict[str, Any]]  # a result and its provenance


class NotSaved(ResourceError):
    """A result was computed, but could not be stored."""

    def __init__(self, error: LandscapeError, result: Result, provenance: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.result, self.provenance = result, provenance


@dataclass(frozen=True)
class Attempt:
    """One attempt at a result: what an earlier one left, and how to leave what this one has."""

    partial: Result | None = None
    save: Callable[[Result], None] | None = None
    stop: Callable[[], bool] | None = None
    journal: Journal | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def watch(self, progress: Callable[[int], None] | None = None) -> Watch:
        """For work that falls into points."""
        return Watch(save=self.save, stop=self.stop, progress=progress)

    def journaled(self, operator: AbstractOperator) -> AbstractOperator:
        """For work that is a sequence of products: the operator with its products written down."""
        return operator if self.journal is None else Journaled(operator, self.journal, self.manifest, self.stop)


Compute = Callable[[Attempt], Result]


@dataclass(frozen=True)
class Keeper:
    """Finds results in a store, goes on with parts of them, or has them computed and stored.

    Without a store, results are computed and kept nowhere. `overwrite` computes again what the store holds; `resume`
    goes on with a part, which otherwise is refused. `say` gets a line for the user now and then.
    """

    store: Store | None
    command: Sequence[str]
    overwrite: bool = False
    resume: bool = False
    say: Callable[[str], None] | None = None

    def obtain(
        self,
        label: str,
        settings: Mapping[str, Any],
        compute: Compute,
        *,
        minima: Sequence[Minimum],
        products: bool = False,
        stop: Callable[[], bool] | None = None,
    ) -> Found:
        """The result of these settings at these minima, under a label.

        `products`: the work is a sequence of products, and goes on by a journal of them beside the store. Raises
        InputError where a part is there and `resume` is not given, or where it cannot go on to the same bits; NotSaved,
        which holds the result, where it was computed and the disk then refused it.
        """
        began = time.perf_counter()
        if self.store is None:
            result = compute(Attempt())
            return result, self._origin(settings, minima, began)()
        store, about = self.store, {"settings": dict(settings)}
        place = journal_path(store.path, digest.of_settings(settings))
        held = store.same(settings)
        part = next((entry for entry in held if entry.stopped), None)
        begun = part is not None or (products and place.exists())
        # Beside what is finished, a part is of a run that was to overwrite it.
        found = None if self.overwrite or (self.resume and begun) else self._finished(label, held)
        if found is not None:
            return found
        if begun and not (self.resume or self.overwrite):
            if place.exists():
                Journal(place, {}).close()  # tells where another process is at work on it
            raise InputError(f"{store.path} holds part of this result; --resume or --overwrite")
        if not self.resume:
            part = None
            drop_journal(place)
        elif not begun:
            self._refuse_near(label, settings)
        earlier = float(part.provenance.get("seconds", 0.0)) if part is not None else 0.0
        origin = self._origin(settings, minima, began - earlier)
        manifest = self._taken_up(part, minima)
        journal = self._opened(place, about, manifest) if products else None

        def save(result: Result) -> None:
            store.add(label, result, origin(), _manifest(minima))

        done = False
        try:
            result = compute(Attempt(part.result if part else None, save, stop, journal, manifest))
            try:
                save(result)
            except (InputError, ResourceError) as error:
                raise NotSaved(error, result, origin()) from error
            done = True
        except NumericalError:
            done = True  # to go on would end there again
            raise
        finally:
            if journal is not None:
                journal.close(remove=done)
        return result, origin()

    def _finished(self, label: str, held: Sequence[Entry]) -> Found | None:
        """What is finished under this label, else under another, which then shares it."""
        finished = [entry for entry in held if not entry.stopped]
        own = next((entry for entry in finished if entry.label == label), None)
        if own is None and finished:
            assert self.store is not None
            own = finished[0]
            self.store.share(label, own)
            self._tell(f"{label}: the same as {own.label} in {self.store.path}, not computed again")
        elif own is not None:
            assert self.store is not None
            self._tell(f"{label}: found in {self.store.path}, not computed again (--overwrite recomputes)")
        return None if own is None else (own.result, {**own.provenance, "found": True})

    def _tell(self, line: str) -> None:
        if self.say:
            self.say(line)

    def _taken_up(self, part: Entry | None, minima: Sequence[Minimum]) -> dict[str, Any]:
        """The manifest of this run, the chunks of the earlier one taken up; refuses what cannot give the same bits."""
        if part is not None:
            assert self.store is not None
            self._compare(f"the part in {self.store.path}", part.manifest, minima)
        return _manifest(minima)

    def _compare(self, what: str, before: Mapping[str, Any], minima: Sequence[Minimum]) -> None:
        if not before:
            raise InputError(f"cannot resume: {what} does not say under what conditions; --overwrite starts again")
        for objectives, sizes in zip(_objectives(minima), (before.get("chunk"), before.get("test_chunk")), strict=True):
            for objective, size in zip(objectives, sizes or (), strict=False):
                if size < objective.chunk:
                    objective.chunking.size = size  # memory had forced it down
        refuse_other(what, before, _manifest(minima))

    def _opened(self, place: Path, about: Mapping[str, Any], manifest: Mapping[str, Any]) -> Journal:
        journal = Journal(place, about)
        if journal.manifest:
            before = {name: value for name, value in journal.manifest.items() if name != "product"}
            try:
                refuse_other(str(place), before, manifest)
            except InputError:
                journal.close()
                raise
        return journal

    def _refuse_near(self, label: str, settings: Mapping[str, Any]) -> None:
        """Refuses to begin anew beside a part that differs in how it is measured only: a slip, most likely."""
        assert self.store is not None
        begun: list[tuple[str, Mapping[str, Any]]] = []
        if self.store.path.exists():
            parts = [entry for entry in self.store.find(label=label) if entry.stopped]
            begun = [(f"the part in {self.store.path}", part.result.settings) for part in parts]
        for place, about in journals_of(self.store.path).items():
            begun.append((str(place), about["settings"]))
        for what, before in begun:
            if set(different(before, settings)) <= set(HOW):
                refuse_other(what, before, settings)

    def _origin(
        self, settings: Mapping[str, Any], minima: Sequence[Minimum], began: float
    ) -> Callable[[], dict[str, Any]]:
        return lambda: provenance(
            command=self.command,
            settings=settings,
            inputs={path: sha256 for minimum in minima for path, sha256 in minimum.inputs.items()},
            seconds=time.perf_counter() - began,
            threads=torch.get_num_threads(),
            flags=execution.KERNELS,
        )


def _manifest(minima: Sequence[Minimum]) -> dict[str, Any]:
    """What fixes the bits of what is measured at these minima, beside its settings."""
    measured, tested = ([objective.chunk for objective in objectives] for objectives in _objectives(minima))
    return {**execution.conditions(minima[0].objective.device), "chunk": measured, "test_chunk": tested}


def _objectives(minima: Sequence[Minimum]) -> tuple[list[Objective], list[Objective]]:
    """Of the split that is measured, and of the test split beside it."""
    return [m.objective for m in minima], [m.test for m in minima if m.test is not None]
