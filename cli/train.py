"""landscape train"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

from landscape.errors import NumericalError, UsageError

from . import options, recipes
from .computing import bar, emit, numerical_as_json, stop_requests, tell


@click.command("train")
@recipes.flags()
@options.device
@click.option("--log", type=click.Choice(["epochs", "updates"]), default="epochs", show_default=True, help="Rows kept.")
@recipes.tracked
@click.option("--save-every", type=int, metavar="EPOCHS", help="Keep a checkpoint of the trajectory so often.")
@click.option("--save-log", type=int, metavar="COUNT", help="Keep so many for each factor of ten in updates.")
@click.option("--out", metavar="FILE.safetensors", help="Write the checkpoint here, its log and state beside it.")
@click.option("--resume", is_flag=True, help="Go on from the state beside --out; from the start if there is none.")
@click.option("--overwrite", is_flag=True, help="Replace the checkpoint at --out.")
@options.as_json
def command(as_json: bool, **flags: Any) -> int:
    """Train a network; print its metrics; with --out, write a checkpoint that needs nothing else to be analysed.

    \b
    Example:
      landscape train --data digits --model mlp --batch-size 16 --epochs 60 --out runs/small.safetensors
      landscape train --recipe small.toml --batch-size 1024 --scale-lr sqrt --base-batch-size 64 --ghost-batch 64
    """
    with numerical_as_json("training", as_json):
        return _train(as_json, **flags)


def _train(
    as_json: bool,
    recipe: str | None,
    out: str | None,
    resume: bool,
    overwrite: bool,
    device: str,
    log: str,
    track: tuple[str, ...],
    track_every: int,
    track_samples: int,
    save_every: int | None,
    save_log: int | None,
    **flags: Any,
) -> int:
    if resume and out is None:
        raise UsageError("--resume needs --out, the checkpoint to go on from")
    given = {"--save-every": save_every, "--save-log": save_log}
    recipes.check_tracked(track_every, track_samples)
    for name, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be above 0, got {value}")
    chosen = recipes.recipe_of(recipe, flags)
    from landscape.studies import runs
    from landscape.studies.tracking import tracked

    extras = runs.Extras(
        each_update=log == "updates",
        save_every=save_every,
        save_log=save_log,
        tracking=tracked(track, chosen, track_samples, track_every),
    )
    unit = next((name for name in ("updates", "samples", "epochs") if getattr(chosen, name) is not None), None)
    total = None if unit is None else getattr(chosen, unit)
    with bar("training", total) as update, stop_requests(out is not None) as stop:

        def row(values: dict[str, float]) -> None:
            done = values["epoch" if unit in ("epochs", None) else unit]
            update(done, loss=f"{values['train_loss']:.4f}", accuracy=f"{values['train_accuracy']:.4f}")

        metrics = runs.run(
            chosen,
            out,
            resume=resume,
            overwrite=overwrite,
            device=device,
            row=row,
            stop=stop,
            extras=extras,
            command=("landscape", *sys.argv[1:]),
        )
    _print(metrics, out, as_json)
    if metrics["status"] != "complete":
        tell(f"landscape: the train loss did not come down to {chosen.target_loss:g} within the budget")
        return NumericalError.exit_code
    return 0


def _print(metrics: dict[str, Any], out: str | None, as_json: bool) -> None:
    if as_json:
        emit({"kind": "training", "label": None if out is None else Path(out).stem, **metrics})
        return
    click.echo(
        f"{_shown('train', metrics)}{_shown('test', metrics)}"
        f"{metrics['updates']} updates, {metrics['epochs']:g} epochs, {metrics['seconds']:.1f} s"
    )
    if metrics["kept"] != "last":
        click.echo(f"kept: {metrics['kept']}, epoch {metrics['kept_epoch']:g}")
    if out is not None:
        tell(f"wrote {metrics['checkpoint']}")


def _shown(split: str, metrics: dict[str, Any]) -> str:
    """Loss and accuracy of a split, as far as there are any."""
    loss, accuracy = metrics[f"{split}_loss"], metrics[f"{split}_accuracy"]
    if math.isnan(loss):
        return ""
    return f"{split} loss {loss:.3g}  " + ("" if math.isnan(accuracy) else f"accuracy {accuracy:.2%}  ") + " "
