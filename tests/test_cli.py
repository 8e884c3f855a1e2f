"""The command line's contract: help, JSON, stored results, and work that is stopped, killed and taken up again."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
import safetensors.torch
import torch
from landscape_cli import main as entry
from landscape_cli.main import COMMANDS, run

import landscape.sharpness
import landscape.slices
import landscape.spectrum
from landscape.errors import InputError, ResourceError
from landscape.results import Status
from landscape.store import Store
from landscape.store.schema import content

CKPT = "net.safetensors"
COMMON = {"kind", "status", "label", "provenance"}

# What each command is run with, and the keys of its object besides the common ones.
CONTRACT = {
    "train": (
        "train --model-arg widths=[4] --epochs 1 --out other.safetensors",
        "checkpoint train_loss train_accuracy test_loss test_accuracy updates epochs seconds",
    ),
    "sweep": ("sweep --batch-sizes 100,full --seeds 0:2 --epochs 1 --out grid", "runs store figures missing"),
    "eigen": (
        "eigen net.safetensors -k 2 --samples 100 --out r.h5",
        "eigenvalues residuals operator num_matvecs num_samples num_params loss",
    ),
    "trace": (
        "trace net.safetensors --samples 100 --tol 0.3 --per-layer --out r.h5",
        "value stderr num_matvecs",
    ),
    "density": (
        "density net.safetensors --samples 100 --probes 2 --steps 6 --out r.h5",
        "nodes weights num_matvecs",
    ),
    "sharpness": (
        "sharpness net.safetensors --iterations 2 --samples 100 --out r.h5",
        "measure value stderr epsilon space loss",
    ),
    "correlate": (
        "correlate *.safetensors wide/*.safetensors --measures sam,distance --samples 100 --out r.h5",
        "rows",
    ),
    "noise": (
        "noise net.safetensors --samples 100 --full --probes 2 --errors --out r.h5",
        "b_simple b_simple_low b_simple_high trace_covariance gradient_norm_squared b_noise temperature",
    ),
    "batch-size": (
        "batch-size net.safetensors --max-batch-size 4 --seconds 0.01 --critical 10 --out r.h5",
        "rows knee critical advice",
    ),
    "line": (
        "line net.safetensors wide/net.safetensors --range=-1:2:4 --samples 100 --out r.h5",
        "alpha loss loss_stderr accuracy barrier error_barrier",
    ),
    "plane": (
        "plane net.safetensors --x 0:1:2 --y=-1:1:3 --samples 100 --out r.h5",
        "alpha beta loss loss_stderr evaluated",
    ),
    "path": (
        "path net.safetensors wide/net.safetensors --epochs 1 --points 3 --samples 100 --out r.h5",
        "t loss accuracy barrier",
    ),
    "compare": (
        "compare net.safetensors wide/net.safetensors --preset quick --samples 100 --repeats 2 --out r.h5",
        "measures pairs warnings",
    ),
    "rescale": ("rescale net.safetensors --alpha 4", "checkpoint alphas largest_change"),
    "show": ("show stored.h5", "entries"),
    "figure": ("figure stored.h5 --out drawn", "files"),
    "verify": ("verify stored.h5", "problems"),
    "merge": ("merge stored.h5 --out r.h5", "entries"),
    "export": ("export stored.h5 --out drawn", "files"),
    "import": ("import surface.h5 --out r.h5", "entries"),
}
LABELS = {
    "train": "other",
    "sweep": None,
    "eigen": "net",
    "trace": "net",
    "density": "net",
    "sharpness": "net",
    "correlate": "correlation",
    "noise": "net",
    "batch-size": "net",
    "line": "runs-net--wide-net",
    "plane": "net",
    "path": "runs-net--wide-net",
    "compare": "runs-net--wide-net",
    "rescale": "net-rescaled",
    "show": None,
    "figure": None,
    "verify": None,
    "merge": None,
    "export": None,
    "import": "surface",
}
STORING = [
    "eigen",
    "trace",
    "density",
    "sharpness",
    "correlate",
    "noise",
    "batch-size",
    "line",
    "plane",
    "path",
    "compare",
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small are quicker on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs(one_thread, tmp_path_factory):
    """A folder with two small trained networks and a store."""
    folder = tmp_path_factory.mktemp("cli") / "runs"
    (folder / "wide").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, out in enumerate((CKPT, f"wide/{CKPT}", "third.safetensors")):
            arguments = ["--model-arg", "widths=[4]", "--epochs", "1", "--seed", str(seed), "--out", out]
            assert run(["train", *arguments]) == 0
        for text in (
            "eigen net.safetensors -k 1 --out stored.h5",
            "line net.safetensors --range 0:1:2 --out stored.h5",
            "export stored.h5 --kind line --format surface --out .",
        ):
            assert run(text.split()) == 0
        next(folder.glob("*.surface.h5")).rename("surface.h5")
    return folder


@pytest.fixture
def here(runs, tmp_path, monkeypatch):
    """A fresh copy of that folder as the current one."""
    folder = tmp_path / "runs"
    (folder / "wide").mkdir(parents=True)
    for name in (CKPT, f"wide/{CKPT}", "third.safetensors", "stored.h5", "surface.h5"):
        (folder / name).write_bytes((runs / name).read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def printed(capsys, text, code=0):
    """stdout and stderr of a command that exits with `code`."""
    capsys.readouterr()
    outcome = run(text.split())
    shown = capsys.readouterr()
    assert outcome == code, shown.err
    return shown.out, shown.err


def read_json(text):
    """The one object on one line; NaN and Infinity are no JSON."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    assert text.count("\n") == 1
    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


# -- help -----------------------------------------------------------------------------------------------------------

HELPING = """
import sys
from landscape_cli.main import COMMANDS, run
for arguments in (["--help"], ["-h"], ["--version"], *([name, "--help"] for name in COMMANDS)):
    assert run(arguments) == 0, arguments
    heavy = {"torch", "numpy", "scipy", "h5py", "matplotlib", "sklearn"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
"""


def test_help_of_every_command_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELPING], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("Usage: landscape") == len(COMMANDS) + 2


def test_every_command_in_the_table_stands():
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(f"landscape_cli.{module}").command
        assert isinstance(command, click.Command)
        assert command.name == name
        assert "Example:" in (command.help or ""), name


def test_every_commands_module_is_in_the_table():
    folder = Path(entry.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "@click.command(" in path.read_text()}
    assert found == {module for module, _ in COMMANDS.values()}


# -- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", CONTRACT)
def test_json_is_one_object_with_the_keys_of_the_contract(here, capsys, command):
    text, keys = CONTRACT[command]
    out, _ = printed(capsys, f"{text} --json")
    value = read_json(out)
    assert set(value) >= COMMON | set(keys.split())
    assert value["status"] in list(Status)
    assert value["label"] == LABELS[command]


@pytest.mark.parametrize("command", ["train", *STORING])
def test_provenance_says_where_a_result_came_from(here, capsys, command):
    value = read_json(printed(capsys, f"{CONTRACT[command][0]} --json")[0])
    assert {"settings", "versions", "seconds", "threads"} <= set(value["provenance"])


@pytest.mark.parametrize("command", CONTRACT)
def test_without_json_there_is_text(here, capsys, command):
    out, err = printed(capsys, CONTRACT[command][0])
    assert out.strip()
    assert not out.startswith("{")
    assert "Traceback" not in err


def test_slices_have_the_shape_of_their_positions(here, capsys):
    value = read_json(printed(capsys, CONTRACT["plane"][0] + " --json")[0])
    assert (value["alpha"], value["beta"]) == ([0.0, 1.0], [-1.0, 0.0, 1.0])
    for name in ("loss", "loss_stderr", "accuracy", "test_loss", "test_accuracy", "evaluated"):
        assert np.shape(value[name]) == (2, 3), name
    value = read_json(printed(capsys, CONTRACT["line"][0] + " --json")[0])
    assert value["alpha"] == [-1.0, 0.0, 1.0, 2.0]
    assert value["barrier"] is not None


def test_eigenvalues_descend(here, capsys):
    value = read_json(printed(capsys, f"eigen {CKPT} -k 3 --which both --samples 100 --json")[0])
    assert len(value["eigenvalues"]) == len(value["residuals"]) == 6
    assert value["eigenvalues"] == sorted(value["eigenvalues"], reverse=True)


def test_operators_blocks_paths_and_memory_are_chosen_by_flags(here, capsys):
    tops = {}
    for name in ("hessian", "ggn", "fisher", "fisher-mc", "empirical-fisher", "gradient-covariance"):
        text = f"eigen {CKPT} -k 1 --samples 100 --operator {name} --params 3.* --json"
        value = read_json(printed(capsys, text)[0])
        assert (value["operator"], value["num_params"]) == (name, 50)
        tops[name] = value["eigenvalues"][0]
    assert tops["fisher"] == pytest.approx(tops["ggn"], rel=1e-3)  # the same matrix for cross-entropy
    assert len({round(top, 6) for top in tops.values()}) >= 4
    for path, memory, kept in (("double", "0", 0), ("linearize", "1G", 1)):
        text = f"trace {CKPT} --samples 100 --tol 0.5 --hvp {path} --memory {memory} --json"
        hvp = read_json(printed(capsys, text)[0])["hvp"]
        assert (hvp["path"], hvp["kept_chunks"]) == (path, kept)
    assert "no param is named like" in printed(capsys, f"eigen {CKPT} --params 9.*", code=3)[1]
    assert "--memory" in printed(capsys, f"eigen {CKPT} --memory lots", code=2)[1]


def test_vectors_go_into_a_file_beside_and_are_computed_if_it_lacks_them(here, capsys):
    assert "--save-vectors needs --out" in printed(capsys, f"eigen {CKPT} --save-vectors", code=2)[1]
    text = f"eigen {CKPT} -k 2 --samples 100 --out r.h5"
    printed(capsys, text)
    assert not Path("r.vectors.h5").exists()
    _, err = printed(capsys, f"{text} --save-vectors")
    assert "found in" not in err
    (entry,) = Store("r.vectors.h5").find(kind="eigenvectors", label="net")
    assert entry.result.vectors.shape == (310, 2)
    assert entry.result.vectors.T @ entry.result.vectors == pytest.approx(np.eye(2), abs=1e-5)
    settings = Store("r.h5").entries()[0].result.settings
    assert entry.result.settings == {**settings, "kind": "eigenvectors"}
    assert entry.provenance["command"]
    assert "found in" in printed(capsys, f"{text} --save-vectors")[1]


def test_what_did_not_converge_is_printed_stored_and_marked(here, capsys):
    text = f"eigen {CKPT} -k 2 --samples 100 --tol 1e-12 --max-matvecs 8 --out r.h5 --json"
    out, err = printed(capsys, text, code=4)
    value = read_json(out)
    assert value["status"] == "not converged"
    assert len(value["eigenvalues"]) == 2
    assert err.startswith("landscape: ")
    assert Store("r.h5").entries()[0].result.status is Status.NOT_CONVERGED
    again, err = printed(capsys, text, code=4)
    assert read_json(again)["eigenvalues"] == value["eigenvalues"]
    assert "found in" in err


def test_non_finite_points_are_null(here, capsys):
    value = read_json(printed(capsys, f"line {CKPT} --range=-1e30:1e30:3 --json")[0])
    assert value["loss"][0] is None
    assert value["loss"][1] is not None
    assert value["point_status"] == [2, 1, 2]


def test_figures_are_the_files_that_are_named(here, capsys):
    files = read_json(printed(capsys, CONTRACT["figure"][0] + " --json")[0])["files"]
    assert files
    assert sorted(files) == sorted(str(path) for path in Path("drawn").iterdir())


# -- the store ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", STORING)
def test_nothing_is_written_without_out(here, capsys, command):
    before = sorted(here.rglob("*"))
    printed(capsys, CONTRACT[command][0].removesuffix(" --out r.h5"))
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "module", "function"),
    [
        ("eigen", landscape.spectrum, "top_eigenpairs"),
        ("sharpness", landscape.sharpness, "measure"),
        ("line", landscape.slices, "line"),
        ("plane", landscape.slices, "plane"),
    ],
)
def test_a_second_run_finds_the_result(here, capsys, monkeypatch, command, module, function):
    calls, compute = [], getattr(module, function)
    if command in ("line", "plane"):  # the submodule of that name hides the function from getattr on the package
        compute = getattr(importlib.import_module(f"landscape.slices.{command}"), function)
    monkeypatch.setattr(module, function, lambda *a, **k: calls.append(1) or compute(*a, **k))
    text = f"{CONTRACT[command][0]} --json"
    first, err = printed(capsys, text)
    assert "found in" not in err
    stored = Path("r.h5").read_bytes()
    second, err = printed(capsys, text)
    assert len(calls) == 1
    assert "found in r.h5" in err
    assert Path("r.h5").read_bytes() == stored
    third, err = printed(capsys, f"{text} --overwrite")
    assert len(calls) == 2
    assert "found in" not in err
    values = [read_json(out) for out in (first, second, third)]
    for value in values:
        value.pop("provenance")
        value.pop("hvp", None)  # holds a time
    assert values[0] == values[1] == values[2]
    assert len(Store("r.h5").entries()) == 1


def test_other_settings_are_another_result(here, capsys):
    for text in ("", "-k 2", "--samples 30", "--l2 0.1", "--dtype float64", "--label other"):
        _, err = printed(capsys, f"eigen {CKPT} -k 1 --samples 40 {text} --out r.h5")
        assert "found in" not in err, text
    assert len(Store("r.h5").entries()) == 6


def test_a_renamed_copy_is_the_same_minimum(here, capsys):
    Path("copy.safetensors").write_bytes(Path(CKPT).read_bytes())
    printed(capsys, f"eigen {CKPT} -k 1 --samples 40 --out r.h5 --label net")
    assert "found in" in printed(capsys, "eigen copy.safetensors -k 1 --samples 40 --out r.h5 --label net")[1]


# -- stopped and killed ---------------------------------------------------------------------------------------------

# A network whose passes take as long as the environment says, so that a stop is sure to come in the middle.
SLOW = """
import os
import signal
import time
from pathlib import Path

from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 10))
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
        if self.calls == int(os.environ.get("SLOW_CALLS", "0")):
            Path("reached").touch()
            if "SLOW_SIGNAL" in os.environ:
                os.kill(os.getpid(), int(os.environ["SLOW_SIGNAL"]))
        return self.layers(inputs)
"""
PLANE = "plane --model slow.py:Slow --data digits --samples 64 --x=-1:1:12 --y=-1:1:11 --out r.h5"
TRAIN = "train --model slow.py:Slow --data digits --batch-size 100 --epochs 3 --out run.safetensors"


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """The current folder with that network, full speed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def start(text, **environment):
    """The command in a process of its own, with as many threads as here: they decide about bits."""
    code = "from landscape_cli.main import main; main()"
    threads = str(torch.get_num_threads())
    return subprocess.Popen(
        [sys.executable, "-B", "-c", code, *text.split()],
        env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, ready):
    """Polls until `ready()`; the process must still be at work then."""
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert process.poll() is None


def partial(path):
    """The stopped result that a store holds, if it does."""
    try:
        found = Store(path).entries()
    except InputError:
        return None
    return found[0].result if found and found[0].result.status is Status.STOPPED else None


def bits(result):
    """Every array and number of a result."""
    values = {name: value for name, value in vars(result).items() if name != "settings"}
    return {name: v.tobytes() if isinstance(v, np.ndarray) else repr(v) for name, v in values.items()}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 6), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_stopped_plane_resumes_to_the_same_bits(slow, capsys, number, code):
    process = start(PLANE, SLOW_SECONDS="0.02")
    wait_for(process, lambda: partial("r.h5"))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == ""
    if number == signal.SIGTERM:
        assert len(err.splitlines()) == 1
        assert err.startswith("landscape: ")
        assert "--resume" in err
    left = partial("r.h5")
    assert left is not None
    done = int(left.evaluated.sum())
    assert 0 < done < 132
    assert "--resume" in printed(capsys, PLANE, code=3)[1]
    again = PLANE.replace("r.h5", "whole.h5")
    printed(capsys, f"{PLANE} --resume")
    printed(capsys, again)
    (resumed,), (whole,) = Store("r.h5").entries(), Store("whole.h5").entries()
    assert resumed.result.status is Status.COMPLETE
    assert resumed.digest == whole.digest
    assert bits(resumed.result) == bits(whole.result)
    assert list(slow.glob(".r.h5.tmp.*")) == [] or number == signal.SIGKILL


@pytest.mark.parametrize("command", ["plane", "line"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_partial_slice_is_kept_refused_and_resumed(slow, capsys, monkeypatch, command, number):
    text = PLANE if command == "plane" else PLANE.replace("plane", "line").replace("--x=-1:1:12 --y=-1:1:11", "")
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)]
    with monkeypatch.context() as patch:
        patch.setenv("SLOW_CALLS", "30")
        patch.setenv("SLOW_SIGNAL", str(int(number)))
        out, err = printed(capsys, f"{text} --json", code=6)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)] == handlers
    left = partial("r.h5")
    assert left is not None
    reached = left.point_status != 0
    before = Path("r.h5").read_bytes()
    out, err = printed(capsys, text, code=3)
    assert out == ""
    assert "--resume" in err
    assert Path("r.h5").read_bytes() == before
    printed(capsys, f"{text} --resume")
    finished = Store("r.h5").entries()[0].result
    assert (finished.loss[reached] == left.loss[reached]).all()
    printed(capsys, text.replace("r.h5", "whole.h5"))
    assert bits(finished) == bits(Store("whole.h5").entries()[0].result)


@pytest.mark.parametrize("command", STORING)
def test_what_the_disk_refuses_is_printed_all_the_same(here, capsys, monkeypatch, command):
    def refuse(*_):
        raise ResourceError("cannot write r.h5: No space left on device; free some space")

    monkeypatch.setattr("landscape.files.write_atomically", refuse)
    text, keys = CONTRACT[command]
    out, err = printed(capsys, f"{text} --json", code=5)
    value = read_json(out)
    assert set(keys.split()) <= set(value)
    assert "No space left" in value["provenance"]["not_saved"]
    assert err.splitlines()[-1].startswith("landscape: cannot write r.h5")
    assert not Path("r.h5").exists()


SPECTRA = {
    "eigen": "eigen -k 3 --tol 1e-6",
    "trace": "trace --tol 1e-6 --max-matvecs 400",
    "density": "density --probes 2 --steps 20",
}


@pytest.mark.parametrize("command", SPECTRA)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_stopped_spectrum_resumes_to_the_same_bits(slow, capsys, monkeypatch, command, number):
    rest = "--model slow.py:Slow --data digits --samples 64 --hvp double --memory 0"
    text = f"{SPECTRA[command]} {rest} --out r.h5"
    with monkeypatch.context() as patch:
        patch.setenv("SLOW_CALLS", "40")
        patch.setenv("SLOW_SIGNAL", str(int(number)))
        out, err = printed(capsys, f"{text} --json", code=6)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "--resume" in err
    (journal,) = slow.glob("r.h5.*.journal")
    assert journal.stat().st_size > 0
    assert "--resume" in printed(capsys, text, code=3)[1]
    status = 4 if command == "trace" else 0  # the budget is too small for the tolerance, the same both times
    printed(capsys, f"{text} --resume", code=status)
    printed(capsys, text.replace("r.h5", "whole.h5"), code=status)
    resumed, whole = (Store(name).entries()[0].result for name in ("r.h5", "whole.h5"))
    assert content(resumed, of_run=False) == content(whole, of_run=False)
    assert {path.name for path in slow.glob("[!.]*")} == {"slow.py", "reached", "r.h5", "whole.h5"}


def test_overwrite_starts_again_from_a_partial_slice(slow, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("SLOW_CALLS", "30")
        patch.setenv("SLOW_SIGNAL", str(int(signal.SIGTERM)))
        printed(capsys, PLANE, code=6)
    printed(capsys, f"{PLANE} --overwrite")
    (found,) = Store("r.h5").entries()
    assert found.result.status is Status.COMPLETE


def test_resume_with_nothing_to_resume_starts_from_the_beginning(slow, capsys):
    printed(capsys, f"{PLANE} --resume")
    assert Store("r.h5").entries()[0].result.status is Status.COMPLETE
    assert "found in" in printed(capsys, f"{PLANE} --resume")[1]
    assert json.loads(printed(capsys, f"{TRAIN} --resume --json")[0])["updates"] == 45


def test_a_stopped_training_resumes_to_the_same_bits(slow, capsys):
    process = start(TRAIN, SLOW_SECONDS="0.05", SLOW_CALLS="25")
    wait_for(process, Path("reached").exists)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 6, err
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "--resume" in err
    assert Path("run.state").exists()
    assert not Path("run.safetensors").exists()
    resumed = json.loads(printed(capsys, f"{TRAIN} --resume --json")[0])
    whole = json.loads(printed(capsys, TRAIN.replace("run.", "whole.") + " --json")[0])
    same_runs(resumed, whole)


@pytest.mark.parametrize("calls", [3, 16, 20, 33])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_training_stopped_anywhere_resumes_to_the_same_bits(slow, capsys, monkeypatch, calls, number):
    with monkeypatch.context() as patch:
        patch.setenv("SLOW_CALLS", str(calls))
        patch.setenv("SLOW_SIGNAL", str(int(number)))
        printed(capsys, TRAIN, code=6)
    resumed = json.loads(printed(capsys, f"{TRAIN} --resume --json")[0])
    whole = json.loads(printed(capsys, TRAIN.replace("run.", "whole.") + " --json")[0])
    same_runs(resumed, whole)


def same_runs(resumed, whole):
    """Same tensors, metadata (times aside) and log."""
    left, right = (safetensors.torch.load_file(value["checkpoint"]) for value in (resumed, whole))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    logs = [Store(Path(value["checkpoint"]).with_suffix(".run.h5")).entries()[0].result for value in (resumed, whole)]
    first, second = (bits(log) for log in logs)
    first.pop("seconds")
    second.pop("seconds")
    assert first == second
    metrics = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "updates", "epochs")
    assert all(resumed[name] == whole[name] for name in metrics)
    recipes = []
    for value in (resumed, whole):
        with safetensors.safe_open(value["checkpoint"], framework="pt") as file:
            recipes.append(file.metadata()["recipe"])
    assert recipes[0] == recipes[1]


def test_a_finished_training_goes_on_for_longer(slow, capsys):
    printed(capsys, TRAIN.replace("--epochs 3", "--epochs 2"))
    resumed = json.loads(printed(capsys, f"{TRAIN} --resume --json")[0])
    whole = json.loads(printed(capsys, TRAIN.replace("run.", "whole.") + " --json")[0])
    same_runs(resumed, whole)


def test_split_both_adds_the_test_metrics_to_a_measure(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = [
        json.loads(printed(capsys, f"{c} --model mlp --split both --samples 50 --json")[0])
        for c in ("eigen -k 1", "sharpness")
    ]
    for one in shown:
        assert 0 <= one["test_accuracy"] <= 1
        assert one["test_loss"] != one["loss"]
