"""Measures between two minima, by name: distances, predictions, features, barriers, eigenspaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..alignment import align
from ..errors import InputError, NumericalError, UsageError, one_line
from ..execution import has_batch_norm
from ..objective import Objective
from ..passes import NO_CLASS, classes
from ..results import Line, Status
from ..slices import line
from ..slices.barriers import Z95
from ..slices.courses import refuse_other_objective
from ..subspace import subspace_overlap
from ..vectors import layout_of
from .points import NO_CLASSES, NO_START, NO_TEST, Point
from .similarity import cka
from .table import PAIRS

ALPHAS = np.linspace(0, 1, 21)  # of the line between two minima
ROUNDING = 1e-7  # of the losses at its ends: a barrier up to this is none
RESTARTS = 3  # of the alignment, as in `landscape line`
OTHER_PARAMS = "the networks are of different architectures, so their params are not points of one space"


@dataclass(frozen=True)
class Pair:
    """A measure between two minima: its value, the ends of its 95 % interval over samples where it has one.

    `layers`: the values of each param tensor, of cka those of each layer. `note`: why there is no value, or what to
    hold against the one there is. `line`: the slice that a barrier was seen on. `status` as in `Value`.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    layers: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None
    line: Line | None = None
    status: Status = Status.COMPLETE


def measure_pair(one: Point, other: Point, name: str) -> Pair:
    """The value of a measure (`landscape.comparing.table.PAIRS`) between two points over the same samples.

    What does not apply, as params of different architectures, is a Pair of None with the reason. Costs as the table
    says. Raises UsageError for an unknown name, InputError for points over other samples, ResourceError where memory
    ends.
    """
    if name not in PAIRS:
        raise UsageError(f"unknown measure {name!r}; there are: {', '.join(PAIRS)}")
    refuse_other_samples(one, other)
    try:
        lacking = _lacking(one, other, PAIRS[name].needs)
        return Pair(None, note=lacking) if lacking else _BY_NAME[name](one, other)
    except InputError as error:
        return Pair(None, note=one_line(error))
    except NumericalError as error:
        return Pair(None, note=one_line(error), status=Status.NON_FINITE)


def refuse_other_samples(one: Point, other: Point) -> None:
    """InputError unless two points are over the same samples and measured alike, but for the network."""
    keys = ["data", "loss", "loss_code", "l2", "dtype", "device"]
    if all(has_batch_norm(point.objective.model) for point in (one, other)):
        keys += ["bn", "bn_batch"]
    for split, mine, theirs in (("training", one.objective, other.objective), ("test", one.test, other.test)):
        if (mine is None) != (theirs is None):
            raise InputError(f"one minimum has {split} samples and the other has none; compare on the same data")
        if mine is None or theirs is None:
            continue
        different = [key for key in keys if mine.identity[key] != theirs.identity[key]]
        if different:
            raise InputError(
                f"the minima differ in {', '.join(different)} of their {split} samples; a pair needs the same"
            )
    if one.classes() != other.classes():
        raise InputError(f"the networks have {one.classes()} and {other.classes()} classes; a pair needs the same")


def same_params(one: Objective, other: Objective) -> bool:
    """Whether two objectives are functions of the same params."""
    return one.layout == other.layout and one.identity["model"] == other.identity["model"]


def _lacking(one: Point, other: Point, needs: tuple[str, ...]) -> str | None:
    """Which of its needs a measure lacks at two points."""
    if "params" in needs and not same_params(one.objective, other.objective):
        return OTHER_PARAMS
    if "test" in needs and one.test is None:
        return NO_TEST
    if "start" in needs and (one.start is None or other.start is None):
        return NO_START
    if "classes" in needs and any(math.isnan(float(point.measured().accuracy)) for point in (one, other)):
        return NO_CLASSES
    return None


def _params(point: Point) -> Tensor:
    return point.objective.params.double()


def _distance(one: Point, other: Point) -> Pair:
    step = _params(other) - _params(one)
    layers = {name: float(part.norm()) for name, part in one.objective.layout.named(step).items()}
    return Pair(float(step.norm()), layers=layers)


def _cosine(one: Point, other: Point) -> Pair:
    return _cosines(one, _params(one), _params(other))


def _update_cosine(one: Point, other: Point) -> Pair:
    first, second = one.step(), other.step()
    assert first is not None
    assert second is not None
    return _cosines(one, first, second)


def _cosines(one: Point, first: Tensor, second: Tensor) -> Pair:
    layout = one.objective.layout
    parts = zip(layout.names, layout.split(first), layout.split(second), strict=True)
    layers = {name: _angle(mine.flatten(), theirs.flatten()) for name, mine, theirs in parts}
    found = _angle(first, second)
    note = "one of them has not moved" if math.isnan(found) else None
    return Pair(None if note else found, layers=layers, note=note)


def _angle(first: Tensor, second: Tensor) -> float:
    norms = float(first.norm() * second.norm())
    return float(first @ second) / norms if norms > 0 else math.nan


def _disagreement(one: Objective, other: Objective) -> Pair:
    """The share of samples with other predictions, with Wilson's interval (1927) of a share.

    A sample that either puts into no class counts as one on which they differ.
    """
    mine, theirs = predictions(one), predictions(other)
    differ = int(((mine != theirs) | (mine == NO_CLASS)).sum())
    count = one.num_samples
    return Pair(differ / count, *wilson(differ, count))


def predictions(objective: Objective) -> Tensor:
    """The class of each sample (N,), -1 where its outputs are not finite (`passes.classes`). One forward pass."""
    parts, found = objective.parts(), []
    with objective.running(), torch.no_grad():
        for batch in objective.samples.chunks(objective.chunk):
            found.append(classes(objective.outputs(parts, batch)))
    return torch.cat(found)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share by the score test (Wilson 1927): it holds near 0 and 1 too."""
    share, z2 = hits / count, Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    # exactly 0 and 1 but for rounding, where no sample or each of them counts
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == count else middle + half)


def _test_disagreement(one: Point, other: Point) -> Pair:
    assert one.test is not None
    assert other.test is not None
    return _disagreement(one.test, other.test)


def _cka(one: Point, other: Point) -> Pair:
    last, layers = cka(one.objective, other.objective, layers=same_params(one.objective, other.objective))
    note = "not resolved: the features of one do not vary over these samples" if not math.isfinite(last) else None
    return Pair(None if note else last, layers=layers, note=note)


def _barrier(one: Point, other: Point) -> Pair:
    return _along(one, other.objective, {"kind": "between"})


def _aligned_barrier(one: Point, other: Point) -> Pair:
    if one.objective.layout != layout_of(one.objective.model):
        return Pair(None, note="hidden units are permuted in all params, of which only some are measured")
    refuse_other_objective(one.objective, other.objective)
    found = align(one.objective, other.objective, restarts=RESTARTS, seed=one.seed)
    about = {key: getattr(found, key) for key in ("distance_before", "distance", "moved")}
    return _along(one, found.objective, {"kind": "between", "align": about})


def _along(one: Point, end: Objective, made: Mapping[str, object]) -> Pair:
    found = line(one.objective, end, ALPHAS, made=made)
    if found.barrier is None or not math.isfinite(found.barrier):
        note = "the loss is not finite on the line between them"
        return Pair(None, note=note, line=found, status=Status.NON_FINITE)
    rounding, high = ROUNDING * float(np.abs(found.loss[[0, -1]]).max()), found.barrier_high
    if found.barrier > rounding:
        return Pair(found.barrier, found.barrier_low, high, line=found)
    if high is None or high <= rounding:
        return Pair(0.0, line=found)  # no interval: what is left of one is rounding
    return Pair(0.0, 0.0, high, line=found)


def _overlap(one: Point, other: Point) -> Pair:
    pairs = [point.leading() for point in (one, other)]
    count = len(pairs[0].eigenvalues)
    note = f"random spans have {count / one.objective.layout.size:.1e}"
    if all(found.status is Status.CONVERGED for found in pairs):
        return Pair(subspace_overlap(*pairs), note=note)
    return Pair(subspace_overlap(*pairs), note=f"{note}; not all eigenvectors", status=Status.NOT_CONVERGED)


_BY_NAME: Mapping[str, Callable[[Point, Point], Pair]] = {
    "distance": _distance,
    "cosine": _cosine,
    "update-cosine": _update_cosine,
    "disagreement": lambda one, other: _disagreement(one.objective, other.objective),
    "test-disagreement": _test_disagreement,
    "cka": _cka,
    "barrier": _barrier,
    "aligned-barrier": _aligned_barrier,
    "overlap": _overlap,
}
assert set(PAIRS) == set(_BY_NAME)
