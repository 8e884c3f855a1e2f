"""Measures at one minimum, by name: what several of them need is computed once."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import InputError, NumericalError, UsageError, one_line
from ..measures import MEASURES, unresolved
from ..noise import gradient_noise
from ..objective import Objective
from ..operators import AbstractOperator, Congruent, Hessian
from ..operators.outputs import num_classes
from ..passes import Evaluation, Measured
from ..results import Eigenpairs, GradientNoise, Sharpness, Status, Trace
from ..sharpness import Shared, measure
from ..sharpness.curvature import by_filter
from ..sharpness.layers import last_layer
from ..spectrum import top_eigenpairs
from ..traces import trace
from .table import POINTS

PROBES = 30  # of every random estimate: as many at each minimum, so that they cost and err alike
EIGENVALUE_TOL = 1e-3  # residual, of the largest value, as in `landscape sharpness`
MOST_PRODUCTS = 1000
SUBSPACE = 10  # leading eigenvectors whose span is compared
WORTH_TELLING = 0.1  # of an eigenvalue: a residual above this
NO_TOLERANCE = 1e-12  # of a trace: all the probes are taken

NO_CLASSES = "the outputs are no classes"
NO_TEST = "no test samples are given"
NO_START = "the start of training is not known"


class Value(NamedTuple):
    """A measure's value with its standard error over probes or draws, None where nothing is drawn.

    `note`: why there is no value, or what to hold against the one there is. `resolution`: how far off the solver may
    have left the value, in its unit. `status`: `not resolved` of a value that is not to be told from others, `not
    converged`, `non-finite` where there is none for a numerical reason.
    """

    value: float | None
    stderr: float | None = None
    note: str | None = None
    resolution: float = 0.0
    status: Status = Status.COMPLETE

    @property
    def said(self) -> str:
        """The note with the status that it explains."""
        return self.note or "" if self.status == Status.COMPLETE else f"{self.status}: {self.note}"


@dataclass(eq=False)
class Point:
    """A minimum that is measured: its objective, the same on test samples, the params that training started from.

    `start` is a vector (n,) or tensors by name. What is found stays with the point; the products of its Hessian, which
    fill memory, until `release`.
    """

    objective: Objective
    test: Objective | None = None
    start: Tensor | Mapping[str, Tensor] | None = None
    seed: int = 0
    probes: int = PROBES
    results: Shared = field(init=False, repr=False)
    products: Shared = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.probes < PROBES:
            raise UsageError(f"a standard error takes {PROBES} probes at least, got {self.probes}")
        self.results, self.products = Shared(self.objective), Shared(self.objective)

    def release(self) -> None:
        """Gives back the memory of products and of vectors of n, but for eigenvectors; other numbers stay."""
        self.products = Shared(self.objective)
        for name in ("gradient", "trace"):
            self.results.found.pop(name, None)

    def forget(self) -> None:
        """Gives back the memory of eigenvectors too."""
        self.release()
        for key in [key for key in self.results.found if isinstance(key, tuple)]:
            del self.results.found[key]

    def classes(self) -> int | None:
        """Classes of the outputs, where they are classes. A forward pass over one sample."""
        return self.results.once("classes", lambda: num_classes(self.objective))

    def loss(self) -> float:
        """The train loss, without the l2 penalty. A forward pass."""
        return self.measured().evaluation().loss - float(self.objective.penalty())

    def measured(self) -> Measured:
        """Loss and accuracy on the training samples, with each sample's part in them. One forward pass."""
        return self.results.once("measured", self.objective.measured)

    def evaluation(self, split: str) -> Evaluation | None:
        """Loss (without the l2 penalty), its standard error and accuracy of a split; None where there is none."""
        if split == "train":
            found = self.measured().evaluation()
            return Evaluation(self.loss(), found.loss_stderr, found.accuracy)
        return None if self.test is None else self.results.once("test", self._tested)

    def _tested(self) -> Evaluation:
        assert self.test is not None
        found = self.test.evaluate()
        return Evaluation(found.loss - float(self.test.penalty()), found.loss_stderr, found.accuracy)

    def gradient(self) -> Tensor:
        """dL/dw (n,). One gradient pass."""
        return self.results.once("gradient", lambda: self.objective.value_and_gradient()[1])

    def gradient_norm(self) -> float:
        """|dL/dw|."""
        return float(self.gradient().norm())

    def curvature_along(self) -> float:
        """g'Hg / |g|^2, in loss/param^2, of the gradient g; nan where that is zero. A Hessian-vector product."""
        gradient = self.gradient()
        squared = float(gradient @ gradient)
        if squared == 0:
            return math.nan
        return float(gradient.double() @ self.objective.hvp(gradient).double()) / squared

    def step(self) -> Tensor | None:
        """w - w_0 (n,) in float64; None where the start is not known. InputError where it has other params."""
        if self.start is None:
            return None
        start = self.start if isinstance(self.start, Tensor) else self.objective.layout.join(self.start)
        own = self.objective.params
        if start.shape != own.shape:
            raise InputError(f"the start of training has {start.numel()} params, the minimum {own.numel()}")
        return own.double() - start.to(own.device).double()

    def ends(self) -> Eigenpairs:
        """Both ends of the Hessian's spectrum by one search: the smallest eigenvalue takes most of its products."""
        return self.results.once("ends", lambda: self._eigenpairs(1, "both"))

    def leading(self, count: int = SUBSPACE) -> Eigenpairs:
        """The leading eigenpairs of the Hessian."""
        count = min(count, self.objective.layout.size)
        return self.results.once(("leading", count), lambda: self._eigenpairs(count, "largest"))

    def _eigenpairs(self, count: int, which: str) -> Eigenpairs:
        options: dict[str, Any] = {"tol": EIGENVALUE_TOL, "max_matvecs": MOST_PRODUCTS, "seed": self.seed}
        return top_eigenpairs(self.products.hessian(), count, which=which, **options)

    def trace(self) -> Trace:
        """Trace and Frobenius norm of the Hessian by the same probes."""
        return self.results.once("trace", lambda: self.trace_of(self.products.hessian()))

    def noise(self) -> GradientNoise:
        """The noise of the gradient on the training samples."""
        return self.results.once("noise", lambda: gradient_noise(self.objective, seed=self.seed))

    def trace_of(self, operator: AbstractOperator) -> Trace:
        """A trace by the point's probes, all of them whatever its error: exact where they are as many as params."""
        return trace(operator, tol=NO_TOLERANCE, max_matvecs=self.probes, seed=self.seed)


def measure_point(point: Point, name: str) -> Value:
    """The value of a measure (`landscape.comparing.table.POINTS`) at a point, with its standard error over probes.

    Each random measure takes the point's probes, drawn from its seed: equal at all points of equal seeds and sizes, so
    that a part of their errors cancels in differences. What does not apply, or has no finite value, is a Value of None
    with the reason. Costs as the table says; less after others of the same point. Raises UsageError for an unknown
    name, ResourceError where memory ends.
    """
    if name not in POINTS:
        raise UsageError(f"unknown measure {name!r}; there are: {', '.join(POINTS)}")
    try:
        lacking = _lacking(point, POINTS[name].needs)
        if lacking:
            return Value(None, note=lacking)
        found = _OWN[name](point) if name in _OWN else _by_name(point, name)
    except InputError as error:
        return Value(None, note=one_line(error))
    except NumericalError as error:
        return Value(None, note=one_line(error), status=Status.NON_FINITE)
    if found.value is not None and not math.isfinite(found.value):
        return Value(None, note=found.note or "it is not finite", status=Status.NON_FINITE)
    return found


def _lacking(point: Point, needs: tuple[str, ...]) -> str | None:
    """Which of its needs a measure lacks at a point."""
    if "test" in needs and point.test is None:
        return NO_TEST
    if "start" in needs and point.start is None:
        return NO_START
    if "classes" in needs and math.isnan(_evaluated(point, "train").accuracy):
        return NO_CLASSES
    return None


def _evaluated(point: Point, split: str) -> Evaluation:
    found = point.evaluation(split)
    assert found is not None
    return found


def _distance(point: Point) -> Value:
    step = point.step()
    assert step is not None
    return Value(float(step.norm()))


def _end(found: Eigenpairs, index: int) -> Value:
    value, reach = float(found.eigenvalues[index]), float(found.residuals[index] * abs(found.eigenvalues).max())
    if found.status is not Status.CONVERGED:
        return Value(value, note=f"residual {reach:.1e}", resolution=reach, status=Status.NOT_CONVERGED)
    # the residual is relative to the largest value, so that the other end may be small against it
    note = f"residual {reach:.1e}" if reach > WORTH_TELLING * abs(value) else None
    return Value(value, note=note, resolution=reach)


def _of_trace(found: Trace) -> Value:
    return Value(found.value, found.stderr)


def _frobenius(point: Point) -> Value:
    found = point.trace()
    return Value(found.frobenius, found.frobenius_stderr)


def _relative_flatness(point: Point) -> Value:
    # its own function takes as many probes as its error asks for, here all take the same
    block = point.objective.restricted(glob.escape(last_layer(point.objective)))
    rows = Congruent.rows(Hessian(block), block.layout.split(block.params)[0])
    return _of_trace(point.trace_of(rows))


def _noise_scale(point: Point) -> Value:
    found = point.noise()
    if found.b_simple is None:
        return Value(None, note="the mean gradient is within its error at these samples", status=Status.NOT_RESOLVED)
    if found.b_simple_high is None:
        return Value(found.b_simple, note="its own interval has no upper end", status=Status.NOT_RESOLVED)
    return Value(found.b_simple)


def _by_name(point: Point, name: str) -> Value:
    """A measure of `landscape sharpness` with its defaults."""
    found: Sharpness = measure(point.objective, name, seed=point.seed, shared=point.products)
    if found.status is Status.NOT_RESOLVED:
        return Value(found.value, found.stderr, unresolved(name), status=found.status)
    if found.status is Status.NOT_CONVERGED:
        steps = found.num_matvecs or found.iterations
        return Value(found.value, found.stderr, f"after {steps} steps", status=found.status)
    return Value(found.value, found.stderr)


_OWN: Mapping[str, Callable[[Point], Value]] = {
    "train-loss": lambda point: Value(_evaluated(point, "train").loss),
    "test-loss": lambda point: Value(_evaluated(point, "test").loss),
    "train-accuracy": lambda point: Value(_evaluated(point, "train").accuracy),
    "test-accuracy": lambda point: Value(_evaluated(point, "test").accuracy),
    "gap": lambda point: Value(_evaluated(point, "train").accuracy - _evaluated(point, "test").accuracy),
    "param-norm": lambda point: Value(float(point.objective.params.double().norm())),
    "distance": _distance,
    "gradient-norm": lambda point: Value(point.gradient_norm()),
    "eigenvalue-max": lambda point: _end(point.leading(1), 0),
    "eigenvalue-min": lambda point: _end(point.ends(), -1),
    "trace": lambda point: _of_trace(point.trace()),
    "frobenius": _frobenius,
    "filter-trace": lambda point: _of_trace(point.trace_of(by_filter(point.objective, point.products))),
    "relative-flatness": _relative_flatness,
    "noise-scale": _noise_scale,
}
assert set(POINTS) <= set(_OWN) | set(MEASURES)
