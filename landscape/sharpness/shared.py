"""What the measures of one minimum have in common: its Hessian's products, and the determinant of that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import LandscapeError
from ..objective import Objective
from ..operators import AbstractOperator, Hessian

REMEMBERED = 2**29  # bytes of products that are kept; what is beyond is multiplied again

T = TypeVar("T")


@dataclass
class Shared:
    """Handed to the measures of one objective, one after the other; each gives the result that it gives alone."""

    objective: Objective
    found: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` returned for this key the first time, or raised."""
        if key not in self.found:
            try:
                self.found[key] = make()
            except LandscapeError as error:
                self.found[key] = error
        found = self.found[key]
        if isinstance(found, LandscapeError):
            raise found
        return found

    def hessian(self) -> AbstractOperator:
        """The Hessian of the objective, which remembers its products."""
        return self.once("hessian", lambda: Remembering(Hessian(self.objective)))


def hessian_of(objective: Objective, shared: Shared | None) -> AbstractOperator:
    """The Hessian of an objective, that of `shared` where there is one."""
    return Hessian(objective) if shared is None else shared.hessian()


class Remembering(AbstractOperator):
    """An operator that does not multiply the same block of vectors twice, as long as memory lasts.

    Only whole blocks are found again: the products of single vectors may differ from them in their last bits.
    """

    def __init__(self, operator: AbstractOperator) -> None:
        self.inner, self.name = operator, operator.name
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.loss, self.num_samples, self.num_classes = operator.loss, operator.num_samples, operator.num_classes
        self.kept: dict[bytes, Tensor] = {}
        self.bytes = 0
        self.checks: dict[int, Mapping[str, Any]] = {}

    def matvec(self, vector: Tensor) -> Tensor:
        return self._product(vector, self.inner.matvec)

    def matmat(self, matrix: Tensor) -> Tensor:
        return self._product(matrix, self.inner.matmat)

    def _product(self, block: Tensor, multiply: Callable[[Tensor], Tensor]) -> Tensor:
        content = block.detach().cpu().contiguous()
        key = hashlib.sha256(repr((content.shape, content.dtype)).encode() + content.numpy().tobytes()).digest()
        if key in self.kept:
            return self.kept[key].clone()
        product = multiply(block)
        size = product.numel() * product.element_size()
        if self.bytes + size <= REMEMBERED and bool(torch.isfinite(product).all()):
            self.kept[key] = product.clone()
            self.bytes += size
        return product

    def identity(self) -> Mapping[str, Any]:
        return self.inner.identity()

    def self_check(self, seed: int) -> Mapping[str, Any]:
        if seed not in self.checks:
            self.checks[seed] = self.inner.self_check(seed)
        return self.checks[seed]

    def gradient(self) -> Tensor | None:
        return self.inner.gradient()

    def report(self) -> Mapping[str, Any]:
        return self.inner.report()

    def blocks(self) -> Mapping[str, slice]:
        return self.inner.blocks()
