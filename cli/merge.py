"""landscape merge"""

from __future__ import annotations

import click

from . import options
from .computing import counted, emit, tell


@click.command("merge")
@click.argument("sources", nargs=-1, required=True, metavar="FILE.h5...")
@click.option("--out", required=True, metavar="FILE.h5", help="The joint file; what it holds already takes part.")
@click.option(
    "--prefer",
    type=click.Choice(["first", "last"]),
    help="Which to take of two results with the same settings and other numbers.  [default: refuse]",
)
@click.option("--salvage", is_flag=True, help="Of damaged files, take the results whose own checksums are right.")
@options.as_json
def command(sources: tuple[str, ...], out: str, prefer: str | None, salvage: bool, as_json: bool) -> int:
    """Join result files of several machines or shards into one, with the eigenvectors beside them.

    The same settings twice are one result, under all its labels; what is finished takes the place of a part. Two
    results of the same settings with other numbers are refused, unless --prefer says which to take.

    \b
    Example:
      landscape merge node1.h5 node2.h5 --out all.h5
    """
    from landscape.store import merge

    lost: dict[str, str] = {}
    entries = merge(sources, out, prefer=prefer, lost=lost if salvage else None)
    for place, reason in lost.items():
        tell(f"lost: {place}: {reason}")
    if as_json:
        listed = [{"label": e.label, "name": e.name, "kind": e.result.kind, "digest": e.digest} for e in entries]
        origin = {"files": list(sources), "out": out, "lost": lost}
        emit({"kind": "store", "status": "complete", "label": None, "entries": listed, "provenance": origin})
    else:
        labels = ", ".join(dict.fromkeys(entry.label for entry in entries))
        click.echo(f"{out}: {counted(len(entries), 'result')} of {labels}")
    return 0
