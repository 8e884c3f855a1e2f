"""Curvature side by side in one run: products in gradient passes, eigenpairs, memory; with --full against the peers.

Usage: python benchmarks/curvature.py                                (embedded digits data, SciPy only, a minute)
       LANDSCAPE_DATA=... python benchmarks/curvature.py --full [--only products|eigenpairs|memory] [--out DIR]

--full wants the environment of benchmarks/peers.sh; a peer that is not installed is left out and named. Seconds
depend on the machine, ratios hardly.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import Any

import eigenpairs
import measure
import memory
import numpy as np
import peers
import products
import scipy.sparse.linalg
import torch
from models import NETWORKS

from landscape import Hessian, Objective, build_model, load_data, top_eigenpairs
from landscape.data.samples import named

ROUNDS = 7
DIGITS = {"mlp": {"widths": [128, 128]}, "cnn": {}, "mlp-bn": {"widths": [128, 128], "norm": "batch"}}
# Network, samples, and chunk sizes that divide them.
CASES = (
    ("mlp", 10_000, (1000, 2500, 10_000)),
    ("cnn", 5000, (100, 250, 1000)),
    ("resnet20", 200, (50, 100, 200)),
    ("resnet20", 1000, (50, 125, 250)),
    ("transformer", 2000, (100, 250, 500)),
)


def hvp_in_gradients(objective: Objective) -> float:
    """Median over rounds of (time of an HVP) / (time of a gradient), the two taken in turn."""
    operator = Hessian(objective)
    v = torch.randn(objective.layout.size, generator=torch.Generator().manual_seed(0))
    operator.matvec(v)
    work: measure.Work = objective.value_and_gradient
    ratios = [measure.seconds(lambda: operator.matvec(v)) / measure.seconds(work) for _ in range(ROUNDS)]
    return statistics.median(ratios)


def eigenpairs_against_scipy(objective: Objective, tol: float) -> tuple[float, float, float]:
    """Median time of eigsh over ours for ten pairs, and the worst residual of each, relative to the largest value."""
    operator = Hessian(objective)
    operator.matvec(torch.zeros(operator.size))
    matrix: Any = operator.to_scipy()
    eigsh: Any = scipy.sparse.linalg.eigsh  # annotated as if tol were an int
    ratios, worst = [], (0.0, 0.0)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ours = top_eigenpairs(operator, 10, tol=tol)
        middle = time.perf_counter()
        values, vectors = eigsh(matrix, k=10, which="LA", tol=tol)
        ratios.append((time.perf_counter() - middle) / (middle - began))
        images = operator.matmat(torch.as_tensor(vectors)).numpy()
        residuals = np.linalg.norm(images - values * vectors, axis=0) / np.abs(values).max()
        worst = (float(ours.residuals.max()), float(residuals.max()))
    return statistics.median(ratios), *worst


def quick(samples: int) -> dict[str, Any]:
    """The table of the embedded data."""
    splits = load_data("digits")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {samples} samples of digits")
    rows = []
    for name, arguments in DIGITS.items():
        model = build_model(name.partition("-")[0], arguments, splits, 0)
        objective = Objective(model, "cross_entropy", splits, samples=samples)
        passes = hvp_in_gradients(objective)
        ratio, own, scipys = eigenpairs_against_scipy(objective, 1e-3)
        row = {"model": name, "params": objective.layout.size, "ratio": passes, "eigsh": ratio}
        rows.append({**row, "residual": own, "eigsh_residual": scipys})
    columns = {"model": "model", "params": "params:,d", "ratio": "HVP / gradient:.2f", "eigsh": "eigsh / ours:.2f"}
    print(measure.table(rows, {**columns, "residual": "residual:.1e", "eigsh_residual": "eigsh residual:.1e"}))
    return {"digits": rows}


def images(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten thousand training images of MNIST or CIFAR-10."""
    batch = named(load_data(name).train.first(10_000).blocks[0])
    return batch["inputs"], batch["targets"]


def full(parts: list[str], cases: list[str], rounds: int, budget: float) -> dict[str, Any]:
    """The tables against the peers."""
    missing = [name for name in peers.PEERS if name not in peers.present()]
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads" + f"; not installed: {missing}" * bool(missing)
    )
    data = {
        name: images(name)
        for name in {NETWORKS[case][0] for case in cases} | ({"mnist"} if "eigenpairs" in parts else set())
    }
    results: dict[str, Any] = {}
    if "products" in parts:
        rows, comparisons = [], []
        for name, samples, chunks in [case for case in CASES if case[0] in cases]:
            case = products.problem(name, data[NETWORKS[name][0]], samples, chunks)
            part = products.product_table(case, rounds)
            print(measure.table(part, products.COLUMNS), flush=True)
            rows, comparisons = rows + part, comparisons + [products.against_peers(part)]
        known = [comparison for comparison in comparisons if comparison]
        if known:
            print(products.summary(known), flush=True)
        results |= {"products": rows, "comparisons": known}
    if "eigenpairs" in parts:
        case = products.problem("mlp", data["mnist"], 10_000, CASES[0][2])
        results["eigenpairs"] = eigenpairs.eigenpair_table(case, min(rounds, 3), budget)
        print(measure.table(results["eigenpairs"], eigenpairs.COLUMNS), flush=True)
    if "memory" in parts:
        results["memory"] = memory.memory_table()
        print(measure.table(results["memory"], memory.COLUMNS), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1437, help="of the digits data, without --full")
    parser.add_argument("--full", action="store_true", help="the tables against the peers; needs LANDSCAPE_DATA")
    parser.add_argument("--only", nargs="+", choices=("products", "eigenpairs", "memory"))
    parser.add_argument("--models", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds a peer may take for its eigenpairs")
    parser.add_argument("--out", metavar="DIR", help="also writes DIR/curvature.json")
    options = parser.parse_args()
    if not options.full:
        results = quick(options.samples)
    elif not os.environ.get("LANDSCAPE_DATA"):
        sys.exit("--full needs LANDSCAPE_DATA, the folder of mnist/ and cifar10/")
    else:
        parts = options.only or ["products", "eigenpairs", "memory"]
        results = full(parts, options.models, options.rounds, options.budget)
    measure.write(options.out, "curvature.json", results)


if __name__ == "__main__":
    main()
