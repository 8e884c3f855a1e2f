"""Adaptive planes against full ones: what is evaluated, what is interpolated, and what the stored estimate is worth."""

import gc

import numpy as np
import pytest
import torch
from problems import DTYPE, problem

from landscape import Objective, plane, random_direction
from landscape.errors import Stopped, UsageError
from landscape.results import DONE, INTERPOLATED, NON_FINITE, TODO, Status
from landscape.resume import Points
from landscape.slices import Watch
from landscape.slices.adaptive import Refinement, Scale

GRID = np.linspace(-1, 1, 41)


def refined(values, tolerance=0.01, minima=()):
    """A refinement of a full plane of known values: its points, and what it says of itself."""
    points, refinement = Points(values.shape, ("loss",)), Refinement(values.shape, tolerance, minima)

    def evaluate(indices):
        points.values["loss"].flat[indices] = values.flat[indices]
        points.status.flat[indices] = np.where(np.isfinite(values.flat[indices]), DONE, NON_FINITE)

    refinement.run(points, evaluate)
    return points, refinement


def bowl(x, y):
    return 0.5 + x**2 + 3 * y**2 + x * y


def banana(x, y):
    return 1e-3 + 5 * (y - x**2) ** 2 + 0.1 * (1 - x) ** 2


def ravine(x, y):
    return 1e-5 + np.abs(x + 0.3 * y) + 0.2 * np.maximum(0, y)


def decades(x, y):
    return 1e-6 + (x**2 + 4 * y**2) ** 2


def waves(x, y):
    return 2 + np.sin(5 * x) * np.cos(4 * y)


@pytest.mark.parametrize("surface", [bowl, banana, ravine, decades, waves], ids=lambda f: f.__name__)
@pytest.mark.parametrize("tolerance", [0.01, 0.03])
def test_the_largest_error_over_the_full_grid_is_what_was_asked(surface, tolerance):
    values = surface(GRID[:, None], GRID[None, :37])
    points, refinement = refined(values, tolerance, [(20, 20)])
    scale = Scale(values.min(), values.max())
    error = scale.error(points.values["loss"], values)
    if surface is ravine:
        assert error.max() <= 2 * tolerance  # along a cusp, which is thinner than the points are apart
    else:
        assert error.max() <= tolerance
        assert error.max() <= 3 * refinement.error + 1e-9  # the estimate is no bound, but of the right size
    assert refinement.error <= 0.7 * tolerance
    assert (error[points.status == DONE] == 0).all()
    assert set(np.unique(points.status)) <= {DONE, INTERPOLATED}
    assert (points.status == DONE).mean() < 0.75


def test_of_a_wide_range_both_scales_count():
    scale = Scale(1e-4, 1.0)
    assert scale.wide
    near, far = scale.error(np.array([2e-4, 0.9]), np.array([1e-4, 1.0]))
    assert near == pytest.approx(np.log(2) / np.log(1e4))
    assert far == pytest.approx(0.1, rel=1e-3)
    assert not Scale(0.02, 1.0).wide
    assert not Scale(-1.0, 1.0).wide
    zero = Scale(0.0, 1.0)  # a loss of zero, as float32 gives it far out: what is below 1e-6 counts as that
    assert zero.error(np.array([1e-5]), np.array([0.0])) == pytest.approx(np.log(10) / np.log(1e6))
    assert zero.error(np.array([1e-9]), np.array([1e-8])) == pytest.approx(1e-8, abs=1e-7)


def test_points_that_are_not_finite_are_evaluated_and_not_filled():
    values = bowl(GRID[:, None], GRID[None, :])
    values[GRID[:, None] + GRID[None, :] > 1.2] = np.nan
    points, _ = refined(values)
    lost = np.isnan(values)
    assert (points.status[lost] == NON_FINITE).all()
    assert np.isnan(points.values["loss"][lost]).all()
    assert np.isfinite(points.values["loss"][~lost]).all()
    assert np.abs(points.values["loss"] - values)[~lost].max() <= 0.01 * np.ptp(values[~lost])


def test_a_plane_with_hardly_a_finite_point_is_evaluated_whole():
    values = np.full((12, 12), np.nan)
    values[3, 4] = 1.0
    points, refinement = refined(values)
    assert (points.status == NON_FINITE).sum() == 143
    assert refinement.error == 0


@pytest.mark.parametrize("shape", [(2, 101), (101, 2), (1, 60), (3, 200)])
def test_narrow_grids_are_interpolated_or_evaluated_whole(shape):
    rows, columns = (np.linspace(-1, 1, count) for count in shape)
    values = bowl(rows[:, None], columns[None, :])
    points, _ = refined(values, minima=[(0, 50 % shape[1]), (0, 9)])
    np.testing.assert_allclose(points.values["loss"], values, atol=0.01 * np.ptp(values))


def test_a_flat_plane_needs_no_range():
    points, refinement = refined(np.full((30, 30), 2.5))
    np.testing.assert_allclose(points.values["loss"], 2.5, rtol=1e-12)
    assert refinement.error < 1e-9


def test_small_grids_are_evaluated_whole():
    points, refinement = refined(bowl(GRID[:8, None], GRID[None, :6]))
    assert (points.status == DONE).all()
    assert refinement.error == 0


@pytest.mark.parametrize("wrong", [0, 1, -0.1, np.nan])
def test_a_tolerance_is_a_fraction(wrong):
    with pytest.raises(UsageError, match="fraction of the range"):
        Refinement((5, 5), wrong)


@pytest.fixture(scope="module")
def case():
    objective = problem("tanh-mlp").objective()
    pair = tuple(random_direction(objective, torch.Generator().manual_seed(s), normalize="model") for s in (0, 1))
    return objective, pair


def test_the_plane_of_a_network_is_near_the_full_one_in_every_column(case):
    objective, pair = case
    test = objective.with_samples(objective.samples.head(20), objective.loss)
    full = plane(objective, pair, GRID, GRID[:31], test=test)
    found = plane(objective, pair, GRID, GRID[:31], test=test, adaptive=0.01)
    assert found.tolerance == 0.01
    assert 0 < found.interpolation_error < 0.01
    assert found.status is Status.COMPLETE
    assert found.problems() == []
    assert found.missing == 0
    there = found.evaluated
    assert 0.05 < there.mean() < 0.5
    assert np.array_equal(there, found.point_status == DONE)
    for name in ("loss", "loss_stderr", "accuracy", "test_loss", "difference_stderr"):
        ours, truth = getattr(found, name), getattr(full, name)
        assert np.array_equal(ours[there], truth[there]), name
        share = 0.01 if name == "loss" else 0.25  # only the loss was asked to be near; an accuracy has jumps
        assert np.abs(ours - truth).max() <= share * np.ptp(truth), name
    assert ((found.accuracy >= 0) & (found.accuracy <= 1)).all()
    assert full.settings != found.settings


@pytest.mark.parametrize("cut", [0, 1, 40, 64, 70, 95])
def test_a_stopped_adaptive_plane_resumes_to_the_same_bits(case, cut):
    objective, pair = case
    whole = plane(objective, pair, GRID, GRID[:31], adaptive=0.02)
    saved, calls = [], iter(range(10_000))
    with pytest.raises(Stopped):
        plane(
            objective, pair, GRID, GRID[:31], adaptive=0.02,
            watch=Watch(save=saved.append, stop=lambda: next(calls) == cut),
        )  # fmt: skip
    part = saved[-1]
    assert (part.point_status != TODO).sum() == cut
    assert part.interpolation_error is None
    resumed = plane(objective, pair, GRID, GRID[:31], adaptive=0.02, partial=part)
    for name in ("loss", "loss_stderr", "accuracy", "difference_stderr", "point_status"):
        assert np.array_equal(getattr(resumed, name), getattr(whole, name)), name
    assert resumed.interpolation_error == whole.interpolation_error


def test_large_grids_are_interpolated_from_the_nearest_points(monkeypatch):
    monkeypatch.setattr("landscape.slices.adaptive.LOCAL", 150)
    axis = np.linspace(-1, 1, 61)
    values = waves(2 * axis[:, None], 2 * axis[None, :])
    points, refinement = refined(values, 0.01)
    assert (points.status == DONE).sum() > 150
    assert np.abs(points.values["loss"] - values).max() <= 0.01 * np.ptp(values)
    assert 0 < refinement.error <= 0.007


def test_memory_does_not_grow_with_the_number_of_points(case):
    """What is kept of a point is a row of numbers: nothing of the size of the params or the samples."""
    objective, pair = case
    alive = []
    for count in (3, 7):
        grid = np.linspace(-1, 1, count)
        seen = []

        def watch(_done, seen=seen):
            seen.append(sum(type(o) is torch.Tensor for o in gc.get_objects()))

        plane(objective, pair, grid, grid, watch=Watch(progress=watch))
        alive.append(max(seen) - seen[0])
    assert max(alive) <= 5


def test_chunks_make_no_difference_beyond_rounding():
    torch.manual_seed(0)
    inputs, targets = torch.randn(1500, 6, dtype=DTYPE), torch.randint(0, 3, (1500,))
    model = problem("tanh-mlp").model
    planes = []
    for chunk in (64, 1024):
        objective = Objective(model, "cross_entropy", (inputs, targets), dtype=DTYPE, chunk=chunk)
        pair = tuple(random_direction(objective, torch.Generator().manual_seed(s)) for s in (0, 1))
        planes.append(plane(objective, pair, GRID[::8], GRID[::8]))
    for name in ("loss", "loss_stderr", "accuracy", "difference_stderr"):
        np.testing.assert_allclose(getattr(planes[0], name), getattr(planes[1], name), rtol=1e-9, atol=1e-14)
