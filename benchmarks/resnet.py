"""ResNet-20 on CIFAR-10: speed against a plain DataLoader loop, and the three arms of the demo as checkpoints.

Usage: python benchmarks/resnet.py OUT_DIR [--small]

Prints tables and writes OUT_DIR/results.json and OUT_DIR/resnet20-{small,large,large-updates}.safetensors with their
logs. The data are those that LANDSCAPE_DATA names, else noise of their shape (said in the results). Ends within nine
minutes: the number of epochs follows from the speed that was measured. With --small, a narrow network and few samples,
for a machine without a GPU.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import measure
import torch
import training
from torch import Tensor

from landscape import Recipe
from landscape.studies import runs

SECONDS = 480.0  # of which the arms take what the tables leave
SMALL_BATCH, LARGE_BATCH = 128, 4096
MOST_EPOCHS = 30
OPTIONS: dict[str, dict[str, Any]] = {
    "ours": {},
    "channels last": {"channels_last": True},
    "bf16": {"bf16": True, "channels_last": True},
    "compiled": {"compile": True, "bf16": True, "channels_last": True},
}


def noise() -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels of CIFAR-10's shape, where there is no CIFAR-10."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> tuple[Tensor, Tensor]:
        return torch.randn(count, 3, 32, 32, generator=generator), torch.arange(count) % 10

    return {"train": split(50_000), "test": split(10_000)}


def base(small: bool) -> Recipe:
    """The recipe that all share: SGD with momentum .9 and weight decay 1e-4 (He et al. 2016), flips and crops."""
    data = "cifar10" if os.environ.get("LANDSCAPE_DATA") else f"{Path(__file__).resolve()}:noise"
    return Recipe(
        data=data,
        model="resnet20",
        model_args={"width": 4} if small else {},
        train_samples=1000 if small else None,
        batch_size=32 if small else SMALL_BATCH,
        lr=0.1,
        weight_decay=1e-4,
        flip=True,
        crop=4,
        epochs=1,
    )


def speed(recipe: Recipe, device: str, sizes: tuple[int, ...], most: float) -> list[dict[str, Any]]:
    """Samples per second of each way, over those of the loop, at each batch size."""
    rows = []
    began = time.perf_counter()
    count = recipe.train_samples or 50_000
    for size in sizes:
        plain = replace(recipe, batch_size=size, flip=False, crop=0)
        training.plain_loop(plain, device)
        loop = training.plain_loop(plain, device)
        rows.append({"batch": size, "way": "DataLoader loop", "rate": count / loop, "ratio": 1.0})
        for name, options in OPTIONS.items():
            if time.perf_counter() - began > most or (options.get("compile") and device == "cpu"):
                continue
            chosen = replace(plain, **options)
            training.ours(chosen, device)
            taken = training.ours(chosen, device)
            rows.append({"batch": size, "way": name, "rate": count / taken, "ratio": loop / taken})
        augmented = replace(recipe, batch_size=size)
        rows.append({"batch": size, "way": "ours, flips and crops", "rate": count / training.ours(augmented, device)})
    return rows


def arms(recipe: Recipe, large: int, epochs: int) -> dict[str, Recipe]:
    """Small batch; large batch for as many epochs; large batch for as many updates. The rate falls at 1/2 and 3/4."""
    base_size = int(recipe.batch_size)
    samples = recipe.train_samples or 50_000
    steps = {"schedule": "step", "milestones": (epochs / 2, epochs * 3 / 4), "epochs": epochs}
    scaled = {"batch_size": large, "base_batch_size": base_size, "scale_lr": "sqrt", "warmup": epochs / 10}
    updates = epochs * -(-samples // base_size)
    return {
        "small": replace(recipe, **steps),
        "large": replace(recipe, **(steps | scaled)),
        "large-updates": replace(
            recipe, **(steps | scaled | {"epochs": None, "updates": updates, "regime_adaptation": True})
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = base(options.small)
    if not options.small and device == "cpu":
        parser.error("no GPU here: --small")
    large = 250 if options.small else LARGE_BATCH
    results: dict[str, Any] = {"device": device, "data": recipe.data.rpartition(":")[2], "small": options.small}
    results["speed"] = speed(recipe, device, (int(recipe.batch_size), large), SECONDS / 3)
    columns = {"batch": "batch", "way": "way", "rate": "samples/s:.0f", "ratio": "over the loop:.2f"}
    print(measure.table(results["speed"], columns), flush=True)
    measure.write(options.out, "results.json", results)
    rates = {row["batch"]: row["rate"] for row in results["speed"] if row["way"] == "ours, flips and crops"}
    # two arms of E epochs, and one of E epochs times the ratio of the batch sizes; a third goes to measuring the splits
    each = (recipe.train_samples or 50_000) * 1.4
    passes = each / rates[recipe.batch_size] + each * (1 + large / int(recipe.batch_size)) / rates[large]
    epochs = int(min(MOST_EPOCHS, max(1, (SECONDS - time.perf_counter() + began) / passes)))
    results["arms"] = []
    target, splits = Path(options.out), training.data_of(recipe.data)
    for name, arm in arms(recipe, large, 2 if options.small else epochs).items():
        metrics = runs.run(arm, target / f"resnet20-{name}.safetensors", overwrite=True, device=device, splits=splits)
        results["arms"].append({"arm": name, **{k: v for k, v in metrics.items() if k != "provenance"}})
        measure.write(options.out, "results.json", results)
    shown = {"arm": "arm", "batch_size": "batch", "updates": "updates", "train_loss": "train loss:.4g"}
    shown |= {"train_accuracy": "train accuracy:.4f", "test_accuracy": "test accuracy:.4f", "seconds": "seconds:.1f"}
    print(measure.table(results["arms"], shown))


if __name__ == "__main__":
    main()
