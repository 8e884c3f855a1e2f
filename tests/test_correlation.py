"""Correlations of measures with generalisation: the statistics against their definitions, the study, the command."""

import itertools
import json
import math
import shutil
from dataclasses import fields, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import safetensors.torch
import scipy.stats
import torch
from kinds import correlation
from landscape_cli.main import run

from landscape import draw as drawing
from landscape import load_checkpoint
from landscape.checkpoint import save_checkpoint
from landscape.comparing.table import POINTS
from landscape.correlation import axes_of, correlations, granulated, numbered, rank_correlation
from landscape.errors import InputError, NumericalError, Stopped, UsageError
from landscape.recipe import Recipe
from landscape.results import Correlation, Status
from landscape.results.correlation import DIVERGED, DONE, TODO
from landscape.resume import points
from landscape.store import Entry, Store
from landscape.store.schema import content
from landscape.studies import correlate as studied
from landscape.studies import runs as training
from landscape.studies.correlate import correlate, measures_of
from landscape.studies.correlated import files_of, grid_of, runs_of
from landscape.studies.correlation_figures import correlation_figures
from landscape.studies.keeping import Keeper
from landscape.studies.measured import Request, measured

RNG = np.random.default_rng


# -- tau and its interval -------------------------------------------------------------------------------------------


def tau_b(x, y):
    """Kendall (1945), pair by pair."""
    concordant = discordant = only_x = only_y = 0
    for (a, b), (c, d) in itertools.combinations(zip(x, y, strict=True), 2):
        concordant += (a - c) * (b - d) > 0
        discordant += (a - c) * (b - d) < 0
        only_x += a == c and b != d
        only_y += b == d and a != c
    both = concordant + discordant
    return (concordant - discordant) / math.sqrt((both + only_x) * (both + only_y))


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_that_of_all_pairs_ties_included(seed):
    x, y = RNG(seed).integers(0, 5, size=(2, 15)).astype(float)
    found = rank_correlation(x, y, np.arange(15))
    assert found.tau == pytest.approx(tau_b(x, y), abs=1e-12)
    assert rank_correlation(-x, y, np.arange(15)).tau == pytest.approx(-found.tau, abs=1e-12)
    assert rank_correlation(np.exp(x), y, np.arange(15)) == found  # ranks alone
    assert found.low < found.tau < found.high


# Settings, seeds of each, correlation of two normal variables: tau is then 2/pi asin(rho) (Greiner 1909).
COVERED = [(20, 1, 0.0), (20, 1, 0.6), (40, 1, 0.9), (30, 1, -0.5), (8, 3, 0.5), (12, 3, 0.8)]


def draws(chance, settings, seeds, rho, share=0.7):
    """Two normal variables at runs of which those of one setting share 70 % of their variance."""
    covariance = [[1, rho], [rho, 1]]
    common = chance.multivariate_normal([0, 0], covariance, settings)
    if seeds == 1:
        return common.T
    own = chance.multivariate_normal([0, 0], covariance, (settings, seeds))
    return (math.sqrt(share) * common[:, None] + math.sqrt(1 - share) * own).reshape(-1, 2).T


@pytest.mark.parametrize(("settings", "seeds", "rho"), COVERED)
def test_the_interval_covers_the_truth_as_often_as_it_says(settings, seeds, rho):
    chance, truth, number = RNG(settings + seeds), 2 / math.pi * math.asin(rho), 300
    setting, covered = np.repeat(np.arange(settings), seeds), 0
    for _ in range(number):
        found = rank_correlation(*draws(chance, settings, seeds, rho), setting)
        covered += found.low <= truth <= found.high
    # a share of 95 % of 300 is known to 2.5 % by two standard errors
    assert 0.92 <= covered / number <= 0.99


def test_seeds_taken_for_settings_would_promise_too_much():
    """What the settings are for: the same draws with each run on its own are covered too seldom."""
    chance, truth, covered = RNG(0), 2 / math.pi * math.asin(0.5), 0
    for _ in range(200):
        found = rank_correlation(*draws(chance, 10, 5, 0.5, share=0.9), np.arange(50))
        covered += found.low <= truth <= found.high
    assert covered / 200 < 0.85


@pytest.mark.parametrize("sign", [1, -1])
def test_runs_that_all_agree_leave_the_bound_of_disjoint_pairs(sign):
    x = np.arange(12.0)
    found = rank_correlation(x, sign * x**3, np.arange(12))
    low = 2 * 0.025 ** (1 / 6) - 1  # six disjoint pairs in one order: p^6 >= 2.5 %
    assert found.tau == sign
    assert (found.low, found.high) == pytest.approx((low, 1) if sign > 0 else (-1, -low))


def test_that_bound_holds_where_agreement_is_no_wonder():
    chance, rho, missed = RNG(3), 0.97, 0
    truth = 2 / math.pi * math.asin(rho)
    for _ in range(400):
        found = rank_correlation(*draws(chance, 6, 1, rho), np.arange(6))
        missed += not found.low <= truth <= found.high
    assert missed / 400 <= 0.05


def test_what_has_no_tau_or_no_interval_says_why():
    x = np.arange(8.0)
    few = rank_correlation(x[:2], x[:2], np.arange(2))
    assert (math.isnan(few.tau), "2 runs" in few.reason) == (True, True)
    assert "measure has one value" in rank_correlation(0 * x, x, np.arange(8)).reason
    assert "target has one value" in rank_correlation(x, 0 * x, np.arange(8)).reason
    four = rank_correlation(x, x[::-1] ** 2, np.arange(8) // 2)
    assert (four.tau, math.isnan(four.low), "4 settings" in four.reason) == (-1, True, True)
    lone = np.array([0.0, 0, 0, 0, 0, 1])
    assert "without one of the settings" in rank_correlation(lone, RNG(0).normal(size=6), np.arange(6)).reason


# -- the granulated coefficient ---------------------------------------------------------------------------------------


def of_the_definition(values, targets, grid, axis):
    """psi_i of Jiang et al. 2020 over a full grid: an axis of the arrays each hyper-parameter, the last of seeds."""

    def tau(m, g):
        size, total = len(m), 0
        for i, j in itertools.permutations(range(size), 2):
            total += np.sign(m[i] - m[j]) * np.sign(g[i] - g[j])
        return total / (size * (size - 1))

    others = [range(size) for place, size in enumerate(grid) if place != axis]
    lines = []
    for rest in itertools.product(*others):
        place = (*rest[:axis], slice(None), *rest[axis:])
        lines.append(tau(values[place], targets[place]))
    return np.mean(lines)


@pytest.mark.parametrize("seed", range(3))
def test_psi_is_that_of_the_definition_over_a_grid(seed):
    grid = (3, 2, 4, 2)  # batch sizes, rates, widths, seeds
    values, targets = RNG(seed).integers(0, 6, size=(2, *grid)).astype(float)
    places = np.array(list(np.ndindex(grid)))
    shuffled = RNG(seed).permutation(len(places))
    axes = {name: places[shuffled, axis] for axis, name in enumerate(("b", "lr", "width"))}
    psi, mean = granulated(values.ravel()[shuffled], targets.ravel()[shuffled], axes, places[shuffled, 3])
    expected = [of_the_definition(values, targets, grid, axis) for axis in range(3)]
    assert psi == pytest.approx(expected)
    assert mean == pytest.approx(np.mean(expected))


def test_psi_sees_through_a_measure_that_follows_one_hyperparameter():
    """The paper's reason for it: both follow the width, so that tau is high; of the batch size nothing is known."""
    width, batch = (column.ravel() for column in np.meshgrid(np.arange(8), np.arange(2), indexing="ij"))
    measure, target = width + 0.1 * batch, width - 0.1 * batch
    psi, mean = granulated(measure, target, {"batch": batch, "width": width}, np.zeros(16))
    assert psi.tolist() == [-1, 1]
    assert mean == 0
    assert rank_correlation(measure, target, np.arange(16)).tau > 0.8
    assert granulated(target, target, {"batch": batch, "width": width}, np.zeros(16))[1] == 1
    assert granulated(-target, target, {"batch": batch, "width": width}, np.zeros(16))[1] == -1


def test_runs_that_are_missing_leave_their_groups_and_other_seeds_are_no_pairs():
    batch, rate = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 0, 0])
    seed = np.array([0, 0, 0, 0, 1, 2])  # of the last two each is alone in its group
    measure, target = np.array([0.0, 1, 5, 4, 9, 2]), np.array([0.0, 1, 4, 5, 1, 8])
    psi, mean = granulated(measure, target, {"batch": batch, "rate": rate}, seed)
    assert psi.tolist() == [0, 1]  # +1 and -1; rate: 5 > 0 with 4 > 0, 4 > 1 with 5 > 1
    assert mean == 0.5
    psi, mean = granulated(measure[4:], target[4:], {"batch": batch[4:]}, seed[4:])
    assert math.isnan(psi[0])
    assert math.isnan(mean)


def test_axes_are_what_varies_and_what_varies_together_is_one():
    recipes = [
        {"lr": 0.1, "batch_size": 16, "momentum": 0.9, "width": [8], "updates": 90},
        {"lr": 0.1, "batch_size": "full", "momentum": 0.9, "width": [8], "updates": 10},
        {"lr": 0.2, "batch_size": 16, "momentum": 0.9, "width": [8], "updates": 90, "depth": 2},
    ]
    assert axes_of(recipes) == {
        "batch_size & updates": ("16 & 90", "full & 10", "16 & 90"),
        "lr & depth": ("0.1 & None", "0.1 & None", "0.2 & 2"),
    }
    assert axes_of(recipes[:1] * 3) == {}
    assert numbered(("a", "b", "a"), (1, 1, 2)).tolist() == [0, 1, 2]


def test_measures_without_a_value_at_some_runs_are_held_against_the_others():
    chance = RNG(1)
    values, gap, accuracy = chance.normal(size=(3, 20))
    holes = values.copy()
    holes[[3, 7]] = np.nan
    kept = np.isfinite(holes)
    setting, axes = np.arange(20), {"lr": [str(i) for i in range(20)]}
    targets = {"gap": gap, "test-accuracy": accuracy}
    found = correlations({"a": holes, "none": values * np.nan}, targets, setting, axes, [0] * 20)
    alone = rank_correlation(values[kept], gap[kept], setting[kept])
    assert (found["tau"][0, 0], found["low"][0, 0], found["high"][0, 0]) == (alone.tau, alone.low, alone.high)
    assert found["num_runs"].tolist() == [18, 0]
    assert found["psi"][0, 1, 0] == pytest.approx(scipy.stats.kendalltau(values[kept], accuracy[kept]).statistic)
    assert np.isnan(found["tau"][1]).all()
    assert "0 runs have a value" in found["reasons"]["none"]["gap"]


def test_gaps_that_tie_are_not_ordered_by_rounding():
    """All gaps are .1; as differences of two accuracies they are three different numbers."""
    train = np.array([0.9, 0.7, 0.8, 1.0, 0.6])
    test, values = np.array([0.8, 0.6, 0.7, 0.9, 0.5]), np.arange(5.0)
    assert len(set(train - test)) > 1
    targets = {"gap": train - test, "test-accuracy": test}
    found = correlations({"a": values}, targets, np.arange(5), {"lr": "abcde"}, [0] * 5)
    assert math.isnan(found["tau"][0, 0])
    assert "target has one value" in found["reasons"]["a"]["gap"]
    assert found["psi"][0, 0, 0] == 0
    assert found["tau"][0, 1] == pytest.approx(scipy.stats.kendalltau(values, test).statistic)
    shown = dict.fromkeys(("train_accuracy", "test_accuracy"), np.array([0.0, 0.0, 0.0]))
    stored = table(**(shown | {"train_accuracy": train[:3], "test_accuracy": test[:3]}))
    assert len(set(stored.gap)) == len(set(stored.target("gap"))) == 1


def test_where_no_two_runs_differ_in_one_hyperparameter_alone_there_is_no_psi_with_a_reason():
    values, gap = np.arange(6.0), RNG(0).normal(size=6)
    targets, setting = {"gap": gap, "test-accuracy": -gap}, np.arange(6) // 3
    axes, seeds = {"batch_size": ["16"] * 3 + ["64"] * 3}, [0, 1, 2, 3, 4, 2]
    found = correlations({"a": values}, targets, setting, axes, [0, 1, 2, 3, 4, 5])
    assert (found["psi"], found["granulated"]) == (None, None)
    assert "no two runs of one seed" in found["reasons"]["granulated"]
    holes = np.where(np.arange(6) == 5, np.nan, values)
    found = correlations({"a": values, "b": holes, "c": values * np.nan}, targets, setting, axes, seeds)
    assert np.isfinite(found["granulated"][0]).all()
    assert np.isnan(found["granulated"][1:]).all()
    assert "no two runs of one seed" in found["reasons"]["b"]["granulated"]
    assert "granulated" not in {**found["reasons"], **found["reasons"]["a"], **found["reasons"]["c"]}


# -- the result -------------------------------------------------------------------------------------------------------


def table(**changed):
    """A result in which nothing is wrong."""
    values = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 2.0]])
    half = np.full((2, 2), 0.5)
    given = {f.name: getattr(correlation(), f.name) for f in fields(Correlation)} | {
        "run_status": np.ones(3, dtype=np.uint8), "value": values, "num_runs": np.array([3, 2]),
        "tau": half, "low": half - 0.1, "high": half + 0.1, "granulated": half, "psi": np.full((2, 2, 2), 0.5),
    }  # fmt: skip
    return Correlation(**(given | changed))


def test_a_result_that_contradicts_itself_says_so():
    assert table().problems() == []
    begun = {"run_status": np.array([1, 1, 0], dtype=np.uint8), "status": Status.STOPPED}
    blank = dict.fromkeys(("tau", "low", "high", "granulated"), np.full((2, 2), np.nan))
    assert table(**begun, **blank, value=table().value * np.array([1, 1, np.nan])).problems() == []
    for changed, told in (
        ({"names": ("a", "b")}, "not equally many"),
        ({"units": ("1",)}, "not equally many"),
        ({"hyperparameters": {"lr": [1, 2]}}, "not equally many"),
        ({"tau": np.full((2, 3), 0.5)}, "not equally many"),
        ({"psi": None}, "psi and Psi"),
        ({"status": Status.STOPPED}, "0 runs are to do"),
        ({"run_status": np.array([1, 1, DIVERGED], dtype=np.uint8)}, "not measured have values"),
        ({"num_runs": np.array([3, 3])}, "not as many as said"),
        ({"high": np.full((2, 2), 0.4)}, "outside its interval"),
        ({"tau": np.full((2, 2), 1.5), "high": np.full((2, 2), 2.0)}, "outside -1 to 1"),
        ({"tau": np.full((2, 2), np.nan)}, "of no correlation"),
        ({"status": Status.NOT_RESOLVED}, "which the intervals do not say"),
    ):
        assert told in " ".join(table(**changed).problems()), changed


# -- the study --------------------------------------------------------------------------------------------------------

BASE = {"model_args": {"widths": [8]}, "train_samples": 150, "epochs": 3}
QUICK = ["train-loss", "param-norm", "distance", "sam"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of three batch sizes, two rates and two seeds; another architecture and a run on other data beside them."""
    folder = tmp_path_factory.mktemp("correlation")
    for size, lr, seed in itertools.product((15, 50, "full"), (0.02, 0.1), (0, 1)):
        recipe = Recipe(**BASE, batch_size=size, lr=lr, seed=seed)
        training.run(recipe, folder / "runs" / f"b{size}-lr{lr}-s{seed}.safetensors")
    wide = Recipe(**(BASE | {"model_args": {"widths": [12]}}), batch_size=50, lr=0.02)
    training.run(wide, folder / "wide.safetensors")
    training.run(Recipe(**{**BASE, "train_samples": 80}, batch_size=20), folder / "other.safetensors")
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """The current folder, with a copy of them."""
    shutil.copytree(trained, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


REQUEST = Request(dtype="float64", split="both")
PATTERN = "runs/*.safetensors"


def studied_at(patterns, measures=QUICK, keeper=None, request=REQUEST, **options):
    runs = runs_of(files_of(patterns), request)
    return correlate(runs, request, (keeper or Keeper(None, [])).obtain, measures, **options)[0]


def test_a_study_measures_each_checkpoint_and_holds_it_against_generalisation(here):
    found = studied_at([PATTERN])
    assert found.problems() == []
    assert (found.status, len(found.names)) == (Status.COMPLETE, 12)
    assert (found.run_status == DONE).all()
    assert list(found.hyperparameters) == ["batch_size", "lr"]
    assert set(found.hyperparameters["batch_size"]) == {"15", "50", "full"}
    assert len(set(found.setting)) == 6
    for i, path in enumerate(sorted(Path("runs").glob("*.safetensors"))):
        checkpoint = load_checkpoint(path)
        assert found.names[i] == path.stem
        assert found.seed[i] == checkpoint.recipe.seed
        assert found.train_accuracy[i] == pytest.approx(checkpoint.metadata["train_accuracy"], abs=1e-6)
        assert found.test_accuracy[i] == pytest.approx(checkpoint.metadata["test_accuracy"], abs=1e-6)
        assert found.value[0, i] == pytest.approx(checkpoint.metadata["train_loss"], rel=1e-5)
        norm = math.sqrt(sum(float(t.double().square().sum()) for t in checkpoint.tensors.values()))
        assert found.value[1, i] == pytest.approx(norm, rel=1e-9)
        assert found.value[2, i] == pytest.approx(checkpoint.metadata["distance"], rel=1e-5)
    for t, target in enumerate((np.round(found.train_accuracy - found.test_accuracy, 9), found.test_accuracy)):
        for m in range(len(QUICK)):
            assert found.tau[m, t] == pytest.approx(scipy.stats.kendalltau(found.value[m], target).statistic)
    assert (found.num_settings == 6).all()
    assert np.isfinite(found.low).all()
    assert np.isfinite(found.psi).all()


def test_measures_take_so_many_samples_and_accuracies_all(here):
    whole, part = studied_at([PATTERN]), studied_at([PATTERN], request=replace(REQUEST, samples=40))
    assert (whole.num_samples, part.num_samples) == (150, 40)
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(part, name))
    minimum = measured(Request(dtype="float64", samples=40), [f"runs/{part.names[0]}.safetensors"])[0]
    assert part.value[0, 0] == pytest.approx(minimum.objective.value(), rel=1e-12)


@pytest.mark.parametrize("ending", ["asked", "killed"])
def test_a_study_that_was_cut_goes_on_to_the_same_bits(here, monkeypatch, ending):
    monkeypatch.setattr(points, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(points, "SAVE_SHARE", 0.0)
    measured_at, compute = [], studied.measure_point

    def cut(point, name):
        if len(measured_at) == 5 * len(QUICK) and ending == "killed":
            raise KeyboardInterrupt
        measured_at.append(name)
        return compute(point, name)

    with monkeypatch.context() as patch:
        patch.setattr(studied, "measure_point", cut)
        keeper, stop = Keeper(Store("r.h5"), []), lambda: len(measured_at) >= 5 * len(QUICK)
        runs = runs_of(files_of([PATTERN]), REQUEST)
        with pytest.raises((Stopped, KeyboardInterrupt)):
            correlate(
                runs, REQUEST, lambda *a, **k: keeper.obtain(*a, **k, stop=stop if ending == "asked" else None), QUICK
            )
    (left,) = Store("r.h5").entries()
    assert left.result.status is Status.STOPPED
    assert (left.result.run_status == DONE).sum() == 5
    assert (left.result.run_status == TODO).sum() == left.result.missing == 7
    assert np.isnan(left.result.tau).all()
    with pytest.raises(InputError, match="--resume"):
        studied_at([PATTERN], keeper=keeper)
    again, seen = [], []
    monkeypatch.setattr(studied, "measure_point", lambda point, name: again.append(name) or compute(point, name))
    found = studied_at([PATTERN], keeper=Keeper(Store("r.h5"), [], resume=True), progress=seen.append)
    assert len(again) == 7 * len(QUICK)
    assert seen[-1] == 12
    assert content(found) == content(studied_at([PATTERN]))
    assert [entry.result.status for entry in Store("r.h5").entries()] == [Status.COMPLETE]


def test_runs_that_diverged_and_measures_that_fail_are_left_out_with_their_reason(here, monkeypatch):
    names = sorted(Path("runs").glob("*.safetensors"))
    spoilt = safetensors.torch.load_file(names[0])
    spoilt["1.weight"][0, 0] = math.nan
    checkpoint = load_checkpoint(names[0])
    save_checkpoint(names[0], spoilt, checkpoint.recipe, checkpoint.metadata)
    other = load_checkpoint(names[1])
    save_checkpoint(names[1], other.tensors, other.recipe, dict(other.metadata or {}) | {"status": "non-finite"})
    names[2].with_suffix(".run.h5").unlink()
    found = studied_at([PATTERN], measures=["train-loss", "distance"])
    assert found.problems() == []
    assert found.run_status.tolist() == [DIVERGED, DIVERGED, *[DONE] * 10]
    assert found.num_runs.tolist() == [10, 9]
    assert "not finite" in found.notes["run"][names[0].stem]
    assert found.notes["run"][names[1].stem] == "the run diverged"
    assert found.notes["distance"] == {names[2].stem: "the start of training is not known"}
    for name in names[3:]:
        name.unlink()
    with pytest.raises(NumericalError, match="2 of 3 runs diverged"):
        studied_at([PATTERN])


@pytest.fixture
def mixed(here):
    """The pattern of runs of which the first has no batch norm and the others have."""
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def plain():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "def normed():\n    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))\n"
    )
    for seed, name in enumerate(("plain", "normed", "normed")):
        recipe = Recipe(**(BASE | {"model_args": {}}), model=f"{here}/nets.py:{name}", batch_size=50, seed=seed)
        training.run(recipe, Path(f"mixed/{seed}.safetensors"))
    return ["mixed/*.safetensors"]


def test_other_batch_statistics_are_another_study_whatever_the_first_network_has(mixed):
    keeper = Keeper(Store("r.h5"), [])
    asked = replace(REQUEST, trust_recipe=True)
    values = []
    for request in (asked, replace(asked, bn="batch", bn_batch=50), replace(asked, bn="batch", bn_batch=75)):
        found = studied_at(mixed, measures=["train-loss"], keeper=keeper, request=request)
        assert found.value[0].tolist() == studied_at(mixed, measures=["train-loss"], request=request).value[0].tolist()
        assert len(found.settings["model"]) == 2
        values.append(found.value[0])
    assert values[0][0] == values[1][0] == values[2][0]
    assert len({value[1] for value in values}) == 3
    assert len(Store("r.h5").entries()) == 3


def test_the_start_of_training_identifies_a_study_that_asks_for_it(here):
    logs = sorted(Path("runs").glob("*.run.h5"))
    Path("away").mkdir()
    for log in logs:
        log.rename(Path("away") / log.name)
    keeper, names = Keeper(Store("r.h5"), []), ["param-norm", "distance"]
    without = studied_at([PATTERN], names, keeper)
    plain = studied_at([PATTERN], names[:1], keeper)
    assert np.isnan(without.value[1]).all()
    for log in logs:
        (Path("away") / log.name).rename(log)
    assert np.isfinite(studied_at([PATTERN], names, keeper).value[1]).all()
    assert studied_at([PATTERN], names[:1], keeper).settings == plain.settings
    assert len(Store("r.h5").entries()) == 3


def test_a_loss_that_is_not_finite_counts_as_diverged(here):
    path = sorted(Path("runs").glob("*.safetensors"))[0]
    checkpoint = load_checkpoint(path)
    huge = {name: tensor * 1e30 for name, tensor in checkpoint.tensors.items()}
    save_checkpoint(path, huge, checkpoint.recipe, checkpoint.metadata)
    found = studied_at([PATTERN], request=replace(REQUEST, dtype="float32"), measures=["train-loss"])
    assert found.run_status.tolist() == [DIVERGED, *[DONE] * 11]
    assert found.notes["run"][path.stem]
    assert found.num_runs.tolist() == [11]


def test_without_recipes_there_is_tau_but_no_psi(here):
    for path in Path("runs").glob("*.safetensors"):
        checkpoint = load_checkpoint(path)
        torch.save(dict(checkpoint.tensors), path.with_suffix(".pt"))
    request = replace(REQUEST, model="mlp", model_args={"widths": [8]}, data="digits")
    found = studied_at(["runs/*.pt"], measures=["train-loss"], request=request)
    assert found.problems() == []
    assert found.psi is found.granulated is None
    assert "no recipe" in found.reasons["granulated"]
    assert (found.seed == -1).all()
    assert len(set(found.setting)) == 12
    assert found.hyperparameters == {}
    one = [*sorted(map(str, Path("runs").glob("*.safetensors")))[:5], sorted(map(str, Path("runs").glob("*.pt")))[0]]
    mixed = grid_of(runs_of([Path(name) for name in one], request))
    assert "no recipe" in mixed.reason
    assert mixed.setting.tolist() == [0, 0, 1, 1, 2, 3]


def test_architectures_may_differ_and_are_a_hyperparameter(here):
    found = studied_at([PATTERN, "wide.safetensors"], measures=["param-norm", "distance"])
    assert found.problems() == []
    assert set(found.hyperparameters["model_args.widths"]) == {"[8]", "[12]"}
    assert np.isfinite(found.value).all()


def test_seeds_alone_leave_no_interval_and_no_psi(here):
    for seed in (2, 3):
        recipe = Recipe(**BASE, batch_size=50, lr=0.02, seed=seed)
        training.run(recipe, Path(f"runs/b50-lr0.02-s{seed}.safetensors"))
    found = studied_at(["runs/b50-lr0.02-*.safetensors"], measures=["train-loss", "param-norm"])
    assert found.problems() == []
    assert found.status is Status.NOT_RESOLVED
    assert np.isfinite(found.tau).any()
    assert "seeds" in found.reasons["granulated"]
    assert "1 settings" in found.reasons["param-norm"]["gap"]


def test_what_does_not_go_together_is_refused(here):
    with pytest.raises(InputError, match="different data"):
        studied_at([PATTERN, "other.safetensors"])
    shutil.copy("wide.safetensors", "runs/copy.safetensors")
    with pytest.raises(InputError, match="hold the same"):
        studied_at([PATTERN, "wide.safetensors"])
    Path("plain.py").write_text("import torch\ndef data():\n    return torch.zeros(30, 64), torch.arange(30) % 10\n")
    Path("runs/copy.safetensors").unlink()
    with pytest.raises(InputError, match="test split"):
        studied_at([PATTERN], request=replace(REQUEST, split=None, data="plain.py:data"))


def test_files_are_those_of_paths_and_patterns_each_once(here):
    files = files_of([PATTERN, "runs/b15-lr0.1-s0.safetensors", "./runs/../wide.safetensors"])
    assert len(files) == 13
    assert files == sorted(files)
    Path("runs/b[1].safetensors").write_bytes(b"")
    assert Path("runs/b[1].safetensors") in files_of(["runs/b[1].safetensors", PATTERN])
    for given, told in ((["none*.pt"], "names no file"), (["wide*.safetensors"], "got 1"), (["runs"], "is a folder")):
        with pytest.raises(InputError, match=told):
            files_of(given)


def test_measures_are_those_of_the_train_samples_at_one_minimum():
    quick, standard, full = (measures_of(None, preset) for preset in ("quick", "standard", "full"))
    assert set(quick) < set(standard) < set(full)
    assert not {"gap", "test-accuracy", "test-loss"} & set(full)
    assert measures_of(["sam", "distance"]) == ("distance", "sam")
    assert measures_of(["train-loss", " sam", ""]) == ("train-loss", "sam")
    for names in (["gap"], ["barrier"], ["nope"], []):
        with pytest.raises(UsageError):
            measures_of(names)


# -- the command ------------------------------------------------------------------------------------------------------


def ran(capsys, text, code=0):
    capsys.readouterr()
    assert run(text.split()) == code
    return capsys.readouterr()


def test_the_command_prints_a_table_or_rows_and_draws_them(here, capsys):
    text = f"correlate {PATTERN} --measures {','.join(QUICK)} --out r.h5"
    shown = ran(capsys, text).out
    head, *lines = shown.splitlines()
    assert head.split("  ")[0] == "measure"
    assert [line.split()[0] for line in lines[: len(QUICK)]] == QUICK
    assert all(line.split()[-1] == "12" for line in lines[: len(QUICK)])
    assert "6 settings of 12 checkpoints; measures on 150 samples" in shown
    assert "batch_size, lr" in shown
    assert "nothing of causes" in shown
    again = ran(capsys, f"{text} --json")
    assert "found in r.h5" in again.err
    value = json.loads(again.out)
    (entry,) = Store("r.h5").entries()
    assert [row["measure"] for row in value["rows"]] == QUICK
    row = value["rows"][2]
    assert set(row) >= {"measure", "unit", "scaling", "num_runs", "num_settings", "gap", "test_accuracy", "reasons"}
    assert row["gap"]["tau"] == entry.result.tau[2, 0]
    assert row["gap"]["granulated"] == entry.result.granulated[2, 0]
    assert row["test_accuracy"]["psi"] == dict(zip(["batch_size", "lr"], entry.result.psi[2, 1], strict=True))
    ran(capsys, "figure r.h5 --out drawn")
    assert {path.stem for path in Path("drawn").iterdir()} == {"correlation-gap", "correlation-test-accuracy"}
    assert "12 checkpoints, tau with the gap: train-loss" in ran(capsys, "show r.h5").out


def test_the_footer_counts_what_was_measured(here, capsys):
    for path in Path("runs").glob("b15-lr0.02-*.safetensors"):
        found = load_checkpoint(path)
        save_checkpoint(path, found.tensors, found.recipe, dict(found.metadata or {}) | {"status": "non-finite"})
    shown = ran(capsys, f"correlate {PATTERN} --measures train-loss").out
    assert "5 settings of 10 checkpoints, 2 more diverged; measures on 150 samples" in shown


def test_psi_is_explained_by_the_axes_that_have_one(here, capsys):
    lone = "runs/b15-lr0.1-s0.safetensors runs/b50-lr0.1-s1.safetensors"
    shown = ran(capsys, f"correlate {lone} runs/bfull-lr0.02-s0.safetensors --measures train-loss").out
    assert "no Psi: no two runs of one seed that have a value differ in one hyper-parameter alone" in shown
    assert "Psi: mean" not in shown
    assert "Psi" not in shown.splitlines()[0]
    both = "runs/b15-lr0.1-s0.safetensors runs/b50-lr0.1-s0.safetensors"
    shown = ran(capsys, f"correlate {both} runs/bfull-lr0.02-s1.safetensors --measures train-loss").out
    assert "Psi: mean of tau over batch_size, one of them varied at a time" in shown


def test_too_few_settings_are_told_and_no_failure(here, capsys):
    done = ran(capsys, "correlate runs/b15-*.safetensors --measures train-loss,param-norm")
    assert "all: not resolved: 2 settings" in done.out
    assert "not resolved" in done.err
    assert "[" not in done.out.splitlines()[1]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("correlate", 2),
        ("correlate runs/b15-lr0.1-s0.safetensors", 2),
        (f"correlate {PATTERN} --measures gap", 2),
        (f"correlate {PATTERN} --split train", 2),
        (f"correlate {PATTERN} --resume", 2),
        ("correlate none-*.safetensors", 3),
        ("correlate wide*.safetensors", 3),
        ("correlate runs/*.safetensors other.safetensors", 3),
    ],
)
def test_what_cannot_be_correlated_ends_in_one_line(here, capsys, text, code):
    done = ran(capsys, text, code)
    assert (done.out, len(done.err.splitlines())) == ("", 1), done.err


# -- the figure -------------------------------------------------------------------------------------------------------


def test_panels_show_each_run_that_has_a_value_in_its_colour_with_tau_above():
    found = table(value=np.array([[1.0, 2.0, 3.0], [1.0, np.nan, 20.0]]), train_accuracy=np.array([0.9, 0.95, 1.0]),
                  test_accuracy=np.array([0.8, 0.9, 0.7]))  # fmt: skip
    with drawing.style():
        figure, panels = plt.subplots(1, 3)
        drawing.draw_correlation(found, "test-accuracy", list(panels))
        points = [np.vstack([dots.get_offsets() for dots in panel.collections]) for panel in panels[:2]]
        for drawn, expected in zip(points, ([(1, 80), (2, 90), (3, 70)], [(1, 80), (20, 70)]), strict=True):
            np.testing.assert_allclose(sorted(map(tuple, drawn)), expected)
        colours = {dots.get_facecolors()[0].tobytes() for dots in panels[1].collections if dots.get_offsets().size}
        assert len(colours) == 2  # batch sizes 16 and 64
        assert not panels[2].axison
        assert panels[0].get_title() == r"$\tau$ = 0.50 [0.40, 0.60]"
        assert (panels[0].get_xscale(), panels[0].get_ylabel()) == ("log", "test accuracy (%)")
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["batch size 16", "batch size 64", "lr 0.1", "lr not known", "lr 0.2"]
        figure.canvas.draw()
        plt.close(figure)


def test_labels_of_many_panels_do_not_meet():
    """At the size in which they are drawn, with the names and units of all measures."""
    names = measures_of(None, "full")
    filled = {name: np.full((len(names), 2), -0.5) for name in ("tau", "low", "high")}
    values = np.array([[1e-3, 2.0, 30.0]] * len(names))
    units = tuple(POINTS[name].unit for name in names)
    found = table(measures=names, units=units, scaling=units, value=values, **filled)
    with drawing.style():
        figures = list(correlation_figures([Entry("study", "correlation", "", found, {}, {}, 0)]))
        assert [name for name, _ in figures] == ["correlation-gap", "correlation-test-accuracy"]
        for _, figure in figures:
            figure.canvas.draw()
            boxes = [legend.get_window_extent() for legend in figure.legends]
            for panel in figure.axes:
                words = [panel.title, panel.xaxis.label, panel.yaxis.label]
                boxes += [word.get_window_extent() for word in words if word.get_text() and panel.axison]
            assert all(figure.bbox.containsx(x) for box in boxes for x in (box.x0, box.x1))
            assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
