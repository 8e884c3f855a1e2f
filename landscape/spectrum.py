"""Eigenpairs of an operator at the ends of its spectrum, each with its residual, held against a fresh product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .errors import InputError, NumericalError, UsageError
from .krylov import Basis
from .operators import AbstractOperator
from .results import Eigenpairs, Status
from .subspace import gradient_in_subspace

VERSION = 2
WHICH = ("largest", "smallest", "both")
CHECK_STEPS = 10  # Lanczos steps of the random start that looks for a missed eigenvalue

Progress = Callable[[int, float], None]


def settings(
    operator: AbstractOperator, k: int, *, which: str, tol: float, max_matvecs: int, seed: int
) -> dict[str, Any]:
    """What identifies the result of `top_eigenpairs` with these arguments."""
    return operator.settings(Eigenpairs.kind, VERSION, k=k, which=which, tol=tol, max_matvecs=max_matvecs, seed=seed)


def top_eigenpairs(
    operator: AbstractOperator,
    k: int | None = None,
    *,
    which: str = "largest",
    tol: float = 1e-3,
    max_matvecs: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Eigenpairs:
    """The k largest and/or smallest eigenvalues (algebraically) of a symmetric operator, with eigenvectors.

    Thick-restart Lanczos with full reorthogonalisation (Wu & Simon 2000). A pair counts as converged where |A v - l v|
    <= tol * max |l|, which a fresh product of a combination of them confirms; the largest eigenvalue's error is then at
    most tol relative, and mostly of order tol^2. After convergence a random start, orthogonal to the pairs found, must
    find nothing beyond them (a Krylov space holds one vector of each eigenspace, so copies of a multiple eigenvalue can
    hide); where it does, the next start is a block of twice as many vectors. Where the basis would fill the space, the
    dense matrix is used.

    Where the operator has a gradient, its share in the span of the vectors comes too (Gur-Ari et al. 2018).

    Args:
        operator: any AbstractOperator of size n.
        k: pairs from each end asked for; min(10, n) by default.
        which: `largest`, `smallest`, or `both`: k from each end, in one descending list.
        tol: relative residual, of max |l|.
        max_matvecs: budget; where it runs out the status is `not converged` and the pairs found are returned.
        progress: called with (products so far, worst relative residual estimate).

    Returns eigenvalues (k or 2k,) descending, residuals, and unit vectors (n, k) in memory. Memory: about
    2k + 22 vectors. Raises UsageError for k below 1, InputError for k above n, NumericalError for
    non-finite products or a contradicted self-check.
    """
    n = operator.size
    k = min(10, n) if k is None else k
    if k < 1:
        raise UsageError(f"k must be at least 1, got {k}")
    if k > n:
        raise InputError(f"k must lie in 1 ... {n}, the number of params, got {k}")
    if which not in WHICH:
        raise UsageError(f"which must be one of {', '.join(WHICH)}, got {which!r}")
    if not tol > 0:
        raise UsageError(f"tol must be positive, got {tol}")
    given = settings(operator, k, which=which, tol=tol, max_matvecs=max_matvecs, seed=seed)
    check = operator.self_check(seed)
    wanted = min(n, 2 * k if which == "both" else k)
    capacity = max(2 * wanted, wanted + 20)
    if capacity >= n and n + wanted <= max_matvecs:
        solution = _dense(operator, k, which)
    else:
        solution = _Search(operator, k, which, tol, max_matvecs, min(capacity, n), seed, progress).run()
    values, vectors, residuals, scale, num_matvecs, checked = solution
    reach = residuals * scale
    # one more product, where the budget has it
    found = gradient_in_subspace(operator, vectors) if num_matvecs < max_matvecs else None
    num_matvecs += found is not None
    return Eigenpairs(
        status=Status.CONVERGED if checked and bool((residuals <= tol).all()) else Status.NOT_CONVERGED,
        settings=given,
        eigenvalues=values.numpy(),
        residuals=residuals.numpy(),
        low=(values - reach).numpy(),
        high=(values + reach).numpy(),
        which=which,
        num_matvecs=num_matvecs,
        gradient_fraction=found.fraction if found else None,
        gradient_overlap=found.overlap if found else None,
        gradient_norm=found.norm if found else None,
        **operator.described(check),
        vectors=vectors.T.cpu().numpy(),
    )


# values, vectors (rows), residuals in units of the largest value, that value, products spent, and whether nothing was
# found beyond the values
Solution = tuple[Tensor, Tensor, Tensor, float, int, bool]


def _ends(count: int, k: int, which: str) -> Tensor:
    """Indices, into values in descending order, of the wanted ones."""
    index = torch.arange(count)
    if which == "largest":
        return index[:k]
    if which == "smallest":
        return index[-k:]
    return index if count <= 2 * k else torch.cat([index[:k], index[-k:]])


def _residuals(operator: AbstractOperator, values: Tensor, vectors: Tensor, scale: float) -> Tensor:
    """|A v - l v| / scale of each row of `vectors`, by fresh products."""
    products = operator.matmat(vectors.T).T
    left = products.double() - values.to(products.device)[:, None] * vectors.double()
    return left.norm(dim=1).cpu() / scale


def _dense(operator: AbstractOperator, k: int, which: str) -> Solution:
    matrix = operator.dense().double().cpu()
    if not bool(torch.isfinite(matrix).all()):
        raise NumericalError("a matrix-vector product is not finite; are the params and the loss?")
    values, columns = torch.linalg.eigh(matrix)
    values, rows = values.flip(0), columns.flip(1).T
    index = _ends(len(values), k, which)
    vectors = rows[index].to(operator.device, operator.dtype)
    scale = float(values.abs().max()) or 1.0
    residuals = _residuals(operator, values[index], vectors, scale)
    return values[index], vectors, residuals, scale, operator.size + len(index), True


class _Search:
    """One thick-restart Lanczos run."""

    def __init__(
        self,
        operator: AbstractOperator,
        k: int,
        which: str,
        tol: float,
        max_matvecs: int,
        capacity: int,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.basis = Basis(operator, capacity)
        self.operator, self.k, self.which, self.tol = operator, k, which, tol
        self.max_matvecs, self.progress = max_matvecs, progress
        self.generator = torch.Generator().manual_seed(seed)
        self.verifications = 0
        self.width = 1  # random vectors that a check starts with; doubled where one found a missed copy
        self.wanted = min(operator.size, 2 * k if which == "both" else k)

    def run(self) -> Solution:
        """Grows and restarts until converged, verified and checked, or until the budget is spent."""
        basis = self.basis
        basis.start(self.generator)
        while True:
            converged = self._grow()
            values, coefficients = basis.ritz()
            index = _ends(len(values), self.k, self.which)
            if converged or self._spent():
                found = self._verified(values[index], coefficients[:, index])
                good = len(index) == self.wanted and bool((found[2] <= self.tol).all())
                if good and self._left() >= CHECK_STEPS and not self._missed(values, coefficients):
                    return (*found, self.max_matvecs - self._left(), True)
                if self._spent():
                    return (*found, self.max_matvecs - self._left(), False)
                continue
            self._restart(values, coefficients)

    def _left(self) -> int:
        """Products that the budget still holds."""
        return self.max_matvecs - self.basis.num_matvecs - self.verifications

    def _spent(self) -> bool:
        """Whether no more is left than the verification takes (one step is always made)."""
        return self._left() <= 1 and self.basis.num_matvecs > 0

    def _grow(self) -> bool:
        """Lanczos steps until the wanted pairs look converged (True), the basis is full, or the budget is spent."""
        basis = self.basis
        while not basis.full and not self._spent():
            self._step()
            if basis.count < self.wanted:
                continue
            values, coefficients = basis.ritz()
            index = _ends(len(values), self.k, self.which)
            estimates = basis.residuals(coefficients[:, index]) / (float(values.abs().max()) or 1.0)
            if self.progress:
                self.progress(basis.num_matvecs + self.verifications, float(estimates.max()))
            # Half the tolerance: the estimate leaves out what restarts and rounding add.
            if bool((estimates <= self.tol / 2).all()):
                return True
        return False

    def _step(self) -> None:
        """One Lanczos step within the budget; out of an invariant subspace a random start leads on."""
        self.basis.active = max(1, min(self.basis.active, self._left() - 1))
        self.basis.expand()
        if self.basis.invariant and not self.basis.full:
            self.basis.start(self.generator, self.width)

    def _restart(self, values: Tensor, coefficients: Tensor) -> None:
        """Keeps the wanted Ritz pairs and half as many again of their neighbours, which speed convergence."""
        spare = (self.basis.capacity - len(_ends(len(values), self.k, self.which))) // 3
        kept = self.k + (spare // 2 if self.which == "both" else spare)
        index = _ends(len(values), kept, self.which)
        self.basis.restart(values[index], coefficients[:, index])
        if self.basis.invariant:
            self.basis.start(self.generator, self.width)

    def _verified(self, values: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Values, vectors, and their residuals: those of the recurrence, held against one fresh product.

        The recurrence tells the product of each vector, remainder included. A combination of all with random signs is
        multiplied afresh: what it differs by has the size of all errors together in expectation (Freivalds 1979), and
        is added to each residual.
        """
        basis = self.basis
        vectors, left = basis.vectors(coefficients), basis.remainders(coefficients)
        signs = 2 * torch.randint(0, 2, (len(values),), generator=self.generator) - 1
        signs = signs.to(vectors.device, vectors.dtype)
        fresh = self.operator.matvec(signs @ vectors)
        self.verifications += 1
        known = left + values.to(vectors.device, vectors.dtype)[:, None] * vectors
        error = float((fresh - signs @ known).double().norm())
        scale = float(basis.projected[: basis.count, : basis.count].diagonal().abs().max())
        scale = max(scale, float(values.abs().max())) or 1.0
        return values, vectors, (basis.residuals(coefficients).square() + error**2).sqrt() / scale, scale

    def _missed(self, values: Tensor, coefficients: Tensor) -> bool:
        """Whether a random start orthogonal to the basis finds a value beyond the wanted ones.

        The steps stay in the basis, so that what is found takes its place among the pairs.
        """
        before = values[_ends(len(values), self.k, self.which)]
        self._restart(values, coefficients)
        self.basis.start(self.generator, self.width)
        self.basis.join()  # with what waited: a value that only crept up on may hide there
        spent = self.basis.num_matvecs
        while not self.basis.full and self.basis.num_matvecs - spent + self.basis.active <= CHECK_STEPS:
            self._step()
        after = self.basis.ritz()[0]
        after = after[_ends(len(after), self.k, self.which)]
        missed = bool(((after - before).abs() > self.tol * values.abs().max()).any())
        if missed:
            self.width = min(2 * self.width, CHECK_STEPS)
        return missed
