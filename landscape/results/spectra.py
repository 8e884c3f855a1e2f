"""Results about the spectrum of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Array, Result, Status, in_memory, mapping, quantity

CURVATURE = "loss / param^2"
# Means of g g' over samples, g the gradient of a sample: their entries are squares of a slope, no curvature.
SECOND_MOMENTS = ("empirical-fisher", "gradient-covariance")
WEIGHTS_SUM = 1e-6  # by which the weights of a quadrature may miss 1


class _OfOperator(Result):
    """A result about a matrix, whose unit follows from which one it is."""

    def unit(self, name: str) -> str:
        own = super().unit(name)
        if self.settings.get("operator") in SECOND_MOMENTS and own == CURVATURE:
            return "loss^2 / param^2"
        return own


@dataclass(frozen=True, kw_only=True, eq=False)
class Eigenpairs(_OfOperator):
    """Eigenvalues of an operator in descending order, each with its residual. k pairs, n params."""

    kind: ClassVar[str] = "eigenpairs"
    eigenvalues: Array = quantity("eigenvalues, descending", dims=("pair",), unit=CURVATURE)
    residuals: Array = quantity("|Hv - lv| / max |l|, held against a fresh product", dims=("pair",))
    low: Array | None = quantity(
        "an eigenvalue lies above this, by the residual", dims=("pair",), unit=CURVATURE, optional=True
    )
    high: Array | None = quantity("and below this", dims=("pair",), unit=CURVATURE, optional=True)
    operator: str = quantity("the matrix whose eigenvalues these are")
    which: str = quantity("the end of the spectrum: largest, smallest or both")
    num_matvecs: int = quantity("matrix-vector products spent", unit="products")
    num_params: int = quantity("size of the operator", unit="params")
    num_samples: int | None = quantity("samples in the objective", unit="samples", optional=True)
    loss: float | None = quantity("the objective at this point", unit="loss", optional=True)
    gradient_fraction: float | None = quantity(
        "share of the gradient's square in the span of the eigenvectors", optional=True
    )
    gradient_overlap: float | None = quantity("g'Hg / (|g| |Hg|), g the gradient", optional=True)
    gradient_norm: float | None = quantity("norm of the gradient", unit="loss / param", optional=True)
    self_check: Mapping[str, Any] = mapping("what the self-check of the product found", of_run=True)
    hvp: Mapping[str, Any] = mapping("how products were made: path, chunks, what was kept", of_run=True)
    vectors: Array | None = in_memory("unit eigenvectors, (n, k)")

    def eigenvectors(self) -> Eigenvectors:
        """The vectors as a result of their own, for a file beside."""
        assert self.vectors is not None
        return Eigenvectors(
            status=self.status,
            settings={**self.settings, "kind": Eigenvectors.kind},
            eigenvalues=self.eigenvalues,
            vectors=self.vectors,
        )

    def problems(self) -> list[str]:
        found = _unsorted(self.eigenvalues)
        if self.status is Status.CONVERGED and not np.isfinite([self.eigenvalues, self.residuals]).all():
            found.append("it counts as converged, but holds numbers that are not finite")
        if self.status is Status.CONVERGED and (self.residuals > self.settings.get("tol", np.inf)).any():
            found.append(f"it counts as converged, but a residual is {np.max(self.residuals):.2e}")
        if (self.residuals < 0).any():
            found.append("a residual is negative")
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Eigenvectors(_OfOperator):
    """Unit eigenvectors of an operator: n params, k pairs. Large, so they go into a file of their own."""

    kind: ClassVar[str] = "eigenvectors"
    eigenvalues: Array = quantity("eigenvalues, descending", dims=("pair",), unit=CURVATURE)
    vectors: Array = quantity("unit eigenvectors, one a column", dims=("param", "pair"))

    def problems(self) -> list[str]:
        found = _unsorted(self.eigenvalues)
        lengths = np.linalg.norm(self.vectors.astype(np.float64), axis=0)
        if not (np.abs(lengths - 1) <= np.sqrt(np.finfo(self.vectors.dtype).eps)).all():
            found.append("the vectors are not of length 1")
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace(_OfOperator):
    """Trace of an operator and its Frobenius norm, with standard errors over probes."""

    kind: ClassVar[str] = "trace"
    value: float = quantity("trace", unit=CURVATURE)
    stderr: float = quantity("standard error of the trace over probes", unit=CURVATURE)
    method: str = quantity("hutchinson, hutch++, xtrace, or exact where a whole basis was multiplied")
    operator: str = quantity("the matrix whose trace this is")
    frobenius: float = quantity("Frobenius norm", unit=CURVATURE)
    frobenius_stderr: float = quantity("standard error of the Frobenius norm over probes", unit=CURVATURE)
    effective_rank: float = quantity("squared trace over squared Frobenius norm")
    layers: tuple[str, ...] = quantity("names of the param tensors", dims=("layer",), optional=True)
    layer_value: Array | None = quantity("parts of the trace", dims=("layer",), unit=CURVATURE, optional=True)
    layer_stderr: Array | None = quantity(
        "standard errors of the parts", dims=("layer",), unit=CURVATURE, optional=True
    )
    num_matvecs: int = quantity("matrix-vector products spent", unit="products")
    num_probes: int = quantity("random vectors that the error is over", unit="probes")
    num_params: int = quantity("size of the operator", unit="params")
    num_samples: int | None = quantity("samples in the objective", unit="samples", optional=True)
    loss: float | None = quantity("the objective at this point", unit="loss", optional=True)
    self_check: Mapping[str, Any] = mapping("what the self-check of the product found", of_run=True)
    hvp: Mapping[str, Any] = mapping("how products were made: path, chunks, what was kept", of_run=True)
    diagonal: Array | None = in_memory("diagonal of the operator, (n,)")
    diagonal_stderr: Array | None = in_memory("standard errors of the diagonal, (n,)")

    def problems(self) -> list[str]:
        numbers = [self.value, self.stderr, self.frobenius, self.frobenius_stderr]
        if self.status is Status.CONVERGED and not np.isfinite(numbers).all():
            return ["it counts as converged, but holds numbers that are not finite"]
        return ["a standard error is negative"] if min(self.stderr, self.frobenius_stderr) < 0 else []


@dataclass(frozen=True, kw_only=True, eq=False)
class Density(_OfOperator):
    """Distribution of an operator's eigenvalues: one quadrature rule a probe."""

    kind: ClassVar[str] = "density"
    nodes: Array = quantity("nodes of the quadrature", dims=("probe", "step"), unit=CURVATURE)
    weights: Array = quantity("weights of the nodes; each row's sum is 1", dims=("probe", "step"))
    operator: str = quantity("the matrix whose eigenvalues these stand for")
    trace: float = quantity("trace, by the nodes' mean", unit=CURVATURE)
    trace_stderr: float | None = quantity("standard error of the trace over probes", unit=CURVATURE, optional=True)
    bulk_edge: float = quantity(
        "mean + 6 standard deviations of the eigenvalues below it, found by iteration", unit=CURVATURE
    )
    num_outliers: float = quantity("eigenvalues above the bulk edge", unit="eigenvalues")
    num_outliers_stderr: float | None = quantity(
        "standard error of their number over probes", unit="eigenvalues", optional=True
    )
    outlier_share: float = quantity("their share of the trace")
    num_matvecs: int = quantity("matrix-vector products spent", unit="products")
    num_params: int = quantity("size of the operator", unit="params")
    num_samples: int | None = quantity("samples in the objective", unit="samples", optional=True)
    num_classes: int | None = quantity("classes of the outputs", unit="classes", optional=True)
    loss: float | None = quantity("the objective at this point", unit="loss", optional=True)
    self_check: Mapping[str, Any] = mapping("what the self-check of the product found", of_run=True)
    hvp: Mapping[str, Any] = mapping("how products were made: path, chunks, what was kept", of_run=True)

    def problems(self) -> list[str]:
        found = []
        if not np.isfinite([self.nodes, self.weights]).all():
            found.append("nodes or weights are not finite")
        elif not (np.abs(self.weights.sum(1) - 1) <= WEIGHTS_SUM).all() or (self.weights < 0).any():
            found.append("the weights of a probe are no shares: they must not be negative, and sum to 1")
        return found


def _unsorted(eigenvalues: Array) -> list[str]:
    return (
        []
        if (np.diff(eigenvalues[np.isfinite(eigenvalues)]) <= 0).all()
        else ["the eigenvalues are not in descending order"]
    )
