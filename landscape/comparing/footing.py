"""Whether minima stand on one footing: what a reader must know before the numbers are held against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from ..errors import InputError, NumericalError
from ..passes import stderr
from ..slices.barriers import Z95
from .pairs import refuse_other_samples, same_params
from .points import Point
from .table import POINTS

SADDLE = 0.1  # of the largest eigenvalue: a smallest one so far below zero is no flat direction that training left


def footing(
    points: Mapping[str, Point], names: Sequence[str], weight_decays: Mapping[str, float | None] | None = None
) -> tuple[str, ...]:
    """What tells the minima apart beside what is compared, a line each, none where nothing does.

    - train losses that differ by more than the 95 % interval of their difference over the shared samples: sharpness
      follows the loss;
    - other coefficients of the l2 penalty in training (`weight_decays` by label, None where no recipe says): they fix
      the size of the params;
    - other architectures;
    - a minimum that is none yet: the mean gradient is more than chance makes of so many samples, that is, the whole
      95 % interval of tr(Sigma) / |G|^2 lies below their number N (McCandlish et al. 2018: less than N samples would
      show the way down), or, where `names` have it, its smallest eigenvalue lies below -.1 of the largest;
    - raw measures among `names`: they take any value by a rescaling of layers (Dinh et al. 2017).

    Costs a forward pass and about 3 gradient passes each, where the points have not made them. Raises InputError for
    points over other samples.
    """
    for one, other in combinations(points.values(), 2):
        refuse_other_samples(one, other)
    lines = [_losses(points), _decays(weight_decays or {}), _architectures(points)]
    lines += [_unconverged(label, point) for label, point in points.items()]
    if "eigenvalue-min" in names:
        lines += [_saddle(label, point) for label, point in points.items()]
    lines.append(_raw(names))
    return tuple(line for line in lines if line)


def loss_difference(one: Point, other: Point) -> tuple[float, float]:
    """L - L' on the training samples, without penalties, and its standard error, the samples being shared."""
    mine, theirs = one.evaluation("train"), other.evaluation("train")
    assert mine is not None
    assert theirs is not None
    first, second = one.measured().influence, other.measured().influence
    if first.shape == second.shape:
        return mine.loss - theirs.loss, float(stderr(first - second))
    # memory has cut the chunks of one, and with them the groups of a user's loss
    return mine.loss - theirs.loss, math.hypot(mine.loss_stderr, theirs.loss_stderr)


def _losses(points: Mapping[str, Point]) -> str | None:
    differences = [loss_difference(one, other) for one, other in combinations(points.values(), 2)]
    beyond = [found for found in differences if abs(found[0]) > Z95 * found[1]]
    if not beyond:
        return None
    evaluations = {label: point.evaluation("train") for label, point in points.items()}
    shown = ", ".join(f"{label} {found.loss:.3g}" for label, found in evaluations.items() if found is not None)
    return f"train losses differ beyond their errors ({shown}): sharpness follows the train loss"


def _decays(decays: Mapping[str, float | None]) -> str | None:
    known = {label: value for label, value in decays.items() if value is not None}
    if len(set(known.values())) < 2:
        return None
    shown = ", ".join(f"{label} {value:g}" for label, value in known.items())
    return f"weight decay differs in training ({shown}): it fixes the size of the params, which raw measures follow"


def _architectures(points: Mapping[str, Point]) -> str | None:
    first, *others = points.values()
    if all(same_params(first.objective, other.objective) for other in others):
        return None
    shown = ", ".join(f"{label} {point.objective.layout.size}" for label, point in points.items())
    return f"architectures differ (params: {shown}): what needs one space of params is left out"


def _unconverged(label: str, point: Point) -> str | None:
    try:
        found = point.noise()
    except (InputError, NumericalError):  # told where the measures are
        return None
    if found.b_simple is None or found.b_simple_high is None or found.b_simple_high >= found.num_samples:
        return None
    times = math.sqrt(found.num_samples / found.b_simple)
    return (
        f"{label} has not converged: its gradient, {math.sqrt(found.mean_gradient_norm_squared):.2g}, is {times:.1f} "
        f"times the error that {found.num_samples} samples leave in it"
    )


def _saddle(label: str, point: Point) -> str | None:
    try:
        values = point.ends().eigenvalues
    except (InputError, NumericalError):
        return None
    if values[-1] >= -SADDLE * abs(values[0]):
        return None
    return f"{label} is no minimum: its smallest eigenvalue is {values[-1]:.2g}, the largest {values[0]:.2g}"


def _raw(names: Sequence[str]) -> str | None:
    raw = [name for name in names if name in POINTS and POINTS[name].kind == "raw"]
    if not raw:
        return None
    return f"a rescaling that changes no output gives raw measures any value (Dinh et al. 2017): {', '.join(raw)}"
