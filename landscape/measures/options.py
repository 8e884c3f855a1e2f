"""The options of measures: what was asked for, checked, beside the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from ..errors import UsageError
from .table import MEASURES

MOST_ITERATIONS = 1000  # of a search that is to converge
# Options that mean something in a random subspace only.
OF_SUBSPACES = ("law", "dimension", "repeats")


def chosen(name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a measure: what was asked for, None being nothing, else its defaults.

    What does not matter (the law of subspaces in the full space) is left out, so that it identifies no result. A search
    that is to converge has 1,000 iterations for it.
    UsageError for an unknown measure, and for values of another type or out of range.
    """
    if name not in MEASURES:
        raise UsageError(f"unknown measure {name!r}; there are: {', '.join(MEASURES)}")
    options = {**MEASURES[name].options, **{k: v for k, v in asked.items() if v is not None}}
    options = {key: options[key] for key in MEASURES[name].options}
    if options.get("converge") and asked.get("iterations") is None:
        options["iterations"] = MOST_ITERATIONS
    _check_choices(options)
    if isinstance(options.get("rho"), Mapping):
        options["rho"] = options["rho"][options["norm"]]
    options = {key: _checked(key, value) for key, value in options.items()}
    if options.get("space") == "full":
        options = {key: value for key, value in options.items() if key not in OF_SUBSPACES}
    return options


def checked_seed(seed: Any) -> int:
    """The seed; UsageError where it is none."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise UsageError(f"--seed must be a whole number in 0 ... 2^63 - 1, got {seed!r}")
    return int(seed)


CHOICES = {"space": ("full", "random"), "law": ("normal", "orthonormal", "uniform"), "norm": ("2", "inf")}
LEAST = {"iterations": 1, "dimension": 1, "repeats": 2, "m": 1}
TYPICAL = {"epsilon": "0.001", "rho": "0.05", "iterations": "20", "dimension": "100", "repeats": "5", "m": "128"}


def _check_choices(options: Mapping[str, Any]) -> None:
    """Before all else: what the other options are by default may go by these."""
    for key, allowed in CHOICES.items():
        if key in options and not (isinstance(options[key], str) and options[key] in allowed):
            raise UsageError(f"--{key} must be one of {', '.join(allowed)}, got {options[key]!r}")


def _checked(key: str, value: Any) -> Any:
    """An option as a plain number of its type, so that equal ones identify one result."""
    if key == "converge" and not isinstance(value, bool):
        raise UsageError(f"--converge is given or not, True or False, got {value!r}")
    real = isinstance(value, Real) and not isinstance(value, bool)
    if key in ("epsilon", "rho"):
        if not real or not 0 < float(value) < math.inf:
            raise UsageError(f"--{key} must be a positive and finite number, got {value!r}; try {TYPICAL[key]}")
        return float(value)
    if key in LEAST and value is not None:
        if not real or not isinstance(value, Integral) or int(value) < LEAST[key]:
            raise UsageError(
                f"--{key} must be a whole number and at least {LEAST[key]}, got {value!r}; try {TYPICAL[key]}"
            )
        return int(value)
    return value


def refuse_idle(names: tuple[str, ...], asked: Mapping[str, Any]) -> None:
    """UsageError for an option that none of these measures takes, or takes in a random subspace only."""
    for option, value in asked.items():
        takers = [m.name for m in MEASURES.values() if option in m.options]
        mine = set(takers) & set(names)
        if value is not None and not mine:
            raise UsageError(f"--{option} is for {', '.join(takers)}; not for {', '.join(names)}")
        if value is not None and option in OF_SUBSPACES and mine == {"keskar"} and asked.get("space") != "random":
            raise UsageError(f"--{option} is for random subspaces; add --space random, or leave it out")


def unresolved(name: str) -> str:
    """Why a measure of this name has no value where its status is `not resolved`, and what to try."""
    if name.startswith("average"):
        return "the rise is within the rounding of the loss; take a larger --rho, or --dtype float64"
    if name.startswith("pac-bayes"):
        return (
            "no noise costs .1 of accuracy, so that the network is hardly better than chance on these samples; "
            "train longer, or take a measure of the loss, e.g. average"
        )
    return "see its row in docs/measures.md"
