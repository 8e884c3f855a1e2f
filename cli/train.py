"""landscape train"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

from landscape.errors import UsageError
from landscape.specs import parse_arguments

from . import options
from .computing import bar, emit, numerical_as_json, stop_requests, tell


@click.command("train")
@options.what_to_train
@click.option("--batch-size", type=int, default=64, show_default=True, help="Samples an update.")
@click.option("--optimizer", type=click.Choice(["sgd", "adam"]), default="sgd", show_default=True, help="Optimiser.")
@click.option("--lr", type=float, help="Learning rate.  [default: 0.05 for sgd, 0.001 for adam]")
@click.option("--momentum", type=float, default=0.9, show_default=True, help="Momentum of sgd.")
@click.option("--nesterov", is_flag=True, help="Nesterov's momentum.")
@click.option("--weight-decay", type=float, default=0.0, show_default=True, help="L2 penalty inside the optimiser.")
@click.option("--epochs", type=int, help="Passes over the data.  [default: 20]")
@click.option("--updates", type=int, help="Updates of the params, instead of --epochs.")
@options.machine
@click.option("--out", metavar="FILE.safetensors", help="Write the checkpoint here, its log and state beside it.")
@click.option("--resume", is_flag=True, help="Go on from the state beside --out; from the start if there is none.")
@click.option("--overwrite", is_flag=True, help="Replace the checkpoint at --out.")
@options.as_json
def command(as_json: bool, **flags: Any) -> int:
    """Train a network; print its metrics; with --out, write a checkpoint that needs nothing else to be analysed.

    \b
    Example:
      landscape train --data digits --model mlp --batch-size 16 --epochs 60 --out runs/small.safetensors
    """
    with numerical_as_json("training", as_json):
        return _train(as_json, **flags)


def _train(as_json: bool, out: str | None, resume: bool, overwrite: bool, device: str, **flags: Any) -> int:
    from landscape.recipe import Recipe

    if resume and out is None:
        raise UsageError("--resume needs --out, the checkpoint to go on from")
    if flags["epochs"] is None and flags["updates"] is None:
        flags["epochs"] = 20
    if flags["lr"] is None:
        flags["lr"] = 0.001 if flags["optimizer"] == "adam" else 0.05
    flags["model_args"] = parse_arguments(flags["model_args"])
    flags["data_args"] = parse_arguments(flags["data_args"])
    recipe = Recipe(**{name: value for name, value in flags.items() if value is not None})
    from landscape.studies import runs

    total = recipe.updates or recipe.epochs
    unit = "updates" if recipe.updates else "epoch"
    with bar("training", total) as update, stop_requests(out is not None) as stop:

        def epoch(row: dict[str, float]) -> None:
            update(int(row[unit]), loss=f"{row['train_loss']:.4f}", accuracy=f"{row['train_accuracy']:.4f}")

        metrics = runs.run(
            recipe,
            out,
            resume=resume,
            overwrite=overwrite,
            device=device,
            epoch=epoch,
            stop=stop,
            command=("landscape", *sys.argv[1:]),
        )
    if as_json:
        label = None if out is None else Path(out).stem
        emit({"kind": "training", "status": "complete", "label": label, **metrics})
    else:
        click.echo(
            f"{_shown('train', metrics)}{_shown('test', metrics)}"
            f"{metrics['updates']} updates, {metrics['epochs']:g} epochs, {metrics['seconds']:.1f} s"
        )
        if out is not None:
            tell(f"wrote {metrics['checkpoint']}")
    return 0


def _shown(split: str, metrics: dict[str, Any]) -> str:
    """Loss and accuracy of a split, as far as there are any."""
    loss, accuracy = metrics[f"{split}_loss"], metrics[f"{split}_accuracy"]
    if math.isnan(loss):
        return ""
    return f"{split} loss {loss:.3g}  " + ("" if math.isnan(accuracy) else f"accuracy {accuracy:.2%}  ") + " "
