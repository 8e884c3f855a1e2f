"""`landscape sharpness` on several minima and measures, its list, and the control on rescaled copies."""

import json

import pytest
import torch
from landscape_cli.main import run
from torch import nn

from landscape import Objective
from landscape.measures import MEASURES
from landscape.sharpness import measure
from landscape.studies.control import ALPHAS, copies, moved
from landscape.studies.measured import Minimum

SMALL = ["--model", "mlp", "--model-arg", "widths=[8]", "--samples", "60", "--split", "train"]
# evidence needs a penalty and a minimum, and is no function of the network alone
CONTROLLED = [name for name in MEASURES if name not in ("occam", "log-evidence")]


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
    assert second["status"] == "non-finite"
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
        value = measure(objective, controlled).value
        moves = [moved(value, measure(other, controlled).value) for other in others]
        if MEASURES[controlled].invariances.layers:
            assert not any(moves), controlled
        else:
            assert all(moves), controlled
