"""Lines and planes against quadratics in closed form; directions against their norms; ends, masks and resume."""

import numpy as np
import pytest
import torch
from problems import DTYPE, PROBLEMS, problem, quadratic
from torch import nn

from landscape import Objective, line, plane, random_direction
from landscape.errors import InputError, Stopped
from landscape.results import Status
from landscape.slices import Watch, normalised
from landscape.slices.barriers import barriers


def symmetric(n, seed=0):
    matrix = torch.randn(n, n, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))
    return (matrix + matrix.T) / 2


def value(matrix, w):
    return float(w @ matrix @ w) / 2


def test_a_line_along_a_direction_is_the_quadratics_parabola():
    matrix, w = symmetric(6), torch.arange(6, dtype=DTYPE)
    d = torch.linspace(-1, 2, 6, dtype=DTYPE)
    found = line(quadratic(matrix, w), d, np.linspace(-3, 2, 11))
    truth = [value(matrix, w + a * d) for a in found.alpha]
    np.testing.assert_allclose(found.loss, truth, rtol=1e-10, atol=1e-10)
    assert found.unit_length == pytest.approx(float(d.norm()))
    assert found.barrier is None
    assert found.accuracy is None


def test_a_line_between_minima_has_exact_ends_and_its_barrier():
    matrix = -torch.eye(4, dtype=DTYPE)
    a, b = torch.tensor([1.0, 0, 0, 0.3], dtype=DTYPE), torch.tensor([0, 1.7, 0, 0.1], dtype=DTYPE)
    start, end = quadratic(matrix, a), quadratic(matrix, b)
    found = line(start, end, np.linspace(-1, 2, 30))  # 0 and 1 are not among these 30
    truth = [value(matrix, (1 - t) * a + t * b) for t in found.alpha]
    np.testing.assert_allclose(found.loss, truth, rtol=1e-10, atol=1e-12)
    assert found.loss[found.alpha == 0.0] == start.value()
    assert found.loss[found.alpha == 1.0] == end.value()
    # L(t) - chord = t (1 - t) |a - b|^2 / 2 for the matrix -I
    inside = found.alpha[(found.alpha >= 0) & (found.alpha <= 1)]
    bump = inside * (1 - inside) * float((a - b).square().sum()) / 2
    assert found.barrier == pytest.approx(bump.max(), rel=1e-10)


def test_a_plane_is_the_quadratic_with_rows_along_alpha_on_a_grid_that_is_not_square():
    matrix, w = symmetric(5, 1), torch.ones(5, dtype=DTYPE)
    d1, d2 = torch.eye(5, dtype=DTYPE)[0] * 2, torch.linspace(0, 1, 5, dtype=DTYPE)
    alphas, betas = np.linspace(-1, 1, 4), np.linspace(0, 3, 7)
    found = plane(quadratic(matrix, w), (d1, d2), alphas, betas)
    truth = [[value(matrix, w + a * d1 + b * d2) for b in betas] for a in alphas]
    assert found.loss.shape == (4, 7)
    np.testing.assert_allclose(found.loss, truth, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.unit_lengths, [2.0, float(d2.norm())])
    assert found.evaluated.all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_filter_normalised_directions_have_the_norms_of_the_filters(name):
    objective = problem(name).objective()
    direction = random_direction(objective, torch.Generator().manual_seed(0))
    weights = objective.layout.named(objective.params)
    for key, part in objective.layout.named(direction).items():
        if part.dim() == 1:
            assert not part.any()
        else:
            torch.testing.assert_close(part.flatten(1).norm(dim=1), weights[key].flatten(1).norm(dim=1))


def test_other_normalisations_match_the_norm_they_name():
    objective = problem("tanh-mlp").objective()
    raw = torch.randn(objective.layout.size, dtype=DTYPE)
    weights = objective.layout.named(objective.params)
    layers = objective.layout.named(normalised(raw, objective, normalize="layer"))
    torch.testing.assert_close(layers["0.weight"].norm(), weights["0.weight"].norm())
    model = normalised(raw, objective, normalize="model")
    torch.testing.assert_close(model.norm(), objective.params.norm())
    everything = normalised(raw, objective, normalize="none", leave_out_1d=False)
    torch.testing.assert_close(everything, raw)


def test_a_direction_depends_on_the_seed_alone():
    case = problem("tanh-mlp")
    exact = case.objective()
    rounded = Objective(case.model, "cross_entropy", (case.inputs, case.targets), dtype=torch.float32)
    draws = [random_direction(o, torch.Generator().manual_seed(5), normalize="none") for o in (exact, rounded)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], random_direction(exact, torch.Generator().manual_seed(6), normalize="none"))


def test_no_direction_is_left_where_all_params_have_one_dimension():
    with pytest.raises(InputError, match="direction is zero"):
        random_direction(quadratic(symmetric(3), torch.ones(3, dtype=DTYPE)), torch.Generator())


def test_batch_norm_statistics_move_along_a_line_so_that_both_ends_are_exact():
    first, second = problem("batch-norm-cnn"), problem("batch-norm-cnn")
    with torch.no_grad():
        for tensor in second.model.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.1)
    a = first.objective()
    b = a.at(second.model.state_dict())
    assert b.value() == pytest.approx(second.objective().value(), rel=1e-12)
    found = line(a, b, [0.0, 0.5, 1.0])
    assert found.loss[0] == a.value()
    assert found.loss[2] == b.value()
    assert found.bn == "interpolate"
    fixed = line(a, b, [0.0, 1.0], bn="eval")
    assert fixed.loss[1] == pytest.approx(b.with_constants(a.constants).value(), rel=1e-12)
    assert fixed.loss[1] != found.loss[2]
    assert fixed.settings != line(a, b, [0.0, 1.0]).settings


def test_test_split_stands_beside_train():
    case = problem("tanh-mlp")
    train, test = case.objective(samples=30), case.objective(samples=20)
    d = random_direction(train, torch.Generator().manual_seed(0))
    found = line(train, d, [-1.0, 0.0, 1.0], test=test)
    assert found.test_loss[1] == test.value()
    assert found.loss[1] == train.value()
    assert found.test_accuracy[2] == test.at(test.params + d).evaluate().accuracy


def test_non_finite_points_are_marked_and_not_filled():
    w = torch.ones(2, dtype=DTYPE)
    objective = quadratic(torch.eye(2, dtype=DTYPE), w)
    huge = torch.tensor([1e200, 0.0], dtype=DTYPE)
    found = line(objective, huge, [0.0, 1.0])
    assert list(found.point_status) == [1, 2]
    assert found.status == "complete"
    lost = line(objective.at(w * torch.nan), huge, [0.0, 1.0])
    assert lost.status == "non-finite"


def test_a_stopped_plane_resumes_to_the_same_bits():
    objective = problem("tanh-mlp").objective()
    pair = tuple(random_direction(objective, torch.Generator().manual_seed(s)) for s in (0, 1))
    grid = np.linspace(-1, 1, 6)
    whole = plane(objective, pair, grid, grid)
    saved = []
    calls = iter(range(100))
    with pytest.raises(Stopped):
        plane(objective, pair, grid, grid, watch=Watch(save=saved.append, stop=lambda: next(calls) == 13))
    partial = saved[-1]
    assert partial.status is Status.STOPPED
    assert partial.evaluated.sum() == 13
    assert np.isnan(partial.loss[~partial.evaluated]).all()
    done = []
    resumed = plane(objective, pair, grid, grid, partial=partial, watch=Watch(progress=done.append))
    assert len(done) == 36 - 13
    for name in ("loss", "loss_stderr", "accuracy", "point_status"):
        assert np.array_equal(getattr(resumed, name), getattr(whole, name))
    assert resumed.settings == whole.settings


def test_lines_between_other_architectures_are_refused():
    data = (torch.randn(8, 4), torch.randint(0, 2, (8,)))
    a, b = (Objective(nn.Sequential(nn.Linear(4, w), nn.Linear(w, 2)), "cross_entropy", data) for w in (3, 5))
    with pytest.raises(InputError, match="same architecture"):
        line(a, b, [0.0, 1.0])


def test_lines_between_other_models_of_the_same_shapes_are_refused():
    data = (torch.randn(8, 4), torch.randint(0, 2, (8,)))
    a, b = (
        Objective(nn.Sequential(nn.Linear(4, 3), act, nn.Linear(3, 2)), "cross_entropy", data)
        for act in (nn.ReLU(), nn.Tanh())
    )
    with pytest.raises(InputError, match="same architecture"):
        line(a, b, [0.0, 1.0])


def test_lines_between_other_objectives_are_refused():
    case = problem("tanh-mlp")
    with pytest.raises(InputError, match="differ in l2"):
        line(case.objective(), case.objective(l2=0.1), [0.0, 1.0])
    with pytest.raises(InputError, match="differ in data"):
        line(case.objective(), case.objective(samples=20), [0.0, 1.0])


def test_the_error_barrier_is_that_of_the_accuracies():
    alpha = np.array([-1.0, 0.0, 0.5, 1.0])
    loss, accuracy = np.array([9.0, 1.0, 4.0, 2.0]), np.array([0.0, 0.9, 0.5, 0.7])
    stderr = np.array([1.0, 0.0, 0.5, 0.0])
    of_loss, of_error = barriers(alpha, loss, accuracy, stderr, stderr / 10)
    assert of_loss == (pytest.approx(2.5), pytest.approx(2.5 - 0.979982), pytest.approx(2.5 + 0.979982))
    assert of_error == (pytest.approx(0.3), pytest.approx(0.3 - 0.0979982), pytest.approx(0.3 + 0.0979982))
    assert barriers(alpha[1:3], loss[1:3], accuracy[1:3], stderr[1:3], stderr[1:3]) == (None, None)


def test_a_line_of_a_block_leaves_the_other_params_where_they_are():
    case = problem("tanh-mlp")
    start = case.objective(params="0.*")
    other = {name: tensor + 0.3 for name, tensor in case.model.state_dict().items()}
    found = line(start, start.at(other), [0.0, 1.0])
    mixed = {**case.model.state_dict(), "0.weight": other["0.weight"], "0.bias": other["0.bias"]}
    assert found.loss[1] == pytest.approx(case.objective().at(mixed).value(), rel=1e-12)
    assert found.unit_length == pytest.approx(0.3 * start.layout.size**0.5)
