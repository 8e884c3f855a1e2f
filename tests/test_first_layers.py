"""Dense layers on the data, computed once for a plane, against planes point by point."""

import numpy as np
import pytest
import torch
from problems import DTYPE
from torch import nn

from landscape import Objective, plane, random_direction
from landscape.slices import first_layers as module
from landscape.slices.first_layers import first_layers

GRID = np.linspace(-1, 1, 5)
NAMES = ("loss", "loss_stderr", "accuracy", "difference_stderr", "test_loss", "test_loss_stderr", "test_accuracy")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Layers of few inputs count too."""
    monkeypatch.setattr(module, "LEAST_INPUTS", 4)


def images(seed, count):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 3, 4, generator=draws, dtype=DTYPE), torch.randint(0, 3, (count,), generator=draws)


def network(*, bias=True, norm=False):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(12, 7, bias=bias), *([nn.BatchNorm1d(7)] if norm else []), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3)).to(DTYPE)


def problem_of(model, **options):
    objective = Objective(model, "cross_entropy", images(0, 50), dtype=DTYPE, chunk=16, **options)
    pair = tuple(random_direction(objective, torch.Generator().manual_seed(s), leave_out_1d=False) for s in (0, 1))
    return objective, pair


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"norm": True}], ids=str)
def test_a_plane_is_that_of_the_points(monkeypatch, options):
    objective, pair = problem_of(network(**options))
    test = Objective(objective.model, "cross_entropy", images(1, 30), dtype=DTYPE, chunk=16)
    found = first_layers(objective, pair, test)
    assert [layer.in_features for layer in found.kept] == [12]
    assert [len(kept) for kept in found.kept.values()] == [4 + 2]
    quick = plane(objective, pair, GRID, GRID, test=test)
    monkeypatch.setattr(module, "LEAST_INPUTS", 1000)
    slow = plane(objective, pair, GRID, GRID, test=test)
    for name in NAMES:
        np.testing.assert_allclose(getattr(quick, name), getattr(slow, name), rtol=1e-11, atol=1e-14)
    assert quick.loss[2, 2] == slow.loss[2, 2]
    assert all("forward" not in layer.__dict__ for layer in objective.model.modules())
    assert not any(layer._forward_pre_hooks for layer in objective.model.modules())


def test_re_estimated_statistics_and_other_chunks_go_through_the_layer_itself(monkeypatch):
    objective, pair = problem_of(network(norm=True))
    quick = plane(objective, pair, GRID, GRID, bn="recompute", bn_batch=32)
    monkeypatch.setattr(module, "LEAST_INPUTS", 1000)
    slow = plane(objective, pair, GRID, GRID, bn="recompute", bn_batch=32)
    np.testing.assert_allclose(quick.loss, slow.loss, rtol=1e-11)


def test_a_block_without_the_layer_has_nothing_to_keep():
    objective = Objective(network(), "cross_entropy", images(0, 50), dtype=DTYPE, params="3.*")
    pair = (torch.ones(objective.layout.size, dtype=DTYPE), torch.ones(objective.layout.size, dtype=DTYPE))
    assert first_layers(objective, pair, None) is None


def test_inputs_that_are_copied_on_the_way_are_not_mistaken_for_each_other():
    """The test split does not lie as it is used: Flatten copies its chunks, one after the other to the same place."""
    objective, pair = problem_of(network())
    inputs, targets = images(1, 40)
    crossed = inputs.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    test = Objective(objective.model, "cross_entropy", (crossed, targets), dtype=DTYPE, chunk=8)
    found = plane(objective, pair, GRID, GRID, test=test)
    straight = Objective(objective.model, "cross_entropy", (inputs, targets), dtype=DTYPE, chunk=8)
    expected = plane(objective, pair, GRID, GRID, test=straight)
    np.testing.assert_allclose(found.test_loss, expected.test_loss, rtol=1e-11)


class Scaled(nn.Module):
    """The layer's input is no view of the data, or depends on params, or it is called twice."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer, self.scale = (
            kind,
            nn.Linear(12, 3, dtype=DTYPE),
            nn.Parameter(torch.ones(1, dtype=DTYPE)),
        )

    def forward(self, inputs):
        flat = inputs.flatten(1)
        if self.kind == "copied":
            return self.layer(flat / 2)
        if self.kind == "moved":
            return self.layer(flat * self.scale)
        return self.layer(flat) + self.layer(flat)


@pytest.mark.parametrize("kind", ["copied", "moved", "twice"])
def test_layers_that_see_more_than_the_data_once_are_left_alone(kind):
    objective, pair = problem_of(Scaled(kind))
    assert first_layers(objective, pair, None) is None


def test_what_would_take_too_much_memory_is_not_kept(monkeypatch):
    objective, pair = problem_of(network())
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    assert first_layers(objective, pair, None) is None


def test_outputs_that_do_not_agree_are_not_used(monkeypatch):
    objective, pair = problem_of(network())
    real = module._added
    monkeypatch.setattr(module, "_added", lambda k, f, a, b, x: real(k, f, b, a, x))
    assert first_layers(objective, pair, None) is None
