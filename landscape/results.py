"""What is measured: frozen dataclasses of numpy arrays and plain numbers, which know no torch.

The metadata of a field says how it is stored and labelled: `dims` names its axes (a field named like its only
axis is that axis's coordinate), `unit` and `about` go into the file. A field with `stored=False` stays in memory.
Every result carries `settings`, all that identifies it; its digest is `landscape.digest.of_settings(settings)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray


class Status(StrEnum):
    """How a measurement ended."""

    CONVERGED = "converged"
    COMPLETE = "complete"
    NOT_CONVERGED = "not converged"
    NOT_RESOLVED = "not resolved"
    STOPPED = "stopped"
    NON_FINITE = "non-finite"


TODO, DONE, NON_FINITE = 0, 1, 2  # the status of one point of a slice


def quantity(about: str, *, dims: tuple[str, ...] = (), unit: str = "1", optional: bool = False) -> Any:
    """A stored field: its meaning, its axes and its unit ("1" where it has none)."""
    metadata = {"about": about, "dims": dims, "unit": unit}
    return field(default=None, metadata=metadata) if optional else field(metadata=metadata)


def in_memory(about: str) -> Any:
    """A field that is not stored."""
    return field(default=None, metadata={"about": about, "stored": False}, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What all results share."""

    kind: ClassVar[str]
    status: Status
    settings: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Eigenpairs(Result):
    """Eigenvalues of an operator in descending order, each with its residual. k pairs, n params."""

    kind: ClassVar[str] = "eigenpairs"
    eigenvalues: Array = quantity("eigenvalues, descending", dims=("pair",), unit="loss / param^2")
    residuals: Array = quantity("|Hv - lv| / max |l|, held against a fresh product", dims=("pair",))
    low: Array | None = quantity(
        "an eigenvalue lies above this, by the residual", dims=("pair",), unit="loss / param^2", optional=True
    )
    high: Array | None = quantity("and below this", dims=("pair",), unit="loss / param^2", optional=True)
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
    self_check: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hvp: Mapping[str, Any] = field(default_factory=dict, repr=False)
    vectors: Array | None = in_memory("unit eigenvectors, (n, k)")

    def eigenvectors(self) -> Eigenvectors:
        """The vectors as a result of their own, for a file beside."""
        assert self.vectors is not None
        return Eigenvectors(
            status=self.status, settings=self.settings, eigenvalues=self.eigenvalues, vectors=self.vectors
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Eigenvectors(Result):
    """Unit eigenvectors of an operator: n params, k pairs. Large, so they go into a file of their own."""

    kind: ClassVar[str] = "eigenvectors"
    eigenvalues: Array = quantity("eigenvalues, descending", dims=("pair",), unit="loss / param^2")
    vectors: Array = quantity("unit eigenvectors, one a column", dims=("param", "pair"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace(Result):
    """Trace of an operator and its Frobenius norm, with standard errors over probes."""

    kind: ClassVar[str] = "trace"
    value: float = quantity("trace", unit="loss / param^2")
    stderr: float = quantity("standard error of the trace over probes", unit="loss / param^2")
    method: str = quantity("hutchinson, hutch++, xtrace, or exact where a whole basis was multiplied")
    operator: str = quantity("the matrix whose trace this is")
    frobenius: float = quantity("Frobenius norm", unit="loss / param^2")
    frobenius_stderr: float = quantity("standard error of the Frobenius norm over probes", unit="loss / param^2")
    effective_rank: float = quantity("squared trace over squared Frobenius norm")
    layers: tuple[str, ...] = quantity("names of the param tensors that the parts are of", optional=True)
    layer_value: Array | None = quantity("parts of the trace", dims=("layer",), unit="loss / param^2", optional=True)
    layer_stderr: Array | None = quantity(
        "standard errors of the parts", dims=("layer",), unit="loss / param^2", optional=True
    )
    num_matvecs: int = quantity("matrix-vector products spent", unit="products")
    num_probes: int = quantity("random vectors that the error is over", unit="probes")
    num_params: int = quantity("size of the operator", unit="params")
    num_samples: int | None = quantity("samples in the objective", unit="samples", optional=True)
    loss: float | None = quantity("the objective at this point", unit="loss", optional=True)
    self_check: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hvp: Mapping[str, Any] = field(default_factory=dict, repr=False)
    diagonal: Array | None = in_memory("diagonal of the operator, (n,)")
    diagonal_stderr: Array | None = in_memory("standard errors of the diagonal, (n,)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Density(Result):
    """Distribution of an operator's eigenvalues: one quadrature rule a probe."""

    kind: ClassVar[str] = "density"
    nodes: Array = quantity("nodes of the quadrature", dims=("probe", "step"), unit="loss / param^2")
    weights: Array = quantity("weights of the nodes; each row's sum is 1", dims=("probe", "step"))
    operator: str = quantity("the matrix whose eigenvalues these stand for")
    trace: float = quantity("trace, by the nodes' mean", unit="loss / param^2")
    trace_stderr: float | None = quantity(
        "standard error of the trace over probes", unit="loss / param^2", optional=True
    )
    bulk_edge: float = quantity(
        "mean + 6 standard deviations of the eigenvalues below it, found by iteration", unit="loss / param^2"
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
    self_check: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hvp: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Line(Result):
    """Loss along a straight line: w(alpha) = w + alpha * direction. m points."""

    kind: ClassVar[str] = "line"
    alpha: Array = quantity("position: multiples of the direction", dims=("alpha",))
    loss: Array = quantity("loss", dims=("alpha",), unit="loss")
    loss_stderr: Array = quantity("standard error of the loss over samples", dims=("alpha",), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("alpha",), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("alpha",), unit="loss", optional=True)
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("alpha",), optional=True)
    point_status: Array = quantity("0 to do, 1 done, 2 non-finite", dims=("alpha",))
    unit_length: float = quantity("Euclidean length of one unit of alpha", unit="param")
    barrier: float | None = quantity("max over [0, 1] of L(t) - (1-t) L(0) - t L(1)", unit="loss", optional=True)
    error_barrier: float | None = quantity("max over [0, 1] of the error less the mean of the ends", optional=True)
    split: str = quantity("the split that loss and accuracy are of")
    bn: str = quantity("batch norm: eval, batch, or interpolate (the statistics move with the params)")
    direction: Mapping[str, Any] = field(default_factory=dict, metadata={"about": "how the direction came about"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane(Result):
    """Loss over a plane: w(alpha, beta) = w + alpha * d1 + beta * d2. Rows follow alpha."""

    kind: ClassVar[str] = "plane"
    alpha: Array = quantity("position along the first direction", dims=("alpha",))
    beta: Array = quantity("position along the second direction", dims=("beta",))
    loss: Array = quantity("loss", dims=("alpha", "beta"), unit="loss")
    loss_stderr: Array = quantity("standard error of the loss over samples", dims=("alpha", "beta"), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("alpha", "beta"), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("alpha", "beta"), unit="loss", optional=True)
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("alpha", "beta"), optional=True)
    point_status: Array = quantity("0 to do, 1 done, 2 non-finite", dims=("alpha", "beta"))
    unit_lengths: Array = quantity("Euclidean length of one unit of alpha, of beta", dims=("axis",), unit="param")
    cosine: float = quantity("cosine between the two directions")
    split: str = quantity("the split that loss and accuracy are of")
    direction: Mapping[str, Any] = field(default_factory=dict, metadata={"about": "how the directions came about"})

    @property
    def evaluated(self) -> Array:
        """Which points were evaluated: boolean, (len(alpha), len(beta))."""
        return self.point_status != TODO


@dataclass(frozen=True, kw_only=True, eq=False)
class Sharpness(Result):
    """One sharpness measure at one point. The train loss stands beside it, since sharpness follows it."""

    kind: ClassVar[str] = "sharpness"
    measure: str = quantity("the definition")
    space: str = quantity("the space that is searched: full or random")
    value: float = quantity("the measure", unit="percent of 1 + loss")
    stderr: float | None = quantity("standard error over random subspaces", optional=True)
    epsilon: float = quantity("half-width of the box, relative to |x| + 1")
    loss: float = quantity("the objective at the centre", unit="loss")
    max_loss: float = quantity("the largest objective found in the box", unit="loss")
    iterations: int = quantity("L-BFGS-B iterations done")
    num_evaluations: int = quantity("evaluations of value and gradient", unit="gradient passes")
    on_boundary: float = quantity("share of the coordinates that end on a face of the box")
    displaced_start: bool = quantity("whether the search started off centre, the gradient there being zero")
    num_params: int = quantity("size of the space", unit="params")
    num_samples: int = quantity("samples in the objective", unit="samples")


@dataclass(frozen=True, kw_only=True, eq=False)
class Training(Result):
    """The log of a training run: one row an epoch, the first row (epoch 0) the initial point."""

    kind: ClassVar[str] = "training"
    epoch: Array = quantity("epochs done", dims=("epoch",), unit="epochs")
    updates: Array = quantity("updates of the params done", dims=("epoch",), unit="updates")
    train_loss: Array = quantity("loss on the whole training split, eval mode", dims=("epoch",), unit="loss")
    train_accuracy: Array = quantity("accuracy on the whole training split, eval mode", dims=("epoch",))
    test_loss: Array = quantity("loss on the test split", dims=("epoch",), unit="loss")
    test_accuracy: Array = quantity("accuracy on the test split", dims=("epoch",))
    learning_rate: Array = quantity("learning rate of the epoch's last update", dims=("epoch",))
    distance: Array = quantity("Euclidean distance of the params from the initial point", dims=("epoch",), unit="param")
    seconds: Array = quantity("wall-clock time spent training so far", dims=("epoch",), unit="s")
    initial_params: Array | None = quantity("the params before the first update", dims=("param",), optional=True)


def finite(value: Any) -> Any:
    """`value` for JSON: numpy to Python, non-finite numbers to None."""
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def stored_fields(result_type: type[Result]) -> list[dataclasses.Field[Any]]:
    """The fields of a result type that go into a file, in order."""
    return [f for f in dataclasses.fields(result_type) if f.metadata.get("stored", True)]


KINDS: dict[str, type[Result]] = {
    kind.kind: kind for kind in (Training, Eigenpairs, Eigenvectors, Trace, Density, Line, Plane, Sharpness)
}
