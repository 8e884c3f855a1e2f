"""The noise scale along a training run: its columns, that it changes nothing, batch norm, the log and its drawing."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from landscape_cli.main import run

from landscape import Objective, Recipe, build_model, load_data
from landscape.data.corruption import changed
from landscape.draw import draw, style
from landscape.draw.along import UNBOUNDED, draw_tracked_noise
from landscape.errors import NumericalError
from landscape.noise import gradient_noise
from landscape.results import Status, Tracked
from landscape.store import Store
from landscape.studies.tracking import NOISE, tracking
from landscape.training import TrainingWatch, train

COMMON = {"model_args": {"widths": [8]}, "train_samples": 200, "lr": 0.05}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_noise_is_tracked_and_changes_nothing():
    recipe = Recipe(**COMMON, batch_size=20, epochs=2)
    splits = load_data("digits")
    found = train(recipe, splits, watch=TrainingWatch(tracking=(tracking("noise", recipe, 150, 1),)))
    plain = train(recipe, splits)
    assert all(torch.equal(tensor, plain.tensors[name]) for name, tensor in found.tensors.items())
    (tracked,) = found.tracked
    assert tracked.columns == (*NOISE, "loss")
    assert tracked.epoch.tolist() == [0, 1, 2]
    samples = changed(splits, train_samples=200).train.first(150)
    objective = Objective(build_model("mlp", {"widths": [8]}, splits, 0), "cross_entropy", samples).at(found.tensors)
    expected = gradient_noise(objective)
    assert tracked.values[-1].tolist() == [getattr(expected, name) for name in tracked.columns]


def test_batch_norm_is_measured_by_its_stored_statistics(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef net():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))\n"
    )
    recipe = Recipe(model=f"{tmp_path}/net.py:net", train_samples=100, batch_size=20, epochs=1)
    splits = load_data("digits")
    found = train(recipe, splits, watch=TrainingWatch(tracking=(tracking("noise", recipe, 60, 1),)))
    samples = changed(splits, train_samples=100).train.first(60)
    objective = Objective(f"{tmp_path}/net.py:net", "cross_entropy", samples, bn="eval").at(found.tensors)
    noise = gradient_noise(objective)
    assert found.tracked[0].column("trace_covariance")[-1] == pytest.approx(noise.trace_covariance, rel=1e-5)


def test_a_gradient_that_is_not_finite_ends_no_run(monkeypatch):
    def failing(objective):
        raise NumericalError("a gradient is not finite")

    monkeypatch.setattr("landscape.studies.tracking.gradient_noise", failing)
    recipe = Recipe(**COMMON, batch_size=100, epochs=1)
    watch = TrainingWatch(tracking=(tracking("noise", recipe, 50, 1),))
    (tracked,) = train(recipe, load_data("digits"), watch=watch).tracked
    assert tracked.columns == (*NOISE, "loss")
    assert np.isnan(tracked.values).all()


def test_the_command_logs_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "train --train-samples 100 --model-arg widths=[4] --epochs 2 --track noise --track-samples 50"
    assert run([*text.split(), "--out", "a.safetensors"]) == 0
    (entry,) = Store("a.run.h5").find(kind="tracked")
    assert (entry.result.measure, len(entry.result.epoch)) == ("noise", 3)
    assert (entry.result.column("trace_covariance") > 0).all()


def tracked(scale, low, high):
    values = np.column_stack([scale, low, high, np.full(3, 2.0), [1.0, 0.5, -0.1], np.ones(3)])
    made = {"status": Status.COMPLETE, "settings": {}, "measure": "noise", "columns": (*NOISE, "loss")}
    return Tracked(**made, epoch=np.arange(3.0), updates=10 * np.arange(3.0), values=values)


def test_the_drawing_shows_intervals_and_where_they_have_no_end():
    nan = np.nan
    runs = {
        "a": tracked([2.0, 4.0, nan], [1.0, 3.0, 5.0], [3.0, nan, nan]),
        "b": tracked([2.0, 4.0, 8.0], [1.0, 3.0, 5.0], [3.0, 6.0, nan]),
    }
    with style():
        scale, moments = plt.subplots(1, 2)[1]
        draw_tracked_noise(runs, scale, moments)
        assert scale.get_yscale() == moments.get_yscale() == "log"
        lines = {line.get_label(): line for line in scale.get_lines()}
        assert lines["a"].get_ydata()[:2].tolist() == [2, 4]
        assert [lines[UNBOUNDED].get_xdata().tolist(), lines[UNBOUNDED].get_ydata().tolist()] == [[1, 2], [3, 5]]
        assert [text.get_text() for text in scale.get_legend().get_texts()].count(UNBOUNDED) == 1
        norm = moments.get_lines()[1].get_ydata()
        assert norm[:2].tolist() == [1, 0.5]
        assert np.isnan(norm[2])
        single = draw(runs["b"])
        assert single.get_ylabel() == "simple noise scale (samples)"
