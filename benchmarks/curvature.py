"""Curvature side by side in one run: an HVP in gradient passes, and eigenpairs against SciPy's eigsh.

Usage: python benchmarks/curvature.py [--samples N]. Prints medians of ratios; seconds depend on the machine, ratios
hardly. Uses the embedded digits data.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse.linalg
import torch

from landscape import Hessian, Objective, build_model, load_data, to_scipy, top_eigenpairs

ROUNDS = 7
MODELS = {"mlp": {"widths": [128, 128]}, "cnn": {}, "mlp-bn": {"widths": [128, 128], "batch_norm": True}}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def hvp_in_gradients(objective: Objective) -> float:
    """Median over rounds of (time of an HVP) / (time of a gradient), the two taken in turn."""
    v = torch.randn(objective.layout.size, generator=torch.Generator().manual_seed(0))
    objective.hvp(v)
    ratios = [seconds(lambda: objective.hvp(v)) / seconds(objective.value_and_gradient) for _ in range(ROUNDS)]
    return statistics.median(ratios)


def eigenpairs_against_scipy(objective: Objective, tol: float) -> tuple[float, float, float]:
    """Median time of eigsh over ours for ten pairs, and the worst residual of each, relative to the largest value."""
    operator = Hessian(objective)
    ratios, worst = [], (0.0, 0.0)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ours = top_eigenpairs(operator, 10, tol=tol)
        middle = time.perf_counter()
        values, vectors = scipy.sparse.linalg.eigsh(to_scipy(operator), k=10, which="LA", tol=tol)
        ratios.append((time.perf_counter() - middle) / (middle - began))
        products = torch.stack([operator.matvec(torch.as_tensor(column)) for column in vectors.T])
        residuals = np.linalg.norm(products.numpy() - values[:, None] * vectors.T, axis=1) / np.abs(values).max()
        worst = (float(ours.residuals.max()), float(residuals.max()))
    return statistics.median(ratios), *worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1437)
    samples = parser.parse_args().samples
    splits = load_data("digits")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {samples} samples of digits")
    print(f"{'model':<8}{'params':>8}{'HVP / gradient':>16}{'eigsh / ours':>14}{'residual':>11}{'eigsh residual':>16}")
    for name, arguments in MODELS.items():
        model = build_model(name.partition("-")[0], arguments, splits, 0)
        objective = Objective(model, "cross_entropy", splits, samples=samples)
        passes = hvp_in_gradients(objective)
        ratio, own, peer = eigenpairs_against_scipy(objective, 1e-3)
        print(f"{name:<8}{objective.layout.size:>8}{passes:>16.2f}{ratio:>14.2f}{own:>11.1e}{peer:>16.1e}")


if __name__ == "__main__":
    main()
