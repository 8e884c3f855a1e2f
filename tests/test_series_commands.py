"""Series of sharpness by command, and sharpness tracked along training."""

import json

import numpy as np
import pytest
import torch
from landscape_cli.main import run
from series_runs import COMMON, series_runs

from landscape import Objective, Recipe, build_model, keskar, load_data
from landscape.data.corruption import changed
from landscape.errors import NumericalError
from landscape.sharpness import measure
from landscape.studies.tracking import tracking
from landscape.training import TrainingWatch, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return series_runs(tmp_path_factory.mktemp("trained"))


# -- along training


def test_sharpness_is_tracked_in_float64_and_changes_nothing():
    recipe = Recipe(**COMMON, batch_size=20, epochs=2)
    splits = load_data("digits")
    found = train(recipe, splits, watch=TrainingWatch(tracking=(tracking("sharpness", recipe, 150, 1),)))
    plain = train(recipe, splits)
    assert all(torch.equal(tensor, plain.tensors[name]) for name, tensor in found.tensors.items())
    (tracked,) = found.tracked
    assert tracked.columns == ("sharpness", "loss", "adaptive")
    train_split = changed(splits, train_samples=200).train.first(150)
    model = build_model("mlp", {"widths": [8]}, splits, 0)
    objective = Objective(model, "cross_entropy", train_split, dtype="float64").at(found.tensors)
    expected = [keskar(objective).value, objective.value(), measure(objective, "sam-adaptive").value]
    assert tracked.values[-1].tolist() == expected


def test_a_measure_that_is_not_finite_ends_no_run(monkeypatch):
    def failing(objective, name):
        raise NumericalError("the loss is inf within the bounds")

    monkeypatch.setattr("landscape.studies.tracking.measure", failing)
    recipe = Recipe(**COMMON, batch_size=100, epochs=1)
    watch = TrainingWatch(tracking=(tracking("sharpness", recipe, 50, 1),))
    (tracked,) = train(recipe, load_data("digits"), watch=watch).tracked
    assert np.isnan(tracked.column("sharpness")).all()
    assert np.isfinite(tracked.column("loss")).all()


# -- by command


def test_series_by_command(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    store = str(tmp_path / "r.h5")
    text = f"sharpness grid --against batch-size --measure keskar --measure sam --out {store}"
    assert run([*text.split(), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["status"], shown["label"]) == ("sharpness-series", "complete", None)
    assert [(found["label"], found["measure"]) for found in shown["results"]] == [
        (rule, name) for rule in ("none", "sqrt") for name in ("keskar", "sam")
    ]
    assert run(text.split()) == 0
    captured = capsys.readouterr()
    assert "b100-sqrt-s1" in captured.out
    assert "none: found in" in captured.err
    warm = ["warm0.safetensors", "warm1.safetensors", "--against", "warm-epochs", "--label", "late", "--json"]
    assert run(["sharpness", *warm, "--out", store]) == 0
    assert json.loads(capsys.readouterr().out)["warm_epochs"] == [0, 1]
    assert run(["sharpness", "small.safetensors", "--against", "epoch", "--out", store]) == 0
    assert run(["figure", store, "--out", str(tmp_path / "drawn")]) == 0
    names = {path.stem for path in (tmp_path / "drawn").iterdir()}
    series_of = {f"series-{name}-keskar" for name in ("batch-size", "warm-epochs", "epoch")}
    assert names == series_of | {"series-batch-size-sam"}
    capsys.readouterr()
    assert run(["show", store]) == 0
    assert "keskar against epoch: 3 checkpoints" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--against batch-size", 2),
        ("small.safetensors --against time", 2),
        ("small.safetensors --against epoch --control", 2),
        ("small.safetensors --against epoch --label a --label b", 2),
        ("gone --against batch-size", 3),
        ("small.trajectory --against batch-size", 3),
        ("warm1.safetensors --against epoch", 3),
        ("small.safetensors --against warm-epochs", 3),
        ("grid --against epoch", 2),
    ],
)
def test_senseless_series_end_a_command_in_one_line(trained, monkeypatch, capsys, arguments, code):
    monkeypatch.chdir(trained)
    assert run(["sharpness", *arguments.split()]) == code
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1), captured.err
