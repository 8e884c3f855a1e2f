"""Points measured together, as on a GPU, against points measured one by one."""

import numpy as np
import pytest
import torch
from problems import DTYPE, problem
from torch import nn

from landscape import Objective, plane, random_direction
from landscape.slices import through_minima
from landscape.slices.together import POINTS, Together, at_once, joined

NAMES = ("loss", "loss_stderr", "accuracy", "difference_stderr", "test_loss", "test_loss_stderr", "test_accuracy")
GRID = np.linspace(-1, 1, 5)


def in_groups(monkeypatch, size):
    monkeypatch.setitem(POINTS, "cpu", size)


@pytest.mark.parametrize("name", ["tanh-mlp", "layer-norm-mlp", "batch-norm-cnn"])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_points_together_are_the_points_one_by_one(name, l2):
    objective = problem(name).objective(l2=l2, chunk=16)
    moves = 0.1 * torch.randn(4, objective.layout.size, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    points = [objective.at(objective.params + move) for move in moves]
    together, alone = at_once(points), joined([point.measured() for point in points])
    for field in ("loss", "accuracy", "influence", "error_influence", "sizes"):
        torch.testing.assert_close(getattr(together, field), getattr(alone, field), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("size", [2, 7, 16])
def test_a_plane_in_groups_is_the_plane_point_by_point(monkeypatch, size):
    objective = problem("tanh-mlp").objective()
    test = objective.with_samples(objective.samples.head(20), objective.loss)
    pair = tuple(random_direction(objective, torch.Generator().manual_seed(s)) for s in (0, 1))
    alone = plane(objective, pair, GRID, GRID, test=test)
    in_groups(monkeypatch, size)
    together = plane(objective, pair, GRID, GRID, test=test)
    for name in NAMES:
        np.testing.assert_allclose(getattr(together, name), getattr(alone, name), rtol=1e-10, atol=1e-14)


def test_statistics_that_move_with_the_params_are_stacked_too(monkeypatch):
    start = problem("batch-norm-cnn").objective()
    shifted = []
    for factor in (1.1, 0.7):
        buffers = {k: v * factor if v.is_floating_point() else v for k, v in start.constants.items()}
        shifted.append(start.at({**start.layout.named(start.params * factor), **buffers}))
    bend = torch.randn(start.layout.size, generator=torch.Generator().manual_seed(2), dtype=DTYPE)
    third = shifted[1].at({**start.layout.named(shifted[1].params + bend), **shifted[1].constants})
    pair = through_minima(start, shifted[0], third)
    alone = plane(start, pair, GRID[2:], GRID[2:])
    in_groups(monkeypatch, 4)
    together = plane(start, pair, GRID[2:], GRID[2:])
    assert alone.bn == "interpolate"
    np.testing.assert_allclose(together.loss, alone.loss, rtol=1e-10)


class OneByOne(nn.Module):
    """A layer that vmap does not know: it looks at a value."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 3, dtype=DTYPE))

    def forward(self, inputs):
        return inputs @ self.weight * (2.0 if float(self.weight.detach().sum()) > 0 else 1.0)


def test_what_does_not_run_together_runs_alone():
    data = (torch.randn(9, 6, dtype=DTYPE), torch.arange(9) % 3)
    objective = Objective(OneByOne(), "cross_entropy", data, dtype=DTYPE)
    points = [objective.at(objective.params * f) for f in (0.5, -1.0)]
    measure = Together(lambda count: points[:count])
    expected = [point.value() for point in points]
    for _ in range(2):
        assert measure(points).loss.tolist() == pytest.approx(expected)
    assert measure.works is False


def test_a_layer_that_is_wrong_together_is_noticed():
    class Wrong(nn.Linear):
        """Under vmap it computes something else."""

        def forward(self, inputs):
            factor = 2.0 if torch._C._functorch.maybe_current_level() is not None else 1.0
            return super().forward(inputs) * factor

    data = (torch.randn(9, 6, dtype=DTYPE), torch.arange(9) % 3)
    objective = Objective(Wrong(6, 3, dtype=DTYPE), "cross_entropy", data, dtype=DTYPE)
    points = [objective.at(objective.params * f) for f in (0.5, 2.0)]
    measure = Together(lambda count: points[:count])
    expected = [point.value() for point in points]
    for _ in range(2):
        assert measure(points).loss.tolist() == pytest.approx(expected)
    assert measure.works is False


def test_a_users_loss_is_measured_point_by_point(monkeypatch):
    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)

    data = (torch.randn(9, 6, dtype=DTYPE), torch.arange(9) % 3)
    objective = Objective(nn.Linear(6, 3, dtype=DTYPE), loss, data, dtype=DTYPE)
    pair = tuple(random_direction(objective, torch.Generator().manual_seed(s)) for s in (0, 1))
    alone = plane(objective, pair, GRID, GRID)
    in_groups(monkeypatch, 3)
    assert np.array_equal(plane(objective, pair, GRID, GRID).loss, alone.loss)
