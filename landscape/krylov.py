"""Lanczos on the operator's device: an orthonormal basis that grows, is restarted, and yields Ritz pairs.

The basis V (rows are vectors) and the projected matrix T = V A V' are kept together, so that V may hold any
orthonormal vectors: kept Ritz vectors after a restart, or fresh random starts among them. Beside the basis waits a
queue W of orthonormal vectors: A V' = V' T + W' C, where C is the `coupling`. A step multiplies the first of them, one
or a block; the others stay in the equation, so that no residual is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import NumericalError
from .operators import AbstractOperator

MAX_PASSES = 3  # of Gram-Schmidt
LITTLE = 0.7  # share of its length that a vector keeps in a pass after which it counts as orthogonal


@dataclass
class Basis:
    """An orthonormal basis of at most `capacity` vectors and the operator's projection on it."""

    operator: AbstractOperator
    capacity: int
    num_matvecs: int = 0
    count: int = 0  # vectors in the basis
    active: int = 0  # vectors of the queue that the next step multiplies
    scale: float = 0.0  # the largest entry that the projection ever had: what is small is so against this
    rows: Tensor = field(init=False)  # (capacity, n)
    queue: Tensor = field(init=False)  # (w, n)
    projected: Tensor = field(init=False)  # (capacity, capacity) float64 on the CPU
    coupling: Tensor = field(init=False)  # (w, count) float64 on the CPU

    def __post_init__(self) -> None:
        shape = (self.capacity, self.operator.size)
        self.rows = torch.zeros(shape, dtype=self.operator.dtype, device=self.operator.device)
        self.queue = self.rows[:0]
        self.projected = torch.zeros(self.capacity, self.capacity, dtype=torch.float64)
        self.coupling = torch.zeros(0, 0, dtype=torch.float64)

    @property
    def invariant(self) -> bool:
        """Whether the operator maps the basis into itself, so that nothing waits."""
        return len(self.queue) == 0

    @property
    def full(self) -> bool:
        """Whether the next step would not fit."""
        return self.count + max(1, self.active) > self.capacity

    def begin(self, vector: Tensor) -> None:
        """Sets the first vector to a given unit vector."""
        self._wait(vector[None], torch.zeros(1, 0, dtype=torch.float64))

    def start(self, generator: torch.Generator, width: int = 1) -> None:
        """Puts random vectors (drawn on the CPU), orthogonal to basis and queue, before the queue."""
        width = max(1, min(width, self.operator.size - self.count - len(self.queue)))
        drawn = torch.randn(width, self.operator.size, generator=generator, dtype=torch.float64)
        block = (drawn / drawn.norm(dim=1, keepdim=True)).to(self.rows.device, self.rows.dtype)
        block = torch.linalg.qr(self._orthogonal(block)[0].T)[0].T
        self._wait(block, torch.zeros(width, self.count, dtype=torch.float64))

    def join(self) -> None:
        """Lets the next step multiply all that waits."""
        self.active = min(len(self.queue), max(1, self.capacity - self.count))

    def expand(self) -> None:
        """One Lanczos step: multiplies the active vectors, projects, and orthogonalises what is left."""
        first, last = self.count, self.count + self.active
        block, self.queue, self.coupling = (
            self.queue[: self.active],
            self.queue[self.active :],
            self.coupling[self.active :],
        )
        self.rows[first:last], self.count = block, last
        products = self.operator.matvec(block[0])[None] if len(block) == 1 else self.operator.matmat(block.T).T
        self.num_matvecs += len(block)
        left, overlaps = self._orthogonal(products)
        sizes = left.norm(dim=1)
        if not bool(torch.isfinite(sizes).all()):
            raise NumericalError("a matrix-vector product is not finite; are the params and the loss?")
        found = overlaps.double().cpu().T  # (last + queue, block)
        inside, waiting = found[:last], found[last:]
        self.projected[:last, first:last] = inside
        self.projected[first:last, :last] = inside.T
        corner = inside[first:]
        self.projected[first:last, first:last] = (corner + corner.T) / 2
        self.scale = max(self.scale, float(found.abs().max()))
        self.coupling = torch.cat([self.coupling, waiting], dim=1)
        following, lengths = _spanning(left, sizes, 4 * torch.finfo(self.rows.dtype).eps * self.scale)
        ahead = torch.zeros(len(following), first, dtype=torch.float64)
        self._wait(following, torch.cat([ahead, lengths.double().cpu()], dim=1))
        if not self.active:
            self.join()

    def _wait(self, block: Tensor, coupling: Tensor) -> None:
        self.queue = torch.cat([block, self.queue])
        self.coupling = torch.cat([coupling, self.coupling])
        self.active = len(block)

    def _orthogonal(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """The parts of the rows of `block` orthogonal to basis and queue, and their overlaps with these.

        The parts along the last vectors, by far the largest, go first; then passes of classical Gram-Schmidt over all
        until one takes little away, which leaves rounding errors only (Daniel et al. 1976): one pass mostly.
        """
        overlaps = torch.zeros(len(block), self.count + len(self.queue), dtype=block.dtype, device=block.device)
        near = slice(max(0, self.count - 2 * len(block)), self.count)
        inside = block @ self.rows[near].T
        block = block - inside @ self.rows[near]
        overlaps[:, near] += inside
        before = block.norm(dim=1)
        for _ in range(MAX_PASSES):
            inside, waiting = block @ self.rows[: self.count].T, block @ self.queue.T
            block = block - inside @ self.rows[: self.count] - waiting @ self.queue
            overlaps += torch.cat([inside, waiting], dim=1)
            after = block.norm(dim=1)
            if bool((after >= LITTLE * before).all()):
                break
            before = after
        return block, overlaps

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Ritz values, descending, and the coefficients of their vectors in the basis (columns)."""
        values, coefficients = torch.linalg.eigh(self.projected[: self.count, : self.count])
        return values.flip(0), coefficients.flip(1)

    def residuals(self, coefficients: Tensor) -> Tensor:
        """|A y - theta y| of the Ritz pairs of these coefficients (count, k), without a product."""
        return (self.coupling @ coefficients).norm(dim=0)

    def remainders(self, coefficients: Tensor) -> Tensor:
        """A y - theta y itself (k, n) of these Ritz pairs: what `residuals` is the norm of."""
        return (self.coupling @ coefficients).T.to(self.rows.device, self.rows.dtype) @ self.queue

    def vectors(self, coefficients: Tensor) -> Tensor:
        """Ritz vectors (k, n) of the columns of `coefficients` (count, k)."""
        return coefficients.T.to(self.rows.device, self.rows.dtype) @ self.rows[: self.count]

    def restart(self, values: Tensor, coefficients: Tensor) -> None:
        """Thick restart (Wu & Simon 2000): keeps these Ritz pairs and the queue, drops the rest."""
        kept = self.vectors(coefficients)
        self.coupling = self.coupling @ coefficients
        self.count = len(values)
        self.rows[: self.count] = kept
        self.projected.zero_()
        self.projected[: self.count, : self.count] = torch.diag(values)
        self.join()


def _spanning(left: Tensor, sizes: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Orthonormal rows W (p, n) and R (p, block) with left' = W' R, without directions shorter than `floor`."""
    if len(left) == 1:
        if float(sizes[0]) <= floor:
            return left[:0], sizes.new_zeros(0, 1)
        return left / sizes[:, None], sizes[:, None]
    columns, lengths, mixed = torch.linalg.svd(left.T, full_matrices=False)
    kept = lengths > floor
    return columns.T[kept], lengths[kept, None] * mixed[kept]
