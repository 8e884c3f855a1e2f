"""Random subspaces against dense linear algebra, and Keskar's metric in them against closed forms."""

import numpy as np
import pytest
import torch
from problems import DTYPE, quadratic

from landscape import Objective, keskar
from landscape.errors import InputError, ResourceError
from landscape.sharpness.subspaces import Subspace

LAWS = ("normal", "orthonormal", "uniform")
N, P = 30, 7
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of products of a few numbers each: where cores are few or busy, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(law, seeds=(0, 0), n=N, p=P):
    return Subspace.drawn(law, n, p, seeds, CPU)


def dense(subspace, p=P):
    return np.stack([subspace.into_params(unit).numpy() for unit in torch.eye(p, dtype=DTYPE)], 1)


@pytest.mark.parametrize("law", LAWS)
def test_the_adjoint_is_the_transpose(law):
    subspace, rng = drawn(law), np.random.default_rng(0)
    y, x = rng.normal(size=P), rng.normal(size=N)
    there = x @ subspace.into_params(torch.tensor(y)).numpy()
    assert there == pytest.approx(y @ subspace.adjoint(torch.tensor(x)).numpy(), rel=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_the_pseudo_inverse_is_that_of_the_dense_matrix(law):
    subspace, x = drawn(law), np.random.default_rng(1).normal(size=N)
    found = subspace.pseudo_inverse(torch.tensor(x)).numpy()
    np.testing.assert_allclose(found, np.linalg.pinv(dense(subspace)) @ x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", [P, N])
def test_orthonormal_columns_are_orthonormal(p):
    matrix = dense(drawn("orthonormal", p=p), p)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(p), atol=1e-9)


def test_the_numbers_follow_their_law():
    normal, uniform = (dense(drawn(law, n=3000)) for law in ("normal", "uniform"))
    assert normal.mean() == pytest.approx(0, abs=0.03)
    assert normal.std() == pytest.approx(1, abs=0.03)
    assert uniform.min() >= 0
    assert uniform.max() <= 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("law", LAWS)
def test_a_seed_draws_its_own_matrix_again(law):
    matrix = dense(drawn(law, (3, 1)))
    np.testing.assert_array_equal(matrix, dense(drawn(law, (3, 1))))
    for other in ((3, 2), (1, 3), (4, 1)):
        assert not np.allclose(matrix, dense(drawn(law, other)))


@pytest.mark.parametrize("at_minimum", [False, True])
def test_all_dimensions_of_a_round_quadratic_have_their_closed_form(at_minimum):
    n, epsilon, curvature, repeats = 9, 0.01, 3.0, 3
    x = np.zeros(n) if at_minimum else np.random.default_rng(2).normal(size=n)
    objective = quadratic(curvature * torch.eye(n, dtype=DTYPE), torch.tensor(x), samples=1)
    found = keskar(
        objective, space="random", law="orthonormal", dimension=n, repeats=repeats, epsilon=epsilon, converge=True
    )
    f, truth = curvature * x @ x / 2, []
    for repeat in range(repeats):
        z = np.abs(dense(drawn("orthonormal", (0, repeat), n, n), n).T @ x)
        highest = curvature * ((z + epsilon * (z + 1)) ** 2).sum() / 2
        truth.append(100 * (highest - f) / (1 + f))
    assert found.values is not None
    np.testing.assert_allclose(found.values, truth, rtol=1e-9)


@pytest.mark.parametrize("law", LAWS)
def test_a_linear_loss_in_a_subspace_has_its_closed_form(law):
    rng, epsilon, seed = np.random.default_rng(3), 1e-3, 5
    x, g = rng.normal(size=N), rng.normal(size=N)
    base = quadratic(torch.eye(N, dtype=DTYPE), torch.tensor(x), samples=1)
    offset = 4.0 - g @ x  # the loss is 4 at x

    def loss(outputs, targets):
        return (outputs @ torch.tensor(g)).mean() + offset

    objective = Objective(base.model, loss, base.samples, dtype=DTYPE)
    found = keskar(objective, space="random", law=law, dimension=P, repeats=4, epsilon=epsilon, seed=seed)
    truth = []
    for repeat in range(4):
        a = dense(drawn(law, (seed, repeat)))
        widths = epsilon * (np.abs(np.linalg.pinv(a) @ x) + 1)
        truth.append(100 * (np.abs(a.T @ g) * widths).sum() / 5)
    assert found.values is not None
    np.testing.assert_allclose(found.values, truth, rtol=1e-9)
    assert found.value == pytest.approx(np.mean(truth), rel=1e-9)
    assert found.std == pytest.approx(np.std(truth, ddof=1), rel=1e-9)
    assert found.on_boundary == 1.0


def test_more_dimensions_than_params_are_refused():
    objective = quadratic(torch.eye(3, dtype=DTYPE), torch.ones(3, dtype=DTYPE))
    with pytest.raises(InputError, match="at most 3"):
        keskar(objective, space="random", dimension=4)


def test_a_subspace_larger_than_the_memory_is_refused_before_it_is_drawn(monkeypatch):
    monkeypatch.setattr("landscape.memory.free_bytes", lambda _: 4 * 30 * 7 + 24 * 49)
    drawn("normal")
    with pytest.raises(ResourceError, match="smaller --dimension than 8"):
        drawn("normal", p=8)
    objective = quadratic(torch.eye(N, dtype=DTYPE), torch.ones(N, dtype=DTYPE))
    with pytest.raises(ResourceError, match="GiB are free"):
        keskar(objective, space="random", dimension=8)
