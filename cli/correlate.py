"""landscape correlate"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from landscape.comparing.table import PRESETS
from landscape.errors import UsageError

from . import options
from .computing import bar, checked_store, counted, numerical_as_json, obtain, present

if TYPE_CHECKING:
    from landscape.results import Correlation

TARGETS = ("gap", "test-accuracy")
PSI = "granulated"  # among reasons
CAVEAT = (
    "tau > 0 with the gap: larger measure, larger gap. Over these runs: it says nothing of causes.",
    "Most measures follow the train loss: where runs ended at different losses, tau may be of the loss alone.",
)


@click.command("correlate")
@click.argument("checkpoints", nargs=-1, required=True, metavar="CKPT|PATTERN...")
@click.option("--measures", metavar="LIST", help="Measures by name, as trace,sam,distance.  [default: the preset's]")
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default="standard",
    show_default=True,
    help="quick: no products of the Hessian; standard: its trace, largest eigenvalue and noise; full: all.",
)
@options.what_to_measure("float64", "both")
@options.resume
@options.storing
def command(checkpoints: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Measures against generalisation over many checkpoints, as those of a sweep.

    Kendall's tau of each measure with the gap (train less test accuracy) and with the test accuracy; its interval is
    over hyper-parameters, runs that differ in their seed alone count once. Psi is Jiang's granulated coefficient: tau
    where one hyper-parameter of the recipes alone varies, averaged. Measures are of the train samples (--samples N of
    them), accuracies of all.

    \b
    Example:
      landscape correlate 'runs/sweep/*.safetensors' --out r.h5
      landscape correlate runs/*.safetensors --measures trace,sam-adaptive,train-loss --samples 2000
    """
    with numerical_as_json("correlation", as_json):
        return _correlate(checkpoints, as_json, **flags)


def _correlate(
    checkpoints: tuple[str, ...],
    as_json: bool,
    measures: str | None,
    preset: str,
    resume: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    if flags["split"] != "both":
        raise UsageError(f"measures on the train split are held against the test split; got --split {flags['split']}")
    if len(flags["labels"]) > 1:
        raise UsageError(f"a study has one --label, got {len(flags['labels'])}")
    store = checked_store(out, resume=resume)
    asked = options.request(**flags)
    from landscape.studies.correlate import LABEL, correlate, measures_of
    from landscape.studies.correlated import files_of, refuse_few, runs_of

    refuse_few(checkpoints)
    names = measures_of(None if measures is None else measures.split(","), preset)
    runs = runs_of(files_of(checkpoints), asked)
    label = asked.labels[0] if asked.labels else LABEL
    keep = partial(obtain, store, overwrite=overwrite, resume=resume)
    with bar("checkpoints", sum(not run.diverged for run in runs)) as update:
        result, provenance = correlate(runs, asked, keep, names, label=label, progress=update)
    also: dict[str, Any] = {"rows": _rows(result)} if as_json else {}
    return present(result, label, provenance, _text(result), as_json, also, why="too few settings, see above")


# -- what is printed


def _rows(found: Correlation) -> list[dict[str, Any]]:
    """One object for each measure."""
    rows = []
    for m, name in enumerate(found.measures):
        row: dict[str, Any] = {"measure": name, "unit": found.units[m], "scaling": found.scaling[m]}
        row |= {"num_runs": found.num_runs[m], "num_settings": found.num_settings[m]}
        for t, target in enumerate(TARGETS):
            numbers = {key: getattr(found, key)[m, t] for key in ("tau", "low", "high")}
            numbers["granulated"] = None if found.granulated is None else found.granulated[m, t]
            numbers["psi"] = {} if found.psi is None else dict(zip(found.hyperparameters, found.psi[m, t], strict=True))
            row[target.replace("-", "_")] = numbers
        rows.append(row | {"reasons": found.reasons.get(name, {})})
    return rows


def _text(found: Correlation) -> list[str]:
    """The table, why numbers are missing, and what it does not say."""
    psi = ["" if found.granulated is None else "Psi"] * 2
    rows: list[tuple[str, ...]] = [("measure", "tau with gap", psi[0], "tau with test accuracy", psi[1], "runs")]
    for m, name in enumerate(found.measures):
        cells = [cell for t in range(2) for cell in (_tau(found, m, t), _number(found.granulated, m, t))]
        rows.append((name, *cells, str(found.num_runs[m])))
    return [*_aligned(rows), "", *_missing(found), *_about(found)]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    kept = [i for i in range(len(rows[0])) if any(row[i] for row in rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(row[i].ljust(widths[i]) for i in kept).rstrip() for row in rows]


def _tau(found: Correlation, measure: int, target: int) -> str:
    tau, low, high = (getattr(found, name)[measure, target] for name in ("tau", "low", "high"))
    if tau != tau:
        return "-"
    return f"{tau: .2f}" + (f" [{low: .2f}, {high: .2f}]" if low == low else "")


def _number(values: Any, measure: int, target: int) -> str:
    if values is None:
        return ""
    value = values[measure, target]
    return f"{value: .2f}" if value == value else "-"


def _missing(found: Correlation) -> list[str]:
    """Why there is no tau, no interval or no Psi, each reason once with the measures that it holds for."""
    of: dict[str, list[str]] = {}
    for name in found.measures:
        said = [f"no Psi: {why}" if what == PSI else why for what, why in found.reasons.get(name, {}).items()]
        for reason in dict.fromkeys(said):
            of.setdefault(reason, []).append(name)
    lines = [f"{'all' if len(names) == len(found.measures) else ', '.join(names)}: {why}" for why, names in of.items()]
    for what, notes in found.notes.items():
        by_note = Counter(notes.values())
        lines += [f"{what}, {counted(count, 'checkpoint')}: {note}" for note, count in by_note.items()]
    return lines + ([f"no Psi: {found.reasons[PSI]}"] if PSI in found.reasons else [])


def _about(found: Correlation) -> list[str]:
    several = f"{counted(found.settings_measured, 'setting')} of {counted(found.num_measured, 'checkpoint')}"
    without = f", {found.diverged} more diverged" if found.diverged else ""
    about = f"{100 * found.level:g} % intervals over the settings, {several}{without}"
    lines = [f"{about}; measures on {found.num_samples} samples"]
    if found.psi is not None:
        # an axis has a coefficient where two runs differ in it alone
        axes = [name for k, name in enumerate(found.hyperparameters) if (found.psi[..., k] == found.psi[..., k]).any()]
        lines.append(f"Psi: mean of tau over {', '.join(axes)}, one of them varied at a time")
    return [*lines, *CAVEAT]
