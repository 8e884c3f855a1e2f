"""Every bad input gets its exit code and one line on stderr, prints nothing on stdout, and leaves no file behind."""

import json
import os
import pickle
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from landscape_cli.main import run
from torch import nn

from landscape.checkpoint import load_checkpoint, save_checkpoint
from landscape.recipe import Recipe

CKPT = "net.safetensors"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))

MINE = """
import itertools
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

NUMBER = 7

def make(width=2, classes=3):
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, classes))

def failing(width=2):
    raise RuntimeError("no such\\nwidth")

def nothing():
    return "a string"

def without_params():
    return nn.Flatten()

def pair():
    return torch.linspace(-1, 1, 40).reshape(10, 4), torch.arange(10) % 3

def unequal():
    return torch.zeros(5, 4), torch.zeros(4, dtype=torch.int64)

def no_samples():
    return torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)

def no_batches():
    return []

def a_number():
    return 3

def strings():
    return [("a", "b")]

def whole_numbers():
    return torch.ones(6, 4, dtype=torch.uint8), torch.arange(6) % 3

def class_out_of_range():
    return torch.ones(6, 4), torch.tensor([0, 1, 2, 0, 1, 9])

class Augmenting(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.ones(4) + torch.rand(4), index % 3

class Empty(Dataset):
    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)

class Endless(IterableDataset):
    def __iter__(self):
        return itertools.repeat((torch.zeros(4), 0))

def vector_loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")

def number_loss(outputs, targets):
    return 1.0

def failing_loss(outputs, targets):
    raise KeyError("weights")
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The bytes of a small trained checkpoint."""
    path = tmp_path_factory.mktemp("trained") / CKPT
    assert run(["train", "--model-arg", "widths=[4]", "--epochs", "1", "--out", str(path)]) == 0
    return path.read_bytes()


@pytest.fixture
def here(tmp_path, monkeypatch, trained):
    """The current folder: a checkpoint, and a file of SPECs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / CKPT).write_bytes(trained)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.fixture
def refused(here, capsys):
    """Runs a command that must be refused with `code`; returns its line on stderr."""

    def check(code, *arguments, stdout=False):
        capsys.readouterr()
        before = snapshot(here)
        outcome = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert outcome == code, printed.err
        assert len(printed.err.splitlines()) == 1, printed.err
        assert printed.err.startswith("landscape: ")
        assert "Traceback" not in printed.err
        if not stdout:
            assert printed.out == ""
        assert snapshot(here) == before
        return (printed.err, printed.out) if stdout else printed.err

    return check


def snapshot(folder):
    """Contents of every file, hidden ones included."""
    paths = sorted(Path(folder).rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def store_bytes(folder):
    """The bytes of a store with one result."""
    out = folder / "made.h5"
    assert run(["line", CKPT, "--range", "0:1:2", "--out", str(out)]) == 0
    content = out.read_bytes()
    for path in (out, folder / ".made.h5.lock"):
        path.unlink(missing_ok=True)
    return content


def foreign_hdf5(path):
    with h5py.File(path, "w") as file:
        file["temperature"] = np.arange(3.0)


USAGE = [
    "nope",
    "eigen",
    "line",
    "plane",
    "sharpness",
    "eigen {} --nope",
    "eigen {} {}",
    "line {} {} {}",
    "eigen {} --data nope",
    "eigen {} --model nope",
    "eigen {} --loss nope",
    "eigen {} --device nope",
    "eigen {} --device mps",
    "eigen {} --device meta",
    "eigen {} --device xpu",
    "eigen {} --dtype float16",
    "eigen {} --dtype nope",
    "eigen {} --which middle",
    "eigen {} --bn nope",
    "eigen {} --split nope",
    "eigen {} -k 0",
    "eigen {} -k -3",
    "eigen {} -k two",
    "eigen {} --tol 0",
    "eigen {} --tol nan",
    "eigen {} --tol inf",
    "eigen {} --max-matvecs 0",
    "eigen {} --samples 0",
    "eigen {} --chunk 0",
    "eigen {} --bn-batch 0",
    "eigen {} --l2 -1",
    "eigen {} --l2 nan",
    "eigen {} --l2 inf",
    "eigen {} --seed one",
    "eigen {} --seed 99999999999999999999",
    "eigen {} --label a/b --out r.h5",
    "eigen {} --label . --out r.h5",
    "eigen {} --label .. --out r.h5",
    "eigen {} --label= --out r.h5",
    "eigen {} --label a --label b",
    "eigen {} --model :make",
    "eigen {} --model mine.py:",
    "eigen {} --data-arg a=1",
    "eigen {} --model-arg widths",
    "eigen {} --model-arg =3",
    "eigen {} --model-arg 2x=3",
    "eigen {} --model mlp --model-arg width=4",
    "eigen {} --model mlp --model-arg widths=[0]",
    "eigen {} --model mlp --model-arg widths=wide",
    "eigen {} --model mlp --model-arg activation=nope",
    "rescale",
    "rescale {} {}",
    "rescale {} --alpha",
    "rescale {} --alpha two",
    "rescale {} --alpha 2,,3",
    "rescale {} --alpha 0",
    "rescale {} --alpha=-1",
    "rescale {} --alpha 2,nan",
    "rescale {} --alpha inf",
    "rescale {} --out copy.pt",
    "rescale {} --model nope",
    "rescale {} --device nope",
    "sharpness {} --measure nope",
    "sharpness {} --space nope",
    "sharpness {} --epsilon 0",
    "sharpness {} --epsilon nan",
    "sharpness {} --epsilon inf",
    "sharpness {} --iterations 0",
    "correlate",
    "correlate {}",
    "correlate {} {} {}",
    "correlate {} {}2 --json",
    "correlate *.safetensors --split test",
    "correlate *.safetensors --preset nope",
    "correlate *.safetensors --measures nope",
    "correlate *.safetensors --measures gap",
    "correlate *.safetensors --measures trace,barrier",
    "correlate *.safetensors --measures=",
    "correlate *.safetensors --label a --label b",
    "correlate *.safetensors --samples 0",
    "correlate *.safetensors --resume",
    "line {} --range 0:1",
    "line {} --range 0:1:3:4",
    "line {} --range a:b:c",
    "line {} --range 1:0:5",
    "line {} --range 0:1:1",
    "line {} --range 0:1:2.5",
    "line {} --range nan:1:3",
    "line {} --range 0:inf:3",
    "line {} --range=-1e308:1e308:3",
    "line {} --direction nope",
    "line {} --normalize nope",
    "line {} {} --label same --label same",
    "line {} {} --label one",
    "line {} --resume",
    "plane {} --x 0:1",
    "plane {} --y 1:0:3",
    "plane {} --x nan:1:3",
    "plane {} --directions nope",
    "plane {} --resume",
    "train --data nope",
    "train --model nope",
    "train --loss nope",
    "train --optimizer nope",
    "train --device nope",
    "train --batch-size 0",
    "train --lr nan",
    "train --lr -1",
    "train --momentum 1",
    "train --weight-decay -1",
    "train --nesterov --momentum 0",
    "train --epochs 0",
    "train --updates 0",
    "train --epochs 1 --updates 1",
    "train --seed 99999999999999999999",
    "train --model-arg widths",
    "train --epochs 1 --out net.pt",
    "train --epochs 1 --resume",
    "figure",
    "figure {} --kind nope",
    "show",
]


@pytest.mark.parametrize("text", USAGE)
def test_what_the_text_of_the_command_tells_is_usage(refused, text):
    refused(2, *text.replace("{}", CKPT).split())


@pytest.mark.parametrize("text", ["--json eigen", "eigen --json --nope", "plane {} --resume --json"])
def test_a_usage_error_prints_no_json(refused, text):
    refused(2, *text.replace("{}", CKPT).split())


def test_an_unknown_name_is_told_with_the_nearest(refused):
    assert "did you mean digits" in refused(2, "eigen", CKPT, "--data", "digit")
    assert "did you mean mlp" in refused(2, "eigen", CKPT, "--model", "mpl")
    assert "did you mean mse" in refused(2, "eigen", CKPT, "--loss", "msee")


@pytest.mark.parametrize("name", ["none.safetensors", "folder", "x" * 300 + ".pt"])
@pytest.mark.parametrize("command", ["eigen", "sharpness", "line", "plane", "rescale"])
def test_a_checkpoint_that_is_no_file(refused, here, command, name):
    (here / "folder").mkdir()
    refused(3, command, name)


def _text(path):
    path.write_text("a note about the network\n")


def _archive(path):
    np.savez(str(path.with_suffix(".npz")), weights=np.zeros(3))
    path.with_suffix(".npz").rename(path)


def _torch(content):
    return lambda path: torch.save(content, path)


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"\x80"),
    "text": _text,
    "text with a brace": lambda path: path.write_bytes(b"12345678{not a header"),
    "png": lambda path: path.write_bytes(PNG),
    "hdf5": foreign_hdf5,
    "numpy archive": _archive,
    "a list": _torch([1, 2]),
    "a tensor": _torch(torch.ones(2)),
    "no tensors": _torch({"epoch": 3}),
    "nothing": _torch({}),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_is_no_checkpoint(refused, here, make):
    make(here / "given.pt")
    assert "given.pt" in refused(3, "eigen", "given.pt", "--model", "mlp", "--data", "digits")


ODD_TENSORS = {
    "int": lambda tensor: tensor.to(torch.int32),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "sparse": lambda tensor: tensor.to_sparse(),
    "meta": lambda tensor: tensor.to("meta"),
}


@pytest.mark.parametrize("convert", ODD_TENSORS.values(), ids=ODD_TENSORS.keys())
def test_tensors_that_cannot_be_weights_are_refused(refused, here, convert):
    tensors = load_checkpoint(CKPT).tensors
    torch.save({name: convert(tensor) for name, tensor in tensors.items()}, "odd.pt")
    refused(3, "eigen", "odd.pt", "--model", "mlp", "--model-arg", "widths=[4]", "--data", "digits")


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100, 0.5, -1])
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_a_truncated_checkpoint(refused, here, trained, form, length):
    if form != "safetensors":
        torch.save(dict(load_checkpoint(CKPT).tensors), "whole", _use_new_zipfile_serialization=form == "zip")
    whole = trained if form == "safetensors" else (here / "whole").read_bytes()
    cut = int(length * len(whole)) if isinstance(length, float) else length
    (here / "cut.pt").write_bytes(whole[:cut])
    assert "cut.pt" in refused(3, "eigen", "cut.pt", "--model", "mlp", "--data", "digits")


@pytest.mark.parametrize(
    "header",
    [
        {"recipe": "", "run": "{}"},
        {"recipe": "[1]", "run": "{}"},
        {"recipe": '{"epochs": 1, "magic": 2}', "run": "{}"},
        {"recipe": '{"epochs": "1", "lr": "x"}', "run": "{}"},
        {"recipe": '{"epochs": 1, "model_args": 3}', "run": "{}"},
        {"recipe": '{"epochs": 1, "model": 3}', "run": "{}"},
        {"recipe": '{"epochs": 1, "model": "nope"}', "run": "{}"},
        {"recipe": '{"epochs": 1, "optimizer": "nope"}', "run": "{}"},
        {"recipe": '{"epochs": 1, "model_args": {"widths": [4]}}', "run": "{damaged"},
    ],
)
def test_a_damaged_recipe_is_a_refused_file(refused, here, header):
    import safetensors.torch

    tensors = dict(load_checkpoint(CKPT).tensors)
    safetensors.torch.save_file(tensors, "odd.safetensors", {"format": "landscape-checkpoint-1", **header})
    refused(3, "eigen", "odd.safetensors", "-k", "1")


def test_a_checkpoint_of_another_architecture_names_the_tensor(refused):
    assert "1.bias" in refused(3, "eigen", CKPT, "--model", "mlp", "--model-arg", "widths=[5]")
    line = refused(3, "eigen", CKPT, "--model", "cnn")
    assert "0.weight" in line
    assert "1.weight" in line


def test_two_architectures_share_no_line(refused, here, capsys):
    assert run(["train", "--model-arg", "widths=[5]", "--epochs", "1", "--out", "wide.safetensors"]) == 0
    refused(3, "line", CKPT, "wide.safetensors")


def test_a_foreign_checkpoint_needs_to_be_told_what_it_is(refused):
    torch.save(dict(load_checkpoint(CKPT).tensors), "foreign.pt")
    assert "--model and --data" in refused(3, "eigen", "foreign.pt")
    assert "--data" in refused(3, "eigen", "foreign.pt", "--model", "mlp")


@pytest.mark.parametrize("command", ["eigen", "sharpness", "line", "plane"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_numerical(refused, here, command, value):
    found = load_checkpoint(CKPT)
    tensors = {name: tensor.clone() for name, tensor in found.tensors.items()}
    tensors["1.weight"][0, 0] = value
    assert found.recipe is not None
    save_checkpoint("bad.safetensors", tensors, found.recipe, {})
    assert "1.weight" in refused(4, command, "bad.safetensors", "--out", "r.h5")
    _, out = refused(4, command, "bad.safetensors", "--json", stdout=True)
    printed = json.loads(out)
    assert printed["status"] == "non-finite"
    assert {"kind", "status", "label", "provenance"} <= set(printed)


def test_a_diverging_run_is_numerical(refused):
    arguments = ["train", "--lr", "1e30", "--epochs", "1", "--out", "diverged.safetensors"]
    assert "lr" in refused(4, *arguments[:-2])
    _, out = refused(4, *arguments[:-2], "--json", stdout=True)
    assert json.loads(out)["kind"] == "training"


def test_a_diverging_run_leaves_its_last_finite_point(here, capsys):
    assert run(["train", "--lr", "1e30", "--epochs", "1", "--out", "diverged.safetensors", "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status"], shown["updates"], shown["checkpoint"]) == ("non-finite", 0, "diverged.safetensors")
    assert load_checkpoint("diverged.safetensors").metadata["status"] == "non-finite"


@pytest.mark.parametrize(
    "text",
    [
        "eigen {} -k 1 --out mine.py/r.h5",
        "eigen {} -k 1 --out mine.py/below/r.h5",
        "plane {} --x 0:1:2 --y 0:1:2 --out mine.py/r.h5",
        "line {} --range 0:1:2 --out mine.py/r.h5",
        "sharpness {} --out mine.py/r.h5",
        "rescale {} --out mine.py/copy.safetensors",
        "train --epochs 1 --out mine.py/net.safetensors",
        "train --epochs 1 --out mine.py/below/net.safetensors",
        "demo --out mine.py",
        "demo --out mine.py/below",
    ],
)
def test_a_folder_that_cannot_be_written_is_a_resource(refused, text):
    refused(5, *text.replace("{}", CKPT).split())


@pytest.mark.parametrize("out", ["mine.py", "mine.py/below"])
def test_figures_below_a_regular_file(refused, here, out):
    (here / "r.h5").write_bytes(store_bytes(here))
    refused(5, "figure", "r.h5", "--out", out)


def test_a_folder_is_no_output_file(refused, here):
    (here / "folder.safetensors").mkdir()
    refused(3, "eigen", CKPT, "-k", "1", "--out", ".")
    refused(3, "train", "--epochs", "1", "--out", "folder.safetensors")


def test_train_keeps_an_existing_checkpoint(refused):
    assert "--overwrite" in refused(3, "train", "--epochs", "1", "--out", CKPT)


def test_a_state_of_another_run_is_not_resumed(refused, here):
    run(["train", "--model-arg", "widths=[3]", "--epochs", "1", "--out", "b.safetensors"])
    line = refused(
        3, "train", "--model-arg", "widths=[3]", "--lr", "0.1", "--epochs", "2", "--out", "b.safetensors", "--resume"
    )
    assert "lr" in line
    (here / "b.state").write_bytes((here / "b.state").read_bytes()[:500])
    refused(3, "train", "--model-arg", "widths=[3]", "--epochs", "2", "--out", "b.safetensors", "--resume")


@pytest.mark.parametrize("name", ["empty", "text", "png", "hdf5", "half", "a few bytes", "checkpoint"])
@pytest.mark.parametrize("text", ["show {}", "figure {}", "eigen net.safetensors -k 1 --out {}"])
def test_a_file_that_is_no_store(refused, here, trained, name, text):
    given = here / "given.h5"
    if name in ("half", "a few bytes"):
        whole = store_bytes(here)
        given.write_bytes(whole[: len(whole) // 2 if name == "half" else 12])
    elif name == "checkpoint":
        given.write_bytes(trained)
    else:
        FOREIGN[name](given)
    assert "given.h5" in refused(3, *text.replace("{}", "given.h5").split())


@pytest.mark.parametrize("name", ["none.h5", "folder", "x" * 300])
@pytest.mark.parametrize("command", ["show", "figure"])
def test_a_store_that_is_no_file(refused, here, command, name):
    (here / "folder").mkdir()
    refused(3, command, name)


def test_a_kind_that_is_not_stored_has_no_figure(refused, here):
    (here / "r.h5").write_bytes(store_bytes(here))
    refused(3, "figure", "r.h5", "--kind", "plane")


# -- SPECs --------------------------------------------------------------------------------------------------------

MODEL_SPECS = {
    "missing file": ("none.py:make", "none.py"),
    "missing package": ("no_such_package.models:make", "no_such_package"),
    "missing attribute": ("mine.py:mkae", "did you mean make"),
    "missing inner attribute": ("mine.py:make.inner", "inner"),
    "factory that raises": ("mine.py:failing", "no such width"),
    "factory without a module": ("mine.py:nothing", "torch.nn.Module"),
    "no module": ("mine.py:NUMBER", "torch.nn.Module"),
    "no params": ("mine.py:without_params", "params"),
    "file that raises": ("raises.py:make", "half a line"),
    "file that exits": ("exits.py:make", "exits.py"),
    "file that is no Python": ("damaged.py:make", "damaged.py"),
}


@pytest.mark.parametrize(("spec", "told"), MODEL_SPECS.values(), ids=MODEL_SPECS.keys())
def test_a_bad_model_spec(refused, here, spec, told):
    (here / "raises.py").write_text('raise ValueError("half\\na line")\n')
    (here / "exits.py").write_text("import sys\nsys.exit(0)\n")
    (here / "damaged.py").write_text("def make(:\n")
    try:
        outcome = refused(3, "eigen", "--model", spec, "--data", "mine.py:pair", "-k", "1")
    except SystemExit:
        pytest.fail("the user's file ended the program")
    assert told in outcome


def test_an_argument_that_the_factory_does_not_take(refused):
    line = refused(3, "eigen", "--model", "mine.py:make", "--model-arg", "depth=3", "--data", "mine.py:pair")
    assert "depth" in line


DATA_SPECS = {
    "unequal": "equal first dimensions",
    "no_samples": "no samples",
    "no_batches": "no samples",
    "a_number": "int",
    "strings": "str",
    "whole_numbers": "fit",
    "class_out_of_range": "",
    "Augmenting": "augmentation",
    "Empty": "no samples",
    "Endless": "iterable",
    "piar": "did you mean pair",
}


@pytest.mark.parametrize(("name", "told"), DATA_SPECS.items())
@pytest.mark.parametrize("command", ["eigen --model mine.py:make -k 1", "train --model mine.py:make --epochs 1"])
def test_bad_data(refused, command, name, told):
    assert told in refused(3, *command.split(), "--data", f"mine.py:{name}")


def test_data_without_the_split_asked_for(refused):
    refused(3, "eigen", "--model", "mine.py:make", "--data", "mine.py:pair", "--split", "test")
    refused(3, "eigen", "--model", "mine.py:make", "--data", "mine.py:pair", "--samples", "11")


@pytest.mark.parametrize("name", ["vector_loss", "number_loss", "failing_loss", "NUMBER", "vector_los"])
@pytest.mark.parametrize("command", ["eigen --model mine.py:make -k 1", "train --model mine.py:make --epochs 1"])
def test_a_bad_loss_spec(refused, command, name):
    line = refused(3, *command.split(), "--data", "mine.py:pair", "--loss", f"mine.py:{name}")
    assert name in line


def test_data_folder_without_the_files(refused, here, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_DATA", str(here))
    assert "train.parquet" in refused(3, "eigen", "--model", "mlp", "--data", "mnist")


# -- code inside files --------------------------------------------------------------------------------------------

CODE = """
from pathlib import Path
Path("canary").touch()
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def data():
    return torch.ones(10, 64), torch.arange(10)

def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)
"""


@pytest.mark.parametrize(("field", "name"), [("model", "make"), ("data", "data"), ("loss", "loss")])
@pytest.mark.parametrize(
    "command",
    [
        "eigen {} -k 1 --samples 5 --tol 0.1",
        "sharpness {} --iterations 1 --samples 5",
        "line {} --range 0:1:2 --samples 5",
    ],
)
def test_code_named_by_a_recipe_is_not_run_unasked(refused, here, capsys, command, field, name):
    (here / "evil.py").write_text(CODE)
    spec = f"evil.py:{name}"
    own = {"model": "mlp", "model_args": {"widths": []}} | {field: spec}
    if field == "model":
        own["model_args"] = {}
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    save_checkpoint("given.safetensors", net.state_dict(), Recipe(epochs=1, **own), {})
    arguments = command.replace("{}", "given.safetensors").split()
    line = refused(3, *arguments)
    assert spec in line
    assert "--trust-recipe" in line
    assert not (here / "canary").exists()
    assert run([*arguments, "--trust-recipe"]) == 0, capsys.readouterr().err
    assert (here / "canary").exists()


class Reducer:
    """Unpickled by plain pickle it runs a shell command."""

    def __reduce__(self):
        return os.system, ("touch canary",)


@pytest.mark.parametrize("form", ["zip", "legacy", "protocol 2", "protocol 4", "protocol 5"])
def test_a_pickle_is_never_run(refused, here, form):
    if form in ("zip", "legacy"):
        torch.save({"weight": Reducer()}, "evil.pt", _use_new_zipfile_serialization=form == "zip")
    else:
        (here / "evil.pt").write_bytes(pickle.dumps({"weight": Reducer()}, protocol=int(form[-1])))
    line = refused(3, "eigen", "evil.pt", "--model", "mlp", "--data", "digits")
    assert not (here / "canary").exists()
    assert "posix.system" in line


def test_a_pickled_module_is_refused(refused):
    torch.save(nn.Linear(2, 2), "module.pt")
    assert "state_dict()" in refused(3, "eigen", "module.pt", "--model", "mlp", "--data", "digits")


def test_nothing_stands_beside_the_line(refused, here):
    """torch warns of a TorchScript archive before it refuses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save("script.pt")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        refused(3, "eigen", "script.pt", "--model", "mlp", "--data", "digits")
    assert [str(warning.message) for warning in told] == []


def test_more_eigenvalues_than_params_are_refused(refused, here):
    refused(3, "eigen", CKPT, "-k", "311")
