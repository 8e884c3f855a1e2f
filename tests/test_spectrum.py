"""Eigenpairs against dense float64 matrices and prescribed spectra; the self-check against planted errors."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from problems import DTYPE, PROBLEMS, problem

from landscape import Dense, Hessian, Objective, top_eigenpairs
from landscape.errors import InputError, NumericalError
from landscape.operators.selfcheck import check_hessian


def matrix_of(spectrum, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n = len(spectrum)
    basis, _ = torch.linalg.qr(torch.randn(n, n, dtype=DTYPE, generator=generator))
    matrix = basis @ torch.diag(torch.tensor(np.array(spectrum))) @ basis.T
    return (matrix + matrix.T) / 2


SPECTRA = {
    "decaying": 100.0 / np.arange(1, 301) ** 2,
    "two signs": np.linspace(-3, 5, 300),
    "double top": np.r_[[9.0, 9.0, 9.0, 4.0, 4.0], np.linspace(0, 1, 295)],
    "zeros": np.r_[[2.0, 1.0, 0.5], np.zeros(297)],
    "cluster": np.r_[1 + 1e-6 * np.arange(6), np.linspace(-0.5, 0.5, 294)],
}

# Eigenvalues that lie closer together than a residual of 1e-7 would tell apart.
TOLERANCES = {"decaying": 1e-5, "cluster": 1e-5}


@pytest.mark.parametrize("which", ["largest", "smallest", "both"])
@pytest.mark.parametrize("spectrum", list(SPECTRA))
def test_prescribed_spectra_are_found(spectrum, which):
    truth = np.sort(SPECTRA[spectrum])[::-1]
    tol = TOLERANCES.get(spectrum, 1e-7)
    found = top_eigenpairs(Dense(matrix_of(truth)), 5, which=which, tol=tol, max_matvecs=4000)
    wanted = {"largest": truth[:5], "smallest": truth[-5:], "both": np.r_[truth[:5], truth[-5:]]}[which]
    assert found.status == "converged"
    scale = np.abs(truth).max()
    np.testing.assert_allclose(found.eigenvalues, wanted, atol=tol * scale)
    # the residual bounds the distance to the nearest eigenvalue
    nearest = np.abs(found.eigenvalues[:, None] - truth[None]).min(1)
    assert (nearest <= found.residuals * scale + 1e-12 * scale).all()
    gram = found.vectors.T @ found.vectors
    np.testing.assert_allclose(gram, np.eye(len(wanted)), atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_eigenpairs_equal_those_of_the_dense_hessian(name, which):
    case = problem(name)
    truth = torch.linalg.eigvalsh(case.dense_hessian()).flip(0).numpy()
    found = top_eigenpairs(Hessian(case.objective(chunk=11)), 4, which=which, tol=1e-9)
    wanted = truth[:4] if which == "largest" else truth[-4:]
    np.testing.assert_allclose(found.eigenvalues, wanted, rtol=1e-8, atol=1e-8 * np.abs(truth).max())
    assert found.self_check["verdict"] == "agrees"
    assert found.loss == pytest.approx(case.objective().value())


def test_lanczos_equals_the_dense_path_and_scipy():
    objective = Objective("mlp", "cross_entropy", "digits", dtype=DTYPE, samples=100)
    operator = Hessian(objective)
    found = top_eigenpairs(operator, 3, tol=1e-9)
    reference = scipy.sparse.linalg.eigsh(operator.to_scipy(), k=3, which="LA", tol=1e-10, return_eigenvectors=False)
    np.testing.assert_allclose(found.eigenvalues, np.sort(reference)[::-1], rtol=1e-9)


def test_k_near_n_uses_the_dense_matrix_and_k_above_n_is_refused():
    truth = np.linspace(-1, 2, 12)
    found = top_eigenpairs(Dense(matrix_of(truth)), 12)
    np.testing.assert_allclose(found.eigenvalues, truth[::-1], atol=1e-12)
    assert len(top_eigenpairs(Dense(matrix_of(truth)), 8, which="both").eigenvalues) == 12
    with pytest.raises(InputError, match=r"1 \.\.\. 12"):
        top_eigenpairs(Dense(matrix_of(truth)), 13)


def test_an_exhausted_budget_is_a_status_with_the_pairs_found():
    found = top_eigenpairs(Dense(matrix_of(np.linspace(0, 1, 400))), 5, tol=1e-10, max_matvecs=40)
    assert found.status == "not converged"
    assert found.residuals.max() > 1e-10
    assert np.isfinite(found.eigenvalues).all()


@pytest.mark.parametrize("max_matvecs", [3, 10, 20, 25])
def test_a_budget_too_small_to_look_for_missed_pairs_never_says_converged(max_matvecs):
    truth = np.r_[np.ones(8), np.zeros(192)]
    found = top_eigenpairs(Dense(matrix_of(truth)), 10, max_matvecs=max_matvecs)
    assert found.status == "not converged"
    assert found.num_matvecs <= max_matvecs


def test_copies_of_a_multiple_eigenvalue_are_found():
    truth = np.r_[np.ones(8), np.zeros(192)]
    found = top_eigenpairs(Dense(matrix_of(truth)), 10)
    assert found.status == "converged"
    np.testing.assert_allclose(found.eigenvalues, truth[:10], atol=1e-9)


def test_the_same_seed_gives_the_same_bits():
    operator = Dense(matrix_of(SPECTRA["decaying"]))
    a, b = (top_eigenpairs(operator, 4, seed=3) for _ in range(2))
    assert np.array_equal(a.eigenvalues, b.eigenvalues)
    assert np.array_equal(a.vectors, b.vectors)


@pytest.mark.parametrize("bn_batch", [3, 15, 20])
def test_the_self_check_takes_whole_batches_of_batch_norm(bn_batch):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    data = (torch.randn(300, 4), torch.randint(0, 3, (300,)))
    objective = Objective(model, "cross_entropy", data, dtype=DTYPE, bn="batch", bn_batch=bn_batch)
    assert check_hessian(objective, 0)["verdict"] == "agrees"


@pytest.mark.parametrize("after", [5, 20, 40])
def test_products_that_change_on_the_way_are_never_called_converged(after):
    class Drifting(Dense):
        calls = 0

        def matvec(self, vector):
            self.calls += 1
            return super().matvec(vector) * (1.0 if self.calls <= after else 1.02)

        def matmat(self, matrix):
            return torch.stack([self.matvec(column) for column in matrix.T], 1)

    operator = Drifting(matrix_of(np.linspace(0, 1, 300) ** 4))
    found = top_eigenpairs(operator, 5, max_matvecs=after + 30)
    assert operator.calls > after
    assert found.status == "not converged"


def test_non_finite_products_are_refused():
    objective = problem("tanh-mlp").objective()
    with pytest.raises(NumericalError, match="not finite"):
        top_eigenpairs(Hessian(objective.at(objective.params * torch.nan)), 1)
