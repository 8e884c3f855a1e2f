"""Sweeps: which runs a grid holds, what they have in common, going on run by run, shards, and what is printed."""

import json

import numpy as np
import pytest
from landscape_cli.main import run

from landscape import Recipe, load_checkpoint
from landscape.errors import Stopped, UsageError
from landscape.store import Store
from landscape.studies.sweep import Grid, Watch, sweep

BASE = Recipe(model_args={"widths": [8]}, train_samples=200, batch_size=20, epochs=3, lr=0.05)


def grid(**fields):
    return Grid(
        **({"recipe": BASE, "batch_sizes": (20, 64, "full"), "rules": ("none", "sqrt"), "seeds": (0, 1)} | fields)
    )


def test_a_grid_holds_every_combination_once():
    """At the base batch size the rules agree, so that one run stands for all."""
    runs = list(grid().runs(200))
    assert len({run.name for run in runs}) == len(runs) == 10
    assert {(run.recipe.batch_size, rule, run.recipe.seed) for run in runs for rule in run.rules} == {
        (size, rule, seed) for size in (20, 64, "full") for rule in ("none", "sqrt") for seed in (0, 1)
    }
    assert all(run.recipe.scale_lr == run.rules[0] for run in runs)
    warm = Recipe(**(vars(BASE) | {"warmup": 1}))
    assert len(list(grid(recipe=warm).runs(200))) == 12  # from zero, or from the unscaled rate
    flat = Recipe(**(vars(BASE) | {"warmup": 1, "warmup_shape": "constant"}))
    assert len(list(grid(recipe=flat).runs(200))) == 10
    assert {run.recipe.base_batch_size for run in runs} == {20}
    assert runs[0].name == "bfull-none-s0"


@pytest.mark.parametrize(("budget", "updates"), [("epochs", [30, 12, 3]), ("updates", [30, 30, 30])])
def test_all_runs_have_equal_epochs_or_equal_updates(tmp_path, budget, updates):
    found, rows = sweep(grid(rules=("sqrt",), seeds=(0,), budget=budget), tmp_path)
    by_size = found["sqrt"].over_seeds(found["sqrt"].updates)
    assert [by_size[size].tolist() for size in (20, 64, 200)] == [[n] for n in updates]
    if budget == "epochs":
        assert set(found["sqrt"].epochs) == {3}
    rates = dict(zip(found["sqrt"].batch_size.tolist(), found["sqrt"].learning_rate.tolist(), strict=True))
    assert rates == pytest.approx({20: 0.05, 64: 0.05 * np.sqrt(3.2), 200: 0.05 * np.sqrt(10)})
    assert {row["recipe"]["batch_size"] for row in rows} == {20, 64, "full"}


def test_equal_updates_stretch_the_schedules():
    """A rate that falls after two thirds of the base run falls after two thirds of every run."""
    recipe = Recipe(epochs=3, batch_size=20, schedule="step", milestones=(2,))
    from landscape.recipe import Position, Schedule

    for planned in grid(recipe=recipe, batch_sizes=(20, 100), rules=("none",), seeds=(0,), budget="updates").runs(200):
        schedule, size = Schedule(planned.recipe, 200), planned.recipe.batch_size
        rates = [schedule.rate(Position(i * size, i)) for i in range(30)]
        assert rates == pytest.approx([0.05] * 20 + [0.005] * 10)


def test_a_sweep_goes_on_run_by_run_and_ends_as_if_never_stopped(tmp_path):
    plan = grid(rules=("none",))
    whole, _ = sweep(plan, tmp_path / "whole")
    asked = iter(range(10**6))
    with pytest.raises(Stopped):
        sweep(plan, tmp_path / "parts", watch=Watch(stop=lambda: next(asked) == 40))
    said = []
    parts, _ = sweep(plan, tmp_path / "parts", watch=Watch(say=said.append))
    assert 0 < len(said) < 6
    for name in ("updates", "train_loss", "test_accuracy", "distance"):
        np.testing.assert_array_equal(getattr(whole["none"], name), getattr(parts["none"], name))
    said.clear()
    sweep(plan, tmp_path / "parts", watch=Watch(say=said.append))
    assert said == []


def test_shards_share_a_folder_and_say_what_is_missing(tmp_path):
    plan = grid(rules=("none",), batch_sizes=(20, 50), seeds=(0, 1))
    first, rows = sweep(plan, tmp_path, shard=(1, 3))
    assert (first["none"].missing, first["none"].status, len(rows)) == (2, "stopped", 2)
    sweep(plan, tmp_path, shard=(2, 3))
    last, rows = sweep(plan, tmp_path, shard=(3, 3))
    assert (last["none"].missing, last["none"].status, len(rows)) == (0, "complete", 4)
    stored = Store(tmp_path / "sweep.h5").find(kind="sweep")
    assert [entry.result.missing for entry in stored] == [0]


def test_a_run_that_diverges_is_noted_and_the_sweep_goes_on(tmp_path):
    found, rows = sweep(grid(recipe=Recipe(**(vars(BASE) | {"lr": 1e12})), rules=("none",), seeds=(0,)), tmp_path)
    assert set(found["none"].run_status) == {2}
    assert {row["status"] for row in rows} == {"non-finite"}
    said = []
    sweep(
        grid(recipe=Recipe(**(vars(BASE) | {"lr": 1e12})), rules=("none",), seeds=(0,)),
        tmp_path,
        watch=Watch(say=said.append),
    )
    assert said == []  # not tried again


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_sizes": ()}, "batch sizes"),
        ({"seeds": (1, 1)}, "seeds that differ"),
        ({"budget": "hours"}, "epochs or updates"),
        ({"budget": "updates", "recipe": Recipe(updates=3)}, "whole epochs"),
    ],
)
def test_senseless_grids_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        grid(**wrong)


# -- the commands


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


SMALL = "--train-samples 100 --model-arg widths=[4] --epochs 1"


def test_the_command_prints_a_table_and_draws(here, tmp_path, capsys):
    text = f"sweep --batch-sizes 10,full --rules none,linear --seeds 0:2 --batch-size 10 {SMALL} --out grid"
    assert run(text.split()) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 5
    assert table[0].split()[:3] == ["rule", "batch", "rate"]
    assert {line.split()[2] for line in table[1:]} == {"0.05", "0.5"}
    assert all("+-" in line for line in table[1:])
    assert (tmp_path / "grid" / "sweep.png").exists()
    assert len(list((tmp_path / "grid").glob("*.safetensors"))) == 6
    assert run([*text.split(), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    keys = {"checkpoint", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "updates", "epochs", "seconds"}
    assert all(set(row) > keys | {"recipe"} for row in shown["runs"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--batch-sizes 8 --shard 3/2", 2),
        ("--batch-sizes 8 --shard x", 2),
        ("--batch-sizes eight", 2),
        ("--batch-sizes 8 --rules cubic", 2),
        ("--batch-sizes 8 --seeds a:b", 2),
        ("--batch-sizes 8 --budget updates --updates 5", 2),
        ("--batch-sizes 0", 2),
        ("--batch-sizes 8 --recipe none.toml", 3),
        ("--batch-sizes 8 --train-samples 5000", 3),
    ],
)
def test_the_command_refuses_in_one_line(here, capsys, arguments, code):
    assert run(["sweep", *arguments.split(), "--out", "grid"]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_recipe_goes_into_the_checkpoint_and_comes_out_again(here, tmp_path, capsys):
    (tmp_path / "r.toml").write_text("lr = 0.2\nbatch_size = 25\ntrain_samples = 100\n[model_args]\nwidths = [4]\n")
    assert run("train --recipe r.toml --epochs 2 --lr 0.1 --momentum 0 --out a.safetensors".split()) == 0  # noqa: SIM905
    capsys.readouterr()
    assert run(["show", "a.safetensors"]) == 0
    (tmp_path / "again.toml").write_text(capsys.readouterr().out)
    assert run(["train", "--recipe", "again.toml", "--out", "b.safetensors"]) == 0
    a, b = load_checkpoint("a.safetensors"), load_checkpoint("b.safetensors")
    assert a.recipe == b.recipe
    assert (a.recipe.lr, a.recipe.batch_size, a.recipe.momentum, a.recipe.epochs) == (0.1, 25, 0, 2)
    assert all((a.tensors[key] == b.tensors[key]).all() for key in a.tensors)
    capsys.readouterr()
    assert run(["show", "a.safetensors", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"]["batch_size"] == 25
    assert shown["tensors"]["1.weight"] == [4, 64]


def test_a_recipe_that_contradicts_itself_is_a_refused_file(here, tmp_path, capsys):
    (tmp_path / "r.toml").write_text("momentum = 2.0\n")
    assert run(["train", "--recipe", "r.toml"]) == 3
    assert "r.toml: momentum must be below 1" in capsys.readouterr().err


def test_a_missed_target_is_numerical_and_its_checkpoint_stands(here, tmp_path, capsys):
    assert run(f"train {SMALL} --target-loss 1e-9 --out a.safetensors --json".split()) == 4
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "not converged"
    assert (tmp_path / "a.safetensors").exists()


def test_what_is_written_down_along_a_run_is_shown_and_drawn(here, tmp_path, capsys):
    text = f"train {SMALL} --log updates --track eigen --track-samples 50 --save-log 1 --out a.safetensors"
    assert run(text.split()) == 0
    assert sorted(path.stem for path in (tmp_path / "a.trajectory").iterdir()) == ["00000000", "00000001"]
    capsys.readouterr()
    assert run(["show", "a.run.h5"]) == 0
    shown = capsys.readouterr().out
    assert "2 updates, loss of the last batch" in shown
    assert "eigen: 2 points, last eigenvalue" in shown
    assert run(["figure", "a.run.h5", "--out", "drawn"]) == 0
    assert {path.stem for path in (tmp_path / "drawn").iterdir()} == {"training", "updates", "tracked-eigen"}


@pytest.mark.parametrize("arguments", ["--save-every 1", "--track-every 0", "--save-log -1", "--track loss"])
def test_senseless_requests_along_a_run_are_refused(here, capsys, arguments):
    assert run(["train", *SMALL.split(), *arguments.split()]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
