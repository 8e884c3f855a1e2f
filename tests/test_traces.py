"""Trace, diagonal, norms and density against prescribed spectra; standard errors held to what they say."""

import numpy as np
import pytest
import torch
from problems import DTYPE, problem
from test_spectrum import matrix_of

from landscape import Dense, Density, GaussNewton, Hessian, spectral_density, top_eigenpairs, trace
from landscape.draw.density import smoothed
from landscape.errors import InputError, NumericalError, UsageError
from landscape.quadrature import bulk_edge
from landscape.subspace import gradient_in_subspace, subspace_overlap

METHODS = ("hutchinson", "hutch++", "xtrace")
DECAYING = 100.0 / np.arange(1, 401) ** 2
FLAT = np.linspace(0.5, 1.5, 400)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spectrum", [DECAYING, FLAT, np.linspace(-1, 2, 400)], ids=["decaying", "flat", "two signs"])
def test_the_truth_lies_within_three_standard_errors_in_98_of_100_seeds(method, spectrum):
    operator = Dense(matrix_of(spectrum))
    misses = 0
    for seed in range(300):
        found = trace(operator, method=method, tol=0.05, max_matvecs=300, seed=seed)
        misses += abs(found.value - spectrum.sum()) > 3 * found.stderr
        assert found.stderr > 0
    assert misses <= 6


@pytest.mark.parametrize("method", ["hutch++", "xtrace"])
def test_a_decaying_spectrum_takes_fewer_products_than_hutchinson(method):
    operator = Dense(matrix_of(100.0 / np.arange(1, 2001) ** 2))
    truth = (100.0 / np.arange(1, 2001) ** 2).sum()
    found = trace(operator, method=method, tol=0.01, max_matvecs=1900)
    plain = trace(operator, method="hutchinson", tol=0.01, max_matvecs=1900)
    assert found.status == "converged"
    assert found.stderr <= 0.01 * truth * 1.05
    assert found.num_matvecs < plain.num_matvecs / 5
    assert plain.stderr > found.stderr or plain.method == "exact"


def test_where_probes_would_outnumber_the_params_a_whole_basis_is_exact():
    matrix = matrix_of(DECAYING[:120])
    found = trace(Dense(matrix), tol=1e-3, max_matvecs=500, per_layer=True)
    assert (found.method, found.stderr, found.status) == ("exact", 0.0, "converged")
    assert found.num_matvecs == 120  # the first probes are the start of the basis
    assert found.value == pytest.approx(DECAYING[:120].sum(), rel=1e-9)
    assert found.frobenius == pytest.approx(np.linalg.norm(DECAYING[:120]), rel=1e-9)
    np.testing.assert_allclose(found.diagonal, matrix.diagonal().numpy(), atol=1e-8)
    assert trace(Dense(matrix_of(DECAYING[:12])), method="xtrace").num_matvecs == 12


def test_a_trace_near_zero_is_held_against_the_norm():
    operator = Dense(matrix_of(np.linspace(-1, 1, 3000)))
    found = trace(operator, tol=0.2, max_matvecs=500)
    assert found.status == "converged"
    assert found.num_probes >= 30
    assert found.stderr <= 0.2 * found.frobenius
    assert abs(found.value) < 4 * found.stderr


def test_norm_diagonal_and_effective_rank_have_the_errors_they_say():
    spectrum = np.r_[np.full(5, 10.0), np.linspace(0, 1, 395)]
    matrix = matrix_of(spectrum)
    found = trace(Dense(matrix), tol=0.04, max_matvecs=300)
    assert found.method == "hutchinson"
    assert abs(found.frobenius - np.linalg.norm(spectrum)) < 4 * found.frobenius_stderr
    assert found.effective_rank == pytest.approx(found.value**2 / found.frobenius**2)
    error = (found.diagonal - matrix.diagonal().numpy()) / found.diagonal_stderr
    assert np.mean(np.abs(error) < 3) > 0.98


def test_an_exhausted_budget_is_a_status():
    for method in METHODS:
        found = trace(Dense(matrix_of(DECAYING)), method=method, tol=1e-4, max_matvecs=100)
        assert found.status == "not converged"
        assert found.num_matvecs <= 100


def test_layers_are_the_traces_of_the_diagonal_blocks():
    case = problem("layer-norm-mlp")
    operator = Hessian(case.objective(chunk=20))
    dense = case.dense_hessian().diagonal()
    exact = trace(operator, tol=1e-6, per_layer=True)
    assert exact.layers == operator.objective.layout.names
    truth = [float(dense[block].sum()) for block in operator.blocks().values()]
    np.testing.assert_allclose(exact.layer_value, truth, atol=1e-10)
    rough = trace(operator, tol=0.3, per_layer=True, max_matvecs=60)
    assert rough.layer_value.sum() == pytest.approx(rough.value)
    assert (np.abs(rough.layer_value - truth) < 5 * rough.layer_stderr).all()


def test_arguments_out_of_range_are_refused():
    operator = Dense(matrix_of(FLAT[:20]))
    for wrong in ({"method": "girard"}, {"tol": 0.0}, {"max_matvecs": 1}, {"method": "xtrace", "per_layer": True}):
        with pytest.raises(UsageError):
            trace(operator, **wrong)
    with pytest.raises(UsageError):
        spectral_density(operator, steps=1)


def test_the_density_integrates_like_the_eigenvalues():
    operator = Dense(matrix_of(DECAYING))
    found = spectral_density(operator, probes=6, steps=40)
    assert found.nodes.shape == found.weights.shape == (6, 40)
    np.testing.assert_allclose(found.weights.sum(1), 1.0)
    assert (found.weights >= 0).all()
    # each row is a quadrature rule: exact moments of its own probe, whose mean over many probes is the trace
    many = spectral_density(operator, probes=9, steps=44, seed=4)
    for power in (1, 2):
        moments = 400 * (many.weights * many.nodes**power).sum(1)
        spread = moments.std(ddof=1) / 3
        assert abs(moments.mean() - (DECAYING**power).sum()) < 4 * spread
    assert abs(many.trace - DECAYING.sum()) < 4 * many.trace_stderr
    np.testing.assert_allclose(found.nodes[:, 0], 100.0, rtol=1e-10)  # the ends are found


def test_moments_of_a_row_are_those_of_its_probe():
    """Golub & Meurant: m nodes integrate polynomials of degree 2m - 1 exactly."""
    matrix = matrix_of(np.linspace(-1, 2, 200))
    found = spectral_density(Dense(matrix), probes=1, steps=6, seed=2)
    signs = 2 * torch.randint(0, 2, (200,), generator=torch.Generator().manual_seed(2), dtype=torch.int8) - 1
    vector = signs.to(DTYPE) / 200**0.5
    power = vector
    for degree in range(12):
        assert (found.weights * found.nodes**degree).sum() == pytest.approx(float(vector @ power), abs=1e-11)
        power = matrix @ power


def test_few_params_give_all_eigenvalues_and_an_invariant_space_an_early_end():
    found = spectral_density(Dense(matrix_of(DECAYING[:50])), probes=5, steps=20)
    np.testing.assert_allclose(found.nodes[0], DECAYING[:50], rtol=1e-8)
    assert found.trace_stderr == 0.0
    assert found.num_matvecs == 50
    three = spectral_density(Dense(matrix_of(np.repeat([1.0, 2.0, 5.0], 100))), probes=2, steps=20)
    np.testing.assert_allclose(three.weights.sum(1), 1.0)
    for nodes, weights in zip(three.nodes, three.weights, strict=True):
        np.testing.assert_allclose(np.unique(nodes[weights > 1e-9].round(6)), [1.0, 2.0, 5.0])


def test_outliers_are_counted_above_a_bulk_that_has_none():
    bulk = np.linspace(-1, 1, 400)
    whole = np.full((1, 400), 1 / 400)
    assert bulk_edge(bulk[None], whole) == 1.0  # nothing lies beyond six standard deviations
    spectrum = np.r_[bulk, [40.0, 50.0, 60.0]]
    found = spectral_density(Dense(matrix_of(np.sort(spectrum)[::-1])), probes=30, steps=20)
    assert 1.0 < found.bulk_edge < 40.0
    assert found.num_outliers == pytest.approx(3.0)
    assert found.outlier_share == pytest.approx(1.0, abs=0.05)


def test_a_smoothed_density_has_the_mass_of_its_nodes():
    found = spectral_density(Dense(matrix_of(FLAT)), probes=3, steps=30)
    assert isinstance(found, Density)
    grid = np.linspace(0, 2, 2001)
    curves = smoothed(found.nodes, found.weights, grid, 0.03)
    np.testing.assert_allclose(np.trapezoid(curves, grid, axis=1), 1.0, rtol=1e-3)


def test_the_gradient_and_the_top_subspace():
    case = problem("tanh-mlp")
    objective = case.objective()
    operator = Hessian(objective)
    matrix = case.dense_hessian()
    g = objective.value_and_gradient()[1]
    pairs = top_eigenpairs(operator, 5, tol=1e-10)
    vectors = torch.linalg.eigh(matrix)[1][:, -5:]
    found = gradient_in_subspace(operator, torch.as_tensor(pairs.vectors.T))
    assert (pairs.gradient_fraction, pairs.gradient_overlap) == (found.fraction, found.overlap)
    assert found.fraction == pytest.approx(float((vectors.T @ g).square().sum() / g.square().sum()), rel=1e-6)
    image = matrix @ g
    assert found.overlap == pytest.approx(float(g @ image / (g.norm() * image.norm())), rel=1e-9)
    assert subspace_overlap(pairs, pairs) == pytest.approx(1.0)
    fewer = top_eigenpairs(operator, 3, tol=1e-10)
    assert subspace_overlap(fewer, pairs) == pytest.approx(1.0)
    bottom = top_eigenpairs(operator, 5, which="smallest", tol=1e-10)
    assert subspace_overlap(bottom, pairs) < 1e-12
    other = top_eigenpairs(GaussNewton(objective), 5, tol=1e-10)
    other_vectors = torch.linalg.eigh(GaussNewton(objective).dense())[1][:, -5:]
    assert subspace_overlap(pairs, other) == pytest.approx(float((vectors.T @ other_vectors).square().sum()) / 5)
    import dataclasses

    with pytest.raises(InputError, match="no vectors"):
        subspace_overlap(pairs, dataclasses.replace(pairs, vectors=None))


def test_non_finite_products_are_refused():
    class Broken(Dense):
        def matmat(self, matrix):
            return super().matmat(matrix) * torch.nan

        def matvec(self, vector):
            return super().matvec(vector) * torch.nan

    operator = Broken(matrix_of(FLAT))
    for method in METHODS:
        with pytest.raises(NumericalError, match="not finite"):
            trace(operator, method=method)
    with pytest.raises(NumericalError, match="not finite"):
        spectral_density(operator, probes=2, steps=10)
