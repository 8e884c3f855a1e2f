"""Keskar's metric against closed forms, and its three traps."""

import numpy as np
import pytest
import scipy.optimize
import torch
from problems import DTYPE, problem, quadratic

from landscape import Objective, keskar
from landscape.errors import NumericalError, UsageError
from landscape.sharpness import measure, settings


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of products of a few numbers each: where cores are few or busy, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def separable(curvatures, centre, start, **options):
    """L(w) = sum_i h_i (w_i - c_i)^2 / 2, whose maximum over a box lies at a corner where h_i > 0."""
    h, c = (torch.tensor(v, dtype=DTYPE) for v in (curvatures, centre))

    def loss(outputs, targets):
        return ((outputs - c).square() * h).sum(1).mean() / 2

    base = quadratic(torch.eye(len(h), dtype=DTYPE), torch.tensor(start, dtype=DTYPE))
    return Objective(base.model, loss, base.samples, dtype=DTYPE, **options)


def closed_form(curvatures, centre, start, epsilon):
    h, c, x = (np.array(v) for v in (curvatures, centre, start))
    width = epsilon * (np.abs(x) + 1)
    f = (h * (x - c) ** 2).sum() / 2
    corners = np.maximum((x + width - c) ** 2, (x - width - c) ** 2)
    nearest = np.clip(c, x - width, x + width)
    highest = np.where(h > 0, h * corners, h * (nearest - c) ** 2).sum() / 2
    return 100 * (highest - f) / (1 + f), f, highest


@pytest.mark.parametrize("epsilon", [1e-3, 5e-4])
def test_a_separable_quadratic_has_its_closed_form(epsilon):
    problem_ = ([3.0, 0.5, 2.0, -1.0], [0.2, -1.0, 4.0, 0.5], [1.0, 2.0, -3.0, 0.0])
    found = keskar(separable(*problem_), epsilon=epsilon, iterations=50)
    truth, loss, highest = closed_form(*problem_, epsilon)
    assert found.value == pytest.approx(truth, rel=1e-9)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.max_loss == pytest.approx(highest, rel=1e-12)
    assert found.on_boundary == 1.0
    assert not found.displaced_start


def test_at_a_minimum_the_start_is_displaced_and_the_corner_still_found():
    problem_ = ([300.0, 50.0, 2.0], [1.0, -2.0, 0.0], [1.0, -2.0, 0.0])
    found = keskar(separable(*problem_), iterations=200)
    assert found.displaced_start
    assert found.loss == 0.0
    assert found.value == pytest.approx(closed_form(*problem_, 1e-3)[0], rel=1e-6)


def test_trap_1_scipys_default_tolerances_would_stop_at_once():
    # curvatures and gradient as small as at an interpolating minimum
    objective = separable([1e-5, 2e-5, 3e-5], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1])
    found = keskar(objective, iterations=2000)

    def negative(shift):
        value, gradient = objective.at(objective.params + torch.from_numpy(shift)).value_and_gradient()
        return -value, -gradient.numpy()

    width = 1e-3 * 1.1
    bounds = [(-width, width)] * 3
    default = scipy.optimize.minimize(negative, np.zeros(3), jac=True, method="L-BFGS-B", bounds=bounds)
    stopped_at = 100 * (-default.fun - found.loss) / (1 + found.loss)
    truth = closed_form([1e-5, 2e-5, 3e-5], [0.0] * 3, [0.1] * 3, 1e-3)[0]
    assert stopped_at < 0.1 * truth
    assert found.value == pytest.approx(truth, rel=1e-6)


def test_trap_2_the_space_is_the_full_one_and_says_so():
    found = keskar(problem("tanh-mlp").objective())
    assert found.space == "full"
    assert found.num_params == problem("tanh-mlp").objective().layout.size
    assert found.stderr is None


def test_trap_3_the_loss_that_sharpness_follows_stands_beside_it():
    objective = problem("tanh-mlp").objective()
    found = keskar(objective)
    assert found.loss == pytest.approx(objective.value(), rel=1e-12)
    assert found.value == pytest.approx(100 * (found.max_loss - found.loss) / (1 + found.loss), rel=1e-12)


def test_sharpness_is_not_negative_and_grows_with_epsilon_and_iterations():
    objective = problem("layer-norm-mlp").objective()
    values = [keskar(objective, epsilon=e).value for e in (1e-4, 5e-4, 1e-3, 5e-3)]
    assert all(0 < a < b for a, b in zip(values, values[1:], strict=False))
    assert keskar(objective, iterations=30).value >= keskar(objective, iterations=10).value


def test_iterations_are_those_asked_for():
    found = keskar(problem("tanh-mlp").objective(), iterations=4)
    assert found.iterations == 4
    assert found.num_evaluations >= 5


def test_non_finite_losses_in_the_box_are_refused():
    base = quadratic(torch.eye(2, dtype=DTYPE), torch.ones(2, dtype=DTYPE))

    def loss(outputs, targets):
        return torch.log(1.0005 - outputs.abs().amax(1)).neg().mean()

    with pytest.raises(NumericalError, match="within"):
        keskar(Objective(base.model, loss, base.samples, dtype=DTYPE))


def test_senseless_settings_are_refused():
    objective = problem("tanh-mlp").objective()
    with pytest.raises(UsageError, match="epsilon"):
        keskar(objective, epsilon=0)
    with pytest.raises(UsageError, match="iterations"):
        keskar(objective, iterations=0)


def test_a_loss_of_minus_one_has_no_such_metric():
    base = quadratic(torch.eye(2, dtype=DTYPE), torch.ones(2, dtype=DTYPE))
    objective = Objective(base.model, lambda o, t: 0 * o.sum() - 1, base.samples, dtype=DTYPE)
    with pytest.raises(NumericalError, match="1 \\+ loss"):
        keskar(objective)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("worst", {"norm": "1"}, "--norm must be one of 2, inf"),
        ("worst", {"norm": 2}, "--norm must be one of 2, inf"),
        ("average", {"norm": "l2"}, "--norm must be one of 2, inf"),
        ("sam", {"m": 10.5}, "--m must be a whole number"),
        ("keskar", {"iterations": 2.5}, "--iterations must be a whole number"),
        ("keskar", {"epsilon": "1e-3"}, "--epsilon must be a positive and finite number"),
        ("worst", {"rho": True}, "--rho must be a positive"),
        ("worst", {"rho": float("nan")}, "--rho must be a positive"),
        ("worst", {"converge": 1}, "--converge"),
        ("keskar", {"space": ["full"]}, "--space must be one of"),
        ("keskar", {"space": "random", "repeats": "5"}, "--repeats must be a whole number"),
        ("average", {"repeats": 1}, "--repeats must be a whole number and at least 2"),
        ("trace", {"seed": -1}, "--seed must be"),
        ("sam", {"seed": 0.5}, "--seed must be"),
    ],
)
def test_options_of_another_type_are_wrong_usage(name, options, words):
    with pytest.raises(UsageError, match=words) as refused:
        measure(problem("tanh-mlp").objective(), name, **options)
    assert "\n" not in str(refused.value)


def test_equal_numbers_of_several_types_identify_one_result():
    objective = problem("tanh-mlp").objective()
    plain = settings(objective, "worst", rho=1.0, iterations=5, m=10)
    assert settings(objective, "worst", rho=1, iterations=np.int64(5), m=np.int32(10)) == plain
    assert isinstance(settings(objective, "worst", rho=np.float32(0.5))["rho"], float)
