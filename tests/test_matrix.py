"""Layers and losses against finite differences in float64; what is refused; wrong forms of the product caught."""

import importlib.util
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from layers import (
    BY_NAME,
    DTYPE,
    PAIRS,
    REFUSALS,
    RIGHT,
    direction,
    made,
    measured,
    objective_of,
    refused,
    relative,
    tracing_always,
)
from torch.func import grad, jacrev, jvp, vjp

from landscape import GaussNewton, Hessian, Objective
from landscape.data.samples import length
from landscape.errors import InputError, NumericalError
from landscape.operators.gauss_newton import _curvature
from landscape.operators.outputs import outputs_and_weight
from landscape.products import Engine, GramForm, HessianForm
from landscape.vectors import flatten

ROOT = Path(__file__).resolve().parent.parent
NAMES = [pair.name for pair in PAIRS]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tensors this small only wait for a second thread: minutes, where something else has the other core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Pairs --------------------------------------------------------------------------------------------------------------


def test_the_matrix_is_as_large_as_it_says():
    assert len(BY_NAME) == len(PAIRS) >= 45
    assert len({refusal.name for refusal in REFUSALS}) == len(REFUSALS) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_products_are_right(name):
    found = measured(name)
    assert found.chunks > 1
    assert found.steps <= RIGHT, "the two finite differences disagree: no truth"
    assert found.error <= RIGHT


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_path_agrees_or_falls_back(name, request):
    found, falls_back = measured(name), BY_NAME[name].falls_back
    assert found.fast <= 1e-8
    if falls_back is None:
        assert (found.linearize, found.path) == ("", "linearize")
    else:
        assert re.search(falls_back[0], found.linearize)
        assert found.path == "double"


@pytest.mark.parametrize("name", NAMES)
def test_the_self_check_agrees(name):
    found = measured(name)
    assert found.verdict == "agrees" or (found.verdict == "inconclusive" and found.reason)


@pytest.mark.parametrize("name", [pair.name for pair in PAIRS if pair.gauss_newton])
def test_the_gauss_newton_matrix_is_right(name):
    found = measured(name).gauss_newton
    assert found is not None
    assert found <= RIGHT


BLOCKS = (
    "LayerNorm | cross-entropy",
    "BatchNorm1d, batch statistics | cross-entropy",
    "Conv2d, grouped | cross-entropy, label smoothing",
    "MultiheadAttention | cross-entropy",
    "tied weights, batches of several lengths | loss(model, batch), (sum, weight)",
)


@pytest.mark.parametrize("path", ["double", "linearize"])
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_vectors_equal_single_products(name, path):
    operator = Hessian(objective_of(BY_NAME[name]), hvp=path)
    block = torch.stack([direction(operator.size, seed) for seed in range(3)], dim=1)
    operator.matvec(block[:, 0])  # builds the chunks
    operator.engine.block = 3  # whatever is faster
    together = operator.matmat(block)
    operator.engine.block = 1
    single = torch.stack([operator.matvec(column) for column in block.T], dim=1)
    assert relative(together, single) <= 1e-12


def test_gauss_newton_refuses_dict_batches():
    with pytest.raises(InputError, match="outputs apart from the loss"):
        GaussNewton(objective_of(BY_NAME["Bilinear | loss(model, batch), Huber"]))


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_refused_with_a_reason(refusal, request):
    kind, line = refused(refusal.name)
    assert issubclass(kind, refusal.kind)
    assert re.search(refusal.pattern, line)
    assert "\n" not in line


# Wrong forms --------------------------------------------------------------------------------------------------------


def _sum(objective, batch):
    return lambda parts: objective.forward(parts, batch)[1][0]


def _right(objective, parts, along, batch):
    return jvp(grad(_sum(objective, batch)), (tuple(parts),), (tuple(along),))[1]


def _forward_over_jacrev(objective, parts, along, batch):
    return jvp(jacrev(_sum(objective, batch)), (tuple(parts),), (tuple(along),))[1]


def _jacrev_of_jacrev(objective, parts, along, batch):
    function, layout = _sum(objective, batch), objective.layout
    matrix = jacrev(jacrev(lambda vector: function(layout.split(vector))))(flatten(parts))
    return tuple(layout.split(matrix @ flatten(along)))


def _reverse_over_forward(objective, parts, along, batch):
    function = _sum(objective, batch)
    return grad(lambda at: jvp(function, (at,), (tuple(along),))[1])(tuple(parts))


def _gauss_newton(objective, parts, along, batch):
    return GramForm(outputs_and_weight(objective), _curvature(objective)).traced(parts, along, batch)


def _saved_detached(objective, parts, along, batch):
    """The loss's gradient by the outputs is taken for a constant when the product is formed."""

    def outputs(at):
        return objective.outputs(at, batch)

    slope = grad(lambda o: objective.loss.totals(o, batch[1], length(batch))[0])(outputs(tuple(parts)))
    return jvp(lambda at: vjp(outputs, at)[1](slope)[0], (tuple(parts),), (tuple(along),))[1]


def _scaled(objective, parts, along, batch, factor):
    return tuple(factor * part for part in _right(objective, parts, along, batch))


def _mean_of_means(objective, parts, along, batch):
    chunks = math.ceil(objective.num_samples / objective.chunk)
    return _scaled(objective, parts, along, batch, objective.num_samples / chunks / length(batch))


def _short_chunk_as_a_whole_one(objective, parts, along, batch):
    return _scaled(objective, parts, along, batch, objective.chunk / length(batch))


def _transposed(objective, parts, along, batch):
    found = list(_right(objective, parts, along, batch))
    index = next(i for i, part in enumerate(found) if part.dim() > 1 and part.flatten(1).shape[1] > 1)
    found[index] = found[index].flatten(1).T.reshape(found[index].shape)
    return tuple(found)


def _random(objective, parts, along, batch):
    return tuple(part * (1 + 0.1 * torch.rand_like(part)) for part in _right(objective, parts, along, batch))


FORMS: dict[str, Callable] = {
    "`jvp(jacrev)`": _forward_over_jacrev,
    "`jacrev(jacrev)`": _jacrev_of_jacrev,
    "reverse over forward": _reverse_over_forward,
    "Gauss-Newton for the Hessian": _gauss_newton,
    "a detached tensor saved": _saved_detached,
    "mean of the chunks' means": _mean_of_means,
    "short last chunk counted as a whole one": _short_chunk_as_a_whole_one,
    "a weight's part transposed": _transposed,
    "a random draw in the product": _random,
}
NORMS = {
    "LayerNorm, affine": "LayerNorm | cross-entropy",
    "BatchNorm1d, batch statistics": "BatchNorm1d, batch statistics | cross-entropy",
    "InstanceNorm2d, affine": "InstanceNorm2d, affine | cross-entropy",
}


SHORT_CHUNK = {_mean_of_means, _short_chunk_as_a_whole_one}  # right where all chunks are whole


class PlantedObjective(Objective):
    """An objective whose product is made by one of `FORMS`."""

    form: Callable

    def hvp(self, vector):
        parts, along = self.parts(), self.layout.split(vector.to(self.dtype))
        total, weight = torch.zeros(self.layout.size, dtype=torch.float64), 0.0
        with self.running():
            for batch in self.samples.chunks(self.chunk):
                total += flatten(self.form(self, parts, along, batch)).detach().double()
                weight += float(self.forward(parts, batch)[1][1])
        return (total / weight).to(self.dtype)


class PlantedForm(HessianForm):
    """The engine's form with its traced product made by one of `FORMS`."""

    def __init__(self, objective, form):
        super().__init__(objective)
        self.form = form

    def traced(self, parts, along, batch):
        return self.form(self.objective, parts, along, batch)


def planted(norm, form):
    """The objective of a norm layer with a product made by `form`."""
    pair = BY_NAME[NORMS[norm]]
    model, data = made(pair)
    whole = None if form in SHORT_CHUNK else 10  # chunks of one shape take one trace
    objective = PlantedObjective(model, pair.loss.given, data, dtype=DTYPE, samples=whole, **pair.options)
    objective.form = form
    return objective


@dataclass(frozen=True)
class Caught:
    """How wrong a form is, and what told: the line of the self-check, and the engine's."""

    error: float
    by_self_check: str
    by_engine: str


@cache
def caught(form: str, norm: str) -> Caught:
    """Plants one form in one layer, once a session. Empty lines where nothing was told."""
    objective = planted(norm, FORMS[form])
    v = direction(objective.layout.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        error = relative(objective.hvp(v), Objective.hvp(objective, v))
        told = [_told(lambda: Hessian(objective).self_check(0)), _told(lambda: _engine(form, norm, "linearize"))]
    return Caught(error, *told)


def _told(work):
    try:
        work()
    except NumericalError as error:
        return str(error)
    return ""


def _engine(form, norm, hvp):
    objective = planted(norm, FORMS[form])
    engine = Engine(objective, PlantedForm(objective, FORMS[form]), hvp=hvp)
    v = direction(objective.layout.size)
    return engine, relative(engine.multiply(v[:, None])[:, 0], Objective.hvp(objective, v))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("form", FORMS)
def test_the_self_check_catches_a_wrong_form(form, norm):
    found = caught(form, norm)
    assert found.error > 1e-4
    assert found.by_self_check.startswith("self-check: ")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("form", FORMS)
def test_the_engine_refuses_a_wrong_form_and_goes_round_it(form, norm):
    assert "differs from reverse mode" in caught(form, norm).by_engine
    with tracing_always():
        engine, error = _engine(form, norm, "auto")
    assert error <= 1e-12
    report = engine.report()
    assert report["path"] == "double"
    assert "differs from reverse mode" in report["reason"]


@pytest.mark.parametrize("norm", NORMS)
def test_a_right_form_passes(norm):
    assert Hessian(planted(norm, _right)).self_check(0)["verdict"] == "agrees"


# The page -----------------------------------------------------------------------------------------------------------


def make_layers():
    spec = importlib.util.spec_from_file_location("make_layers", ROOT / "docs" / "make_layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_layers_is_up_to_date():
    page = make_layers()
    written = page.TARGET.read_text(encoding="utf-8")
    rendered = page.render()
    assert page.without_errors(rendered) == page.without_errors(written), "run python docs/make_layers.py"
    pairs = list(zip(page.errors(rendered), page.errors(written), strict=True))
    assert all(now <= 10 * then for now, then in pairs), "an error is larger than the page says"
