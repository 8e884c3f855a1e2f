"""Average sharpness against traces, and PAC-Bayes noise against Gaussian tails."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from problems import DTYPE, quadratic
from torch import nn

from landscape import Objective
from landscape.errors import InputError, NumericalError
from landscape.sharpness import average, measure, pac_bayes

RHO = 0.1


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of values of a few numbers each: where cores are few or busy, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("norm", "share"), [("2", 1 / 2), ("inf", 1 / 6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_on_quadratics_the_average_is_the_trace(norm, share, adaptive, seed):
    rng = np.random.default_rng(seed)
    root, w = rng.normal(size=(8, 8)), rng.normal(size=8)
    a = root @ root.T - 2 * np.eye(8)
    found = average(
        quadratic(torch.tensor(a, dtype=DTYPE), torch.tensor(w, dtype=DTYPE), samples=1),
        rho=RHO,
        norm=norm,
        adaptive=adaptive,
        repeats=150,
        seed=seed,
    )
    c = np.abs(w) if adaptive else np.ones(8)
    assert found.stderr is not None
    assert abs(found.value - share * RHO**2 * (c**2 * np.diag(a)).sum()) < 4 * found.stderr
    assert found.stderr < 0.4 * abs(found.value)


def test_the_gradient_cancels_within_each_pair():
    a = torch.diag(torch.tensor([1.0, 3.0, -0.5], dtype=DTYPE))
    at_minimum, far = (
        average(quadratic(a, start * torch.ones(3, dtype=DTYPE), samples=1), rho=RHO, seed=3) for start in (0.0, 1e3)
    )
    assert far.value == pytest.approx(at_minimum.value, rel=1e-5)
    assert far.stderr == pytest.approx(at_minimum.stderr, rel=1e-5)


def test_noise_beyond_the_end_of_the_loss_tells_where():
    w = torch.tensor([1.0, -2.0, 0.5], dtype=DTYPE)
    base = quadratic(torch.eye(3, dtype=DTYPE), w, samples=1)

    def loss(outputs, targets):
        return -(0.037 - (outputs - w).abs().amax(1)).log().mean()

    objective = Objective(base.model, loss, base.samples, dtype=DTYPE)
    counts = []
    first = torch.randn(3, generator=torch.Generator().manual_seed(0), dtype=DTYPE).abs().max()
    for norm, edge in (("2", 0.037 / float(first)), ("inf", 0.037)):  # in units of rho, and of |d_i|
        with pytest.raises(NumericalError, match=f"radius {edge:.3g}") as refused:
            average(objective, rho=1.0, norm=norm, progress=counts.append)
        assert refused.value.computed["radius"] == pytest.approx(edge, rel=0.01)
        assert refused.value.computed["num_evaluations"] == counts[-1] == 22  # two, and twenty of the bisection


def test_a_loss_that_is_not_finite_at_the_params_is_told_as_that():
    base = quadratic(torch.eye(3, dtype=DTYPE), torch.ones(3, dtype=DTYPE))
    objective = Objective(base.model, lambda o, t: (o - 2).sum().log(), base.samples, dtype=DTYPE)
    for name in ("average", "pac-bayes", "sam", "worst", "keskar"):
        with pytest.raises(NumericalError, match="loss is nan at the params"):
            measure(objective, name)


def test_rounding_is_part_of_the_error_and_hides_a_small_rise():
    a = torch.diag(torch.tensor([1.0, 3.0, -0.5], dtype=DTYPE))
    objective = quadratic(a, torch.full((3,), 2.0, dtype=DTYPE), samples=1)
    rounding = np.finfo(np.float64).eps * objective.value()
    for rho, status in ((1e-10, "not resolved"), (1e-4, "complete")):  # rises of 2e-20 and 2e-8 beside a loss of 7
        found = average(objective, rho=rho)
        assert found.status == status
        assert found.stderr >= rounding
        assert abs(found.value - rho**2 / 2 * 3.5) < 4 * found.stderr


class TwoClasses(nn.Module):
    """Logits (w x + b, 0): class 0 where w x + b > 0."""

    def __init__(self, weight, bias):
        super().__init__()
        self.w, self.b = (nn.Parameter(torch.tensor(v, dtype=DTYPE)) for v in (weight, bias))

    def forward(self, inputs):
        logit = self.w * inputs + self.b
        return torch.cat([logit, torch.zeros_like(logit)], 1)


WEIGHT, BIAS = 1.5, -0.4
INPUTS = np.array([-2.0, -1.0, -0.3, 0.1, 0.5, 0.8, 1.2, 2.5, -0.7, 1.9])
LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 1])  # two of them wrong


def two_classes(weight=WEIGHT, bias=BIAS, labels=LABELS):
    data = (torch.tensor(INPUTS, dtype=DTYPE)[:, None], torch.tensor(labels))
    return Objective(TwoClasses(weight, bias), "cross_entropy", data, dtype=DTYPE)


def true_sigma(scales):
    """Where the expected error is .1 above that at (WEIGHT, BIAS), from Gaussian tails."""
    margins = (WEIGHT * INPUTS + BIAS) * np.where(LABELS == 0, 1, -1)
    widths = np.sqrt((scales[0] * INPUTS) ** 2 + scales[1] ** 2)

    def excess(sigma):
        return scipy.stats.norm.sf(margins / (sigma * widths)).mean() - (margins < 0).mean() - 0.1

    return scipy.optimize.brentq(excess, 0.05, 20)


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_noise_that_costs_a_tenth_follows_from_gaussian_tails(adaptive):
    found = pac_bayes(two_classes(), adaptive=adaptive, repeats=60)
    truth = true_sigma((abs(WEIGHT), abs(BIAS)) if adaptive else (1.0, 1.0))
    assert found.stderr is not None
    assert found.stderr < 0.3 * truth
    assert abs(found.value - truth) < 4 * found.stderr
    assert found.parts is not None
    assert found.parts["error"] == pytest.approx(0.2, abs=1e-12)
    assert found.status == "complete"


def test_adaptive_noise_is_in_units_of_the_params():
    # the same noise, with twice the params at the same classes: raw doubles, adaptive stays
    once, twice = two_classes(), two_classes(2 * WEIGHT, 2 * BIAS)
    raw = [pac_bayes(o, repeats=10).value for o in (once, twice)]
    relative = [pac_bayes(o, adaptive=True, repeats=10).value for o in (once, twice)]
    assert relative[1] == pytest.approx(relative[0], rel=3e-3)
    assert raw[1] == pytest.approx(2 * raw[0], rel=0.1)


def test_a_model_that_is_always_wrong_cannot_lose_a_tenth():
    found = pac_bayes(two_classes(labels=(WEIGHT * INPUTS + BIAS > 0).astype(int)), repeats=2)
    assert found.status == "not resolved"
    assert math.isnan(found.value)
    assert found.stderr is None


@pytest.mark.parametrize("adaptive", [False, True])
def test_where_any_noise_costs_a_tenth_the_value_is_zero(adaptive):
    """Logits of zero decide for class 0, which 45 of 50 samples are of; the least noise makes classes random."""
    model = nn.Linear(4, 2).to(DTYPE)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    inputs = torch.randn(50, 4, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
    data = (inputs, (torch.arange(50) >= 45).long())
    found = pac_bayes(Objective(model, "cross_entropy", data, dtype=DTYPE), adaptive=adaptive, repeats=4)
    if adaptive:  # noise that is relative to zero is none, and costs nothing
        assert found.status == "not resolved"
        assert math.isnan(found.value)
    else:
        assert (found.status, found.value, found.stderr) == ("complete", 0.0, None)
        assert found.num_evaluations < 100
    assert not found.problems()


def test_noise_is_sought_down_to_the_rounding_of_the_params():
    """Twin classes but for 1e-15 of the bias: noise below what the weights can hold is no noise."""
    found = pac_bayes(two_classes(1e-18, 0.0), repeats=4)  # an exact answer near 1e-18: weights are no larger
    assert found.status == "complete"
    assert 0 < found.value < 1e-16


def test_regression_has_no_accuracy_to_lose():
    data = (torch.randn(6, 1, dtype=DTYPE), torch.randn(6, 1, dtype=DTYPE))
    objective = Objective(nn.Linear(1, 1).to(DTYPE), "mse", data, dtype=DTYPE)
    with pytest.raises(InputError, match="accuracy"):
        pac_bayes(objective)
