"""landscape figure"""

from __future__ import annotations

import click

from . import options
from .computing import emit

KINDS = (
    "training",
    "updates",
    "tracked",
    "sweep",
    "eigenpairs",
    "trace",
    "density",
    "sharpness",
    "sharpness-series",
    "line",
    "layer-lines",
    "plane",
    "path",
    "noise",
    "batch-errors",
    "trade-off",
    "batch-size",
    "comparison",
    "correlation",
)


@click.command("figure")
@click.argument("file", metavar="FILE.h5")
@click.option("--out", metavar="DIR", help="Folder of the figures.  [default: beside the file]")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only this kind; repeatable.")
@options.as_json
def command(file: str, out: str | None, kinds: tuple[str, ...], as_json: bool) -> int:
    """Draw what a result file holds, as PDF and PNG, computing nothing; minima of one kind share a scale.

    \b
    Example:
      landscape figure demo-output/demo.h5 --out figures
    """
    from pathlib import Path

    from landscape.studies.figures import draw_store

    written = draw_store(file, out or Path(file).parent, kinds=kinds)
    if as_json:
        paths = [str(path) for path in written]
        emit(
            {
                "kind": "figures",
                "status": "complete",
                "label": None,
                "files": paths,
                "provenance": {"file": file},
            }
        )
    else:
        for path in written:
            click.echo(path)
    return 0
