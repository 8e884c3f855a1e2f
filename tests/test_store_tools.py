"""Around the store: schema versions, other readers, verify, merge, export, one result under several labels."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray
from kinds import MAKERS, NONES, eigenpairs, eigenvectors, line, plane, same, sharpness, training
from landscape_cli.main import run

from landscape.errors import InputError, UsageError, one_line
from landscape.results import DONE, KINDS, NON_FINITE, TODO, Status, stored_fields
from landscape.store import SCHEMA_VERSION, Store, export, merge, vectors_path, verify
from landscape.store.schema import content
from landscape.store.seal import MARK, unsealed

STORES = Path(__file__).parent / "stores"
VERSIONS = range(1, SCHEMA_VERSION + 1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "r.h5")


@pytest.fixture
def good(store):
    """A store in which nothing is wrong."""
    numbers = np.array([0.5, 0.25, 0.125])
    store.add("net", eigenpairs(residuals=numbers * 1e-9, low=None, high=None), {"command": ["landscape"]})
    store.add("net", plane())
    return store


# -- schema versions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_every_version_opens(version):
    path = STORES / f"v{version}.h5"
    with h5py.File(path) as file:
        assert file.attrs["schema_version"] == version
    entries = Store(path).entries()
    assert {entry.result.kind for entry in entries} == {k for k in MAKERS if SINCE.get(k, 1) <= version}
    for entry in entries:
        if entry.name != entry.result.kind:  # the parts beside
            continue
        kind = entry.result.kind
        given = MAKERS[kind]() if entry.label == "small" else MAKERS[kind](tag=1, **dict.fromkeys(NONES[kind]))
        for field in stored_fields(type(given)):
            value = getattr(given, field.name)
            if any(version < since and field.name in named.get(kind, ()) for since, named in NEWER.items()):
                value = None
            if value is None and any(version < s and field.name in n.get(kind, ()) for s, n in OPTIONAL.items()):
                value = getattr(MAKERS[kind](), field.name)
            assert same(getattr(entry.result, field.name), value), field.name
    assert any(entry.stopped for entry in entries)


# The version from which on a kind is there, or a field of an older kind.
SINCE = (
    {"updates": 3, "tracked": 3, "sweep": 3, "layer-lines": 4, "path": 4, "sharpness-series": 5}
    | dict.fromkeys(("noise", "batch-errors", "trade-off", "batch-size"), 6)
    | {"comparison": 7}
)
SINCE["correlation"] = 7
OF_SLICES = {"test_loss_stderr", "difference_stderr", "num_samples"}
NEWER = {
    3: {"training": {"samples", "batch_size", "gradient_norm", "weight_norm", "kept"}},
    4: {
        "line": OF_SLICES
        | {"error_difference_stderr", "eigenvalue", "eigenvalue_residual"}
        | {f"{name}_{end}" for name in ("barrier", "error_barrier") for end in ("low", "high")},
        "plane": OF_SLICES
        | {"tolerance", "interpolation_error", "explained", "bn"}
        | {f"mark{rest}" for rest in ("s", "_alpha", "_beta", "_residual", "_loss")}
        | {f"trajectory{rest}" for rest in ("", "_alpha", "_beta", "_residual", "_distance")},
    },
    5: {
        "sharpness": {"rho", "norm", "law", "dimension", "repeats", "values", "std", "m", "gap", "layer", "num_matvecs"}
        | {"parts", "self_check", "hvp"}
    },
}
# What may be None since: older files hold a number there.
OPTIONAL = {
    5: {"sharpness": {"epsilon", "max_loss", "iterations", "num_evaluations", "on_boundary", "displaced_start"}}
}


def test_the_newest_file_holds_every_field_of_every_kind():
    """Results that change need a new version: raise SCHEMA_VERSION and run tests/stores/make.py."""
    with h5py.File(STORES / f"v{SCHEMA_VERSION}.h5") as file:
        assert set(file["small"]) >= set(KINDS)
        for kind, result_type in KINDS.items():
            group = file[f"small/{kind}"]
            assert isinstance(group, h5py.Group)
            names = {field.name for field in stored_fields(result_type)}
            own = {"kind", "digest", "content", "origin", "provenance", "manifest"}
            scales = {name for name in group if group[name].attrs.get("NAME", b"").startswith(b"This is a netCDF")}
            assert (set(group) | set(group.attrs)) - own - scales == names


def test_an_older_file_takes_new_results_and_becomes_new(store):
    shutil.copy(STORES / "v1.h5", store.path)
    before = store.entries()
    store.add("more", sharpness(tag=5))
    assert [e.digest for e in store.entries()] == [*(e.digest for e in before), store.find(label="more")[0].digest]
    assert store.about()["schema_version"] == SCHEMA_VERSION


def test_the_texts_of_an_older_file_are_no_problem_and_become_new_with_it(store):
    """Units and meanings of fields belong to their version: version 5 gave sharpness other ones."""
    for version in VERSIONS:
        shutil.copy(STORES / f"v{version}.h5", store.path)
        assert not [p for p in verify(store.path) if "the schema says" in p.what], version
    shutil.copy(STORES / "v4.h5", store.path)
    with h5py.File(store.path) as file:
        assert file["small/sharpness/num_evaluations"].attrs["units"] == "gradient passes"
    store.add("more", sharpness(tag=5))
    with h5py.File(store.path) as file:
        assert file["small/sharpness/num_evaluations"].attrs["units"] == "1"
    assert not [p for p in verify(store.path) if "the schema says" in p.what]


def test_a_newer_file_ends_a_command_with_3(good, capsys):
    with h5py.File(good.path, "r+") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION + 1
    for command in ("show", "verify", "export", "figure"):
        assert run([command, str(good.path)]) == 3, command
        assert "schema version" in "".join(capsys.readouterr())
    assert run(["merge", str(good.path), "--out", str(good.path.with_name("o.h5"))]) == 3
    assert "update landscape" in capsys.readouterr().err
    assert not good.path.with_name("o.h5").exists()


def test_a_changed_number_is_noticed_without_the_seal(good):
    """The checksum of each result's content: scalars have no fletcher32."""
    image = bytearray(unsealed(good.path.read_bytes(), good.path))
    value = np.float64(1 / 7).tobytes()  # the loss of `eigenpairs`, in full
    assert image.count(value) >= 1
    place = image.index(value)
    image[place] ^= 1
    good.path.write_bytes(image)
    with pytest.raises(InputError, match="checksum"):
        good.entries()


# -- other readers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_every_kind(store, engine):
    for maker in MAKERS.values():
        store.add("net", maker())
        store.add("other", maker())  # shared: a hard link
    with xarray.open_datatree(store.path, engine=engine) as tree:
        assert set(tree.children) == {"net", "other"}
    for label in ("net", "other"):
        for kind, maker in MAKERS.items():
            given = maker()
            with xarray.open_dataset(store.path, group=f"{label}/{kind}", engine=engine) as found:
                assert found.attrs["kind"] == kind
                for field in stored_fields(type(given)):
                    if isinstance(value := getattr(given, field.name), np.ndarray):
                        assert found[field.name].dims == field.metadata["dims"]
                        np.testing.assert_array_equal(found[field.name].values, value)
                        assert found[field.name].attrs["long_name"] == field.metadata["about"]
                        assert found[field.name].attrs["units"] == given.unit(field.name)


def test_netcdf4_sees_axes_and_units(store):
    store.add("net", plane())
    with netCDF4.Dataset(store.path) as file:
        found = file["net/plane"]
        assert {name: len(axis) for name, axis in found.dimensions.items()} == {
            **{"alpha": 3, "beta": 5, "axis": 2, "mark": 3, "step": 2}
        }
        assert found["loss"].dimensions == ("alpha", "beta")
        assert found["loss"].units == "loss"


@pytest.mark.parametrize(
    ("operator", "unit"), [("hessian", "loss / param^2"), ("empirical-fisher", "loss^2 / param^2")]
)
def test_the_unit_follows_from_the_operator(store, operator, unit):
    store.add("net", eigenpairs(settings={"kind": "eigenpairs", "operator": operator}))
    with h5py.File(store.path) as file:
        assert file["net/eigenpairs/eigenvalues"].attrs["units"] == unit
        assert file["net/eigenpairs/gradient_norm"].attrs["units"] == "loss / param"


# -- one result, several labels -------------------------------------------------------------------------------------


def test_a_shared_result_is_kept_once_and_replaced_everywhere(store):
    big = eigenpairs(eigenvalues=np.linspace(9, 1, 50_000), residuals=np.zeros(50_000), low=None, high=None)
    store.add("a", big)
    alone = store.path.stat().st_size
    store.share("b", store.entries()[0])
    store.share("b", store.entries()[0])
    assert store.path.stat().st_size < 1.1 * alone
    assert [(e.label, e.name) for e in store.entries()] == [("a", "eigenpairs"), ("b", "eigenpairs")]
    store.add("b", eigenpairs(num_matvecs=99))
    assert [e.result.num_matvecs for e in store.entries()] == [99, 99]


def test_a_part_never_replaces_what_is_finished(store):
    store.add("net", plane())
    before = content(store.entries()[0].result)
    store.add("net", part())
    assert [(e.name, e.stopped) for e in store.entries()] == [("plane", False), ("plane-2", True)]
    assert content(store.entries()[0].result) == before
    store.add("net", part(done=12))
    assert len(store.entries()) == 2
    store.add("net", plane(cosine=0.5))
    (entry,) = store.entries()
    assert (entry.name, entry.stopped, entry.result.cosine) == ("plane", False, 0.5)


def part(done=7, **changed):
    """A plane of which the first points are done."""
    whole = plane()
    flags = np.zeros(15, dtype=np.uint8)
    flags[:done] = DONE
    loss = np.where(flags == DONE, whole.loss.ravel(), np.nan)
    columns = {"point_status": flags.reshape(3, 5), "loss": loss.reshape(3, 5)}
    rest = {name: np.where(columns["point_status"], getattr(whole, name), np.nan) for name in OTHERS}
    return plane(**({"status": Status.STOPPED} | columns | rest | changed))


OTHERS = ("loss_stderr", "accuracy", "test_loss", "test_loss_stderr", "test_accuracy", "difference_stderr")


def test_a_result_whose_axes_contradict_is_not_stored(store):
    with pytest.raises(InputError, match="loss has 4 points along beta, which has 5"):
        store.add("net", plane(loss=np.zeros((3, 4))))
    assert not store.path.exists()


def test_a_file_does_not_grow_with_what_is_replaced(store, monkeypatch):
    monkeypatch.setattr("landscape.store.packing.SLACK", 20_000)
    for maker in MAKERS.values():
        store.add("a", maker(settings={"kind": maker().kind, "tag": 7}))
    store.share("b", store.find(kind="plane")[0])
    with h5py.File(store.path, "r+") as file:  # what another program put there stays
        file["note"] = "by hand"
        file["a"].attrs["owner"] = "someone"
        file["a/plane"].create_dataset("mine", data=[1.0, 2.0])
        file["a/plane/mine"].dims[0].attach_scale(file["a/plane/axis"])
    before = [content(entry.result) for entry in store.entries()]
    sizes = []
    for number in range(60):
        columns = dict.fromkeys(("loss", *OTHERS), np.full((40, 40), number / 7))
        columns |= {"alpha": np.arange(40.0), "beta": np.arange(40.0)}
        store.add("net", part(settings={"kind": "plane"}, **columns, point_status=np.ones((40, 40), dtype=np.uint8)))
        sizes.append(store.path.stat().st_size)
    assert max(sizes) < 1.6 * sizes[0] + 20_000
    assert sorted(sizes) != sizes  # it was packed along the way
    assert [content(entry.result) for entry in store.entries()][:-1] == before
    with h5py.File(store.path) as file:
        assert file["note"].asstr()[()] == "by hand"
        assert file["a"].attrs["owner"] == "someone"
        assert file["a/plane/mine"].dims[0][0] == file["a/plane/axis"]
        assert file["a/plane"] == file["b/plane"]
    for engine in ("h5netcdf", "netcdf4"):
        with xarray.open_dataset(store.path, group="net/plane", engine=engine) as found:
            assert found.loss.dims == ("alpha", "beta")
            assert (found.loss.values == 59 / 7).all()


# -- verify ---------------------------------------------------------------------------------------------------------


def told(path):
    return [(problem.severe, problem.what) for problem in verify(path)]


def test_a_good_file_has_no_problems(good, capsys):
    assert verify(good.path) == []
    assert run(["verify", str(good.path)]) == 0
    assert capsys.readouterr().out == f"{good.path}: no problems\n"


CONTRADICTIONS = {
    "a done point without a loss": (plane(loss=np.full((3, 5), np.nan)), "not finite"),
    "a loss at a point to do": (plane(point_status=np.full((3, 5), NON_FINITE, dtype=np.uint8)), "do not count"),
    "complete with missing points": (part(status=Status.COMPLETE), "missing"),
    "a status of no meaning": (plane(point_status=np.full((3, 5), 7, dtype=np.uint8)), "none of"),
    "positions that fall": (plane(alpha=np.array([1.0, 0.0, -1.0])), "do not rise"),
    "converged with nan": (eigenpairs(), "not finite"),
    "a residual above the tolerance": (
        eigenpairs(residuals=np.full(3, 0.1), settings={"kind": "eigenpairs", "tol": 0.01}),
        "residual is 1.00e-01",
    ),
    "eigenvalues out of order": (eigenpairs(eigenvalues=np.array([1.0, 2.0, 0.0]), residuals=np.zeros(3)), "order"),
    "weights that are no shares": (MAKERS["density"](weights=np.full((2, 3), 0.5)), "no shares"),
    "a negative error": (MAKERS["trace"](stderr=-1.0, frobenius=1.0), "negative"),
    "a box without its centre": (sharpness(max_loss=0.0), "below"),
    "an epoch that returns": (training(epoch=np.array([0.0, 1.0, 1.0, 2.0])), "do not rise"),
    "vectors that are not of length one": (eigenvectors(), "length"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_found(good, capsys, case):
    result, words = CONTRADICTIONS[case]
    good.add("wrong", result)
    found = told(good.path)
    assert any(severe and words in what for severe, what in found), found
    assert run(["verify", str(good.path), "--json"]) == 3
    captured = capsys.readouterr()
    assert {"where", "problem", "severe"} == set(json.loads(captured.out)["problems"][0])
    assert len(captured.err.splitlines()) == 1


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _edit(change):
    def edit(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return edit


DAMAGES = {
    "a flipped bit": (_flip, True, "checksum"),
    "a settings attribute changed by hand": (
        _edit(lambda file: file["net/plane"].attrs.__setitem__("settings", '{"kind": "plane", "tag": 9}')),
        True,
        "checksum",
    ),
    "a digest that is not that of the settings": (
        _edit(lambda file: file["net/plane"].attrs.__setitem__("digest", "0" * 64)),
        True,
        "where it came from",
    ),
    "a provenance changed by hand": (
        _edit(lambda file: file["net/plane"].attrs.__setitem__("provenance", '{"seconds": 1}')),
        True,
        "where it came from",
    ),
    "a kind of another program": (
        _edit(lambda file: file["net/plane"].attrs.__setitem__("kind", "scan")),
        True,
        "kind",
    ),
    "an unknown data set": (_edit(lambda file: file["net/plane"].create_dataset("mine", data=1.0)), False, "mine"),
    "another unit": (_edit(lambda file: file["net/plane/loss"].attrs.__setitem__("units", "bits")), False, "units"),
    "no seal": (_edit(lambda file: file.create_dataset("note", data=1.0)), False, "another program"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_found(good, case):
    damage, severe, words = DAMAGES[case]
    damage(good.path)
    assert any(s == severe and words in what for s, what in told(good.path)), told(good.path)
    assert any(s for s, _ in told(good.path)) == severe


def test_what_waits_beside_is_told(good, tmp_path):
    good.path.with_name(f".{good.path.name}.tmp.999999999").write_bytes(b"half")
    good.path.with_name(f".{good.path.name}.tmp.{os.getpid()}").write_bytes(b"at work")
    head = {"about": {"settings": {"kind": "eigenpairs"}}, "key": "", "bytes": 0, "crc": 0}
    good.path.with_name(f"{good.path.name}.{'0' * 16}.journal").write_text(json.dumps(head) + "\n")
    good.add("net", part(settings={"kind": "plane", "other": 1}))
    (tmp_path / "net.safetensors").write_bytes(b"new")
    good.add("net", sharpness(loss=0.5), {"inputs": {str(tmp_path / "net.safetensors"): "0" * 64}})
    good.path.with_name(f".{good.path.name}.tmp.999999999").write_bytes(b"half")
    found = verify(good.path)
    assert not any(p.severe and "sharpness" not in p.where for p in found)
    words = ["8 points are missing", "killed process", "journal of a stopped eigenpairs", "has changed since"]
    assert [w for w in words if not any(w in p.what for p in found)] == []
    assert sum("killed" in p.what for p in found) == 1


def test_a_file_of_another_program_is_not_called_damaged(tmp_path, capsys):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["surface"] = np.zeros(3)
    assert run(["verify", str(tmp_path / "theirs.h5")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "another program" in captured.err
    assert "damaged" not in captured.err


def test_the_vectors_beside_are_verified_too(good):
    Store(vectors_path(good.path)).add("net", eigenvectors())
    assert any(severe and "length" in what for severe, what in told(good.path))


# -- merge ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """Two files with one result in common and one of their own each."""
    left, right = Store(tmp_path / "left.h5"), Store(tmp_path / "right.h5")
    for own in (left, right):
        own.add("net", eigenpairs(), {"command": [own.path.stem]}, {"threads": 2})
    left.add("net", plane(tag=1))
    right.add("other", plane(tag=2))
    return left, right


def test_the_same_digest_twice_is_one_result(pair, tmp_path):
    out = tmp_path / "all.h5"
    merge([store.path for store in pair], out)
    names = [("net", "eigenpairs"), ("net", "plane"), ("other", "plane")]
    assert [(e.label, e.name) for e in Store(out).entries()] == names
    assert Store(out).entries()[0].provenance == {"command": ["left"]}
    assert Store(out).entries()[0].manifest == {"threads": 2}
    once = out.read_bytes()
    merge([store.path for store in pair], out)
    assert [content(e.result) for e in Store(out).entries()] == [
        content(e.result) for e in [*pair[0].entries(), pair[1].entries()[1]]
    ]
    assert abs(len(once) - out.stat().st_size) < 2000


def test_a_result_under_two_labels_is_shared(tmp_path):
    for label in ("a", "b"):
        Store(tmp_path / f"{label}.h5").add(label, plane())
    merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "all.h5")
    assert [(e.label, e.name) for e in Store(tmp_path / "all.h5").entries()] == [("a", "plane"), ("b", "plane")]
    with h5py.File(tmp_path / "all.h5") as file:
        assert file["a/plane"] == file["b/plane"]


def test_only_what_tells_of_the_run_may_differ(pair, tmp_path):
    pair[1].add("net", eigenpairs(hvp={"path": "double"}, self_check={}))
    assert len(merge([store.path for store in pair], tmp_path / "all.h5")) == 3


def test_a_conflict_is_refused_and_nothing_written(pair, tmp_path):
    pair[1].add("net", eigenpairs(eigenvalues=np.array([3.5, 1 / 3, -0.25 - 3.5e-7])))
    out = tmp_path / "all.h5"
    with pytest.raises(InputError, match=r"differ in eigenvalues \(by 1.0e-07") as caught:
        merge([store.path for store in pair], out)
    assert "--prefer" in one_line(caught.value)
    assert not out.exists()
    Store(out).add("old", sharpness())
    before = out.read_bytes()
    with pytest.raises(InputError):
        merge([store.path for store in pair], out)
    assert out.read_bytes() == before
    for prefer, value in (("first", -0.25), ("last", -0.25 - 3.5e-7)):
        merge([store.path for store in pair], tmp_path / f"{prefer}.h5", prefer=prefer)
        assert Store(tmp_path / f"{prefer}.h5").find(kind="eigenpairs")[0].result.eigenvalues[2] == value
    with pytest.raises(UsageError, match="prefer"):
        merge([pair[0].path], out, prefer="best")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_finished_takes_the_place_of_a_part(tmp_path, order):
    stores = [Store(tmp_path / "part.h5"), Store(tmp_path / "whole.h5")]
    stores[0].add("net", part())
    stores[1].add("net", plane())
    (entry,) = merge([stores[i].path for i in order], tmp_path / "all.h5")
    assert (entry.name, entry.stopped) == ("plane", False)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_parts_the_longer_is_taken(tmp_path, order):
    stores = [Store(tmp_path / "short.h5"), Store(tmp_path / "long.h5")]
    stores[0].add("net", part(done=3))
    stores[1].add("net", part(done=9))
    (entry,) = merge([stores[i].path for i in order], tmp_path / "all.h5")
    assert entry.result.missing == 6
    stores[0].add("net", part(done=3, loss=np.where(part(done=3).point_status, 7.0, np.nan)))
    with pytest.raises(InputError, match="differ"):
        merge([stores[i].path for i in order], tmp_path / "other.h5")


def test_the_vectors_beside_are_joined_too(pair, tmp_path):
    Store(vectors_path(pair[1].path)).add("net", eigenvectors())
    merge([store.path for store in pair], tmp_path / "all.h5")
    assert Store(tmp_path / "all.vectors.h5").entries()[0].result.vectors.shape == (5, 2)
    assert not (tmp_path / "left.vectors.h5").exists()


def test_merging_by_command(pair, tmp_path, capsys):
    files = [str(store.path) for store in pair]
    assert run(["merge", *files, "--out", str(tmp_path / "all.h5"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["entries"]
    assert [(e["label"], e["kind"]) for e in listed] == [("net", "eigenpairs"), ("net", "plane"), ("other", "plane")]
    assert run(["merge", *files, "--out", str(tmp_path / "all.h5")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'all.h5'}: 3 results of net, other\n"
    assert run(["merge", str(tmp_path / "none.h5"), "--out", str(tmp_path / "new.h5")]) == 3
    assert run(["merge", "--out", str(tmp_path / "new.h5")]) == 2
    assert not (tmp_path / "new.h5").exists()


@pytest.fixture
def damaged(good):
    """A file in which one bit of the plane's loss has flipped."""
    good.add("other", sharpness(), {"command": ["landscape"]})
    with h5py.File(good.path) as file:
        offset = file["net/plane/loss"].id.get_chunk_info(0).byte_offset
    content = bytearray(good.path.read_bytes())
    content[offset + 3] ^= 1
    good.path.write_bytes(content)
    return good.path


def test_vectors_are_not_written_where_the_rest_conflicts(pair, tmp_path):
    for own in pair:
        Store(vectors_path(own.path)).add("net", eigenvectors())
    pair[1].add("net", eigenpairs(num_matvecs=18))
    with pytest.raises(InputError, match="num_matvecs"):
        merge([own.path for own in pair], tmp_path / "all.h5")
    assert not (tmp_path / "all.vectors.h5").exists()
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        merge([pair[0].path], tmp_path / "folder.h5")
    assert not (tmp_path / "folder.vectors.h5").exists()


def test_names_of_ends_are_no_conflict(tmp_path):
    for name in ("a", "b"):
        Store(tmp_path / f"{name}.h5").add("x--y", line(direction={"ends": [name, "y"]}))
    assert len(merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "all.h5")) == 1


def test_what_is_whole_in_a_damaged_file_is_salvaged(damaged, tmp_path, capsys):
    out = tmp_path / "saved.h5"
    assert run(["merge", str(damaged), "--out", str(out)]) == 3
    assert "--salvage" in capsys.readouterr().err
    assert not out.exists()
    assert run(["merge", str(damaged), "--out", str(out), "--salvage", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"lost: {damaged}:/net/plane: /net/plane is damaged")
    assert list(json.loads(captured.out)["provenance"]["lost"]) == [f"{damaged}:/net/plane"]
    assert [(e.label, e.name) for e in Store(out).entries()] == [("net", "eigenpairs"), ("other", "sharpness")]
    assert Store(out).entries()[1].provenance == {"command": ["landscape"]}


@pytest.mark.parametrize(("fate", "reason"), [("os.abort()", "crashes"), ("time.sleep(60)", "did not end")])
def test_a_result_that_hangs_or_crashes_its_reader_is_passed_over(damaged, tmp_path, monkeypatch, fate, reason):
    """The readers are processes of their own: the fault is planted by what they import."""
    monkeypatch.setattr("landscape.store.watchdog.SECONDS", 3.0)
    (tmp_path / "sitecustomize.py").write_text(f"""
import os, sys, time
if "landscape" in str(sys.orig_argv):
    import landscape.store.groups as groups
    honest = groups.read_entry

    def read_entry(place):
        if place.name == "eigenpairs":
            {fate}
        return honest(place)

    groups.read_entry = read_entry
""")
    monkeypatch.syspath_prepend(str(tmp_path))
    lost = {}
    out = tmp_path / "saved.h5"
    merge([damaged], out, lost=lost)
    assert [(e.label, e.name) for e in Store(out).entries()] == [("other", "sharpness")]
    assert reason in lost[f"{damaged}:/net/eigenpairs"]
    assert set(lost) == {f"{damaged}:/net/eigenpairs", f"{damaged}:/net/plane"}
    damaged.write_bytes(unsealed_bytes(damaged))
    with pytest.raises(InputError, match=reason):
        Store(damaged).entries()


def unsealed_bytes(path):
    return path.read_bytes()[: -len(MARK) - 64]


# -- export ---------------------------------------------------------------------------------------------------------


def test_exported_json_says_all(store, tmp_path):
    for kind, maker in MAKERS.items():
        store.add(f"my {kind}", maker(), {"seconds": 1.5})
    (path,) = export(store.entries(), "json", tmp_path / "out", "r")
    listed = json.loads(path.read_text())["entries"]
    for entry, found in zip(store.entries(), listed, strict=True):
        assert found["label"] == entry.label
        assert found["provenance"] == {"seconds": 1.5}
        for field in stored_fields(type(entry.result)):
            value = getattr(entry.result, field.name)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(
                    np.array(found[field.name], dtype=float), np.where(np.isfinite(value), value, np.nan)
                )
    assert next(found for found in listed if found["kind"] == "training")["units"]["distance"] == "param"


def test_exported_npz_holds_the_bits(store, tmp_path):
    for maker in MAKERS.values():
        store.add("net", maker())
    (path,) = export(store.entries(), "npz", tmp_path, "r")
    with np.load(path, allow_pickle=False) as found:
        for entry in store.entries():
            for field in stored_fields(type(entry.result)):
                value = getattr(entry.result, field.name)
                key = f"net/{entry.name}/{field.name}"
                if isinstance(value, np.ndarray):
                    assert same(found[key], value)
                elif isinstance(value, (int, float)):
                    np.testing.assert_equal(found[key].item(), value)
        assert found["net/plane/status"].item() == "complete"


def test_exported_csv_is_one_table_for_each_set_of_axes(store, tmp_path):
    store.add("net", plane())
    store.add("net", eigenpairs())
    store.add("net", training())
    written = export(store.entries(), "csv", tmp_path, "r")
    paths = {path.name: list(csv.reader(path.read_text().splitlines())) for path in written}
    assert set(paths) == {
        "r.csv",
        "r-net-plane-alpha-beta.csv",
        "r-net-plane-axis.csv",
        "r-net-plane-mark.csv",
        "r-net-plane-step.csv",
        "r-net-eigenpairs-pair.csv",
        "r-net-training-epoch.csv",
        "r-net-training-param.csv",
    }
    head, *rows = paths["r-net-plane-alpha-beta.csv"]
    assert head[:3] == ["alpha", "beta", "loss"]
    given = plane()
    expected = [(a, b, given.loss[i, j]) for i, a in enumerate(given.alpha) for j, b in enumerate(given.beta)]
    assert [tuple(map(float, row[:3])) for row in rows] == expected
    head, *rows = paths["r-net-eigenpairs-pair.csv"]
    assert head == ["pair", "eigenvalues", "residuals", "low", "high"]
    np.testing.assert_array_equal([float(row[2]) for row in rows], eigenpairs().residuals)
    head, *rows = paths["r.csv"]
    values = dict(zip(head, rows[1], strict=True))
    assert (values["kind"], values["num_matvecs"], float(values["loss"])) == ("eigenpairs", "17", 1 / 7)
    assert values["cosine"] == ""


def test_exporting_by_command(good, capsys):
    assert run(["export", str(good.path), "--format", "csv", "--format", "npz", "--kind", "plane", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    folder = good.path.with_name("r-export")
    assert files == [
        str(folder / name)
        for name in ("r.csv", *(f"r-net-plane-{axes}.csv" for axes in ("alpha-beta", "axis", "mark", "step")), "r.npz")
    ]
    assert all(Path(file).stat().st_size for file in files)
    assert run(["export", str(good.path), "--label", "nobody"]) == 3
    assert "no results that fit" in capsys.readouterr().err


def test_layers_are_exported_by_name_and_long_labels_cut(store, tmp_path):
    store.add("x" * 240, MAKERS["trace"]())
    head, first, _ = csv.reader(export(store.entries(), "csv", tmp_path, "r")[1].read_text().splitlines())
    assert dict(zip(head, first, strict=True))["layers"] == "0.weight"


# -- show -----------------------------------------------------------------------------------------------------------


def test_show_prints_a_tree_with_sizes(good, capsys):
    good.share("twin", good.entries()[0])
    good.add("net", part(settings={"kind": "plane", "other": 1}))
    assert run(["show", str(good.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{good.path}   schema {SCHEMA_VERSION}, created ")
    assert [line.split()[0] for line in lines[1:]] == ["net", "eigenpairs", "plane", "plane-2", "twin", "eigenpairs"]
    assert "[stopped, 8 missing]" in lines[4]
    assert lines[6].endswith(", the same as /net/eigenpairs)")
    assert run(["show", str(good.path), "--kind", "plane", "--settings", "--fields"]) == 0
    out = capsys.readouterr().out
    assert "    loss (alpha: 3, beta: 5)  float64  loss  120 B\n" in out
    assert "    tag: 0\n" in out
    assert "eigenpairs" not in out


def test_text_that_cannot_be_printed_is_escaped(good, capsys):
    good.add("net", sharpness(), {"created": "2026\udcce"})
    assert run(["show", str(good.path), "--settings"]) == 0
    assert "created: 2026\\udcce\n" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["show", "verify", "export", "merge"])
def test_the_tools_import_no_torch(good, command, tmp_path):
    arguments = [command, str(good.path), *(["--out", str(tmp_path / "o")] if command in ("export", "merge") else [])]
    code = f"import sys; from landscape_cli.main import run; run({arguments!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_points_know_their_meaning():
    assert (TODO, DONE, NON_FINITE) == (0, 1, 2)
    assert line().missing == 2
