"""Series of sharpness by command, and sharpness tracked along training."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from landscape_cli.main import run
from series_runs import COMMON, series_runs

from landscape import Objective, Recipe, build_model, keskar, load_data
from landscape.data.corruption import changed
from landscape.draw import draw_series_along
from landscape.draw.sharpness import loss_label, measure_label
from landscape.draw.style import style
from landscape.errors import NumericalError
from landscape.sharpness import measure
from landscape.studies.keeping import Keeper
from landscape.studies.measured import Request
from landscape.studies.rows import plans
from landscape.studies.series import measure_series
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


def test_a_series_in_rows_is_in_order_and_exact_values_have_no_error(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    words = ["sharpness", "--samples", "50"]
    assert run([*words, "grid", "--against", "batch-size", "--measure", "sam"]) == 0
    rows = capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]
    assert "+-" not in rows[0]
    assert [row.split()[1] for row in rows[1:]] == ["20", "20", "100", "100"]
    noise = ["--measure", "average", "--repeats", "2"]
    assert run([*words, "small.safetensors", "--against", "epoch", *noise]) == 0
    assert "+-" in capsys.readouterr().out.splitlines()[1]


def test_definitions_that_differ_have_figures_and_words_of_their_own(trained, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(trained)
    store = str(tmp_path / "r.h5")
    every = ["sharpness", "warm0.safetensors", "warm1.safetensors", "--measure", "worst", "--samples", "60"]
    for more in ([], ["--norm", "inf"], ["--m", "20"], ["--normalize-logits"], ["--l2", "0.1"], ["--rho", "0.1"]):
        assert run([*every, *more, "--out", store]) == 0
    random = "sharpness small.safetensors --against epoch --space random --dimension 5 --repeats 2"
    assert run([*random.split(), "--out", store]) == 0
    assert run(["figure", store, "--out", str(tmp_path / "drawn")]) == 0
    names = {path.stem for path in (tmp_path / "drawn").glob("*.pdf")}
    assert names == {"sharpness-worst", *(f"sharpness-worst-{i}" for i in (2, 3, 4, 5)), "series-epoch-keskar"}
    capsys.readouterr()
    assert run(["show", store, "--label", "warm0"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "worst, rho 0.05: ",
        "worst, rho 0.001, norm inf: ",
        "worst, rho 0.05, batches of 20: ",
        "worst, rho 0.05, cross entropy of normalized logits: ",
        "worst, rho 0.05, penalty l2 = 0.1: ",
        "worst, rho 0.1: ",
    ):
        assert words in shown


def test_labels_of_axes_say_what_differs_and_fit():
    options = {"space": "random", "law": "uniform", "dimension": 100, "epsilon": 1e-3}
    settings = {"loss": "cross_entropy of normalized logits", "l2": 0.5}
    label = measure_label("keskar", "percent of 1 + loss", options, settings, radius=True)
    assert "uniform subspaces of 100" in label
    assert "penalty l2 = 0.5" in label
    assert all(len(line) <= 36 for line in label.splitlines())
    assert loss_label(settings) == "loss of normalized logits, penalty included"
    assert loss_label({"loss": "mse", "l2": 0.0}) == "loss"


def test_errors_of_a_series_are_bars_and_short_axes_have_numbers(trained, monkeypatch):
    monkeypatch.chdir(trained)
    (plan,) = plans(["small.safetensors"], "epoch")
    found, _ = measure_series(plan, Request(dtype="float64", samples=50), Keeper(None, []), "average", repeats=3)
    with style():
        figure, axes = plt.subplots()
        draw_series_along({"small": found}, axes)
        (bars,) = axes.containers
        figure.canvas.draw()
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [tick.get_window_extent() for tick in ticks if tick.get_text()]
            assert len(boxes) >= 2
            inside = [box for box in boxes if box.width]
            assert not any(a.overlaps(b) for i, a in enumerate(inside) for b in inside[:i])
        assert not any(tick.get_text() for tick in axes.get_xticklabels(minor=True))
    (segments,) = bars.lines[2]
    half = [(ends[1, 1] - ends[0, 1]) / 2 for ends in segments.get_segments()]
    np.testing.assert_allclose(half, found.stderr, rtol=1e-9)
