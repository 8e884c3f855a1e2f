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
from landscape.sharpness import average, pac_bayes

RHO = 0.1


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

    with pytest.raises(NumericalError, match="radius 0.037") as refused:
        average(Objective(base.model, loss, base.samples, dtype=DTYPE), rho=1.0)
    assert refused.value.computed["radius"] == pytest.approx(0.037, rel=0.01)


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


def test_regression_has_no_accuracy_to_lose():
    data = (torch.randn(6, 1, dtype=DTYPE), torch.randn(6, 1, dtype=DTYPE))
    objective = Objective(nn.Linear(1, 1).to(DTYPE), "mse", data, dtype=DTYPE)
    with pytest.raises(InputError, match="accuracy"):
        pac_bayes(objective)
