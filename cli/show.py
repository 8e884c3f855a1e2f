"""landscape show"""

from __future__ import annotations

from typing import Any

import click

from . import options
from .computing import emit


@click.command("show")
@click.argument("file", metavar="FILE.h5")
@click.option("--label", help="Only the results of this label.")
@click.option("--kind", help="Only the results of this kind.")
@options.as_json
def command(file: str, label: str | None, kind: str | None, as_json: bool) -> int:
    """List what a result file holds: label, kind, status, what was found, and by which settings.

    \b
    Example:
      landscape show demo-output/demo.h5
    """
    from landscape.store import Store

    entries = Store(file).find(kind=kind, label=label)
    if as_json:
        emit(
            {
                "kind": "store",
                "status": "complete",
                "label": None,
                "entries": [_described(e) for e in entries],
                "provenance": {"file": file},
            }
        )
        return 0
    for entry in entries:
        click.echo(f"/{entry.label}/{entry.name}  [{entry.result.status}]  {_summary(entry.result)}")
    if not entries:
        click.echo("nothing stored" + (" that fits" if label or kind else ""))
    return 0


def _described(entry: Any) -> dict[str, Any]:
    return {
        "label": entry.label,
        "name": entry.name,
        "kind": entry.result.kind,
        "status": entry.result.status,
        "digest": entry.digest,
        "settings": entry.result.settings,
        "summary": _summary(entry.result),
        "provenance": entry.provenance,
    }


def _summary(result: Any) -> str:
    """What was found, in a few words."""
    from landscape.results import Density, Eigenpairs, Eigenvectors, Line, Plane, Sharpness, Trace, Training

    match result:
        case Training():
            return f"{int(result.updates[-1])} updates, train loss {result.train_loss[-1]:.4g}"
        case Eigenpairs():
            return f"{len(result.eigenvalues)} eigenvalues, {result.which}: top {result.eigenvalues[0]:.4g}"
        case Eigenvectors():
            return "{} params, {} vectors".format(*result.vectors.shape)
        case Trace():
            return f"{result.operator}: {result.value:.4g} +- {result.stderr:.1g}"
        case Density():
            return "{}: {} probes of {} nodes".format(result.operator, *result.nodes.shape)
        case Line():
            barrier = "" if result.barrier is None else f", barrier {result.barrier:.4g}"
            return f"{len(result.alpha)} points{barrier}"
        case Plane():
            return f"{len(result.alpha)} x {len(result.beta)} points, {int(result.evaluated.sum())} evaluated"
        case Sharpness():
            return f"{result.measure}, epsilon {result.epsilon:g}: {result.value:.4g} at loss {result.loss:.4g}"
    return ""
