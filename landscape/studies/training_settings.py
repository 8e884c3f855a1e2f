"""The settings of the training behind a checkpoint that the noise of its gradient is held against."""

from __future__ import annotations

from typing import Any

from ..recipe import Recipe, Schedule


def training_settings(
    recipe: Recipe | None,
    train_samples: int,
    *,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
) -> dict[str, Any]:
    """Batch size, learning rate before any schedule, momentum and N: what is given, else what the recipe says.

    A recipe of Adam says no rate: the temperature lr N / (B (1 - momentum)) is that of SGD.
    """
    if recipe is not None:
        schedule = Schedule(recipe, train_samples)
        batch_size = schedule.first_batch_size if batch_size is None else batch_size
        if recipe.optimizer == "sgd":
            own = schedule.peak * (schedule.first_batch_size if recipe.reduction == "sum" else 1)
            learning_rate = own if learning_rate is None else learning_rate
            momentum = recipe.momentum if momentum is None else momentum
    return {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "train_samples": train_samples,
    }
