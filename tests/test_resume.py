"""Resume: cut anywhere, the same bits; under other conditions, refused by name."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from kinds import plane

from landscape import Dense, Hessian, Objective, spectral_density, top_eigenpairs, trace
from landscape.errors import InputError, NumericalError, Stopped, one_line
from landscape.operators import Journaled
from landscape.products import choice
from landscape.results import Status
from landscape.resume import Journal, Points, Watch, different, journal_path, journals_of, refuse_other
from landscape.store import Store
from landscape.store.schema import content
from landscape.studies.keeping import Keeper
from landscape.studies.measured import Minimum

N = 60


@pytest.fixture
def place(tmp_path):
    return journal_path(tmp_path / "r.h5", "0123456789abcdef" * 4)


# -- manifest -------------------------------------------------------------------------------------------------------


def test_all_that_differs_is_named_with_the_way_back():
    before = {"threads": 2, "cpu": "avx2", "torch": "2.13.0", "chunk": [256], "gone": 1, "kept": 0}
    now = {"threads": 8, "cpu": "avx512", "torch": "2.14.0", "chunk": [512], "new": 2, "kept": 0}
    assert different(before, now) == ["threads", "cpu", "torch", "chunk", "new", "gone"]
    with pytest.raises(InputError) as caught:
        refuse_other("the part in r.h5", before, now)
    line = one_line(caught.value)
    for words in ("threads 2 (now 8)", "OMP_NUM_THREADS=2", "ATEN_CPU_CAPABILITY=avx2", "new None (now 2)", "gone 1"):
        assert words in line
    assert "kept" not in line
    refuse_other("the part", before, dict(before))


# -- points ---------------------------------------------------------------------------------------------------------


def test_points_go_on_where_they_stopped():
    asked = []

    def measure(indices):
        asked.extend(indices)
        return [None if index == 4 else {"loss": index / 3} for index in indices]

    def build(status):
        return plane(status=status, loss=points.values["loss"], point_status=points.status)

    points = Points((3, 5), ("loss",))
    left = []
    with pytest.raises(Stopped):
        points.evaluate(measure, build, Watch(save=left.append, stop=lambda: len(asked) == 7))
    assert (left[-1].status, left[-1].missing) == (Status.STOPPED, 8)
    points = Points((3, 5), ("loss",))
    points.take_over(left[-1])
    points.evaluate(measure, build, Watch())
    assert asked == list(range(15))
    expected = np.arange(15.0).reshape(3, 5) / 3
    expected[0, 4] = np.nan
    np.testing.assert_array_equal(points.values["loss"], expected)
    assert points.status.ravel().tolist() == [1] * 4 + [2] + [1] * 10
    with pytest.raises(InputError, match="shape"):
        Points((5, 3), ("loss",)).take_over(left[-1])


def test_points_are_measured_in_the_same_groups_wherever_the_work_was_cut():
    asked = []

    def measure(indices):
        asked.append(indices)
        return [{"loss": float(index)} for index in indices]

    chosen = np.array([7, 1, 2, 11, 5])
    points = Points((3, 5), ("loss",))
    points.status.flat[1] = 1  # one of the first group is there already: the group is measured again
    points.status.flat[5] = 1  # all of the last group
    points.evaluate(measure, lambda _: plane(), Watch(), only=chosen, group=2)
    assert asked == [[7, 1], [2, 11]]
    assert np.flatnonzero(points.status).tolist() == [1, 2, 5, 7, 11]


# -- journal --------------------------------------------------------------------------------------------------------

ARRAYS = [np.arange(6.0).reshape(2, 3), np.float32([1.5, np.nan]), np.zeros((0, 4)), np.full(1000, 1 / 3)]


def written(place):
    journal = Journal(place, {"kind": "x"})
    for number, array in enumerate(ARRAYS):
        assert journal.next(str(number)) is None
        journal.append(str(number), array, {"number": number})
    journal.close()
    return place.read_bytes()


def replayed(place):
    journal = Journal(place, {"kind": "x"})
    found = []
    while (array := journal.next(str(len(found)))) is not None:
        found.append(array)
    return journal, found


def test_a_journal_gives_back_what_was_written(place):
    written(place)
    journal, found = replayed(place)
    assert [a.tobytes() for a in found] == [a.tobytes() for a in ARRAYS]
    assert [(a.dtype, a.shape) for a in found] == [(a.dtype, a.shape) for a in ARRAYS]
    assert journal.manifest == {"number": 3}
    journal.close(remove=True)
    assert list(place.parent.iterdir()) == []


def test_a_journal_cut_anywhere_gives_its_whole_records(place):
    whole = written(place)
    rng = np.random.default_rng(0)
    for cut in (0, 1, len(whole) - 1, *rng.integers(0, len(whole), 60)):
        place.write_bytes(whole[:cut])
        journal, found = replayed(place)
        for array, expected in zip(found, ARRAYS, strict=False):
            assert array.tobytes() == expected.tobytes()
        for number in range(len(found), len(ARRAYS)):
            journal.append(str(number), ARRAYS[number], {"number": number})
        journal.close()
        assert place.read_bytes() == whole


def test_a_damaged_record_ends_what_is_replayed(place):
    whole = bytearray(written(place))
    whole[-100] ^= 1
    place.write_bytes(whole)
    journal, found = replayed(place)
    assert len(found) == 3
    journal.close()


def test_a_journal_of_another_computation_is_refused(place):
    written(place)
    with pytest.raises(InputError, match="another computation"):
        Journal(place, {"kind": "y"})
    journal = Journal(place, {"kind": "x"})
    with pytest.raises(InputError, match="does not repeat itself at record 1"):
        journal.next("something else")
    journal.close()


def test_one_process_at_a_time(place):
    journal = Journal(place, {"kind": "x"})
    code = "import sys; from pathlib import Path; from landscape.resume import Journal; Journal(Path(sys.argv[1]), {})"
    done = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False)
    assert "ResourceError: another process works on" in done.stderr
    journal.close()
    Journal(place, {"kind": "x"}).close()
    assert list(place.parent.iterdir()) == []


def test_a_disk_without_room_only_shortens_a_journal(place, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4 * 8600))
    journal = Journal(place, {"kind": "x"})
    for number, array in enumerate([*ARRAYS, *ARRAYS]):
        journal.append(str(number), array, {})
    journal.close()
    journal, found = replayed(place)
    assert len(found) == 4
    journal.close()


# -- spectra --------------------------------------------------------------------------------------------------------


def matrix():
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((N, N)))[0]
    values = np.concatenate([[9.0, 9.0, 5.0], np.linspace(1, -2, N - 3)])
    return torch.from_numpy(basis * values @ basis.T)


ESTIMATES = {
    "eigenpairs": lambda operator: top_eigenpairs(operator, 2, which="both", tol=1e-6),
    "hutchinson": lambda operator: trace(operator, max_matvecs=40, tol=1e-9),
    "hutch++": lambda operator: trace(operator, method="hutch++", max_matvecs=40, tol=1e-9),
    "xtrace": lambda operator: trace(operator, method="xtrace", max_matvecs=40, tol=1e-9),
    "density": lambda operator: spectral_density(operator, probes=3, steps=9),
}


def attempted(estimate, place, every):
    """One run of at most `every` new products; None where it was cut."""
    journal, calls, done = Journal(place, {}), iter(range(every)), None
    operator = Journaled(Dense(matrix()), journal, {"threads": 1}, stop=lambda: next(calls, None) is None)
    with contextlib.suppress(Stopped):
        done = estimate(operator)
    journal.close(remove=done is not None)
    return done


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_spectrum_cut_anywhere_ends_with_the_same_bits(place, name):
    whole = attempted(ESTIMATES[name], place, 10_000)
    assert whole is not None
    direct = ESTIMATES[name](Dense(matrix()))
    assert direct.num_matvecs == whole.num_matvecs
    for every in (1, 2, 5):
        attempts = 1
        while (done := attempted(ESTIMATES[name], place, every)) is None:
            attempts += 1
        assert content(done, of_run=False) == content(whole, of_run=False)
        assert attempts > 1
        assert not place.exists()


def objective():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 5, generator=generator)
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    with torch.no_grad():
        for number, param in enumerate(model.parameters()):
            param.copy_(torch.linspace(-1, 1, param.numel()).reshape(param.shape) + number)
    return Objective(model, "cross_entropy", (inputs, torch.arange(40) % 3), chunk=16)


def test_path_block_and_chunk_of_the_first_run_are_taken_again(place, monkeypatch):
    """A clock chooses the first two, and memory may force down the third."""
    first = Hessian(objective(), hvp="auto")
    monkeypatch.setattr(choice, "QUICK", 0.0, raising=False)
    first.engine.pin("linearize", 1, 8)
    journal = Journal(place, {})
    vectors = torch.eye(first.size)[:, :5]
    products = Journaled(first, journal, {}).matmat(vectors)
    journal.close()
    again = Hessian(objective(), hvp="auto")
    assert again.engine.chunks == []
    journal = Journal(place, {})
    operator = Journaled(again, journal, {})
    assert (again.engine.pinned, again.engine.block, again.objective.chunk) == ("linearize", 1, 8)
    assert torch.equal(operator.matmat(vectors), products)
    fresh = operator.matmat(2 * vectors)
    assert again.report()["path"] == "linearize"
    assert again.report()["chunk"] == 8
    assert torch.equal(fresh, first.matmat(2 * vectors))
    assert again.identity() == first.identity() == Hessian(objective(), hvp="auto").identity()
    journal.close(remove=True)


# -- the keeper -----------------------------------------------------------------------------------------------------

SETTINGS = {"kind": "plane", "tag": 0, "chunk": 16}
COMMAND = ("landscape", "plane")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "r.h5")


@pytest.fixture
def minimum():
    return Minimum("net", objective(), None, None, "train", {})


def keeper(store, **options):
    lines = []
    return Keeper(store, COMMAND, say=lines.append, **options), lines


def parted(store, minimum):
    """Leaves a part in the store, as a stopped run does."""

    def compute(attempt):
        attempt.save(part())
        raise Stopped("stopped")

    with pytest.raises(Stopped):
        keeper(store)[0].obtain("net", SETTINGS, compute, minima=[minimum])


def part():
    flags = np.zeros((3, 5), dtype=np.uint8)
    flags[0] = 1
    whole = plane()
    columns = {name: np.where(flags, getattr(whole, name), np.nan) for name in ("loss", "loss_stderr", "accuracy")}
    return plane(status=Status.STOPPED, settings=SETTINGS, point_status=flags, **columns)


def finished(**changed):
    return lambda attempt: plane(settings=SETTINGS, **changed)


def never(attempt):
    raise AssertionError("computed, though it was there")


def test_a_part_is_refused_resumed_or_dropped(store, minimum):
    parted(store, minimum)
    with pytest.raises(InputError, match="--resume or --overwrite"):
        keeper(store)[0].obtain("net", SETTINGS, never, minima=[minimum])
    seen = []

    def compute(attempt):
        seen.append(attempt.partial)
        return plane(settings=SETTINGS)

    keeper(store, resume=True)[0].obtain("net", SETTINGS, compute, minima=[minimum])
    assert seen[0].missing == 10
    (entry,) = store.entries()
    assert not entry.stopped
    assert entry.manifest["threads"] == torch.get_num_threads()
    assert keeper(store)[0].obtain("net", SETTINGS, never, minima=[minimum])[1]["found"] is True


@pytest.mark.parametrize(("name", "value"), [("threads", 64), ("torch", "1.0"), ("cpu", "abacus"), ("device", "tpu")])
def test_other_conditions_are_refused_by_name(store, minimum, name, value):
    parted(store, minimum)
    (entry,) = store.entries()
    store.add("net", entry.result, entry.provenance, {**entry.manifest, name: value})
    with pytest.raises(InputError, match=f"bit for bit: .* begun with {name} {value}"):
        keeper(store, resume=True)[0].obtain("net", SETTINGS, never, minima=[minimum])
    store.add("net", entry.result, entry.provenance)
    with pytest.raises(InputError, match="under what conditions"):
        keeper(store, resume=True)[0].obtain("net", SETTINGS, never, minima=[minimum])


def test_a_chunk_that_memory_forced_down_is_taken_up(store, minimum):
    minimum.objective.shrink()
    parted(store, minimum)
    fresh = dataclasses.replace(minimum, objective=objective())
    assert fresh.objective.chunk == 16
    keeper(store, resume=True)[0].obtain("net", SETTINGS, finished(), minima=[fresh])
    assert fresh.objective.chunk == 8


def test_another_chunk_is_a_slip_and_another_plane_is_not(store, minimum):
    parted(store, minimum)
    with pytest.raises(InputError, match=r"chunk 16 \(now 32\); --chunk 16, --overwrite"):
        keeper(store, resume=True)[0].obtain("net", {**SETTINGS, "chunk": 32}, never, minima=[minimum])
    other = {**SETTINGS, "tag": 1}
    keeper(store, resume=True)[0].obtain("net", other, lambda _: plane(settings=other), minima=[minimum])
    assert [entry.stopped for entry in store.entries()] == [True, False]


def test_what_another_label_holds_is_shared(store, minimum):
    keeper(store)[0].obtain("net", SETTINGS, finished(), minima=[minimum])
    again, lines = keeper(store)
    again.obtain("twin", SETTINGS, never, minima=[minimum])
    assert "the same as net" in lines[0]
    assert [entry.label for entry in store.entries()] == ["net", "twin"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_overwriting_keeps_the_old_result_and_goes_on_by_resume(store, minimum, overwrite):
    keeper(store)[0].obtain("net", SETTINGS, finished(), minima=[minimum])

    def cut(attempt):
        attempt.save(part())
        raise Stopped("stopped")

    with pytest.raises(Stopped):
        keeper(store, overwrite=True)[0].obtain("net", SETTINGS, cut, minima=[minimum])
    assert [entry.stopped for entry in store.entries()] == [False, True]
    seen = []

    def compute(attempt):
        seen.append(attempt.partial)
        return plane(settings=SETTINGS, cosine=0.5)

    keeper(store, overwrite=overwrite, resume=True)[0].obtain("net", SETTINGS, compute, minima=[minimum])
    assert seen[0] is not None
    assert [entry.result.cosine for entry in store.entries()] == [0.5]


def test_a_slip_is_seen_among_other_parts(store, minimum):
    parted(store, minimum)
    other = {**SETTINGS, "tag": 7}
    store.add("net", dataclasses.replace(part(), settings=other))
    with pytest.raises(InputError, match="chunk 16"):
        keeper(store, resume=True)[0].obtain("net", {**SETTINGS, "chunk": 32}, never, minima=[minimum])


def test_a_lesser_part_does_not_replace_a_greater(store):
    less = part()
    flags = less.point_status.copy()
    flags[0, 3:] = 0
    columns = {name: np.where(flags, getattr(less, name), np.nan) for name in ("loss", "loss_stderr", "accuracy")}
    lesser = dataclasses.replace(less, point_status=flags, **columns)
    store.add("net", less, manifest={"threads": 1})
    store.add("net", lesser, manifest={"threads": 1})
    assert store.entries()[0].result.missing == 10
    store.add("net", lesser, manifest={"threads": 2})  # begun again under other conditions
    assert store.entries()[0].result.missing == 12


def test_a_journal_that_is_in_use_is_left_alone(store, minimum):
    settings = {"kind": "eigenpairs", "chunk": 16}
    operator = Dense(matrix())

    def compute(attempt):
        attempt.journaled(operator).matmat(torch.eye(N, dtype=torch.float64)[:, :3])
        (journal,) = journals_of(store.path)
        code = (
            "import sys; from pathlib import Path; from landscape.resume import Journal, drop_journal\n"
            "for attempt in (lambda: drop_journal(Path(sys.argv[1])), lambda: Journal(Path(sys.argv[1]), {})):\n"
            "    try: attempt()\n"
            "    except Exception as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(journal)], capture_output=True, text=True, check=True)
        assert done.stdout.count("another process works on") == 2
        assert journal.exists()
        raise Stopped("stopped")

    with pytest.raises(Stopped):
        keeper(store)[0].obtain("net", settings, compute, minima=[minimum], products=True)
    assert len(journals_of(store.path)) == 1


def test_a_journal_is_refused_resumed_and_dropped(store, minimum):
    operator = Dense(matrix())
    settings = {"kind": "eigenpairs", "chunk": 16}

    def compute(attempt):
        return top_eigenpairs(attempt.journaled(operator), 2, which="both", tol=1e-6)

    def attempt(stop, settings=settings, compute=compute, **options):
        return keeper(store, **options)[0].obtain("net", settings, compute, minima=[minimum], products=True, stop=stop)

    calls = iter(range(10))
    with pytest.raises(Stopped):
        attempt(lambda: next(calls, None) is None)
    (journal,) = journals_of(store.path)
    with pytest.raises(InputError, match="--resume or --overwrite"):
        attempt(None)
    with pytest.raises(InputError, match="chunk 16"):
        attempt(None, settings={**settings, "chunk": 8}, resume=True)
    head, _, rest = journal.read_bytes().partition(b"\n")
    altered = json.loads(head)
    altered["manifest"]["threads"] = 64
    journal.write_bytes(json.dumps(altered).encode() + b"\n" + rest)
    with pytest.raises(InputError, match="threads 64"):
        attempt(None, resume=True)
    journal.write_bytes(head + b"\n" + rest)

    def contradicted(attempt):
        attempt.journaled(operator)
        raise NumericalError("not finite")

    with pytest.raises(NumericalError):
        attempt(None, compute=contradicted, resume=True)
    assert not journal.exists()  # to go on would end there again
    calls = iter(range(10))
    with pytest.raises(Stopped):
        attempt(lambda: next(calls, None) is None)
    assert journal.exists()
    result, _ = attempt(None, resume=True)
    assert content(result, of_run=False) == content(top_eigenpairs(operator, 2, which="both", tol=1e-6), of_run=False)
    assert not journal.exists()
    assert list(store.path.parent.glob("*journal*")) == list(store.path.parent.glob(".*journal*")) == []
