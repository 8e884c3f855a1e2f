"""Ten eigenpairs at one residual: ours, and each peer with the settings that reach it soonest.

A residual is |H v - l v| / max |l| by our float64 reference product, whoever found the pair. The peers' settings are
looked for with our fast product in the place of theirs, which changes the steps by rounding only; then each runs, and
is timed, as it is. Their operators skip their own checks; ours makes its self-check within its time.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import measure
import numpy as np
import peers
import scipy.sparse.linalg
import torch
from products import Problem

from landscape import Hessian, Objective, top_eigenpairs

K, RESIDUAL = 10, 1e-3
REFERENCE_TOL = 1e-5  # in float64; the values are then right to about its square
EIGSH_TOLS = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3)
EIGSH_BASES = (max(2 * K + 1, 20), 40)  # SciPy's own choice, and a larger one
LANCZOS_STEPS = (20, 30, 40, 50, 60, 80, 100, 150, 200)
POWER_TOLS = (1e-4, 1e-5, 1e-6, 1e-7)
COLUMNS = {
    "tool": "tool",
    "settings": "settings",
    "products": "products",
    "ratio": "time / ours:.2f",
    "seconds": "seconds:.1f",
    "residual": "worst residual:.1e",
    "value_error": "worst value error:.1e",
    "note": "",
}


@dataclass(frozen=True)
class Pairs:
    """Eigenvalues descending, unit vectors (n, k), and the products they took."""

    values: np.ndarray
    vectors: np.ndarray
    products: int


class Exhausted(Exception):
    """A run spent its budget of seconds."""


Run = Callable[[], Pairs]


def pairs_of(values: Any, vectors: Any, products: int) -> Pairs:
    """Pairs in descending order, with columns of unit length."""
    values, vectors = np.asarray(values, dtype=np.float64), np.asarray(vectors)
    order = np.argsort(values)[::-1]
    vectors = vectors[:, order]
    return Pairs(values[order], vectors / np.linalg.norm(vectors, axis=0), products)


def counted(product: peers.Product, budget: float = float("inf")) -> tuple[peers.Product, list[int]]:
    """The product, refusing after `budget` seconds, and a list whose length is how often it was called."""
    calls: list[int] = []
    end = time.perf_counter() + budget

    def run(vector: torch.Tensor) -> torch.Tensor:
        if time.perf_counter() > end:
            raise Exhausted
        calls.append(1)
        return product(vector)

    return run, calls


def by_eigsh(product: peers.Product, size: int, tol: float, basis: int) -> Pairs:
    """SciPy's eigsh in its float64, from a fixed start."""
    run, calls = counted(product)

    def matvec(vector: np.ndarray) -> np.ndarray:
        return run(torch.as_tensor(vector.reshape(-1), dtype=torch.float32)).detach().double().numpy()

    make, eigsh = cast(Any, scipy.sparse.linalg.LinearOperator), cast(Any, scipy.sparse.linalg.eigsh)  # loose stubs
    start = np.random.default_rng(0).standard_normal(size)
    values, vectors = eigsh(
        make((size, size), matvec=matvec, dtype=np.float64), k=K, which="LA", tol=tol, ncv=basis, v0=start
    )
    return pairs_of(values, vectors, len(calls))


def by_lanczos(operator: Any, **settings: Any) -> Pairs:
    """hessian-eigenthings' Lanczos for the largest values."""
    from hessian_eigenthings import lanczos

    found = lanczos(operator, k=K, which="LA", seed=0, **settings)
    return pairs_of(found.eigenvalues.numpy(), found.eigenvectors.numpy().T, found.iterations)


def by_power(case: Problem, chunk: int, tol: float, steps: int, product: Any = None, budget: float = 1e9) -> Pairs:
    """PyHessian's deflated power iterations; with another product in the place of its own where one is given."""
    computer = peers.pyhessian_computer(copy.deepcopy(case.model), peers.batches_of(*case.data, chunk))
    own = computer.dataloader_hv_product
    run, calls = counted(lambda vector: peers.joined(own(peers.split(vector, case.model))[1]), budget)
    if product is not None:
        run, calls = counted(product, budget)

    def replaced(parts: list[torch.Tensor]) -> tuple[float, list[torch.Tensor]]:
        vector = peers.joined(parts)
        image = run(vector)
        return float(image @ vector), peers.split(image, case.model)

    computer.dataloader_hv_product = replaced
    with torch.random.fork_rng(devices=[]), peers.math_attention():
        torch.manual_seed(0)
        values, vectors = computer.eigenvalues(maxIter=steps, tol=tol, top_n=K)
    return pairs_of(values, torch.stack([peers.joined(v) for v in vectors], dim=1).numpy(), len(calls))


def residual_of(pairs: Pairs, product: peers.Product, dtype: torch.dtype) -> float:
    """The worst |H v - l v| / max |l|."""
    worst = 0.0
    for value, vector in zip(pairs.values, pairs.vectors.T, strict=True):
        unit = torch.as_tensor(np.ascontiguousarray(vector), dtype=dtype)
        worst = max(worst, float((product(unit) - value * unit).norm()))
    return worst / float(np.abs(pairs.values).max())


class Replay:
    """Our product for Lanczos runs from one start: the steps they share are multiplied once."""

    def __init__(self, operator: Hessian) -> None:
        self.operator, self.images = operator, []
        self.step = 0

    def again(self) -> Any:
        """The operator for the next run."""
        from hessian_eigenthings import LambdaOperator

        self.step = 0
        return LambdaOperator(self._next, self.operator.size)

    def _next(self, vector: torch.Tensor) -> torch.Tensor:
        if self.step == len(self.images):
            self.images.append(self.operator.matvec(vector))
        self.step += 1
        return self.images[self.step - 1].clone()


def eigsh_settings(fast: Hessian) -> tuple[float, int]:
    """The tolerance and the basis with which eigsh reaches the residual in the fewest products."""
    reached = {}
    for basis in EIGSH_BASES:
        for tol in EIGSH_TOLS:
            pairs = by_eigsh(fast.matvec, fast.size, tol, basis)
            if residual_of(pairs, fast.matvec, torch.float32) <= RESIDUAL:
                reached[tol, basis] = pairs.products
                break
    return min(reached, key=lambda settings: reached[settings]) if reached else (EIGSH_TOLS[-1], EIGSH_BASES[0])


def lanczos_steps(fast: Hessian) -> int:
    """The fewest steps with which hessian-eigenthings reaches the residual."""
    replay = Replay(fast)
    for steps in LANCZOS_STEPS:
        pairs = by_lanczos(replay.again(), max_iter=steps, reorthogonalize=True)
        if residual_of(pairs, fast.matvec, torch.float32) <= RESIDUAL:
            return steps
    return LANCZOS_STEPS[-1]


def power_tol(case: Problem, fast: Hessian, chunk: int, budget: float) -> float | None:
    """The loosest tolerance with which PyHessian reaches the residual; None where the budget ends the search."""
    end = time.perf_counter() + budget
    for tol in POWER_TOLS:
        try:
            pairs = by_power(case, chunk, tol, 10**6, fast.matvec, end - time.perf_counter())
        except Exhausted:
            return None
        if residual_of(pairs, fast.matvec, torch.float32) <= RESIDUAL:
            return tol
    return None


def runs_of(case: Problem, fast: Hessian, budget: float) -> dict[tuple[str, str], tuple[Run, bool]]:
    """Each tool and settings: its run, and whether it is repeated for a median."""
    chunk = case.chunks[0]
    found: dict[tuple[str, str], tuple[Run, bool]] = {("ours", f"tol {RESIDUAL:g}"): (lambda: ours(case), True)}
    if "curvlinops" in peers.present():
        tol, basis = eigsh_settings(fast)
        product = peers.product("curvlinops", case.model, case.data, chunk)
        found["curvlinops, eigsh", f"tol {tol:g}, ncv {basis}"] = (
            lambda: by_eigsh(product, fast.size, tol, basis),
            True,
        )
        # what one sets who wants that residual, without a search for the loosest that gives it
        found["curvlinops, eigsh", f"tol {RESIDUAL:g}, ncv {2 * K + 1}"] = (
            lambda: by_eigsh(product, fast.size, RESIDUAL, 2 * K + 1),
            True,
        )
    if "hessian-eigenthings" in peers.present():
        operator = peers.eigenthings_operator(copy.deepcopy(case.model), peers.batches_of(*case.data, chunk))
        steps = lanczos_steps(fast)
        settings = {"max_iter": steps, "reorthogonalize": True}
        found["hessian-eigenthings", "defaults"] = (lambda: by_lanczos(operator), False)
        found["hessian-eigenthings", f"max_iter {steps}"] = (lambda: by_lanczos(operator, **settings), True)
    if "PyHessian" in peers.present():
        found["PyHessian", "defaults"] = (lambda: by_power(case, chunk, 1e-3, 100, budget=budget), False)
        tight = power_tol(case, fast, chunk, budget) or POWER_TOLS[-1]
        found["PyHessian", f"tol {tight:g}"] = (lambda: by_power(case, chunk, tight, 10**6, budget=budget), False)
    return found


def ours(case: Problem) -> Pairs:
    """Ours, the operator's making and the self-check included."""
    found = top_eigenpairs(Hessian(case.objective()), K, tol=RESIDUAL)
    return pairs_of(found.eigenvalues, found.vectors, found.num_matvecs)


def timed(works: dict[tuple[str, str], Run], rounds: int) -> list[dict[str, Any]]:
    """Runs taken in turn, the first of them ours: a row for each, with the pairs it found."""
    found: dict[str, Pairs | None] = {}

    def kept(name: str, run: Run) -> measure.Work:
        def work() -> None:
            try:
                found[name] = run()
            except Exhausted:
                found[name] = None

        return work

    keys = {" ".join(key): key for key in works}
    times = measure.in_turn({name: kept(name, works[key]) for name, key in keys.items()}, rounds, warm=False)
    own = next(iter(times.values()))
    return [
        {"tool": tool, "settings": settings, "ratio": times[name] / own, "seconds": times[name], "pairs": found[name]}
        for name, (tool, settings) in keys.items()
    ]


def tell(what: str) -> None:
    """A line of progress on stderr."""
    print(what, file=sys.stderr, flush=True)


def eigenpair_table(case: Problem, rounds: int, budget: float) -> list[dict[str, Any]]:
    """A row for each tool and its settings."""
    exact = case.objective(dtype="float64")
    truth = np.asarray(top_eigenpairs(Hessian(exact), K, tol=REFERENCE_TOL).eigenvalues)
    fast = Hessian(case.objective())
    tell("reference values found")
    runs = runs_of(case, fast, budget)
    tell(f"settings found: {list(runs)}")
    own = next(iter(runs))
    rows = timed({key: run for key, (run, repeated) in runs.items() if repeated}, rounds)
    for row in rows:
        tell(f"{row['tool']} ({row['settings']}): {row['ratio']:.2f} times ours, {row['seconds']:.1f} s")
    for key, (run, repeated) in runs.items():
        if not repeated:
            rows += timed({own: runs[own][0], key: run}, 1)[1:]
            tell(f"{rows[-1]['tool']} ({rows[-1]['settings']}): {rows[-1]['ratio']:.2f} times ours")
    return [judged(row, exact, truth, budget) for row in rows]


def judged(row: dict[str, Any], exact: Objective, truth: np.ndarray, budget: float) -> dict[str, Any]:
    """The row with the errors of its pairs in their place."""
    pairs = row.pop("pairs")
    if pairs is None:
        return row | {"note": f"not done after {budget:.0f} s"}
    error = float(np.max(np.abs(pairs.values - truth) / np.abs(truth)))
    residual = residual_of(pairs, exact.hvp, torch.float64)
    note = "" if residual <= RESIDUAL else f"residual above {RESIDUAL:g}"
    numbers = {"products": pairs.products, "residual": residual, "value_error": error, "note": note}
    return row | numbers | {"values": pairs.values.tolist()}
