"""Sharpness at many checkpoints: the rows of a series, their values, what fails among them, going on, tracking."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from series_runs import BASE, COMMON, GRID, series_runs

from landscape import Objective, Recipe, build_model, keskar, load_checkpoint, load_data
from landscape.checkpoint import save_checkpoint
from landscape.data.corruption import changed
from landscape.errors import InputError, NumericalError, UsageError
from landscape.results import Sharpness, SharpnessSeries, Status
from landscape.sharpness import measure
from landscape.store import Store, verify
from landscape.store.schema import content
from landscape.studies import runfiles, runs, series
from landscape.studies.keeping import Keeper
from landscape.studies.measured import Request
from landscape.studies.rows import plans
from landscape.studies.sweep import Grid, sweep

EXACT = Request(dtype="float64")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return series_runs(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def keeper(tmp_path):
    return Keeper(Store(tmp_path / "r.h5"), ["landscape"])


def objective_at(path, dtype="float64"):
    """The objective at a checkpoint, put together by hand."""
    splits = changed(load_data("digits"), train_samples=200)
    model = build_model("mlp", {"widths": [8]}, splits, 0)
    return Objective(model, "cross_entropy", splits.train, dtype=dtype).at(load_checkpoint(path).tensors)


def stored_rows(keeper):
    return {e.label: e.result for e in keeper.store.entries() if isinstance(e.result, Sharpness)}


# -- what the rows are, and their values


def test_a_sweep_gives_a_series_for_each_rule(trained, keeper):
    summaries = {e.label: e.result for e in Store(trained / "grid/sweep.h5").entries()}
    found = plans([str(trained / "grid")], "batch-size")
    assert [plan.label for plan in found] == ["none", "sqrt"]
    for plan in found:
        result, origin = series.measure_series(plan, EXACT, keeper)
        summary = summaries[plan.label]
        for name in ("batch_size", "seed", "updates", "test_accuracy", "train_accuracy"):
            np.testing.assert_array_equal(getattr(result, name), getattr(summary, name))
        np.testing.assert_allclose(result.loss, summary.train_loss, rtol=1e-5)
        for row, value in zip(plan.rows, result.value, strict=True):
            assert value == keskar(objective_at(row.path)).value
            assert stored_rows(keeper)[row.label].value == value
        assert set(origin["inputs"]) == {str(row.path) for row in plan.rows}
        assert {size: len(values) for size, values in result.over(result.value).items()} == {20: 2, 100: 2}
        assert (result.status, result.num_samples, result.unit("value")) == ("complete", 200, "percent of 1 + loss")
    assert len(stored_rows(keeper)) == 6  # the rules share the runs at the base batch size
    assert not verify(keeper.store.path)


def test_a_run_gives_a_series_along_its_kept_points(trained, keeper):
    (plan,) = plans([str(trained / "small.safetensors")], "epoch")
    result, _ = series.measure_series(plan, EXACT, keeper, "sam-adaptive", rho=0.25)
    log = runfiles.read_log(trained / "small.safetensors")
    assert result.names == ("small@0", "small@10", "small@20")
    assert result.position.tolist() == [0, 1, 2]
    assert result.batch_size.tolist() == [20, 20, 20]
    np.testing.assert_array_equal(result.test_accuracy, log.test_accuracy)
    np.testing.assert_allclose(result.loss, log.train_loss, rtol=1e-5)
    values = [measure(objective_at(row.path), "sam-adaptive", rho=0.25).value for row in plan.rows]
    assert result.value.tolist() == values
    assert (result.options["rho"], result.unit("value")) == (0.25, "loss")


def test_the_checkpoint_of_a_run_is_its_last_point_where_none_was_kept(trained, tmp_path):
    shutil.copytree(trained / "small.trajectory", tmp_path / "small.trajectory")
    shutil.copy(trained / "small.safetensors", tmp_path)
    (tmp_path / "small.trajectory/00000020.safetensors").unlink()
    (plan,) = plans([str(tmp_path / "small.safetensors")], "epoch", ["mine"])
    assert (plan.label, [row.label for row in plan.rows]) == ("mine", ["small@0", "small@10", "small"])
    assert [row.epoch for row in plan.rows] == [0, 1, 2]
    assert np.isnan(plan.rows[1].test_accuracy)  # there is no log
    assert np.isfinite(plan.rows[2].test_accuracy)


def test_warm_starts_stand_by_the_epochs_of_where_they_began(trained, keeper):
    paths = [str(trained / f"warm{epochs}.safetensors") for epochs in (2, 0, 1)]
    (plan,) = plans(paths, "warm-epochs")
    result, _ = series.measure_series(plan, EXACT, keeper)
    assert result.warm_epochs.tolist() == [0, 1, 2]
    assert result.epoch.tolist() == [3, 3, 3]
    for row, value, begun in zip(plan.rows, result.value, result.start_accuracy, strict=True):
        checkpoint = load_checkpoint(row.path)
        assert value == keskar(objective_at(row.path)).value
        if checkpoint.recipe.init is not None:
            test = load_data("digits").test
            objective = objective_at(checkpoint.recipe.init)
            objective = Objective(objective.model, "cross_entropy", test).at(load_checkpoint(checkpoint.recipe.init))
            assert begun == pytest.approx(objective.evaluate().accuracy)


def test_the_same_samples_are_measured_at_all_checkpoints(trained, keeper):
    (plan,) = plans([str(trained / "small.safetensors")], "epoch")
    result, _ = series.measure_series(plan, dataclasses.replace(EXACT, samples=50), keeper)
    assert result.num_samples == 50
    assert len({found.settings["data"] for found in stored_rows(keeper).values()}) == 1


# -- going on, and what fails


@pytest.fixture
def counted(monkeypatch):
    """Counts the measures, and ends at the one whose number is put into `end`."""
    state = {"count": 0, "end": None}

    def counting(*given, **options):
        state["count"] += 1
        if state["count"] == state["end"]:
            raise KeyboardInterrupt
        return measure(*given, **options)

    monkeypatch.setattr("landscape.sharpness.measure", counting)
    return state


def test_a_stopped_series_goes_on_and_nothing_is_computed_twice(trained, keeper, counted, tmp_path):
    (plan, _) = plans([str(trained / "grid")], "batch-size")
    whole, _ = series.measure_series(plan, EXACT, Keeper(None, []))
    counted.update(count=0, end=3)
    with pytest.raises(KeyboardInterrupt):
        series.measure_series(plan, EXACT, keeper)
    assert len(stored_rows(keeper)) == 2
    counted.update(count=0, end=None)
    result, _ = series.measure_series(plan, EXACT, keeper)
    assert counted["count"] == 2
    assert content(result) == content(whole)
    again, origin = series.measure_series(plan, EXACT, keeper)
    assert (counted["count"], origin["found"], content(again)) == (2, True, content(whole))


def test_a_row_that_is_not_finite_or_does_not_converge_is_marked_and_the_others_go_on(trained, keeper, monkeypatch):
    (plan,) = plans([str(trained / "small.safetensors")], "epoch")
    answers = iter((NumericalError("the loss is nan at the params"), Status.NOT_CONVERGED, Status.COMPLETE))

    def faulty(*given, **options):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return dataclasses.replace(measure(*given, **options), status=answer)

    monkeypatch.setattr("landscape.sharpness.measure", faulty)
    said = []
    result, _ = series.measure_series(plan, EXACT, dataclasses.replace(keeper, say=said.append))
    assert result.run_status.tolist() == [2, 3, 1]
    assert np.isnan(result.value).tolist() == [True, True, False]
    assert np.isnan(result.loss).tolist() == [True, False, False]
    assert (result.status, said) == ("complete", ["small@0: the loss is nan at the params"])
    assert result.problems() == []


def test_a_row_that_is_not_resolved_has_no_value_and_the_store_stays_whole(trained, keeper):
    """Noise of 1e-17 is lost in the rounding of the loss."""
    (plan,) = plans([str(trained / "small.safetensors")], "epoch")
    result, _ = series.measure_series(plan, EXACT, keeper, "average", rho=1e-17, repeats=2)
    assert result.run_status.tolist() == [5, 5, 5]
    assert np.isnan(result.value).all()
    assert np.isfinite(result.loss).all()
    assert result.status == "not resolved"
    assert not verify(keeper.store.path)
    again, origin = series.measure_series(plan, EXACT, keeper, "average", rho=1e-17, repeats=2)
    assert origin["found"]
    assert again.status == "not resolved"


def test_some_rows_resolved_make_a_whole_series(trained, keeper, monkeypatch):
    (plan,) = plans([str(trained / "small.safetensors")], "epoch")
    answers = iter((Status.NOT_RESOLVED, Status.CONVERGED, Status.COMPLETE))

    def some(*given, **options):
        return dataclasses.replace(measure(*given, **options), status=next(answers))

    monkeypatch.setattr("landscape.sharpness.measure", some)
    result, _ = series.measure_series(plan, EXACT, keeper)
    assert (result.run_status.tolist(), result.status) == ([5, 1, 1], "complete")
    assert not verify(keeper.store.path)


def test_a_result_that_verify_would_call_damage_is_not_stored(tmp_path):
    store = Store(tmp_path / "r.h5")
    found = Sharpness(
        **{"status": Status.COMPLETE, "settings": {"kind": "sharpness"}, "measure": "sam", "space": "full"},
        **{"value": float("nan"), "loss": 1.0, "num_params": 1, "num_samples": 1},
    )
    with pytest.raises(InputError, match="contradicts itself is not stored: it counts as complete"):
        store.add("net", found)
    assert not store.path.exists()
    store.add("net", dataclasses.replace(found, status=Status.NOT_RESOLVED))
    assert not verify(store.path)


def test_weights_too_large_for_the_type_are_a_row_that_is_not_finite(trained, keeper, tmp_path):
    for name in ("warm1", "warm2"):
        shutil.copy(trained / f"{name}.safetensors", tmp_path)
    huge = load_checkpoint(tmp_path / "warm2.safetensors")
    tensors = {name: tensor * 1e30 for name, tensor in huge.tensors.items()}
    save_checkpoint(tmp_path / "warm2.safetensors", tensors, huge.recipe, huge.metadata)
    (plan,) = plans([str(tmp_path / f"warm{i}.safetensors") for i in (1, 2)], "warm-epochs")
    result, _ = series.measure_series(plan, Request(dtype="float32"), keeper)
    assert result.run_status.tolist() == [1, 2]


def test_a_run_that_diverged_is_not_measured(tmp_path, keeper):
    recipe = Recipe(**(COMMON | {"lr": 1e-4}), batch_size=1, epochs=1, loss="mse")
    grid = Grid(recipe=recipe, batch_sizes=(100, "full"), rules=("linear",))
    broken = dataclasses.replace(grid, recipe=dataclasses.replace(recipe, lr=1e9, epochs=4), batch_sizes=(100,))
    assert sweep(broken, tmp_path)[0]["linear"].run_status.tolist() == [2]
    (plan,) = plans([str(tmp_path)], "batch-size")
    with pytest.raises(NumericalError, match="every run diverged"):
        series.measure_series(plan, EXACT, keeper)
    sweep(grid, tmp_path)
    (plan,) = plans([str(tmp_path)], "batch-size")
    plan = dataclasses.replace(plan, rows=(dataclasses.replace(plan.rows[0], diverged=True), plan.rows[1]))
    result, _ = series.measure_series(plan, EXACT, keeper)
    assert result.run_status.tolist() == [4, 1]
    assert list(map(len, result.over(result.value).values())) == [1, 0]


def test_runs_to_do_are_left_out_and_counted(tmp_path):
    with pytest.raises(InputError, match=r"no sweep\.h5"):
        plans([str(tmp_path)], "batch-size")
    sweep(dataclasses.replace(GRID, rules=("none",)), tmp_path, shard=(2, 2))
    (plan,) = plans([str(tmp_path)], "batch-size")
    assert ([row.label for row in plan.rows], plan.missing) == (["b100-none-s1", "b20-none-s1"], 2)
    plans([str(tmp_path)], "batch-size")
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(InputError, match=r"b100-none-s1\.safetensors is gone"):
        plans([str(tmp_path)], "batch-size")
    sweep(dataclasses.replace(GRID, rules=("none",), seeds=(0,)), tmp_path, shard=(3, 3))
    with pytest.raises(InputError, match="no run of the sweep"):
        plans([str(tmp_path)], "batch-size")


def test_another_checkpoint_than_the_sweep_summarised_is_refused(trained, tmp_path):
    shutil.copytree(trained / "grid", tmp_path / "grid")
    shutil.copy(tmp_path / "grid/b100-none-s1.safetensors", tmp_path / "grid/b100-none-s0.safetensors")
    with pytest.raises(InputError, match="is not what"):
        plans([str(tmp_path / "grid")], "batch-size")


def test_senseless_series_are_refused(trained, tmp_path):
    small, warm = str(trained / "small.safetensors"), str(trained / "warm1.safetensors")
    for given, words in (
        (([small], "time"), "against"),
        (([], "epoch"), "--save-every"),
        (([small], "epoch", ["a", "b"]), "make 1 series, got 2 labels"),
        (([small, small], "epoch"), "not all different"),
    ):
        with pytest.raises(UsageError, match=words):
            plans(*given)
    torch.save(load_checkpoint(small).tensors, tmp_path / "plain.pt")
    for given, words in (
        (([warm], "epoch"), "kept no points"),
        (([small], "warm-epochs"), "none of the 1 checkpoints began from another"),
        (([warm, warm], "warm-epochs"), "or are the same"),
        (([str(tmp_path / "plain.pt"), warm], "warm-epochs"), "carries no recipe"),
        (([str(tmp_path / "gone.safetensors")], "epoch"), "gone.safetensors"),
    ):
        with pytest.raises(InputError, match=words):
            plans(*given)


def test_a_warm_start_whose_beginning_is_gone_or_another_is_refused(trained, tmp_path):
    runs.run(BASE, tmp_path / "first.safetensors")
    recipe = dataclasses.replace(BASE, init=str(tmp_path / "first.safetensors"))
    runs.run(recipe, tmp_path / "then.safetensors")
    runs.run(dataclasses.replace(BASE, seed=3), tmp_path / "first.safetensors", overwrite=True)
    with pytest.raises(InputError, match="has changed since"):
        plans([str(tmp_path / "then.safetensors")], "warm-epochs")
    (tmp_path / "first.safetensors").unlink()
    with pytest.raises(InputError, match="which is not there"):
        plans([str(tmp_path / "then.safetensors")], "warm-epochs")


def test_checkpoints_of_other_data_are_refused(trained, tmp_path, keeper):
    runs.run(dataclasses.replace(BASE, train_samples=100), tmp_path / "other.safetensors")
    paths = [str(trained / "warm1.safetensors"), str(tmp_path / "other.safetensors")]
    (plan,) = plans(paths, "warm-epochs")
    with pytest.raises(InputError, match="different data"):
        series.measure_series(plan, EXACT, keeper)


def test_a_series_that_contradicts_itself_is_told():
    rows = {name: np.ones(2) for name in ("batch_size", "seed", "epoch", "updates", "value", "stderr", "loss")}
    rows |= {name: np.ones(2) for name in ("train_accuracy", "test_accuracy")}
    fields = {"settings": {}, "measure": "sam", "against": "epoch", "num_samples": 1, "names": ("a", "b"), **rows}
    done = {"status": Status.COMPLETE, "run_status": np.array([1, 2])}
    assert SharpnessSeries(**fields, **done).problems() == []
    for wrong, words in (
        ({"names": ("a",)}, "missing"),
        ({"against": "warm-epochs"}, "missing"),
        ({"value": np.array([np.nan, 1.0])}, "not finite"),
        ({"status": Status.NON_FINITE}, "1 rows are measured"),
    ):
        (problem,) = SharpnessSeries(**(fields | done | wrong)).problems()
        assert words in problem
