"""landscape trade-off"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.errors import InputError, ResourceError, UsageError, one_line

from . import options
from .computing import checked_store, present, tell

if TYPE_CHECKING:
    from landscape.results import TradeOff

SHOWN = ("batch", "rate", "updates", "least", "most", "samples", "seeds", "missed", "regime")
REGIMES = {1: "perfect scaling", 2: "diminishing returns", 3: "maximal parallelism"}


@click.command("trade-off")
@click.argument("folders", nargs=-1, metavar="DIR...")
@click.option("--target-loss", type=float, help="Train loss.  [default: 2 % above what every batch size reaches]")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option("--label", help="Name in results and legends.  [default: the first folder's]")
@click.option("--out", metavar="FILE.h5", help="Store the result here.")
@options.as_json
def command(
    folders: tuple[str, ...], target_loss: float | None, level: float, label: str | None, out: str | None, as_json: bool
) -> int:
    """Updates and samples to one train loss by batch size, and the critical batch size fitted to them.

    Reads the logs of the runs in the folders of sweeps; at each batch size the best rate counts, so sweep over rates:
    several --rules, a folder for each --lr, and --target-loss to end runs there. The law is
    (S/S_min - 1) (E/E_min - 1) = 1 of S updates and E samples, the critical batch size E_min/S_min.

    \b
    Example:
      landscape trade-off runs/sweep --target-loss 0.1 --out r.h5
      landscape trade-off runs/rate-0.1 runs/rate-0.3 --label digits
    """
    if not folders:
        raise UsageError("no folder of runs; give that of a landscape sweep")
    if not 0 < level < 1:
        raise UsageError(f"--level must lie in 0 ... 1, ends excluded, got {level}")
    if label is not None and (not label or "/" in label or label in (".", "..") or not label.isprintable()):
        raise UsageError("a --label must be a printable name without '/'")
    store = checked_store(out)
    began = time.perf_counter()
    from landscape.provenance import provenance
    from landscape.studies.trade_off import inputs_of, read_runs, trade_off

    runs = read_runs(folders)
    result, notes = trade_off(runs, target=target_loss, level=level)
    origin: dict[str, Any] = provenance(
        command=["landscape", *sys.argv[1:]],
        settings=result.settings,
        inputs=inputs_of(runs),
        seconds=time.perf_counter() - began,
        threads=None,
    )
    name = label or Path(folders[0]).resolve().name
    if store is not None:
        try:
            store.add(name, result, origin)
        except (InputError, ResourceError) as error:
            origin["not_saved"] = one_line(error)
    for note in notes:
        tell(f"{name}: {note}")
    return present(result, name, origin, _text(result), as_json)


def _text(found: TradeOff) -> list[str]:
    """A line for each batch size, and the numbers of the law."""
    rows: list[tuple[str, ...]] = [SHOWN]
    for i, size in enumerate(found.batch_size):
        reached = (found.learning_rate, found.updates, found.updates_low, found.updates_high, found.samples)
        forms = (".4g", ".1f", ".1f", ".1f", ".0f")
        cells = [f"{column[i]:{form}}" for column, form in zip(reached, forms, strict=True)]
        numbers = cells if found.num_seeds[i] else ["-"] * len(cells)
        counts = (str(int(found.num_seeds[i])), str(int(found.num_missed[i])), REGIMES[int(found.regime[i])])
        rows.append((str(int(size)), *numbers, *counts))
    widths = [max(len(row[i]) for row in rows) for i in range(len(SHOWN))]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += [
        f"b_crit  {_interval(found.b_crit, found.b_crit_low, found.b_crit_high)} samples ({found.level:.0%} intervals)",
        f"S_min   {_interval(found.s_min, found.s_min_low, found.s_min_high)} updates",
        f"E_min   {_interval(found.e_min, found.e_min_low, found.e_min_high)} samples",
    ]
    if found.b_simple is not None:
        scale = _interval(found.b_simple, found.b_simple_low, found.b_simple_high)
        lines.append(f"b_simple {scale} samples   (median along a run: of all, the least, the largest)")
    misfit = "" if found.misfit is None else f", misfit {found.misfit:.1%} of the updates"
    return [*lines, f"{found.status}: train loss {found.target:.4g}{misfit}"]


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    """`12 [8, 20]`, an end that the runs do not bound as ...."""
    ends = ", ".join("..." if end is None else f"{end:.4g}" for end in (low, high))
    return f"{'not resolved' if value is None else f'{value:.4g}'} [{ends}]"
