"""The measures of a comparison, by name: at a point, and between two. No torch, so that listing is quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..measures import MEASURES

PRESETS = ("quick", "standard", "full")
KINDS = ("function", "raw", "invariant")


@dataclass(frozen=True, kw_only=True)
class PointMeasure:
    """What is measured at each minimum.

    kind: `function`, of the outputs alone; `raw`, moves where ReLU layers are rescaled and the outputs stay (Dinh et
    al. 2017); `invariant`, stays. needs: `classes`, a `test` split, the `start` of training. of_samples: whether it is
    of the data, so that subsets of them have values of their own. cost: in gradient passes. preset: the first that has
    it; those after it do too.
    """

    name: str
    formula: str
    source: str
    unit: str
    kind: str
    cost: str
    preset: str
    needs: tuple[str, ...] = ()
    of_samples: bool = True


@dataclass(frozen=True, kw_only=True)
class PairMeasure:
    """What is measured between two minima.

    needs: `params`, one space of params, so one architecture; `classes`, a `test` split, the `start` of both. The rest
    as in PointMeasure.
    """

    name: str
    formula: str
    source: str
    unit: str
    cost: str
    preset: str
    needs: tuple[str, ...] = ()


def _sharpness(name: str, preset: str, *, known_as: str | None = None, cost: str | None = None) -> PointMeasure:
    """A measure of `landscape sharpness`, with its defaults; random ones by 30 probes here."""
    known = MEASURES[known_as or name]
    kind = "invariant" if known.invariances.layers else "raw"
    return PointMeasure(
        name=name,
        formula=known.formula,
        source=known.source,
        unit=known.unit,
        kind=kind,
        cost=cost or known.cost,
        preset=preset,
    )


_PROBES = "2 to 3 a product, 30 products"

_POINTS = (
    PointMeasure(
        name="train-loss",
        formula="S / W over the training samples, without the l2 penalty",
        source="",
        unit="loss",
        kind="function",
        cost="a third",
        preset="quick",
    ),
    PointMeasure(
        name="test-loss",
        formula="S / W over the test samples, without the l2 penalty",
        source="",
        unit="loss",
        kind="function",
        cost="a third",
        preset="quick",
        needs=("test",),
    ),
    PointMeasure(
        name="train-accuracy",
        formula="share of right answers on the training samples",
        source="",
        unit="1",
        kind="function",
        cost="none beside train-loss",
        preset="quick",
        needs=("classes",),
    ),
    PointMeasure(
        name="test-accuracy",
        formula="share of right answers on the test samples",
        source="",
        unit="1",
        kind="function",
        cost="none beside test-loss",
        preset="quick",
        needs=("classes", "test"),
    ),
    PointMeasure(
        name="gap",
        formula="train-accuracy - test-accuracy",
        source="Jiang et al. 2020",
        unit="1",
        kind="function",
        cost="none beside both",
        preset="quick",
        needs=("classes", "test"),
    ),
    PointMeasure(
        name="param-norm",
        formula="|w|",
        source="",
        unit="param",
        kind="raw",
        cost="none",
        preset="quick",
        of_samples=False,
    ),
    PointMeasure(
        name="distance",
        formula="|w - w_0|, w_0 the start of training",
        source="Hoffer et al. 2017; Nagarajan & Kolter 2019",
        unit="param",
        kind="raw",
        cost="none",
        preset="quick",
        needs=("start",),
        of_samples=False,
    ),
    PointMeasure(
        name="gradient-norm",
        formula="|dL/dw|",
        source="",
        unit="loss/param",
        kind="raw",
        cost="1",
        preset="quick",
    ),
    _sharpness("eigenvalue-max", "standard", known_as="eigenvalue"),
    PointMeasure(
        name="eigenvalue-min",
        formula="l_n, the smallest eigenvalue of H",
        source="Sagun et al. 2018",
        unit=MEASURES["eigenvalue"].unit,
        kind="raw",
        cost="2 to 3 a product, 30 to 100 products",
        preset="full",
    ),
    _sharpness("trace", "standard", cost=_PROBES),
    _sharpness("frobenius", "standard", cost="none beside trace"),
    _sharpness("sam", "quick"),
    _sharpness("sam-adaptive", "quick"),
    _sharpness("keskar", "full"),
    _sharpness("worst", "full"),
    _sharpness("worst-adaptive", "full"),
    _sharpness("average", "full"),
    _sharpness("average-adaptive", "full"),
    _sharpness("filter-eigenvalue", "full"),
    _sharpness("filter-trace", "full", cost=_PROBES),
    _sharpness("relative-flatness", "standard", cost="30 products with the block of one layer"),
    _sharpness("fisher-rao", "standard"),
    PointMeasure(
        name="noise-scale",
        formula="B_simple = tr(Sigma) / |G|^2",
        source="McCandlish et al. 2018, section 2.2",
        unit="samples",
        kind="raw",
        cost="3, and the gradients of 64 samples",
        preset="standard",
    ),
)

_PAIRS = (
    PairMeasure(
        name="distance",
        formula="|w - w'|, of each layer too",
        source="",
        unit="param",
        cost="none",
        preset="quick",
        needs=("params",),
    ),
    PairMeasure(
        name="cosine",
        formula="<w, w'> / (|w| |w'|), of each layer too",
        source="",
        unit="1",
        cost="none",
        preset="quick",
        needs=("params",),
    ),
    PairMeasure(
        name="update-cosine",
        formula="the cosine of w - w_0 and w' - w_0', w_0 the start of each, of each layer too",
        source="Fort et al. 2019",
        unit="1",
        cost="none",
        preset="quick",
        needs=("params", "start"),
    ),
    PairMeasure(
        name="disagreement",
        formula="share of the training samples that the two put into different classes",
        source="Fort et al. 2019",
        unit="1",
        cost="two thirds",
        preset="quick",
        needs=("classes",),
    ),
    PairMeasure(
        name="test-disagreement",
        formula="share of the test samples that the two put into different classes",
        source="Fort et al. 2019; Jiang et al. 2022",
        unit="1",
        cost="two thirds",
        preset="quick",
        needs=("classes", "test"),
    ),
    PairMeasure(
        name="cka",
        formula="HSIC(X, Y) / (HSIC(X, X) HSIC(Y, Y))^(1/2) of what the last layers read, linear, unbiased",
        source="Kornblith et al. 2019; Nguyen et al. 2021",
        unit="1",
        cost="one to some, by the width of the layers",
        preset="quick",
    ),
    PairMeasure(
        name="barrier",
        formula="max_t L(w_t) - (1-t) L(w) - t L(w'),  w_t = (1-t) w + t w'",
        source="Entezari et al. 2022, definition 1; Frankle et al. 2020",
        unit="loss",
        cost="a third a point, 21 points",
        preset="quick",
        needs=("params",),
    ),
    PairMeasure(
        name="aligned-barrier",
        formula="the barrier to w' with its hidden units in the order closest to w",
        source="Ainsworth et al. 2023; Entezari et al. 2022",
        unit="loss",
        cost="as barrier, and the alignment",
        preset="quick",
        needs=("params",),
    ),
    PairMeasure(
        name="overlap",
        formula="tr(P P') / k, P onto the k = 10 leading eigenvectors of H: mean squared cosine of principal angles",
        source="Gur-Ari et al. 2018, section 2",
        unit="1",
        cost="2 to 3 a product, some 100 products at each",
        preset="full",
        needs=("params",),
    ),
)

POINTS: Mapping[str, PointMeasure] = {measure.name: measure for measure in _POINTS}
PAIRS: Mapping[str, PairMeasure] = {measure.name: measure for measure in _PAIRS}


def preset(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names at points and between them that a preset has, in the order of the tables. UsageError if unknown."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; one of {', '.join(PRESETS)}")
    kept = PRESETS[: PRESETS.index(name) + 1]
    points = tuple(m.name for m in POINTS.values() if m.preset in kept)
    return points, tuple(m.name for m in PAIRS.values() if m.preset in kept)


def named(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names at points and between them that a list asks for, each once, in the order of the tables.

    Blanks around names, and names that are empty, do not count: a list is a text cut at its commas. `distance` is both.
    UsageError for a name that is none, or an empty list.
    """
    names = [name.strip() for name in names if name.strip()]
    unknown = [name for name in names if name not in POINTS and name not in PAIRS]
    if unknown or not names:
        there = ", ".join(dict.fromkeys([*POINTS, *PAIRS]))
        raise UsageError(f"unknown measure {unknown[0]!r}; there are: {there}" if unknown else f"name some of: {there}")
    return tuple(name for name in POINTS if name in names), tuple(name for name in PAIRS if name in names)
