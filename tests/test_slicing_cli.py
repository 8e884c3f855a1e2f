"""`landscape line` and `landscape plane`: every direction, what is marked, adaptive planes, samples, and refusals."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from landscape_cli.main import run
from safetensors.torch import load_file, save_file

from landscape.results import Status
from landscape.store import Store

NET = ["--model", "mlp", "--model-arg", "widths=[6]"]
BN = ["--model", "mlp", "--model-arg", "widths=[6]", "--model-arg", "norm=batch"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(one_thread, tmp_path_factory):
    """Runs from one initial point and from another, with trajectories; and a pair with batch norm."""
    place = tmp_path_factory.mktemp("slices")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, words in {
            "small": [*NET, "--batch-size", "32", "--save-every", "1"],
            "large": [*NET, "--batch-size", "512", "--save-every", "1"],
            "other": [*NET, "--batch-size", "32", "--seed", "1"],
            "bn-small": [*BN, "--batch-size", "32"],
            "bn-large": [*BN, "--batch-size", "512"],
        }.items():
            assert run(["train", *words, "--lr", "0.1", "--epochs", "4", "--out", f"{name}.safetensors"]) == 0
    return place


@pytest.fixture
def here(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def shown(capsys, text, code=0):
    """The JSON of a command, or its line on stderr where it fails."""
    capsys.readouterr()
    outcome = run([*text.split(), "--json"])
    found = capsys.readouterr()
    assert outcome == code, found.err
    return json.loads(found.out) if code == 0 else found.err


@pytest.mark.parametrize("kind", ["random", "eigen", "gradient"])
def test_lines_along_every_direction_are_found_again(here, capsys, kind):
    text = f"line small.safetensors --direction {kind} --range -0.5:0.5:5 --samples 200 --out {here / 'r.h5'}"
    first, second = shown(capsys, text), shown(capsys, text)
    assert second["provenance"]["found"]
    assert first["loss"] == second["loss"]
    assert first["direction"]["kind"] == kind
    assert first["direction"]["normalize"] == ("filter" if kind == "random" else "none")
    if kind != "random":
        assert first["unit_length"] == pytest.approx(1, rel=1e-6)


def test_along_the_leading_eigenvector_the_parabola_has_its_eigenvalue(here, capsys):
    step = 0.02
    found = shown(capsys, f"line small.safetensors --direction eigen --range -{step}:{step}:3 --dtype float64")
    low, middle, high = found["loss"]
    assert (low - 2 * middle + high) / step**2 == pytest.approx(found["direction"]["eigenvalues"][0], rel=0.05)


def test_a_direction_comes_from_a_file(here, capsys):
    tensors = {name: torch.ones_like(t) for name, t in load_file("small.safetensors").items()}
    save_file(tensors, here / "d.safetensors")
    text = f"line small.safetensors --direction file --direction-file {here / 'd.safetensors'} --range 0:0.1:2"
    found = shown(capsys, text)
    assert found["unit_length"] == pytest.approx(sum(t.numel() for t in tensors.values()) ** 0.5)
    normed = shown(capsys, f"{text} --normalize model")
    assert normed["direction"]["left out"] == "biases and norm params"
    assert "once" in shown(capsys, "line small.safetensors --direction file", 2)
    assert "needs the direction" in shown(capsys, "line small.safetensors --direction-file x", 2)
    assert "twice" in shown(
        capsys, f"plane small.safetensors --directions file --direction-file {here}/d.safetensors", 2
    )
    pair = f"--direction-file {here}/d.safetensors --direction-file {here}/d.safetensors"
    assert "parallel" in shown(capsys, f"plane small.safetensors --directions file {pair}", 3)


def test_biases_move_where_they_are_asked_for(here, capsys):
    plain = shown(capsys, "line small.safetensors --range 0:1:2")
    moved = shown(capsys, "line small.safetensors --range 0:1:2 --with-biases")
    assert moved["unit_length"] > plain["unit_length"]
    assert moved["direction"]["left out"] == "nothing"


def test_an_aligned_line_of_a_permuted_copy_is_flat(here, capsys):
    tensors = load_file("small.safetensors")
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    for name in ("1.weight", "1.bias"):
        tensors[name] = tensors[name][order]
    tensors["3.weight"] = tensors["3.weight"][:, order].contiguous()
    save_file(tensors, here / "permuted.safetensors")
    text = f"line small.safetensors {here / 'permuted.safetensors'} --data digits {' '.join(NET)} --range 0:1:11"
    raw = shown(capsys, text)
    aligned = shown(capsys, f"{text} --align permutation")
    assert raw["barrier"] > 0.1
    assert raw["barrier_low"] > 0
    assert abs(aligned["barrier"]) < 1e-6
    assert aligned["direction"]["align"]["distance"] < 1e-6 < aligned["direction"]["align"]["distance_before"]


def test_the_policies_of_batch_norm_by_flag(here, capsys):
    text = "line bn-small.safetensors bn-large.safetensors --range 0:1:3 --split train"
    lines = {bn: shown(capsys, f"{text} --bn {bn}") for bn in ("eval", "batch", "recompute", "interpolate")}
    assert {name: found["bn"] for name, found in lines.items()} == {name: name for name in lines}
    assert len({found["loss"][1] for found in lines.values()}) == 4
    assert shown(capsys, text)["loss"] == lines["interpolate"]["loss"]
    assert "training samples" in shown(capsys, f"{text.replace('train', 'test')} --bn recompute", 2)
    assert "recompute" in shown(capsys, "plane bn-small.safetensors --bn interpolate", 2)


def test_one_layer_at_a_time(here, capsys):
    found = shown(capsys, f"line small.safetensors large.safetensors --layers --range 0:1:3 --out {here / 'r.h5'}")
    assert (found["kind"], found["layers"]) == ("layer-lines", ["1", "3"])
    assert np.shape(found["loss"]) == np.shape(found["test_loss"]) == (2, 3)
    assert Store(here / "r.h5").entries()[0].result.problems() == []
    assert "neither" in shown(capsys, "line small.safetensors large.safetensors --layers --curvature", 2)


def test_curvature_along_the_line(here, capsys):
    found = shown(capsys, "line small.safetensors large.safetensors --curvature --range 0:1:2 --samples 100")
    assert len(found["eigenvalue"]) == 2
    assert max(found["eigenvalue_residual"]) < 0.01


def test_a_plane_through_two_minima_and_their_initial_point_with_both_runs(here, capsys):
    text = f"plane small.safetensors large.safetensors --trajectories --x -0.2:1.2:4 --out {here / 'r.h5'}"
    found = shown(capsys, text)
    assert found["marks"] == ["small", "large", "initial point"]
    np.testing.assert_allclose(found["mark_residual"], 0, atol=1e-5)
    np.testing.assert_allclose([found["mark_alpha"][:2], found["mark_beta"][:2]], [[0, 1], [0, 0]], atol=1e-6)
    assert found["mark_beta"][2] == pytest.approx(1)
    assert found["trajectory"] == ["small"] * 5 + ["large"] * 5  # the initial point, then four epochs
    assert found["trajectory_distance"][4] == 0
    assert found["trajectory_beta"][0] == pytest.approx(1, abs=1e-5)  # both runs begin at the initial point
    assert found["trajectory_beta"][5] == pytest.approx(1, abs=1e-5)
    assert found["label"] == "small--large"
    assert shown(capsys, text)["provenance"]["found"]


def test_statistics_are_never_of_test_samples(here, capsys):
    pair = "bn-small.safetensors bn-large.safetensors --split test"
    for words in (f"line {pair} --curve sincos", f"line {pair} --layers", f"plane {pair}"):
        assert "test samples" in shown(capsys, words, 3)


def test_a_plane_of_nothing_finite_ends_with_4(here, capsys):
    capsys.readouterr()
    assert run(["plane", "small.safetensors", "--x", "1e30:2e30:12", "--adaptive", "0.01"]) == 4
    assert "non-finite" in capsys.readouterr().err


def test_the_same_minima_under_other_names_are_the_same_plane(here, capsys):
    (here / "copy.safetensors").write_bytes(Path("other.safetensors").read_bytes())
    text = f"plane small.safetensors --x 0:1:2 --out {here / 'r.h5'} --mark"
    assert shown(capsys, f"{text} other.safetensors")["marks"] == ["small", "other"]
    assert shown(capsys, f"{text} {here / 'copy.safetensors'}")["provenance"]["found"]


def test_a_plane_through_three_minima_with_a_fourth_projected(here, capsys):
    text = "plane small.safetensors large.safetensors other.safetensors --samples 100 --x -0.5:1.5:3"
    found = shown(capsys, f"{text} --mark {Path.cwd() / 'small.trajectory' / '00000045.safetensors'}")
    assert found["marks"] == ["small", "large", "other", "00000045"]
    assert found["mark_residual"][3] > 1e-3
    assert found["bn"] == "eval"


def test_the_axes_cover_what_is_marked(here, capsys):
    found = shown(capsys, "plane small.safetensors large.safetensors --samples 50")
    assert np.shape(found["loss"]) == (25, 25)
    for axis in ("alpha", "beta"):
        assert min(found[axis]) < min(found[f"mark_{axis}"])
        assert max(found[axis]) > max(found[f"mark_{axis}"])


def test_a_plane_of_a_trajectory_says_how_much_it_explains(here, capsys):
    found = shown(capsys, "plane small.safetensors --directions trajectory --samples 100 --x -1:1:3")
    assert 0.5 < sum(found["explained"]) <= 1
    assert found["explained"][0] > found["explained"][1]
    assert found["unit_lengths"] == pytest.approx([1, 1])
    assert abs(found["cosine"]) < 1e-6
    assert "train with --save-every" in shown(capsys, "plane other.safetensors --directions trajectory", 3)


@pytest.mark.parametrize("kind", ["eigen", "gradient"])
def test_planes_of_eigenvectors_and_gradient_are_at_right_angles(here, capsys, kind):
    text = f"plane small.safetensors --directions {kind} --x -1:1:3 --samples 200 --out {here / 'r.h5'}"
    found = shown(capsys, text)
    assert abs(found["cosine"]) < 1e-12
    assert found["unit_lengths"] == pytest.approx([1, 1], rel=1e-6)
    assert shown(capsys, text)["provenance"]["found"]
    again = shown(capsys, f"{text} --overwrite")
    assert again["loss"] == found["loss"]


def test_an_adaptive_plane_marks_what_it_interpolated(here, capsys):
    found = shown(capsys, "plane small.safetensors --x -1:1:31 --adaptive 0.02 --samples 100")
    there = np.array(found["evaluated"])
    assert 0 < there.mean() < 0.6
    assert set(np.unique(found["point_status"])) == {1, 3}
    assert found["interpolation_error"] < found["tolerance"] == 0.02


def test_samples_grow_until_the_differences_are_resolved(here, capsys):
    text = "line small.safetensors --range -1:1:9"
    found = shown(capsys, f"{text} --samples auto --share 0.04 --out {here / 'r.h5'}")
    share = max(found["difference_stderr"]) / (max(found["loss"]) - min(found["loss"]))
    assert found["num_samples"] in (512, 1024, 1437)
    assert found["num_samples"] == 1437 or share <= 0.04
    assert found["direction"]["samples"] == {"asked": "auto", "share": 0.04}
    assert shown(capsys, f"{text} --samples {found['num_samples']} --out {here / 'r.h5'}")["provenance"]["found"]
    assert shown(capsys, f"{text} --samples auto --share 0.0001")["num_samples"] == 1437
    for wrong in ("--samples many", "--share 0.1", "--samples auto --share 2", "--samples 0"):
        assert shown(capsys, f"{text} {wrong}", 2)


def test_the_initial_point_must_be_shared_and_kept(here, capsys):
    assert "different points" in shown(capsys, "plane small.safetensors other.safetensors", 3)
    for name in ("small", "large"):
        (here / f"{name}.safetensors").write_bytes(Path(f"{name}.safetensors").read_bytes())
    assert "no run log" in shown(capsys, f"plane {here}/small.safetensors {here}/large.safetensors", 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plane small.safetensors --directions minima", "two or three"),
        ("plane small.safetensors large.safetensors --directions random", "around one minimum"),
        ("plane a b c d", "at most three"),
        ("plane small.safetensors --adaptive 1", "between 0 and 1"),
        ("plane --model mlp --trajectories", "the checkpoint of its run"),
        ("plane --model mlp --mark small.safetensors", "--mark needs"),
        ("line small.safetensors --curve sincos", "two checkpoints"),
        ("line small.safetensors --align permutation", "two checkpoints"),
        ("line small.safetensors large.safetensors --align permutation --restarts -1", "negative"),
        ("line small.safetensors large.safetensors --restarts 2", "--align"),
        ("line small.safetensors large.safetensors --normalize filter", "not between two"),
        ("line small.safetensors --direction eigen --with-biases", "has its biases"),
        ("plane small.safetensors large.safetensors --normalize filter", "neither"),
    ],
)
def test_what_the_text_tells_is_refused(here, capsys, text, words):
    assert words in shown(capsys, text, 2)


def test_minima_of_other_architectures_share_no_plane(here, capsys):
    assert "same architecture" in shown(capsys, "plane small.safetensors --mark bn-small.safetensors", 3)


def test_a_stopped_plane_of_minima_goes_on(here, capsys, monkeypatch):
    """The part is one of the same settings: marks and trajectories too."""
    text = f"plane small.safetensors large.safetensors --trajectories --x 0:1:4 --out {here / 'r.h5'}"
    whole = shown(capsys, text)
    store = Store(here / "s.h5")
    entry = Store(here / "r.h5").find(kind="plane")[0]
    status, loss = entry.result.point_status.copy(), entry.result.loss.copy()
    status.flat[7:] = 0
    loss.flat[7:] = np.nan
    part = dataclasses.replace(entry.result, status=Status.STOPPED, point_status=status, loss=loss)
    store.add(entry.label, part, entry.provenance, entry.manifest)
    other = text.replace("r.h5", "s.h5")
    assert "--resume" in shown(capsys, other, 3)
    assert shown(capsys, f"{other} --resume")["loss"] == whole["loss"]
