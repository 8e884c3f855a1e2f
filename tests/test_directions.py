"""Directions against their definitions: gradients, eigenvectors, files, norms, right angles, principal components."""

import copy

import numpy as np
import pytest
import torch
from problems import DTYPE, problem, quadratic
from safetensors.torch import save_file
from torch import nn

from landscape import Objective, plane, random_direction
from landscape.errors import InputError, NumericalError
from landscape.slices import (
    Direction,
    Marks,
    Trajectory,
    direction_from_file,
    gradient_direction,
    normalised,
    orthogonalised,
    through_minima,
)
from landscape.slices.projection import Frame


def points(count, size, seed=0):
    return torch.randn(count, size, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_direction_is_the_unit_gradient():
    matrix = torch.diag(torch.tensor([1.0, 2.0, -3.0], dtype=DTYPE))
    w = torch.tensor([1.0, 1.0, 1.0], dtype=DTYPE)
    expected = matrix @ w / (matrix @ w).norm()
    torch.testing.assert_close(gradient_direction(quadratic(matrix, w)), expected)
    with pytest.raises(NumericalError, match="norm 0"):
        gradient_direction(quadratic(matrix, 0 * w))


def test_a_direction_from_a_file_is_joined_by_the_names_of_the_params(tmp_path):
    objective = problem("tanh-mlp").objective()
    tensors = {
        name: torch.randn(shape) for name, shape in zip(objective.layout.names, objective.layout.shapes, strict=True)
    }
    save_file(dict(reversed(tensors.items())), tmp_path / "d.safetensors")
    found = direction_from_file(tmp_path / "d.safetensors", objective)
    assert torch.equal(found, torch.cat([tensors[name].reshape(-1) for name in objective.layout.names]).double())
    save_file({"0.weight": tensors["0.weight"]}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match="should be"):
        direction_from_file(tmp_path / "part.safetensors", objective)
    save_file({name: t * torch.nan for name, t in tensors.items()}, tmp_path / "nan.safetensors")
    with pytest.raises(InputError, match="not finite"):
        direction_from_file(tmp_path / "nan.safetensors", objective)
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match="no safetensors file"):
        direction_from_file(tmp_path / "text.safetensors", objective)
    with pytest.raises(InputError, match="does not exist"):
        direction_from_file(tmp_path / "nowhere.safetensors", objective)


def test_biases_and_norm_params_of_any_dimension_are_left_out_unless_asked_for():
    model = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.LayerNorm((2, 3)), nn.Flatten(), nn.Linear(6, 2))
    objective = Objective(model, "cross_entropy", (torch.randn(5, 4), torch.zeros(5, dtype=torch.long)))
    draw = torch.randn(objective.layout.size, dtype=DTYPE)
    moved = {k: bool(v.any()) for k, v in objective.layout.named(normalised(draw, objective)).items()}
    assert moved == {
        "0.weight": True, "0.bias": False, "2.weight": False, "2.bias": False, "4.weight": True, "4.bias": False
    }  # fmt: skip
    whole = objective.layout.named(normalised(draw, objective, leave_out_1d=False))
    weights = objective.layout.named(objective.params)
    torch.testing.assert_close(whole["0.bias"].norm(), weights["0.bias"].double().norm())
    torch.testing.assert_close(whole["2.weight"].norm(dim=1), weights["2.weight"].double().norm(dim=1))


def test_orthogonalised_directions_meet_at_a_right_angle_with_their_statistics():
    first, second = points(2, 50)
    base = Direction(first, {"m": torch.tensor([1.0, 2.0], dtype=DTYPE)})
    found = orthogonalised(Direction(second + 1e6 * first, {"m": torch.tensor([0.5, 0.0], dtype=DTYPE)}), base)
    assert abs(float(found.vector @ first)) < 1e-9
    share = (second + 1e6 * first) @ first / (first @ first)
    torch.testing.assert_close(found.buffers["m"], torch.tensor([0.5 - share, -2 * share], dtype=DTYPE))
    with pytest.raises(InputError, match="parallel"):
        orthogonalised(3 * first, first)


def test_components_are_those_of_a_singular_value_decomposition():
    cloud = points(7, 40) * torch.linspace(3, 0.1, 40, dtype=DTYPE)
    first, second, explained = Trajectory({"a": cloud[:4], "b": cloud[4:]}, []).components()
    centred = cloud - cloud.mean(0)
    _, values, vectors = np.linalg.svd(centred.numpy(), full_matrices=False)
    np.testing.assert_allclose(explained, (values**2 / (values**2).sum())[:2], rtol=1e-10)
    for found, truth in zip((first, second), vectors[:2], strict=True):
        assert abs(found.vector.numpy() @ truth) == pytest.approx(1, abs=1e-10)
        assert found.vector.abs().max() == found.vector.max()  # the sign
    assert abs(float(first.vector @ second.vector)) < 1e-12


def test_points_that_span_no_plane_are_refused():
    base, along = points(2, 30)
    with pytest.raises(InputError, match="at least three"):
        Trajectory({"a": [base, along]}, []).components()
    with pytest.raises(InputError, match="one line"):
        Trajectory({"a": [base + t * along for t in (0.0, 1.0, 2.5, 4.0)]}, []).components()


def test_projections_are_least_squares_and_their_residuals_complete_the_distance():
    centre, first, second, point = points(4, 12)
    alpha, beta, residual, distance = Frame(centre, first, second).place(point)
    basis = torch.stack([first, second], 1).numpy()
    truth, left, *_ = np.linalg.lstsq(basis, (point - centre).numpy(), rcond=None)
    np.testing.assert_allclose([alpha, beta], truth, rtol=1e-10)
    assert residual == pytest.approx(float(left[0]) ** 0.5, rel=1e-10)
    assert distance == pytest.approx(float((point - centre).norm()), rel=1e-12)


def test_a_plane_through_three_minima_meets_each_where_it_is_marked():
    matrix = torch.diag(torch.arange(1.0, 7.0, dtype=DTYPE))
    a, b, c, beside = (quadratic(matrix, w) for w in points(4, 6))
    first, second = through_minima(a, b, c)
    assert abs(float(first.vector @ second.vector)) < 1e-12
    marks = Marks({"a": a, "b": b, "c": c, "d": beside})
    where = marks.places(Frame(a.params, first.vector, second.vector))
    share = float((c.params - a.params) @ first.vector / first.vector.square().sum())
    np.testing.assert_allclose(where["mark_alpha"][:3], [0, 1, share], atol=1e-12)
    np.testing.assert_allclose(where["mark_beta"][:3], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(where["mark_residual"][:3], 0, atol=1e-12)
    assert where["mark_residual"][3] > 0.1
    found = plane(
        a, (first, second), [0.0, share, 1.0] if 0 < share < 1 else sorted({0.0, share, 1.0}), [0.0, 1.0], marks=marks
    )
    at = {value: index for index, value in enumerate(found.alpha)}
    corners = [found.loss[at[0.0], 0], found.loss[at[1.0], 0], found.loss[at[share], 1]]
    np.testing.assert_allclose(corners, [a.value(), b.value(), c.value()], rtol=1e-10)
    np.testing.assert_allclose(found.mark_loss, [o.value() for o in (a, b, c, beside)], rtol=1e-14)
    assert found.marks == ("a", "b", "c", "d")
    for wrong in ((a, a, c), (a, b, a.at((a.params + b.params) / 2))):
        with pytest.raises(InputError, match="same point|parallel"):
            through_minima(*wrong)


def test_a_trajectory_is_projected_with_its_residuals():
    matrix = torch.eye(6, dtype=DTYPE)
    objective = quadratic(matrix, points(1, 6)[0])
    pair = (points(2, 6, 3)[0], points(2, 6, 3)[1])
    runs = {"small": list(points(3, 6, 4)), "large": [objective.params]}
    found = plane(objective, pair, [0.0, 1.0], [0.0, 1.0], trajectory=Trajectory(runs, ["x"]))
    assert found.trajectory == ("small", "small", "small", "large")
    frame = Frame(objective.params, *pair)
    for i, point in enumerate([*runs["small"], *runs["large"]]):
        expected = frame.place(point)
        found_here = [getattr(found, f"trajectory_{name}")[i] for name in ("alpha", "beta", "residual", "distance")]
        np.testing.assert_allclose(found_here, expected)
    assert found.trajectory_distance[-1] == 0


def rescaled_copy(model, factors):
    """The same ReLU network with the weights of each layer times a factor, biases so that the function stays."""
    copied, total = copy.deepcopy(model), 1.0
    layers = [module for module in copied if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer, factor in zip(layers, factors, strict=True):
            total *= factor
            layer.weight.mul_(factor)
            layer.bias.mul_(total)
    return copied


def test_a_rescaled_copy_shows_the_same_filter_normalised_plane():
    """Dinh et al. (2017): one factor a layer, 1 in all; Li et al. (2018): filter normalisation does not see it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)).to(DTYPE)
    scaled = rescaled_copy(model, (4.0, 0.05, 5.0))
    data = (torch.randn(40, 5, dtype=DTYPE), torch.randint(0, 3, (40,)))
    grid = np.linspace(-1, 1, 5)
    planes = {}
    for name, network in (("model", model), ("copy", scaled)):
        objective = Objective(network, "cross_entropy", data, dtype=DTYPE)
        for normalize in ("filter", "none"):
            draws = torch.Generator().manual_seed(3)
            pair = tuple(random_direction(objective, draws, normalize=normalize) for _ in range(2))
            planes[name, normalize] = plane(objective, pair, grid, grid).loss
    np.testing.assert_allclose(planes["copy", "filter"], planes["model", "filter"], rtol=1e-9)
    assert np.abs(planes["copy", "none"] - planes["model", "none"]).max() > 0.1
