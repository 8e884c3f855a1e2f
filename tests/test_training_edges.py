"""The edges of training: budgets and stops in odd places, data and models of odd kinds, files of earlier runs."""

import json
import math

import numpy as np
import pytest
import torch
from landscape_cli.main import run

from landscape import Recipe, load_checkpoint, load_data, train
from landscape.data import samples_of
from landscape.errors import InputError, NumericalError, Stopped, UsageError
from landscape.losses import resolve_loss
from landscape.recipe import Position, Schedule
from landscape.store import Store, verify
from landscape.studies import runfiles, runs
from landscape.studies.sweep import Grid, sweep
from landscape.training import Diverged, TrainingWatch
from landscape.training.batches import Batches
from landscape.training.update import Update

DIGITS = load_data("digits")
TINY = {"model_args": {"widths": [6]}, "train_samples": 200, "batch_size": 50}
ODD = """
import torch
from torch import nn

x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
y = (x[:, 0] > 0).long()


def plain():
    return x, y


def regression():
    return {"train": (x, x[:, :1].clone()), "test": (x[:20], x[:20, :1].clone())}


def nan_test():
    spoiled = x.clone()
    spoiled[0] = float("nan")
    return {"train": (x, y), "test": (spoiled, y)}


def dicts():
    return [{"inputs": x, "labels": y}]


def of_batch(model, batch):
    return nn.functional.cross_entropy(model(batch["inputs"]), batch["labels"])


def linear(out=2, flag=None):
    return nn.Linear(4, out)


def normed():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def frozen():
    return nn.Linear(4, 2).requires_grad_(False)


class Stiff(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs.view(32, 4) if self.training else inputs)


def stiff():
    return Stiff(4, 2)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.py").write_text(ODD)
    return tmp_path


def refused(capsys, code, text):
    """The one line on stderr of a command that ends with `code`."""
    capsys.readouterr()
    assert run(text.split()) == code, capsys.readouterr().err
    (line,) = capsys.readouterr().err.splitlines()
    return line


# -- budgets, and going on


@pytest.mark.parametrize(
    "budget",
    [
        {"epochs": 2, "regime_adaptation": True, "base_batch_size": 10},
        {"epochs": 0.3},
        {"samples": 130},
        {"epochs": 3},
    ],
)
def test_what_is_within_its_budget_goes_on_and_what_is_beyond_does_not(here, budget):
    recipe, path = Recipe(**TINY, **budget), here / "a.safetensors"
    answers = iter([False, True])
    with pytest.raises(Stopped):
        runs.run(recipe, path, stop=lambda: next(answers))
    first = runs.run(recipe, path, resume=True)
    assert runs.run(recipe, path, resume=True)["updates"] == first["updates"]
    shorter = Recipe(**TINY, **{k: v for k, v in budget.items() if k not in ("epochs", "samples")}, updates=1)
    with pytest.raises(InputError, match="beyond this budget"):
        runs.run(shorter, path, resume=True)


@pytest.mark.parametrize("stop", [30, 45])
def test_a_stop_between_two_epochs_is_saved(here, stop):
    """Batches of all samples: every stop falls there."""
    recipe, path = Recipe(**(TINY | {"batch_size": "full"}), epochs=60), here / "a.safetensors"
    asked = iter(range(1000))
    with pytest.raises(Stopped, match=f"after {stop} updates"):
        runs.run(recipe, path, stop=lambda: next(asked) == stop)
    state = torch.load(here / "a.state", weights_only=True)["state"]
    assert state["updates"] == stop


@pytest.mark.parametrize("short", [{"epochs": 1.5}, {"updates": 5}, {"epochs": 3}])
@pytest.mark.parametrize("kept", [{"average": "swa", "average_from": 1}, {"patience": 9}, {"average": "ema"}])
def test_a_longer_run_is_one_that_was_never_short(here, short, kept):
    """The last measurement of the short one is none of the long one's."""
    fields = TINY | kept | {"evaluate_every": 2}
    runs.run(Recipe(**fields, **short), here / "a.safetensors")
    runs.run(Recipe(**fields, epochs=6), here / "a.safetensors", resume=True)
    runs.run(Recipe(**fields, epochs=6), here / "b.safetensors")
    a, b = (load_checkpoint(here / f"{name}.safetensors").tensors for name in "ab")
    assert all(torch.equal(a[key], b[key]) for key in b)


@pytest.mark.parametrize("kept", [{"average": "swa"}, {"patience": 9, "monitor": "train_loss"}, {"average": "ema"}, {}])
@pytest.mark.parametrize("budget", [{"epochs": 1.5}, {"updates": 5}, {"epochs": 3}])
def test_resuming_what_has_ended_changes_nothing(here, budget, kept):
    recipe, path = Recipe(**TINY, **budget, **kept, evaluate_every=2), here / "a.safetensors"
    runs.run(recipe, path)
    before = load_checkpoint(path), runfiles.read_log(path)
    runs.run(recipe, path, resume=True)
    after = load_checkpoint(path), runfiles.read_log(path)
    assert all(torch.equal(before[0].tensors[key], after[0].tensors[key]) for key in before[0].tensors)
    assert before[1].kept == after[1].kept
    np.testing.assert_array_equal(before[1].train_loss, after[1].train_loss)


def test_the_last_finite_point_survives_a_stop_between_measurements():
    """Saved after an epoch that is not measured, gone on with, diverged: the point is still that of the measurement."""
    recipe = Recipe(**TINY, epochs=8, evaluate_every=4, schedule="step", milestones=(2,), decay=(1e30,))
    saved, asked = [], iter(range(1000))
    with pytest.raises(Stopped):
        train(recipe, DIGITS, watch=TrainingWatch(save=saved.append, due=lambda: False, stop=lambda: next(asked) == 12))
    with pytest.raises(Diverged) as caught:
        train(recipe, DIGITS, state=saved[-1])
    assert caught.value.trained.log.kept["updates"] == 0
    assert all(torch.isfinite(tensor).all() for tensor in caught.value.trained.tensors.values())


def test_resume_after_a_divergence_without_a_state_begins_anew(here, capsys):
    text = "train --train-samples 100 --model-arg widths=[4] --lr 1e300 --epochs 1 --out a.safetensors"
    assert run(text.split()) == 4
    assert run([*text.split(), "--resume"]) == 4
    assert run(text.replace("1e300", "0.1").split() + ["--overwrite"]) == 0
    (here / "a.state").unlink()
    assert "--overwrite starts again" in refused(capsys, 3, text.replace("1e300", "0.1") + " --resume")


def test_the_trajectory_of_an_earlier_run_is_removed(here):
    recipe = Recipe(**TINY, epochs=4)
    runs.run(recipe, here / "a.safetensors", extras=runs.Extras(save_every=1))
    assert len(list((here / "a.trajectory").iterdir())) == 5
    runs.run(Recipe(**TINY, epochs=1), here / "a.safetensors", overwrite=True, extras=runs.Extras(save_every=1))
    assert sorted(path.stem for path in (here / "a.trajectory").iterdir()) == ["00000000", "00000004"]


def test_a_log_of_updates_with_a_gap_keeps_what_follows_it(here):
    path = here / "a.safetensors"
    for epochs, each in ((1, True), (2, False), (3, True)):
        extras = runs.Extras(each_update=each)
        runs.run(Recipe(**TINY, epochs=epochs), path, resume=True, extras=extras)
    log = next(entry.result for entry in runfiles.entries(path) if entry.name == "updates")
    assert list(log.update) == [9, 10, 11, 12]
    assert verify(here / "a.run.h5") == []


def test_tracked_measures_and_snapshots_keep_their_own_spacing(here):
    from landscape.studies.tracking import tracking

    recipe = Recipe(**TINY, epochs=6, evaluate_every=4)
    extras = runs.Extras(save_every=3, tracking=(tracking("eigen", recipe, 30, 2),))
    runs.run(recipe, here / "a.safetensors", extras=extras)
    found = {entry.name: entry.result for entry in runfiles.entries(here / "a.safetensors")}
    assert list(found["tracked"].epoch) == [0, 2, 4, 6]
    assert list(found["training"].epoch) == [0, 4, 6]
    assert [path.stem for path in sorted((here / "a.trajectory").iterdir())] == ["00000000", "00000012", "00000024"]


@pytest.mark.parametrize("name", ["a.state", "a.run.h5", "a.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_training(here, capsys, name):
    (here / name).mkdir()
    refused(capsys, 3, "train --train-samples 100 --epochs 1 --out a.safetensors --overwrite")


# -- kinds of data and models


@pytest.mark.parametrize(
    "text",
    [
        "--data odd.py:plain --model odd.py:linear",
        "--data odd.py:regression --model odd.py:linear --model-arg out=1 --loss mse --monitor test_accuracy",
        "--data odd.py:dicts --model odd.py:linear --loss odd.py:of_batch --monitor train_accuracy",
        "--data odd.py:nan_test --model odd.py:linear",
    ],
)
def test_patience_with_a_measure_that_the_data_do_not_have_is_refused(here, capsys, text):
    assert "name a --monitor" in refused(capsys, 3, f"train {text} --patience 2 --epochs 4")


def test_an_average_is_normalised_whatever_the_batches_were(here):
    """Batches of one sample, of ghosts with one left over, of dicts."""
    spatial = {"model": "cnn", "model_args": {"channels": [3], "width": 6, "norm": "batch"}, "train_samples": 65}
    for fields in ({"batch_size": 1}, {"batch_size": 64, "ghost_batch": 32}):
        found = train(Recipe(**spatial, **fields, updates=1, average="ema", average_decay=0.0, lr=0.01), DIGITS)
        plain = train(Recipe(**spatial, updates=1), DIGITS)
        assert not torch.equal(found.tensors["1.running_var"], torch.ones(3))
        assert found.log.kept["train_loss"] < 1.5 * plain.log.train_loss[0]
    text = "train --data odd.py:dicts --model odd.py:normed --loss odd.py:of_batch --average ema --epochs 2"
    assert run(text.split()) == 0


def test_the_average_of_batch_norms_uses_all_samples():
    """With decay 0 the average is the last point; its statistics are those of all samples."""
    recipe = Recipe(
        model_args={"widths": [6], "norm": "batch"}, train_samples=100, batch_size="full", updates=2,
        average="ema", average_decay=0.0, dtype="float64",
    )  # fmt: skip
    found = train(recipe, DIGITS)
    inputs = DIGITS.train.first(100).blocks[0][0].double().flatten(1)
    hidden = inputs @ found.tensors["1.weight"].T + found.tensors["1.bias"]
    torch.testing.assert_close(found.tensors["2.running_mean"], hidden.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.tensors["2.running_var"], hidden.var(0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--data odd.py:plain --model odd.py:frozen", "no params to train"),
        ("--data odd.py:plain --model odd.py:stiff --batch-size 32", "cannot be trained on"),
        ("--data odd.py:dicts --model odd.py:linear --loss odd.py:of_batch --flip", "augmentation needs"),
        ("--model mlp --model-arg norm=batch --ghost-batch 1", "--ghost-batch"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(here, capsys, text, message):
    assert message in refused(capsys, 3, f"train {text} --epochs 1")


def test_micro_batches_are_as_equal_as_may_be():
    batches = Batches(Recipe(epochs=1), samples_of((torch.arange(29.0)[:, None], torch.zeros(29))), torch.Generator())
    pieces = batches.pieces(batches.take(29), 8)
    assert sorted(len(piece[0]) for piece in pieces) == [3, 3, 3, 4, 4, 4, 4, 4]
    assert len(batches.pieces(pieces[0], 8)) == len(pieces[0][0])


def gradient_of(data, **fields):
    x, y = data
    model = torch.nn.Linear(4, 3).double()
    torch.nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(model.bias)
    recipe = Recipe(epochs=1, dtype="float64", **fields)
    batches = Batches(recipe, samples_of(data), torch.Generator().manual_seed(4))
    return Update(recipe, model, resolve_loss("cross_entropy"), batches)._gradient((x, y)).parts


def test_a_batch_that_weighs_nothing_moves_nothing():
    x = torch.randn(6, 4, dtype=torch.float64)
    for pieces in (1, 2):
        parts = gradient_of((x, torch.full((6,), -100)), accumulate=pieces)
        assert all(torch.equal(part, torch.zeros_like(part)) for part in parts)


def test_multiplicative_noise_does_not_depend_on_how_a_batch_is_cut():
    data = torch.randn(10, 4, dtype=torch.float64), torch.arange(10) % 3
    one, other = (gradient_of(data, accumulate=k, multiplicative_noise=0.7)[0] for k in (1, 3))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


# -- schedules at their edges


@pytest.mark.parametrize("size", [16, 800, 1000, 1437])
def test_the_arm_of_equal_updates_takes_its_steps_at_the_same_updates(size):
    recipe = Recipe(epochs=60, batch_size=16, schedule="step", milestones=(30, 50), warmup=10, warmup_lr=0.05)
    grid = Grid(recipe=recipe, batch_sizes=(size,), budget="updates")
    (planned,) = grid.runs(1437)
    schedule = Schedule(planned.recipe, 1437)
    rates = [schedule.rate(Position(i * 7, i)) for i in range(5400)]
    falls = [i for i in range(1, 5400) if rates[i] < rates[i - 1]]
    assert falls == [2700, 4500]
    assert schedule.spent(Position(0, 5400))


def test_growth_beyond_all_samples_falls_to_the_rate():
    fields = {"batch_size": 100, "schedule": "step", "milestones": (1, 2), "epochs": 3, "lr": 0.1}
    grow = Schedule(Recipe(**fields, batch_schedule="grow", max_batch_size=5000), 1437)
    steps = Schedule(Recipe(**fields), 1437)
    for epoch in (0, 1, 2):
        at = Position(epoch * 1437, 1)
        assert grow.rate(at) / grow.batch_size(at) == pytest.approx(steps.rate(at) / 100, rel=1e-9)
    assert grow.batch_size(Position(2 * 1437, 1)) == 1437


def test_a_base_batch_size_beyond_all_samples_is_all_samples():
    found = Schedule(Recipe(epochs=1, batch_size=9000, base_batch_size=5000, scale_lr="linear", lr=0.05), 1437)
    assert found.peak == 0.05


def test_cosine_begins_at_its_top_after_a_warm_up_of_short_passes():
    recipe = Recipe(updates=40, batch_size=1000, schedule="cosine", warmup=5, warmup_lr=0.0, lr=1.0)
    schedule = Schedule(recipe, 1437)  # two updates a pass
    assert schedule.rate(Position(5 * 1437, 10)) == pytest.approx(1.0)
    assert schedule.rate(Position(20 * 1437, 40)) == pytest.approx(0.0, abs=1e-15)


# -- sweeps


def test_a_sweep_over_data_without_a_test_split_has_no_test_accuracy(here, capsys):
    text = "sweep --batch-sizes 10,20 --data odd.py:plain --model odd.py:linear --epochs 1 --out grid"
    assert run(text.split()) == 0
    assert run([*text.split(), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["test_accuracy"] for row in shown["runs"]] == [None, None]


@pytest.mark.parametrize("more", ["--lr 1e300", "--shard 9/9"])
def test_a_sweep_without_a_finished_run_still_prints_its_table(here, capsys, more):
    text = f"sweep --batch-sizes 50,full --train-samples 100 --model-arg widths=[4] --epochs 1 --out grid {more}"
    assert run(text.split()) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_sizes_that_hold_all_samples_alike_are_refused(here, capsys):
    text = "sweep --batch-sizes 64,2000,full --train-samples 100 --epochs 1 --out grid"
    assert "give full once" in refused(capsys, 3, text)


def test_another_grid_in_the_same_folder_takes_the_place_of_the_old_one(here):
    base = Recipe(**TINY, epochs=1)
    sweep(Grid(recipe=base, batch_sizes=(50, 100)), here / "grid")
    sweep(Grid(recipe=base, batch_sizes=(50, 100, 200)), here / "grid")
    (entry,) = Store(here / "grid" / "sweep.h5").find(kind="sweep")
    assert list(entry.result.batch_size) == [200, 100, 50]
    assert not list((here / "grid").glob(".sweep.*.h5*"))


def test_a_sweep_takes_rule_and_seed_of_its_recipe(here, capsys):
    (here / "r.toml").write_text('scale_lr = "sqrt"\nbase_batch_size = 25\nseed = 7\nepochs = 1\ntrain_samples = 100\n')
    text = "sweep --recipe r.toml --batch-sizes 25,100 --model-arg widths=[4] --out grid --json"
    assert run(text.split()) == 0
    labels = {row["label"] for row in json.loads(capsys.readouterr().out)["runs"]}
    assert labels == {"b25-sqrt-s7", "b100-sqrt-s7"}


def test_too_many_seeds_are_refused(here, capsys):
    refused(capsys, 2, "sweep --batch-sizes 8 --seeds 0:1000000000000 --out grid")


# -- recipes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('optimizer = ["sgd"]', "optimizer must be text"),
        ("[model_args]\nx = 2020-01-01", "model_args must hold text"),
        ("[data_args]\nx = nan", "data_args must hold text"),
        (f"lr = {10**400}", "finite"),
        ("milestones = 3", "a list of numbers"),
        ("batch_size = true", "a whole number or full"),
    ],
)
def test_values_of_other_kinds_are_refused(here, capsys, text, message):
    (here / "r.toml").write_text(text)
    line = refused(capsys, 3, "train --recipe r.toml")
    assert message in line
    assert "r.toml" in line


def test_a_flag_that_is_wrong_is_wrong_usage_whatever_the_file_says(here, capsys):
    (here / "r.toml").write_text("epochs = 1\n")
    assert "r.toml" not in refused(capsys, 2, "train --recipe r.toml --momentum 2")


@pytest.mark.parametrize(
    "wrong",
    [
        {"average": "swa", "average_from": 9},
        {"bf16": True, "dtype": "float64"},
        {"compile": True, "ghost_batch": 8},
        {"lr": math.inf},
        {"model_args": {"x": np.float32(1)}},
    ],
)
def test_what_would_silently_do_nothing_is_refused(wrong):
    with pytest.raises(UsageError):
        Recipe(**({"epochs": 2} | wrong))


def test_divergence_is_told_where_nothing_is_stored():
    with pytest.raises(NumericalError, match="lower --lr"):
        train(Recipe(**(TINY | {"lr": 1e300}), epochs=1), DIGITS)
