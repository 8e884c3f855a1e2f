"""landscape export"""

from __future__ import annotations

import click

from . import options
from .computing import counted, emit, tell


@click.command("export")
@click.argument("file", metavar="FILE.h5")
@click.option(
    "--format",
    "forms",
    type=click.Choice(["csv", "json", "npz", "surface"]),
    multiple=True,
    default=("csv",),
    show_default=True,
    help="Repeatable.",
)
@click.option("--out", metavar="DIR", help="Folder of the files.  [default: FILE-export beside the file]")
@click.option("--label", help="Only the results of this label.")
@click.option("--kind", help="Only the results of this kind.")
@options.as_json
def command(
    file: str, forms: tuple[str, ...], out: str | None, label: str | None, kind: str | None, as_json: bool
) -> int:
    """Write results as CSV tables, JSON, npz or surface files, for other programs.

    csv: FILE.csv has a row for each result; FILE-LABEL-KIND-AXES.csv a row for each point of its arrays. surface:
    FILE-LABEL-KIND.surface.h5 for each line and plane, which the plot_1D.py, plot_2D.py and h52vtp.py of loss-landscape
    (Li et al. 2018) read.

    \b
    Example:
      landscape export r.h5 --format csv --format npz --out tables
    """
    from pathlib import Path

    from landscape.errors import InputError
    from landscape.store import Store, export

    options.check_kind(kind)
    entries = Store(file).find(kind=kind, label=label)
    if not entries:
        raise InputError(f"{file} holds no results{' that fit' if label or kind else ''} to export")
    if "surface" in forms:
        from landscape.store.surface import chosen

        _, others = chosen(entries)
        if others:
            names = ", ".join(f"{entry.label}/{entry.name}" for entry in others)
            tell(f"no surface files of {counted(len(others), 'result')}, neither line nor plane: {names}")
    stem = Path(file).stem
    folder = Path(out) if out is not None else Path(file).with_name(f"{stem}-export")
    written = [path for form in dict.fromkeys(forms) for path in export(entries, form, folder, stem)]
    if as_json:
        paths = [str(path) for path in written]
        emit({"kind": "files", "status": "complete", "label": None, "files": paths, "provenance": {"file": file}})
    else:
        for path in written:
            click.echo(path)
    return 0
