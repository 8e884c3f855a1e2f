"""The moments of the gradient's noise against closed forms and dense matrices, their intervals against known truths."""

import functools
import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from landscape_cli.main import run
from scipy import stats
from torch import nn
from torch.nn import functional

from landscape import Hessian, Objective
from landscape.draw import draw_noise, style
from landscape.errors import InputError, NumericalError, UsageError
from landscape.noise import curvature as curvature_module
from landscape.noise import gradient_noise, layers, moments, noise_settings, routes, spectrum
from landscape.noise.intervals import fieller
from landscape.results import Status


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Hundreds of small problems: threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def of_gradients(rows, **options):
    """An objective whose samples have these gradients (N, d): w x_i - y_i squared, at w = 0 with y_i = -1/2."""
    model = nn.Linear(rows.shape[1], 1, bias=False).double()
    nn.init.zeros_(model.weight)
    targets = torch.full((len(rows), 1), -0.5, dtype=torch.float64)
    return Objective(model, "mse", (rows, targets), dtype="float64", **options)


def check(found, rows, penalty=0.0):
    """A result against the gradients (K, n) of the samples' influences and the penalty's gradient."""
    count = len(rows)
    mean = rows.mean(0)
    covariance = torch.cov(rows.T).reshape(rows.shape[1], rows.shape[1])
    trace = float(covariance.trace())
    assert found.trace_covariance == pytest.approx(trace, rel=1e-8)
    norm = float((mean + penalty).square().sum()) - trace / count
    assert found.gradient_norm_squared == pytest.approx(norm, rel=1e-8, abs=1e-8 * trace)
    assert found.diversity == pytest.approx(float(rows.square().sum() / rows.sum(0).square().sum()), rel=1e-8)
    deviations = (rows - mean).square().sum(1)
    assert found.trace_covariance_stderr == pytest.approx(
        float(deviations.std()) / math.sqrt(count) * count / (count - 1), rel=1e-8
    )
    return covariance


# -- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["norms", "vmap"])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_linear_regression(route, l2):
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 5, dtype=torch.float64), torch.randn(40, 1, dtype=torch.float64)
    model = nn.Linear(5, 1, bias=False).double()
    objective = Objective(model, "mse", (inputs, targets), dtype="float64", l2=l2, chunk=7)
    rows = 2 * (inputs @ model.weight.detach().T - targets) * inputs
    found = gradient_noise(objective, route=route)
    check(found, rows, l2 * model.weight.detach()[0])
    unit = functional.normalize(rows, dim=1)
    cosines = unit @ unit.T
    assert found.cosine == pytest.approx(float((cosines.sum() - 40) / (40 * 39)), rel=1e-8)


@pytest.mark.parametrize("route", ["norms", "vmap"])
def test_logistic_regression_by_param_tensor(route):
    torch.manual_seed(1)
    inputs, targets = torch.randn(60, 4, dtype=torch.float64), torch.randint(3, (60,))
    model = nn.Linear(4, 3).double()
    objective = Objective(model, "cross_entropy", (inputs, targets), dtype="float64", chunk=16)
    with torch.no_grad():
        slopes = functional.softmax(model(inputs), 1) - functional.one_hot(targets, 3)
    parts = [(slopes[:, :, None] * inputs[:, None]).flatten(1), slopes]
    found = gradient_noise(objective, route=route)
    check(found, torch.cat(parts, 1))
    for index, rows in enumerate(parts):
        trace, mean = float(rows.var(0).sum()), rows.mean(0)
        assert found.layer_trace[index] == pytest.approx(trace, rel=1e-8)
        assert found.layer_gradient_norm_squared[index] == pytest.approx(
            float(mean.square().sum()) - trace / 60, rel=1e-8, abs=1e-10
        )
        assert found.layer_signal_to_noise[index] == pytest.approx(float(mean.norm()) / math.sqrt(trace), rel=1e-8)
        spread = (rows - mean).square().sum(1)
        expected = float(spread.std()) / math.sqrt(60) * 60 / 59
        assert found.layer_trace_stderr[index] == pytest.approx(expected, rel=1e-8)


def test_samples_of_unequal_weight_count_by_their_influence_on_the_mean():
    torch.manual_seed(2)
    inputs, targets = torch.randn(30, 4, dtype=torch.float64), torch.randint(3, (30,))
    targets[::4] = -100
    model = nn.Linear(4, 3, bias=False).double()
    objective = Objective(model, "cross_entropy", (inputs, targets), dtype="float64")
    weights = (targets != -100).double()
    with torch.no_grad():
        slopes = functional.softmax(model(inputs), 1) - functional.one_hot(targets.clamp(min=0), 3)
    rows = weights[:, None] * (slopes[:, :, None] * inputs[:, None]).flatten(1)
    mean = rows.sum(0) / weights.sum()
    influence = (rows - weights[:, None] * mean) / weights.mean()
    for route in ("norms", "vmap"):
        found = gradient_noise(objective, route=route)
        assert found.trace_covariance == pytest.approx(float(influence.square().sum()) / 29, rel=1e-8)
        assert found.mean_gradient_norm_squared == pytest.approx(float(mean.square().sum()), rel=1e-8)
        assert found.diversity == pytest.approx(float(rows.square().sum() / rows.sum(0).square().sum()), rel=1e-8)


def test_batches_estimate_the_same_from_two_batch_sizes():
    torch.manual_seed(3)
    rows = torch.randn(256, 6, dtype=torch.float64) + 0.3
    objective = of_gradients(rows)
    route, _ = routes.route_of(objective, "batches", 5)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(5))
    batches = rows[order].reshape(-1, route.unit_size, 6).mean(1)
    big, small = float(rows.mean(0).square().sum()), float(batches.square().sum(1).mean())
    found = gradient_noise(objective, route="batches", seed=5)
    assert found.unit_size == route.unit_size == 4
    assert found.trace_covariance == pytest.approx((small - big) / (1 / 4 - 1 / 256), rel=1e-8)
    assert found.gradient_norm_squared == pytest.approx((256 * big - 4 * small) / 252, rel=1e-8)
    exact = gradient_noise(objective)
    assert abs(found.trace_covariance - exact.trace_covariance) < 4 * found.trace_covariance_stderr


@pytest.mark.parametrize("count", [2, 3, 7])
def test_few_gradients_have_no_standard_errors(count):
    rows = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 5
    found = gradient_noise(of_gradients(rows), full=True)
    assert found.status == Status.NOT_RESOLVED
    assert found.trace_covariance == pytest.approx(float(rows.var(0).sum()), rel=1e-8)
    assert (
        found.trace_covariance_stderr is found.gradient_norm_squared_stderr is found.gradient_curvature_stderr is None
    )
    assert np.isnan(found.layer_trace_stderr).all()
    assert (found.b_simple_low, found.b_simple_high, found.b_noise_low, found.b_noise_high) == (0, None, 0, None)
    assert found.problems() == []


def test_few_gradients_are_told_by_the_command(capsys):
    assert run(["noise", "--model", "mlp", "--data", "digits", "--samples", "5"]) == 0
    out, err = capsys.readouterr()
    assert "above 0" in out
    assert "not resolved: the gradients of 5 samples" in err
    assert run(["noise", "--model", "mlp", "--data", "digits", "--samples", "5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["trace_covariance_stderr"] is shown["b_simple_high"] is None


def test_an_interval_without_ends_is_drawn_with_arrows():
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with style():
        scales, signals = plt.subplots(1, 2)[1]
        draw_noise({"few": gradient_noise(of_gradients(rows))}, scales, signals)
        markers = {line.get_marker(): line.get_xdata()[0] for line in scales.get_lines() if len(line.get_xdata()) == 1}
        assert [markers["<"], markers[">"]] == list(scales.get_xlim())


@pytest.mark.parametrize("held", [1, 3, 5, 64])
def test_all_pairs_of_few_units_whatever_is_held(held, monkeypatch):
    """tr(S)^2 / tr(S^2) of the sample covariance, without a draw, with so many gradients held at once."""
    monkeypatch.setattr(moments, "HELD", held * 8 * 6)
    count = 8 if held == 1 else 12
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    covariance = torch.cov(rows.T)
    rank = float(covariance.trace() ** 2 / covariance.square().sum())
    for seed in (0, 1):
        assert gradient_noise(of_gradients(rows, chunk=5), seed=seed).effective_rank == pytest.approx(rank, rel=1e-10)


def test_pairs_of_many_units_are_drawn_without_torchs_limit(monkeypatch):
    """torch.multinomial refuses more than 2^24 categories. Heavy tails: the draw is by squared norms."""
    monkeypatch.setattr(torch, "multinomial", None)
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(150, 4, generator=generator, dtype=torch.float64)
    rows *= torch.rand(150, 1, generator=generator, dtype=torch.float64).pow(-0.5)
    covariance = torch.cov(rows.T)
    rank = float(covariance.trace() ** 2 / covariance.square().sum())
    found = np.array([gradient_noise(of_gradients(rows), seed=seed).effective_rank for seed in range(40)])
    assert found.std() > 0
    assert abs((1 / found).mean() - 1 / rank) < 3.5 * (1 / found).std() / math.sqrt(40)


def test_only_units_that_are_wanted_are_cut(monkeypatch):
    objective = of_gradients(torch.arange(60.0, dtype=torch.float64).reshape(20, 3), chunk=6)
    for name in ("norms", "batches"):
        route, _ = routes.route_of(objective, name, 0)
        every = [batch[0] for batch in route.units()]
        for wanted in ([0], [3, 5, 6, 19], [19], list(range(20))):
            got = [batch[0] for batch in route.units(wanted)]
            assert torch.equal(torch.cat(got), torch.cat([every[i] for i in wanted]))
    route, cut, seen = routes.route_of(objective, "norms", 0)[0], routes.cut, []
    monkeypatch.setattr(routes, "cut", lambda batch, index: seen.append(index) or cut(batch, index))
    assert len(list(route.units([4, 17]))) == len(seen) == 2


class Limited(nn.Linear):
    """Runs out of memory beyond so many samples."""

    most = 10**9

    def forward(self, inputs):
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError("planted")
        return super().forward(inputs)


def test_where_memory_runs_out_passes_shrink_and_batches_stay():
    rows = torch.randn(256, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 0.3
    model = Limited(6, 1, bias=False).double()
    objective = Objective(model, "mse", (rows, rows[:, :1]), dtype="float64")
    whole = gradient_noise(objective, route="batches")
    model.most = 3
    found = gradient_noise(objective, route="batches")
    assert objective.chunk <= 3
    assert found.unit_size == whole.unit_size == 4
    for name in ("trace_covariance", "gradient_norm_squared", "effective_rank", "trace_covariance_stderr"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name), rel=1e-10)


# -- estimators over many draws of the samples ------------------------------------------------------------------------


@functools.cache
def many(draw, runs):
    """Results over so many draws of the samples."""
    drawn = (draw(torch.Generator().manual_seed(seed)) for seed in range(runs))
    return [gradient_noise(of_gradients(rows), route="norms", seed=seed) for seed, rows in enumerate(drawn)]


def gaussian(count, mean, scales):
    def draw(generator):
        return torch.randn(count, len(mean), generator=generator, dtype=torch.float64) * scales + mean

    return draw


def test_estimates_are_unbiased_over_500_draws():
    mean, scales = torch.tensor([0.4, -0.2, 0.1]).double(), torch.tensor([1.0, 2.0, 0.5]).double()
    found = many(gaussian(12, mean, scales), 500)
    truths = {"trace_covariance": float(scales.square().sum()), "gradient_norm_squared": float(mean.square().sum())}
    truths["trace_covariance_squared"] = float(scales.pow(4).sum())
    for name, truth in truths.items():
        values = np.array([getattr(result, name) for result in found])
        # tr(Sigma^2) takes deviations from the mean of the same samples: to first order in 1/N
        assert abs(values.mean() - truth) < 3 * values.std() / math.sqrt(len(values)), name


def test_the_trace_of_the_squared_covariance_of_many_params_from_few_samples():
    found = many(gaussian(16, torch.zeros(600).double(), torch.ones(600).double()), 60)
    values = np.array([result.trace_covariance_squared for result in found])
    assert abs(values.mean() - 600) < 4 * values.std() / math.sqrt(len(values)) + 60  # it is never below zero


def laplace(count, mean, scale):
    def draw(generator):
        uniform = torch.rand(count, len(mean), generator=generator, dtype=torch.float64) - 0.5
        return mean - scale * uniform.sign() * torch.log1p(-2 * uniform.abs())

    return draw


CASES = {
    # the error of |G|^2 is linear in that of g, quadratic, and of both parts; tails that are not those of a Gaussian
    "one direction": (gaussian(100, torch.tensor([2.0]).double(), torch.tensor([1.0]).double()), 4.0, 1.0),
    "few": (gaussian(60, torch.full((3,), 1.0).double(), torch.full((3,), 1.0).double()), 3.0, 3.0),
    "many": (gaussian(64, torch.full((400,), 0.1).double(), torch.full((400,), 1.0).double()), 4.0, 400.0),
    "heavy": (laplace(200, torch.full((5,), 0.8).double(), 1.0), 3.2, 10.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_interval_covers_the_truth(case):
    draw, norm, trace = CASES[case]
    found = many(draw, 400)
    errors = np.median([result.gradient_norm_squared_stderr for result in found])
    assert norm > 5 * errors, "the case is not one that the promise is about"
    hits = np.mean([r.b_simple_low <= trace / norm <= (r.b_simple_high or math.inf) for r in found])
    assert 0.92 <= hits <= 0.98, hits


@pytest.mark.parametrize("case", CASES)
def test_standard_errors_are_those_seen(case):
    found = many(CASES[case][0], 400)
    for name in ("trace_covariance", "gradient_norm_squared"):
        seen = np.std([getattr(result, name) for result in found])
        told = np.sqrt(np.mean([getattr(result, f"{name}_stderr") ** 2 for result in found]))
        assert told == pytest.approx(seen, rel=0.25), name


def test_where_the_mean_gradient_vanishes_the_scale_is_not_resolved():
    rows = gaussian(50, torch.zeros(4).double(), torch.ones(4).double())(torch.Generator().manual_seed(0))
    found = gradient_noise(of_gradients(rows - rows.mean(0)))  # a minimum that fits its samples
    assert found.status == Status.NOT_RESOLVED
    assert found.b_simple is None
    assert found.b_simple_high is None
    assert found.gradient_norm_squared < 0
    assert 0 < found.b_simple_low < math.inf


def test_fieller_against_the_inequality():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = rng.exponential(), rng.normal()
        root = rng.normal(size=(2, 2)) * rng.exponential() * 0.3
        (va, vab), (_, vb) = (root @ root.T).tolist()
        low, high = fieller(a, b, (va, vb), vab, 0.95, 30)
        t = stats.t.ppf(0.975, 30)
        ratios = np.geomspace(1e-6, 1e6, 20001)
        inside = (a - ratios * max(b, 0)) ** 2 <= t * t * (va - 2 * ratios * vab + ratios**2 * vb)
        told = (ratios >= low) & (ratios <= high)
        # the set may have a hole where b cannot be told from zero; what is told then covers it
        assert not (inside & ~told).any()
        if math.isfinite(high):
            assert (inside == told).mean() > 0.999


# -- curvature --------------------------------------------------------------------------------------------------------


def small_network(width=3, inputs=3):
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, 2)).double()
    data = torch.randn(80, inputs, dtype=torch.float64), torch.randint(2, (80,))
    return model, data


def dense(model, data, l2=0.0):
    """H, the gradient of the objective, and the covariance with 1/(N-1), one sample at a time."""
    objective = Objective(model, "cross_entropy", data, dtype="float64", l2=l2)
    matrix = Hessian(objective, hvp="double").matmat(torch.eye(objective.layout.size, dtype=torch.float64))
    rows = []
    for i in range(len(data[1])):
        loss = functional.cross_entropy(model(data[0][i : i + 1]), data[1][i : i + 1])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    rows = torch.stack(rows)
    return objective, matrix, objective.value_and_gradient()[1], torch.cov(rows.T)


@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_b_noise_against_dense_matrices(l2, monkeypatch):
    model, data = small_network()
    objective, hessian, gradient, covariance = dense(model, data, l2)
    trace = float((hessian * covariance).sum())
    along = float(gradient @ hessian @ gradient) - trace / 80
    exact = gradient_noise(objective, full=True, probes=40)  # more probes than params: no draw
    assert exact.num_probes == 0
    assert exact.trace_hessian_covariance == pytest.approx(trace, rel=1e-8)
    assert exact.gradient_curvature == pytest.approx(along, rel=1e-8)
    if along > 0:
        assert exact.b_noise == pytest.approx(trace / along, rel=1e-8)
        norm = float(gradient @ gradient) - float(covariance.trace()) / 80
        assert exact.eps_max == pytest.approx(norm / along, rel=1e-8)
        found = gradient_noise(objective, full=True, probes=40, batch_size=16)
        assert found.eps_opt == pytest.approx(norm / along / (1 + trace / along / 16), rel=1e-8)
    with monkeypatch.context() as patch:  # whatever probes are asked for, a matrix of all params has its bound
        patch.setattr(curvature_module, "EXACT", objective.layout.size - 1)
        assert gradient_noise(objective, full=True, probes=40).num_probes == 40
    model, data = small_network(width=8)
    objective, hessian, gradient, covariance = dense(model, data, l2)
    trace = float((hessian * covariance).sum())
    errors = []
    for seed in range(8):
        drawn = gradient_noise(objective, full=True, probes=30, seed=seed)
        assert drawn.num_probes == 30
        assert drawn.trace_hessian_covariance_stderr > 0
        errors.append((drawn.trace_hessian_covariance - trace) / drawn.trace_hessian_covariance_stderr)
    assert max(map(abs, errors)) < 4


@pytest.mark.parametrize("method", ["gram", "lanczos"])
def test_spectrum_of_the_covariance(method, monkeypatch):
    model, data = small_network(width=8)
    objective, _, _, covariance = dense(model, data)
    if method == "lanczos":
        monkeypatch.setattr(spectrum, "MOST_GRAM", 10)
    found = gradient_noise(objective, spectrum=4)
    assert found.spectrum_method == method
    expected = torch.linalg.eigvalsh(covariance).flip(0)
    np.testing.assert_allclose(found.eigenvalues, expected[:4], rtol=1e-3 if method == "lanczos" else 1e-8)
    assert found.rank == (None if method == "lanczos" else torch.linalg.matrix_rank(covariance, hermitian=True))


# -- routes -----------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = functional.relu(self.first(x), inplace=True)
        return (self.second(x) + x).mean((2, 3))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8, padding_idx=0)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x)
        return self.head(self.norm(x + self.attend(x, x, x, need_weights=False)[0]).mean(1))


class OwnAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.head = nn.Embedding(11, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.queries, self.keys, self.values = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        x = self.embed(x)
        y = functional.scaled_dot_product_attention(*(f(x) for f in (self.queries, self.keys, self.values)))
        return self.head(self.norm(x + y).mean(1))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Embedding(11, 8, padding_idx=0), nn.RMSNorm(8)
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.tanh(self.one(self.norm(self.embed(x))))
        return self.two(torch.tanh(self.one(x)).mean(1))  # a layer that is called twice


class TwiceHeld(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(torch.tanh(self.one(x)))


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(x - x.mean(0))


def images(count=24):
    return torch.randn(count, 2, 6, 6, dtype=torch.float64)


def tokens(count=24):
    return torch.randint(11, (count, 5))


def rows_of(count=24):
    return torch.randn(count, 6, dtype=torch.float64)


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)), rows_of, "norms"),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, stride=2, groups=4, padding=(1, 0)),
            nn.GroupNorm(3, 12),
            nn.Tanh(),
            nn.Conv2d(12, 8, 2, dilation=2, padding="same", padding_mode="reflect"),
            nn.Flatten(),
            nn.LazyLinear(3),
        ),
        images,
        "norms",
    ),
    "deep": (
        lambda: nn.Sequential(nn.Conv2d(2, 16, 3), nn.Tanh(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.LazyLinear(3)),
        images,
        "norms",
    ),
    "signal": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2), nn.Tanh(), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 3)
        ),
        rows_of,
        "norms",
    ),
    "tokens": (Tokens, tokens, "norms"),
    "residual": (Residual, images, "norms"),
    "attention": (Attention, tokens, "vmap"),
    "attention of linear layers": (OwnAttention, tokens, "norms"),
    "tied": (TwiceHeld, rows_of, "vmap"),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_routes_agree_with_gradients_of_single_samples(network):
    make, inputs, expected = NETWORKS[network]
    torch.manual_seed(5)
    model, x = make().double(), inputs()
    model(x)  # which gives lazy layers their shapes, and batch norms statistics
    y = torch.randint(3, (len(x),))
    objective = Objective(model, "cross_entropy", (x, y), dtype="float64", chunk=10)
    found = gradient_noise(objective)
    assert found.route == expected
    model.eval()
    rows = []
    for i in range(len(x)):
        loss = functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    check(found, torch.stack(rows))
    other = gradient_noise(objective, route="vmap")
    np.testing.assert_allclose(found.layer_trace, other.layer_trace, rtol=1e-8)
    assert found.b_simple_low == pytest.approx(other.b_simple_low, rel=1e-8)
    rough = gradient_noise(objective, route="batches")
    together = math.hypot(rough.trace_covariance_stderr, found.trace_covariance_stderr)
    assert abs(rough.trace_covariance - found.trace_covariance) < 4 * together


@pytest.mark.parametrize("held", [4, 30, 200])
def test_embeddings_of_long_sequences_go_in_blocks(held, monkeypatch):
    torch.manual_seed(9)
    objective = Objective(Tokens().double(), "cross_entropy", (tokens(), torch.randint(3, (24,))), dtype="float64")
    expected = gradient_noise(objective, route="vmap")
    monkeypatch.setattr(layers, "HELD", held)
    found = gradient_noise(objective, route="norms")
    np.testing.assert_allclose(found.layer_trace, expected.layer_trace, rtol=1e-8)


def test_users_losses_and_dict_batches():
    torch.manual_seed(6)
    model, x, y = nn.Linear(6, 3).double(), rows_of(), torch.randint(3, (24,))
    plain = gradient_noise(Objective(model, "cross_entropy", (x, y), dtype="float64"))

    def own(outputs, targets):
        return functional.cross_entropy(outputs, targets)

    def of_batch(net, batch):
        return functional.cross_entropy(net(batch["x"]), batch["y"])

    of_outputs = gradient_noise(Objective(model, own, (x, y), dtype="float64"))
    of_dicts = gradient_noise(Objective(model, of_batch, {"x": x, "y": y}, dtype="float64"))
    assert (of_outputs.route, of_dicts.route) == ("norms", "vmap")
    for found in (of_outputs, of_dicts):
        assert found.b_simple_low == pytest.approx(plain.b_simple_low, rel=1e-8)


@pytest.mark.parametrize("count", [60, 200])
def test_batches_have_curvature_and_cosine_too(count):
    torch.manual_seed(8)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    data = torch.randn(count, 3, dtype=torch.float64), torch.randint(2, (count,))
    objective = Objective(model, "cross_entropy", data, dtype="float64")
    exact, rough = (gradient_noise(objective, full=True, route=route) for route in ("norms", "batches"))
    together = math.hypot(exact.trace_hessian_covariance_stderr, rough.trace_hessian_covariance_stderr)
    spread = exact.trace_hessian_covariance * rough.trace_covariance_stderr / rough.trace_covariance
    assert abs(exact.trace_hessian_covariance - rough.trace_hessian_covariance) < 4 * (together + spread)
    if count == 60:  # batches of one sample, in another order
        assert rough.cosine == pytest.approx(exact.cosine, rel=1e-8)
        assert rough.trace_covariance == pytest.approx(exact.trace_covariance, rel=1e-8)


def test_a_block_of_params():
    model, data = small_network()
    whole = gradient_noise(Objective(model, "cross_entropy", data, dtype="float64"))
    block = gradient_noise(Objective(model, "cross_entropy", data, dtype="float64", params="2.*"))
    np.testing.assert_allclose(block.layer_trace, whole.layer_trace[2:], rtol=1e-10)


def test_the_users_model_stays_as_it_is():
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradient_noise(Objective(model, "cross_entropy", (rows_of().float(), torch.randint(3, (24,)))), full=True)
    assert model.training
    assert all(param.grad is None for param in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_refusals_say_the_way_out():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    data = rows_of(), torch.randint(3, (24,))
    with pytest.raises(InputError, match="use --bn eval"):
        gradient_noise(Objective(model, "cross_entropy", data, dtype="float64", bn="batch", bn_batch=8))
    with pytest.raises(InputError, match="at least 2 samples"):
        gradient_noise(of_gradients(torch.ones(1, 3, dtype=torch.float64)))
    without = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)).double()
    with pytest.raises(InputError, match="track_running_stats=True"):
        gradient_noise(Objective(without, "cross_entropy", data, dtype="float64"))
    attention = Objective(Attention().double(), "cross_entropy", (tokens(), data[1]), dtype="float64")
    with pytest.raises(InputError, match="MultiheadAttention"):
        gradient_noise(attention, route="norms")
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double())  # whose mean is over weights
    for network, loss in ((Centred(), "cross_entropy"), (nn.Linear(6, 3), weighted)):
        for route in ("auto", "batches"):
            with pytest.raises(InputError, match="no gradients of their own"):
                gradient_noise(Objective(network.double(), loss, data, dtype="float64"), route=route)
    rows = torch.ones(4, 3, dtype=torch.float64)
    rows[2, 1] = math.nan
    with pytest.raises(NumericalError, match="not finite"):
        gradient_noise(of_gradients(rows))
    objective = of_gradients(torch.ones(4, 3, dtype=torch.float64))
    for wrong in ({"route": "jacobian"}, {"level": 1.0}, {"momentum": 1.0}, {"batch_size": 0}, {"learning_rate": -1.0}):
        with pytest.raises(UsageError):
            noise_settings(objective, **wrong)


def test_samples_that_are_all_alike_have_no_noise():
    found = gradient_noise(of_gradients(torch.ones(8, 3, dtype=torch.float64)))
    assert found.status == Status.COMPLETE
    assert found.trace_covariance == pytest.approx(0, abs=1e-12)
    assert found.b_simple == pytest.approx(0, abs=1e-12)
    assert found.cosine == pytest.approx(1, rel=1e-12)
