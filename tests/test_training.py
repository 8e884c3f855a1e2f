"""Training: what the recipe says happens, the log tells the truth, and going on is bit for bit."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Objective, Recipe, build_model, load_checkpoint, load_data, train
from landscape.checkpoint import fitted
from landscape.errors import InputError, NumericalError, Stopped, UsageError
from landscape.studies import runfiles, runs
from landscape.training import TrainingWatch

SMALL = {"model_args": {"widths": [16]}, "batch_size": 100, "lr": 0.1}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 1e-3},
        {"optimizer": "sgd", "nesterov": True},
        {"optimizer": "adam", "lr": 0.01, "weight_decay": 1e-3},
    ],
)
def test_updates_are_those_of_torch_on_the_same_batches(options):
    recipe = Recipe(**(SMALL | options), updates=20, dtype="float64", seed=3)
    splits = load_data("digits")
    found = train(recipe, splits)
    model = build_model("mlp", recipe.model_args, splits, 3).double()
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            model.parameters(),
            recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
    x, y = splits.train.blocks[0][0].double(), splits.train.blocks[0][1]
    generator = torch.Generator().manual_seed(3)
    updates = 0
    while updates < 20:
        for index in torch.randperm(len(x), generator=generator).split(100):
            if updates < 20:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[index]), y[index]).backward()
                optimizer.step()
                updates += 1
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(found.tensors[key], tensor, rtol=1e-9, atol=1e-11)


def test_the_log_is_the_objectives_own():
    splits = load_data("digits")
    found = train(Recipe(**SMALL, epochs=3, dtype="float64"), splits)
    model = build_model("mlp", SMALL["model_args"], splits, 0)
    start = Objective(model, "cross_entropy", splits, dtype=torch.float64)
    end = start.at(found.tensors)
    assert found.log.train_loss[0] == pytest.approx(start.value(), rel=1e-12)
    assert found.log.train_loss[-1] == pytest.approx(end.value(), rel=1e-12)
    assert found.log.train_accuracy[-1] == end.evaluate().accuracy
    assert found.log.distance[-1] == pytest.approx(float((end.params - start.params).norm()), rel=1e-12)
    assert list(found.log.updates) == [0, 15, 30, 45]
    assert list(found.log.epoch) == [0, 1, 2, 3]
    np.testing.assert_array_equal(found.log.initial_params, start.params.numpy())


def test_runs_of_one_seed_share_their_initial_point_whatever_the_batch():
    splits = load_data("digits")
    a, b = (train(Recipe(**(SMALL | {"batch_size": size}), updates=1), splits) for size in (16, 500))
    np.testing.assert_array_equal(a.log.initial_params, b.log.initial_params)


class WithDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Dropout(0.3))
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        return self.head(self.layers(x).relu())


@pytest.mark.parametrize("model", ["mlp", "test_training:WithDropout"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("updates", [7, 15, 38])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, model, optimizer, updates):
    args = SMALL["model_args"] if model == "mlp" else {}
    recipe = Recipe(model=model, model_args=args, batch_size=100, optimizer=optimizer, lr=0.01, epochs=4)
    runs.run(recipe, tmp_path / "whole.safetensors")
    calls = iter(range(1000))
    with pytest.raises(Stopped):
        runs.run(recipe, tmp_path / "parts.safetensors", stop=lambda: next(calls) == updates)
    assert not (tmp_path / "parts.safetensors").exists()
    runs.run(recipe, tmp_path / "parts.safetensors", resume=True)
    whole, parts = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert equal(dict(whole.tensors), dict(parts.tensors))
    logs = [runfiles.read_log(tmp_path / f"{name}.safetensors") for name in ("whole", "parts")]
    for name in ("updates", "train_loss", "test_loss", "distance"):
        np.testing.assert_array_equal(getattr(logs[0], name), getattr(logs[1], name))


def test_a_finished_run_goes_on_for_longer_as_if_never_stopped(tmp_path):
    short, long = (Recipe(**SMALL, epochs=n) for n in (2, 4))
    runs.run(short, tmp_path / "a.safetensors")
    runs.run(long, tmp_path / "a.safetensors", resume=True)
    runs.run(long, tmp_path / "b.safetensors")
    a, b = (load_checkpoint(tmp_path / f"{name}.safetensors").tensors for name in "ab")
    assert equal(dict(a), dict(b))


def test_another_recipe_does_not_resume_and_an_existing_checkpoint_is_not_replaced(tmp_path):
    recipe = Recipe(**SMALL, epochs=1)
    path = tmp_path / "a.safetensors"
    runs.run(recipe, path)
    with pytest.raises(InputError, match="lr differ"):
        runs.run(dataclasses.replace(recipe, lr=0.2), path, resume=True)
    with pytest.raises(InputError, match="exists"):
        runs.run(recipe, path)
    with pytest.raises(UsageError, match=r"\.safetensors"):
        runs.run(recipe, tmp_path / "a.pt")
    path.unlink()
    with pytest.raises(InputError, match=r"a\.state exists"):
        runs.run(recipe, path)
    (tmp_path / "a.state").write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged"):
        runs.run(recipe, path, resume=True)


def test_a_state_is_not_taken_up_under_other_conditions(tmp_path, monkeypatch):
    source = "import torch\ndata = (torch.ones({n}, 4), torch.arange({n}) % 3)\n"
    (tmp_path / "few.py").write_text(source.format(n=40))
    (tmp_path / "many.py").write_text(source.format(n=50))
    path = tmp_path / "a.safetensors"
    recipe = Recipe(data=f"{tmp_path}/few.py:data", model_args={"widths": [3]}, batch_size=7, epochs=2)
    runs.run(recipe, path)
    (tmp_path / "few.py").write_text(source.format(n=50))
    for name in [name for name in sys.modules if name.startswith("landscape_spec_")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match="begun with data"):
        runs.run(dataclasses.replace(recipe, epochs=3), path, resume=True)


def test_a_run_does_not_go_back_to_a_smaller_budget(tmp_path):
    path = tmp_path / "a.safetensors"
    runs.run(Recipe(**SMALL, epochs=3), path)
    with pytest.raises(InputError, match="beyond this budget"):
        runs.run(Recipe(**SMALL, epochs=1), path, resume=True)


def test_batch_norm_of_one_sample_is_refused_in_one_line():
    arguments = {"widths": [8], "norm": "batch"}
    with pytest.raises(InputError, match="batch of 1 samples"):
        train(Recipe(model_args=arguments, batch_size=4, epochs=1), load_data("digits"))


def test_divergence_is_an_error_that_keeps_the_last_good_checkpoint(tmp_path):
    """The rate rises a thousandfold after two epochs."""
    path = tmp_path / "a.safetensors"
    wild = {"schedule": "step", "milestones": (2,), "decay": (1e20,)}
    with pytest.raises(NumericalError, match=r"lower --lr; .*a\.safetensors is of update 30"):
        runs.run(Recipe(**SMALL, **wild, epochs=4), path)
    runs.run(Recipe(**SMALL, epochs=2), tmp_path / "good.safetensors")
    good, kept = load_checkpoint(tmp_path / "good.safetensors"), load_checkpoint(path)
    assert equal(dict(good.tensors), dict(kept.tensors))
    assert kept.metadata["status"] == "non-finite"
    assert runfiles.read_log(path).status == "non-finite"
    assert list(runfiles.read_log(path).updates) == [0, 15, 30]


def test_the_checkpoint_carries_its_recipe_and_needs_nothing_else(tmp_path):
    recipe = Recipe(**SMALL, epochs=1, seed=4)
    metrics = runs.run(recipe, tmp_path / "a.safetensors")
    for beside in ("a.state", "a.run.h5"):
        (tmp_path / beside).unlink()
    checkpoint = load_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.recipe == recipe
    assert checkpoint.metadata["updates"] == 15
    splits = load_data(recipe.data)
    model = build_model(recipe.model, recipe.model_args, splits, 0)
    objective = Objective(model, recipe.loss, splits).at(fitted(checkpoint, model))
    assert objective.value() == pytest.approx(metrics["train_loss"], rel=1e-6)


def test_the_callers_random_state_is_left_alone():
    before = torch.get_rng_state()
    train(Recipe(**SMALL, epochs=1), load_data("digits"), watch=TrainingWatch())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": None}, {"updates": 3}, {"lr": -1.0}, {"batch_size": 0}, {"optimizer": "lion"}, {"momentum": 1.0}],
)
def test_senseless_recipes_are_refused(wrong):
    with pytest.raises(UsageError):
        Recipe(**({"epochs": 1} | wrong))
