"""Surface files of loss-landscape: taken up with the right orientation, written so that its own code reads them."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
from kinds import line, plane, sharpness
from landscape_cli.main import run

from landscape.errors import InputError
from landscape.results import DONE, INTERPOLATED, NON_FINITE, TODO, Line, Plane, Status
from landscape.store import Store, export, verify
from landscape.store.surface import imported, surface_of

X, Y = np.linspace(-1, 1, 5), np.linspace(-0.5, 1.5, 5)
COLUMNS = ("loss", "accuracy", "test_loss", "test_accuracy")


def loss_at(x, y):
    """Of no symmetry at all."""
    return 2 + x + 0.1 * y + 0.3 * x * y**2


def crunched(path, x, y=None, *, cells=None, shape=None, **also):
    """Written as by setup_surface_file and crunch of plot_surface.py, with get_unplotted_indices of scheduler.py."""
    with h5py.File(path, "w") as file:
        file["dir_file"] = "model_300.t7_weights_xignore=biasbn_xnorm=filter.h5"
        file["xcoordinates"] = x
        if y is not None:
            file["ycoordinates"] = y
        shape = shape or ((len(x),) if y is None else (len(x), len(y)))
        losses, accuracies = -np.ones(shape), -np.ones(shape)
        inds = np.array(range(losses.size))
        inds = inds[losses.ravel() <= 0]
        if y is None:
            coords = np.c_[x.ravel()[inds], 0 * inds]
        else:
            xmesh, ymesh = np.meshgrid(x, y)
            coords = np.c_[xmesh.ravel()[inds], ymesh.ravel()[inds]]
        for index, (a, b) in list(zip(inds, coords, strict=True))[:cells]:
            losses.ravel()[index] = loss_at(a, b)
            accuracies.ravel()[index] = 100.0 / loss_at(a, b)
        file["train_loss"], file["train_acc"] = losses, accuracies
        for name, values in also.items():
            file[name] = values
    return path


def arrays(path):
    with h5py.File(path) as file:
        return {name: np.array(file[name]) for name in file}


def rewrite(path, place, values):
    """Other numbers at a place of train_loss."""
    with h5py.File(path, "r+") as file:
        losses = file["train_loss"]
        assert isinstance(losses, h5py.Dataset)
        losses[place] = values


@pytest.fixture
def surface(tmp_path):
    return crunched(tmp_path / "s.h5", X, Y)


def square(**changed):
    grid = np.arange(16.0).reshape(4, 4) / 7 + 0.1
    fields = {"alpha": np.linspace(-1, 1, 4), "beta": np.linspace(0, 3, 4) ** 2, "loss": grid, "loss_stderr": grid}
    fields |= dict.fromkeys(("test_loss_stderr", "difference_stderr"))
    fields |= {"accuracy": grid / 3, "test_loss": grid[::-1] ** 2, "test_accuracy": grid.T / 3, "split": "train"}
    return plane(**(fields | {"point_status": np.ones((4, 4), dtype=np.uint8)} | changed))


def some_line(**changed):
    status = np.array([DONE, TODO, NON_FINITE, DONE, DONE, INTERPOLATED, DONE], dtype=np.uint8)
    loss = np.where(status % 2, np.arange(7.0) / 7, np.nan)
    fields = {"loss": loss, "test_loss": loss * 2, "accuracy": loss / 9, "test_accuracy": None}
    return line(**(fields | {"point_status": status} | changed))


def again(result, path, **options):
    path.write_bytes(surface_of(result))
    return imported(path, **options)


# -- taking up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y"), [(X, Y), (X, Y[:3]), (X[:2], Y), (X[::-1], Y), (X, Y[::-1])])
def test_a_plane_lies_as_it_was_measured(tmp_path, x, y):
    """Square and not square, rising and falling: as their loop places the points."""
    found = imported(crunched(tmp_path / "s.h5", x, y))
    assert isinstance(found, Plane)
    np.testing.assert_array_equal(found.alpha, np.sort(x))
    np.testing.assert_array_equal(found.beta, np.sort(y))
    np.testing.assert_array_equal(found.loss, loss_at(np.sort(x)[:, None], np.sort(y)[None]))
    np.testing.assert_allclose(found.accuracy, 1 / found.loss, rtol=1e-15)
    assert (found.status, found.split, found.bn, found.test_loss) == (Status.COMPLETE, "train", "eval", None)
    assert (found.point_status == DONE).all()
    assert found.problems() == []
    assert np.isnan(found.loss_stderr).all()


def test_a_plane_of_the_shape_that_can_be_drawn_is_the_same(tmp_path):
    a = imported(crunched(tmp_path / "a.h5", X, Y[:3]))
    b = imported(crunched(tmp_path / "b.h5", X, Y[:3], shape=(3, 5)))
    np.testing.assert_array_equal(a.loss, b.loss)


def test_a_line_is_taken_up(tmp_path):
    test = {"test_loss": X**2, "test_acc": np.full(5, 50.0), "max_eig": X}
    found = imported(crunched(tmp_path / "s.h5", X, **test))
    assert isinstance(found, Line)
    np.testing.assert_array_equal(found.loss, loss_at(X, 0))
    np.testing.assert_array_equal(found.test_loss, X**2)
    np.testing.assert_array_equal(found.test_accuracy, 0.5)
    assert found.problems() == []
    direction = {"kind": "imported", "file": "s.h5", "left_out": ["max_eig"]}
    assert direction.items() <= found.direction.items()
    assert found.direction["dir_file"].startswith("model_300.t7_weights")
    assert set(found.settings) == {"kind", "version", "imported"}


@pytest.mark.parametrize("cells", [0, 7])
def test_a_file_half_done_is_a_part(tmp_path, cells):
    found = imported(crunched(tmp_path / "s.h5", X, Y, cells=cells))
    assert (found.status, found.missing, found.problems()) == (Status.STOPPED, 25 - cells, [])
    expected = np.zeros((5, 5), dtype=bool)
    expected.T.flat[:cells] = True  # their rows follow y: ours are filled column by column
    np.testing.assert_array_equal(found.point_status == DONE, expected)
    np.testing.assert_array_equal(np.isfinite(found.loss), expected)
    assert found.accuracy is None if cells == 0 else (np.isfinite(found.accuracy) == expected).all()


def test_points_that_are_not_finite_are_marked(surface):
    rewrite(surface, np.s_[0, 1:4], (np.nan, np.inf, 0.0))
    found = imported(surface)
    assert found.point_status[:, 0].tolist() == [DONE, NON_FINITE, NON_FINITE, DONE, DONE]
    assert (found.loss[3, 0], found.status, found.problems()) == (0.0, Status.COMPLETE, [])
    rewrite(surface, np.s_[:], np.nan)
    assert (imported(surface).status, imported(surface).problems()) == (Status.NON_FINITE, [])


def test_of_the_test_split_alone(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["xcoordinates"], file["test_loss"] = X, X**2
    found = imported(tmp_path / "s.h5")
    assert (found.split, found.accuracy, found.test_loss) == ("test", None, None)
    np.testing.assert_array_equal(found.loss, X**2)


def test_statistics_that_moved_with_the_weights_are_said_so(tmp_path):
    path = crunched(tmp_path / "s.h5", X)
    with h5py.File(path, "r+") as file:
        del file["dir_file"]
        file["dir_file"] = np.bytes_("a.t7_b.t7_states.h5")
    assert (imported(path).bn, imported(path).direction["dir_file"]) == ("interpolate", "a.t7_b.t7_states.h5")


def test_a_trajectory_comes_with_the_plane(surface, tmp_path):
    with h5py.File(tmp_path / "p_proj_cos.h5", "w") as file:
        file["proj_xcoord"], file["proj_ycoord"] = np.array([3.0, 1.0, 0.0]), np.array([1.0, 2.0, 0.0])
    found = imported(surface, tmp_path / "p_proj_cos.h5")
    assert found.trajectory == ("p_proj_cos",) * 3
    assert (found.trajectory_alpha.tolist(), found.trajectory_beta.tolist()) == ([3, 1, 0], [1, 2, 0])
    assert set(found.settings) == {"kind", "version", "imported", "trajectory"}
    with pytest.raises(InputError, match="lacks proj_xcoord"):
        imported(surface, surface)
    with pytest.raises(InputError, match="needs a plane"):
        imported(crunched(tmp_path / "line.h5", X), tmp_path / "p_proj_cos.h5")


# -- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [some_line(), square(), plane(split="train"), square(split="test", test_loss=None, test_accuracy=None)]
)
def test_there_and_back_are_the_same_bits(given, tmp_path):
    found = again(given, tmp_path / "s.h5")
    assert type(found) is type(given)
    for name in ("alpha", "beta", "loss", "test_loss"):
        a, b = getattr(given, name, None), getattr(found, name, None)
        assert (a is b is None) or a.tobytes() == b.tobytes(), name
    for name in ("accuracy", "test_accuracy"):  # by 100 and back rounds twice
        if getattr(given, name) is not None:
            np.testing.assert_allclose(getattr(found, name), getattr(given, name), rtol=3e-16)
    assert found.split == given.split
    measured = np.isin(given.point_status, (DONE, INTERPOLATED))
    np.testing.assert_array_equal(found.point_status, np.where(measured, DONE, given.point_status))
    assert found.problems() == []
    assert surface_of(again(found, tmp_path / "t.h5")) == surface_of(found)


def test_of_one_run_the_trajectory_goes_along(tmp_path):
    steps = {"trajectory_alpha": np.array([1.0, 0.5]), "trajectory_beta": np.array([2.0, 0.0])}
    given = square(trajectory=("run", "run"), explained=np.array([0.7, 0.2]), **steps)
    found = again(given, tmp_path / "s.h5")
    np.testing.assert_array_equal(found.trajectory_alpha, [1.0, 0.5])
    np.testing.assert_array_equal(found.trajectory_beta, [2.0, 0.0])
    np.testing.assert_array_equal(found.explained, [0.7, 0.2])
    assert again(square(trajectory=("a", "b"), **steps), tmp_path / "s.h5").trajectory is None


@pytest.mark.parametrize("given", [square(), plane(split="train")])
def test_their_code_draws_what_is_written(given, tmp_path):
    """The lines of plot_2d_contour, and of h5_to_vtp in flat order: Z stands at (X, Y)."""
    path = tmp_path / "s.h5"
    path.write_bytes(surface_of(given))
    x, y, values = (arrays(path)[name] for name in ("xcoordinates", "ycoordinates", "train_loss"))
    across, up = np.meshgrid(x, y)
    plt.close(plt.contour(across, up, values).figure)
    for a, b, z in zip(across.ravel(), up.ravel(), values.ravel(), strict=True):
        assert given.loss[given.alpha == a, given.beta == b] == z


def test_what_is_to_do_is_computed_by_their_scheduler(tmp_path):
    status = np.ones((3, 5), dtype=np.uint8)
    status[2, 1] = TODO
    path = tmp_path / "s.h5"
    loss = np.where(status, np.ones((3, 5)), np.nan)
    path.write_bytes(
        surface_of(plane(split="train", loss=loss, point_status=status, status=Status.STOPPED, accuracy=None))
    )
    found = arrays(path)
    losses, x, y = (found[name] for name in ("train_loss", "xcoordinates", "ycoordinates"))
    assert (found["train_acc"] == -1).all()
    (index,) = np.array(range(losses.size))[losses.ravel() <= 0]
    assert [mesh.ravel()[index] for mesh in np.meshgrid(x, y)] == [plane().alpha[2], plane().beta[1]]


def test_exported_by_command(tmp_path, capsys):
    store = Store(tmp_path / "r.h5")
    store.add("net", square())
    store.add("net", some_line())
    store.add("other", sharpness())
    arguments = ["export", str(store.path), "--format", "surface", "--json"]
    assert run(arguments) == 0
    told = capsys.readouterr()
    assert told.err == "no surface files of 1 result, neither line nor plane: other/sharpness\n"
    names = [Path(file).name for file in json.loads(told.out)["files"]]
    assert names == ["r-net-plane.surface.h5", "r-net-line.surface.h5"]
    first = {path: path.read_bytes() for path in (tmp_path / "r-export").iterdir()}
    assert run(arguments) == 0
    assert first == {path: path.read_bytes() for path in (tmp_path / "r-export").iterdir()}
    capsys.readouterr()
    assert run([*arguments, "--format", "csv", "--label", "other", "--out", str(tmp_path / "none")]) == 3
    assert "neither a line nor a plane" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="neither a line nor a plane"):
        export(store.find(label="other"), "surface", tmp_path, "r")


# -- the command ----------------------------------------------------------------------------------------------------


def test_imported_by_command_and_found_again(surface, tmp_path, capsys):
    out = tmp_path / "r.h5"
    arguments = ["import", str(surface), "--out", str(out)]
    assert run([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"kind", "status", "label", "entries", "provenance"}
    assert (told["kind"], told["status"], told["label"]) == ("store", "complete", "s")
    (entry,) = told["entries"]
    assert set(entry) == {"label", "name", "kind", "digest", "status", "missing"}
    assert (entry["kind"], entry["status"], entry["missing"]) == ("plane", "complete", 0)
    assert (told["provenance"]["file"], told["provenance"]["found"]) == (str(surface), False)
    before = out.read_bytes()
    assert run(arguments) == 0
    assert capsys.readouterr() == (
        f"{out}: s, plane of 5 x 5 points [complete]\n",
        f"s: found in {out}, not imported again\n",
    )
    assert out.read_bytes() == before
    assert run([*arguments, "--label", "net"]) == 0
    assert "the same as s" in capsys.readouterr().err
    assert [(e.label, e.digest) for e in Store(out).entries()] == [(name, entry["digest"]) for name in ("s", "net")]
    surface.unlink()
    assert run(arguments) == 3


def test_the_other_commands_take_what_was_imported(surface, tmp_path, capsys):
    out = str(tmp_path / "r.h5")
    crunched(tmp_path / "half.h5", X, Y, cells=7)
    for name in ("s", "half"):
        assert run(["import", str(tmp_path / f"{name}.h5"), "--out", out, "--label", name]) == 0
    assert capsys.readouterr().out.endswith("half, plane of 5 x 5 points [stopped, 18 not computed yet]\n")
    assert [problem.what for problem in verify(out)] == ["is a part: 18 points are missing; --resume goes on"]
    assert run(["show", out, "--settings", "--fields"]) == 0
    for form in ("csv", "json", "npz", "surface"):
        assert run(["export", out, "--format", form]) == 0
    ours, before = arrays(tmp_path / "r-export" / "r-half-plane.surface.h5"), arrays(tmp_path / "half.h5")
    assert set(ours) == set(before)
    for name in set(ours) - {"train_acc"}:
        np.testing.assert_array_equal(ours[name], before[name])
    rewrite(surface, (0, 0), 9.0)
    assert any("has changed since" in problem.what for problem in verify(out))


# -- refused --------------------------------------------------------------------------------------------------------


def _link_out(file, secret):
    del file["train_loss"]
    file["train_loss"] = h5py.ExternalLink(str(secret), "train_loss")


def _soft(file, secret):
    file.move("train_loss", "other")
    file["train_loss"] = h5py.SoftLink("/other")


def _external(file, secret):
    del file["train_acc"]
    file.create_dataset("train_acc", (5, 5), "u1", external=[(str(secret), 0, 25)])


def _virtual(file, secret):
    del file["train_loss"]
    layout = h5py.VirtualLayout((5, 5), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "train_loss", (5, 5))
    file.create_virtual_dataset("train_loss", layout)


def _huge(file, secret):
    del file["xcoordinates"]
    file.create_dataset("xcoordinates", (10**12,), "f8", chunks=(1000,))


def _put(name, value):
    def change(file, secret):
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return change


def _group(file, secret):
    del file["train_loss"]
    file.create_group("train_loss")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_link_out, "link out of its place"),
        (_soft, "link out of its place"),
        (_external, "outside the file"),
        (_virtual, "outside the file"),
        (_huge, "larger than the file"),
        (_group, "no data set"),
        (_put("train_loss", None), "nothing is computed yet"),
        (_put("train_loss", np.ones((5, 4))), "has shape"),
        (_put("train_loss", np.ones(25)), "has shape"),
        (_put("train_acc", np.ones((1, 5, 5))), "has shape"),
        (_put("train_loss", np.ones((5, 5), dtype=complex)), "no numbers"),
        (_put("train_loss", "text"), "no numbers"),
        (_put("train_loss", h5py.Empty("f8")), "no data set"),
        (_put("xcoordinates", None), "no xcoordinates"),
        (_put("xcoordinates", np.ones(5)), "all different"),
        (_put("xcoordinates", np.array([0, 1, 2, 3, np.nan])), "finite"),
        (_put("xcoordinates", np.ones((5, 1))), "positions"),
        (_put("ycoordinates", np.ones(1)), "2 or more"),
        (lambda file, secret: file.update(proj_xcoord=np.ones(3), proj_ycoord=np.ones(2)), "not one path"),
        (lambda file, secret: file.attrs.update(schema_name="landscape"), "is a store of landscape"),
    ],
)
def test_what_is_no_surface_is_refused_in_one_line(surface, tmp_path, capsys, change, message):
    secret = crunched(tmp_path / "secret.h5", X, Y)
    with h5py.File(surface, "r+") as file:
        change(file, secret)
    assert run(["import", str(surface), "--out", str(tmp_path / "r.h5")]) == 3
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "r.h5").exists()


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100), "cut", "spoilt"])
def test_what_is_damaged_is_refused_in_one_line(surface, tmp_path, capsys, content):
    whole = surface.read_bytes()
    spoilt = {"cut": whole[: len(whole) // 2], "spoilt": whole[:96] + b"\xff" * 500 + whole[596:]}
    surface.write_bytes(spoilt.get(content, content))
    assert run(["import", str(surface), "--out", str(tmp_path / "r.h5")]) == 3
    told = capsys.readouterr().err
    assert told.startswith("landscape: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("arguments", [["none.h5", "--out", "r.h5"], [".", "--out", "r.h5"], ["s.h5", "--out", "s.h5"]])
def test_files_that_are_missing_or_in_the_wrong_place(surface, monkeypatch, capsys, arguments):
    monkeypatch.chdir(surface.parent)
    before = surface.read_bytes()
    assert run(["import", *arguments]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert surface.read_bytes() == before
    assert [path.name for path in surface.parent.iterdir()] == ["s.h5"]


@pytest.mark.parametrize(("fate", "reason"), [("os.abort()", "crashes"), ("time.sleep(60)", "did not end")])
def test_a_file_that_hangs_or_crashes_its_reader_is_refused(surface, tmp_path, monkeypatch, fate, reason):
    """The reader is a process of its own: the fault is planted by what it imports."""
    monkeypatch.setattr("landscape.store.watchdog.SECONDS", 3.0)
    (tmp_path / "sitecustomize.py").write_text(f"""
import os, sys, time
if "hand_over" in str(sys.orig_argv):
    {fate}
""")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=reason):
        imported(surface)


@pytest.mark.parametrize("arguments", [["--help"], ["s.h5", "--out", "r.h5"]])
def test_no_torch_comes_with_the_command(surface, monkeypatch, arguments):
    monkeypatch.chdir(surface.parent)
    arguments = ["import", *arguments]
    code = f"import sys; from landscape_cli.main import run; run({arguments!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
