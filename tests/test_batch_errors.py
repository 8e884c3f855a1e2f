"""The law of errors: batches' gradients against expectations over all batches there are, the laws, and the drawing."""

import dataclasses
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from landscape_cli.noise import _law
from torch import nn

from landscape import Objective
from landscape.draw import style
from landscape.draw.batch_errors import draw_batch_errors
from landscape.errors import InputError, NumericalError, UsageError
from landscape.noise import moments
from landscape.noise.errors import batch_errors, errors_settings
from landscape.store import Store

N, INPUTS = 6, 3
KINDS = (("with_replacement", "predicted"), ("without_replacement", "predicted_finite"))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def regression(samples=N, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, INPUTS, generator=generator, dtype=torch.float64)
    targets = torch.randn(samples, 1, generator=generator, dtype=torch.float64)
    torch.manual_seed(seed)
    return Objective(nn.Linear(INPUTS, 1, bias=False), "mse", (inputs, targets), dtype="float64", **options)


def sample_gradients(objective):
    """2 (w x - y) x, written out."""
    inputs, targets = objective.samples.blocks[0]
    return 2 * (inputs @ objective.params[:, None] - targets) * inputs


def over_all_batches(gradients, size, *, replaced):
    """E|g_B - g|^2 over all batches of that size there are."""
    every = itertools.product if replaced else itertools.combinations
    batches = [list(batch) for batch in (every(range(N), repeat=size) if replaced else every(range(N), size))]
    means = gradients[torch.tensor(batches)].mean(1)
    return float((means - gradients.mean(0)).square().sum(1).mean())


def test_the_laws_are_the_expectations_over_all_batches():
    objective = regression(l2=0.3)  # the penalty is in every batch and cancels
    found = batch_errors(objective, batch_sizes=[1, 2, 3, 5, 6], draws=2)
    gradients = sample_gradients(objective)
    laws = zip(found.batch_size.tolist(), found.predicted, found.predicted_finite, strict=True)
    for size, predicted, finite in laws:
        assert predicted == pytest.approx(over_all_batches(gradients, size, replaced=True), rel=1e-10)
        assert finite == pytest.approx(over_all_batches(gradients, size, replaced=False), rel=1e-10, abs=1e-15)
    full = gradients.mean(0) + 0.3 * objective.params
    assert found.mean_gradient_norm_squared == pytest.approx(float(full @ full), rel=1e-12)
    assert (found.num_samples, found.num_params, found.draws, found.status) == (N, INPUTS, 2, "complete")


def test_no_more_is_measured_than_the_law_needs(monkeypatch):
    """Neither the pairs behind tr(Sigma^2) nor the cosines; one sample's part in tr(Sigma_N) is told."""
    monkeypatch.setattr(moments, "_pairs", None)
    monkeypatch.setattr(moments, "mean_cosine", None)
    objective = regression()
    found = batch_errors(objective, draws=2)
    gradients = sample_gradients(objective)
    parts = (gradients - gradients.mean(0)).square().sum(1)
    assert found.largest_part == pytest.approx(float(parts.max() / parts.sum()), rel=1e-10)
    assert found.trace_covariance == pytest.approx(float(parts.mean()), rel=1e-10)


def test_a_sample_that_makes_most_of_the_noise_is_told():
    found = batch_errors(regression(), draws=2)
    for part, told in ((0.6, True), (0.4, False), (None, False)):
        lines = _law(dataclasses.replace(found, largest_part=part))
        assert ("one sample makes 60% of tr(Sigma_N)" in lines[-1]) is told


@pytest.mark.parametrize("chunk", [None, 2])
def test_batches_follow_the_laws(chunk):
    objective = regression(chunk=chunk)
    found = batch_errors(objective, draws=200, seed=3)
    assert found.batch_size.tolist() == [1, 2, 4, 6]
    for kind, law in KINDS:
        error = getattr(found, kind) - getattr(found, law)
        assert (np.abs(error) <= 4 * getattr(found, f"{kind}_stderr") + 1e-12).all(), kind
    assert found.without_replacement[-1] == found.without_replacement_stderr[-1] == 0
    assert (found.with_replacement_stderr > 0).all()


def test_stated_errors_cover_the_truth():
    """By default, over 60 seeds: within three standard errors in 98 % at least."""
    objective = regression(40)
    within = []
    for seed in range(60):
        found = batch_errors(objective, batch_sizes=[8], seed=seed)
        for kind, law in KINDS:
            error = getattr(found, kind) - getattr(found, law)
            within.append(np.abs(error) <= 3 * getattr(found, f"{kind}_stderr"))
    assert np.mean(within) >= 0.98


def test_a_batch_of_every_size_is_counted_as_it_is():
    """Each draw cuts one order into batches, measured here by hand."""
    objective = regression()
    gradients, sizes, draws = sample_gradients(objective), [1, 2, 4], 5
    found = batch_errors(objective, batch_sizes=sizes, draws=draws, seed=7)
    generator = torch.Generator().manual_seed(7)
    kept = {True: [], False: []}
    for _ in range(draws):
        for replaced, rows in kept.items():
            order = torch.randint(N, (N,), generator=generator) if replaced else torch.randperm(N, generator=generator)
            means = [
                torch.stack([part.mean(0) for part in gradients[order].split(size) if len(part) == size])
                for size in sizes
            ]
            rows.append([float((mean - gradients.mean(0)).square().sum(1).mean()) for mean in means])
    np.testing.assert_allclose(found.with_replacement, np.mean(kept[True], 0), rtol=1e-10)
    np.testing.assert_allclose(found.without_replacement, np.mean(kept[False], 0), rtol=1e-10)
    spread = np.std(kept[False], 0, ddof=1) / np.sqrt(draws)
    np.testing.assert_allclose(found.without_replacement_stderr, spread, rtol=1e-10, atol=1e-12)


def test_weighted_losses_divide_by_the_weight_of_the_batch():
    """Tokens that are ignored have no weight; a batch of them alone has no mean."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(8, 3), torch.tensor([0, 1, -100, 1, 0, -100, 1, 0])
    objective = Objective(nn.Linear(3, 2), "cross_entropy", (inputs, targets), dtype="float64")
    with pytest.raises(InputError, match="a batch of 1 holds no sample"):
        batch_errors(objective, batch_sizes=[1, 8], draws=4)
    found = batch_errors(objective, batch_sizes=[5, 7], draws=4)
    assert np.isfinite(found.with_replacement).all()


def test_one_seed_gives_one_result(tmp_path):
    objective = regression()
    one, two, other = (batch_errors(objective, draws=3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.with_replacement, two.with_replacement)
    assert one.with_replacement[0] != other.with_replacement[0]
    assert one.settings == errors_settings(objective, draws=3) != other.settings
    store = Store(tmp_path / "r.h5")
    store.add("a", one)
    (back,) = store.same(one.settings)
    np.testing.assert_array_equal(back.result.predicted_finite, one.predicted_finite)
    assert back.result.problems() == []


def test_progress_counts_the_orders():
    seen = []
    batch_errors(regression(), draws=2, progress=seen.append)
    assert seen == [1, 2, 3, 4]


def test_what_cannot_be_measured_is_refused():
    objective = regression()
    for sizes, kind in (([0, 2], UsageError), ([], UsageError), ([7], InputError)):
        with pytest.raises(kind):
            batch_errors(objective, batch_sizes=sizes)
    with pytest.raises(UsageError, match="at least 2"):
        batch_errors(objective, draws=1)
    model = nn.Sequential(nn.Linear(INPUTS, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    data = (torch.randn(6, INPUTS), torch.randn(6, 1))
    with pytest.raises(InputError, match="batch statistics"):
        batch_errors(Objective(model, "mse", data, bn="batch", bn_batch=3))
    batches = [(torch.randn(2, INPUTS), torch.randn(2, 1)), (torch.randn(2, INPUTS + 1), torch.randn(2, 1))]
    with pytest.raises(InputError, match="joined"):
        errors_settings(Objective(_Any(), "mse", batches))
    with pytest.raises(NumericalError):
        batch_errors(objective.at(objective.params * float("inf")))


class _Any(nn.Module):
    """A model of inputs of any width."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, inputs):
        return self.weight * inputs.mean(1, keepdim=True)


def test_the_drawing_shows_points_laws_and_where_noise_is_as_large_as_the_gradient():
    found = batch_errors(regression(40), draws=4)
    with style():
        axes = plt.subplots()[1]
        draw_batch_errors(found, axes)
        _, labels = axes.get_legend_handles_labels()
        assert len(labels) == 5
        crossing = found.trace_covariance / found.mean_gradient_norm_squared
        assert [float(text.get_text().split("=")[1]) for text in axes.texts] == [float(f"{crossing:.3g}")]
        points = {bars.get_label(): bars.lines[0].get_xdata() for bars in axes.containers}
        assert points["with replacement"].tolist() == found.batch_size.tolist()
        assert points["without replacement"].tolist() == found.batch_size.tolist()[:-1]  # all of them have no error
