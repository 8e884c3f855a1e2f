"""landscape rescale"""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import click

from landscape.errors import UsageError

from . import options
from .computing import emit, numerical_as_json, tell


@click.command("rescale")
@click.argument("checkpoint", metavar="CKPT")
@click.option(
    "--alpha",
    "alphas",
    metavar="A[,A2,...]",
    default="5",
    show_default=True,
    help="Factor of all ReLU layers, or one for each that has its own.",
)
@options.what_to_train
@options.device
@options.trust_recipe
@click.option(
    "--out",
    metavar="FILE.safetensors",
    help="Write the copy here.  [default: STEM-rescaled.safetensors beside the checkpoint]",
)
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
@options.as_json
def command(as_json: bool, **flags: Any) -> int:
    """Write a copy of a ReLU network that makes the same function at other params.

    The outputs of each ReLU layer are multiplied by alpha and the next layer's weights divided by it (Dinh et al. 2017,
    section 4), so that loss and accuracy stay while sharpness and the Hessian change. Norm layers' weights are
    multiplied in place of those before them; layers joined by additions share a factor. The outputs are compared in
    float64 on 64 samples before anything is written. Alphas that are powers of two round nothing.

    \b
    Example:
      landscape rescale runs/small.safetensors --alpha 4
    """
    with numerical_as_json("rescale", as_json):
        return _rescale(as_json, **flags)


def _rescale(
    as_json: bool, checkpoint: str, alphas: str, out: str | None, overwrite: bool, device: str, **flags: Any
) -> int:
    given = _numbers(alphas)
    fixed: dict[str, Any] = {"l2": 0.0, "split": "train", "samples": None, "bn": "eval", "bn_batch": None, "seed": 0}
    fixed |= {"dtype": "float32", "chunk": None, "labels": ()}
    asked = options.request(device=device, **flags, **fixed)
    import torch

    from landscape.provenance import provenance
    from landscape.studies.rescaled import rescaled_copy

    began = time.perf_counter()
    copy = rescaled_copy(asked, checkpoint, given[0] if len(given) == 1 else given, out, overwrite=overwrite)
    found, original = copy.rescaling, copy.original
    settings = {"kind": "rescale", "alphas": dict(found.alphas)}
    origin = provenance(
        command=["landscape", *sys.argv[1:]],
        settings=settings,
        inputs={str(original.path): original.sha256},
        seconds=time.perf_counter() - began,
        threads=torch.get_num_threads(),
    )
    if as_json:
        about = {"alphas": dict(found.alphas), "largest_change": found.largest_change, "provenance": origin}
        emit({"kind": "rescale", "status": "complete", "label": copy.path.stem, "checkpoint": str(copy.path), **about})
        return 0
    for name, alpha in found.alphas.items():
        click.echo(f"{name}  alpha {alpha:g}")
    click.echo(f"largest change of an output {found.largest_change:.1e} of the largest")
    tell(f"wrote {copy.path}")
    return 0


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--alpha is a number, or numbers separated by commas, got {text!r}") from error
    if not all(0 < alpha < math.inf for alpha in found):
        raise UsageError(f"--alpha must be finite and above 0, got {text}")
    return found
