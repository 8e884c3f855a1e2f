"""Is the batch size that `landscape batch-size` calls the fastest the fastest? Runs to a target loss say so.

Usage: python benchmarks/batch_size.py [--data SPEC --model SPEC --target LOSS --sizes 1,4,16 --momentum M ...]

Each batch size trains to the target train loss at each of a few learning rates and seeds; what it takes is that of its
best rate, the median over seeds: updates, the clock of the updates alone, and samples over the throughput that was
measured apart, which a busy machine disturbs less. The prediction knows that throughput and a noise scale only: of the
initial point, and along a run at the base batch size to the target. A rate that takes twice as many updates as the
best of its size is given up. Printed: a row a size, times over the shortest, and the fastest size of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Sequence

import torch

from landscape import Objective, Recipe, load_data
from landscape.batch_sizes import predicted
from landscape.studies.batch_sizes import Plan, batch_sizes, measured_scale, update_of
from landscape.studies.measured import Request, set_up
from landscape.studies.throughput import Trainer
from landscape.training import evaluate

GIVE_UP = 2.0  # times the updates of the best rate so far


@dataclasses.dataclass(frozen=True)
class Reached:
    """A run that came down to the target: its updates, and their seconds."""

    updates: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Goal:
    """A train loss, and the share of a run's updates between two looks at it."""

    loss: float
    share: float


def to_target(objective: Objective, recipe: Recipe, size: int, rate: float, goal: Goal, most: int) -> Reached | None:
    """Updates of one size and rate until the train loss is at the goal; None where it is not within `most`."""
    trainer = Trainer(objective, objective.samples, recipe)
    made, seconds = 0, 0.0
    while made < most:
        more = max(1, int(made * goal.share))
        with trainer.training():
            began = time.perf_counter()
            trainer.updates(size, more, rate)
            seconds += time.perf_counter() - began
        made += more
        loss, _ = evaluate(trainer.model, objective.loss, objective.samples, objective.chunk)
        if not math.isfinite(loss):
            return None
        if loss <= goal.loss:
            return Reached(made, seconds)
    return None


def best_of(
    minima: Sequence[Objective], recipe: Recipe, size: int, rates: Sequence[float], goal: Goal, most: int
) -> tuple[float, float, float] | None:
    """Rate, updates and seconds of the best rate of a size, medians over the seeds; None where none gets there."""
    best: tuple[float, float, float] | None = None
    for rate in rates:
        bound = most if best is None else int(GIVE_UP * best[1]) + 1
        runs = []
        for seed, objective in enumerate(minima):
            found = to_target(objective, dataclasses.replace(recipe, seed=seed), size, rate, goal, bound)
            if found is None:
                break
            runs.append(found)
        if len(runs) < len(minima):
            continue
        updates, seconds = (statistics.median(getattr(r, name) for r in runs) for name in ("updates", "seconds"))
        if best is None or updates < best[1]:
            best = (rate, updates, seconds)
    return best


def main() -> None:
    """Runs the study and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--target", type=float, default=0.1)
    parser.add_argument("--share", type=float, default=0.05, help="of the updates between two looks at the loss")
    parser.add_argument("--sizes", default="2,4,8,16,32,64,128,256,512,1024")
    parser.add_argument("--base", type=int, default=64)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--rates", default="0.0125,0.025,0.05,0.1,0.2,0.4,0.8,1.6")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=20_000, help="samples a run may see, in units of the base size")
    asked = parser.parse_args()
    sizes = [int(text) for text in asked.sizes.split(",")]
    rates = [float(text) for text in asked.rates.split(",")]
    splits = load_data(asked.data)
    samples = splits.train.first(asked.train_samples)
    recipe = update_of(None, len(samples), momentum=asked.momentum, batch_size=asked.base)
    minima = []
    for seed in range(asked.seeds):
        setup = set_up(Request(model=asked.model, data=asked.data, seed=seed), [])
        minima.append(setup.minima(asked.train_samples)[0].objective)
    most, goal = asked.most * asked.base, Goal(asked.target, asked.share)
    measured = {}
    for size in sizes:
        measured[size] = best_of(minima, recipe, size, rates, goal, most // size)
        print(f"B = {size}: rate, updates, seconds {measured[size]}", file=sys.stderr, flush=True)
    reached = {size: found for size, found in measured.items() if found is not None}
    if asked.base not in reached:
        raise SystemExit(f"no run at the base size {asked.base} came down to {asked.target}; raise --target or --most")
    plan = Plan(noise="init", seconds=1.0)
    init = batch_sizes(minima[0], samples, recipe, plan)
    along = dataclasses.replace(recipe, lr=reached[asked.base][0])
    updates = max(4, int(reached[asked.base][1]))
    run = measured_scale(minima[0], samples, along, Plan(noise="run", updates=updates))
    table(sizes, reached, init, run.critical)


def table(sizes: Sequence[int], reached: dict, init, run: float | None) -> None:
    """A row for each size, and how far the fastest ones are apart."""
    rates = dict(zip(init.batch_size.tolist(), init.samples_per_second.tolist(), strict=True))
    sizes = [size for size in sizes if size in rates]
    speed = [rates[size] for size in sizes]
    by_origin = {"init": predicted(sizes, speed, init.critical), "run": predicted(sizes, speed, run)}
    clock = {size: reached[size][2] for size in sizes if size in reached}
    work = {size: reached[size][1] * size / rates[size] for size in clock}
    told = ", ".join(f"{name} {b:.4g}" for name, b in (("init", init.critical), ("run", run)) if b is not None)
    print(f"noise scales: {told}   ({torch.get_num_threads()} threads)")
    print("    B  samples/s   rate  updates  samples  clock (s)  /least  samples/speed (s)  /least  init  run")
    for i, size in enumerate(sizes):
        if size not in clock:
            print(f"{size:5d}  {speed[i]:9.4g}  not reached")
            continue
        rate, updates, seconds = reached[size]
        init_time, run_time = (by_origin[name].seconds[i] for name in ("init", "run"))
        print(
            f"{size:5d}  {speed[i]:9.4g}  {rate:5.3g}  {updates:7.0f}  {updates * size:7.0f}  "
            f"{seconds:9.3f}  {seconds / min(clock.values()):6.2f}  {work[size]:17.3f}  "
            f"{work[size] / min(work.values()):6.2f}  {init_time:4.2f}  {run_time:4.2f}"
        )
    fastest = {"clock": min(clock, key=clock.__getitem__), "samples/speed": min(work, key=work.__getitem__)}
    fastest |= {f"predicted by {name}": found.fastest for name, found in by_origin.items() if found.fastest}
    print("fastest B: " + ", ".join(f"{name} {size}" for name, size in fastest.items()))


if __name__ == "__main__":
    main()
