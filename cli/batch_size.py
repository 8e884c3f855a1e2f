"""landscape batch-size"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from landscape.errors import UsageError
from landscape.specs import UNITS, parse_memory

from . import options
from .computing import bar, checked_store, emit, fields_of, numerical_as_json, obtain, verdict

if TYPE_CHECKING:
    from landscape.results import BatchSizes
    from landscape.store import Store
    from landscape.studies.batch_sizes import Plan

WIDTH = 100  # columns of the paragraph
ENDS = {
    "data": "ended with the data",
    "memory": "ended by memory",
    "limit": "ended where --max-batch-size says",
}


@click.command("batch-size")
@click.argument("checkpoint", required=False, metavar="[CKPT]")
@click.option("--batch-size", type=int, help="Batch size that --lr is meant for.  [default: the recipe's, or 64]")
@click.option("--lr", type=float, help="Learning rate there.  [default: the recipe's, or that of landscape train]")
@click.option("--optimizer", type=click.Choice(["sgd", "adam", "adamw"]), help="[default: the recipe's, or sgd]")
@click.option("--momentum", type=float, help="Momentum of sgd.  [default: the recipe's, or 0.9]")
@click.option("--max-batch-size", type=int, help="Largest size tried.  [default: all training samples]")
@click.option("--memory", metavar="SIZE", help="Memory that a size may take, e.g. 4G.  [default: all]")
@click.option("--seconds", type=float, default=1.0, show_default=True, help="For the timing of each size.")
@click.option("--price-per-hour", type=float, metavar="PRICE", help="Of the device: what each size costs.")
@click.option(
    "--noise",
    type=click.Choice(["checkpoint", "init", "run"]),
    help="Where the noise scale is measured; run: along --updates updates from CKPT or the initial point.  "
    "[default: checkpoint, init without one]",
)
@click.option("--updates", type=int, default=200, show_default=True, help="Updates of --noise run.")
@click.option("--critical", type=float, metavar="SAMPLES", help="The noise scale, if it is known: not measured then.")
@click.option(
    "--samples", type=int, help="The noise scale's: the first N of a fixed permutation.  [default: all, at most 10000]"
)
@options.what_to_train
@options.machine
@click.option(
    "--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True, help="Precision."
)
@click.option("--chunk", type=int, help="Samples a pass of the noise scale.  [default: by the activations]")
@click.option("--label", "labels", multiple=True, help="Name in results and legends.")
@options.trust_recipe
@options.storing
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Which batch size pays here: samples a second, memory, and the time to one loss by the noise scale.

    Trains at B = 1, 2, 4 ... until memory or the data end; the model at CKPT is not changed. What each B takes to the
    same loss follows from the noise scale b: updates 1 + b/B over the fewest, samples 1 + B/b over the fewest.

    \b
    Example:
      landscape batch-size runs/small.safetensors --price-per-hour 2.5 --out r.h5
      landscape batch-size --data mnist --model f1 --noise run --updates 500 --lr 0.1 --batch-size 64
    """
    with numerical_as_json("batch-size", as_json):
        return _batch_size(checkpoint, as_json, **flags)


def _batch_size(
    checkpoint: str | None,
    as_json: bool,
    out: str | None,
    overwrite: bool,
    samples: int | None,
    batch_size: int | None,
    lr: float | None,
    optimizer: str | None,
    momentum: float | None,
    **flags: Any,
) -> int:
    names = ("seconds", "max_batch_size", "memory", "price_per_hour", "noise", "critical", "updates")
    planned = {name: flags.pop(name) for name in names}
    _refuse(planned | {"batch_size": batch_size, "lr": lr, "samples": samples}, checkpoint)
    store = checked_store(out)
    # samples that share batch statistics have no gradients of their own, so no noise scale
    asked = options.request(**flags, samples=None, l2=0.0, split="train", bn="eval", bn_batch=None)
    from landscape.results import BatchSizes
    from landscape.studies.batch_sizes import batch_sizes, points, settings, update_of
    from landscape.studies.measured import set_up

    plan = _plan(planned, checkpoint)
    setup = set_up(asked, [checkpoint] if checkpoint else [])
    minimum = points(setup, plan, samples)
    train = setup.splits.train
    known = setup.checkpoints[0].recipe if setup.checkpoints else None
    given: dict[str, Any] = {"optimizer": optimizer, "lr": lr, "momentum": momentum, "batch_size": batch_size}
    seed = asked.seed if known is None else None
    recipe = update_of(known, len(train), **given, dtype=asked.dtype, seed=seed)

    def compute(*_: object) -> BatchSizes:
        with bar("rounds", None) as update:
            return batch_sizes(minimum.objective, train, recipe, plan, progress=update)

    identity = settings(minimum.objective, train, recipe, plan)
    result, origin = obtain(store, minimum.label, identity, compute, minima=[minimum], overwrite=overwrite)
    assert isinstance(result, BatchSizes)
    result = _priced(store, minimum.label, result, plan.price_per_hour, origin)
    if as_json:
        columns = _columns(result)
        scalars = {name: value for name, value in fields_of(result).items() if name not in columns}
        emit({"label": minimum.label, **scalars, "rows": _rows(result), "provenance": origin})
    else:
        for line in _text(result):
            click.echo(line)
    return verdict(result, minimum.label, origin)


def _priced(
    store: Store | None, label: str, result: BatchSizes, price: float | None, origin: dict[str, Any]
) -> BatchSizes:
    """What was measured with the price that is asked for now, which the store then holds too."""
    from landscape.batch_sizes import priced
    from landscape.errors import ResourceError, one_line

    if price is None or result.price_per_hour == price:
        return result
    result = priced(result, price)
    held = [] if store is None or "not_saved" in origin else store.same(result.settings)
    for entry in held:
        if store is not None and entry.label == label:
            try:
                store.add(label, result, entry.provenance, entry.manifest)
            except ResourceError as error:
                origin["not_saved"] = one_line(error)
    return result


def _refuse(given: Mapping[str, Any], checkpoint: str | None) -> None:
    """UsageError for what the text alone tells."""
    for name in ("seconds", "lr", "critical"):
        if given[name] is not None and not 0 < given[name] < math.inf:
            raise UsageError(f"--{name} must be finite and above 0, got {given[name]:g}")
    price = given["price_per_hour"]
    if price is not None and not 0 <= price < math.inf:
        raise UsageError(f"--price-per-hour must be finite and not negative, got {price:g}")
    for name in ("batch_size", "max_batch_size", "samples"):
        if given[name] is not None and given[name] < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {given[name]}")
    if given["critical"] is not None and given["noise"] is not None:
        raise UsageError("--critical is the noise scale itself: leave --noise out")
    if given["noise"] == "checkpoint" and checkpoint is None:
        raise UsageError("--noise checkpoint needs a checkpoint; give one, or --noise init or run")


def _plan(given: Mapping[str, Any], checkpoint: str | None) -> Plan:
    from landscape.studies.batch_sizes import Plan

    memory = None if given["memory"] is None else parse_memory(given["memory"])
    where = "given" if given["critical"] is not None else given["noise"] or ("checkpoint" if checkpoint else "init")
    return Plan(**{**given, "memory": memory, "noise": where})


# -- what is printed


def _columns(result: BatchSizes) -> tuple[str, ...]:
    """Names of the fields that are one number a batch size."""
    from landscape.results import stored_fields

    return tuple(field.name for field in stored_fields(type(result)) if field.metadata.get("dims"))


def _rows(result: BatchSizes) -> list[dict[str, Any]]:
    """One object for each batch size; seconds and cost of an epoch are those of N samples, whatever they are worth."""
    columns = {name: getattr(result, name) for name in _columns(result)}
    rows = []
    for i in range(len(result.batch_size)):
        row: dict[str, Any] = {name: None if values is None else values[i] for name, values in columns.items()}
        seconds = result.train_samples / row["samples_per_second"]
        price = result.price_per_hour
        rows.append(row | {"epoch_seconds": seconds, "epoch_cost": None if price is None else price / 3600 * seconds})
    return rows


def _text(result: BatchSizes) -> list[str]:
    """The table, what its columns are over, and the paragraph."""
    priced = result.price_per_hour is not None
    head = ("B", "samples/s", "+-", "memory", "efficiency", "updates", "samples", "seconds")
    table = [(*head, *(("cost", "cost/epoch") if priced else ()), "lr linear", "lr sqrt")]
    table += [_cells(row, priced) for row in _rows(result)]
    notes = ["", *(_note(result, int(size)) for size in result.batch_size)]
    widths = [max(len(cells[i]) for cells in table) for i in range(len(table[0]))]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) for cells in table]
    lines = [f"{line}  {note}".rstrip() for line, note in zip(lines, notes, strict=True)]
    return [
        *lines,
        "updates, samples, seconds and cost: to the same loss, over the least possible",
        f"{result.status}: {result.device}; {ENDS[result.stopped_by]}; "
        f"rates are of {result.base_learning_rate:g} at B = {result.base_batch_size}",
        *textwrap.wrap(result.advice, WIDTH),
    ]


def _cells(row: Mapping[str, Any], priced: bool) -> tuple[str, ...]:
    rate = row["samples_per_second"]
    spread = (row["samples_per_second_high"] - row["samples_per_second_low"]) / 2 / rate
    measured = (str(row["batch_size"]), f"{rate:.4g}", f"{spread:.0%}", _bytes(row["peak_memory"]))
    loss = tuple("-" if math.isnan(row[name]) else f"{row[name]:.3g}" for name in ("updates", "samples", "seconds"))
    share = "-" if math.isnan(row["efficiency"]) else f"{row['efficiency']:.1%}"
    money = (loss[-1], f"{row['epoch_cost']:.2g}") if priced else ()
    return (*measured, share, *loss, *money, *(f"{row[f'learning_rate_{rule}']:.3g}" for rule in ("linear", "sqrt")))


def _note(result: BatchSizes, size: int) -> str:
    """What a batch size is the best of."""
    marks = {"efficient": result.efficient, "knee": result.knee, "fastest": result.fastest, "cheapest": result.cheapest}
    return ", ".join(name for name, marked in marks.items() if marked == size)


def _bytes(count: float) -> str:
    """`12.5M`, as --memory takes it."""
    if math.isnan(count):
        return "-"
    for unit, size in reversed(UNITS.items()):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return "0"
