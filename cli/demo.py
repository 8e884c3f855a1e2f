"""landscape demo"""

from __future__ import annotations

import sys
import time

import click

from . import options
from .computing import emit, tell


@click.command("demo")
@click.option("--out", metavar="DIR", default="demo-output", show_default=True, help="Folder of what is made.")
@click.option("--overwrite", is_flag=True, help="Train and compute again what the folder holds already.")
@options.as_json
def command(out: str, overwrite: bool, as_json: bool) -> int:
    """The main job on the embedded digits data: three networks trained, measured, compared and drawn.

    Small batch, large batch at equal epochs, large batch at equal updates, from one initial point.

    \b
    Example:
      landscape demo --out demo-output
    """
    import torch

    from landscape.provenance import provenance
    from landscape.studies.demo import run_demo, table

    began = time.perf_counter()
    made = run_demo(out, overwrite=overwrite, say=tell)
    if as_json:
        emit(
            {
                "kind": "demo",
                "status": "complete",
                "label": None,
                "checkpoints": [str(path) for path in made.checkpoints],
                "store": str(made.store),
                "figures": [str(path) for path in made.figures],
                "rows": made.rows,
                "provenance": provenance(
                    command=["landscape", *sys.argv[1:]],
                    settings={},
                    inputs=made.inputs,
                    seconds=time.perf_counter() - began,
                    threads=torch.get_num_threads(),
                ),
            }
        )
        return 0
    for line in table(made.rows):
        click.echo(line)
    tell(f"\nstored in {made.store}; figures beside it, e.g. {made.figures[1]}")
    return 0
