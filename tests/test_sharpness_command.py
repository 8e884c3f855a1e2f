"""`landscape sharpness` on several minima and measures, its list, and the control on rescaled copies."""

import dataclasses
import json

import pytest
import torch
from landscape_cli.main import run
from landscape_cli.measures import _on_box
from torch import nn

from landscape import Objective
from landscape.measures import MEASURES
from landscape.results import Status
from landscape.sharpness import measure
from landscape.studies.control import ALPHAS, as_expected, copies, moved
from landscape.studies.measured import Minimum

SMALL = ["--model", "mlp", "--model-arg", "widths=[8]", "--samples", "60", "--split", "train"]
# evidence needs a penalty and a minimum, and is no function of the network alone
CONTROLLED = [name for name in MEASURES if name not in ("occam", "log-evidence")]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of products of a few numbers each: where cores are few or busy, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def printed(capsys, *words):
    code = run(["sharpness", *map(str, words)])
    return code, *capsys.readouterr()


def test_the_list_names_every_measure_with_its_formula(capsys):
    code, out, _ = printed(capsys, "--list")
    assert code == 0
    for found in MEASURES.values():
        assert f"\n{found.name}\n" in f"\n{out}"
        assert found.formula.split(",")[0] in " ".join(out.split())
    code, out, _ = printed(capsys, "--list", "--json")
    rows = json.loads(out)["measures"]
    assert [row["name"] for row in rows] == list(MEASURES)
    assert all(set(row["invariances"].values()) <= {"yes", "no"} for row in rows)


def test_several_measures_are_a_list_of_results(capsys, tmp_path):
    words = [*SMALL, "--measure", "worst", "--measure", "average-adaptive", "--repeats", 3, "--rho", 0.02]
    code, out, _ = printed(capsys, *words, "--out", tmp_path / "r.h5", "--json")
    assert code == 0
    results = json.loads(out)["results"]
    assert [r["measure"] for r in results] == ["worst", "average-adaptive"]
    assert all(r["rho"] == 0.02 and r["value"] > 0 for r in results)
    assert results[1]["stderr"] > 0
    _, again, err = printed(capsys, *words, "--out", tmp_path / "r.h5", "--json")
    assert err.count("found in") == 2
    assert [r["value"] for r in json.loads(again)["results"]] == [r["value"] for r in results]


def test_one_failing_measure_does_not_hide_the_others(capsys):
    words = [*SMALL, "--measure", "sam", "--measure", "log-evidence", "--l2", 1e-9]
    code, out, err = printed(capsys, *words, "--json")
    first, second = json.loads(out)["results"]
    assert code == 4
    assert first["value"] > 0
    assert second["status"] == json.loads(out)["status"] == "refused"
    assert second["smallest_eigenvalue"] < 0
    assert "log-evidence" in err


@pytest.mark.parametrize(
    "words",
    [
        ["--rho", 0.1],  # of no measure asked for
        ["--measure", "worst", "--rho", 0],
        ["--measure", "log-evidence"],
        ["--space", "random", "--dimension", 0],
        ["--repeats", 1, "--space", "random"],
        ["--control", "--against", "epoch"],
        ["--control", "--measure", "worst", "--measure", "occam", "--l2", 0.1],
        ["--against", "epoch", "--split", "both"],
        ["--law", "uniform"],  # of random subspaces
        ["--dimension", 10, "--measure", "keskar", "--measure", "sam"],
        ["--repeats", 3, "--space", "full"],
    ],
)
def test_what_the_text_alone_tells_is_refused(capsys, words):
    assert printed(capsys, *SMALL, *words)[0] == 2


def test_the_control_of_the_command_finds_what_moves(capsys):
    words = [*SMALL, "--control", "--measure", "sam", "--measure", "sam-adaptive"]
    code, out, _ = printed(capsys, *words, "--json")
    assert code == 0
    controls = [result["control"] for result in json.loads(out)["results"]]
    assert [control["expected"] for control in controls] == ["moves", "stays"]
    assert all(control["as_expected"] for control in controls)
    assert [copy["alpha"] for copy in controls[0]["copies"]] == list(ALPHAS)
    code, out, _ = printed(capsys, *words)
    assert out.count("as expected") == 2


def network(name):
    torch.manual_seed(3)
    if name == "relu-mlp":
        model, inputs = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(40, 6)
    else:
        layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)]
        model, inputs = nn.Sequential(*layers), torch.randn(40, 1, 6, 6)
    targets = torch.randint(0, 3, (40,))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    return Objective(model, "cross_entropy", (inputs.double(), targets), dtype="float64")


@pytest.mark.parametrize("name", ["relu-mlp", "batch-norm-cnn"])
def test_every_raw_measure_moves_and_every_invariant_one_stays(name):
    objective = network(name)
    others = [copy.objective for _, copy in copies(Minimum(name, objective, None, None, "train", {}))]
    for controlled in CONTROLLED:
        found = measure(objective, controlled)
        moves = [moved(found, measure(other, controlled)) for other in others]
        if MEASURES[controlled].invariances.layers:
            assert not any(moves), controlled
        else:
            assert all(moves), controlled


# -- what is printed, and what fails among several


@pytest.fixture(scope="module")
def minimum(tmp_path_factory):
    """A converged minimum of its penalty, so that every measure has a value."""
    path = tmp_path_factory.mktemp("run") / "net.safetensors"
    words = "--model-arg widths=[4] --train-samples 100 --epochs 30 --weight-decay 1 --batch-size 20 --lr 0.01 --quiet"
    assert run(["train", *words.replace(" --quiet", "").split(), "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_prints_itself_and_its_parts(minimum, capsys, name):
    more = ["--l2", 3] if name in ("occam", "log-evidence") else []
    more += ["--repeats", 3] if "repeats" in MEASURES[name].options and name != "keskar" else []
    words = [minimum, "--samples", 40, "--measure", name, *more]
    printed(capsys, *words)
    code, out, err = printed(capsys, *words)
    first = out.splitlines()[0]
    assert first.startswith(f"{name} "), (out, err)
    assert (MEASURES[name].unit == "1") or MEASURES[name].unit in first
    _, shown, _ = printed(capsys, *words, "--json")
    shown = json.loads(shown)
    assert float(first.split()[1]) == pytest.approx(shown["value"], rel=1e-5)
    for part in shown["parts"] or {}:
        assert f"  {part.replace('_', ' ')} " in out
    assert code == (4 if shown["status"] == "not converged" else 0)


def test_what_does_not_fit_one_measure_is_its_entry(capsys, tmp_path):
    words = [*SMALL, "--params", "*.bias", "--measure", "sam", "--measure", "filter-trace", "--measure", "fisher-rao"]
    code, out, err = printed(capsys, *words, "--json", "--out", tmp_path / "r.h5")
    assert code == 3
    results = json.loads(out)["results"]
    assert [r["status"] for r in results] == ["complete", "refused", "converged"]
    assert "no filters" in results[1]["error"]
    assert len(err.splitlines()) == 1
    code, out, _ = printed(capsys, *words)
    assert code == 3
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["complete", "refused", "converged"]
    assert printed(capsys, *SMALL, "--params", "*.bias", "--measure", "filter-trace")[0] == 3


def test_evidence_of_no_minimum_is_refused_by_name(capsys):
    code, out, _ = printed(capsys, *SMALL, "--measure", "occam", "--l2", 1e-9, "--json")
    assert code == 4
    assert json.loads(out)["status"] == "refused"


def test_what_is_not_resolved_says_why_and_ends_well(capsys):
    for words, told in (
        (["--measure", "average", "--rho", 1e-16], "larger --rho"),
        (["--measure", "average", "--rho", 1e-16, "--measure", "sam"], "larger --rho"),
        (["--measure", "pac-bayes", "--repeats", 2], "hardly better than chance"),
    ):
        code, out, err = printed(capsys, *SMALL, *words)
        assert code == 0
        assert out
        (line,) = err.splitlines()
        assert "not resolved" in line
        assert told in line


def test_the_number_on_the_box_stands_where_the_share_would_be_none():
    found = measure(network("relu-mlp"), "keskar")
    for share, size, words in ((0.0, 9, "0.0% of"), (1 / 9000, 9000, "1 coordinate of 9000"), (0.5, 9, "50.0% of")):
        assert words in _on_box(dataclasses.replace(found, on_boundary=share, num_params=size))


# -- the control


def test_evidence_alone_may_be_controlled_with_its_penalty(capsys):
    code, out, _ = printed(capsys, *SMALL, "--control", "--measure", "occam", "--l2", 5, "--json")
    (entry,) = json.loads(out)["results"]
    assert entry["control"]["expected"] == "moves"
    assert code in (0, 4)  # by what the copies are


def test_what_moved_is_known_of_measures_that_hold_only():
    found = measure(network("relu-mlp"), "trace")
    twice = dataclasses.replace(found, value=2 * found.value)
    assert moved(found, twice) is True
    assert moved(found, found) is False
    assert moved(found, dataclasses.replace(twice, status=Status.NOT_CONVERGED)) is None
    assert moved(dataclasses.replace(found, status=Status.NOT_RESOLVED), twice) is None
    # other probes: the difference must exceed what the errors allow
    by_others = dataclasses.replace(found, value=1.1 * found.value, stderr=0.05 * found.value, num_matvecs=1)
    assert moved(found, by_others) is False
    assert moved(found, dataclasses.replace(by_others, value=1.5 * found.value)) is True


@pytest.mark.parametrize(
    ("stays", "moves", "expected"),
    [
        (True, [False, False], True),
        (True, [False, True], False),
        (True, [None, True], False),
        (True, [None, False], None),
        (False, [True, True], True),
        (False, [True, False], True),  # one value at two factors: a raw measure goes through a minimum
        (False, [True, None], True),
        (False, [False, False], False),
        (False, [None, False], None),
    ],
)
def test_one_copy_that_moves_is_enough(stays, moves, expected):
    assert as_expected(stays, moves) is expected
