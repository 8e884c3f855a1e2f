"""Value, gradient and HVP against plain arithmetic, closed forms and finite differences; the model left alone."""

import math

import numpy as np
import pytest
import torch
from problems import DTYPE, PROBLEMS, problem
from torch import nn

from landscape import Objective, specs
from landscape.errors import InputError, UsageError
from landscape.noise import gradient_noise
from landscape.passes import classes
from landscape.slices.together import at_once


@pytest.mark.parametrize("name", [*PROBLEMS, "batch-norm-cnn-batch"])
@pytest.mark.parametrize("chunk", [None, 7, 49])
def test_hvp_equals_the_dense_hessian_of_plain_arithmetic(name, chunk):
    case = problem(name)
    options = {"bn_batch": len(case.inputs)} if case.bn == "batch" else {"chunk": chunk}
    objective = case.objective(**options)
    truth = case.dense_hessian()
    for seed in range(3):
        v = torch.randn(objective.layout.size, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))
        error = (objective.hvp(v) - truth @ v).norm() / (truth @ v).norm()
        assert error < 1e-8


@pytest.mark.parametrize("name", PROBLEMS)
def test_hvp_equals_finite_differences_of_the_gradient(name):
    objective = problem(name).objective(chunk=13)
    v = torch.randn(objective.layout.size, dtype=DTYPE, generator=torch.Generator().manual_seed(3))
    v /= v.norm()
    step = 1e-5
    ahead = objective.at(objective.params + step * v).value_and_gradient()[1]
    behind = objective.at(objective.params - step * v).value_and_gradient()[1]
    slope = (ahead - behind) / (2 * step)
    assert (objective.hvp(v) - slope).norm() / slope.norm() < 1e-8


def test_softmax_regression_has_its_closed_form():
    torch.manual_seed(0)
    x, y = torch.randn(30, 4, dtype=DTYPE), torch.randint(0, 3, (30,))
    model = nn.Linear(4, 3, bias=False).to(DTYPE)
    objective = Objective(model, "cross_entropy", (x, y), dtype=DTYPE, chunk=11)
    p = torch.softmax(x @ model.weight.detach().T, 1)
    value = -torch.log(p[torch.arange(30), y]).mean()
    gradient = ((p - nn.functional.one_hot(y, 3)).T @ x / 30).reshape(-1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    dense = torch.einsum("nij,na,nb->iajb", curvature, x, x).reshape(12, 12) / 30
    found = objective.value_and_gradient()
    assert found[0] == pytest.approx(float(value), rel=1e-13)
    assert torch.allclose(found[1], gradient, rtol=1e-12, atol=1e-14)
    columns = torch.stack([objective.hvp(e) for e in torch.eye(12, dtype=DTYPE)])
    assert torch.allclose(columns, dense, rtol=1e-10, atol=1e-14)


def test_evaluation_has_the_standard_error_of_the_samples():
    case = problem("tanh-mlp")
    losses = nn.functional.cross_entropy(case.model(case.inputs), case.targets, reduction="none").detach().numpy()
    found = case.objective(chunk=9).evaluate()
    assert found.loss == pytest.approx(losses.mean(), rel=1e-12)
    assert found.loss_stderr == pytest.approx(losses.std(ddof=1) / math.sqrt(50), rel=1e-10)
    right = (case.model(case.inputs).argmax(1) == case.targets).double().mean()
    assert found.accuracy == pytest.approx(float(right))


def test_l2_adds_its_penalty_to_value_gradient_and_hessian():
    case = problem("tanh-mlp")
    plain, penalised = case.objective(), case.objective(l2=0.3)
    w = plain.params
    v = torch.ones_like(w)
    assert penalised.value() - plain.value() == pytest.approx(0.15 * float(w @ w), rel=1e-12)
    assert torch.allclose(penalised.value_and_gradient()[1], plain.value_and_gradient()[1] + 0.3 * w)
    assert torch.allclose(penalised.hvp(v), plain.hvp(v) + 0.3 * v)


def test_weighted_losses_combine_by_weight_over_chunks():
    torch.manual_seed(1)
    x, y = torch.randn(20, 4, dtype=DTYPE), torch.randint(0, 3, (20,))
    weights = torch.tensor([0.1, 1.0, 5.0], dtype=DTYPE)
    model = nn.Linear(4, 3).to(DTYPE)

    def loss(outputs, targets):
        total = nn.functional.cross_entropy(outputs, targets, weight=weights, reduction="sum")
        return total, weights[targets].sum()

    truth = nn.functional.cross_entropy(model(x), y, weight=weights).item()
    for chunk in (20, 7, 1):
        assert Objective(model, loss, (x, y), dtype=DTYPE, chunk=chunk).value() == pytest.approx(truth, rel=1e-12)


def test_ignored_targets_do_not_count():
    torch.manual_seed(2)
    x, y = torch.randn(20, 4, dtype=DTYPE), torch.randint(0, 3, (20,))
    y[3:9] = -100
    model = nn.Linear(4, 3).to(DTYPE)
    truth = nn.functional.cross_entropy(model(x), y).item()
    assert Objective(model, "cross_entropy", (x, y), dtype=DTYPE, chunk=6).value() == pytest.approx(truth, rel=1e-12)


def test_mse_is_torchs_and_takes_classes_as_one_hot_rows():
    torch.manual_seed(3)
    x, y = torch.randn(20, 4, dtype=DTYPE), torch.randint(0, 3, (20,))
    model = nn.Linear(4, 3).to(DTYPE)
    one_hot = nn.functional.one_hot(y, 3).to(DTYPE)
    truth = nn.functional.mse_loss(model(x), one_hot).item()
    for targets in (y, one_hot):
        assert Objective(model, "mse", (x, targets), dtype=DTYPE, chunk=7).value() == pytest.approx(truth, rel=1e-12)


def answers(outputs, targets):
    """The accuracy where the outputs are params, one row a sample, in chunks of three."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.Parameter(torch.tensor(outputs, dtype=DTYPE))

        def forward(self, inputs):
            return self.rows[inputs]

    given = Objective(Rows(), "mse", (torch.arange(len(outputs)), targets), dtype=DTYPE, chunk=3)
    together = at_once([given, given])  # under vmap
    np.testing.assert_array_equal(together.accuracy, [given.evaluate().accuracy] * 2)
    return given.evaluate().accuracy


def test_rows_are_classes_where_they_are_one_hot_or_distributions():
    outputs = [[3.0, 1, 0], [0, 2, 1], [0, 1, 5], [1, 0, 0]]
    soft = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]], dtype=DTYPE)
    for targets in (soft, soft.bfloat16(), torch.eye(3, dtype=DTYPE)[[0, 1, 1, 2]], torch.tensor([0, 1, 1, 2])):
        assert answers(outputs, targets) == 0.5
    real = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    for targets in (real, real.abs(), real - real.mean(1, keepdim=True) + 1 / 3, torch.cat([soft[:3], real[:1]])):
        assert math.isnan(answers(outputs, targets))


def test_outputs_that_are_not_finite_are_no_answers():
    nan, inf = math.nan, math.inf
    outputs = [[nan, 0, 1], [0, nan, 1], [inf, 0, 0], [-inf, -inf, -inf], [1, -inf, 0], [2, 1, 0]]
    for targets in (torch.zeros(6, dtype=torch.long), torch.eye(3, dtype=DTYPE)[[0] * 6]):
        assert answers(outputs, targets) == pytest.approx(2 / 6)
    assert classes(torch.tensor(outputs)).tolist() == [-1, -1, -1, -1, 0, 0]


def test_tied_weights_count_once():
    first, second = nn.Linear(5, 5, bias=False).to(DTYPE), nn.Linear(5, 5, bias=False).to(DTYPE)
    second.weight = first.weight
    x, y = torch.randn(12, 5, dtype=DTYPE), torch.randint(0, 5, (12,))
    model = nn.Sequential(first, nn.Tanh(), second)
    objective = Objective(model, "cross_entropy", (x, y), dtype=DTYPE)
    assert objective.layout.size == 25

    def loss(vector):
        weight = vector.view(5, 5)
        return nn.functional.cross_entropy(torch.tanh(x @ weight.T) @ weight.T, y)

    dense = torch.func.hessian(loss)(objective.params)
    v = torch.randn(25, dtype=DTYPE)
    assert torch.allclose(objective.hvp(v), dense @ v, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bn", ["eval", "batch"])
def test_the_users_model_is_left_as_it_was(bn):
    case = problem("batch-norm-cnn")
    case.model.train()
    before = {k: v.clone() for k, v in case.model.state_dict().items()}
    objective = Objective(case.model, "cross_entropy", (case.inputs, case.targets), dtype=DTYPE, bn=bn, bn_batch=20)
    objective.evaluate()
    objective.value_and_gradient()
    objective.hvp(torch.ones(objective.layout.size, dtype=DTYPE))
    assert all(module.training for module in case.model.modules())
    assert all(p.grad is None for p in case.model.parameters())
    assert all(torch.equal(before[k], v) for k, v in case.model.state_dict().items())


def test_the_point_stays_where_it_is_when_the_model_moves_on():
    case = problem("batch-norm-cnn")
    objective = case.objective()
    before = objective.value()
    with torch.no_grad():
        for tensor in case.model.state_dict().values():
            tensor.mul_(2)
    assert objective.value() == before


def test_a_batch_of_one_sample_has_no_statistics():
    case = problem("batch-norm-cnn")
    with pytest.raises(InputError, match="one sample"):
        Objective(case.model, "cross_entropy", (case.inputs, case.targets), bn="batch", bn_batch=13)


def test_the_identity_knows_the_code_of_a_users_model(tmp_path):
    source = (
        "import torch\nclass Net(torch.nn.Linear):\n    def forward(self, x):\n        return {} * x @ self.weight.T"
    )
    data = (torch.zeros(6, 4), torch.randint(0, 3, (6,)))
    identities = []
    for factor in (1, 2):
        (tmp_path / f"model{factor}.py").write_text(source.format(factor))
        net = specs.load(f"{tmp_path}/model{factor}.py:Net")(4, 3)
        nn.init.ones_(net.weight)
        nn.init.zeros_(net.bias)
        identities.append(Objective(net, "cross_entropy", data).identity)
    assert {key for key in identities[0] if identities[0][key] != identities[1][key]} == {"model"}


def test_samples_are_the_first_of_a_fixed_permutation():
    x, y = torch.arange(100.0)[:, None], torch.zeros(100, dtype=torch.int64)
    few = Objective(nn.Linear(1, 2), "cross_entropy", (x, y), samples=10).samples.blocks[0]
    more = Objective(nn.Linear(1, 2), "cross_entropy", (x, y), samples=30).samples.blocks[0]
    assert torch.equal(few[0], more[0][:10])
    assert not torch.equal(few[0], x[:10])


def test_batches_of_other_shapes_and_dicts_are_taken_as_they_are():
    torch.manual_seed(0)
    model = nn.Embedding(7, 3).to(DTYPE)
    batches = [{"tokens": torch.randint(0, 7, (4, n)), "next": torch.randint(0, 3, (4, n))} for n in (5, 9)]

    def loss(net, batch):
        return nn.functional.cross_entropy(
            net(batch["tokens"]).flatten(0, 1), batch["next"].flatten(), reduction="sum"
        ), (batch["next"].numel())

    objective = Objective(model, loss, batches, dtype=DTYPE)
    rows = torch.cat([model(b["tokens"]).flatten(0, 1) for b in batches])
    truth = nn.functional.cross_entropy(rows, torch.cat([b["next"].flatten() for b in batches])).item()
    assert objective.num_samples == 8
    assert objective.value() == pytest.approx(truth, rel=1e-12)
    assert math.isnan(objective.evaluate().accuracy)


def test_misfits_are_told_when_the_objective_is_made():
    x, y = torch.randn(10, 4), torch.randint(0, 3, (10,))
    with pytest.raises(InputError, match="do not fit"):
        Objective(nn.Linear(5, 3), "cross_entropy", (x, y))
    with pytest.raises(UsageError, match="unknown loss"):
        Objective(nn.Linear(4, 3), "crossentropy", (x, y))
    with pytest.raises(InputError, match="trainable"):
        Objective(nn.Flatten(), "cross_entropy", (x, y))
    with pytest.raises(InputError, match="equal first dimensions"):
        Objective(nn.Linear(4, 3), "cross_entropy", (x, y[:5]))


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_a_class_or_a_token_out_of_range_is_told_where_it_is_met(loss):
    """Beyond the samples that are tried first; what goes wrong elsewhere keeps its own name."""
    x, y = torch.randint(0, 7, (40, 5)), torch.randint(0, 3, (40,))
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 3))
    wrong = {}
    for check, values, bad in (("targets", y, 3), ("inputs", x, 7)):
        changed = values.clone()
        changed[-1] = bad
        wrong[check] = Objective(model, loss, (x, changed) if check == "targets" else (changed, y), chunk=8)
    for check, objective in wrong.items():
        for measured in (objective.value, objective.value_and_gradient, lambda o=objective: gradient_noise(o)):
            with pytest.raises(InputError, match=f"check the {check}"):
                measured()
    with pytest.raises(IndexError), wrong["targets"].running():
        [][0]


def test_standard_error_of_a_callable_agrees_with_that_of_its_samples():
    case = problem("tanh-mlp")
    own = Objective(
        case.model, lambda o, t: nn.functional.cross_entropy(o, t), (case.inputs, case.targets), dtype=DTYPE, chunk=25
    )
    assert own.evaluate().loss_stderr == pytest.approx(case.objective().evaluate().loss_stderr, rel=0.3)
    assert np.isfinite(own.evaluate().loss_stderr)
