"""What is not on equal footing between minima that are compared: a line of warning for each reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..results.comparison import FIRST, SECOND, Comparison

UNCONVERGED = 0.01  # of the loss, that one step along the gradient would take away
TRAIN_LOSS = "train-loss"  # the measure whose difference the others follow


@dataclass(frozen=True, kw_only=True)
class Footing:
    """What the measures of one label stand on: the penalty, the network, and whether it is a minimum at all."""

    l2: float
    architecture: str  # equal where the networks are
    loss: float
    gradient_norm: float  # of the objective on all samples
    eigenvalue: float  # the largest of its Hessian; nan where it was not measured

    @property
    def decrease(self) -> float:
        """|g|^2 / (2 l_max), in loss: what a step of 1 / l_max along the gradient takes from a quadratic at least.

        It is a lower bound of how far the loss lies above the minimum of its quadratic.
        """
        return self.gradient_norm**2 / (2 * self.eigenvalue) if self.eigenvalue > 0 else math.nan


def unequal_footing(footing: Mapping[str, Footing], found: Comparison, moved: Mapping[str, float]) -> list[str]:
    """A line for each reason to read the measures with care: penalties, networks, minima, train losses, rescaling."""
    lines = []
    penalties = {label: one.l2 for label, one in footing.items()}
    if len(set(penalties.values())) > 1:
        given = ", ".join(f"{label} {l2:g}" for label, l2 in penalties.items())
        lines.append(f"the penalty l2 differs ({given}): the objectives are not the same function of the params")
    if len({one.architecture for one in footing.values()}) > 1:
        lines.append("the networks differ: what grows with the number or the scale of params does not compare")
    for label, one in footing.items():
        if one.decrease > UNCONVERGED * abs(one.loss):
            share = one.decrease / abs(one.loss) if one.loss else math.inf
            lines.append(
                f"{label} is not at a minimum: one step along the gradient would take {share:.2g} of its loss away"
            )
    if TRAIN_LOSS in found.measures:
        row = found.measures.index(TRAIN_LOSS)
        for k, (i, j) in enumerate(zip(found.first, found.second, strict=True)):
            if found.verdict[row, k] in (FIRST, SECOND):
                losses = ", ".join(f"{found.labels[at]} {found.value[row, at]:.3g}" for at in (i, j))
                lines.append(f"the train losses differ ({losses}): curvature follows the loss, whatever the minimum")
    shown = [f"{name} x {factor:.3g}" for name, factor in moved.items() if name in found.measures]
    if shown:
        lines.append(f"rescaling, which leaves the function as it is, moves {', '.join(shown)}: theirs is no property")
        lines[-1] += " of the function alone"
    return lines
