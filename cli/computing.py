"""One way for every command that computes: find the stored result, or compute it, store it, and print it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from landscape.errors import NumericalError, ResourceError, UsageError, one_line

# The rest is imported where it is used: numpy, h5py and tqdm would make every --help slower.
if TYPE_CHECKING:
    from landscape.results import Result
    from landscape.store import Store
    from landscape.studies.keeping import Compute
    from landscape.studies.measured import Minimum

BAR_DELAY = 2.0  # seconds before a progress bar appears


def checked_store(out: str | None, *, resume: bool = False) -> Store | None:
    """The store of --out, refused at once if it cannot be read or written."""
    if out is None:
        if resume:
            raise UsageError("--resume needs --out, the file to go on from")
        return None
    from landscape.store import Store

    store = Store(out)
    store.check()
    return store


def obtain(
    store: Store | None,
    label: str,
    settings: Mapping[str, Any],
    compute: Compute,
    *,
    minima: Sequence[Minimum],
    overwrite: bool,
    resume: bool | None = None,
    products: bool = False,
) -> tuple[Result, dict[str, Any]]:
    """The result of these settings: from the store if it holds it, else computed, and stored where there is one.

    `minima` are what it is measured at. `resume` is None for what cannot be resumed: signals keep their own effect
    there. `products`: the work is a sequence of products. What was computed and could not be stored is printed all the
    same: `present` then returns the exit code of the failure.
    """
    from landscape.studies.keeping import Keeper, NotSaved

    command = ["landscape", *sys.argv[1:]]
    keeper = Keeper(store, command, overwrite=overwrite, resume=bool(resume), say=tell)
    with stop_requests(store is not None and resume is not None) as stop:
        try:
            return keeper.obtain(label, settings, compute, minima=minima, products=products, stop=stop)
        except NotSaved as error:
            return error.result, {**error.provenance, "not_saved": one_line(error)}


def on_test(minimum: Minimum) -> dict[str, float]:
    """What --split both adds to a measure that is of the train split alone."""
    if minimum.test is None:
        return {}
    found = minimum.test.evaluate()
    return {"test_loss": found.loss, "test_accuracy": found.accuracy}


def present(
    result: Result,
    label: str,
    provenance: Mapping[str, Any],
    text: Sequence[str],
    as_json: bool,
    also: Mapping[str, float] | None = None,
    why: str = "",
) -> int:
    """Prints a result as JSON or as lines of text; returns the exit code that its status calls for.

    `why` is told where the result is not resolved.
    """
    if as_json:
        emit({"label": label, **fields_of(result), **(also or {}), "provenance": provenance})
    else:
        for line in [*text, *(f"{name.replace('_', ' ')} {value:.6g}" for name, value in (also or {}).items())]:
            click.echo(line)
    return verdict(result, label, provenance, why)


def fields_of(result: Result) -> dict[str, Any]:
    """The kind and the stored fields of a result, for JSON."""
    from landscape.results import stored_fields

    fields = {field.name: getattr(result, field.name) for field in stored_fields(type(result))}
    fields.pop("settings")
    if hasattr(result, "evaluated"):
        fields["evaluated"] = getattr(result, "evaluated")  # noqa: B009 - planes only
    return {"kind": result.kind, **fields}


def verdict(result: Result, label: str, provenance: Mapping[str, Any], why: str = "") -> int:
    """The exit code that a result's status calls for, told where it is not 0, or, with `why`, not resolved."""
    from landscape.results import Status

    if "not_saved" in provenance:
        tell(f"landscape: {provenance['not_saved']}")
        return ResourceError.exit_code
    if result.status in (Status.NOT_CONVERGED, Status.NON_FINITE):
        tell(f"landscape: {label}: {result.status}")
        return NumericalError.exit_code
    if result.status is Status.NOT_RESOLVED and why:
        tell(f"landscape: {label}: {result.status}: {why}")
    return 0


def emit(values: Mapping[str, Any]) -> None:
    """One JSON object on stdout, non-finite numbers as null."""
    from landscape.results import finite

    click.echo(json.dumps(finite(values)))


def counted(number: int, what: str) -> str:
    """`1 result`, `2 results`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def tell(message: str) -> None:
    """A line on stderr."""
    click.echo(message, err=True)


@contextmanager
def numerical_as_json(kind: str, as_json: bool) -> Iterator[None]:
    """With --json, a numerical failure prints its object too, before its line on stderr and exit code 4."""
    try:
        yield
    except NumericalError as error:
        if as_json:
            origin = {"command": ["landscape", *sys.argv[1:]]}
            status = getattr(error, "status", "non-finite")
            shown = {"kind": kind, "status": status, "label": None, "error": one_line(error)}
            emit(shown | dict(getattr(error, "computed", {})) | {"provenance": origin})
        raise


@contextmanager
def bar(description: str, total: float | None) -> Iterator[Callable[..., None]]:
    """A progress bar that appears after two seconds, on a terminal only; yields `update(done, **shown)`."""
    from tqdm import tqdm

    with tqdm(total=total, desc=description, delay=BAR_DELAY, disable=None, leave=False, file=sys.stderr) as meter:

        def update(done: float, **shown: str) -> None:
            if shown:
                meter.set_postfix(shown, refresh=False)
            meter.update(done - meter.n)

        yield update


@contextmanager
def stop_requests(can_resume: bool) -> Iterator[Callable[[], bool] | None]:
    """SIGTERM and SIGUSR1 ask the work to save and stop; yields a function that says whether one came.

    Work that stores nothing could not resume: there the signals keep their own effect, and None comes instead.
    """
    if not can_resume:
        yield None
        return
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        asked.append(number)

    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, note) for number in numbers]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
