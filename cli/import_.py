"""landscape import"""

from __future__ import annotations

import click

from . import options
from .computing import checked_store, emit, tell


@click.command("import")
@click.argument("surface", metavar="SURFACE.h5")
@click.option("--out", required=True, metavar="FILE.h5", help="Store the line or plane here; a second run finds it.")
@click.option("--label", help="Name in results and legends.  [default: the file's name]")
@click.option("--trajectory", metavar="PROJ.h5", help="A trajectory projected onto the plane, by projection.py.")
@options.as_json
def command(surface: str, out: str, label: str | None, trajectory: str | None, as_json: bool) -> int:
    """Take up a surface file of loss-landscape (Li et al. 2018) as a line or a plane.

    Points that it has not computed yet are missing; those that are nan or infinite are marked. `landscape export
    --format surface` writes such files.

    \b
    Example:
      landscape import resnet56_51x51.h5 --out r.h5 --label resnet56
    """
    import sys
    import time
    from pathlib import Path

    from landscape.provenance import provenance
    from landscape.store.surface import imported

    began = time.perf_counter()
    store = checked_store(out)
    assert store is not None
    result = imported(surface, trajectory)
    name = label if label is not None else Path(surface).stem
    held = store.same(result.settings)
    found = next((entry for entry in held if entry.label == name), None)
    if found is None and held:
        store.share(name, held[0])
        tell(f"{name}: the same as {held[0].label} in {out}, not imported again")
    elif found is not None:
        tell(f"{name}: found in {out}, not imported again")
    else:
        inputs = {surface: str(result.settings["imported"])}
        if trajectory is not None:
            inputs[trajectory] = str(result.settings["trajectory"])
        seconds, call = time.perf_counter() - began, ["landscape", *sys.argv[1:]]
        origin = provenance(command=call, settings=result.settings, inputs=inputs, seconds=seconds, threads=None)
        store.add(name, result, origin)
    entry = store.same(result.settings, name)[0]
    if as_json:
        about = {"label": name, "name": entry.name, "kind": result.kind, "digest": entry.digest}
        about |= {"status": result.status, "missing": result.missing}
        origin = {"file": surface, "out": out, "found": bool(held), **entry.provenance}
        emit({"kind": "store", "status": "complete", "label": name, "entries": [about], "provenance": origin})
    else:
        shape = " x ".join(str(size) for size in result.loss.shape)
        lacking = f", {result.missing} not computed yet" if result.missing else ""
        click.echo(f"{out}: {name}, {result.kind} of {shape} points [{result.status}{lacking}]")
    return 0
