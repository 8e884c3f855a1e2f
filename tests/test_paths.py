"""Curves against closed forms; their training against finite differences and torch's SGD; ends, statistics, resume."""

import copy
import functools
import io
import itertools
import json

import numpy as np
import pytest
import torch
from landscape_cli.main import run
from problems import DTYPE, Quadratic, problem
from scipy.integrate import quad
from torch import nn

from landscape import Objective, line, path
from landscape.errors import InputError, NumericalError, Stopped, UsageError
from landscape.paths import CURVES, Plan, arc_length, coefficients, point
from landscape.paths.path import settings
from landscape.paths.training import Training
from landscape.results import Status
from landscape.resume import Watch, points
from landscape.store import Store
from landscape.store.schema import content

T = torch.linspace(0, 1, 23, dtype=DTYPE)
QUICK = {"epochs": 4, "batch_size": 16, "lr": 0.1, "positions": np.linspace(0, 1, 6).tolist()}


def corners(bends, n=5, seed=0):
    return torch.randn(bends + 2, n, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))


def on_curve(curve, points, t):
    """The point by de Casteljau's algorithm, or by interpolation between the corners."""
    if curve == "polychain":
        knots = np.linspace(0, 1, len(points))
        return torch.tensor([np.interp(t, knots, column) for column in points.T.numpy()], dtype=DTYPE)
    while len(points) > 1:
        points = (1 - t) * points[:-1] + t * points[1:]
    return points[0]


@pytest.mark.parametrize(("curve", "bends"), [(c, k) for c in CURVES for k in (1, 2, 3)])
def test_points_of_a_curve_are_those_of_its_construction(curve, bends):
    points, weights = corners(bends), coefficients(curve, T, bends)
    for t, row in zip(T.tolist(), weights, strict=True):
        torch.testing.assert_close(point(points, row), on_curve(curve, points, t), rtol=0, atol=1e-14)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(T), dtype=DTYPE), rtol=0, atol=1e-15)
    assert torch.equal(point(points, weights[0]), points[0])
    assert torch.equal(point(points, weights[-1]), points[-1])


def test_the_length_of_a_curve_is_that_of_its_corners_or_the_integral_of_its_speed():
    points = corners(2)
    chain = float((points[1:] - points[:-1]).norm(dim=1).sum())
    assert arc_length("polychain", points) == pytest.approx(chain, rel=1e-12)
    a, b, c = corners(1)
    speed = quad(lambda t: float((2 * (1 - t) * (b - a) + 2 * t * (c - b)).norm()), 0, 1)[0]
    assert arc_length("bezier", torch.stack([a, b, c])) == pytest.approx(speed, rel=1e-6)


def two(name="tanh-mlp", shift=0.5, **options):
    """The objective of a problem at its own point and at another."""
    start = problem(name).objective(**options)
    step = torch.randn(start.layout.size, dtype=DTYPE, generator=torch.Generator().manual_seed(3))
    return start, start.at(start.params + shift * step)


@pytest.mark.parametrize("curve", CURVES)
def test_an_update_follows_the_gradient_of_the_bends_by_finite_differences(curve):
    start, end = two(l2=0.03)
    plan = Plan(curve, 2, epochs=1, batch_size=50, lr=1.0, momentum=0.0)
    trained = Training(start, end, plan)
    before = trained.points.clone()
    trained.run(None, Watch())
    t = float(plan.draws(1, 50)[0])

    def loss(points):
        return start.at(on_curve(curve, points, t)).value()

    gradient, h = torch.zeros_like(before[1:-1]), 1e-5
    for k, i in itertools.product(range(2), range(0, start.layout.size, 7)):
        moved = torch.zeros_like(before)
        moved[k + 1, i] = h
        gradient[k, i] = (loss(before + moved) - loss(before - moved)) / (2 * h)
    done = (before - trained.points)[1:-1] / plan.rate(1)
    torch.testing.assert_close(done[:, ::7], gradient[:, ::7], rtol=1e-6, atol=1e-9)
    assert torch.equal(trained.points[[0, -1]], before[[0, -1]])
    assert trained.losses == [pytest.approx(loss(before), rel=1e-12)]


def test_the_training_is_that_of_torchs_sgd_on_points_drawn_from_the_curve():
    case, (start, end) = problem("tanh-mlp"), two()
    plan = Plan("bezier", 2, epochs=10, batch_size=16, lr=0.2, momentum=0.9, seed=4)
    trained = Training(start, end, plan)
    points = [trained.points[k].clone() for k in range(4)]
    bends = [nn.Parameter(p) for p in points[1:-1]]
    optimizer = torch.optim.SGD(bends, 0.2, momentum=0.9)
    for epoch in range(1, 11):
        share = epoch / 10  # Garipov et al.'s train.py: learning_rate_schedule
        factor = 1.0 if share <= 0.5 else 1.0 - (share - 0.5) / 0.4 * 0.99 if share <= 0.9 else 0.01
        optimizer.param_groups[0]["lr"] = 0.2 * factor
        ts, order = plan.draws(epoch, 50)
        assert sorted(order.tolist()) == list(range(50))
        for t, batch in zip(ts, order.tensor_split(4), strict=True):
            place = on_curve("bezier", torch.stack([points[0], *bends, points[3]]), t)
            parts = start.layout.named(place)
            outputs = torch.func.functional_call(case.model, parts, (case.inputs[batch],))
            optimizer.zero_grad()
            nn.functional.cross_entropy(outputs, case.targets[batch]).backward()
            optimizer.step()
    trained.run(None, Watch())
    torch.testing.assert_close(trained.points[1:-1], torch.stack(list(bends)).detach(), rtol=1e-9, atol=1e-11)


def valley(w):
    """(|w - c|^2 - |c|^2 - 1)^2: zero on a circle through (-1, 0) and (1, 0), one halfway between them."""
    return ((w - torch.tensor([0.0, 0.5], dtype=DTYPE)).square().sum(1) - 1.25).square()


def in_valley(w):
    data = (torch.zeros(4, 1, dtype=DTYPE), torch.zeros(4, dtype=DTYPE))
    start = Quadratic(torch.tensor(w, dtype=DTYPE))
    return Objective(start, lambda outputs, targets: valley(outputs).mean(), data, dtype=DTYPE)


@pytest.mark.parametrize("curve", CURVES)
def test_a_trained_curve_goes_round_the_ridge_in_a_valley(curve):
    a, b = in_valley([-1.0, 0.0]), in_valley([1.0, 0.0])
    assert line(a, b, np.linspace(0, 1, 61)).barrier == pytest.approx(1.0)
    found = path(a, b, curve=curve, bends=3, epochs=1500, batch_size=4, lr=0.02)
    assert found.barrier < 0.02
    assert (np.linalg.norm(found.bends - [0, 0.5], axis=1) < 1.6).all()
    assert found.distance == 2.0
    # the arc below the segment, of radius sqrt(1.25) about (0, .5)
    assert found.length == pytest.approx(2 * 1.25**0.5 * np.arctan(2), rel=0.1)


@functools.cache
def minimum(seed, norm=False):
    """A small network trained on fixed samples of two classes from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inputs = torch.randn(96, 2, dtype=DTYPE)
        targets = (inputs.prod(1) > 0).long()
        torch.manual_seed(seed)
        inner = [nn.BatchNorm1d(8)] if norm else []
        model = nn.Sequential(nn.Linear(2, 8), *inner, nn.Tanh(), nn.Linear(8, 2)).to(DTYPE)
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        for _ in range(150):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return model, inputs, targets


def pair(norm=False, **options):
    model, *data = minimum(1, norm)
    start = Objective(model, "cross_entropy", tuple(data), dtype=DTYPE, **options)
    return start, start.at(minimum(2, norm)[0].state_dict())


def test_between_two_minima_of_a_network_the_curve_is_lower_than_the_line():
    start, end = pair()
    straight = line(start, end, np.linspace(0, 1, 61))
    found = path(start, end, epochs=150, batch_size=32, test=start)
    assert found.barrier < straight.barrier / 2
    assert found.barrier_low <= found.barrier <= found.barrier_high
    assert found.loss[[0, -1]] == pytest.approx([start.value(), end.value()], rel=1e-12)
    assert found.max_error == pytest.approx(1 - found.accuracy.min())
    assert found.max_end_error == pytest.approx(1 - min(found.accuracy[[0, -1]]))
    assert (found.max_test_error, found.max_test_end_error) == (found.max_error, found.max_end_error)
    assert found.length > found.distance
    assert found.velocity is None
    assert (found.epochs, found.updates, len(found.epoch_loss)) == (150, 450, 150)
    assert found.problems() == []


def test_statistics_of_batch_norm_are_those_of_update_bn_at_each_point():
    start, end = pair(norm=True)
    model = start.model
    kept = copy.deepcopy(model.state_dict())
    found = path(start, end, **QUICK, bn_batch=32)
    assert found.bn == "recompute"
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    assert model.training
    inputs, targets = start.samples.blocks[0]
    points = torch.stack([start.params, *torch.as_tensor(found.bends), end.params])
    for t, loss in zip(found.t, found.loss, strict=True):
        other = copy.deepcopy(model)
        nn.utils.vector_to_parameters(on_curve("bezier", points, t), other.parameters())
        torch.optim.swa_utils.update_bn(inputs.split(32), other)
        other.eval()
        truth = nn.functional.cross_entropy(other(inputs), targets).item()
        assert truth == pytest.approx(loss, rel=1e-12)


def test_statistics_that_move_with_t_are_those_of_the_checkpoints_at_the_ends():
    start, end = pair(norm=True)
    found = path(start, end, **QUICK, bn="interpolate")
    assert found.loss[[0, -1]] == pytest.approx([start.value(), end.value()], rel=1e-12)
    fixed = path(start, end, **QUICK, bn="eval")
    assert fixed.loss[-1] == pytest.approx(end.with_constants(start.constants).value(), rel=1e-12)
    assert np.array_equal(fixed.bends, found.bends)
    of_batches = path(*pair(norm=True, bn="batch", bn_batch=48), **QUICK)
    assert of_batches.bn == "batch"
    assert np.isfinite(of_batches.loss).all()


class Stop:
    """Asks for a stop when asked for the count-th time."""

    def __init__(self, count):
        self.calls = itertools.count(1)
        self.count = count

    def __call__(self):
        return next(self.calls) == self.count


# 4 epochs of 6 updates, then 6 points
@pytest.mark.parametrize("count", [1, 4, 7, 13, 24, 25, 28, 30])
def test_a_path_stopped_anywhere_goes_on_to_the_same_bits(count, tmp_path):
    start, end = pair(norm=True)
    whole = path(start, end, **QUICK)
    store, saved = Store(tmp_path / "r.h5"), []
    with pytest.raises(Stopped):
        path(start, end, **QUICK, watch=Watch(save=saved.append, stop=Stop(count)))
    store.add("a--b", saved[-1], {}, {})
    (entry,) = store.find()
    partial = entry.result
    assert partial.status is Status.STOPPED
    assert partial.problems() == []
    assert partial.epochs == min(4, (count - 1) // 6)
    assert int(partial.point_status.sum()) == max(0, count - 25)
    assert (partial.velocity is None) == (partial.epochs == 4)
    done = []
    resumed = path(start, end, **QUICK, partial=partial, watch=Watch(progress=done.append))
    assert done[-1] == 24 + 6
    assert content(resumed) == content(whole)
    assert resumed.settings == whole.settings


def test_what_is_saved_between_epochs_goes_on_to_the_same_bits(monkeypatch):
    monkeypatch.setattr(points, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(points, "SAVE_SHARE", 0)
    start, end = two()
    saved = []
    whole = path(start, end, **QUICK, watch=Watch(save=saved.append))
    trained = saved[:4]  # the rest is saved while points are evaluated
    assert [partial.epochs for partial in trained] == [1, 2, 3, 4]
    for partial in trained:
        assert not partial.point_status.any()
        assert content(path(start, end, **QUICK, partial=partial)) == content(whole)


def test_a_path_depends_on_the_seed_and_its_settings_say_so():
    start, end = two()
    found = path(start, end, **QUICK)
    assert content(path(start, end, **QUICK)) == content(found)
    other = path(start, end, **QUICK, seed=1)
    assert not np.array_equal(other.bends, found.bends)
    assert other.settings != found.settings
    plan = Plan(epochs=4, batch_size=16, lr=0.1)
    assert settings(start, end, plan, QUICK["positions"]) == found.settings


def test_what_is_no_path_is_refused_in_one_line():
    start, end = two()
    for wrong, said in (
        ({"curve": "spline"}, "curve must be bezier or polychain"),
        ({"bends": 0}, "bends must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": -1.0}, "lr must be finite"),
        ({"momentum": 1.0}, "momentum"),
        ({"positions": [0.0, 1.5]}, "must lie in 0"),
        ({"bn": "none"}, "bn must be one of"),
    ):
        with pytest.raises(UsageError, match=said):
            path(start, end, **wrong)
    with pytest.raises(InputError, match="same point"):
        path(start, start)
    with pytest.raises(InputError, match="same architecture"):
        path(start, problem("layer-norm-mlp").objective())
    with pytest.raises(InputError, match="batch statistics"):
        path(*pair(norm=True), batch_size=1)
    model = nn.Linear(4, 2)
    batches = [(torch.randn(k, 4), torch.randn(k, 2, dtype=dtype)) for k, dtype in ((3, DTYPE), (4, torch.float32))]
    whole = Objective(model, "mse", batches, dtype=DTYPE)
    if not whole.samples.divisible:
        with pytest.raises(InputError, match="can be joined"):
            path(whole, whole.at(whole.params + 1))


def test_a_training_that_diverges_says_so():
    with pytest.raises(NumericalError, match=r"not finite in epoch \d+; lower --lr"):
        path(in_valley([-1.0, 0.0]), in_valley([1.0, 0.0]), epochs=20, lr=1e6)


def test_a_path_is_drawn_with_the_straight_line_and_the_same_bytes_twice():
    import matplotlib.pyplot as plt

    from landscape.draw.path import draw_path
    from landscape.draw.style import style

    start, end = pair()
    found = path(start, end, **QUICK, test=start, made={"ends": ["a", "b"]})
    found.point_status[2], found.loss[2] = 2, np.nan
    drawn = []
    for _ in range(2):
        with style():
            figure, axes = plt.subplots()
            draw_path(found, axes, straight=line(start, end, np.linspace(-1, 2, 7)))
            figure.savefig(buffer := io.BytesIO(), format="svg", metadata={"Date": None})
            drawn.append(buffer.getvalue())
            assert len(axes.lines) == 5  # the straight line, train and test, both ends
            assert len(axes.patches) == 1  # the point that is missing
    assert drawn[0] == drawn[1]


# -- the command -----------------------------------------------------------------------------------------------------

COMMON = ["--epochs", "3", "--points", "5", "--samples", "200"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("paths")
    for name, seed, widths in (("a", 1, "[6]"), ("b", 2, "[6]"), ("wide", 1, "[7]")):
        training = ["--epochs", "2", "--seed", str(seed), "--model-arg", f"widths={widths}"]
        assert run(["train", *training, "--out", str(place / f"{name}.safetensors")]) == 0
    return place


def checkpoints(folder, *names):
    return [str(folder / f"{name}.safetensors") for name in names]


def test_the_command_prints_stores_and_finds_a_path(folder, tmp_path, capsys):
    out = ["--out", str(tmp_path / "r.h5")]
    asked = ["path", *checkpoints(folder, "a", "b"), *COMMON, *out]
    assert run([*asked, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {"kind", "label", "t", "loss", "accuracy", "test_loss", "barrier", "max_error", "length"} <= set(shown)
    assert (shown["kind"], shown["label"], shown["t"]) == ("path", "a--b", [0.0, 0.25, 0.5, 0.75, 1.0])
    assert run(asked) == 0
    printed = capsys.readouterr()
    assert "not computed again" in printed.err
    assert "largest error on the curve" in printed.out
    (entry,) = Store(tmp_path / "r.h5").find()
    assert entry.result.barrier == shown["barrier"]
    assert entry.result.direction["ends"] == ["a", "b"]
    assert entry.result.bends.shape == (1, 64 * 6 + 6 + 6 * 10 + 10)


def test_the_command_aligns_the_second_network_first(folder, capsys):
    asked = ["path", *checkpoints(folder, "a", "b"), *COMMON, "--json"]
    found = {}
    for align in ("none", "permutation"):
        assert run([*asked, "--align", align]) == 0
        found[align] = json.loads(capsys.readouterr().out)
    about = found["permutation"]["direction"]["align"]
    assert about["distance"] < about["distance_before"]
    assert 0 < about["moved"] <= 1
    assert found["permutation"]["distance"] == pytest.approx(about["distance"], rel=1e-5)
    assert found["none"]["distance"] == pytest.approx(about["distance_before"], rel=1e-5)
    assert found["permutation"]["loss"][-1] == pytest.approx(found["none"]["loss"][-1], rel=1e-5)


def test_the_command_and_the_library_have_the_same_defaults():
    from landscape_cli.path import command

    asked = {option.name: option.default for option in command.params}
    assert {name: asked[name] for name in vars(Plan())} == vars(Plan())


def test_exit_codes(folder, tmp_path, capsys):
    a, b, wide = checkpoints(folder, "a", "b", "wide")
    assert run(["path", a]) == 2
    assert run(["path", a, b, a]) == 2
    assert run(["path", a, b, "--points", "1"]) == 2
    assert run(["path", a, b, "--bn", "recompute", "--split", "test"]) == 2
    assert run(["path", a, b, "--epochs", "0"]) == 2
    assert run(["path", a, b, "--align", "permutation", "--restarts", "-1"]) == 2
    assert run(["path", a, wide]) == 3
    assert run(["path", a, a, "--label", "x", "--label", "y"]) == 3
    assert run(["path", a, b, "--lr", "1e20", "--json", *COMMON]) == 4
    printed = capsys.readouterr()
    assert all(text.startswith("landscape: ") for text in printed.err.splitlines())
    assert json.loads(printed.out)["status"] == "non-finite"


def test_a_stopped_command_goes_on_to_the_same_result(folder, tmp_path, monkeypatch, capsys):
    from contextlib import contextmanager

    from landscape_cli import computing

    asked = ["path", *checkpoints(folder, "a", "b"), *COMMON, "--out", str(tmp_path / "r.h5")]
    with monkeypatch.context() as patch:

        @contextmanager
        def stopping(can_resume):
            yield Stop(5)

        patch.setattr(computing, "stop_requests", stopping)
        assert run(asked) == 6
    assert run(asked) == 3  # a part is there
    assert run([*asked, "--resume"]) == 0
    assert run([*asked[:-1], str(tmp_path / "whole.h5")]) == 0
    capsys.readouterr()
    results = [Store(tmp_path / name).find()[0].result for name in ("r.h5", "whole.h5")]
    assert content(results[0]) == content(results[1])


def test_help_needs_no_torch():
    import subprocess
    import sys

    script = (
        "import sys; from landscape_cli.main import run; run(['path', '--help']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
