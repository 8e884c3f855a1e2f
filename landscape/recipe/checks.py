"""What a recipe may not be: values out of range, and values that exclude each other."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from .recipe import Recipe

# A phrase of the annotation to what such a field may be, in words and types; the first that fits.
TYPES: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    ("Mapping", "a table of names and values", (Mapping,)),
    ("tuple", "a list of numbers", (tuple,)),
    ("float", "a number", (float, int)),
    ("int | str", "a whole number or full", (int, str)),
    ("int", "a whole number", (int,)),
    ("str", "text", (str,)),
    ("bool", "true or false", (bool,)),
)


def plain(item: dataclasses.Field[Any], value: Any) -> Any:
    """One form of equal values, so that equal recipes have equal JSON: tuples, and whole numbers as int."""
    annotation = str(item.type)
    if "tuple" in annotation and isinstance(value, list):
        value = tuple(value)
    if isinstance(value, tuple):
        return tuple(_whole(number) for number in value)
    return _whole(value) if annotation.startswith("float") else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def refuse_value(item: dataclasses.Field[Any], value: Any) -> None:
    """UsageError where one value has the wrong type, is no choice, or out of its bounds."""
    annotation, choices = str(item.type), item.metadata["choices"]
    if value is None and "None" in annotation:
        return
    words, kinds = next((words, kinds) for phrase, words, kinds in TYPES if phrase in annotation)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise UsageError(f"{item.name} must be {words}, got {value!r}")
    if isinstance(value, Mapping):
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{item.name} must hold text, numbers, lists and tables only: {error}") from error
    if choices and value not in choices:
        raise UsageError(f"unknown {item.name} {value!r}; one of {', '.join(choices)}")
    if isinstance(value, str) and "int" in annotation:
        if value != "full":
            raise UsageError(f"{item.name} must be a whole number or full, got {value!r}")
        return
    for number in value if isinstance(value, tuple) else [value]:
        _refuse_number(item, number)


def _refuse_number(item: dataclasses.Field[Any], number: Any) -> None:
    bounds: Mapping[str, float] = item.metadata["bounds"]
    if isinstance(number, (int, float)) and not abs(number) <= sys.float_info.max:
        raise UsageError(f"{item.name} must be finite, got {str(number)[:20]}")
    if not bounds:
        return
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise UsageError(f"{item.name} must hold numbers, got {number!r}")
    wrong = {
        f"at least {bounds.get('low')}": number < bounds.get("low", -math.inf),
        f"above {bounds.get('above')}": number <= bounds.get("above", -math.inf),
        f"at most {bounds.get('high')}": number > bounds.get("high", math.inf),
        f"below {bounds.get('below')}": number >= bounds.get("below", math.inf),
    }
    for wanted, is_wrong in wrong.items():
        if is_wrong:
            raise UsageError(f"{item.name} must be {wanted}, got {number}")


def refuse_together(recipe: Recipe) -> None:
    """UsageError where values exclude each other, or one needs another."""
    for message, is_wrong in (_budget(recipe) | _rate(recipe) | _batch(recipe) | _update(recipe)).items():
        if is_wrong:
            raise UsageError(message)


def _budget(recipe: Recipe) -> dict[str, bool]:
    """What may be wrong with the end of the run, and whether it is."""
    budgets = [name for name in ("epochs", "updates", "samples") if getattr(recipe, name) is not None]
    ends = budgets or recipe.target_loss is not None or recipe.patience is not None
    return {
        "a run needs a budget: give epochs, updates, samples, a target_loss or patience": not ends,
        f"a run has one budget: give one of {' and '.join(budgets)}": len(budgets) > 1,
        "--schedule cosine needs epochs, updates or samples: its length": recipe.schedule == "cosine" and not budgets,
    }


def _rate(recipe: Recipe) -> dict[str, bool]:
    steps, decays = list(recipe.milestones), list(recipe.decay)
    of_step, exponential = recipe.schedule == "step", recipe.schedule == "exponential"
    unscaled = recipe.scale_lr == "none"
    cyclic = "cyclic" in (recipe.schedule, recipe.batch_schedule)
    based = not unscaled or recipe.regime_adaptation
    return {
        "--schedule step and --milestones need each other": of_step != bool(steps),
        f"milestones must rise, got {steps}": steps != sorted(set(steps)),
        f"{len(steps)} milestones take one decay or {len(steps)}, got {len(decays)}": of_step
        and len(decays) not in (1, len(steps)),
        f"--schedule exponential takes one decay, got {len(decays)}": exponential and len(decays) != 1,
        "a cyclic schedule and --cycle need each other": cyclic != (recipe.cycle is not None),
        "--scale-lr and --regime-adaptation need --base-batch-size": based and recipe.base_batch_size is None,
    }


def _batch(recipe: Recipe) -> dict[str, bool]:
    grow, size, most = recipe.batch_schedule == "grow", recipe.batch_size, recipe.max_batch_size
    beyond = isinstance(size, int) and most is not None and most < size
    return {
        "--batch-schedule grow needs --schedule step, whose steps it takes over": grow and recipe.schedule != "step",
        f"--batch-schedule grow needs decays below 1, got {list(recipe.decay)}": grow
        and max(recipe.decay, default=1) >= 1,
        "max_batch_size needs --batch-schedule grow": most is not None and not grow,
        f"max_batch_size {most} is below batch_size {size}": beyond,
    }


def _update(recipe: Recipe) -> dict[str, bool]:
    momentum = recipe.momentum > 0 and recipe.optimizer == "sgd"
    both = recipe.average != "none" and recipe.patience is not None
    late = recipe.average != "none" and recipe.epochs is not None and recipe.average_from > recipe.epochs
    return {
        "nesterov needs --optimizer sgd and a momentum above 0": recipe.nesterov and not momentum,
        "--average keeps the average and --patience the best weights: give one of them": both,
        f"average_from {recipe.average_from} is after the last epoch, {recipe.epochs}": late,
        "--bf16 needs float32 params: torch's autocast leaves float64 alone": recipe.bf16 and recipe.dtype == "float64",
        "--compile and --ghost-batch do not go together: leave one out": recipe.compile
        and recipe.ghost_batch is not None,
        "--sam and --conservative are two ways to make an update: give one of them": recipe.sam > 0
        and recipe.conservative > 0,
    }
