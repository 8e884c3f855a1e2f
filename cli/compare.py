"""landscape compare"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from landscape.comparing.table import PAIRS, POINTS, PRESETS, named, preset
from landscape.errors import UsageError

from . import options
from .computing import bar, checked_store, emit, numerical_as_json, obtain, verdict

if TYPE_CHECKING:
    from landscape.results import Comparison
    from landscape.studies.keeping import Attempt

REPEATS = 5  # disjoint subsets: of 5,000 samples 1,000 each, and a t quantile of 2.8
# of the result, printed as they are beside the measures
ABOUT = (
    *("labels", "num_subsets", "num_samples", "num_all_samples", "num_test_samples", "num_all_test_samples"),
    *("level", "method", "groups", "matched", "differing"),
)
FORMATS = ("text", "markdown", "latex")


@click.command("compare")
@click.argument("checkpoints", nargs=-1, metavar="[CKPT]...")
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="LABEL=GLOB",
    help="Runs of one recipe from several training seeds, instead of single checkpoints; once a group.",
)
@click.option("--preset", type=click.Choice(PRESETS), help="What is measured.  [default: standard]")
@click.option("--measures", metavar="LIST", help="What is measured, by name and comma; --list shows the names.")
@click.option("--list", "as_list", is_flag=True, help="The measures: formulas, costs, presets.")
@click.option(
    "--repeats", type=int, help=f"Disjoint subsets of the samples for intervals; 0: none.  [default: {REPEATS}]"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="The sheet: for the terminal, Markdown, or LaTeX (booktabs).",
)
@options.what_to_measure("float32", None)
@options.resume
@options.storing
def command(as_json: bool, as_list: bool, **flags: Any) -> int:
    """Compare minima: measures side by side on the same samples, with intervals and a verdict each.

    Of two or more checkpoints the sheet speaks of these alone; of groups of training seeds, of their recipes. Losses
    and accuracies are of both splits, all else is of the training samples.

    \b
    Example:
      landscape compare runs/small.safetensors runs/large.safetensors --out r.h5
      landscape compare --group small='runs/sb-*' --group large='runs/lb-*' --preset quick
    """
    if as_list:
        return _list(as_json)
    with numerical_as_json("comparison", as_json):
        return _compare(as_json, **flags)


def _compare(
    as_json: bool,
    checkpoints: tuple[str, ...],
    groups: tuple[str, ...],
    preset: str | None,
    measures: str | None,
    repeats: int | None,
    form: str,
    resume: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    """Refuses what the text alone tells, then compares."""
    points, pairs = _chosen(preset, measures)
    if groups and checkpoints:
        raise UsageError("give checkpoints, or groups of them by --group, not both")
    if groups and repeats:
        raise UsageError("the intervals of groups are over their seeds; leave out --repeats")
    if groups and flags["labels"]:
        raise UsageError("groups have their labels in --group LABEL=GLOB; leave out --label")
    if flags["split"] == "test":
        raise UsageError("compare measures at the training samples, and losses on both splits; leave out --split test")
    count = len(groups) or len(checkpoints)
    if count < 2:
        raise UsageError(f"a comparison takes two checkpoints or two groups at least, got {count}")
    if repeats is not None and (repeats == 1 or repeats < 0):
        raise UsageError(f"--repeats must be 0 (no intervals over samples), or 2 at least, got {repeats}")
    named_groups = _groups(groups)
    store = checked_store(out, resume=resume)
    asked = options.request(**flags)
    from landscape.results import Comparison
    from landscape.studies.cells import Cells, Plan
    from landscape.studies.compare import compare, minima_of, refuse, settings
    from landscape.studies.groups import subjects

    found = subjects(asked, checkpoints, named_groups)
    repeated = 0 if groups else REPEATS if repeats is None else repeats
    plan = Plan(measures=points, pairs=pairs, repeats=repeated, seed=asked.seed)
    refuse(found, plan)
    label = "--".join(subject.label for subject in found)

    def compute(attempt: Attempt) -> Comparison:
        with bar("compare", Cells(plan, found).total) as update:

            def progress(done: int, what: str) -> None:
                update(done, now=what)

            return compare(found, plan, grouped=bool(groups), attempt=attempt, progress=progress)

    identity = settings(found, plan, grouped=bool(groups))
    minima = minima_of(found)
    result, origin = obtain(store, label, identity, compute, minima=minima, overwrite=overwrite, resume=resume)
    assert isinstance(result, Comparison)
    return _present(result, label, origin, form, as_json=as_json)


def _chosen(preset_name: str | None, measures: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if measures is None:
        return preset(preset_name or "standard")
    if preset_name is not None:
        raise UsageError("--preset and --measures both say what is measured; give one")
    return named(measures.split(","))


def _groups(groups: tuple[str, ...]) -> dict[str, str]:
    """LABEL=GLOB, each, by label."""
    found: dict[str, str] = {}
    for text in groups:
        label, equals, pattern = text.partition("=")
        if not (equals and pattern):
            raise UsageError(f"--group is LABEL=GLOB, got {text!r}")
        if label in found:
            raise UsageError(f"two groups are called {label}; put the paths of a group into one pattern")
        options.check_label(label, "--group")
        found[label] = pattern
    return found


def _present(result: Comparison, label: str, origin: dict[str, Any], form: str, *, as_json: bool) -> int:
    from landscape import sheet

    if as_json:
        about = {name: getattr(result, name) for name in ABOUT}
        shown = {"kind": result.kind, "status": result.status, "label": label, **about}
        emit({**shown, **sheet.as_json(result), "provenance": origin})
    else:
        forms = {"text": sheet.as_text, "markdown": sheet.as_markdown, "latex": sheet.as_latex}
        click.echo(forms[form](result), nl=False)
    return verdict(result, label, origin)


def _list(as_json: bool) -> int:
    """The measures at a minimum and of a pair."""
    every = [("minimum", one, one.kind) for one in POINTS.values()] + [("pair", one, "") for one in PAIRS.values()]
    if as_json:
        names = ("name", "formula", "source", "unit", "cost", "preset", "needs")
        rows = [{"of": of, "kind": kind, **{name: getattr(one, name) for name in names}} for of, one, kind in every]
        emit({"measures": rows})
        return 0
    for of in ("minimum", "pair"):
        click.echo(f"of a {of}" if of == "pair" else "of a minimum")
        for where, one, kind in every:
            if where == of:
                click.echo(f"  {one.name}  {one.formula}")
                about = [kind, f"in {one.unit}" if one.unit != "1" else "", f"preset {one.preset}", one.source]
                about.append(f"costs, in gradient passes: {one.cost}")
                click.echo("      " + "; ".join(text for text in about if text))
    return 0
