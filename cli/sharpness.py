"""landscape sharpness"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from landscape.errors import InputError, NumericalError, ResourceError, UsageError
from landscape.measures import CHOICES, MEASURES, chosen, refuse_idle

from . import options, series
from .computing import bar, checked_store, numerical_as_json, obtain, on_test
from .measures import Entry, listing, present_all

if TYPE_CHECKING:
    from landscape.store import Store
    from landscape.studies.measured import Minimum

AXES = ("batch-size", "epoch", "warm-epochs")
OF_THE_PENALTY = ("occam", "log-evidence")  # they need it, and are no functions of the network alone
OPTIONS = ("epsilon", "space", "law", "dimension", "iterations", "converge", "rho", "norm", "m", "repeats")

of_measures = options.stack(
    click.option("--epsilon", type=float, help="keskar: half-width of the box / (|x| + 1).  [default: 0.001]"),
    click.option("--space", type=click.Choice(CHOICES["space"]), help="keskar: space searched.  [default: full]"),
    click.option("--law", type=click.Choice(CHOICES["law"]), help="Law of random subspaces.  [default: normal]"),
    click.option("--dimension", type=int, help="Dimension of random subspaces.  [default: 100]"),
    click.option("--iterations", type=int, help="Of the search.  [default: keskar 10, worst 20; 1000 to converge]"),
    click.option("--converge", is_flag=True, default=None, help="keskar, worst: search until nothing is gained."),
    click.option("--rho", type=float, help="Radius of the ball, size of the noise.  [default: see --list]"),
    click.option(
        "--norm", type=click.Choice(CHOICES["norm"]), help="Norm of the ball, law of the noise.  [default: 2]"
    ),
    click.option("--m", type=int, help="sam, worst: samples that share a perturbation.  [default: all]"),
    click.option("--repeats", type=int, help="Subspaces, or draws of noise.  [default: keskar 5, noise 30]"),
)


@click.command("sharpness")
@click.argument("checkpoints", nargs=-1, metavar="[CKPT|DIR]...")
@click.option(
    "--measure",
    "measures",
    type=click.Choice(list(MEASURES)),
    multiple=True,
    metavar="NAME",
    help="Definition; repeatable.  [default: keskar]",
)
@click.option("--list", "as_list", is_flag=True, help="The measures: formulas, costs, what each is blind to.")
@click.option("--control", is_flag=True, help="Measure function-preserving rescaled copies too; say what moved.")
@click.option(
    "--against",
    type=click.Choice(AXES),
    help="A series: over a sweep's folder; along the points that a run kept; over runs begun by --init.",
)
@of_measures
@click.option("--normalize-logits", is_flag=True, help="Divide each sample's logits by their standard deviation.")
@options.what_to_measure("float64", "train")
@options.storing
def command(checkpoints: tuple[str, ...], as_json: bool, as_list: bool, **flags: Any) -> int:
    """Sharpness of minima, by each definition in use; --list shows them, and what each is blind to.

    All are printed beside the train loss, which they follow. Raw ones take any value by a rescaling of the layers
    that changes no output: --control shows which.

    \b
    Example:
      landscape sharpness runs/small.safetensors --epsilon 5e-4
      landscape sharpness runs/small.safetensors --measure worst --measure worst-adaptive --rho 0.1 --control
      landscape sharpness runs/*.safetensors --space random --law normal --out r.h5
      landscape sharpness runs/sweep --against batch-size --out r.h5
    """
    if as_list:
        return listing(as_json)
    with numerical_as_json("sharpness", as_json):
        return _sharpness(checkpoints, as_json, **flags)


def _sharpness(
    checkpoints: tuple[str, ...],
    as_json: bool,
    measures: tuple[str, ...],
    control: bool,
    against: str | None,
    normalize_logits: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    measures = tuple(dict.fromkeys(measures)) or ("keskar",)
    asked_of = _options({name: flags.pop(name) for name in OPTIONS}, measures)
    if set(OF_THE_PENALTY) & set(measures) and not flags["l2"] > 0:
        raise UsageError("occam and log-evidence need the l2 penalty as their prior; give --l2, e.g. the run's own")
    if against is not None and control:
        raise UsageError("--control is for single minima, not for --against")
    if against is not None and flags["split"] == "both":
        raise UsageError("--against measures one split at each checkpoint; give --split train, or --split test")
    if control and flags["l2"] > 0 and not set(measures) <= set(OF_THE_PENALTY):
        raise UsageError(
            f"--control compares networks of the same outputs, which an l2 penalty tells apart; leave out --l2, or ask "
            f"for {' and '.join(OF_THE_PENALTY)} alone"
        )
    store = checked_store(out)
    asked = options.request(**flags, normalize_logits=normalize_logits)
    if against is not None:
        return series.over(against, checkpoints, measures, asked_of, asked, store, overwrite=overwrite, as_json=as_json)
    from landscape.studies.control import copies
    from landscape.studies.measured import measured

    found: list[Entry] = []
    given = {**asked_of, "seed": asked.seed}
    minima = measured(asked, checkpoints)
    alone = len(minima) * len(measures) == 1 and not control
    # All at once, so that a network that cannot be rescaled is told before anything is measured.
    rescaled = [copies(minimum) if control else [] for minimum in minima]

    def at(where: Minimum) -> list[Entry]:
        return _all_measured(store, where, measures, given, overwrite=overwrite, alone=alone)

    for minimum, others in zip(minima, rescaled, strict=True):
        also = on_test(minimum)
        entries = at(minimum)
        beside = [(alpha, at(copy)) for alpha, copy in others]
        for index, entry in enumerate(entries):
            found.append(entry.with_test(also).with_copies([(alpha, of[index]) for alpha, of in beside]))
    return present_all(found, as_json)


def _options(asked: Mapping[str, Any], measures: tuple[str, ...]) -> dict[str, Any]:
    """The options asked for; UsageError where one is out of range, or of no measure asked for."""
    refuse_idle(measures, asked)
    for name in measures:
        chosen(name, asked)
    return {name: value for name, value in asked.items() if value is not None}


def _all_measured(
    store: Store | None,
    minimum: Minimum,
    names: Sequence[str],
    given: Mapping[str, Any],
    *,
    overwrite: bool,
    alone: bool,
) -> list[Entry]:
    """Each measure at one minimum, found or computed; what they have in common is computed once.

    Where it is not alone, the failure of one is its entry, and the others are measured and printed.
    """
    from landscape.results import Result
    from landscape.sharpness import Shared, measure, settings

    shared = Shared(minimum.objective) if len(names) > 1 else None

    def one(name: str) -> Entry:
        def compute(*_: object) -> Result:
            with bar(f"{name} of {minimum.label}", None) as update:
                return measure(minimum.objective, name, **given, progress=update, shared=shared)

        identity = settings(minimum.objective, name, **given)
        try:
            result, origin = obtain(store, minimum.label, identity, compute, minima=[minimum], overwrite=overwrite)
        except (InputError, NumericalError, ResourceError) as error:
            if alone:
                raise
            return Entry(name, minimum.label, error=error)
        return Entry(name, minimum.label, result=result, provenance=origin)

    return [one(name) for name in names]
