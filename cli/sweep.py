"""landscape sweep"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from landscape.errors import UsageError

from . import options, recipes
from .computing import bar, counted, emit, stop_requests, tell

MOST_SEEDS = 10_000
SHOWN = ("rule", "batch", "rate", "runs", "train accuracy", "test accuracy", "gap", "updates", "seconds")


@click.command("sweep")
@recipes.flags(without=("batch_size", "scale_lr", "seed"))
@click.option("--batch-sizes", required=True, metavar="LIST", help="Batch sizes, as 16,64,256,full.")
@click.option("--rules", metavar="LIST", help="Of none, linear, sqrt: the rate's.  [default: the recipe's, or none]")
@click.option("--seeds", metavar="LIST", help="Seeds, as 0,1,2 or 0:5.  [default: the recipe's, or 0]")
@click.option(
    "--budget",
    type=click.Choice(["epochs", "updates"]),
    default="epochs",
    show_default=True,
    help="What all runs have in common; updates: as many as the base batch size makes.",
)
@click.option("--batch-size", callback=recipes.batch_size, metavar="INTEGER|full", help="The base, if none is named.")
@click.option("--shard", default="1/1", show_default=True, metavar="I/N", help="Every N-th run from the I-th.")
@recipes.tracked
@options.device
@click.option("--out", required=True, metavar="DIR", help="Folder of the runs, of sweep.h5 and of the figure.")
@click.option("--overwrite", is_flag=True, help="Train again what the folder holds.")
@options.as_json
def command(
    recipe: str | None,
    batch_sizes: str,
    rules: str | None,
    seeds: str | None,
    budget: str,
    shard: str,
    track: tuple[str, ...],
    track_every: int,
    track_samples: int,
    device: str,
    out: str,
    overwrite: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Train a grid of runs from one recipe: batch sizes x rules for the rate x seeds; print and draw a summary.

    \b
    A run that the folder holds is not trained again, one that was stopped goes on.
    Example:
      landscape sweep --batch-sizes 16,64,256 --rules none,linear --seeds 0:3 --epochs 30 --out runs/sweep
      landscape sweep --recipe r.toml --batch-sizes 16,256 --shard $SLURM_ARRAY_TASK_ID/8 --out runs/sweep
    """
    part = _shard(shard)
    recipes.check_tracked(track_every, track_samples)
    sizes = tuple(recipes.size("--batch-sizes", text) for text in batch_sizes.split(","))
    numbers = None if seeds is None else _seeds(seeds)
    names = None if rules is None else tuple(rules.split(","))
    if names is not None and not set(names) <= {"none", "linear", "sqrt"}:
        raise UsageError(f"--rules are none, linear and sqrt, got {rules!r}")
    chosen = recipes.recipe_of(recipe, flags)
    from landscape.studies import runs
    from landscape.studies.figures import draw_store
    from landscape.studies.sweep import Grid, Watch, sweep
    from landscape.studies.tracking import tracked

    grid = Grid(
        recipe=chosen,
        batch_sizes=sizes,
        rules=names or (chosen.scale_lr,),
        seeds=numbers or (chosen.seed,),
        budget=budget,
    )
    with bar("run", chosen.epochs) as update, stop_requests(True) as stop:
        watch = Watch(
            say=tell, row=lambda row: update(row["epoch"], accuracy=f"{row['train_accuracy']:.4f}"), stop=stop
        )
        summaries, rows = sweep(
            grid,
            out,
            shard=part,
            overwrite=overwrite,
            device=device,
            extras=runs.Extras(tracking=tracked(track, chosen, track_samples, track_every)),
            watch=watch,
            command=("landscape", *sys.argv[1:]),
        )
    store, figures = f"{out}/sweep.h5", []
    if rows:
        figures = [str(path) for path in draw_store(store, out, kinds=("sweep",))]
    _present(summaries, rows, out, [store, *figures], as_json)
    return 0


def _present(
    summaries: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], out: str, made: Sequence[str], as_json: bool
) -> None:
    """Prints the runs as JSON, or a table, what is missing and what was written: the store, then its figures."""
    missing = sum(found.missing for found in summaries.values())
    if as_json:
        status = "stopped" if missing else "complete"
        origin = {"command": ["landscape", *sys.argv[1:]]}
        files = {"store": made[0], "figures": made[1:], "missing": missing}
        emit({"kind": "sweep", "status": status, "label": None, "runs": rows, **files, "provenance": origin})
        return
    for line in _table(summaries):
        click.echo(line)
    if missing:
        tell(f"{counted(missing, 'run')} of the grid not yet in {out}: other shards, or the same command again")
    tell(f"wrote {', '.join(made)}")


def _shard(text: str) -> tuple[int, int]:
    parts = text.split("/")
    if len(parts) == 2 and all(part.isdecimal() for part in parts) and 1 <= int(parts[0]) <= int(parts[1]):
        return int(parts[0]), int(parts[1])
    raise UsageError(f"--shard is I/N with 1 <= I <= N, got {text!r}")


def _seeds(text: str) -> tuple[int, ...]:
    try:
        if ":" in text:
            first, end = (int(part) for part in text.split(":"))
            if end - first > MOST_SEEDS:
                raise UsageError(f"--seeds {text} are more than {MOST_SEEDS}; name fewer")
            return tuple(range(first, end))
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds is a list as 0,1,2 or a range as 0:5, got {text!r}") from error


def _table(summaries: Any) -> list[str]:
    """A line for each rule and batch size: means over seeds, with half the range where there are several."""
    import numpy as np

    def spread(values: Any, form: str, factor: float = 1.0) -> str:
        if not len(values):
            return "-"
        half = f" +-{np.ptp(values) * factor / 2:{form}}" if len(values) > 1 else ""
        return f"{np.mean(values) * factor:{form}}{half}"

    rows: list[tuple[str, ...]] = [SHOWN]
    for rule, found in summaries.items():
        for size in found.over_seeds(found.updates):

            def of(values: Any, size: int = size, found: Any = found) -> Any:
                return found.over_seeds(values)[size]

            here = found.batch_size == size
            notes = {"diverged": (found.run_status[here] == 2).sum(), "to do": (found.run_status[here] == 0).sum()}
            noted = "".join(f", {count} {word}" for word, count in notes.items() if count)
            rows.append(
                (
                    rule,
                    str(size),
                    f"{found.learning_rate[here][0]:.4g}",
                    f"{len(of(found.updates))}{noted}",
                    spread(of(found.train_accuracy), ".2f", 100),
                    spread(of(found.test_accuracy), ".2f", 100),
                    spread(of(found.gap), ".2f", 100),
                    spread(of(found.updates), ".0f"),
                    spread(of(found.seconds), ".1f"),
                )
            )
    widths = [max(len(row[i]) for row in rows) for i in range(len(SHOWN))]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
