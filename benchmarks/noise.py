"""tr(Sigma) over all samples by per-sample norms, in gradient passes, beside vmap and BackPACK; memory by N.

`norms` alone gives the trace, beside the one pass for the mean gradient; `and products` also each sample's product
with it, which the intervals need. Works take their turns; each time is divided by the gradient's of the same rounds.
BackPACK (batch_l2, which makes the mean gradient too) is measured where it is installed: benchmarks/peers.sh.
Usage: [LANDSCAPE_DATA=...] python benchmarks/noise.py [--out DIR] [--rounds N] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective, load_data
from landscape.noise.routes import BY_NAME
from landscape.operators import GradientCovariance

MODELS = {"mlp": ("digits", None), "cnn": ("digits", None), "f1": ("mnist", 2_000), "c1": ("cifar10", 200)}
SIZES = (1_000, 4_000, 16_000)
COLUMNS = {
    "model": "model",
    "samples": "samples:,d",
    "gradient": "gradient (s):.4f",
    "norms": "norms:.2f",
    "products": "and products:.2f",
    "vmap": "vmap:.2f",
    "backpack": "BackPACK:.2f",
    "error": "error of tr:.0e",
}


def terms_of(objective: Objective, route: str, directions: Tensor) -> Callable[[], Tensor]:
    """The sum of the samples' squared norms by a route."""
    way = BY_NAME[route](objective, 0)

    def work() -> Tensor:
        with objective.running():
            return torch.stack([terms.squared.sum() for terms in way.terms(directions)]).sum()

    return work


def backpack_of(objective: Objective) -> Callable[[], Tensor] | None:
    """The same by BackPACK, in our chunks; None where it is not installed."""
    try:
        import backpack  # pyright: ignore[reportMissingImports]
        from backpack.extensions import BatchL2Grad  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    model = backpack.extend(copy.deepcopy(objective.model))
    loss = backpack.extend(nn.CrossEntropyLoss(reduction="sum"))
    model.eval()

    def work() -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=objective.device)
        for batch in objective.samples.chunks(objective.chunk):
            assert isinstance(batch, tuple)
            inputs, targets = batch
            model.zero_grad()
            with backpack.backpack(BatchL2Grad()):
                loss(model(inputs), targets).backward()
            total += sum(param.batch_l2.sum().double() for param in model.parameters())  # pyright: ignore[reportAttributeAccessIssue]
        return total

    return work


def row(name: str, rounds: int, device: str) -> dict[str, Any]:
    """One network: times in gradient passes, and the error of the trace against float64 products with Sigma."""
    data, samples = MODELS[name]
    splits = load_data(data)
    objective = Objective(name, "cross_entropy", splits, samples=samples, device=device)
    _, mean = objective.value_and_gradient()
    none = mean.new_zeros(0, len(mean))
    works: dict[str, measure.Work] = {
        "gradient": objective.value_and_gradient,
        "norms": terms_of(objective, "norms", none),
        "products": terms_of(objective, "norms", mean[None]),
    }
    backpack = backpack_of(objective)
    if backpack is not None:
        works["backpack"] = backpack
    times = measure.in_turn(works, rounds)
    vmap = measure.seconds(terms_of(objective, "vmap", none))
    count = objective.num_samples
    found = (float(works["norms"]()) - count * float(mean @ mean)) / (count - 1)  # pyright: ignore[reportArgumentType]
    exact = exact_trace(name, splits, samples, device)
    base = times["gradient"]
    ratios = {key: value / base for key, value in times.items() if key != "gradient"}
    error = abs(found - exact) / exact
    return {"model": name, "samples": count, "gradient": base, **ratios, "vmap": vmap / base, "error": error}


def exact_trace(name: str, splits: Any, samples: int | None, device: str) -> float:
    """tr(Sigma) in float64 from gradients taken one by one, of all samples."""
    objective = Objective(name, "cross_entropy", splits, samples=samples, dtype="float64", device=device)
    covariance = GradientCovariance(objective, ddof=1)
    squares = 0.0
    parts = [part.requires_grad_() for part in objective.parts()]
    with objective.running():
        for batch in objective.samples.chunks(1):
            loss = functional.cross_entropy(objective.outputs(parts, batch), batch[1])  # pyright: ignore[reportArgumentType]
            squares += sum(float(g.square().sum()) for g in torch.autograd.grad(loss, parts))
    count = objective.num_samples
    return (squares - count * float(covariance.mean @ covariance.mean)) / (count - 1)


def memory_of(samples: int) -> int:
    """Bytes that the moments over so many samples add to the peak of a process that holds the data."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_memory, args=(samples, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def _memory(samples: int, queue: Any) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = torch.randn(samples, 1, 28, 28), torch.randint(10, (samples,))
    objective = Objective("cnn", "cross_entropy", data, chunk=256)
    way = BY_NAME["norms"](objective, 0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _peak()
    with objective.running():
        total = sum(float(t.squared.sum()) for t in way.terms(torch.zeros(1, objective.layout.size)))
    assert total > 0
    queue.put(_peak() - before)


def _peak() -> int:
    """Bytes resident at most so far, on Linux."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    """Prints the tables and writes them to a folder where one is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", help="folder of the results")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    rows = [row(name, options.rounds, options.device) for name in options.models.split(",")]
    print(measure.table(rows, COLUMNS))
    memory = [{"samples": size, "bytes": memory_of(size)} for size in SIZES]
    print("\npeak memory that the norms add, cnn on 28 x 28 images in chunks of 256:")
    print(measure.table([{**m, "MB": m["bytes"] / 1e6} for m in memory], {"samples": "samples:,d", "MB": "MB:.1f"}))
    measure.write(options.out, "noise.json", {"rows": rows, "memory": memory})
    print(json.dumps(measure.circumstances()["versions"]))


if __name__ == "__main__":
    main()
