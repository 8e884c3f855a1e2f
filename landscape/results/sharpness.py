"""Sharpness measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..measures import MEASURES
from .base import Array, Result, Status, mapping, quantity

OF_THE_MEASURE = ("value", "stderr", "std", "values")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sharpness(Result):
    """One sharpness measure at one point. The train loss stands beside it, since sharpness follows it."""

    kind: ClassVar[str] = "sharpness"
    measure: str = quantity("the definition")
    space: str = quantity("the space that is searched: full or random")
    value: float = quantity("the measure; a mean where it was repeated")
    stderr: float | None = quantity("standard error of the value over repeats", optional=True)
    epsilon: float | None = quantity("half-width of the box, relative to |x| + 1", optional=True)
    loss: float = quantity("the objective at the centre", unit="loss")
    max_loss: float | None = quantity("the largest objective found", unit="loss", optional=True)
    iterations: int | None = quantity("iterations done, in all repeats", optional=True)
    num_evaluations: int | None = quantity("evaluations of the objective, mostly with its gradient", optional=True)
    on_boundary: float | None = quantity("share of the coordinates that end on a face of the box", optional=True)
    displaced_start: bool | None = quantity(
        "whether the search started off centre, the gradient there being zero", optional=True
    )
    num_params: int = quantity("number of params", unit="params")
    num_samples: int = quantity("samples in the objective", unit="samples")
    rho: float | None = quantity("radius: of the ball, or standard deviation or half-width of the noise", optional=True)
    norm: str | None = quantity("the norm of the ball: 2 or inf", optional=True)
    law: str | None = quantity("law of the subspaces' matrix: normal, orthonormal or uniform", optional=True)
    dimension: int | None = quantity("dimension of the subspaces", optional=True)
    repeats: int | None = quantity("subspaces, pairs of draws or batches that the value is a mean over", optional=True)
    values: Array | None = quantity("the value of each repeat", dims=("repeat",), optional=True)
    std: float | None = quantity("standard deviation over repeats", optional=True)
    m: int | None = quantity("samples that share a perturbation", unit="samples", optional=True)
    gap: float | None = quantity("largest rise to first order that is left, relative to the rise found", optional=True)
    layer: str | None = quantity("the layer that is measured", optional=True)
    num_matvecs: int | None = quantity("matrix-vector products spent", unit="products", optional=True)
    parts: Mapping[str, Any] | None = mapping("numbers that the value is made of", optional=True)
    self_check: Mapping[str, Any] | None = mapping(
        "what the self-check of the product found", of_run=True, optional=True
    )
    hvp: Mapping[str, Any] | None = mapping("how products were made", of_run=True, optional=True)

    def unit(self, name: str) -> str:
        own = super().unit(name)
        return MEASURES[self.measure].unit if name in OF_THE_MEASURE and self.measure in MEASURES else own

    def problems(self) -> list[str]:
        complete = self.status in (Status.COMPLETE, Status.CONVERGED)
        highest = self.loss if self.max_loss is None else self.max_loss
        if complete and not np.isfinite([self.value, self.loss, highest]).all():
            return [f"it counts as {self.status}, but holds numbers that are not finite"]
        return ["the largest loss lies below that at the centre"] if highest < self.loss else []


def definition(options: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes a measure another one than of the same name: where it was sought, norm, batches, objective.

    In words; what is usual is left out. Two results with different words do not belong on one axis.
    """
    random = options.get("space") == "random"
    loss, l2, block = (settings.get(name) for name in ("loss", "l2", "block"))
    words = {
        f"{options.get('law')} subspaces of {options.get('dimension')}": random,
        "norm inf": options.get("norm") == "inf",
        f"batches of {options.get('m')}": options.get("m"),
        f"{loss}".replace("_", " "): loss not in (None, "cross_entropy"),
        f"penalty l2 = {l2:g}" if l2 else "": l2,
        f"{len(block)} tensors of params" if block else "": block,
    }
    return tuple(word for word, given in words.items() if given)


def options_of(found: Sharpness) -> dict[str, Any]:
    """The options that a result holds, as a series has them."""
    return {name: getattr(found, name) for name in ("space", "law", "dimension", "norm", "m", "epsilon", "rho")}
