"""Batch sizes: the arithmetic in closed form, the ladder and its ends, the noise scale, the command, the figure."""

import dataclasses
import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from landscape_cli.main import run
from torch import nn

from landscape import Objective
from landscape.batch_sizes import Moment, advice, knee, ladder, learning_rates, over_run, predicted
from landscape.data import samples_of
from landscape.draw import style
from landscape.draw.batch_size import draw_batch_sizes
from landscape.draw.style import WIDTH
from landscape.errors import InputError, NumericalError, ResourceError, UsageError
from landscape.recipe import Recipe
from landscape.results import Status
from landscape.store import Store
from landscape.studies.batch_sizes import Plan, batch_sizes, settings, update_of
from landscape.studies.throughput import Trainer, climb

SIZES = ladder(2048)


# -- arithmetic


@pytest.mark.parametrize(
    ("samples", "largest", "rungs"),
    [
        (1, None, [1]),
        (2, None, [1, 2]),
        (100, None, [1, 2, 4, 8, 16, 32, 64, 100]),
        (64, None, [1, 2, 4, 8, 16, 32, 64]),
        (100, 24, [1, 2, 4, 8, 16, 24]),
        (100, 1000, [1, 2, 4, 8, 16, 32, 64, 100]),
    ],
)
def test_the_ladder_doubles_up_to_the_end(samples, largest, rungs):
    assert ladder(samples, largest) == rungs


def test_predictions_are_the_hyperbola_of_the_two_costs():
    """(S / S_min - 1) (E / E_min - 1) = 1 at every B; samples = updates x B, in units of E_min / S_min = b."""
    found = predicted(SIZES, [100.0] * len(SIZES), 48.0)
    np.testing.assert_allclose((found.updates - 1) * (found.samples - 1), 1)
    np.testing.assert_allclose(found.updates * np.array(SIZES) / 48, found.samples)
    np.testing.assert_allclose(found.efficiency, 1 / found.samples)
    assert found.fastest == 1  # a constant throughput gains nothing by size
    assert found.efficient == 4  # 1 / (1 + 4/48) = .923, 1 / (1 + 8/48) = .857


def test_the_fastest_size_minimises_the_sum_of_two_overheads():
    """T(B) = T B / (B + K): the time is (1 + B/b)(1 + K/B), least at B = sqrt(b K)."""
    size = np.array(SIZES, dtype=float)
    found = predicted(SIZES, (1e5 * size / (size + 64)).tolist(), 1024.0)
    assert found.fastest == 256
    best = (1 + 256 / 1024) * (1 + 64 / 256)
    np.testing.assert_allclose(found.seconds, (1 + size / 1024) * (1 + 64 / size) / best)


def test_without_a_noise_scale_nothing_is_predicted():
    found = predicted([1, 2], [1.0, 2.0], None)
    assert np.isnan([found.efficiency, found.updates, found.samples, found.seconds]).all()
    assert (found.fastest, found.efficient) == (None, None)
    assert predicted([1, 2], [1.0, 2.0], 5.0).efficient is None  # even B = 1 loses a sixth


def test_rates_follow_their_rules():
    linear, root = learning_rates([16, 64, 256], 64, 0.1)
    np.testing.assert_allclose(linear, [0.025, 0.1, 0.4])
    np.testing.assert_allclose(root, [0.05, 0.1, 0.2])


@pytest.mark.parametrize("half", [4, 16, 64])
def test_the_knee_of_a_saturating_curve(half):
    """T B / (B + K): doubling gains 2 (B + K) / (2B + K) < 1.1 from B = 4.5 K on."""
    size = np.array(SIZES, dtype=float)
    assert knee(SIZES, (size / (size + half)).tolist()) == 8 * half


def test_the_knee_stands_through_noise():
    size = np.array(SIZES, dtype=float)
    generator = np.random.default_rng(0)
    curve = size / (size + 16)
    found = [knee(SIZES, (curve * np.exp(0.02 * generator.standard_normal(len(SIZES)))).tolist()) for _ in range(300)]
    assert np.mean([64 <= one <= 256 for one in found]) > 0.98
    curve[6] /= 3  # one size that a busy machine slowed down does not end the rise before it
    assert knee(SIZES, curve.tolist()) == 128
    assert knee(SIZES, (size**0.5).tolist()) == 2048  # a rise without an end
    assert knee(SIZES, (1 / size).tolist()) == 1
    assert knee([7], [1.0]) == 7


def test_the_noise_scale_of_a_run_is_the_mean_over_its_progress():
    """At B0 an update makes progress 1 / (1 + b/B0): of b = 10 and 30 with B0 = 10 that is 1/2 and 1/4."""
    moments = [Moment(1, 10.0, 8.0, 12.0, True), Moment(3, 30.0, 20.0, 60.0, True)]
    value, low, high = over_run(moments, 10)
    assert (value, low, high) == pytest.approx((50 / 3, 12, 28))
    assert over_run([moments[0], dataclasses.replace(moments[1], high=None)], 10)[2] is None
    # the whole run's samples over its updates' least number, summed by hand
    progress = np.array([1 / 2, 1 / 4])
    assert value == pytest.approx((progress * [10, 30]).sum() / progress.sum())


# -- measuring


class Limited(nn.Module):
    """A network that runs out of memory beyond a batch size."""

    def __init__(self, most, message=None):
        super().__init__()
        self.most, self.message = most, message
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, inputs):
        if self.training and len(inputs) > self.most:
            raise torch.OutOfMemoryError("planted") if self.message is None else RuntimeError(self.message)
        return self.layers(inputs)


def problem(model, count=50):
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(count, 4, generator=generator), torch.randint(0, 3, (count,), generator=generator)
    return Objective(model, "cross_entropy", data), samples_of(data)


RECIPE = Recipe(updates=1, batch_size=8, lr=0.1)
QUICK = Plan(noise="given", critical=20.0, seconds=1e-3)


def test_the_whole_ladder_is_climbed_and_the_model_stays(monkeypatch):
    """Batch norm takes no batch of one sample: that size is left out. The last one is all samples."""
    torch.manual_seed(0)
    model = Limited(10**9)
    objective, samples = problem(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    found = batch_sizes(objective, samples, RECIPE, QUICK)
    assert found.batch_size.tolist() == [2, 4, 8, 16, 32, 50]
    assert (found.stopped_by, found.status, found.train_samples) == ("data", Status.COMPLETE, 50)
    assert (found.samples_per_second > 0).all()
    assert (found.samples_per_second_low <= found.samples_per_second).all()
    assert (found.samples_per_second_high >= found.samples_per_second).all()
    assert (np.diff(found.peak_memory) >= 0).all()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert not found.problems()


@pytest.mark.parametrize("message", [None, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"])
def test_out_of_memory_ends_the_ladder_and_the_rest_stands(message):
    found = batch_sizes(*problem(Limited(20, message)), RECIPE, QUICK)
    assert found.batch_size.tolist() == [2, 4, 8, 16]
    assert found.stopped_by == "memory"
    assert found.fastest in found.batch_size


def test_memory_that_ends_in_a_later_round_takes_nothing_away():
    trainer = Trainer(*problem(Limited(10**9)), RECIPE)

    def progress(done):
        trainer.model.most = 20

    rungs, short = climb(trainer, ladder(50), seconds=1e-3, progress=progress)
    assert [rung.size for rung in rungs] == [2, 4, 8, 16, 32, 50]
    assert not short
    assert [len(rung.rates) == 1 for rung in rungs] == [False, False, False, False, True, True]


def test_sizes_are_timed_in_rounds_rising_and_falling():
    """Repeats of a size lie apart; a size of which one update is longer than its seconds has two."""
    trainer = Trainer(*problem(Limited(10**9)), RECIPE)
    seen = []
    trainer.clocked = lambda size, count: seen.append(size) or size / 10
    rungs, _ = climb(trainer, [2, 4, 8], seconds=0.5)
    assert [len(rung.rates) for rung in rungs] == [6, 6, 2]
    assert seen[-10:] == [4, 2, 2, 4, 4, 2, 2, 4, 4, 2]
    assert all(rung.rates == (10.0,) * len(rung.rates) for rung in rungs)


def test_bounds_of_the_ladder():
    objective, samples = problem(Limited(10**9))
    found = batch_sizes(objective, samples, RECIPE, dataclasses.replace(QUICK, max_batch_size=12))
    assert (found.batch_size.tolist(), found.stopped_by) == ([2, 4, 8, 12], "limit")
    whole = batch_sizes(objective, samples, RECIPE, QUICK)
    bound = int(whole.peak_memory[2])
    found = batch_sizes(objective, samples, RECIPE, dataclasses.replace(QUICK, memory=bound))
    assert (found.batch_size.tolist(), found.stopped_by) == ([2, 4, 8], "memory")
    with pytest.raises(ResourceError, match=r"B = 2, .* within --memory 10: it takes \d+ bytes; raise --memory"):
        batch_sizes(objective, samples, RECIPE, dataclasses.replace(QUICK, memory=10))
    with pytest.raises(ResourceError, match="out of memory; free some, or take a smaller network"):
        batch_sizes(*problem(Limited(1)), RECIPE, dataclasses.replace(QUICK, memory=10**9))


def test_a_bound_on_memory_that_is_not_known_is_refused(monkeypatch):
    monkeypatch.setattr(Trainer, "peak", lambda self, size: math.nan)
    assert np.isnan(batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, QUICK).peak_memory).all()
    with pytest.raises(InputError, match="--memory 10 cannot be held"):
        batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, dataclasses.replace(QUICK, memory=10))


def test_what_is_drawn_goes_on_from_call_to_call():
    """Dropout in two stretches of a run is that of one: the same params, and torch's own state stays."""
    model = Limited(10**9)

    def after(*stretches):
        torch.manual_seed(5)
        trainer = Trainer(*problem(model), RECIPE)
        for count in stretches:
            torch.rand(3)
            with trainer.training():
                trainer.updates(8, count, 0.1)
        return trainer.tensors()

    whole, parts = after(4), after(1, 3)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_what_would_not_fit_is_not_tried_on_the_cpu(monkeypatch):
    """There the system ends the process instead of raising."""
    from landscape import memory

    monkeypatch.setattr(memory, "free_bytes", lambda device: 3000)
    found = batch_sizes(*problem(Limited(10**9)), RECIPE, QUICK)
    assert found.stopped_by == "memory"
    assert 2 <= found.batch_size[-1] < 50


class Wasteful(nn.Linear):
    """Makes copies of its inputs, one after another, and keeps none."""

    def forward(self, inputs):
        for _ in range(20):
            inputs = inputs + 0
        return super().forward(inputs)


def test_peak_memory_is_that_of_what_lives_at_once():
    """In bytes, by hand up to the small change of the loss; what is dropped at once counts once."""
    data = torch.randn(64, 100), torch.randn(64, 50)
    objective = Objective(Wasteful(100, 50, bias=False), "mse", data)
    trainer = Trainer(objective, samples_of(data), Recipe(updates=1, momentum=0.0))
    weights, inputs, outputs = 4 * 100 * 50, 4 * 64 * 100, 4 * 64 * 50
    assert trainer.resident() == weights + inputs + outputs
    with trainer.training():
        trainer.updates(64, 1, 0.0)
        peak = trainer.peak(64)
    # the samples and a gathered batch of them, the last copy, params and their gradient, outputs
    least = 2 * (inputs + outputs) + inputs + 2 * weights + outputs
    assert least <= peak <= least + 2 * inputs


def test_a_model_that_cannot_be_trained_is_refused():
    class Broken(nn.Linear):
        def forward(self, inputs):
            if self.training:
                raise RuntimeError("no training")
            return super().forward(inputs)

    with pytest.raises(InputError, match="no training"):
        batch_sizes(*problem(Broken(4, 3)), RECIPE, QUICK)


# -- the noise scale


@dataclasses.dataclass(frozen=True)
class Estimated:
    """As much of an estimate as is used."""

    b_simple: float | None
    b_simple_low: float
    b_simple_high: float | None
    level: float = 0.95
    num_samples: int = 50
    route: str = "norms"


def test_a_busy_machine_is_told():
    found = batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, QUICK)
    steady = dataclasses.replace(
        found, samples_per_second_low=found.samples_per_second, samples_per_second_high=found.samples_per_second
    )
    assert "busy" not in advice(steady).split("This assumes")[0]
    shaken = dataclasses.replace(steady, samples_per_second_low=found.samples_per_second / 2)
    assert "the machine was busy" in advice(shaken)


def test_one_batch_size_alone_is_compared_with_nothing():
    found = batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, dataclasses.replace(QUICK, max_batch_size=1))
    assert found.batch_size.tolist() == [1]
    said = found.advice.split("This assumes")[0]
    assert "B = 1 alone was measured" in said
    assert "efficiency of 95%" in said  # 1 / (1 + 1/20)
    assert not {"Fastest", "rises", "Largest"} & set(said.split())


def test_an_interval_without_an_upper_end_is_said_to_have_none():
    plan = dataclasses.replace(QUICK, noise="checkpoint", critical=None)
    found = batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, plan, estimate=lambda _: Estimated(None, 30.0, None))
    assert "or more over the interval of b, which has no upper end" in found.advice


def test_an_unresolved_noise_scale_is_at_least_its_lower_end():
    plan = dataclasses.replace(QUICK, noise="checkpoint", critical=None)
    model = nn.Linear(4, 3)
    found = batch_sizes(*problem(model), RECIPE, plan, estimate=lambda _: Estimated(None, 30.0, None))
    assert (found.critical, found.critical_low, found.critical_high) == (30.0, 30.0, None)
    assert found.status == Status.NOT_RESOLVED
    assert "at least 30 samples" in found.advice
    assert found.noise["resolved"] is False
    nothing = batch_sizes(*problem(model), RECIPE, plan, estimate=lambda _: Estimated(None, 0.0, None))
    assert (nothing.critical, nothing.fastest, nothing.efficient) == (None, None, None)
    assert np.isnan(nothing.seconds).all()
    assert "nothing is predicted" in nothing.advice


def test_at_initialisation_batch_norm_gets_statistics_first():
    seen = []
    plan = dataclasses.replace(QUICK, noise="init", critical=None)
    model = Limited(10**9)
    objective, samples = problem(model)
    found = batch_sizes(
        objective, samples, RECIPE, plan, estimate=lambda where: seen.append(where) or Estimated(20.0, 10.0, 40.0)
    )
    assert found.noise["batch_norm"] == "statistics estimated over the samples"
    (where,) = seen
    assert torch.equal(where.params, objective.params)
    hidden = objective.samples.blocks[0][0] @ model.layers[0].weight.T + model.layers[0].bias
    torch.testing.assert_close(where.constants["layers.1.running_mean"], hidden.mean(0), rtol=0.1, atol=0.05)
    assert not objective.constants["layers.1.running_mean"].any()


def test_along_a_run_the_point_moves_and_moments_are_kept():
    seen = []
    plan = dataclasses.replace(QUICK, noise="run", critical=None, updates=16)

    def estimate(where):
        seen.append(where.value())
        return Estimated(8.0, 8.0, 8.0)

    objective, samples = problem(nn.Linear(4, 3))
    found = batch_sizes(objective, samples, RECIPE, plan, estimate=estimate)
    assert [row["update"] for row in found.noise["moments"]] == [2, 6, 10, 14]
    assert objective.value() > seen[0] > seen[-1]
    assert found.critical == pytest.approx(8)
    wild = dataclasses.replace(RECIPE, lr=1e38)
    with pytest.raises(NumericalError, match="lower --lr"):
        batch_sizes(objective, samples, wild, plan, estimate=estimate)


def test_the_update_is_the_recipes_unless_asked_otherwise():
    known = Recipe(updates=5, lr=0.4, batch_size=10, scale_lr="linear", base_batch_size=20, sam=0.1, nesterov=True)
    found = update_of(known, 1000)
    assert (found.lr, found.batch_size, found.sam, found.scale_lr) == (0.2, 10, 0.1, "none")
    other = update_of(known, 1000, optimizer="adam", batch_size=30)
    assert (other.lr, other.batch_size, other.nesterov) == (0.001, 30, False)
    assert update_of(dataclasses.replace(known, reduction="sum"), 1000).lr == pytest.approx(2)
    assert update_of(None, 40).batch_size == 40  # never more than there are


def test_settings_hold_what_identifies_the_result():
    objective, samples = problem(nn.Linear(4, 3))
    base = settings(objective, samples, RECIPE, QUICK)
    for recipe, plan in (
        (dataclasses.replace(RECIPE, lr=0.2), QUICK),
        (dataclasses.replace(RECIPE, sam=0.1), QUICK),
        (RECIPE, dataclasses.replace(QUICK, seconds=2.0)),
    ):
        assert settings(objective, samples, recipe, plan) != base
    assert settings(objective, samples, dataclasses.replace(RECIPE, epochs=7, updates=None), QUICK) == base
    assert settings(objective, samples, RECIPE, dataclasses.replace(QUICK, price_per_hour=2.0)) == base
    with pytest.raises(UsageError):
        Plan(noise="given")


# -- the command and the figure

SMALL = "batch-size --model mlp --model-arg widths=[4] --seconds 0.001 --samples 200"
KEYS = {"kind", "status", "label", "rows", "knee", "critical", "advice", "noise", "provenance"}
KEYS |= {"critical_low", "critical_high", "fastest", "cheapest", "efficient"}
ROW = {"batch_size", "samples_per_second", "peak_memory", "efficiency", "updates", "samples", "seconds", "cost"}
ROW |= {"learning_rate_linear", "learning_rate_sqrt"}


def printed(capsys, text):
    code = run(text.split())
    return code, *capsys.readouterr()


def test_the_command_measures_stores_and_finds(capsys, tmp_path):
    text = f"{SMALL} --max-batch-size 16 --price-per-hour 3.6 --out {tmp_path}/r.h5"
    code, out, _ = printed(capsys, f"{text} --json")
    shown = json.loads(out)
    assert code == 0
    assert set(shown) >= KEYS
    assert [row["batch_size"] for row in shown["rows"]] == [1, 2, 4, 8, 16]
    assert all(set(row) >= ROW for row in shown["rows"])
    assert shown["noise"]["from"] == "init"
    row = shown["rows"][2]
    assert row["efficiency"] == pytest.approx(1 / (1 + 4 / shown["critical"]))
    assert row["epoch_cost"] == pytest.approx(1437 / row["samples_per_second"] / 1000)
    assert min(row["seconds"] for row in shown["rows"]) == 1
    code, out, err = printed(capsys, f"{text} --json")
    assert "found in" in err
    assert json.loads(out)["rows"] == shown["rows"]
    dearer = text.replace("--price-per-hour 3.6", "--price-per-hour 7.2")
    code, out, err = printed(capsys, f"{dearer} --json")
    assert "found in" in err
    other = json.loads(out)
    assert other["price_per_hour"] == 7.2
    for one, two in zip(shown["rows"], other["rows"], strict=True):
        assert two["epoch_cost"] == pytest.approx(2 * one["epoch_cost"])
        assert two | {"epoch_cost": 0} == one | {"epoch_cost": 0}
    (entry,) = Store(f"{tmp_path}/r.h5").find(kind="batch-size")
    assert entry.result.price_per_hour == 7.2
    assert entry.manifest
    code, out, err = printed(capsys, f"{text} --overwrite")
    assert "found in" not in err
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["B", "samples/s", "+-"]
    assert [line.split()[0] for line in lines[1:6]] == ["1", "2", "4", "8", "16"]
    assert sum("fastest" in line for line in lines[1:6]) == 1
    assert "This assumes" in out


def test_the_command_takes_a_checkpoint_with_its_recipe(capsys, tmp_path):
    train = f"train --model-arg widths=[4] --epochs 1 --lr 0.02 --batch-size 50 --out {tmp_path}/net.safetensors"
    assert run(train.split()) == 0
    capsys.readouterr()
    text = f"batch-size {tmp_path}/net.safetensors --seconds 0.001 --samples 200 --max-batch-size 4 --json"
    shown = json.loads(printed(capsys, text)[1])
    assert (shown["label"], shown["noise"]["from"]) == ("net", "checkpoint")
    assert (shown["base_batch_size"], shown["base_learning_rate"]) == (50, 0.02)
    assert shown["rows"][0]["cost"] is None
    of_init = json.loads(printed(capsys, f"{text} --noise init")[1])
    assert of_init["provenance"]["inputs"] == {}
    of_run = json.loads(printed(capsys, f"{text} --noise run --updates 8")[1])
    assert [row["update"] for row in of_run["noise"]["moments"]] == [1, 3, 5, 7]
    given = json.loads(printed(capsys, f"{text} --critical 36.5")[1])
    assert (given["critical"], given["efficient"]) == (36.5, 4)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("--seconds 0", 2),
        ("--price-per-hour -1", 2),
        ("--max-batch-size 0", 2),
        ("--critical 0", 2),
        ("--critical 5 --noise run", 2),
        ("--noise checkpoint", 2),
        ("--noise run --updates 2", 2),
        ("--lr nan", 2),
        ("--memory lots", 2),
        ("--bn batch", 2),
        ("--samples 5000", 3),
        ("--memory 10", 5),
    ],
)
def test_the_command_refuses_in_one_line(capsys, more, code):
    found, _, err = printed(capsys, f"{SMALL} {more}")
    assert (found, len(err.splitlines())) == (code, 1)


def test_the_command_refuses_a_file_that_is_not_there(capsys, tmp_path):
    assert printed(capsys, f"batch-size {tmp_path}/none.safetensors")[0] == 3


def test_the_store_gives_back_what_it_was_given(tmp_path):
    found = batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, QUICK)
    store = Store(tmp_path / "r.h5")
    store.add("net", found, {"command": []})
    (entry,) = store.find(kind="batch-size")
    np.testing.assert_array_equal(entry.result.samples_per_second, found.samples_per_second)
    assert entry.result.advice == found.advice
    assert entry.result.noise == found.noise


@pytest.mark.parametrize("critical", [3.0, 20.0, 1e9, None])
def test_the_figure_has_three_panels_and_marks_the_best(critical):
    plan = dataclasses.replace(QUICK, noise="checkpoint", critical=None)
    estimated = Estimated(critical, critical or 0.0, None if critical == 1e9 else critical)
    found = batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, plan, estimate=lambda _: estimated)
    figure, axes = plt.subplots(1, 3)
    draw_batch_sizes({"net": found}, list(axes))
    figure.canvas.draw()
    sizes = axes[0].get_lines()[0].get_xdata().tolist()
    assert sizes == found.batch_size.tolist()
    marked = [line.get_xdata()[0] for line in axes[0].get_lines()[1:]]
    assert marked == [found.knee]
    assert axes[0].get_xlim()[1] < 8 * sizes[-1]
    if critical is None:
        assert "not known" in axes[2].texts[0].get_text()
    else:
        assert str(found.fastest) in axes[2].get_title()
        assert math.isclose(np.nanmin(axes[2].get_lines()[0].get_ydata()), 1)
    plt.close(figure)


def test_several_results_are_named_below_the_panels():
    """Beside no label of an axis, and without a word across the curves of those whose noise scale is known."""
    found = batch_sizes(*problem(nn.Linear(4, 3)), RECIPE, QUICK)
    unknown = dataclasses.replace(found, critical=None, critical_low=None, efficiency=found.efficiency * np.nan)
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.4))
        draw_batch_sizes({"a long name of a result": found, "and another one": unknown}, list(axes))
        figure.canvas.draw()
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a long name of a result", "and another one"]
        assert not any(legend.get_window_extent().overlaps(axis.get_tightbbox()) for axis in axes)
        assert not any(axis.texts for axis in axes)
