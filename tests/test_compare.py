"""`landscape compare`: copies that must not differ, copies that must, groups of seeds, stopping, wrong pairs."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from landscape_cli.main import run
from torch import nn

from landscape import Objective, build_model, load_data
from landscape.checkpoint import load_checkpoint, save_checkpoint
from landscape.comparing.points import Point, measure_point
from landscape.comparing.subsets import points_of
from landscape.comparing.table import POINTS, preset
from landscape.comparison import Measured
from landscape.draw import draw
from landscape.errors import InputError, NumericalError, Stopped, UsageError
from landscape.recipe import Recipe
from landscape.rescaling import rescale
from landscape.results import Status
from landscape.results.comparison import NOT_RESOLVED
from landscape.sheet import as_text
from landscape.store import Store
from landscape.store.schema import content
from landscape.studies.cells import Cells, Plan
from landscape.studies.compare import compare, settings
from landscape.studies.figures import draw_store
from landscape.studies.groups import differing, matched, subjects
from landscape.studies.keeping import Attempt
from landscape.studies.measured import Request, measured
from landscape.studies.runfiles import read_log
from landscape.studies.runs import run as train

QUICK = preset("quick")
STANDARD = preset("standard")
PLAN = Plan(measures=QUICK[0], pairs=QUICK[1], repeats=3, seed=0)
LARGE = "checkpoints/digits-large.safetensors"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small are quicker on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recipe(batch_size, seed, **more):
    return Recipe(**({"model_args": {"widths": [12]}, "batch_size": batch_size, "epochs": 3, "seed": seed} | more))


@pytest.fixture(scope="module")
def runs(one_thread, tmp_path_factory):
    """Groups of four seeds, of large and of small batches."""
    folder = tmp_path_factory.mktemp("compare")
    for name, size in (("sb", 16), ("lb", 400)):
        for seed in range(4):
            train(recipe(size, seed), folder / f"{name}-{seed}.safetensors", device="cpu")
    return folder


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The same minimum saved again, with other units first, and rescaled."""
    folder = tmp_path_factory.mktemp("copies")
    original = load_checkpoint(LARGE)
    tensors = dict(original.tensors)
    save_checkpoint(folder / "saved.safetensors", tensors, original.recipe, {"note": "again"})
    order = torch.randperm(tensors["1.bias"].numel(), generator=torch.Generator().manual_seed(0))
    permuted = tensors | {"1.weight": tensors["1.weight"][order], "1.bias": tensors["1.bias"][order]}
    permuted["3.weight"] = tensors["3.weight"][:, order]
    save_checkpoint(folder / "permuted.safetensors", permuted, original.recipe, {})
    objective = measured(Request(samples=200), [LARGE])[0].objective
    rescaled = rescale(objective, 4.0).objective
    parts = dict(zip(rescaled.layout.names, rescaled.layout.split(rescaled.params), strict=True))
    save_checkpoint(folder / "rescaled.safetensors", parts, original.recipe, {})
    return folder


def found(paths, plan=PLAN, groups=None, **asked):
    request = Request(split=None, **({"samples": 300} | asked))
    chosen = subjects(request, [str(path) for path in paths], groups or {})
    return compare(chosen, plan, grouped=bool(groups))


def verdicts(result, k=0):
    return {name: result.verdict_text(m, k) for m, name in enumerate(result.measures)}


@pytest.fixture(scope="module")
def beside_copies(copies):
    """The original, and three copies of its function, all with all measures of `standard`, in float64."""
    paths = [LARGE, *(copies / f"{name}.safetensors" for name in ("saved", "permuted", "rescaled"))]
    # what differs is resolved over five subsets, what does not needs no more than two
    plans = {n: Plan(measures=STANDARD[0], pairs=STANDARD[1], repeats=n, seed=0) for n in (2, 5)}
    return {
        name: found([LARGE, path], plans[5 if name == "rescaled" else 2], dtype="float64", labels=("original", name))
        for name, path in zip(("itself", "saved", "permuted", "rescaled"), paths, strict=True)
    }


@pytest.mark.parametrize("name", ["itself", "saved"])
def test_a_minimum_against_itself_or_saved_again(beside_copies, name):
    result = beside_copies[name]
    told = set(verdicts(result).values())
    assert told <= {"not resolved", "not comparable"}
    missing = {m for m, text in verdicts(result).items() if text == "not comparable"}
    assert missing <= {"noise-scale", "distance"}  # near a minimum there is none; a copy has no log of its run
    relations = dict(zip(result.relations, result.relation_value[:, 0], strict=True))
    assert relations["distance"] == relations["barrier"] == relations["aligned-barrier"] == 0
    assert relations["disagreement"] == 0
    assert relations["cka"] == pytest.approx(1)


def test_a_permuted_copy_has_a_barrier_until_it_is_aligned(beside_copies):
    result = beside_copies["permuted"]
    relations = dict(zip(result.relations, result.relation_value[:, 0], strict=True))
    low = dict(zip(result.relations, result.relation_low[:, 0], strict=True))
    assert relations["distance"] > 1
    assert low["barrier"] > 0
    assert relations["aligned-barrier"] == 0
    assert result.aligned_loss is not None
    assert result.aligned_loss[0] == pytest.approx(np.full(21, result.aligned_loss[0, 0]), rel=1e-6)
    assert not any("higher" in text for text in verdicts(result).values())


def test_a_rescaled_copy_moves_raw_measures_and_no_others(beside_copies):
    result = beside_copies["rescaled"]
    told = verdicts(result)
    for row, name in enumerate(result.measures):
        kind, both = POINTS[name].kind, result.full[row]
        if kind == "raw" and name not in ("distance", "noise-scale"):
            assert both[1] > 1.2 * both[0], name
            assert told[name] in ("rescaled higher", "not resolved"), name
        elif kind != "raw":
            assert told[name] == "not resolved", name
            assert both[1] == pytest.approx(both[0], rel=1e-5), name
    (line,) = [line for line in result.warnings if "agree in every measure of the outputs" in line]
    resolved = {name for name, text in told.items() if text == "rescaled higher"}
    assert {"param-norm", "eigenvalue-max", "frobenius"} <= resolved
    assert all(name in line for name in resolved)


def test_subsets_are_the_same_for_every_label_and_the_whole_stands_beside(runs):
    paths = [runs / "sb-0.safetensors", runs / "lb-0.safetensors", runs / "lb-1.safetensors"]
    result = found(paths)
    assert result.labels == ("sb-0", "lb-0", "lb-1")
    assert len(result.pairs) == 3
    assert (result.num_subsets, result.num_samples, result.num_all_samples) == (3, 100, 300)
    loss = result.measures.index("train-loss")
    assert result.value[loss] == pytest.approx(result.full[loss], rel=1e-5)
    evaluated = [m.objective.evaluate().loss for m in measured(Request(samples=300), [str(path) for path in paths])]
    assert result.full[loss] == pytest.approx(evaluated, rel=1e-5)
    assert result.draws is not None
    differences = result.draws[loss, 0] - result.draws[loss, 1]
    assert result.difference[loss, 0] == pytest.approx(differences.mean())
    half = (result.difference_high - result.difference_low)[loss, 0] / 2
    assert half == pytest.approx(4.302652729911275 * differences.std(ddof=1) / 3**0.5, rel=1e-6)  # t of 2 degrees
    assert result.slice_loss is not None
    assert result.slice_loss[:, 10] == pytest.approx(evaluated, rel=1e-5)
    assert result.between_loss is not None
    assert result.between_loss[0, [0, -1]] == pytest.approx(evaluated[:2], rel=1e-5)
    assert set(result.differing) == {"batch_size"}


def test_groups_are_judged_over_their_seeds(runs):
    groups = {"small": f"{runs}/sb-*", "large": f"{runs}/lb-*"}
    result = found([], Plan(measures=QUICK[0], pairs=QUICK[1], repeats=0, seed=0), groups)
    assert result.labels == ("small", "large")
    assert (result.method, result.exchanges, result.exact) == ("max-t", 70, True)
    assert set(result.over) == {"seeds"}
    losses = [
        [m.objective.evaluate().loss for m in measured(Request(samples=300), [str(runs / f"{n}-{s}.safetensors")])]
        for n in ("sb", "lb")
        for s in range(4)
    ]
    row = result.measures.index("train-loss")
    assert result.value[row] == pytest.approx(np.array(losses).reshape(2, 4).mean(axis=1), rel=1e-5)
    assert verdicts(result)["train-loss"] == "large higher"
    assert len(result.groups["small"]) == 4
    distance = result.relations.index("distance")
    assert result.relation_low[distance, 0] < result.relation_value[distance, 0] < result.relation_high[distance, 0]
    assert result.differing == {"batch_size": {"small": [16], "large": [400]}}


def test_few_seeds_fall_back_to_welch_and_say_so(runs, capsys):
    calls = [f"small={runs}/sb-[01].safetensors", f"large={runs}/lb-[012].safetensors"]
    words = ["compare", *(word for call in calls for word in ("--group", call)), "--measures", "train-loss,param-norm"]
    assert run([*words, "--samples", "200"]) == 0
    text = capsys.readouterr().out
    assert "Fewer than 4 seeds in a group (small 2, large 3)" in text
    assert "groups of training runs" in text
    assert run([*words, "--samples", "200", "--format", "latex"]) == 0
    assert r"\toprule" in capsys.readouterr().out


def test_a_group_of_several_recipes_or_one_seed_twice_is_told(runs, tmp_path):
    train(recipe(16, 0, order_seed=7), tmp_path / "sb-0.safetensors", device="cpu")
    train(recipe(16, 5, lr=0.2), tmp_path / "sb-5.safetensors", device="cpu")
    train(recipe(16, 0, epochs=1), tmp_path / "again-0.safetensors", device="cpu")
    plan = Plan(measures=("train-loss",), pairs=(), repeats=0, seed=0)
    large = f"{runs}/lb-[01].safetensors"
    mixed = found([], plan, {"small": f"{tmp_path}/sb-*.safetensors", "large": large})
    assert any("the runs of small differ in lr" in line for line in mixed.warnings)
    link = tmp_path / "again-1.safetensors"
    save_checkpoint(link, load_checkpoint(runs / "sb-0.safetensors").tensors, recipe(16, 0), {})
    twice = found([], plan, {"small": f"{tmp_path}/again-*.safetensors", "large": large})
    assert any("share a seed" in line for line in twice.warnings)


def test_the_same_network_is_no_second_run(runs, tmp_path):
    for name in ("a-0", "a-1"):
        (tmp_path / f"{name}.safetensors").write_bytes((runs / "sb-0.safetensors").read_bytes())
    request = Request(samples=100)
    with pytest.raises(InputError, match="the same network, twice in group a"):
        subjects(request, [], {"a": f"{tmp_path}/a-*", "b": f"{runs}/lb-*"})
    with pytest.raises(InputError, match="in the groups a and b"):
        subjects(request, [], {"a": f"{runs}/sb-*", "b": f"{runs}/sb-0*"})
    with pytest.raises(InputError, match="no checkpoint"):
        subjects(request, [], {"a": f"{runs}/sb-*", "b": f"{runs}/lb-*.run.h5"})
    with pytest.raises(InputError, match="no file"):
        subjects(request, [], {"a": f"{runs}/sb-*", "b": f"{runs}/none-*"})


def test_recipes_that_are_not_known_differ_in_nothing_that_is_told(runs, tmp_path):
    tensors = dict(load_checkpoint(runs / "sb-0.safetensors").tensors)
    safetensors.torch.save_file(tensors, tmp_path / "foreign.safetensors")
    request = Request(model="mlp", model_args={"widths": [12]}, data="digits", samples=100)
    chosen = subjects(request, [str(tmp_path / "foreign.safetensors"), str(runs / "lb-0.safetensors")], {})
    assert differing(chosen) == {}
    assert chosen[0].runs[0].start is None
    assert chosen[1].runs[0].start is not None


@pytest.mark.parametrize("stop_after", [1, 9, 30, 40])
def test_a_comparison_that_is_stopped_goes_on_to_the_same_bits(runs, stop_after):
    paths = [str(runs / f"{name}-0.safetensors") for name in ("sb", "lb")]
    chosen = subjects(Request(split=None, samples=200), paths, {})
    plan = Plan(measures=("train-loss", "trace", "gradient-norm"), pairs=QUICK[1], repeats=4, seed=0)
    whole = compare(chosen, plan)
    parts, asked = [], iter(range(1000))
    attempt = Attempt(save=parts.append, stop=lambda: next(asked) >= stop_after)
    total = Cells(plan, chosen).total
    assert sum(len(cells) for part in whole.cells.values() for cells in part.values()) == total
    with pytest.raises(Stopped):
        compare(chosen, plan, attempt=attempt)
    assert parts[-1].status is Status.STOPPED
    assert parts[-1].problems() == []
    told = []
    again = compare(chosen, plan, attempt=Attempt(partial=parts[-1]), progress=lambda done, _: told.append(done))
    assert told == list(range(stop_after, total))
    assert content(again) == content(whole)


def test_the_command_stores_finds_and_draws(runs, tmp_path, capsys):
    store = tmp_path / "r.h5"
    call = ["compare", str(runs / "sb-0.safetensors"), str(runs / "lb-0.safetensors"), "--preset", "quick"]
    call += ["--samples", "200", "--repeats", "2", "--out", str(store)]
    assert run([*call, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["status"], shown["label"]) == ("comparison", "complete", "sb-0--lb-0")
    assert (shown["num_subsets"], shown["num_samples"], shown["num_all_samples"]) == (2, 100, 200)
    assert len(shown["measures"]) >= 8
    for measure in shown["measures"]:
        assert {"name", "unit", "values", "difference", "verdict"} <= set(measure)
        assert set(measure["values"]) == {"sb-0", "lb-0"}
        assert {"value", "low", "high"} <= set(measure["values"]["sb-0"])
        assert {"value", "low", "high"} == set(measure["difference"])
    pairs = {pair["name"]: pair for pair in shown["pairs"]}
    assert len(pairs["distance"]["layers"]["sb-0 vs lb-0"]) == 4
    norms = np.array(list(pairs["distance"]["layers"]["sb-0 vs lb-0"].values()))
    assert np.sqrt((norms**2).sum()) == pytest.approx(pairs["distance"]["values"]["sb-0 vs lb-0"]["value"], rel=1e-6)
    assert run(call) == 0
    again = capsys.readouterr()
    assert "not computed again" in again.err
    assert "sb-0 - lb-0" in again.out
    assert {path.name for path in draw_store(store, tmp_path)} == {"comparison.pdf", "comparison.png"}
    (entry,) = Store(store).entries()
    draw(entry.result)


def test_other_architectures_are_compared_by_what_needs_no_common_params(runs, tmp_path):
    train(recipe(16, 0, model="cnn", model_args={}, epochs=1), tmp_path / "cnn.safetensors", device="cpu")
    plan = Plan(measures=QUICK[0], pairs=QUICK[1], repeats=2, seed=0)
    result = found([runs / "sb-0.safetensors", tmp_path / "cnn.safetensors"], plan, samples=100)
    relations = dict(zip(result.relations, result.relation_value[:, 0], strict=True))
    for name in ("distance", "cosine", "barrier", "aligned-barrier"):
        assert np.isnan(relations[name])
        assert "different architectures" in result.relation_reasons[name]["sb-0 vs cnn"]
    assert np.isfinite([relations["disagreement"], relations["cka"]]).all()
    assert any("architectures differ" in line for line in result.warnings)
    assert result.t is None


def test_wrong_pairs_are_refused(runs, tmp_path, capsys):
    train(recipe(16, 0, data="regimes:colours", model="c1", model_args={}), tmp_path / "c.safetensors", device="cpu")
    tensors = dict(load_checkpoint(runs / "sb-0.safetensors").tensors)
    tensors |= {"3.weight": tensors["3.weight"][:7], "3.bias": tensors["3.bias"][:7]}
    save_checkpoint(tmp_path / "seven.safetensors", tensors, recipe(16, 0), {})
    good = str(runs / "sb-0.safetensors")
    for wrong, told in (
        (str(tmp_path / "c.safetensors"), "different data"),
        (str(tmp_path / "seven.safetensors"), "3.bias has shape (7,)"),
        (str(tmp_path / "gone.safetensors"), "gone.safetensors"),
    ):
        assert run(["compare", good, wrong, "--out", str(tmp_path / "r.h5"), "--trust-recipe"]) == 3
        captured = capsys.readouterr()
        assert told in captured.err
        assert not captured.out
        assert not (tmp_path / "r.h5").exists()


@pytest.mark.parametrize(
    "words",
    [
        "compare one.safetensors",
        "compare a.safetensors b.safetensors --repeats 1",
        "compare a.safetensors b.safetensors --measures trace --preset quick",
        "compare a.safetensors b.safetensors --measures none-such",
        "compare a.safetensors b.safetensors --split test",
        "compare a.safetensors --group x=y",
        "compare --group x=y",
        "compare --group x --group y=z",
        "compare --group x=y --group x=z",
        "compare --group a/b=y --group c=z",
        "compare --group x=y --group z=w --repeats 4",
        "compare --group x=y --group z=w --label q",
    ],
)
def test_wrong_usage_is_told_from_the_text_alone(words, capsys):
    assert run(words.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_too_few_to_compare_is_refused_from_python_too(runs):
    chosen = subjects(Request(samples=50), [str(runs / "sb-0.safetensors")], {})
    with pytest.raises(UsageError, match="2 minima or groups"):
        compare(chosen, PLAN)


def test_what_identifies_a_comparison(runs):
    paths = [str(runs / f"{name}-0.safetensors") for name in ("sb", "lb")]
    chosen = subjects(Request(split=None, samples=50), paths, {})
    given = settings(chosen, PLAN, grouped=False)
    for other in (
        Request(split=None, samples=60),
        Request(split="train", samples=50),
        Request(split=None, samples=50, labels=("x", "y")),
    ):
        assert settings(subjects(other, paths, {}), PLAN, grouped=False) != given
    assert settings(subjects(Request(split=None, samples=50), paths, {}), PLAN, grouped=False) == given


def test_the_list_names_every_measure(capsys):
    assert run(["compare", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}  " in text for name in POINTS)
    assert run(["compare", "--list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["measures"]) > len(POINTS)


def test_probes_give_intervals_where_there_are_no_subsets(runs):
    plan = Plan(measures=("train-loss", "trace"), pairs=(), repeats=0, seed=0)
    result = found([runs / "sb-0.safetensors", runs / "lb-0.safetensors"], plan)
    assert dict(zip(result.measures, result.over, strict=True)) == {"train-loss": "none", "trace": "probes"}
    row = result.measures.index("trace")
    assert result.low[row, 0] < result.value[row, 0] < result.high[row, 0]
    assert np.isnan(result.low[result.measures.index("train-loss")]).all()
    assert NOT_RESOLVED not in result.verdict[result.measures.index("train-loss")]


class Scaled(nn.Module):
    """Linear regression on features of given variances: the Hessian of the population is diagonal, these its values."""

    def __init__(self, spectrum):
        super().__init__()
        self.linear = nn.Linear(len(spectrum), 1, bias=False)
        nn.init.zeros_(self.linear.weight)
        self.register_buffer("scales", torch.tensor(spectrum, dtype=torch.float64).sqrt())

    def forward(self, inputs):
        return self.linear(inputs * self.scales)


def half_squares(outputs, targets):
    return 0.5 * (outputs - targets).square().sum(), len(targets)


@pytest.mark.parametrize("repeats", [4, 8])
def test_intervals_over_subsets_cover_known_spectra(repeats):
    """Largest eigenvalue and trace of the population's Hessian, of two quadratics, in 200 draws of their samples."""
    spectra, size = {"a": (3.0, 0.5, 0.2, 0.1), "b": (2.0, 0.5, 0.2, 0.1)}, 40
    truth = {"eigenvalue-max": (3.0, 2.0), "trace": (3.8, 2.8)}
    held = {(name, of): [] for name in truth for of in ("a", "b", "difference")}
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(size * repeats, 4, generator=generator, dtype=torch.float64)
        rows = {name: [] for name in truth}
        for spectrum in spectra.values():
            objective = Objective(Scaled(spectrum), half_squares, (inputs, inputs[:, :1]), dtype=torch.float64)
            found = [of_matrix(part.objective, spectrum) for part in points_of(Point(objective, seed=seed), repeats)]
            if seed == 0:  # what is measured there is what the matrices say, for all draws alike
                for part, values in zip(points_of(Point(objective, seed=seed), repeats), found, strict=True):
                    for name in truth:
                        assert measure_point(part, name).value == pytest.approx(values[name], rel=1e-3)
            for name in truth:
                rows[name].append(np.array([values[name] for values in found]))
        for name, draws in rows.items():
            one = Measured(name=name, over="subsets", draws=draws)
            for index, label in enumerate(spectra):
                held[name, label].append(inside(one.of_label(index, 0.95), truth[name][index]))
            held[name, "difference"].append(inside(one.difference(0, 1, 0.95)[0], truth[name][0] - truth[name][1]))
    for of, covered in held.items():
        assert 0.9 <= np.mean(covered) <= 0.98, (of, np.mean(covered))


def of_matrix(objective, spectrum):
    """Trace and largest eigenvalue of the Hessian on the objective's samples, by the matrix written out."""
    inputs = torch.cat([batch[0] for batch in objective.samples.chunks(1000)])
    inputs = inputs * torch.tensor(spectrum, dtype=torch.float64).sqrt()
    matrix = (inputs.T @ inputs / len(inputs)).numpy()
    return {"trace": np.trace(matrix), "eigenvalue-max": np.linalg.eigvalsh(matrix)[-1]}


def inside(interval, truth):
    return interval.low <= truth <= interval.high


def test_groups_are_matched_by_their_initial_seeds(runs):
    groups = {"small": f"{runs}/sb-[012].safetensors", "large": f"{runs}/lb-[123].safetensors"}
    chosen = subjects(Request(samples=60), [], groups)
    assert [(a.recipe.seed, b.recipe.seed) for a, b in matched(*chosen)] == [(1, 1), (2, 2)]
    result = compare(chosen, Plan(measures=("train-loss",), pairs=("distance",), repeats=0, seed=0), grouped=True)
    params = {
        name: measured(Request(samples=60), [str(runs / f"{name}.safetensors")])[0].objective.params
        for name in ("sb-1", "sb-2", "lb-1", "lb-2")
    }
    distances = [float((params[f"sb-{k}"] - params[f"lb-{k}"]).norm()) for k in (1, 2)]
    assert result.relation_value[0, 0] == pytest.approx(np.mean(distances), rel=1e-5)
    assert result.matched == {"small vs large": "2 pairs of runs of one initial seed each; 2 runs without one left out"}
    other = {"small": f"{runs}/sb-[01].safetensors", "large": f"{runs}/lb-[23].safetensors"}
    pairs = matched(*subjects(Request(samples=60), [], other))
    assert [(a.recipe.seed, b.recipe.seed) for a, b in pairs] == [(0, 2), (1, 3)]


def test_batch_statistics_of_any_of_the_networks_identify_the_comparison(runs, tmp_path):
    train(recipe(16, 0, model_args={"widths": [12], "norm": "batch"}), tmp_path / "bn.safetensors", device="cpu")
    paths = [str(runs / "sb-0.safetensors"), str(tmp_path / "bn.safetensors")]
    stored, batches = (
        subjects(Request(split=None, samples=64, **asked), paths, {}) for asked in ({}, {"bn": "batch", "bn_batch": 32})
    )
    assert settings(stored, PLAN, grouped=False) != settings(batches, PLAN, grouped=False)


def test_a_block_of_params_has_its_own_start(runs):
    plan = Plan(measures=("distance",), pairs=("update-cosine", "aligned-barrier"), repeats=0, seed=0)
    paths = [runs / "sb-0.safetensors", runs / "lb-0.safetensors"]
    result = found(paths, plan, params="1.*", samples=60)
    for index, path in enumerate(paths):
        start = read_log(path).initial_params
        moved = load_checkpoint(path).tensors["1.weight"].numpy(), load_checkpoint(path).tensors["1.bias"].numpy()
        names = [name for name, _ in build_model("mlp", {"widths": [12]}, load_data("digits"), 0).named_parameters()]
        assert names[:2] == ["1.weight", "1.bias"]
        block = np.concatenate([part.ravel() for part in moved])
        assert result.value[0, index] == pytest.approx(np.linalg.norm(block - start[: block.size]), rel=1e-5)
    assert np.isfinite(result.relation_value[0, 0])
    assert "only some are measured" in result.relation_reasons["aligned-barrier"]["sb-0 vs lb-0"]


def test_what_fails_numerically_is_printed_marked_and_ends_with_4(runs, capsys, monkeypatch):
    def contradicted(*_args, **_more):
        raise NumericalError("the product contradicts finite differences by 0.125")

    monkeypatch.setattr("landscape.comparing.points.trace", contradicted)
    words = ["compare", str(runs / "sb-0.safetensors"), str(runs / "lb-0.safetensors"), "--samples", "60"]
    assert run([*words, "--measures", "train-loss,trace", "--repeats", "2", "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "non-finite"
    verdicts_ = {measure["name"]: measure["verdict"] for measure in shown["measures"]}
    assert verdicts_["trace"] == "not comparable"
    assert "contradicts finite differences" in str(shown["measures"])


def test_noise_scales_without_an_upper_end_are_not_told_apart(runs):
    plan = Plan(measures=("noise-scale",), pairs=(), repeats=0, seed=0)
    result = found([LARGE, "checkpoints/digits-small.safetensors"], plan)
    assert not any("higher" in text for text in verdicts(result).values())


def test_the_samples_of_both_splits_are_counted(runs):
    result = found([runs / "sb-0.safetensors", runs / "lb-0.safetensors"], PLAN, samples=None)
    assert (result.num_samples, result.num_all_samples) == (1437 // 3, 1437)
    assert (result.num_test_samples, result.num_all_test_samples) == (120, 360)
    assert "479 samples each (120 of the test split)" in as_text(result)
