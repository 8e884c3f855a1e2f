"""The store: round trips, identity, crashes, full disks, hostile and damaged files, writers side by side."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from kinds import MAKERS, NONES, eigenpairs, line, plane, same, sharpness, training

from landscape.errors import InputError, one_line
from landscape.results import KINDS, Status, stored_fields
from landscape.store import SCHEMA_VERSION, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "r.h5")


def test_every_kind_is_tried_here():
    assert set(MAKERS) == set(KINDS)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("without", [False, True], ids=["all", "nones"])
def test_a_result_comes_back_as_it_was(store, kind, without):
    given = MAKERS[kind](**(dict.fromkeys(NONES[kind]) if without else {}))
    store.add("net", given, {"command": ["landscape"], "seconds": 1.5})
    (entry,) = store.entries()
    assert (entry.label, entry.name, entry.provenance) == ("net", kind, {"command": ["landscape"], "seconds": 1.5})
    assert type(entry.result) is type(given)
    for field in stored_fields(type(given)):
        stored, expected = getattr(entry.result, field.name), getattr(given, field.name)
        assert same(stored, expected), f"{field.name}: {stored!r}, not {expected!r}"


@pytest.mark.parametrize("status", Status)
def test_a_status_comes_back(store, status):
    store.add("net", sharpness(status=status))
    assert store.entries()[0].result.status is status


def test_numbers_of_numpy_come_back_as_numbers(store):
    store.add("net", eigenpairs(num_matvecs=np.int64(17), loss=np.float32(0.5)))
    found = store.entries()[0].result
    assert (found.num_matvecs, found.loss) == (17, 0.5)
    store.add("net", sharpness(displaced_start=np.bool_(True)))
    assert store.find(kind="sharpness")[0].result.displaced_start is True


def test_what_stays_in_memory_is_not_stored(store):
    store.add("net", eigenpairs())
    assert store.entries()[0].result.vectors is None


def test_the_file_names_its_axes_units_and_schema(store):
    store.add("net", plane())
    store.add("net", training())
    with h5py.File(store.path) as file:
        assert (file.attrs["schema_name"], file.attrs["schema_version"]) == ("landscape", SCHEMA_VERSION)
        assert "created" in file.attrs
        loss = file["net/plane/loss"]
        assert [dim[0].name for dim in loss.dims] == ["/net/plane/alpha", "/net/plane/beta"]
        for group in (file["net/plane"], file["net/training"]):
            for name, dataset in group.items():
                scale = dataset.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension")
                assert scale or {"units", "long_name"} <= set(dataset.attrs), name
        assert json.loads(file["net/plane"].attrs["settings"]) == {"kind": "plane", "tag": 0}


# -- identity -------------------------------------------------------------------------------------------------------


def test_same_settings_replace_and_others_get_a_suffix(store):
    store.add("net", eigenpairs(tag=1))
    store.add("net", eigenpairs(tag=2))
    store.add("net", eigenpairs(tag=3))
    store.add("net", eigenpairs(tag=2, num_matvecs=99))
    found = {entry.name: entry.result for entry in store.entries()}
    assert {name: (r.settings["tag"], r.num_matvecs) for name, r in found.items()} == {
        "eigenpairs": (1, 17),
        "eigenpairs-2": (2, 99),
        "eigenpairs-3": (3, 17),
    }
    assert store.same({"tag": 2, "k": 3, "version": 1, "kind": "eigenpairs"}, "net")[0].result.num_matvecs == 99
    assert store.same(eigenpairs(tag=4).settings) == []
    assert store.same(eigenpairs(tag=1).settings, "other") == []


def test_two_labels_may_hold_the_same_result(store):
    store.add("a", eigenpairs())
    store.add("b", eigenpairs())
    first, second = store.entries()
    assert (first.label, second.label) == ("a", "b")
    assert first.digest == second.digest


def test_labels_keep_the_order_in_which_they_came(store):
    labels = ["zebra", "alpha", "mid dle", "é", "10", "9"]
    for label in labels:
        store.add(label, eigenpairs())
    store.add("alpha", sharpness())
    store.add("zebra", eigenpairs(num_matvecs=5))
    assert list(dict.fromkeys(entry.label for entry in store.entries())) == labels
    assert [entry.label for entry in store.find(kind="sharpness")] == ["alpha"]
    assert [entry.name for entry in store.find(label="alpha")] == ["eigenpairs", "sharpness"]


@pytest.mark.parametrize("label", ["", "a/b", "/", ".", "..", "a\nb", "\x1b[2J", "\udcff"])
def test_a_label_is_a_name(store, label):
    with pytest.raises(InputError, match="label"):
        store.add(label, eigenpairs())
    assert list(store.path.parent.iterdir()) == []


def test_a_missing_store_holds_nothing_to_find(store):
    assert store.same({}) == []
    store.check()
    with pytest.raises(InputError, match="no store"):
        store.entries()
    assert list(store.path.parent.iterdir()) == []


def test_a_link_is_followed_and_not_replaced(store, tmp_path):
    (tmp_path / "folder").mkdir()
    store.path.symlink_to(tmp_path / "folder" / "target.h5")
    store.add("net", eigenpairs())
    store.add("net", sharpness())
    assert store.path.is_symlink()
    assert len(Store(tmp_path / "folder" / "target.h5").entries()) == 2


def test_who_may_read_and_write_a_file_stays(store):
    store.add("net", eigenpairs())
    store.path.chmod(0o664)
    store.add("net", sharpness())
    assert store.path.stat().st_mode & 0o777 == 0o664


# -- crashes and limits ---------------------------------------------------------------------------------------------

ADDING = """
import sys
import numpy as np
from landscape.results import Eigenpairs, Status
from landscape.store import Store

def result(tag, size=3):
    return Eigenpairs(status=Status.CONVERGED, settings={"tag": tag}, eigenvalues=np.full(size, float(len(tag))),
                      residuals=np.zeros(size), operator="dense", which="largest", num_matvecs=1, num_params=3)
"""


def start(tmp_path, code, *arguments):
    script = tmp_path / "adding.py"
    script.write_text(ADDING + code)
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def temporaries(path):
    return list(path.parent.glob(f".{path.name}.tmp.*"))


def test_reading_a_store_imports_no_torch(tmp_path):
    status, out, err = finished(start(tmp_path, "print([m for m in sys.modules if m.split('.')[0] == 'torch'])"))
    assert (status, out) == (0, "[]\n"), err


LOOPING = """
store, added = Store(sys.argv[1]), 0
while True:
    store.add("net", result("x" * (added % 7), size=20_000))
    added += 1
    print(added, flush=True)
"""


def test_a_kill_leaves_a_whole_file(store, tmp_path):
    chance, pid = random.Random(0), 0
    for _ in range(6):
        process = start(tmp_path, LOOPING, store.path)
        pid = process.pid
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "1"
        time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        assert finished(process)[0] == -signal.SIGKILL
        for entry in store.entries():
            assert (entry.result.eigenvalues == len(entry.result.settings["tag"])).all()
    stale = store.path.with_name(f".{store.path.name}.tmp.{pid}")
    stale.write_bytes(b"half a file")
    living = store.path.with_name(f".{store.path.name}.tmp.{os.getppid()}")
    living.write_bytes(b"another one at work")
    store.add("after", eigenpairs())
    assert temporaries(store.path) == [living]
    assert store.find(label="after")


def test_a_full_disk_leaves_the_old_file(store, tmp_path):
    store.add("net", eigenpairs())
    before = store.path.read_bytes()
    code = """
import resource
from landscape.errors import LandscapeError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    Store(sys.argv[1]).add("big", result("big", size=100_000))
except LandscapeError as error:
    print(error.exit_code, error)
"""
    status, out, err = finished(start(tmp_path, code, store.path))
    assert status == 0, err
    assert err == ""
    assert out.startswith("5 cannot write ")
    assert store.path.read_bytes() == before
    assert temporaries(store.path) == []


def test_writers_by_a_link_and_by_the_name_lose_nothing(store, tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link.h5"
    link.symlink_to(store.path)
    code = """
for number in range(20):
    Store(sys.argv[1]).add(f"{sys.argv[2]}-{number}", result(str(number)))
"""
    for writer in [start(tmp_path, code, path, path.stem) for path in (store.path, link)]:
        assert finished(writer)[0] == 0
    assert len(store.entries()) == 40


def test_writers_side_by_side_lose_nothing(store, tmp_path):
    code = """
for number in range(20):
    Store(sys.argv[1]).add(f"{sys.argv[2]}-{number}", result(str(number)))
"""
    writers = [start(tmp_path, code, store.path, name) for name in ("left", "right")]
    for writer in writers:
        status, _, err = finished(writer)
        assert status == 0, err
    labels = {entry.label for entry in store.entries()}
    assert labels == {f"{name}-{number}" for name in ("left", "right") for number in range(20)}


# -- hostile and damaged files --------------------------------------------------------------------------------------


def refused(store, match=None):
    """Reading, finding and adding are all refused, and the file stays as it is."""
    before = store.path.read_bytes()
    for attempt in (store.entries, lambda: store.same(eigenpairs().settings), store.check):
        with pytest.raises(InputError, match=match) as caught:
            attempt()
        assert "\n" not in one_line(caught.value)
    with pytest.raises(InputError, match=match):
        store.add("net", eigenpairs())
    assert store.path.read_bytes() == before
    assert temporaries(store.path) == []


@pytest.fixture
def full(store):
    """A store with results under two labels."""
    store.add("net", eigenpairs())
    store.add("net", plane())
    store.add("other", line())
    return store


def test_a_newer_schema_is_refused(full):
    with h5py.File(full.path, "r+") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION + 1
    refused(full, "version")


@pytest.mark.parametrize("version", ["new", [1, 2], b"\xff"])
def test_a_schema_version_that_is_no_number_is_refused(full, version):
    with h5py.File(full.path, "r+") as file:
        file.attrs["schema_version"] = np.void(version) if isinstance(version, bytes) else version
    refused(full)


def test_another_programs_file_is_refused(store):
    with h5py.File(store.path, "w") as file:
        file["surface"] = np.zeros((3, 3))
    refused(store, "another program")


@pytest.mark.parametrize("content", [b"", b"text\n", b"\x89PNG\r\n\x1a\n", b"\x89HDF\r\n\x1a\n", bytes(5000)])
def test_what_is_no_hdf5_is_refused(store, content):
    store.path.write_bytes(content)
    refused(store)


def _soft(file, _secret):
    file["net/eigenpairs/loss-2"] = h5py.SoftLink("/other/line/loss")


def _soft_at_the_root(file, _secret):
    file["alias"] = h5py.SoftLink("/net")


def _dangling(file, _secret):
    file["net/dangling"] = h5py.SoftLink("/nowhere")


def _external(file, secret):
    file["net/eigenpairs/stolen"] = h5py.ExternalLink(str(secret), "/secret")


def _external_result(file, secret):
    file["net/stolen"] = h5py.ExternalLink(str(secret), "/")


def _external_label(file, secret):
    file["stolen"] = h5py.ExternalLink(str(secret), "/")


def _storage(file, secret):
    del file["net/eigenpairs/residuals"]
    file.create_dataset("net/eigenpairs/residuals", (3,), "u1", external=[(str(secret), 0, 3)])


def _storage_at_the_root(file, secret):
    file.create_dataset("bytes", (3,), "u1", external=[(str(secret), 0, 3)])


def _virtual(file, secret):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "secret", (3,))
    del file["net/eigenpairs/residuals"]
    file.create_virtual_dataset("net/eigenpairs/residuals", layout)


HOSTILE = [
    _soft,
    _soft_at_the_root,
    _dangling,
    _external,
    _external_result,
    _external_label,
    _storage,
    _storage_at_the_root,
    _virtual,
]


@pytest.mark.parametrize("plant", HOSTILE, ids=lambda plant: plant.__name__.strip("_"))
def test_what_leads_out_of_the_file_is_refused(full, tmp_path, plant):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["secret"] = np.arange(3.0)
    with h5py.File(full.path, "r+") as file:
        plant(file, secret)
    refused(full, "refused")


def test_an_external_link_is_not_even_followed(full, tmp_path):
    """Opening a named pipe would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(full.path, "r+") as file:
        file["stolen"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/")
    process = start(tmp_path, "Store(sys.argv[1]).entries()", full.path)
    try:
        _, err = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("reading the store opened the file that the link names")
    assert "refused" in err


def test_a_group_inside_itself_is_refused(full):
    with h5py.File(full.path, "r+") as file:
        file["net/eigenpairs/loop"] = file["net"]
    refused(full)


def test_an_array_larger_than_its_file_is_refused(full):
    with h5py.File(full.path, "r+") as file:
        del file["net/eigenpairs/residuals"]
        file.create_dataset("net/eigenpairs/residuals", (10**13,), "f8", chunks=(1000,))
    with pytest.raises(InputError):
        full.entries()


WRONG = {
    "no kind": lambda group: group.attrs.__delitem__("kind"),
    "another kind": lambda group: group.attrs.__setitem__("kind", "tomography"),
    "a kind that is a list": lambda group: group.attrs.__setitem__("kind", ["line", "plane"]),
    "a missing array": lambda group: group.__delitem__("loss"),
    "a group for an array": lambda group: (group.__delitem__("loss"), group.create_group("loss")),
    "a missing status": lambda group: group.attrs.__delitem__("status"),
    "another status": lambda group: group.attrs.__setitem__("status", "splendid"),
    "settings that are no JSON": lambda group: group.attrs.__setitem__("settings", "{"),
    "settings that are a number": lambda group: group.attrs.__setitem__("settings", "3"),
    "settings that are an array": lambda group: group.attrs.__setitem__("settings", np.arange(3)),
    "provenance that is no JSON": lambda group: group.attrs.__setitem__("provenance", "{"),
    "an array of text": lambda group: (group.__delitem__("loss"), group.create_dataset("loss", data=[b"a", b"b"])),
    "an array of another shape": lambda group: (group.__delitem__("loss"), group.create_dataset("loss", data=[1.0])),
    "a number that is an array": lambda group: (
        group.__delitem__("unit_length"),
        group.create_dataset("unit_length", data=[1.0, 2.0]),
    ),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_result_of_another_make_is_refused(full, change):
    with h5py.File(full.path, "r+") as file:
        change(file["other/line"])
    with pytest.raises(InputError) as caught:
        full.entries()
    assert "\n" not in one_line(caught.value)


def test_a_data_set_beside_the_labels_is_passed_over(full):
    with h5py.File(full.path, "r+") as file:
        file["note"] = "by hand"
        file["type"] = np.dtype("f8")
    assert len(full.entries()) == 3


# In a process of its own: HDF5 may loop for ever inside C on damaged text, where no signal reaches it.
MUTATING = """
import faulthandler
import random
from landscape.errors import InputError, one_line

store, seed = Store(sys.argv[1]), int(sys.argv[2])
content, chance = store.path.read_bytes(), random.Random(seed)
for number in range(50):
    changed = bytearray(content)
    for _ in range(chance.choice([1, 8, 64])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    if number % 5 == 0:
        changed = content[: chance.randrange(1, len(content))]
    for attempt in (store.entries, store.check, lambda: store.add("more", result("x"))):
        store.path.write_bytes(changed)
        faulthandler.dump_traceback_later(10, exit=True)
        try:
            attempt()
            print("read")
        except InputError as error:
            assert "\\n" not in one_line(error)
            print("refused")
        faulthandler.cancel_dump_traceback_later()
"""


@pytest.mark.parametrize("seed", range(2))
def test_corrupted_bytes_are_refused(full, tmp_path, seed):
    """A hundred damaged files in all: no crash, no other exception, no endless loop."""
    status, out, err = finished(start(tmp_path, MUTATING, full.path, seed))
    assert status == 0, err
    assert len(out.split()) == 150
    assert set(out.split()) <= {"read", "refused"}


def test_a_flipped_bit_in_an_array_is_noticed(full):
    content = full.path.read_bytes()
    with h5py.File(full.path) as file:
        offset = file["net/plane/loss"].id.get_chunk_info(0).byte_offset
    for position in range(offset, offset + 15 * 8, 7):
        changed = bytearray(content)
        changed[position] ^= 1
        full.path.write_bytes(changed)
        with pytest.raises(InputError):
            full.entries()
