"""Measures of the Hessian: closed forms, matrices written out, invariances, the evidence of a Gaussian model."""

import math

import numpy as np
import pytest
import torch
from problems import DTYPE, PROBLEMS, problem, quadratic
from torch import nn

from landscape import Dense, Fisher, Hessian, Objective, random_direction, spectral_density, trace
from landscape.errors import InputError, NumericalError, UsageError
from landscape.measures import MEASURES
from landscape.operators import Congruent
from landscape.sharpness import Shared, curvature, determinant, measure, settings
from landscape.sharpness.shared import Remembering

NAMES = (
    "eigenvalue",
    "trace",
    "frobenius",
    "filter-eigenvalue",
    "filter-trace",
    "relative-flatness",
    "fisher-rao",
    "occam",
    "log-evidence",
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of products of a few numbers each: where cores are few or busy, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def exact(monkeypatch):
    """Traces by a whole basis, and eigenvalues to rounding."""
    monkeypatch.setattr(curvature, "TRACE_TOL", 1e-9)
    monkeypatch.setattr(curvature, "EIGENVALUE_TOL", 1e-10)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def value(objective, name):
    return measure(objective, name).value


def symmetric(n, *, positive=False):
    root = torch.randn(n, n, dtype=DTYPE, generator=seeded(n))
    return root @ root.T / n if positive else (root + root.T) / 2


class Rows(nn.Module):
    """A weight of rows and a bias, handed on as they are, so that the loss is any function of them."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, inputs):
        return torch.cat([self.weight.reshape(-1), self.bias]).expand(len(inputs), -1)


def of_rows(matrix, weight, bias, **options):
    """w'Aw / 2 of these params."""
    base = quadratic(matrix, torch.zeros(len(matrix), dtype=DTYPE))
    return Objective(Rows(weight, bias), base.loss, base.samples, dtype=DTYPE, **options)


def filter_scale(objective):
    """|w_f| / sqrt(n_f), filter by filter."""
    parts = []
    for name, weight in objective.layout.named(objective.params).items():
        rows = weight.flatten(1) if weight.dim() > 1 else torch.zeros(len(weight), 1, dtype=DTYPE)
        parts += [torch.full((len(row),), float(row.norm()) / math.sqrt(len(row)), dtype=DTYPE) for row in rows]
        assert name
    return torch.cat(parts)


def double_sum(weight, block):
    """sum_{s,s'} <w_s, w_s'> tr H_{s,s'}, literally."""
    rows = weight.flatten(1)
    size = rows.shape[1]
    cut = [slice(s * size, (s + 1) * size) for s in range(len(rows))]
    pairs = [(s, t) for s in range(len(rows)) for t in range(len(rows))]
    return sum(float(rows[s] @ rows[t] * block[cut[s], cut[t]].trace()) for s, t in pairs)


def test_a_quadratic_has_its_closed_forms(exact):
    weight, bias = torch.randn(3, 4, dtype=DTYPE, generator=seeded(1)), torch.tensor([0.3, -2.0], dtype=DTYPE)
    matrix = symmetric(14)
    objective = of_rows(matrix, weight, bias, l2=0.25)
    hessian = matrix + 0.25 * torch.eye(14, dtype=DTYPE)
    c = filter_scale(objective)
    assert value(objective, "eigenvalue") == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-12)
    assert value(objective, "trace") == pytest.approx(float(hessian.trace()), rel=1e-12)
    assert value(objective, "frobenius") == pytest.approx(float(hessian.norm()), rel=1e-12)
    scaled = c[:, None] * hessian * c
    assert value(objective, "filter-trace") == pytest.approx(float(scaled.trace()), rel=1e-12)
    top = float(torch.linalg.eigvalsh(scaled)[-1])
    assert value(objective, "filter-eigenvalue") == pytest.approx(top, rel=1e-12)
    assert value(objective, "relative-flatness") == pytest.approx(double_sum(weight, hessian[:12, :12]), rel=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_networks_have_the_values_of_their_dense_hessian(name, exact):
    case = problem(name)
    objective, hessian = case.objective(), case.dense_hessian()
    norms = [n for n, p in case.model.named_parameters() if p.dim() == 1]
    assert norms
    c = filter_scale(objective)
    scaled = c[:, None] * hessian * c
    layers = [n for n, p in case.model.named_parameters() if p.dim() > 1]
    found = measure(objective, "relative-flatness")
    weight = dict(case.model.named_parameters())[layers[-1]].detach()
    block = Hessian(objective).blocks()[layers[-1]]
    assert found.layer == layers[-1]
    assert found.num_params == objective.layout.size
    truths = {
        "eigenvalue": float(torch.linalg.eigvalsh(hessian)[-1]),
        "trace": float(hessian.trace()),
        "frobenius": float(hessian.norm()),
        "filter-eigenvalue": float(torch.linalg.eigvalsh(scaled)[-1]),
        "filter-trace": float(scaled.trace()),
        "relative-flatness": double_sum(weight, hessian[block, block]),
    }
    for key, truth in truths.items():
        assert value(objective, key) == pytest.approx(truth, rel=1e-8), key
    # another layer, of a convolution in one of them: its rows are filters
    first = objective.restricted(f"{layers[0].rpartition('.')[0]}.*")
    weight, block = dict(case.model.named_parameters())[layers[0]].detach(), Hessian(objective).blocks()[layers[0]]
    found = measure(first, "relative-flatness")
    assert (found.layer, found.parts["size"]) == (layers[0], weight.numel())
    assert found.value == pytest.approx(double_sum(weight, hessian[block, block]), rel=1e-8)


def test_the_filter_trace_is_the_mean_curvature_along_filter_normalised_directions(exact):
    case = problem("batch-norm-cnn")
    objective, hessian, generator = case.objective(), case.dense_hessian(), seeded(3)
    drawn = torch.stack([random_direction(objective, generator) for _ in range(2000)])
    curvatures = ((drawn @ hessian) * drawn).sum(1)
    error = float(curvatures.std()) / math.sqrt(len(curvatures))
    assert abs(value(objective, "filter-trace") - float(curvatures.mean())) < 4 * error
    assert error < 0.05 * float(curvatures.mean())


def test_traces_by_probes_come_with_their_errors():
    case = problem("tanh-mlp")
    for name in ("trace", "frobenius", "filter-trace", "relative-flatness"):
        calls = []
        found = measure(case.objective(), name, progress=calls.append)
        assert found.status == "converged"
        assert found.stderr >= 0
        if name == "frobenius":
            assert found.stderr <= 0.05 * found.value
        else:
            assert found.stderr <= 0.05 * max(abs(found.value), found.parts["frobenius"])
        assert found.num_matvecs == max(calls) <= case.objective().layout.size
    assert measure(case.objective(), "eigenvalue").stderr is None


def test_congruent_is_b_a_b():
    matrix, weight = symmetric(12), torch.randn(4, 3, dtype=DTYPE, generator=seeded(2))
    inner, c = Dense(matrix), torch.linspace(-1, 2, 12, dtype=DTYPE)
    scaled = Congruent.diagonal(inner, c)
    torch.testing.assert_close(scaled.dense(), c[:, None] * matrix * c)
    values, vectors = torch.linalg.eigh(weight @ weight.T)
    root = torch.kron((vectors * values.clamp(min=0).sqrt()) @ vectors.T, torch.eye(3, dtype=DTYPE))
    by_rows = Congruent.rows(inner, weight)
    torch.testing.assert_close(by_rows.dense(), root @ matrix @ root)
    torch.testing.assert_close(by_rows.matvec(c), root @ matrix @ root @ c)
    identities = [dict(a.identity()) for a in (scaled, Congruent.diagonal(inner, 2 * c), by_rows)]
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])
    assert identities[0] == dict(Congruent.diagonal(inner, c.clone()).identity())
    assert dict(scaled.self_check(0)) == dict(inner.self_check(0))
    with pytest.raises(InputError, match="12 params"):
        Congruent.diagonal(inner, c[:5])
    with pytest.raises(InputError, match="rows"):
        Congruent.rows(inner, weight[:2])


def relu(*sizes, bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [nn.Linear(a, b, bias=bias) for a, b in zip(sizes, sizes[1:], strict=False)]
        inputs, targets = torch.randn(60, sizes[0], dtype=DTYPE), torch.randint(0, sizes[-1], (60,))
    between = [part for layer in layers for part in (layer, nn.ReLU())][:-1]
    return nn.Sequential(*between).to(DTYPE), inputs, targets


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_fisher_rao_norm_of_layers_without_bias_is_that_of_the_logits(depth):
    """Liang et al. 2019, theorem 3.1: every layer sees the same w'dL/dw, so |w|^2 = depth^2 E (z'dl/dz)^2."""
    model, inputs, targets = relu(*[6] * depth, 4, bias=False)
    z = model(inputs).detach()
    p = z.softmax(1)
    truth = depth**2 * float(((p * z.square()).sum(1) - (p * z).sum(1).square()).mean())
    found = measure(Objective(model, "cross_entropy", (inputs, targets), dtype=DTYPE, l2=0.1), "fisher-rao")
    assert found.parts["square"] == pytest.approx(truth, rel=1e-10)
    assert found.value == pytest.approx(math.sqrt(truth), rel=1e-10)


def test_the_fisher_rao_norm_is_that_of_the_dense_fisher_matrix():
    objective = problem("layer-norm-mlp").objective(l2=0.1)
    w = objective.params
    calls = []
    found = measure(objective, "fisher-rao", progress=calls.append)
    assert found.value == pytest.approx(float(w @ Fisher(objective).dense() @ w) ** 0.5, rel=1e-10)
    assert found.loss == pytest.approx(objective.value())
    assert calls == [found.num_matvecs] == [1]
    block = objective.restricted("3.*")
    w = block.params
    assert value(block, "fisher-rao") == pytest.approx(float(w @ Fisher(block).dense() @ w) ** 0.5, rel=1e-10)


def rescaled(first, second):
    """A ReLU network whose hidden units are scaled by these factors, and undone in the next layer."""
    model, inputs, targets = relu(5, 7, 4, 3)
    for layer, following, factors in ((model[0], model[2], first), (model[2], model[4], second)):
        layer.weight.data *= factors[:, None]
        layer.bias.data *= factors
        following.weight.data /= factors
    return Objective(model, "cross_entropy", (inputs, targets), dtype=DTYPE)


def test_what_is_said_to_be_invariant_is_and_the_rest_moves(exact):
    plain = rescaled(torch.ones(7, dtype=DTYPE), torch.ones(4, dtype=DTYPE))
    layers = rescaled(torch.full((7,), 4.0, dtype=DTYPE), torch.full((4,), 0.3, dtype=DTYPE))
    units = rescaled(torch.linspace(0.5, 3, 7, dtype=DTYPE), torch.tensor([2.0, 0.25, 1.0, 4.0], dtype=DTYPE))
    assert layers.value() == pytest.approx(plain.value(), rel=1e-12)
    assert units.value() == pytest.approx(plain.value(), rel=1e-12)
    for name in NAMES[:7]:
        before, same = value(plain, name), MEASURES[name].invariances
        by_layer, by_unit = (abs(value(o, name) / before - 1) for o in (layers, units))
        assert (by_layer < 1e-8) == same.layers, name
        assert (by_unit < 1e-8) == same.units, name
        assert by_layer < 1e-8 or by_layer > 1e-2, name
        assert by_unit < 1e-8 or by_unit > 1e-2, name


def test_raw_measures_move_by_the_factors_of_their_blocks(exact):
    a = 4.0
    plain = rescaled(torch.ones(7, dtype=DTYPE), torch.ones(4, dtype=DTYPE))
    moved = rescaled(torch.full((7,), a, dtype=DTYPE), torch.ones(4, dtype=DTYPE))
    hessian = Hessian(plain).dense()
    named = [("0.weight", 1 / a), ("0.bias", 1 / a), ("2.weight", a)]
    factors = torch.ones(plain.layout.size, dtype=DTYPE)
    for name, factor in named:
        factors[Hessian(plain).blocks()[name]] = factor
    after = factors[:, None] * hessian * factors
    assert value(moved, "trace") == pytest.approx(float(after.trace()), rel=1e-8)
    assert value(moved, "frobenius") == pytest.approx(float(after.norm()), rel=1e-8)
    assert value(moved, "eigenvalue") == pytest.approx(float(torch.linalg.eigvalsh(after)[-1]), rel=1e-8)


def linear_gaussian(samples=40, size=6, l2=0.02, **options):
    """y = X w + noise of variance 1/2 at the ridge solution, mean of squared errors."""
    x = torch.randn(samples, size, dtype=DTYPE, generator=seeded(8))
    y = x @ torch.linspace(-1, 1, size, dtype=DTYPE) + 0.7 * torch.randn(samples, dtype=DTYPE, generator=seeded(9))
    model = nn.Linear(size, 1, bias=False).to(DTYPE)
    ridge = samples * l2 / 2 * torch.eye(size, dtype=DTYPE)
    model.weight.data = torch.linalg.solve(x.T @ x + ridge, x.T @ y)[None]
    return Objective(model, "mse", (x, y[:, None]), l2=l2, dtype=DTYPE, **options), x, y


def test_the_evidence_of_a_gaussian_model_is_exact():
    """exp(-N L) = exp(-|y - Xw|^2) is a Gaussian of variance 1/2 but for pi^(N/2), and the prior one of 1/(N l2)."""
    objective, x, y = linear_gaussian()
    count = len(y)
    covariance = torch.eye(count, dtype=DTYPE) / 2 + x @ x.T / (count * 0.02)
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(count, dtype=DTYPE), covariance)
    found = measure(objective, "log-evidence")
    assert found.value - count / 2 * math.log(math.pi) == pytest.approx(float(gaussian.log_prob(y)), rel=1e-10)
    assert (found.status, found.parts["method"]) == ("converged", "exact")
    assert 0 < found.stderr < 1e-12  # rounding
    assert found.parts["gradient_norm"] < 1e-12
    assert found.parts["decrement"] < 1e-20
    assert "null_log_evidence" not in found.parts
    eigenvalues = torch.linalg.eigvalsh(2 * x.T @ x / count).numpy() + 0.02
    occam = measure(objective, "occam")
    assert occam.value == pytest.approx(-np.log(eigenvalues / 0.02).sum() / 2, rel=1e-10)
    assert found.value == pytest.approx(occam.value - found.parts["cost"], rel=1e-12)
    assert found.parts["cost"] == pytest.approx(count * objective.value(), rel=1e-12)
    assert found.parts["smallest_eigenvalue"] == pytest.approx(float(eigenvalues.min()), rel=1e-10)


def test_the_evidence_of_a_block_is_that_of_the_rest_given():
    """Two outputs of one linear model share nothing, so that the other one is a constant factor of the likelihood."""
    objective, x, y = linear_gaussian()

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.other = nn.Linear(6, 1, bias=False), nn.Linear(6, 1, bias=False)

        def forward(self, inputs):
            return self.own(inputs) + self.other(inputs)

    model = Both().to(DTYPE)
    model.own.weight.data, model.other.weight.data = objective.params[None].clone(), torch.ones(1, 6, dtype=DTYPE)
    shift = x.sum(1)
    block = Objective(model, "mse", (x, (y + shift)[:, None]), l2=0.02, dtype=DTYPE, params="own.*")
    assert value(block, "log-evidence") == pytest.approx(value(objective, "log-evidence"), rel=1e-10)


def softmax_regression(l2=0.01, size=60, classes=10, dtype=DTYPE):
    """Convex, so that the regularised Hessian is positive definite everywhere. 610 params."""
    x = torch.randn(200, size, dtype=DTYPE, generator=seeded(4)) * torch.logspace(0, -2, size, dtype=DTYPE)
    y = torch.randint(0, classes, (200,), generator=seeded(4))
    model = nn.Linear(size, classes).to(DTYPE)
    model.weight.data = torch.randn(classes, size, dtype=DTYPE, generator=seeded(6)) / 3
    model.bias.data = torch.linspace(-1, 1, classes, dtype=DTYPE)
    return Objective(model, "cross_entropy", (x, y), l2=l2, dtype=dtype)


def test_the_exact_determinant_is_in_float64_whatever_the_type():
    double, single = softmax_regression(1e-4), softmax_regression(1e-4, dtype=torch.float32)
    p = double.model(double.samples.blocks[0][0]).softmax(1).detach()
    inputs = torch.cat([double.samples.blocks[0][0], torch.ones(200, 1, dtype=DTYPE)], dim=1)
    curvature_ = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    hessian = torch.einsum("bij,bk,bl->ikjl", curvature_, inputs, inputs).reshape(610, 610) / 200
    truth = float(torch.logdet(hessian / 1e-4 + torch.eye(610, dtype=DTYPE)))
    assert value(double, "occam") == pytest.approx(-truth / 2, rel=1e-9)
    assert value(single, "occam") == pytest.approx(-truth / 2, rel=1e-6)
    found = measure(double, "log-evidence")
    assert found.parts["null_log_evidence"] == pytest.approx(-200 * math.log(10))
    assert found.parts["log_determinant"] == pytest.approx(truth, rel=1e-9)


def test_the_quadrature_agrees_with_the_exact_determinant(monkeypatch):
    objective = softmax_regression()
    truth = measure(objective, "log-evidence")
    monkeypatch.setattr(determinant, "EXACT", 100)
    monkeypatch.setattr(determinant, "PROBES", 20)
    monkeypatch.setattr(determinant, "STEPS", 30)
    calls = []
    found = measure(objective, "log-evidence", progress=calls.append)
    assert found.parts["method"] == "lanczos"
    assert 0 < abs(found.value - truth.value) < 4 * found.stderr
    assert found.parts["cost"] == truth.parts["cost"]
    assert 0.01 <= found.parts["smallest_eigenvalue"] < 0.011
    assert calls == sorted(calls)
    assert calls[-1] == found.num_matvecs
    assert measure(objective, "log-evidence").value == found.value


def test_the_errors_of_the_quadrature_cover_the_truth(monkeypatch):
    monkeypatch.setattr(determinant, "PROBES", 10)
    monkeypatch.setattr(determinant, "STEPS", 10)
    monkeypatch.setattr(determinant, "_smallest", lambda *_: (0.1, 0.0, 0))  # known here, and half of the work
    vectors = torch.linalg.qr(torch.randn(120, 120, dtype=DTYPE, generator=seeded()))[0]
    eigenvalues = 0.1 + 10.0 / torch.arange(1, 121, dtype=DTYPE) ** 2
    operator = Dense((vectors * eigenvalues) @ vectors.T)
    truth = float((eigenvalues / 0.1).log().sum())
    found = [determinant.by_quadrature(operator, 0.1, seed=seed) for seed in range(50)]
    assert sum(abs(one.value - truth) > 3 * one.stderr for one in found) <= 2
    assert all(5 * one.change < one.stderr < 0.3 * truth for one in found)


def test_half_the_steps_follow_from_all_of_them():
    operator = Dense(symmetric(300, positive=True))
    whole = spectral_density(operator, probes=2, steps=40, seed=1)
    half = spectral_density(operator, probes=2, steps=20, seed=1)
    for probe in range(2):
        nodes, weights = determinant.halved(whole.nodes[probe], whole.weights[probe])
        np.testing.assert_allclose(nodes[::-1], half.nodes[probe], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(weights[::-1], half.weights[probe], atol=1e-10)


@pytest.mark.parametrize("limit", [2000, 0])
def test_where_the_regularised_hessian_is_not_positive_there_is_no_evidence(limit, monkeypatch):
    monkeypatch.setattr(determinant, "EXACT", limit)
    matrix = torch.diag(torch.linspace(-0.5, 2, 30, dtype=DTYPE))
    objective = quadratic(matrix, torch.zeros(30, dtype=DTYPE), l2=0.1)
    with pytest.raises(NumericalError, match=r"eigenvalue -0\.4.* larger --l2 than 0\.1") as caught:
        measure(objective, "occam")
    assert caught.value.computed == {"smallest_eigenvalue": pytest.approx(-0.4, rel=1e-3)}
    fine = quadratic(matrix, torch.zeros(30, dtype=DTYPE), l2=0.6)
    assert value(fine, "occam") == pytest.approx(-np.log(np.linspace(0.1, 2.6, 30) / 0.6).sum() / 2)


def test_a_smallest_eigenvalue_is_sought_until_it_is_told_from_zero(monkeypatch):
    """At the edge of many, below a large one, so that a residual relative to that one says nothing."""
    top = torch.tensor([50.0], dtype=DTYPE)
    positive, indefinite = (
        Dense(torch.diag(torch.cat([torch.linspace(low, 1e-3, 1000, dtype=DTYPE), top]))) for low in (1e-5, -1e-5)
    )
    found, residual, spent = determinant._smallest(positive, 1e-3, 0, None)
    assert found == pytest.approx(1e-5, rel=0.01)
    assert residual <= 0.1 * found
    assert spent <= determinant.MOST_PRODUCTS
    with pytest.raises(NumericalError, match=r"has the eigenvalue -\d"):
        determinant._smallest(indefinite, 1e-3, 0, None)
    monkeypatch.setattr(determinant, "MOST_PRODUCTS", 12)
    with pytest.raises(NumericalError, match="cannot be told from zero after 1") as caught:
        determinant._smallest(positive, 1e-3, 0, None)
    assert caught.value.computed["smallest_eigenvalue"] > 0


def test_what_does_not_fit_is_refused():
    objective = problem("tanh-mlp").objective()
    for name in ("occam", "log-evidence"):
        with pytest.raises(UsageError, match=f"{name}.*--l2"):
            measure(objective, name)
    biases = objective.restricted("*.bias")
    with pytest.raises(InputError, match="no filters"):
        measure(biases, "filter-trace")
    with pytest.raises(InputError, match="no filters"):
        measure(biases, "filter-eigenvalue")
    with pytest.raises(InputError, match="layer with rows"):
        measure(biases, "relative-flatness")
    with pytest.raises(InputError, match="likelihood"):
        measure(quadratic(symmetric(3), torch.ones(3, dtype=DTYPE)), "fisher-rao")


def test_the_norm_goes_on_until_its_own_error_is_small():
    """One large eigenvalue among equal ones: the trace is known after few probes, the norm is not."""
    n = 1500
    along = torch.randn(n, dtype=DTYPE, generator=seeded(1))
    along /= along.norm()

    def loss(outputs, targets):
        return (outputs.square().sum(1) + 59 * (outputs @ along).square()).mean() / 2

    base = quadratic(torch.eye(n, dtype=DTYPE), torch.zeros(n, dtype=DTYPE))
    objective = Objective(base.model, loss, base.samples, dtype=DTYPE)
    traced, normed = measure(objective, "trace"), measure(objective, "frobenius")
    assert traced.status == normed.status == "converged"
    assert traced.num_matvecs < normed.num_matvecs
    assert traced.parts["frobenius_stderr"] > 0.05 * traced.parts["frobenius"]
    assert normed.stderr <= 0.05 * normed.value
    truth = math.sqrt(n - 1 + 60.0**2)
    assert abs(normed.value - truth) < 4 * normed.stderr
    assert abs(traced.value - (n + 59)) < 4 * traced.stderr


def test_the_error_of_a_norm_is_asked_of_hutchinson_only():
    with pytest.raises(UsageError, match="hutchinson"):
        trace(Dense(symmetric(5)), method="xtrace", of="frobenius")
    with pytest.raises(UsageError, match="of is trace"):
        trace(Dense(symmetric(5)), of="diagonal")


@pytest.mark.parametrize("limit", [2000, 10])
def test_measures_that_share_their_products_have_the_bits_that_they_have_alone(limit, monkeypatch):
    monkeypatch.setattr(determinant, "EXACT", limit)
    monkeypatch.setattr(determinant, "PROBES", 3)
    monkeypatch.setattr(determinant, "STEPS", 12)
    objective = problem("tanh-mlp").objective(l2=5.0)
    names = ["frobenius", "filter-trace", "trace", "eigenvalue", "log-evidence", "occam", "filter-eigenvalue"]
    alone = [measure(objective, name) for name in names]
    made = []
    multiply = Hessian.matmat
    monkeypatch.setattr(Hessian, "matmat", lambda self, m: made.append(m.shape[1]) or multiply(self, m))
    for order in (names, names[::-1]):
        shared = Shared(objective)
        together = {}
        for name in order:
            before = sum(made)
            together[name] = measure(objective, name, shared=shared)
            together[name + " made"] = sum(made) - before
        for name, one in zip(names, alone, strict=True):
            both = together[name]
            for key in ("value", "stderr", "num_matvecs", "status", "parts", "loss", "settings"):
                assert getattr(both, key) == getattr(one, key), (name, key)
    assert together["log-evidence made"] == 0  # after occam, in the last order
    assert together["frobenius made"] < together["trace made"]


def test_what_failed_once_is_told_again_and_not_computed_again(monkeypatch):
    objective = quadratic(torch.diag(torch.linspace(-0.5, 2, 30, dtype=DTYPE)), torch.zeros(30, dtype=DTYPE), l2=0.1)
    shared = Shared(objective)
    with pytest.raises(NumericalError, match="eigenvalue -0"):
        measure(objective, "occam", shared=shared)
    monkeypatch.setattr("landscape.sharpness.evidence.log_determinant", None)
    with pytest.raises(NumericalError, match="eigenvalue -0"):
        measure(objective, "log-evidence", shared=shared)


def test_products_beyond_the_memory_are_made_again(monkeypatch):
    monkeypatch.setattr("landscape.sharpness.shared.REMEMBERED", 3 * 8 * 12)
    operator = Remembering(Dense(symmetric(12)))
    blocks = [torch.randn(12, 3, dtype=DTYPE, generator=seeded(i)) for i in range(2)]
    for block in (*blocks, *blocks):
        torch.testing.assert_close(operator.matmat(block), symmetric(12) @ block)
    assert operator.bytes == 3 * 8 * 12
    assert len(operator.kept) == 1


@pytest.mark.parametrize("limit", [2000, 0])
def test_off_a_minimum_the_evidence_is_not_converged_and_says_how_far(limit, monkeypatch):
    monkeypatch.setattr(determinant, "EXACT", limit)
    matrix = symmetric(40, positive=True)
    hessian = matrix + 0.1 * torch.eye(40, dtype=DTYPE)
    for size, status in ((0.05, "converged"), (1.0, "not converged")):
        w = size * torch.randn(40, dtype=DTYPE, generator=seeded(2))
        objective = quadratic(matrix, w, l2=0.1)  # 5 samples
        gradient = hessian @ w
        truth = 5 / 2 * float(gradient @ torch.linalg.solve(hessian, gradient))
        for name in ("occam", "log-evidence"):
            found = measure(objective, name)
            assert found.parts["decrement"] == pytest.approx(truth, rel=0.02 if limit == 0 else 1e-8)
            assert found.status == status
            assert (truth > 1) == (status == "not converged")


def test_an_eigenvalue_within_rounding_is_not_told_from_zero():
    for smallest, words in ((1e-15, "cannot be told from zero above rounding"), (-1e-9, "has the eigenvalue -1e-09")):
        operator = Dense(torch.diag(torch.tensor([smallest, *[1.0] * 9], dtype=DTYPE)))
        with pytest.raises(NumericalError, match=words) as caught:
            determinant.by_eigenvalues(operator, 1e-9)
        assert caught.value.status == "refused"
        assert "\n" not in str(caught.value)
    vectors = torch.linalg.qr(torch.randn(200, 200, dtype=DTYPE, generator=seeded()))[0]
    eigenvalues = torch.logspace(-11, 0, 200, dtype=DTYPE)
    found = determinant.by_eigenvalues(Dense((vectors * eigenvalues) @ vectors.T), 1e-3)
    truth = float((eigenvalues / 1e-3).log().sum())
    assert 0 < abs(found.value - truth) <= found.stderr < 0.1


class Backwards(nn.Module):
    """Its last layer is made first."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Linear(5, 3), nn.Linear(4, 5)

    def forward(self, inputs):
        return self.last(self.first(inputs).tanh())


class Tied(nn.Module):
    """One weight at both ends, and one between."""

    def __init__(self):
        super().__init__()
        self.ends, self.between = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 4)

    def forward(self, inputs):
        return self.between((inputs @ self.ends).tanh()) @ self.ends.T


@pytest.mark.parametrize(("kind", "name"), [(Backwards, "last.weight"), (Tied, "ends")])
def test_relative_flatness_is_of_the_layer_that_runs_last(kind, name, exact):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model, inputs, targets = kind().to(DTYPE), torch.randn(30, 4, dtype=DTYPE), torch.randint(0, 3, (30,))
    objective = Objective(model, "cross_entropy", (inputs, targets), dtype=DTYPE)
    found = measure(objective, "relative-flatness")
    assert found.layer == name
    block = Hessian(objective).blocks()[name]
    weight = objective.layout.named(objective.params)[name]
    plain = double_sum(weight, Hessian(objective).dense()[block, block])
    assert found.value == pytest.approx(plain, rel=1e-8)
    penalised = Objective(model, "cross_entropy", (inputs, targets), dtype=DTYPE, l2=0.3)
    penalty = 0.3 * float(weight.square().sum()) * weight.shape[1]
    assert measure(penalised, "relative-flatness").value == pytest.approx(plain + penalty, rel=1e-8)


def test_every_measure_says_what_it_is_and_gives_the_same_bits_twice():
    objective = problem("tanh-mlp").objective(l2=5.0)  # convex enough for the evidence
    for name in NAMES:
        found, again = measure(objective, name, seed=2), measure(objective, name, seed=2)
        assert found.value == again.value
        assert found.settings == settings(objective, name, seed=2)
        assert (found.measure, found.space, found.num_samples) == (name, "full", 50)
        assert found.loss == pytest.approx(objective.value(), rel=1e-12)
        assert found.num_matvecs > 0
        assert found.self_check["verdict"] == "agrees"
        assert "path" in found.hvp
        assert not found.problems()
