"""Errors over samples along slices: of differences, of barriers, and how many samples they ask for."""

import numpy as np
import pytest
import torch
from problems import DTYPE, Quadratic, problem
from torch import nn

from landscape import Objective, line, plane, random_direction
from landscape.errors import UsageError
from landscape.slices import Curvature
from landscape.slices.budget import counts, resolution, thinned


def per_sample(objective, point):
    """Losses and hits of each sample at a point, by plain torch."""
    model = objective.model
    state = {**objective.constants, **objective.layout.named(point)}
    inputs, targets = objective.samples.blocks[0]
    outputs = torch.func.functional_call(model, state, (inputs,))
    return nn.functional.cross_entropy(outputs, targets, reduction="none"), outputs.argmax(1) == targets


def standard_error(values):
    return float(values.double().std() / len(values) ** 0.5)


def test_errors_of_differences_are_those_of_paired_samples():
    objective = problem("tanh-mlp").objective()
    draw = random_direction(objective, torch.Generator().manual_seed(0))
    found = line(objective, draw, [-1.0, 0.0, 0.5])
    base, _ = per_sample(objective, objective.params)
    for i, alpha in enumerate(found.alpha):
        losses, _ = per_sample(objective, objective.params + alpha * draw)
        assert found.loss_stderr[i] == pytest.approx(standard_error(losses), rel=1e-10)
        assert found.difference_stderr[i] == pytest.approx(standard_error(losses - base), rel=1e-9, abs=1e-15)
    flat = plane(objective, (draw, draw), [0.0, 0.5], [0.0])
    assert flat.difference_stderr[1, 0] == found.difference_stderr[2]
    assert found.num_samples == 50


def test_errors_between_minima_are_against_chord_and_mean_of_the_ends():
    start = problem("tanh-mlp").objective()
    end = start.at(
        start.params + torch.randn(start.layout.size, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    )
    found = line(start, end, [0.0, 0.25, 1.0])
    (first, hit_first), (last, hit_last) = (per_sample(start, o.params) for o in (start, end))
    middle, hit = per_sample(start, 0.75 * start.params + 0.25 * end.params)
    assert found.difference_stderr[1] == pytest.approx(standard_error(middle - 0.75 * first - 0.25 * last), rel=1e-9)
    errors = [1 - h.double() for h in (hit, hit_first, hit_last)]
    expected = standard_error(errors[0] - (errors[1] + errors[2]) / 2)
    assert found.error_difference_stderr[1] == pytest.approx(expected, rel=1e-9)
    assert found.difference_stderr[0] == found.difference_stderr[2] == 0


def noisy_hill(samples, seed):
    """Two minima with a hill between, whose height differs from sample to sample: L_i(w) = h_i (1 - w^2)^2 + n_i w."""
    draws = torch.Generator().manual_seed(seed)
    heights = 1 + 0.5 * torch.randn(samples, generator=draws, dtype=DTYPE)
    slopes = 0.3 * torch.randn(samples, generator=draws, dtype=DTYPE)

    def loss(outputs, targets):
        w = outputs[:, 0]
        return (targets[:, 0] * (1 - w**2) ** 2 + targets[:, 1] * w).sum(), torch.tensor(float(len(w)))

    model = Quadratic(torch.tensor([-1.0], dtype=DTYPE))
    data = [(torch.zeros(1, 1, dtype=DTYPE), torch.stack([h, s])[None]) for h, s in zip(heights, slopes, strict=True)]
    joined = tuple(torch.cat(parts) for parts in zip(*data, strict=True))
    start = Objective(model, loss, joined, dtype=DTYPE, chunk=samples // 4)
    return start, start.at(torch.tensor([1.0], dtype=DTYPE))


def test_intervals_of_barriers_cover_the_populations():
    """The hill's height over the population is 1; groups of samples stand for samples with a user's loss."""
    covered = []
    for seed in range(60):
        found = line(*noisy_hill(128, seed), np.linspace(0, 1, 11))
        assert found.barrier_low <= found.barrier <= found.barrier_high
        covered.append(found.barrier_low <= 1.0 <= found.barrier_high)
    assert 0.9 <= np.mean(covered) <= 1.0


def test_what_is_not_known_of_a_barrier_is_not_claimed():
    from landscape.slices.barriers import barriers

    t, flat = np.array([0.0, 0.5, 1.0]), np.ones(3)
    unknown = barriers(t, np.array([1.0, 2.0, 1.0]), flat, np.array([0.0, np.nan, 0.0]), flat)[0]
    assert unknown.value == 1.0
    assert np.isnan([unknown.low, unknown.high]).all()
    assert np.isnan(barriers(t, np.array([1.0, np.nan, 1.0]), flat, np.array([0.0, np.nan, 0.0]), flat)[0]).all()


def test_without_a_hill_there_is_no_barrier():
    start = problem("tanh-mlp").objective()
    found = line(start, start.at(start.params * (1 + 1e-12)), [0.0, 0.5, 1.0])
    assert found.barrier == pytest.approx(0, abs=1e-9)
    assert (found.barrier_low, found.error_barrier, found.error_barrier_high) == (0.0, 0.0, pytest.approx(0, abs=1e-9))


def test_the_curvature_along_a_line_is_the_largest_eigenvalue_of_the_dense_matrix():
    case = problem("tanh-mlp")
    start = case.objective()
    end = start.at(start.params * 0.5)
    found = line(start, end, [0.0, 1.0], curvature=Curvature(tol=1e-6))
    top = float(torch.linalg.eigvalsh(case.dense_hessian())[-1])
    assert found.eigenvalue[0] == pytest.approx(top, rel=1e-9)
    assert (found.eigenvalue_residual < 1e-6).all()
    plain = line(start, end, [0.0, 1.0])
    assert plain.eigenvalue is None
    assert plain.settings != found.settings


def cubic(start):
    """L(w) = sum w^3 + w1 w2 w3, the same for every sample."""

    def loss(outputs, _targets):
        return (outputs**3).sum(1).mean() + outputs.prod(1).mean()

    data = (torch.zeros(4, 1, dtype=DTYPE), torch.zeros(4, dtype=DTYPE))
    return Objective(Quadratic(start), loss, data, dtype=DTYPE)


def truth(w):
    return float((w**3).sum() + w.prod())


def test_cubic_objectives_are_exact_on_lines_curves_and_planes():
    w = torch.tensor([0.5, -1.0, 2.0], dtype=DTYPE)
    first, second = torch.tensor([1.0, 2.0, -1.0], dtype=DTYPE), torch.tensor([0.0, 1.0, 3.0], dtype=DTYPE)
    start, end = cubic(w), cubic(second)
    alphas = np.linspace(-1, 2, 7)
    along = line(start, first, alphas)
    np.testing.assert_allclose(along.loss, [truth(w + a * first) for a in alphas], rtol=1e-10, atol=1e-10)
    curved = line(start, end, alphas, curve="sincos")
    angles = [np.pi * a / 2 for a in curved.alpha]
    np.testing.assert_allclose(
        curved.loss, [truth(np.cos(t) * w + np.sin(t) * second) for t in angles], rtol=1e-10, atol=1e-10
    )
    flat = plane(start, (first, second), alphas, alphas[:4])
    expected = [[truth(w + a * first + b * second) for b in alphas[:4]] for a in alphas]
    np.testing.assert_allclose(flat.loss, expected, rtol=1e-10, atol=1e-10)


def test_a_curve_has_exact_ends():
    start = problem("batch-norm-cnn").objective()
    end = start.at({**start.layout.named(start.params + 0.1), **start.constants})
    found = line(start, end, [0.0, 0.5, 1.0], curve="sincos", bn="interpolate")
    assert (found.loss[0], found.loss[2]) == (start.value(), end.value())
    assert line(start, end, [0.0, 1.0], curve="sincos").bn == "recompute"
    with pytest.raises(UsageError, match="sincos between two minima"):
        line(start, torch.ones(start.layout.size), [0.0, 1.0], curve="sincos")


def test_numbers_of_samples_double_until_all():
    assert list(counts(3000)) == [512, 1024, 2048, 3000]
    assert list(counts(512)) == [512]
    assert list(counts(7)) == [7]
    assert thinned([0.0, 1.0, 2.0, 3.0, 4.0], 3) == [0.0, 2.0, 4.0]
    assert thinned([0.0, 1.0], 9) == [0.0, 1.0]


def test_the_resolution_is_the_largest_error_of_a_difference_over_the_range():
    objective = problem("tanh-mlp").objective()
    draw = random_direction(objective, torch.Generator().manual_seed(0))
    found = line(objective, draw, [-1.0, 0.0, 0.5])
    assert resolution(found) == pytest.approx(found.difference_stderr.max() / np.ptp(found.loss))
    assert resolution(line(objective, 0 * draw, [0.0, 1.0])) == np.inf
