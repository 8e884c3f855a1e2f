"""What is compared between minima: closed forms, copies that must be equal or must not, networks of other shapes."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from problems import DTYPE, problem, quadratic
from torch import nn

from landscape import Objective, rescale
from landscape.checkpoint import load_checkpoint, save_checkpoint
from landscape.comparing import similarity
from landscape.comparing.pairs import OTHER_PARAMS, measure_pair, predictions, refuse_other_samples, wilson
from landscape.comparing.points import NO_CLASSES, NO_START, NO_TEST, Point, Value, measure_point
from landscape.comparing.similarity import cka
from landscape.comparing.subsets import disjoint, points_of
from landscape.comparing.table import KINDS, PAIRS, POINTS, PRESETS, named, preset
from landscape.errors import InputError, UsageError
from landscape.studies.measured import Request, measured
from landscape.studies.runfiles import read_log

SMALL, LARGE = "checkpoints/digits-small.safetensors", "checkpoints/digits-large.safetensors"
# of what is left between copies of one function, of which float64 rounds the params alone
ROUNDING = 1e-5


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of products of a few numbers each: where cores are few or busy, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def minima(*paths, samples=150):
    return measured(Request(split="both", dtype="float64", samples=samples), paths)


def point(minimum):
    start = torch.from_numpy(read_log(minimum.path).initial_params)
    return Point(minimum.objective, minimum.test, start)


@pytest.fixture(scope="module")
def digits():
    """The minimum of large batches, whose train loss float64 resolves in every measure."""
    return point(minima(LARGE)[0])


@pytest.fixture(scope="module")
def values(digits):
    return {name: measure_point(digits, name) for name in POINTS}


def moved(to, objective):
    """The point at another objective of the same samples."""
    return Point(objective, to.test.at({**objective.layout.named(objective.params), **objective.constants}), to.start)


def permuted(objective):
    """The 64-128-128-10 network with the units of both hidden layers in other orders: the same function."""
    tensors = objective.layout.named(objective.params)
    generator = torch.Generator().manual_seed(3)
    for layer, after in (("1", "3"), ("3", "5")):
        order = torch.randperm(128, generator=generator)
        tensors |= {
            f"{layer}.weight": tensors[f"{layer}.weight"][order],
            f"{layer}.bias": tensors[f"{layer}.bias"][order],
        }
        tensors[f"{after}.weight"] = tensors[f"{after}.weight"][:, order]
    return objective.at(tensors)


# ---- the table


def test_presets_hold_each_other_and_the_quick_one_has_eight_measures_at_least():
    found = [preset(name) for name in PRESETS]
    for smaller, larger in zip(found, found[1:], strict=False):
        assert set(smaller[0]) <= set(larger[0])
        assert set(smaller[1]) <= set(larger[1])
    assert found[-1] == (tuple(POINTS), tuple(PAIRS))
    assert len([name for name in found[0][0] if not POINTS[name].needs]) >= 5
    assert len(found[0][0]) >= 8
    assert {POINTS[name].kind for name in found[0][0]} == set(KINDS)


def test_names_come_in_the_order_of_the_table_and_unknown_ones_are_refused():
    assert named(["cka", "trace", "train-loss", "trace"]) == (("train-loss", "trace"), ("cka",))
    assert named(["distance"]) == (("distance",), ("distance",))
    assert named([" train-loss", " cka", "", " "]) == (("train-loss",), ("cka",))
    with pytest.raises(UsageError, match="unknown measure 'sharp'"):
        named(["sharp"])
    with pytest.raises(UsageError, match="name some of"):
        named([])
    with pytest.raises(UsageError, match="name some of"):
        named([" ", ""])
    with pytest.raises(UsageError, match="unknown preset"):
        preset("slow")
    with pytest.raises(UsageError, match="unknown measure"):
        measure_point(Point(quadratic(torch.eye(2, dtype=DTYPE), torch.ones(2, dtype=DTYPE))), "sharp")


def test_the_table_needs_no_torch():
    script = "import landscape.comparing.table, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


# ---- at points


def test_curvature_is_that_of_the_dense_hessian():
    given = problem("tanh-mlp")
    eigen = torch.linalg.eigvalsh(given.dense_hessian())
    at = Point(given.objective(), probes=100)  # more than params: exact
    truth = {
        "eigenvalue-max": eigen[-1],
        "eigenvalue-min": eigen[0],
        "trace": eigen.sum(),
        "frobenius": eigen.norm(),
    }
    for name, value in truth.items():
        found = measure_point(at, name)
        assert found.value == pytest.approx(float(value), rel=1e-4), name
        assert abs(found.value - float(value)) <= found.resolution + 1e-9
    assert measure_point(at, "trace").stderr == 0.0


def test_a_trace_has_the_probes_of_its_point_and_an_error():
    found = measure_point(Point(problem("tanh-mlp").objective()), "trace")
    truth = float(problem("tanh-mlp").dense_hessian().trace())
    assert found.stderr > 0
    assert abs(found.value - truth) < 4 * found.stderr
    other = measure_point(Point(problem("tanh-mlp").objective(), seed=1), "trace")
    assert other.value != found.value


def test_norms_and_losses_by_hand():
    matrix = torch.diag(torch.tensor([2.0, 0.0], dtype=DTYPE))
    at = Point(quadratic(matrix, torch.tensor([3.0, 4.0], dtype=DTYPE), l2=0.5), start=torch.tensor([3.0, 1.0]))
    assert measure_point(at, "param-norm").value == pytest.approx(5)
    assert measure_point(at, "distance").value == pytest.approx(3)
    assert measure_point(at, "train-loss").value == pytest.approx(9)  # the penalty, 6.25, is no part of it
    assert measure_point(at, "gradient-norm").value == pytest.approx(math.hypot(6 + 1.5, 2))
    assert measure_point(at, "train-accuracy") == Value(None, note=NO_CLASSES)
    assert measure_point(at, "test-loss") == Value(None, note=NO_TEST)
    assert measure_point(Point(at.objective), "distance") == Value(None, note=NO_START)
    with pytest.raises(UsageError, match="30 probes"):
        Point(at.objective, probes=5)
    other = Point(at.objective, start=torch.zeros(3))
    assert "has 3 params, the minimum 2" in measure_point(other, "distance").note


def test_a_measure_that_fails_says_why_and_the_others_are_measured():
    at = Point(quadratic(torch.eye(2, dtype=DTYPE), torch.ones(2, dtype=DTYPE)))
    assert measure_point(at, "fisher-rao").value is None
    assert measure_point(at, "fisher-rao").note
    assert measure_point(at, "eigenvalue-max").value == pytest.approx(1)


def test_what_measures_share_is_made_once_and_products_are_given_back(monkeypatch):
    at = Point(problem("tanh-mlp").objective())
    traced = measure_point(at, "trace")
    monkeypatch.setattr("landscape.comparing.points.trace", None)  # the probes serve both
    assert 0 < measure_point(at, "frobenius").value < traced.value
    made = at.products.hessian()
    measure_point(at, "eigenvalue-max")
    measure_point(at, "eigenvalue-min")
    assert at.products.hessian() is made
    at.release()
    assert not at.products.found
    assert measure_point(at, "eigenvalue-max").value == at.leading(1).eigenvalues[0]
    assert not at.products.found


def test_every_measure_of_a_minimum_has_a_value_or_says_why_not(values):
    for name, found in values.items():
        assert found.value is None or math.isfinite(found.value), name
        assert found.value is not None or found.note, name
    assert {name for name, found in values.items() if found.value is None} <= {"noise-scale"}
    assert values["gap"].value == pytest.approx(values["train-accuracy"].value - values["test-accuracy"].value)
    assert values["distance"].value == pytest.approx(8.405941735206392, rel=1e-5)


# ---- copies


def test_a_copy_that_was_saved_again_has_the_same_values(digits, values, tmp_path):
    found = load_checkpoint(LARGE)
    save_checkpoint(tmp_path / "again.safetensors", found.tensors, found.recipe, found.metadata)
    again = minima(str(tmp_path / "again.safetensors"))[0]
    other = Point(again.objective, again.test, digits.start)
    for name in preset("standard")[0]:
        # the path of products is chosen by a clock: equal to rounding
        found, first = measure_point(other, name), values[name]
        assert found.note == first.note, name
        assert found.value == pytest.approx(first.value, rel=1e-9) if first.value is not None else found.value is None
    assert measure_pair(digits, other, "distance").value == 0
    assert measure_pair(digits, other, "cosine").value == pytest.approx(1, abs=1e-12)
    assert measure_pair(digits, other, "update-cosine").value == pytest.approx(1, abs=1e-12)
    assert measure_pair(digits, other, "disagreement").value == 0
    assert measure_pair(digits, other, "cka").value == pytest.approx(1, abs=1e-12)
    assert measure_pair(digits, other, "barrier").value == pytest.approx(0, abs=1e-12)
    assert measure_pair(digits, other, "overlap").value == pytest.approx(1, abs=1e-9)


def test_a_rescaled_copy_moves_raw_measures_and_no_others(digits, values):
    other = moved(digits, rescale(digits.objective, 4.0).objective)
    for name, about in POINTS.items():
        if values[name].value is None:
            continue
        mine, theirs = values[name].value, measure_point(other, name).value
        if about.kind == "raw":
            assert abs(theirs - mine) > 1e-3 * abs(mine), name
        else:
            assert theirs == pytest.approx(mine, rel=ROUNDING, abs=ROUNDING * abs(values["train-loss"].value)), name
    assert measure_pair(digits, other, "disagreement").value == 0
    assert measure_pair(digits, other, "cka").value == pytest.approx(1, abs=1e-9)
    assert measure_pair(digits, other, "distance").value > 1


def test_a_permuted_copy_has_a_barrier_that_alignment_takes_away(digits, values):
    other = moved(digits, permuted(digits.objective))
    for name, about in POINTS.items():
        if about.kind == "function":
            assert measure_point(other, name).value == pytest.approx(values[name].value, abs=1e-9), name
    raw, aligned = (measure_pair(digits, other, name) for name in ("barrier", "aligned-barrier"))
    assert raw.low > 0.1
    assert raw.low <= raw.value <= raw.high
    assert aligned.value == pytest.approx(0, abs=1e-9)
    assert aligned.line.direction["align"]["distance"] == 0
    assert raw.line.alpha[0] == 0
    assert raw.line.alpha[-1] == 1
    assert measure_pair(digits, other, "cka").value == pytest.approx(1, abs=1e-9)
    assert measure_pair(digits, other, "overlap").value < 0.5


def test_two_minima_of_one_start(digits):
    other = point(minima(SMALL)[0])
    found = {name: measure_pair(digits, other, name) for name in PAIRS}
    assert found["distance"].value == pytest.approx(10.888, abs=1e-3)
    assert tuple(found["distance"].layers) == digits.objective.layout.names
    assert math.hypot(*found["distance"].layers.values()) == pytest.approx(found["distance"].value)
    assert found["cosine"].value == pytest.approx(0.8264, abs=1e-4)
    assert found["update-cosine"].value == pytest.approx(0.7099, abs=1e-4)
    assert set(found["cka"].layers) == {"3", "5"}
    assert found["cka"].layers["5"] == found["cka"].value
    assert 0.02 < found["overlap"].value < 1
    assert found["test-disagreement"].low < found["test-disagreement"].value < found["test-disagreement"].high


# ---- between networks of other shapes


def small(model, samples=60, **options):
    return Point(Objective(model, "cross_entropy", "digits", samples=samples, dtype=DTYPE, **options))


def test_other_architectures_are_compared_by_what_needs_no_common_params():
    one, other = small("mlp"), small("cnn")
    for name in ("distance", "cosine", "barrier", "aligned-barrier", "overlap"):
        assert measure_pair(one, other, name).value is None
        assert measure_pair(one, other, name).note == OTHER_PARAMS
    assert 0 <= measure_pair(one, other, "disagreement").value <= 1
    found = measure_pair(one, other, "cka")
    assert 0 < found.value < 1
    assert not found.layers


def test_other_samples_and_other_classes_are_refused():
    one = small("mlp")
    with pytest.raises(InputError, match="differ in data"):
        measure_pair(one, small("mlp", samples=61), "distance")
    with pytest.raises(InputError, match="differ in l2"):
        refuse_other_samples(one, small("mlp", l2=0.1))
    five = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    with pytest.raises(InputError, match="10 and 12 classes"):
        refuse_other_samples(one, small(five))
    with pytest.raises(InputError, match="the other has none"):
        refuse_other_samples(one, Point(one.objective, one.objective))
    assert measure_pair(one, one, "test-disagreement").note == NO_TEST
    assert measure_pair(one, one, "update-cosine").note == NO_START
    with pytest.raises(UsageError, match="unknown measure"):
        measure_pair(one, one, "trace")


# ---- predictions, features, eigenspaces


class Given(nn.Module):
    """Outputs that are params, one row a sample: the inputs are their numbers."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = nn.Parameter(torch.tensor(outputs, dtype=DTYPE))

    def forward(self, inputs):
        return self.outputs[inputs]


def test_disagreement_is_counted_by_hand():
    data = (torch.arange(4), torch.tensor([0, 1, 0, 1]))
    one = Objective(Given([[2, 1], [1, 2], [3, 0], [0, 3]]), "cross_entropy", data, dtype=DTYPE, chunk=3)
    other = Objective(Given([[2, 1], [2, 1], [3, 0], [9, 3]]), "cross_entropy", data, dtype=DTYPE)
    assert predictions(one).tolist() == [0, 1, 0, 1]
    assert predictions(other).tolist() == [0, 0, 0, 0]
    found = measure_pair(Point(one), Point(other), "disagreement")
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.15, 0.85), abs=0.005)  # Wilson's, of 2 in 4


def test_samples_of_no_class_are_disagreed_on():
    """Two networks that overflow have not found the same."""
    data = (torch.arange(4), torch.tensor([0, 0, 0, 0]))
    broken = [[math.nan, 1], [1, math.nan], [math.inf, 0], [2, 1]]
    one = Objective(Given(broken), "cross_entropy", data, dtype=DTYPE)
    other = Objective(Given([[2.0, 1], *broken[1:]]), "cross_entropy", data, dtype=DTYPE)
    assert predictions(one).tolist() == [-1, -1, -1, 0]
    for pair in ((one, one), (one, other), (other, one)):
        assert measure_pair(*map(Point, pair), "disagreement").value == 0.75


def test_wilsons_interval():
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(10, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    assert wilson(3, 20) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3604, abs=1e-4))


def reading(features, targets=None):
    """A network whose last layer reads `features` (N, p)."""
    model = nn.Sequential(
        nn.Identity(), nn.Linear(len(features[0]), len(features[0]), bias=False), nn.Linear(len(features[0]), 2)
    )
    model[1].weight.data = torch.eye(len(features[0]), dtype=DTYPE)
    targets = torch.zeros(len(features), dtype=torch.long) if targets is None else targets
    return Objective(model, "cross_entropy", (features, targets), dtype=DTYPE)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)


@pytest.mark.parametrize("width", [5, 90])  # by the products of features, and by Gram matrices
def test_cka_of_rotated_features_is_one_and_of_independent_ones_nothing(width):
    features = 3 + gaussian(60, width)
    rotation = torch.linalg.qr(gaussian(width, width, seed=1))[0]
    assert cka(reading(features), reading(-7 * features @ rotation))[0] == pytest.approx(1, abs=1e-10)
    means = [cka(reading(gaussian(60, width, seed=s)), reading(gaussian(60, width, seed=s + 99)))[0] for s in range(30)]
    assert abs(np.mean(means)) < 3 * np.std(means) / math.sqrt(len(means)) + 1e-3


@pytest.mark.parametrize("width", [4, 40])
def test_cka_is_that_of_the_sum_over_quadruples(width):
    x, y = gaussian(7, width), gaussian(7, width, seed=1)
    y = y + x

    def hsic(a, b):
        """E K_ij (L_ij + L_qr - 2 L_iq) over all different i, j, q, r: the U-statistic itself."""
        one, other, total, count = a @ a.T, b @ b.T, 0.0, 0
        for i in range(7):
            for j in range(7):
                for q in range(7):
                    for r in range(7):
                        if len({i, j, q, r}) == 4:
                            total += float(one[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]))
                            count += 1
        return total / count

    truth = hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))
    assert cka(reading(x), reading(y))[0] == pytest.approx(truth, rel=1e-9)


def test_cka_by_batches_is_about_that_of_all_at_once(monkeypatch):
    features = gaussian(400, 6)
    one, other = reading(features), reading(features + gaussian(400, 6, seed=1))
    whole = cka(one, other)[0]
    monkeypatch.setattr(similarity, "BATCH", 64)
    assert cka(one, other)[0] == pytest.approx(whole, abs=0.05)


def test_features_are_what_layers_read_and_no_hook_stays():
    one = small("mlp", samples=10).objective
    with one.running():
        found = similarity.features(one, next(one.samples.chunks(10)))
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {"3": (10, 128), "5": (10, 128)}
    assert float(found["5"].min()) == 0.0  # past the ReLU
    assert not any(module._forward_pre_hooks for module in one.model.modules())
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert "no features but the data" in measure_pair(small(flat), small(flat), "cka").note
    assert "do not vary" in measure_pair(*[Point(reading(torch.ones(9, 3, dtype=DTYPE)))] * 2, "cka").note
    assert "4 samples" in measure_pair(*[Point(reading(gaussian(3, 3)))] * 2, "cka").note


def test_overlap_is_that_of_the_dense_eigenvectors():
    generator = torch.Generator().manual_seed(2)
    draws = [torch.randn(25, 25, generator=generator, dtype=DTYPE) for _ in range(2)]
    matrices = [draw @ draw.T for draw in draws]
    start = torch.zeros(25, dtype=DTYPE)
    one, other = (Point(quadratic(matrix, start)) for matrix in matrices)
    spans = [torch.linalg.eigh(matrix)[1][:, -10:] for matrix in matrices]
    other.objective.__dict__["identity"] = {**one.objective.identity}  # their losses are two functions
    found = measure_pair(one, other, "overlap")
    assert found.value == pytest.approx(float((spans[0].T @ spans[1]).square().sum() / 10), rel=1e-6)
    assert "4.0e-01" in found.note


# ---- subsets


def test_subsets_are_disjoint_of_one_size_and_the_same_for_all():
    one, other = small("mlp", samples=62).objective, small("cnn", samples=62).objective
    first, second = disjoint(one, 4), disjoint(other, 4)
    assert [part.num_samples for part in first] == [15] * 4
    rows = torch.cat([part.samples.blocks[0][0].flatten(1) for part in first])
    assert len(torch.unique(rows, dim=0)) == 60
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.samples.blocks[0][0], b.samples.blocks[0][0])
        assert torch.equal(a.params, one.params)
    assert not torch.equal(disjoint(one, 4, seed=1)[0].samples.blocks[0][0], first[0].samples.blocks[0][0])
    whole = Objective("mlp", "cross_entropy", "digits", samples=60, dtype=DTYPE)
    assert np.mean([part.value() for part in disjoint(whole, 4)]) == pytest.approx(whole.value(), rel=1e-12)


def test_subsets_keep_the_policy_of_batch_norm():
    given = Objective("mlp", "cross_entropy", "digits", samples=99, dtype=DTYPE)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    one = Objective(model, "cross_entropy", given.samples, dtype=DTYPE, bn="batch", bn_batch=16)
    parts = disjoint(one, 3)
    assert [part.num_samples for part in parts] == [32] * 3  # 33 would leave a batch of one
    assert all(part.bn == "batch" and part.chunk == 16 for part in parts)
    assert math.isfinite(parts[0].value())


def test_subsets_that_cannot_be_cut_are_refused():
    one = small("mlp", samples=6).objective
    with pytest.raises(UsageError, match="2 disjoint subsets at least"):
        disjoint(one, 1)
    with pytest.raises(InputError, match="make no 4 subsets"):
        disjoint(one, 4)
    batches = [
        (torch.zeros(2, 64), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(2, 8, 8), torch.zeros(2, dtype=torch.long)),
    ]
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(InputError, match="can be joined"):
        disjoint(Objective(flat, "cross_entropy", batches), 2)


def test_points_of_subsets_have_probes_of_their_own(digits):
    parts = list(points_of(digits, 3))
    assert [part.seed for part in parts] == [1, 2, 3]
    assert [part.objective.num_samples for part in parts] == [50] * 3
    assert all(part.test is not None and part.start is digits.start for part in parts)
    losses = [measure_point(part, "train-loss").value for part in parts]
    assert np.mean(losses) == pytest.approx(measure_point(digits, "train-loss").value, rel=1e-9)
    assert measure_point(parts[1], "param-norm") == measure_point(digits, "param-norm")
    assert not POINTS["param-norm"].of_samples


def test_the_curvature_along_the_gradient_is_that_of_the_matrix():
    matrix = torch.tensor([[2.0, 0.5], [0.5, -0.25]], dtype=DTYPE)
    at = torch.tensor([1.0, 2.0], dtype=DTYPE)
    gradient = matrix @ at
    expected = float(gradient @ matrix @ gradient / (gradient @ gradient))
    assert Point(quadratic(matrix, at)).curvature_along() == pytest.approx(expected, rel=1e-9)
    assert math.isnan(Point(quadratic(matrix, torch.zeros(2, dtype=DTYPE))).curvature_along())
