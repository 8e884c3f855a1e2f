"""Worst-case sharpness against dense eigendecompositions, secular equations and enumerated corners."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch
from problems import DTYPE, PROBLEMS, problem, quadratic

from landscape import Objective
from landscape.errors import InputError, NumericalError
from landscape.sharpness import keskar, sam, worst

RHO = 0.3
SIZES = (2, 5, 12)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of products of a few numbers each: where cores are few or busy, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def symmetric(n, seed, kind="convex"):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(n, n)))[0]
    spectrum = np.exp(rng.normal(size=n))
    if kind == "indefinite":
        spectrum[: n // 2] *= -1
    return rotation @ np.diag(spectrum) @ rotation.T


def around(matrix, shift, start):
    """L(w) = (w - shift)' A (w - shift) / 2 at `start`, one sample."""
    a, s = (torch.tensor(v, dtype=DTYPE) for v in (matrix, shift))
    base = quadratic(a, torch.tensor(start, dtype=DTYPE), samples=1)

    def loss(outputs, targets):
        return (((outputs - s) @ a) * (outputs - s)).sum(1).mean() / 2

    return Objective(base.model, loss, base.samples, dtype=DTYPE)


def trust_region(a, g, rho):
    """max g'd + d'Ad/2 over |d| <= rho, where g meets the top eigenvector."""
    values, vectors = np.linalg.eigh(a)
    b = vectors.T @ g

    def excess(mu):
        return np.linalg.norm(b / (mu - values)) - rho

    floor = max(values[-1], 0.0)
    if values[-1] < 0 and excess(0.0) <= 0:
        d = -b / values
    else:
        mu = scipy.optimize.brentq(excess, floor + 1e-13, floor + np.linalg.norm(b) / rho + 1, xtol=1e-15, rtol=1e-14)
        d = b / (mu - values)
    return b @ d + (values * d**2).sum() / 2


def corners(a, g, widths):
    """The largest rise at a corner of the box, its maximum over the box where A is convex."""
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(g)))) * widths
    return (signs @ g + ((signs @ a) * signs).sum(1) / 2).max()


def start_of(n, seed):
    return np.random.default_rng(100 + seed).normal(size=n)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("kind", ["convex", "indefinite"])
@pytest.mark.parametrize("n", SIZES)
def test_at_a_minimum_the_worst_of_a_ball_is_the_largest_eigenvalue(n, kind, adaptive):
    a, w = symmetric(n, n, kind), start_of(n, n)
    c = np.abs(w) if adaptive else np.ones(n)
    found = worst(around(a, w, w), rho=RHO, adaptive=adaptive, converge=True)
    assert found.value == pytest.approx(RHO**2 / 2 * np.linalg.eigvalsh(c[:, None] * a * c)[-1], rel=1e-6)
    assert found.status == "converged"
    assert found.displaced_start


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("kind", ["convex", "indefinite"])
@pytest.mark.parametrize("n", SIZES)
def test_elsewhere_it_solves_the_trust_region_problem(n, kind, adaptive):
    a, w, shift = symmetric(n, n + 1, kind), start_of(n, n), start_of(n, n + 50)
    c = np.abs(w) if adaptive else np.ones(n)
    found = worst(around(a, shift, w), rho=RHO, adaptive=adaptive, converge=True)
    assert found.value == pytest.approx(trust_region(c[:, None] * a * c, c * (a @ (w - shift)), RHO), rel=1e-6)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("at_minimum", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_in_a_box_it_is_stationary_and_at_most_the_best_corner(n, at_minimum, adaptive):
    a, w = symmetric(n, n + 2), start_of(n, n)
    shift = w if at_minimum else start_of(n, n + 50)
    c = np.abs(w) if adaptive else np.ones(n)
    found = worst(around(a, shift, w), rho=RHO, norm="inf", adaptive=adaptive, converge=True)
    highest = corners(c[:, None] * a * c, c * (a @ (w - shift)), RHO * np.ones(n))
    assert 0 < found.value <= highest * (1 + 1e-12)
    assert found.gap is not None
    assert found.gap <= 1e-6
    assert found.status == "converged"


@pytest.mark.parametrize("adaptive", [False, True])
def test_in_a_box_a_separable_loss_is_highest_at_its_corner(adaptive):
    h, w, shift = np.array([3.0, 0.5, 2.0, 0.01]), np.array([1.0, 2.0, -3.0, 0.4]), np.array([0.2, -1.0, 4.0, 0.5])
    widths = RHO * (np.abs(w) if adaptive else np.ones(4))
    found = worst(around(np.diag(h), shift, w), rho=RHO, norm="inf", adaptive=adaptive, converge=True)
    truth = (h * ((np.abs(w - shift) + widths) ** 2 - (w - shift) ** 2)).sum() / 2
    assert found.value == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_keskars_box_is_stationary_and_at_most_the_best_corner(n):
    a, w, shift = symmetric(n, n + 3), start_of(n, n), start_of(n, n + 50)
    objective = around(a, shift, w)
    few, all_ = keskar(objective, epsilon=0.1), keskar(objective, epsilon=0.1, converge=True)
    highest = 100 * corners(a, a @ (w - shift), 0.1 * (np.abs(w) + 1)) / (1 + objective.value())
    assert 0 < few.value <= all_.value <= highest * (1 + 1e-12)
    assert all_.status == "converged"
    assert all_.gap is not None
    assert all_.gap <= 1e-6


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_search_ends_below_the_centre_and_larger_bounds_hold_more(name):
    objective = problem(name).objective()
    for values in (
        [keskar(objective, epsilon=e).value for e in (1e-4, 1e-3, 1e-2)],
        [worst(objective, rho=r).value for r in (0.01, 0.05, 0.2)],
        [worst(objective, rho=r, norm="inf").value for r in (1e-4, 1e-3, 1e-2)],
        [worst(objective, rho=r, adaptive=True).value for r in (0.05, 0.2, 0.5)],
    ):
        assert 0 < values[0] < values[1] < values[2]


@pytest.mark.parametrize("converge", [False, True])
def test_at_a_maximum_nothing_rises(converge):
    objective = around(-symmetric(4, 3), np.ones(4), np.ones(4))
    assert keskar(objective, converge=converge).value == pytest.approx(0, abs=1e-12)
    for norm, adaptive in itertools.product(("2", "inf"), (False, True)):
        found = worst(objective, norm=norm, adaptive=adaptive, converge=converge)
        assert 0 <= found.value <= 1e-12


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("norm", ["2", "inf"])
def test_sam_takes_its_one_step(norm, adaptive):
    a, w, shift = symmetric(6, 4, "indefinite"), start_of(6, 1), start_of(6, 2)
    g, c = a @ (w - shift), np.abs(w) if adaptive else np.ones(6)
    d = RHO * c**2 * g / np.linalg.norm(c * g) if norm == "2" else RHO * c * np.sign(g)
    found = sam(around(a, shift, w), rho=RHO, norm=norm, adaptive=adaptive)
    assert found.value == pytest.approx(g @ d + d @ a @ d / 2, rel=1e-10)


@pytest.mark.parametrize("norm", ["2", "inf"])
def test_m_sharpness_is_the_weighted_mean_over_batches(norm):
    p = problem("tanh-mlp")  # 50 samples: batches of 20, 20 and 10
    found = worst(p.objective(), norm=norm, m=20)
    truth = 0.0
    for at in (0, 20, 40):
        data = (p.inputs[at : at + 20], p.targets[at : at + 20])
        alone = worst(Objective(p.model, "cross_entropy", data, dtype=DTYPE), norm=norm)
        truth += alone.value * len(data[0]) / 50
    assert found.value == pytest.approx(truth, rel=1e-9)
    assert found.value >= worst(p.objective(), norm=norm).value
    assert found.stderr is not None
    assert worst(p.objective(), norm=norm, m=50).value == pytest.approx(worst(p.objective(), norm=norm).value, rel=1e-9)


def weighted(outputs, targets):
    """Sum and weight by the class: 0 for class 0, 1 and 5 for the others."""
    weights = torch.tensor([0.0, 1.0, 5.0], dtype=DTYPE)[targets]
    losses = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
    return (losses * weights).sum(), weights.sum()


def test_m_sharpness_counts_batches_by_the_weight_that_the_loss_gives_them():
    p = problem("tanh-mlp")
    order = p.targets.argsort()  # the first batches are of class 0 alone
    inputs, targets = p.inputs[order], p.targets[order]
    m = int((targets == 0).sum()) // 2
    objective = Objective(p.model, weighted, (inputs, targets), dtype=DTYPE)
    found = sam(objective, m=m)
    values, weights = [], []
    for at in range(0, 50, m):
        part = (inputs[at : at + m], targets[at : at + m])
        weight = float(torch.tensor([0.0, 1.0, 5.0])[part[1]].sum())
        if weight:
            values.append(sam(Objective(p.model, weighted, part, dtype=DTYPE)).value)
            weights.append(weight)
    assert found.repeats == len(values) == len(range(0, 50, m)) - 2
    assert found.value == pytest.approx(np.average(values, weights=weights), rel=1e-12)
    assert found.loss == pytest.approx(objective.value(), rel=1e-12)
    ignored = Objective(p.model, weighted, (inputs[:m], targets[:m]), dtype=DTYPE)
    with pytest.raises(NumericalError, match="weights of all samples are zero"):
        sam(ignored, m=2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("norm", ["2", "inf"])
def test_a_search_ends_at_a_maximum_where_the_model_of_the_loss_breaks_down(norm):
    """-mean (x w)^2 at w = 0: the best that L-BFGS knows of its curvature is zero by zero, and it proposes nan."""
    for seed in range(3):
        x = torch.randn(50, 3, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))
        base = quadratic(torch.eye(3, dtype=DTYPE), torch.zeros(3, dtype=DTYPE))
        objective = Objective(base.model, lambda w, _, x=x: -(x @ w[0]).square().mean(), base.samples, dtype=DTYPE)
        found = worst(objective, norm=norm, converge=True)
        assert (found.status, found.value, found.gap) == ("converged", 0.0, 0.0)


@pytest.mark.parametrize("most", [1, 5, 12, 25])
def test_iterations_are_never_more_than_were_asked_for(most):
    objective = problem("tanh-mlp").objective()
    for found in (
        keskar(objective, converge=True, iterations=most, epsilon=0.01),
        worst(objective, converge=True, iterations=most),
        worst(objective, iterations=most),
    ):
        assert 1 <= found.iterations <= most


def test_a_gradient_that_ends_before_the_loss_does_tells_where():
    """sqrt of max(r - |d|, 0) is finite everywhere, but at |d| = r and beyond it has no gradient."""
    w, edge = torch.tensor([1.0, -2.0, 0.5], dtype=DTYPE), 0.037
    base = quadratic(torch.eye(3, dtype=DTYPE), w, samples=1)

    def loss(outputs, targets):
        size = (outputs - w).abs().amax(1)
        return (outputs - w - 0.01).square().mean() + 1e-3 * ((edge - size) * (size < edge)).sqrt().mean()

    objective = Objective(base.model, loss, base.samples, dtype=DTYPE)
    counts = []
    with pytest.raises(NumericalError, match="gradient is not finite within the bounds, from radius 0.037") as refused:
        worst(objective, norm="inf", rho=0.5, progress=counts.append)
    assert refused.value.computed["num_evaluations"] == counts[-1] > 20


def test_more_samples_in_a_batch_than_there_are_is_refused():
    with pytest.raises(InputError, match="at most 50"):
        worst(problem("tanh-mlp").objective(), m=51)


@pytest.mark.parametrize("found_by", ["keskar", "2", "inf"])
def test_a_loss_that_ends_within_the_bounds_tells_where(found_by):
    w, edge = torch.tensor([1.0, -2.0, 0.5], dtype=DTYPE), 0.037
    base = quadratic(torch.eye(3, dtype=DTYPE), w, samples=1)

    def loss(outputs, targets):
        d = outputs - w
        size = (
            d.square().sum(1)
            if found_by == "2"
            else (d / (w.abs() + 1 if found_by == "keskar" else 1)).abs().amax(1) ** 2
        )
        return -(edge**2 - size).log().mean()

    objective = Objective(base.model, loss, base.samples, dtype=DTYPE)
    with pytest.raises(NumericalError, match="radius 0.037") as refused:
        keskar(objective, epsilon=1.0) if found_by == "keskar" else worst(objective, norm=found_by, rho=1.0)
    assert refused.value.computed["radius"] == pytest.approx(edge, rel=0.01)
