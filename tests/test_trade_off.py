"""The trade-off of updates and samples: the law and its intervals, what logs say, the command and the drawing."""

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from landscape_cli.main import run

from landscape import Recipe
from landscape.draw import style
from landscape.draw.trade_off import draw_trade_off
from landscape.errors import InputError, UsageError
from landscape.results import Status, Tracked, Training
from landscape.store import Store, verify
from landscape.studies import runs as training
from landscape.studies.sweep import Grid, sweep
from landscape.studies.tracking import tracking
from landscape.studies.trade_off import inputs_of, read_runs, trade_off
from landscape.trade_off import crossing, fit, regimes

SIZES = 2.0 ** np.arange(3, 11)
S_MIN, B_CRIT = 100.0, 120.0
COUNT = 1024  # samples of a made-up run's data
BOUNDED = {"s_min": S_MIN, "e_min": S_MIN * B_CRIT, "b_crit": B_CRIT}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def law(size, s_min=S_MIN, b_crit=B_CRIT):
    return s_min * (1 + b_crit / size)


# -- the fit


def test_the_law_is_recovered():
    found = fit(SIZES, law(SIZES))
    for name, truth in BOUNDED.items():
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(truth, rel=1e-6)
        assert estimate.low == pytest.approx(truth, rel=1e-5)
        assert estimate.high == pytest.approx(truth, rel=1e-5)
        assert estimate.bounded
    assert found.misfit < 1e-6


@pytest.mark.parametrize(("sizes", "spread"), [(8, 0.1), (5, 0.05), (4, 0.2)])
def test_intervals_cover_the_truth(sizes, spread):
    """95 % intervals over 250 draws of noise in log updates: 90 % at least, and not always."""
    size, generator = np.geomspace(8, 1024, sizes), np.random.default_rng(0)
    covered = dict.fromkeys(BOUNDED, 0)
    for _ in range(250):
        found = fit(size, law(size) * np.exp(spread * generator.standard_normal(sizes)))
        for name, truth in BOUNDED.items():
            estimate = getattr(found, name)
            low, high = estimate.low or 0.0, math.inf if estimate.high is None else estimate.high
            covered[name] += low <= truth <= high
    assert all(0.90 <= count / 250 < 1 for count in covered.values()), covered


def test_the_level_widens_intervals():
    noisy = law(SIZES) * np.exp(0.1 * np.random.default_rng(1).standard_normal(len(SIZES)))
    narrow, wide = (fit(SIZES, noisy, level).b_crit for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high


def test_one_regime_alone_leaves_an_end_open():
    """Where S halves with each doubling there is no S_min to be seen, where S is constant no E_min."""
    noise = np.exp(0.05 * np.random.default_rng(2).standard_normal(len(SIZES)))
    scaling, flat = fit(SIZES, 5000 / SIZES * noise), fit(SIZES, 50 * noise)
    assert scaling.b_crit.high is scaling.s_min.low is None
    assert scaling.e_min.value == pytest.approx(5000, rel=0.1)
    assert flat.b_crit.low is flat.e_min.low is None
    assert flat.s_min.value == pytest.approx(50, rel=0.1)
    assert not scaling.b_crit.bounded
    assert not flat.b_crit.bounded
    assert set(regimes(SIZES, fit(SIZES, 5000 / SIZES))) == {1}
    assert set(regimes(SIZES, fit(SIZES, np.full(len(SIZES), 50.0)))) == {3}


def test_two_batch_sizes_are_too_few():
    with pytest.raises(InputError, match="needs 3 batch sizes, got 2"):
        fit(np.array([8.0, 16.0]), np.array([100.0, 60.0]))


def test_regimes_follow_the_slope_of_the_law():
    sizes = B_CRIT * np.array([0.1, 0.2499, 0.26, 1, 3.9, 4.01, 20])
    assert regimes(sizes, fit(SIZES, law(SIZES))).tolist() == [1, 1, 2, 2, 2, 3, 3]


def test_a_loss_comes_down_to_the_target_between_two_rows():
    loss = np.array([2.0, 1.0, 0.25, 0.5, 0.1])
    assert crossing(loss, 0.5) == pytest.approx(1.5)  # halfway in log loss
    assert crossing(loss, 1.0) == 1
    assert crossing(loss, 2.0) == 0
    assert crossing(np.array([2.0, 1.0, 0.0]), 0.25) == pytest.approx(1.75)  # no log of zero
    assert crossing(np.array([1.0, -1.0]), -0.5) == pytest.approx(0.75)
    assert math.isnan(crossing(loss, 0.05))
    assert crossing(np.array([2.0, np.nan, 1.0]), 1.0) != crossing(loss, 1.0)


# -- from logs


def logged(folder, size, seed, updates, *, lr=0.1, rate=1.0, noise=None, **fields):
    """The log of a run whose loss falls as 2 e^(-t), t = ln 20 (loss 0.1) after so many updates; 40 rows."""
    recipe = Recipe(batch_size=size, seed=seed, lr=lr, epochs=5, **fields)
    place = np.linspace(0, 1.5 * updates, 41)
    loss = 2 * np.exp(-math.log(20) * place / updates) * rate
    zeros = np.zeros(41)
    columns = dict.fromkeys(("train_accuracy", "test_loss", "test_accuracy", "distance", "seconds"), zeros)
    samples = place * size
    log = Training(
        status=Status.COMPLETE,
        settings={"kind": "training", "version": 2, "recipe": recipe.to_json()},
        epoch=samples / COUNT,
        updates=place,
        samples=samples,
        train_loss=loss,
        learning_rate=zeros + lr,
        batch_size=zeros + size,
        **columns,
    )
    folder.mkdir(exist_ok=True)
    store = Store(folder / f"b{size}-{lr:g}-s{seed}.run.h5")
    store.add("run", log)
    if noise is not None:
        settings = {"kind": "tracked", "version": 2, "measure": "noise", "recipe": recipe.to_json()}
        # of rows of tr(Sigma) and |G|^2
        columns = ("b_simple", "trace_covariance", "gradient_norm_squared")
        values = np.array([[a / b if b > 0 else math.nan, a, b] for a, b in noise])
        made = {"status": Status.COMPLETE, "settings": settings, "measure": "noise", "columns": columns}
        store.add(
            "run",
            Tracked(
                **made,
                epoch=np.arange(float(len(noise))),
                updates=np.linspace(0, 2, len(noise)) * updates,
                values=values,
            ),
        )


def test_logs_give_back_the_law_that_made_them(tmp_path):
    for size in (8, 32, 128, 512):
        for seed in (0, 1, 2):
            logged(tmp_path, size, seed, law(size), noise=((100 * 2**seed, 1), (200 * 2**seed, 2), (1e6, 1)))
    found, notes = trade_off(read_runs([tmp_path]), target=0.1)
    assert found.status == "complete"
    np.testing.assert_allclose(found.updates, law(found.batch_size), rtol=1e-9)
    np.testing.assert_allclose(found.samples, found.batch_size * found.updates, rtol=1e-9)
    assert [found.s_min, found.e_min, found.b_crit] == pytest.approx(list(BOUNDED.values()), rel=1e-6)
    assert found.num_seeds.tolist() == [3] * 4
    assert found.regime.tolist() == [1, 2, 2, 3]
    scales = [found.b_simple_low, found.b_simple, found.b_simple_high]
    # the third row of each run is beyond the target
    assert scales == pytest.approx([100, 200, 400])
    assert notes == []
    assert found.problems() == []


def test_the_noise_scale_along_runs_leaves_no_row_out(tmp_path):
    """tr(Sigma) 100, |G|^2 1 with an error of 2: the geometric mean of the ratios that are positive would be 71."""
    generator = np.random.default_rng(3)
    seeds, rows = 5, 80
    for size in (8, 32, 128):
        for seed in range(seeds):
            norms = 1 + 2 * generator.standard_normal(2 * rows - 1)
            norms[3] = 500  # as where a large rate makes the loss jump: no row outweighs the others
            logged(tmp_path, size, seed, law(size), noise=[(100, norm) for norm in norms])
    found, _ = trade_off(read_runs([tmp_path]), target=0.1)
    error = math.pi / math.sqrt(3 * seeds * rows)  # of a median of medians
    assert abs(100 / found.b_simple - 1) < 3 * error
    assert found.b_simple_low < found.b_simple < found.b_simple_high
    for size in (8, 32, 128):
        logged(tmp_path, size, 9, law(size), noise=((100, -1), (100, -2), (100, 1)))
    assert trade_off(read_runs([tmp_path]), target=0.1)[0].b_simple_high is None


def test_the_best_rate_of_each_batch_size_counts(tmp_path):
    for size in (8, 32, 128):
        for lr, factor in ((0.01, 4), (0.1, 1), (1.0, 0.5)):
            for seed in (0, 1, 2):
                # the fastest rate reaches the target for one seed of three only
                rate = 10 if lr == 1.0 and seed > 0 else 1
                logged(tmp_path, size, seed, law(size) * factor * (1 + seed / 10), lr=lr, rate=rate)
    found, notes = trade_off(read_runs([tmp_path]), target=0.1)
    assert found.learning_rate.tolist() == [0.1] * 3
    np.testing.assert_allclose(found.updates, 1.1 * law(found.batch_size))
    np.testing.assert_allclose(found.updates_low, law(found.batch_size))
    np.testing.assert_allclose(found.updates_high, 1.2 * law(found.batch_size))
    assert found.num_missed.tolist() == [2] * 3
    assert notes == []
    _, notes = trade_off([run for run in read_runs([tmp_path]) if run.rate > 0.05], target=0.1)
    assert "the least or the largest of those tried" in notes[0]


def test_rules_and_folders_share_runs(tmp_path):
    """The same rate by two rules is one run, wherever it lies; the longer log counts."""
    for size in (8, 32, 128):
        logged(tmp_path / "a", size, 0, law(size), lr=0.1, base_batch_size=8)
        logged(tmp_path / "b", size, 0, law(size), lr=0.1, scale_lr="none")
    assert len(read_runs([tmp_path / "a", tmp_path / "b"])) == 3
    logged(tmp_path / "c", 8, 1, law(8), model="cnn")
    with pytest.raises(InputError, match="differ in model"):
        read_runs([tmp_path / "a", tmp_path / "c"])


def test_a_batch_size_that_is_never_there_is_left_out(tmp_path):
    for size in (8, 32, 128, 512):
        logged(tmp_path, size, 0, law(size), rate=1 if size < 512 else 10)
    found, _ = trade_off(read_runs([tmp_path]), target=0.1)
    assert np.isnan(found.updates).tolist() == [False, False, False, True]
    assert (found.num_seeds[-1], found.num_missed[-1]) == (0, 1)
    assert found.b_crit == pytest.approx(B_CRIT, rel=1e-6)
    lowest = min(run.lowest for run in read_runs([tmp_path]) if run.batch_size == 512)
    assert trade_off(read_runs([tmp_path]))[0].target == pytest.approx(1.02 * lowest)


def test_a_short_last_batch_counts_as_it_is(tmp_path):
    """E is what was seen, and the law is of samples over updates, not of the size that was asked for."""
    for size in (8, 32, 128, 512):
        logged(tmp_path, size, 0, law(size / 2))
    runs = read_runs([tmp_path])
    for run_ in runs:
        np.copyto(run_.log.samples, run_.log.updates * run_.batch_size / 2)
    found, _ = trade_off(runs, target=0.1)
    assert found.b_crit == pytest.approx(B_CRIT, rel=1e-6)
    np.testing.assert_allclose(found.samples, found.updates * found.batch_size / 2)


def test_what_cannot_be_fitted_is_told(tmp_path):
    for size in (8, 32, 128):
        logged(tmp_path, size, 0, law(size))
    runs = read_runs([tmp_path])
    with pytest.raises(InputError, match=r"no run came down to 1e-06; the lowest train loss is 0\.0"):
        trade_off(runs, target=1e-6)
    with pytest.raises(InputError, match="begins at a train loss of 2"):
        trade_off(runs, target=2.5)
    with pytest.raises(InputError, match="needs 3 batch sizes .* got 2"):
        trade_off([run_ for run_ in runs if run_.batch_size != 8], target=0.1)
    with pytest.raises(UsageError, match="level"):
        trade_off(runs, level=1.0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no logs"):
        read_runs([tmp_path / "empty"])
    np.copyto(runs[0].log.batch_size, np.arange(41))
    Store(tmp_path / "empty" / "grown.run.h5").add("grown", runs[0].log)
    with pytest.raises(InputError, match="batch size changes"):
        read_runs([tmp_path / "empty"])


def test_the_result_is_identified_by_what_the_logs_say(tmp_path):
    for size in (8, 32, 128):
        logged(tmp_path, size, 0, law(size))
    runs = read_runs([tmp_path])
    one, _ = trade_off(runs, target=0.1)
    two, _ = trade_off(runs[::-1], target=0.1)
    other, _ = trade_off(runs, target=0.2)
    assert one.settings == two.settings != other.settings
    assert set(inputs_of(runs)) == {str(run_.path) for run_ in runs}


# -- the command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = Recipe(model_args={"widths": [8]}, train_samples=400, momentum=0, lr=0.2, batch_size=16, epochs=60)
    grid = Grid(recipe=recipe, batch_sizes=(16, 64, 200, "full"), rules=("none", "sqrt"), seeds=(0, 1))
    sweep(grid, folder / "grid")
    along = training.Extras(tracking=(tracking("noise", recipe, 200, 1),))
    training.run(recipe, folder / "grid" / "b16-none-s0.safetensors", extras=along, overwrite=True)
    return folder


def test_a_sweep_by_command(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    store = str(tmp_path / "r.h5")
    assert run(["trade-off", "grid", "--target-loss", "0.5", "--out", store, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["label"], shown["target"], shown["level"]) == ("trade-off", "grid", 0.5, 0.95)
    assert shown["batch_size"] == [16, 64, 200, 400]
    assert shown["status"] in ("complete", "not resolved")
    assert {"b_crit", "b_crit_low", "b_crit_high", "s_min", "e_min", "regime", "b_simple", "misfit"} <= set(shown)
    assert shown["updates"][0] > shown["updates"][-1] > 0
    assert shown["b_simple"] is None or shown["b_simple_low"] <= shown["b_simple"] <= shown["b_simple_high"]
    assert len(shown["provenance"]["inputs"]) == len(list((trained / "grid").glob("*.run.h5")))
    (entry,) = Store(store).find(kind="trade-off")
    assert entry.label == "grid"
    assert not verify(store)
    assert run(["trade-off", "grid", "--target-loss", "0.5", "--label", "digits", "--out", store]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].split()[:3] == ["batch", "rate", "updates"]
    assert "b_crit" in text
    with style():
        panels = plt.subplots(1, 2)[1]
        draw_trade_off(entry.result, *panels)
        assert panels[0].get_xscale() == panels[1].get_xscale() == "log"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("", 2, "no folder"),
        ("grid --level 1", 2, "--level"),
        ("grid --label a/b", 2, "--label"),
        ("grid --target-loss nothing", 2, "--target-loss"),
        ("gone", 3, "holds no logs"),
        ("grid --target-loss 1e-9", 3, "the lowest train loss is"),
        ("grid --target-loss 100", 3, "begins at a train loss"),
    ],
)
def test_senseless_requests_end_the_command_in_one_line(trained, monkeypatch, capsys, arguments, code, said):
    monkeypatch.chdir(trained)
    assert run(["trade-off", *arguments.split()]) == code
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
    assert said in captured.err


# -- the drawing


def test_the_drawing_marks_what_is_known(tmp_path):
    for size in (8, 32, 128, 512, 1024):
        logged(tmp_path, size, 0, law(size), rate=1 if size < 1024 else 10, noise=((50 + size, 1), (200, 1), (1e6, 1)))
    found, _ = trade_off(read_runs([tmp_path]), target=0.1)
    with style():
        over_sizes, over_updates = plt.subplots(1, 2)[1]
        draw_trade_off(found, over_sizes, over_updates)
        _, labels = over_sizes.get_legend_handles_labels()
        assert {"fitted law", "ideal, $E_{min}/B$", "best rate, 1 not there"} < set(labels)
        assert any(label.startswith("$B_{crit}$ 120 [") for label in labels)
        assert any(label.startswith("$B_{simple}$ ") for label in labels)
        assert [text.get_text() for text in over_updates.texts][2:] == ["8", "32", "128", "512"]
        regime_names = [text.get_text().replace("\n", " ") for text in over_sizes.texts]
        assert regime_names == ["perfect scaling", "diminishing returns", "maximal parallelism"]


def test_a_law_without_a_critical_size_is_drawn_without(tmp_path):
    for size in (8, 32, 128, 512):
        logged(tmp_path, size, 0, 5000 / size)
    found, _ = trade_off(read_runs([tmp_path]), target=0.1)
    assert (found.status, found.b_crit, found.s_min) == ("not resolved", None, None)
    with style():
        over_sizes, over_updates = plt.subplots(1, 2)[1]
        draw_trade_off(found, over_sizes, over_updates)
        _, labels = over_sizes.get_legend_handles_labels()
        assert labels == ["ideal, $E_{min}/B$", "best rate"]
