"""Every measure by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..measures import chosen
from ..objective import Objective
from ..results import Sharpness
from .curvature import (
    eigenvalue,
    filter_eigenvalue,
    filter_trace,
    fisher_rao,
    frobenius,
    hessian_trace,
    relative_flatness,
)
from .evidence import log_evidence, occam
from .keskar import keskar
from .noise import average, pac_bayes
from .search import Progress
from .shared import Shared
from .worst import sam, worst

BY_NAME: dict[str, Callable[..., Sharpness]] = {
    "keskar": keskar,
    "sam": sam,
    "sam-adaptive": partial(sam, adaptive=True),
    "worst": worst,
    "worst-adaptive": partial(worst, adaptive=True),
    "average": average,
    "average-adaptive": partial(average, adaptive=True),
    "pac-bayes": pac_bayes,
    "pac-bayes-adaptive": partial(pac_bayes, adaptive=True),
    "eigenvalue": eigenvalue,
    "trace": hessian_trace,
    "frobenius": frobenius,
    "filter-eigenvalue": filter_eigenvalue,
    "filter-trace": filter_trace,
    "relative-flatness": relative_flatness,
    "fisher-rao": fisher_rao,
    "occam": occam,
    "log-evidence": log_evidence,
}


OF_THE_HESSIAN = (
    "eigenvalue",
    "trace",
    "frobenius",
    "filter-eigenvalue",
    "filter-trace",
    "occam",
    "log-evidence",
)  # measures that share its products


def measure(
    objective: Objective,
    name: str,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    shared: Shared | None = None,
    **asked: Any,
) -> Sharpness:
    """The measure of this name (`landscape.measures.MEASURES`), with the options asked for, None being its default.

    Its result has the settings `settings(objective, name, seed=seed, **asked)`. `shared`, a Shared of this objective,
    has several measures of it make the same products once; the results are those without. Raises UsageError for an
    unknown name or option values of another type or out of range, else what the measure raises.
    """
    options = chosen(name, asked)
    if name in OF_THE_HESSIAN:
        options["shared"] = shared
    return BY_NAME[name](objective, **options, seed=seed, progress=progress)
