"""landscape show"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from . import options
from .computing import counted, emit

if TYPE_CHECKING:
    from landscape.results import Result
    from landscape.store import Entry

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt")
BRIEF = 90  # characters of a setting at most
MADE = ("command", "versions", "threads", "seconds", "created")  # of the provenance, for reading


@click.command("show")
@click.argument("file", metavar="FILE.h5|CKPT")
@click.option("--label", help="Only the results of this label.")
@click.option("--kind", help="Only the results of this kind.")
@click.option("--settings", is_flag=True, help="Show by which settings, command and versions each was made.")
@click.option("--fields", is_flag=True, help="Show the fields of each result: axes, sizes, types and units.")
@options.as_json
def command(file: str, label: str | None, kind: str | None, settings: bool, fields: bool, as_json: bool) -> int:
    """List what a result file holds, as a tree: label, kind, status, what was found, and its size.

    Of a checkpoint: its recipe as TOML, from which `landscape train --recipe` trains it again.

    \b
    Example:
      landscape show demo-output/demo.h5 --kind eigenpairs --settings
      landscape show runs/small.safetensors > small.toml
    """
    from landscape.store import Store

    options.check_kind(kind)
    if file.endswith(CHECKPOINTS):
        return _checkpoint(file, as_json)

    store = Store(file)
    about, entries = store.about(), store.find(kind=kind, label=label)
    if as_json:
        origin = {"file": file, **about}
        listed = [_described(entry) for entry in entries]
        emit({"kind": "store", "status": "complete", "label": None, "entries": listed, "provenance": origin})
        return 0
    click.echo(
        f"{file}   schema {about['schema_version']}, created {about['created']}, {_bytes(about['bytes'])}, "
        + counted(len(entries), "result")
        + (" that fit" if label or kind else "")
    )
    for line in _tree(entries, settings=settings, fields=fields):
        click.echo(line)
    return 0


def _checkpoint(file: str, as_json: bool) -> int:
    """Prints the recipe of a checkpoint, its metrics as comments."""
    import dataclasses

    from landscape.checkpoint import load_checkpoint
    from landscape.recipe import to_toml

    found = load_checkpoint(file)
    metrics = dict(found.metadata or {})
    shapes = {name: list(tensor.shape) for name, tensor in found.tensors.items()}
    if as_json:
        recipe = None if found.recipe is None else dataclasses.asdict(found.recipe)
        made = {"recipe": recipe, "metrics": metrics, "tensors": shapes, "sha256": found.sha256}
        status = metrics.get("status", "complete")
        emit({"kind": "checkpoint", "status": status, "label": None, **made, "provenance": {"file": file}})
        return 0
    held = sum(tensor.numel() for tensor in found.tensors.values())
    click.echo(f"# {file}: {counted(len(shapes), 'tensor')}, {held:,} numbers, sha256 {found.sha256[:16]}...")
    for name, value in metrics.items():
        click.echo(f"# {name.replace('_', ' ')}: {f'{value:.6g}' if isinstance(value, float) else value}")
    click.echo("# no recipe: not trained by this tool" if found.recipe is None else to_toml(found.recipe).rstrip())
    return 0


def _tree(entries: Sequence[Entry], *, settings: bool, fields: bool) -> Iterator[str]:
    seen: dict[tuple[str, str], Entry] = {}
    label = None
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        if entry.label != label:
            label = entry.label
            yield label
        first = seen.setdefault((entry.digest, entry.result.kind), entry)
        same = "" if first is entry else f", the same as /{first.label}/{first.name}"
        status = str(entry.result.status) + (f", {entry.result.missing} missing" if entry.result.missing else "")
        yield f"  {entry.name:<{width}}  [{status}]  {_summary(entry.result)}  ({_bytes(entry.size)}{same})"
        if settings:
            yield from (f"    {name}: {_brief(value)}" for name, value in entry.result.settings.items())
            yield from (f"    {name}: {_brief(entry.provenance[name])}" for name in MADE if name in entry.provenance)
        if fields:
            yield from (f"    {line}" for line in _fields(entry.result))


def _fields(result: Result) -> Iterator[str]:
    import numpy as np

    from landscape.results import stored_fields

    for field in stored_fields(type(result)):
        value = getattr(result, field.name)
        if isinstance(value, np.ndarray):
            axes = ", ".join(f"{axis}: {size}" for axis, size in zip(field.metadata["dims"], value.shape, strict=True))
            yield f"{field.name} ({axes})  {value.dtype}  {result.unit(field.name)}  {_bytes(value.nbytes)}"
        elif isinstance(value, (bool, int, float)):
            unit = "" if result.unit(field.name) == "1" else f" {result.unit(field.name)}"
            yield f"{field.name} = {value:.6g}{unit}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.encode("utf-8", "backslashreplace").decode()  # not every text that JSON holds can be printed
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 3]}..."


def _bytes(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "label": entry.label,
        "name": entry.name,
        "kind": entry.result.kind,
        "status": entry.result.status,
        "missing": entry.result.missing,
        "digest": entry.digest,
        "bytes": entry.size,
        "settings": entry.result.settings,
        "summary": _summary(entry.result),
        "provenance": entry.provenance,
        "manifest": entry.manifest,
    }


def _of_sharpness(result: Any) -> str:
    from landscape.results.sharpness import definition, options_of

    given = (("epsilon", result.epsilon), ("rho", result.rho))
    words = [f"{name} {value:g}" for name, value in given if value is not None]
    words += definition(options_of(result), result.settings)
    error = "" if not result.stderr else f" +- {result.stderr:.1g}"
    what = ", ".join((result.measure, *words))
    return f"{what}: {result.value:.4g}{error} at loss {result.loss:.4g}"


def _summary(result: Any) -> str:
    """What was found, in a few words."""
    from landscape import results

    match result:
        case results.Training():
            return f"{int(result.updates[-1])} updates, train loss {result.train_loss[-1]:.4g}"
        case results.Updates():
            return f"{len(result.update)} updates, loss of the last batch {result.loss[-1]:.4g}"
        case results.Tracked():
            return f"{result.measure}: {len(result.epoch)} points, last {result.columns[0]} {result.values[-1, 0]:.4g}"
        case results.Sweep():
            return f"{result.rule}: {len(result.batch_size)} runs at equal {result.budget}"
        case results.Eigenpairs() if not result.eigenvalues.size:
            return "no eigenvalues"
        case results.Eigenpairs():
            return f"{len(result.eigenvalues)} eigenvalues, {result.which}: top {result.eigenvalues[0]:.4g}"
        case results.Eigenvectors():
            return "{} params, {} vectors".format(*result.vectors.shape)
        case results.Trace():
            return f"{result.operator}: {result.value:.4g} +- {result.stderr:.1g}"
        case results.Density():
            return "{}: {} probes of {} nodes".format(result.operator, *result.nodes.shape)
        case results.Line():
            barrier = "" if result.barrier is None else f", barrier {result.barrier:.4g}"
            return f"{len(result.alpha)} points{barrier}"
        case results.LayerLines():
            return f"{len(result.layers)} layers of {len(result.alpha)} points"
        case results.Path():
            barrier = "" if result.barrier is None else f", barrier {result.barrier:.4g}"
            return f"{result.curve}: {len(result.t)} points, {result.epochs} epochs{barrier}"
        case results.Plane():
            return f"{len(result.alpha)} x {len(result.beta)} points, {int(result.evaluated.sum())} evaluated"
        case results.Sharpness():
            return _of_sharpness(result)
        case results.SharpnessSeries():
            return f"{result.measure} against {result.against}: {len(result.names)} checkpoints"
        case results.GradientNoise():
            scale = "not resolved" if result.b_simple is None else f"{result.b_simple:.4g}"
            high = "" if result.b_simple_high is None else f"{result.b_simple_high:.4g}"
            return f"b_simple {scale} ({result.b_simple_low:.4g} ... {high}) by {result.route}"
        case results.BatchErrors():
            return f"{len(result.batch_size)} batch sizes, {result.draws} draws"
        case results.TradeOff():
            critical = "not resolved" if result.b_crit is None else f"{result.b_crit:.4g}"
            return f"{len(result.batch_size)} batch sizes to loss {result.target:.4g}: b_crit {critical}"
        case results.BatchSizes():
            return f"{len(result.batch_size)} batch sizes, knee {result.knee}, fastest {result.fastest}"
        case results.Comparison():
            higher = int((result.verdict > 1).sum())
            labels = ", ".join(result.labels)
            return f"{len(result.measures)} measures of {labels}: {higher} of {result.verdict.size} verdicts resolved"
        case results.Correlation():
            known = [(name, tau) for name, tau in zip(result.measures, result.tau[:, 0], strict=True) if tau == tau]
            gaps = ", ".join(f"{name} {tau:.2f}" for name, tau in known[:3])
            return f"{len(result.names)} checkpoints{', tau with the gap: ' if gaps else ''}{gaps}"
    return ""
