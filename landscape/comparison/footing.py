"""What is not on equal footing between minima that are compared: a line of warning for each reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..results.comparison import FIRST, FUNCTION, NOT_COMPARABLE, RAW, SECOND, Comparison

UNCONVERGED = 0.01  # of the loss, that a step along the gradient would take away
SADDLE = 0.1  # of the largest eigenvalue: a smallest one so far below zero is no flat direction that training left
UNEQUAL = 1.2  # times the other: train losses that count as different whatever their intervals
TRAIN_LOSS = "train-loss"  # the measure whose difference the others follow
LOSSES = (TRAIN_LOSS, "test-loss")


@dataclass(frozen=True, kw_only=True)
class Footing:
    """What the measures of one minimum stand on: how it was trained, the network, and whether it is a minimum at all.

    loss: the train loss without the penalty; penalty: what an l2 penalty adds to what is measured. curvature: g'Hg /
    |g|^2 of the gradient g of both, in loss/param^2. largest, smallest: the ends of the Hessian's spectrum. nan: not
    known.
    """

    weight_decay: float | None  # in training; None where no recipe says
    architecture: str  # equal where the networks are
    num_params: int
    loss: float
    gradient_norm: float
    curvature: float
    penalty: float = 0.0
    largest: float = math.nan
    smallest: float = math.nan

    @property
    def decrease(self) -> float:
        """|g|^4 / (2 g'Hg), in loss: what the best step along the gradient takes from the quadratic of the loss.

        So a lower bound of how far the loss lies above that quadratic's minimum; infinite where the loss curves down
        along the gradient.
        """
        if self.gradient_norm == 0:
            return 0.0
        return math.inf if self.curvature <= 0 else self.gradient_norm**2 / (2 * self.curvature)

    @property
    def share(self) -> float:
        """That decrease over the loss with its penalty."""
        loss = abs(self.loss + self.penalty)
        return self.decrease / loss if loss else (math.inf if self.decrease else 0.0)


def unequal_footing(footing: Mapping[str, Sequence[Footing]], found: Comparison) -> list[str]:
    """A line for each reason to read the measures with care; `footing` has one for each checkpoint of a label."""
    lines = [_decays(footing), _networks(footing), *(_unconverged(label, runs) for label, runs in footing.items())]
    lines += [_saddle(label, runs) for label, runs in footing.items()]
    for k, (first, second) in enumerate(found.pairs):
        lines += [_losses(found, k, footing[first], footing[second]), _same_function(found, k)]
    lines.append(_raw(found))
    return [line for line in lines if line]


def _decays(footing: Mapping[str, Sequence[Footing]]) -> str:
    decays = {
        label: sorted({run.weight_decay for run in runs if run.weight_decay is not None})
        for label, runs in footing.items()
    }
    known = {label: values for label, values in decays.items() if values}
    if len({tuple(values) for values in known.values()}) < 2:
        return ""
    shown = ", ".join(f"{label} {' and '.join(f'{value:g}' for value in values)}" for label, values in known.items())
    return (
        f"weight decay (l2) differs in training ({shown}): it fixes the size of the params, which raw measures follow"
    )


def _networks(footing: Mapping[str, Sequence[Footing]]) -> str:
    networks = {label: {run.architecture for run in runs} for label, runs in footing.items()}
    if len(set().union(*networks.values())) < 2:
        return ""
    shown = ", ".join(f"{label} {runs[0].num_params}" for label, runs in footing.items())
    return (
        f"architectures differ (params: {shown}): what needs one space of params is left out, and what grows with the "
        "number or the scale of params does not compare"
    )


def _unconverged(label: str, runs: Sequence[Footing]) -> str:
    lost = sum(not math.isfinite(run.loss) for run in runs)
    if lost:
        return f"{label}: the train loss is not finite" + (f" in {lost} of {len(runs)} runs" if len(runs) > 1 else "")
    away = [run for run in runs if run.share > UNCONVERGED]
    if not away:
        return ""
    worst = max(away, key=lambda run: run.share)
    who = f"{label} is" if len(runs) == 1 else f"{len(away)} of {len(runs)} runs of {label} are"
    norm = f"gradient norm {worst.gradient_norm:.2g}"
    if math.isinf(worst.decrease):
        return f"{who} not at a minimum: {norm}, and the loss curves down along the gradient"
    most = "" if len(runs) == 1 else " at most"
    share = f"{worst.share:.0%}" if worst.share < 1 else "all"  # more than the loss only by the quadratic
    decays = sorted({run.weight_decay for run in away if run.weight_decay and not run.penalty})
    hint = f" (it was trained with weight decay {decays[0]:g}, which --l2 {decays[0]:g} counts)" if decays else ""
    return (
        f"{who} not at a minimum: {norm}, and a step along the gradient would take {share} of the loss away{most}{hint}"
    )


def _saddle(label: str, runs: Sequence[Footing]) -> str:
    bent = [run for run in runs if run.smallest < -SADDLE * abs(run.largest)]
    if not bent:
        return ""
    worst = min(bent, key=lambda run: run.smallest / abs(run.largest))
    who = f"{label} is" if len(runs) == 1 else f"{len(bent)} of {len(runs)} runs of {label} are"
    ends = f"smallest eigenvalue {worst.smallest:.2g}, largest {worst.largest:.2g}"
    return f"{who} no minimum: {ends}"


def _losses(found: Comparison, k: int, first: Sequence[Footing], second: Sequence[Footing]) -> str:
    """Where the difference is resolved; where it is not, or was not asked for, by its size."""
    losses = [float(np.mean([run.loss for run in runs])) for runs in (first, second)]
    low, high = sorted(map(abs, losses))
    resolved = False
    if TRAIN_LOSS in found.measures:
        resolved = found.verdict[found.measures.index(TRAIN_LOSS), k] in (FIRST, SECOND)
    if not resolved and not high > UNEQUAL * low:
        return ""
    shown = ", ".join(f"{label} {loss:.3g}" for label, loss in zip(found.pairs[k], losses, strict=True))
    return f"train losses differ ({shown}): sharpness and curvature follow the train loss"


def _same_function(found: Comparison, k: int) -> str:
    """Where outputs agree to rounding and raw measures do not: the control of Dinh et al. (2017) as it stands here."""
    rows = dict(enumerate(zip(found.measures, found.scaling, strict=True)))
    of_outputs = [m for m, (_, kind) in rows.items() if kind == FUNCTION and found.verdict[m, k] != NOT_COMPARABLE]
    equal = all(abs(found.difference[m, k]) <= found.resolution[m, k] for m in of_outputs)
    if not equal or not any(rows[m][0] in LOSSES for m in of_outputs):
        return ""
    moved = [name for m, (name, kind) in rows.items() if kind == RAW and found.verdict[m, k] in (FIRST, SECOND)]
    if not moved:
        return ""
    first, second = found.pairs[k]
    return (
        f"{first} and {second} agree in every measure of the outputs to rounding, as one function does: what moved, "
        f"{', '.join(moved)}, a rescaling of layers moves"
    )


def _raw(found: Comparison) -> str:
    raw = list(_resolved(found, RAW))
    if not raw:
        return ""
    return (
        f"a rescaling of layers that changes no output gives raw measures any value (Dinh et al. 2017): "
        f"{', '.join(raw)}; hold them against the invariant ones"
    )


def _resolved(found: Comparison, kind: str) -> Iterator[str]:
    for name, scaling, verdicts in zip(found.measures, found.scaling, found.verdict, strict=True):
        if scaling == kind and any(verdict in (FIRST, SECOND) for verdict in verdicts):
            yield name
