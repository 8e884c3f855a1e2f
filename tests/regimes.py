"""Recipes of every regime of training, tiny, for tests and campaigns that stop and go on."""

import torch

from landscape.recipe import Recipe

TINY = {"model_args": {"widths": [12]}, "batch_size": 90, "train_samples": 360}
NORMED = TINY | {"model_args": {"widths": [12], "norm": "batch"}}
REGIMES = {
    "plain": {},
    "dropout": {"model": "c1", "data": "regimes:colours", "model_args": {}, "batch_size": 20, "train_samples": 50},
    "augmented": {"flip": True, "crop": 1, "rotate": 10.0, "shift": 0.1},
    "growing": {"schedule": "step", "milestones": (1.5, 2), "decay": (0.5,), "batch_schedule": "grow",
                "max_batch_size": 200, "batch_size": 40},
    "cyclic": {"schedule": "cyclic", "batch_schedule": "cyclic", "cycle": 0.7, "batch_size": 20},
    "ghosts": NORMED | {"ghost_batch": 25, "scale_lr": "sqrt", "base_batch_size": 45, "regime_adaptation": True,
                        "clip": 0.5, "multiplicative_noise": 0.3, "warmup": 0.4},
    "accumulated": NORMED | {"accumulate": 4, "reduction": "sum", "lr": 1e-3},
    "frozen": NORMED | {"freeze_bn": 1.3},
    "adamw": {"optimizer": "adamw", "schedule": "cosine", "lr": 0.01, "weight_decay": 0.1},
    "sam": NORMED | {"sam": 0.05},
    "conservative": {"optimizer": "adam", "lr": 0.01, "conservative": 0.1},
    "swa": NORMED | {"average": "swa", "average_from": 1},
    "ema": NORMED | {"average": "ema", "average_from": 0.6, "average_decay": 0.9},
    "patience": {"patience": 2, "lr": 0.5},
    "target": {"target_loss": 1.2},
    "noisy labels": {"label_noise": 0.4, "pixels": "shuffled"},
    "same order": {"reshuffle": False},
}  # fmt: skip


def colours():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 3, 32, 32, generator=generator), torch.arange(60) % 10


def recipe_of(name):
    """The recipe of a regime: three epochs unless it says otherwise."""
    return Recipe(**(TINY | {"epochs": 3} | REGIMES[name]))
