"""Other people's checkpoints in their usual shapes, and the user's own models, data and losses."""

import json
import os
import runpy
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from landscape_cli.main import run
from torch import nn
from torch.nn import functional

from landscape import Objective, build_model, load_checkpoint, load_data
from landscape.checkpoint import fitted, save_checkpoint
from landscape.errors import InputError


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def network(digits, seed, **arguments):
    return build_model("mlp", {"widths": [5], **arguments}, digits, seed)


def prefixed(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


SHAPES = {
    "raw": lambda t, path: torch.save(t, path),
    "legacy": legacy,
    "legacy, wrapped": lambda t, path: legacy({"state_dict": t, "epoch": 3}, path),
    "state_dict": lambda t, path: torch.save({"state_dict": t, "epoch": 3, "args": None}, path),
    "model": lambda t, path: torch.save({"model": t, "optimizer": {"state": {}, "lr": 0.1}}, path),
    "model_state_dict": lambda t, path: torch.save({"epoch": 1, "model_state_dict": t}, path),
    "net": lambda t, path: torch.save({"net": t, "acc": 93.2}, path),
    "nested": lambda t, path: torch.save({"model": {"state_dict": t}}, path),
    "data parallel": lambda t, path: torch.save(prefixed(t, "module."), path),
    "compiled": lambda t, path: torch.save(prefixed(t, "_orig_mod."), path),
    "compiled, parallel": lambda t, path: torch.save(prefixed(t, "_orig_mod.module."), path),
    "parallel, compiled": lambda t, path: torch.save({"state_dict": prefixed(t, "module._orig_mod.")}, path),
    "lightning": lambda t, path: torch.save({"state_dict": prefixed(t, "model."), "global_step": 9}, path),
    "net prefix": lambda t, path: torch.save(prefixed(t, "net."), path),
    "params": lambda t, path: torch.save({name: nn.Parameter(tensor) for name, tensor in t.items()}, path),
    "float64": lambda t, path: torch.save({name: tensor.double() for name, tensor in t.items()}, path),
    "safetensors": lambda t, path: safetensors.torch.save_file(t, path),
    "safetensors, metadata": lambda t, path: safetensors.torch.save_file(t, path, {"format": "pt"}),
    "safetensors, prefixed": lambda t, path: safetensors.torch.save_file(prefixed(t, "module."), path),
}


@pytest.mark.parametrize("save", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_gives_the_same_loss(digits, tmp_path, save):
    saved, other = network(digits, seed=1), network(digits, seed=2)
    truth = Objective(saved, "cross_entropy", digits.train, samples=200).value()
    path = tmp_path / "given.pt"
    save(saved.state_dict(), path)
    objective = Objective(other, "cross_entropy", digits.train, samples=200)
    assert objective.value() != truth
    assert objective.at(fitted(load_checkpoint(path), other)).value() == truth


@pytest.mark.parametrize("counted", [True, False])
def test_batch_norm_statistics_come_along(digits, tmp_path, counted):
    """Files from before torch 0.4.1 lack num_batches_tracked, which no value depends on."""
    saved, other = (network(digits, seed, norm="batch") for seed in (1, 2))
    saved.train()(digits.train.blocks[0][0][:64])
    tensors = {n: t for n, t in saved.state_dict().items() if counted or not n.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "given.pt")
    objective = Objective(other, "cross_entropy", digits.train, samples=200)
    truth = Objective(saved, "cross_entropy", digits.train, samples=200).value()
    assert objective.at(fitted(load_checkpoint(tmp_path / "given.pt"), other)).value() == truth


def test_a_prefix_that_belongs_to_the_model_stays(digits, tmp_path):
    class Wrapped(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.module = network(digits, seed)

        def forward(self, inputs):
            return self.module(inputs)

    saved, other = Wrapped(1), Wrapped(2)
    torch.save(saved.state_dict(), tmp_path / "given.pt")
    objective = Objective(other, "cross_entropy", digits.train, samples=50)
    truth = Objective(saved, "cross_entropy", digits.train, samples=50).value()
    assert objective.at(fitted(load_checkpoint(tmp_path / "given.pt"), other)).value() == truth


def test_what_does_not_fit_is_named(digits, tmp_path):
    model = network(digits, seed=1)
    tensors = dict(model.state_dict())
    tensors["1.wieght"] = tensors.pop("1.weight")
    torch.save(tensors, tmp_path / "given.pt")
    with pytest.raises(InputError, match=r"lacks 1\.weight; nearest to 1\.weight is 1\.wieght"):
        fitted(load_checkpoint(tmp_path / "given.pt"), model)


def test_loading_keeps_the_values_of_every_type(tmp_path):
    tensors = {
        "a": torch.randn(3),
        "b": torch.randn(3).bfloat16(),
        "count": torch.tensor(7),
        "flag": torch.tensor(True),
    }
    torch.save(tensors, tmp_path / "given.pt")
    found = load_checkpoint(tmp_path / "given.pt")
    assert found.recipe is None
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())


def test_a_foreign_checkpoint_on_the_command_line(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = network(digits, seed=1)
    torch.save({"state_dict": prefixed(model.state_dict(), "module.")}, "given.pth")
    what = ["--model", "mlp", "--model-arg", "widths=[5]", "--data", "digits", "--samples", "200"]
    printed = printed_json(capsys, "eigen", "given.pth", *what, "-k", "1")
    truth = Objective(model, "cross_entropy", digits.train, samples=200).value()
    assert printed["loss"] == truth
    assert printed["label"] == "given"


# -- the user's own code --------------------------------------------------------------------------------------------

MINE = """
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

INPUTS = torch.linspace(-1, 1, 88).reshape(22, 4).cos()
TARGETS = torch.arange(22) % 3
WEIGHTS = torch.tensor([1.0, 2.0, 5.0])
PAIR = (INPUTS, TARGETS)

def make(width=3, activation="tanh"):
    layer = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[activation]
    return nn.Sequential(nn.Linear(4, width), layer(), nn.Linear(width, 3))

MODEL = nn.Linear(4, 3)

class Classes:
    @staticmethod
    def small():
        return make(width=2)

def pair(scale=1.0):
    return scale * INPUTS, TARGETS

def splits():
    return {"train": PAIR, "test": (INPUTS[:5], TARGETS[:5])}

def only_train():
    return {"train": PAIR}

class Items(Dataset):
    def __len__(self):
        return 22

    def __getitem__(self, index):
        return INPUTS[index], int(TARGETS[index])

def batches():
    return [(INPUTS[i : i + 8], TARGETS[i : i + 8]) for i in range(0, 22, 8)]

def loader():
    return torch.utils.data.DataLoader(Items(), batch_size=8)

def named_batches():
    return [{"x": x, "y": y} for x, y in batches()]

def named_splits():
    return {"train": named_batches(), "test": {"x": INPUTS[:5], "y": TARGETS[:5]}}

def weighted(outputs, targets):
    losses = functional.cross_entropy(outputs, targets, weight=WEIGHTS, reduction="sum")
    return losses, WEIGHTS[targets].sum()

def of_batch(model, batch):
    return functional.cross_entropy(model(batch["x"]), batch["y"])

def weighted_of_batch(model, batch):
    return weighted(model(batch["x"]), batch["y"])

class Focal(nn.Module):
    def forward(self, outputs, targets):
        return ((1 - outputs.softmax(1).gather(1, targets[:, None])[:, 0]) ** 2).mean()
"""


def printed_json(capsys, *arguments):
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The user's file in the current folder, and its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(MINE)
    yield runpy.run_path("mine.py")
    sys.modules.pop("mine", None)


def truth(mine, width=3, weighted=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mine["make"](width=width)
    weight = mine["WEIGHTS"] if weighted else None
    return functional.cross_entropy(model(mine["INPUTS"]), mine["TARGETS"], weight=weight).item()


@pytest.mark.parametrize("data", ["PAIR", "pair", "splits", "only_train", "Items", "batches", "loader"])
def test_data_of_every_form(mine, capsys, data):
    printed = printed_json(capsys, "eigen", "--model", "mine.py:make", "--data", f"mine.py:{data}", "-k", "1")
    assert printed["num_samples"] == 22
    assert printed["loss"] == pytest.approx(truth(mine), rel=1e-6)
    assert printed["label"] == "make"


@pytest.mark.parametrize(
    ("data", "loss", "weighted"),
    [
        ("pair", "weighted", True),
        ("batches", "weighted", True),
        ("named_batches", "of_batch", False),
        ("named_batches", "weighted_of_batch", True),
        ("named_splits", "of_batch", False),
    ],
)
@pytest.mark.parametrize("chunk", ["5", "1000"])
def test_losses_of_every_form(mine, capsys, data, loss, weighted, chunk):
    specs = ["--model", "mine.py:make", "--data", f"mine.py:{data}", "--loss", f"mine.py:{loss}", "--chunk", chunk]
    printed = printed_json(capsys, "eigen", *specs, "-k", "1")
    assert printed["loss"] == pytest.approx(truth(mine, weighted=weighted), rel=1e-6)


def test_a_loss_that_is_a_class(mine, capsys):
    specs = ["--model", "mine.py:make", "--data", "mine.py:pair", "--loss", "mine.py:Focal"]
    assert 0 < printed_json(capsys, "eigen", *specs, "-k", "1")["loss"] < 1


def test_arguments_reach_the_factories(mine, capsys):
    specs = ["--model", "mine.py:make", "--data", "mine.py:pair"]
    printed = printed_json(capsys, "eigen", *specs, "--model-arg", "width=2", "-k", "1")
    assert printed["num_params"] == 2 * 5 + 3 * 3
    assert printed["loss"] == pytest.approx(truth(mine, width=2), rel=1e-6)
    own = ["--model-arg", "activation=sigmoid", "--model-arg", "width=4", "--data-arg", "scale=2.5"]
    printed = printed_json(capsys, "eigen", *specs, *own, "-k", "1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mine["make"](width=4, activation="sigmoid")
    expected = functional.cross_entropy(model(2.5 * mine["INPUTS"]), mine["TARGETS"]).item()
    assert printed["loss"] == pytest.approx(expected, rel=1e-6)


def test_a_model_may_be_an_object_or_an_inner_name(mine, capsys):
    data = ["--data", "mine.py:pair", "-k", "1"]
    assert printed_json(capsys, "eigen", "--model", "mine.py:MODEL", *data)["num_params"] == 15
    assert printed_json(capsys, "eigen", "--model", "mine.py:Classes.small", *data)["num_params"] == 19
    assert printed_json(capsys, "eigen", "--model", "mine:make", "--data", "mine:pair", "-k", "1")["num_params"] == 27


def test_the_test_split_of_ones_own_data(mine, capsys):
    specs = ["--model", "mine.py:make", "--data", "mine.py:named_splits", "--loss", "mine.py:of_batch"]
    printed = printed_json(capsys, "line", *specs, "--range", "0:1:2")
    assert printed["loss"][0] == pytest.approx(truth(mine), rel=1e-6)
    assert len(printed["test_loss"]) == 2
    assert printed["accuracy"] is None


def test_ones_own_network_is_trained_and_measured(mine, capsys):
    specs = ["--model", "mine.py:make", "--data", "mine.py:splits"]
    trained = printed_json(capsys, "train", *specs, "--epochs", "2", "--batch-size", "8", "--out", "net.safetensors")
    printed = printed_json(capsys, "eigen", "net.safetensors", *specs, "-k", "1")
    assert printed["loss"] == pytest.approx(trained["train_loss"], rel=1e-6)


def test_the_users_file_runs_once(mine, capsys, tmp_path):
    """The model and the data of one file share its names."""
    (tmp_path / "counting.py").write_text("with open('log', 'a') as log:\n    log.write('x')\nfrom mine import *\n")
    printed_json(capsys, "eigen", "--model", "counting.py:make", "--data", "counting.py:pair", "-k", "1")
    assert (tmp_path / "log").read_text() == "x"


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    target = tmp_path / "net.safetensors"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, alive = (tmp_path / f".net.safetensors.tmp.{pid}" for pid in (ended.pid, os.getppid()))
    for temporary in (left, alive):
        temporary.write_bytes(b"half")
    save_checkpoint(target, {"w": torch.zeros(2)}, None, {})
    assert not left.exists()
    assert alive.exists()
    assert load_checkpoint(target).tensors["w"].shape == (2,)
