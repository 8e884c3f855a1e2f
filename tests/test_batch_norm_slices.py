"""The four policies of batch norm on slices, against torch's own re-estimation and against written-out networks."""

import copy

import numpy as np
import pytest
import torch
from problems import DTYPE, problem
from torch import nn
from torch.optim.swa_utils import update_bn

from landscape import Objective, line, plane
from landscape.errors import InputError, UsageError
from landscape.paths import path
from landscape.slices import layer_lines, random_direction, through_minima
from landscape.slices.statistics import recomputed


def network(seed):
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Softplus(), nn.Linear(8, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)]
    return nn.Sequential(*layers).to(DTYPE)


INPUTS = torch.randn(96, 6, dtype=DTYPE, generator=torch.Generator().manual_seed(1)) * 2 + 1
TARGETS = torch.arange(96) % 3


@pytest.fixture
def pair():
    """Two networks with statistics of their own, as objectives of one model."""
    models = [network(seed) for seed in (0, 1)]
    for model in models:
        update_bn([INPUTS], model)
        model.eval()
    start = Objective(models[0], "cross_entropy", (INPUTS, TARGETS), dtype=DTYPE)
    return start, start.at(models[1].state_dict())


def with_params(objective, tensors):
    """A copy of the model with these params, and the statistics of the objective."""
    model = copy.deepcopy(objective.model)
    model.load_state_dict({**objective.constants, **objective.layout.named(tensors)})
    return model


def truth(model):
    model.eval()
    return float(nn.functional.cross_entropy(model(INPUTS), TARGETS).detach())


def test_recomputed_statistics_are_those_of_torch(pair):
    start, _ = pair
    before = copy.deepcopy(start.model.state_dict())
    modes = [m.training for m in start.model.modules()]
    found = recomputed(start.at(start.params * 1.5), 32)
    model = with_params(start, start.params * 1.5)
    update_bn(list(INPUTS.split(32)), model)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(found.constants[name], buffer, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.model.state_dict().items())
    assert [m.training for m in start.model.modules()] == modes
    assert all(m.momentum == 0.1 for m in start.model.modules() if isinstance(m, nn.BatchNorm1d))
    assert found.value() == pytest.approx(truth(model), rel=1e-12)


def test_a_network_without_batch_norm_stays_as_it_is():
    objective = problem("tanh-mlp").objective()
    assert recomputed(objective) is objective


def test_a_recomputed_line_is_torchs_at_each_point(pair):
    start, end = pair
    found = line(start, end, [0.0, 0.3, 1.0], bn="recompute", bn_batch=48)
    for alpha, loss in zip(found.alpha, found.loss, strict=True):
        model = with_params(start, (1 - alpha) * start.params + alpha * end.params)
        update_bn(list(INPUTS.split(48)), model)
        assert loss == pytest.approx(truth(model), rel=1e-12)
    assert (found.bn, found.settings["bn_batch"]) == ("recompute", 48)


def test_an_interpolated_line_has_the_mixed_statistics_at_each_point(pair):
    start, end = pair
    found = line(start, end, [0.0, 0.3, 1.0])
    for alpha, loss in zip(found.alpha, found.loss, strict=True):
        model = with_params(start, (1 - alpha) * start.params + alpha * end.params)
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_((1 - alpha) * start.constants[name] + alpha * end.constants[name])
        assert loss == pytest.approx(truth(model), rel=1e-12)
    assert (found.loss[0], found.loss[-1]) == (start.value(), end.value())


def test_the_policies_differ_and_say_which_they_are(pair):
    start, end = pair
    batch = [Objective(start.model, "cross_entropy", (INPUTS, TARGETS), dtype=DTYPE, bn="batch", bn_batch=96)]
    batch.append(batch[0].at({**end.layout.named(end.params), **end.constants}))
    lines = {policy: line(start, end, [0.0, 0.5, 1.0], bn=policy) for policy in ("eval", "recompute", "interpolate")}
    lines["batch"] = line(*batch, [0.0, 0.5, 1.0])
    assert {policy: found.bn for policy, found in lines.items()} == {policy: policy for policy in lines}
    # one batch of all samples: the statistics of the batch are those re-estimated, but for N / (N - 1)
    assert lines["batch"].loss[1] == pytest.approx(lines["recompute"].loss[1], rel=0.02)
    assert len({round(found.loss[1], 9) for found in lines.values()}) == 4
    assert lines["eval"].loss[2] != end.value()
    assert len({str(found.settings) for found in lines.values()}) == 4


def test_statistics_move_along_a_plane_through_minima(pair):
    start, end = pair
    buffers = {name: tensor * 2 if tensor.is_floating_point() else tensor for name, tensor in end.constants.items()}
    third = start.at({**start.layout.named(start.params * 0.5 - end.params), **buffers})
    first, second = through_minima(start, end, third)
    share = float((third.params - start.params) @ first.vector / first.vector.square().sum())
    found = plane(start, (first, second), sorted({0.0, 1.0, share}), [0.0, 1.0])
    at = {value: index for index, value in enumerate(found.alpha)}
    assert found.bn == "interpolate"
    ends = [found.loss[at[0.0], 0], found.loss[at[1.0], 0], found.loss[at[share], 1]]
    np.testing.assert_allclose(ends, [o.value() for o in (start, end, third)], rtol=1e-10)
    fixed = plane(start, (first, second), sorted({0.0, 1.0, share}), [0.0, 1.0], bn="eval")
    assert fixed.loss[at[1.0], 0] != pytest.approx(end.value(), rel=1e-6)


def test_recomputed_statistics_are_of_train_samples_on_the_test_split_too(pair):
    start, end = pair
    test = start.with_samples(start.samples.head(20), start.loss)
    found = line(start, end, [0.0, 0.5, 1.0], bn="recompute", test=test)
    middle = recomputed(start.at((start.params + end.params) / 2))
    assert found.test_loss[1] == pytest.approx(
        test.at(middle.params).with_constants(middle.constants).value(), rel=1e-12
    )


def test_what_does_not_fit_is_refused(pair):
    start, end = pair
    draw = random_direction(start, torch.Generator().manual_seed(0))
    with pytest.raises(UsageError, match="along a direction use recompute"):
        line(start, draw, [0.0, 1.0], bn="interpolate")
    with pytest.raises(UsageError, match="batch is set on the Objective"):
        plane(start, (draw, draw), [0.0, 1.0], [0.0, 1.0], bn="batch")
    with pytest.raises(UsageError, match="must be one of"):
        line(start, end, [0.0, 1.0], bn="train")
    assert line(problem("tanh-mlp").objective(), torch.ones(83, dtype=DTYPE), [0.0, 1.0], bn="recompute").bn == "eval"


def test_frozen_params_move_between_minima_under_every_policy(pair):
    """What is no statistic of batch norm belongs to each minimum, whatever the policy."""
    models = [network(seed) for seed in (0, 1)]
    for model in models:
        update_bn([INPUTS], model)
        model.eval()
    models[0][0].weight.requires_grad_(False)
    start = Objective(models[0], "cross_entropy", (INPUTS, TARGETS), dtype=DTYPE)
    end = start.at(models[1].state_dict())
    third = start.at({**models[0].state_dict(), "3.weight": models[0][3].weight.detach() + 0.1})
    assert line(start, end, [0.0, 1.0]).loss[1] == end.value()
    moved = line(start, end, [0.0, 1.0], bn="eval").loss[1]
    mixed = {**end.constants, **{k: v for k, v in start.constants.items() if "running" in k}}
    assert moved == pytest.approx(end.with_constants(mixed).value(), rel=1e-12)
    found = plane(start, through_minima(start, end, third), [0.0, 1.0], [0.0, 1.0])
    assert found.loss[1, 0] == pytest.approx(end.value(), rel=1e-10)
    with pytest.raises(InputError, match="frozen"):
        path(start, end, epochs=1)


def test_lines_of_one_layer_move_that_layer_alone(pair):
    start, end = pair
    found = layer_lines(start, end, [0.0, 0.5, 1.0], bn="eval")
    assert found.layers == ("0", "1", "3", "4", "5")
    for row, layer in enumerate(found.layers):
        model = with_params(start, start.params)
        state = model.state_dict()
        for name, tensor in end.layout.named(end.params).items():
            if name.split(".")[0] == layer:
                state[name] = (state[name] + tensor) / 2
        model.load_state_dict(state)
        assert found.loss[row, 1] == pytest.approx(truth(model), rel=1e-12)
        assert found.loss[row, 0] == pytest.approx(start.value(), rel=1e-12)
    step = (end.params - start.params).double()
    assert np.sqrt((found.unit_lengths**2).sum()) == pytest.approx(float(step.norm()))
    moved = layer_lines(start, end, [0.0, 0.5, 1.0], bn="interpolate")
    assert (moved.loss[0] == found.loss[0]).all()  # a dense layer has no statistics of its own
    assert (moved.loss[1, 1:] != found.loss[1, 1:]).all()
    assert layer_lines(start, end, [0.0, 1.0]).bn == "recompute"
