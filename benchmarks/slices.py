"""Planes side by side in one run: every point and adaptive, against a plain loop and loss-landscapes 3.0.6; memory.

Usage: python benchmarks/slices.py [--out DIR] [--device cuda] [--small] [--models mlp cnn]

The data are MNIST where LANDSCAPE_DATA names it, else noise of its shape. loss-landscapes is left out where it is not
installed (benchmarks/peers.sh). The plain loop writes the weights of a point into the network and runs the same
samples in the same chunks without gradients, for loss and accuracy, as everyone writes it; ours has the standard errors
besides. Blocks of rows are taken in turn, so that drift
hits all alike. On a GPU points are evaluated several at once. With --small, a coarse plane of few samples.
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import statistics
import time
from typing import Any

import measure
import numpy as np
import torch
from models import MNIST, random_images
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective, build_model, load_data, plane, random_direction
from landscape.data import Splits, samples_of
from landscape.data.samples import named

SIZE, TOLERANCE, ROUNDS = 51, 0.01, 3
BLOCK = 5  # rows of points that each has in its turn
SAMPLES = {"mlp": 10_000, "cnn": 1000}
COLUMNS = {
    "model": "model",
    "params": "params:,d",
    "samples": "samples:,d",
    "points": "points:,d",
    "evaluated": "evaluated:,d",
    "every": "plain loop / every point:.2f",
    "adaptive": "plain loop / adaptive:.2f",
    "landscapes": "loss-landscapes / every point:.2f",
    "error": "largest error of adaptive, of the range:.2%",
    "log_error": "of the logarithm's:.2%",
    "estimate": "its estimate:.2%",
}


def network(name: str, data: tuple[Tensor, Tensor], updates: int = 400) -> nn.Module:
    """784-256-10 (mlp) or the library's cnn after some hundred steps of SGD, in eval mode."""
    splits = Splits(samples_of(data), None)
    model = build_model(name, {"widths": [256]} if name == "mlp" else {}, splits, 0).to(data[0].device)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        chosen = torch.randint(len(data[0]), (64,), generator=generator).to(data[0].device)
        optimizer.zero_grad()
        functional.cross_entropy(model(data[0][chosen]), data[1][chosen]).backward()
        optimizer.step()
    return model.eval()


class PlainLoop:
    """Loss and accuracy at points of a plane by writing the weights into a copy of the network."""

    def __init__(self, objective: Objective, directions: tuple[Tensor, Tensor]) -> None:
        self.model = copy.deepcopy(objective.model).to(objective.device)
        self.batch = named(objective.samples.blocks[0])
        self.chunk = objective.chunk
        self.start = [p.detach().clone() for p in self.model.parameters()]
        self.directions = [
            [d.to(p) for d, p in zip(objective.layout.split(v), self.start, strict=True)] for v in directions
        ]

    def __call__(self, alpha: float, beta: float) -> float:
        inputs, targets = self.batch["inputs"], self.batch["targets"]
        with torch.no_grad():
            for p, start, first, second in zip(self.model.parameters(), self.start, *self.directions, strict=True):
                p.copy_(start + alpha * first + beta * second)
            total, right = 0.0, 0
            for x, y in zip(inputs.split(self.chunk), targets.split(self.chunk), strict=True):
                outputs = self.model(x)
                total += functional.cross_entropy(outputs, y, reduction="sum").item()
                right += (outputs.argmax(1) == y).sum().item()
        self.accuracy = right / len(inputs)
        return total / len(inputs)


def landscapes_seconds(objective: Objective, steps: int) -> float | None:
    """Seconds a point of loss-landscapes' random plane, all samples at once; None where it is not installed."""
    try:
        from loss_landscapes import random_plane  # pyright: ignore[reportMissingImports]
        from loss_landscapes.metrics import Loss  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    batch = named(objective.samples.blocks[0])
    metric = Loss(functional.cross_entropy, batch["inputs"], batch["targets"])
    model = copy.deepcopy(objective.model)
    with torch.no_grad():
        times = [
            measure.seconds(
                lambda: random_plane(model, metric, steps=steps, normalization="filter", deepcopy_model=True)
            )
            for _ in range(ROUNDS)
        ]
    return statistics.median(times) / steps**2


def compared(name: str, data: tuple[Tensor, Tensor], size: int, device: str) -> dict[str, Any]:
    """One row of the table."""
    objective = Objective(network(name, data), "cross_entropy", data, device=device)
    generator = torch.Generator().manual_seed(0)
    pair = (random_direction(objective, generator), random_direction(objective, generator))
    grid = np.linspace(-1, 1, size)
    loop = PlainLoop(objective, pair)
    plain, ours = np.empty((size, size)), np.empty((size, size))
    seconds = {"plain": 0.0, "ours": 0.0}
    plane(objective, pair, grid[:2], grid[:2])  # warms up
    loop(0.0, 0.0)

    def by_loop(rows: slice) -> None:
        plain[rows] = [[loop(float(alpha), float(beta)) for beta in grid] for alpha in grid[rows]]

    def by_us(rows: slice) -> None:
        ours[rows] = plane(objective, pair, grid[rows], grid).loss

    works = [("plain", by_loop), ("ours", by_us)]
    for turn, start in enumerate(range(0, size, BLOCK)):
        for key, work in works if turn % 2 else reversed(works):
            seconds[key] += measure.seconds(lambda work=work, start=start: work(slice(start, start + BLOCK)))
    np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-6)
    began = time.perf_counter()
    adaptive = plane(objective, pair, grid, grid, adaptive=TOLERANCE)
    measure.synchronise()
    adaptive_seconds = time.perf_counter() - began
    each = landscapes_seconds(objective, 5)
    error = np.abs(adaptive.loss - ours)
    logs = np.abs(np.log(adaptive.loss / ours)).max() / np.ptp(np.log(ours))
    return {
        "model": name,
        "params": objective.layout.size,
        "samples": objective.num_samples,
        "points": size * size,
        "evaluated": int(adaptive.evaluated.sum()),
        "every": seconds["plain"] / seconds["ours"],
        "adaptive": seconds["plain"] / adaptive_seconds,
        "landscapes": None if each is None else each * size * size / seconds["ours"],
        "error": float(error.max() / np.ptp(ours)),
        "log_error": float(logs),
        "estimate": adaptive.interpolation_error,
        "loss": [float(ours.min()), float(ours.max())],
        "seconds": {**seconds, "adaptive": adaptive_seconds, "loss-landscapes, a point": each},
    }


def growth(data: tuple[Tensor, Tensor], device: str) -> list[dict[str, Any]]:
    """The process's largest resident memory after planes of more and more points, in MB."""
    objective = Objective(network("mlp", data, 50), "cross_entropy", data, device=device)
    generator = torch.Generator().manual_seed(0)
    pair = (random_direction(objective, generator), random_direction(objective, generator))
    rows = []
    for size in (5, 11, 31):
        grid = np.linspace(-1, 1, size)
        plane(objective, pair, grid, grid)
        rows.append({"points": size * size, "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=tuple(SAMPLES), default=list(SAMPLES))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--small", action="store_true", help="11 x 11 points of 500 samples")
    parser.add_argument("--out", metavar="DIR", help="also writes DIR/slices.json")
    options = parser.parse_args()
    if os.environ.get("LANDSCAPE_DATA"):
        block = named(load_data("mnist").train.first(max(SAMPLES.values())).blocks[0])
        images, what = (block["inputs"], block["targets"]), "mnist"
    else:
        images, what = random_images(MNIST, max(SAMPLES.values())), "noise of the shape of mnist"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.device}, {what}")
    rows = []
    for name in options.models:
        count = 500 if options.small else SAMPLES[name]
        data = (images[0][:count].to(options.device), images[1][:count].to(options.device))
        rows.append(compared(name, data, 11 if options.small else SIZE, options.device))
        print(measure.table(rows[-1:], COLUMNS), flush=True)
    memory = growth((images[0][:500].to(options.device), images[1][:500].to(options.device)), options.device)
    print(measure.table(memory, {"points": "points:,d", "resident": "largest resident memory, MB:,.0f"}))
    measure.write(options.out, "slices.json", {"data": what, "planes": rows, "memory": memory})


if __name__ == "__main__":
    main()
