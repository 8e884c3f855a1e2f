"""The recipe: everything that fixes a training run, JSON-able, kept inside the checkpoint it makes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError, UsageError

OPTIMIZERS = ("sgd", "adam")

# What the fields of a recipe may be in JSON; a checkpoint of other hands may hold anything.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("data", "model", "loss", "optimizer", "dtype"), (str,)),
    **dict.fromkeys(("data_args", "model_args"), (dict,)),
    **dict.fromkeys(("lr", "momentum", "weight_decay"), (int, float)),
    **dict.fromkeys(("batch_size", "epochs", "updates", "seed"), (int,)),
    "nesterov": (bool,),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Data, model, loss, optimiser, budget and seed. Exactly one of `epochs` and `updates` is the budget.

    `seed` fixes the initial point and the order of the samples; runs of one seed and model share their initial
    point whatever their batch size. Raises UsageError for values out of range.
    """

    data: str = "digits"
    data_args: Mapping[str, Any] = field(default_factory=dict)
    model: str = "mlp"
    model_args: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    batch_size: int = 64
    epochs: int | None = None
    updates: int | None = None
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(f"unknown optimizer {self.optimizer!r}; one of {', '.join(OPTIMIZERS)}")
        if (self.epochs is None) == (self.updates is None):
            raise UsageError("a run needs a budget: give either epochs or updates")
        for name, low in {
            "lr": 0,
            "batch_size": 1,
            "epochs": 1,
            "updates": 1,
            "weight_decay": 0,
            "momentum": 0,
        }.items():
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise UsageError(f"{name} must be at least {low}, got {value}")
        if not self.momentum < 1:
            raise UsageError(f"momentum must be below 1, got {self.momentum}")
        if self.nesterov and (self.momentum == 0 or self.optimizer != "sgd"):
            raise UsageError("nesterov needs --optimizer sgd and a momentum above 0")

    def to_json(self) -> str:
        """The recipe as JSON, for a checkpoint's metadata."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str) -> Recipe:
        """The recipe of `to_json`; InputError, naming `where`, if it is not one."""
        try:
            values = json.loads(text)
            for name, kinds in _TYPES.items():
                if not isinstance(values.get(name, None), (*kinds, type(None))):
                    raise TypeError(f"{name} is {values[name]!r}")
            return cls(**{name: value for name, value in values.items() if value is not None})
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"the recipe in {where} cannot be read: {error}; train it again") from error

    def differences(self, other: Recipe) -> list[str]:
        """Names of the fields that differ, the budget aside: a run may go on for longer."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [name for name in mine if mine[name] != theirs[name] and name not in ("epochs", "updates")]
