"""Every regime of training against the same thing written out in plain torch; and going on with each, bit for bit."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from regimes import NORMED, REGIMES, TINY, recipe_of
from torch import nn

from landscape import Hessian, Objective, Recipe, build_model, load_checkpoint, load_data, top_eigenpairs, train
from landscape.data import samples_of
from landscape.data.corruption import changed
from landscape.errors import InputError, Stopped, UsageError
from landscape.losses import resolve_loss
from landscape.studies import runfiles, runs
from landscape.studies.tracking import tracking
from landscape.training import Snapshots, TrainingWatch
from landscape.training.batch_norm import use_ghosts
from landscape.training.batches import Batches
from landscape.training.update import Update

DIGITS = load_data("digits")
CNN = TINY | {"model": "cnn", "model_args": {"channels": [3], "width": 6, "norm": "batch"}}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def close(found, model, rtol=1e-9):
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(found.tensors[key], tensor, rtol=rtol, atol=1e-11)


class Loop:
    """The loop that everyone writes, on the batches of a recipe in float64."""

    def __init__(self, recipe):
        self.recipe = recipe
        splits = changed(DIGITS, **recipe.changes)
        self.x, self.y = splits.train.blocks[0][0].double(), splits.train.blocks[0][1]
        self.model = build_model(recipe.model, recipe.model_args, splits, recipe.seeds["init"]).double().train()
        self.order = torch.Generator().manual_seed(recipe.seeds["order"])

    def batches(self):
        while True:
            for index in torch.randperm(len(self.x), generator=self.order).split(self.recipe.batch_size):
                yield self.x[index], self.y[index]

    def loss(self, x, y):
        return nn.functional.cross_entropy(self.model(x), y)

    def run(self, step, updates=10):
        for _, batch in zip(range(updates), self.batches(), strict=False):
            self.model.zero_grad()
            step(*batch)
        return self.model


def against(fields, step_of, updates=10, rtol=1e-9):
    """Trains a recipe and a loop of `step_of(loop)` side by side."""
    recipe = Recipe(**(TINY | {"momentum": 0.9, "lr": 0.1, "dtype": "float64", "seed": 3} | fields), updates=updates)
    loop = Loop(recipe)
    found = train(recipe, DIGITS)
    close(found, loop.run(step_of(loop), updates), rtol)
    return found


def sgd(loop, **options):
    return torch.optim.SGD(loop.model.parameters(), **({"lr": 0.1, "momentum": 0.9} | options))


# -- optimisers


@pytest.mark.parametrize("decay_on", ["all", "weights"])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_is_torchs_and_spares_biases_and_norms_where_asked(name, decay_on):
    def step_of(loop):
        spared = [p for p in loop.model.parameters() if p.dim() < 2 and decay_on == "weights"]
        groups = [{"params": [p for p in loop.model.parameters() if all(p is not q for q in spared)]}]
        groups += [{"params": spared, "weight_decay": 0.0}] if spared else []
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
        optimizer = kind(groups, lr=0.02, weight_decay=0.1, **({"momentum": 0.9} if name == "sgd" else {}))

        def step(x, y):
            loop.loss(x, y).backward()
            optimizer.step()

        return step

    # under batch norm the gradient of a bias is rounding error, which Adam makes as long as any other
    network = NORMED if name == "sgd" else TINY
    against(network | {"optimizer": name, "lr": 0.02, "weight_decay": 0.1, "decay_on": decay_on}, step_of)


def test_a_param_without_a_gradient_stays():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.used(x)

    model = Idle()
    recipe = Recipe(epochs=1, weight_decay=0.5)
    block = samples_of((torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])))
    batches = Batches(recipe, block, torch.Generator())
    before = model.used.weight.clone()
    Update(recipe, model, resolve_loss("cross_entropy"), batches)(batches.take(6), 0.1)
    assert torch.equal(model.idle, torch.ones(3))
    assert not torch.equal(model.used.weight, before)


# -- Hoffer's regime


@pytest.mark.parametrize("shape", [(), (5,), (4, 4)])
@pytest.mark.parametrize("count", [24, 29])
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_ghost_batch_norm_is_an_explicit_split(shape, count, options):
    kind = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[len(shape)]
    explicit = kind(3, **options).double()
    if explicit.affine:
        nn.init.normal_(explicit.weight)
        nn.init.normal_(explicit.bias)
    ghost = copy.deepcopy(explicit)
    use_ghosts(ghost, 8)
    inputs = torch.empty(0)
    for _ in range(3):
        inputs = torch.randn(count, 3, *shape, dtype=torch.float64)
        ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
        found, wanted = ghost(ours), torch.cat([explicit(part) for part in theirs.split(8)])
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        weights = torch.randn_like(found)
        (found * weights).sum().backward()
        (wanted * weights).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)
    for key, value in explicit.state_dict().items():
        torch.testing.assert_close(ghost.state_dict()[key], value, rtol=1e-12, atol=1e-12)
    for mine, other in zip(ghost.parameters(), explicit.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ghost.eval()(inputs), explicit.eval()(inputs))


def test_a_ghost_of_one_sample_is_refused_in_one_line():
    with pytest.raises(InputError, match="change --batch-size"):
        train(Recipe(**(NORMED | {"batch_size": 91}), ghost_batch=90, epochs=1), DIGITS)


def test_longer_gradients_are_scaled_down_to_the_norm():
    def step_of(loop):
        optimizer = sgd(loop, lr=1.0)

        def step(x, y):
            loop.loss(x, y).backward()
            norm = torch.cat([p.grad.flatten() for p in loop.model.parameters()]).norm()
            for p in loop.model.parameters():
                p.grad *= min(1.0, 0.3 / float(norm))
            optimizer.step()

        return step

    found = against({"clip": 0.3, "lr": 1.0}, step_of)
    assert found.log.gradient_norm[-1] > 0.3  # told as it was before


def test_multiplicative_noise_weighs_the_gradients_of_the_samples():
    recipe = Recipe(**TINY, epochs=1, multiplicative_noise=0.5, dtype="float64")
    loop = Loop(recipe)
    batches = Batches(recipe, samples_of((loop.x, loop.y)), torch.Generator().manual_seed(5))
    found = Update(recipe, loop.model, resolve_loss("cross_entropy"), batches)._gradient((loop.x[:20], loop.y[:20]))
    z = 1 + 0.5 * torch.randn(20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    losses = nn.functional.cross_entropy(loop.model(loop.x[:20]), loop.y[:20], reduction="none")
    wanted = torch.autograd.grad((z * losses).sum() / 20, list(loop.model.parameters()))
    for mine, other in zip(found.parts, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


# -- accumulation and reduction


@pytest.mark.parametrize("pieces", [2, 4, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_accumulated_micro_batches_are_one_batch(pieces, optimizer):
    common = TINY | {"optimizer": optimizer, "lr": 0.01, "dtype": "float64"}
    whole, parts = (train(Recipe(**common, updates=20, accumulate=k), DIGITS) for k in (1, pieces))
    for key in whole.tensors:
        torch.testing.assert_close(parts.tensors[key], whole.tensors[key], rtol=1e-9, atol=1e-11)
    whole, parts = (train(Recipe(**TINY, updates=20, accumulate=k), DIGITS) for k in (1, pieces))
    for key in whole.tensors:
        torch.testing.assert_close(parts.tensors[key], whole.tensors[key], rtol=1e-4, atol=1e-6)


def test_ignored_targets_weigh_nothing_however_the_batch_is_cut():
    x, y = torch.randn(12, 4), torch.arange(12) % 3
    y[[0, 1, 2, 7]] = -100
    data = samples_of((x, y))
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    gradients = []
    for pieces in (1, 4):
        recipe = Recipe(epochs=1, accumulate=pieces, dtype="float64")
        batches = Batches(recipe, data, torch.Generator())
        update = Update(recipe, model, resolve_loss("cross_entropy"), batches)
        gradients.append(update._gradient((x.double(), y)).parts)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_batch_norm_sees_each_micro_batch():
    def step_of(loop):
        optimizer = sgd(loop)

        def step(x, y):
            for part in zip(x.split(30), y.split(30), strict=True):
                (loop.loss(*part) / 3).backward()
            optimizer.step()

        return step

    against(NORMED | {"accumulate": 3}, step_of)


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weights(tmp_path):
    path = tmp_path / "a.safetensors"
    runs.run(Recipe(**NORMED, epochs=2), path)
    before = load_checkpoint(path).tensors
    frozen = Recipe(**NORMED, epochs=2, init=str(path), freeze_bn=0)
    runs.run(frozen, tmp_path / "b.safetensors")
    after = load_checkpoint(tmp_path / "b.safetensors").tensors
    assert torch.equal(before["2.running_mean"], after["2.running_mean"])
    assert torch.equal(before["2.running_var"], after["2.running_var"])
    assert not torch.equal(before["2.weight"], after["2.weight"])
    later = train(Recipe(**NORMED, epochs=3, freeze_bn=2), DIGITS)
    until = train(Recipe(**NORMED, epochs=2), DIGITS)
    assert torch.equal(later.tensors["2.running_mean"], until.tensors["2.running_mean"])


def test_the_sum_over_a_batch_is_the_mean_times_its_size():
    mean = train(Recipe(**TINY, updates=8, lr=0.09, dtype="float64"), DIGITS)
    total = train(Recipe(**TINY, updates=8, lr=0.001, reduction="sum", dtype="float64"), DIGITS)
    for key in mean.tensors:
        torch.testing.assert_close(total.tensors[key], mean.tensors[key], rtol=1e-9, atol=1e-12)


# -- other updates


def test_sam_takes_the_gradient_at_the_edge_of_the_ball():
    def step_of(loop):
        optimizer, params = sgd(loop), list(loop.model.parameters())

        def step(x, y):
            gradients = torch.autograd.grad(loop.loss(x, y), params)
            norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
            before = [p.detach().clone() for p in params]
            with torch.no_grad():
                for p, g in zip(params, gradients, strict=True):
                    p += 0.1 * g / norm
            running = {name: b.clone() for name, b in loop.model.named_buffers()}
            loop.loss(x, y).backward()
            with torch.no_grad():
                for name, b in loop.model.named_buffers():
                    b.copy_(running[name])  # the second pass does not move them
                for p, b in zip(params, before, strict=True):
                    p.copy_(b)
            optimizer.step()

        return step

    against(NORMED | {"sam": 0.1}, step_of)


def test_conservative_training_is_pulled_back_to_where_the_batch_began():
    def step_of(loop):
        optimizer = torch.optim.Adam(loop.model.parameters(), 0.01)

        def step(x, y):
            anchor = [p.detach().clone() for p in loop.model.parameters()]
            for _ in range(3):
                optimizer.zero_grad()
                pull = sum((p - a).square().sum() for p, a in zip(loop.model.parameters(), anchor, strict=True))
                (loop.loss(x, y) + 0.5 * pull / 2).backward()
                optimizer.step()

        return step

    against({"optimizer": "adam", "lr": 0.01, "conservative": 0.5}, step_of)


def points_of(recipe, **spacing):
    found = []
    watch = TrainingWatch(snapshots=Snapshots(lambda t, u, e: found.append((u, e, t)), **spacing))
    return train(recipe, DIGITS, watch=watch), found


def test_swa_is_the_mean_of_the_points_after_each_epoch():
    recipe = Recipe(**NORMED, epochs=6, average="swa", average_from=3, dtype="float64")
    found, points = points_of(recipe, every=1)
    assert [epoch for _, epoch, _ in points] == [0, 1, 2, 3, 4, 5, 6]
    chosen = [tensors for _, epoch, tensors in points if epoch >= 3]
    for name in ("1.weight", "2.weight", "4.bias"):
        mean = torch.stack([tensors[name] for tensors in chosen]).mean(0)
        torch.testing.assert_close(found.tensors[name], mean, rtol=1e-12, atol=1e-14)
    # batch norm of the averaged weights, over all samples
    inputs = changed(DIGITS, train_samples=360).train.blocks[0][0].double().flatten(1)
    means = [h.mean(0) for h in (inputs @ found.tensors["1.weight"].T + found.tensors["1.bias"]).split(90)]
    torch.testing.assert_close(found.tensors["2.running_mean"], torch.stack(means).mean(0), rtol=1e-9, atol=1e-12)
    assert found.log.kept["what"] == "swa"
    assert found.log.kept["points"] == 4
    assert found.log.kept["train_loss"] != found.log.train_loss[-1]


def test_ema_moves_after_each_update():
    recipe = Recipe(**TINY, epochs=2, average="ema", average_decay=0.8, average_from=0.5, dtype="float64")
    found, points = points_of(recipe, per_decade=1000)  # every update up to 10
    assert [updates for updates, _, _ in points] == list(range(9))
    average = points[2][2]["1.weight"]
    for _, _, tensors in points[3:]:
        average = 0.8 * average + 0.2 * tensors["1.weight"]
    torch.testing.assert_close(found.tensors["1.weight"], average, rtol=1e-12, atol=1e-14)


def test_patience_keeps_the_best_and_ends_the_run():
    recipe = Recipe(**(TINY | {"lr": 0.5}), patience=4, monitor="test_loss")
    found, points = points_of(recipe, every=1)
    losses = found.log.test_loss
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 4
    assert equal(found.tensors, points[best][2])
    assert (found.log.kept["what"], found.log.kept["epoch"]) == ("best", best)
    assert found.log.kept["test_loss"] == losses[best]


def test_a_target_loss_ends_a_run_and_a_budget_that_ends_before_it_is_told():
    found = train(Recipe(**TINY, target_loss=0.5), DIGITS)
    assert found.log.train_loss[-1] <= 0.5 < found.log.train_loss[-2]
    assert found.log.status == "complete"
    missed = train(Recipe(**TINY, target_loss=1e-9, epochs=2), DIGITS)
    assert missed.log.status == "not converged"
    assert train(Recipe(**TINY, samples=400), DIGITS).log.samples[-1] == 450


# -- seeds, orders, beginnings


def test_seeds_are_apart():
    def outcome(**seeds):
        return train(Recipe(**TINY, updates=3, **seeds), DIGITS)

    base = outcome()
    np.testing.assert_array_equal(outcome(order_seed=5).log.initial_params, base.log.initial_params)
    assert not equal(outcome(order_seed=5).tensors, base.tensors)
    assert not np.array_equal(outcome(init_seed=5).log.initial_params, base.log.initial_params)
    assert equal(outcome(augment_seed=5).tensors, base.tensors)
    assert not equal(outcome(augment_seed=5, flip=True).tensors, outcome(flip=True).tensors)


def test_the_same_order_again_where_asked():
    recipe = Recipe(**TINY, epochs=2, reshuffle=False)
    batches = Batches(recipe, samples_of((torch.arange(10.0)[:, None], torch.zeros(10))), torch.Generator())
    first = [batches.take(4)[0].flatten().tolist() for _ in range(3)]
    assert batches.ended
    batches.next_epoch()
    assert [batches.take(4)[0].flatten().tolist() for _ in range(3)] == first
    assert sorted(sum(first, [])) == list(range(10))


def test_batches_of_changing_size_come_in_order():
    recipe = Recipe(epochs=1)
    inputs = torch.arange(50.0)[:, None]
    batches = Batches(recipe, samples_of((inputs, torch.zeros(50))), torch.Generator())
    batches.window_size = 12
    taken = torch.cat([batches.take(size)[0] for size in (3, 5, 20, 1, 1, 40)]).flatten().long()
    assert torch.equal(taken, batches.order)


@pytest.mark.parametrize("size", [1, "full"])
def test_single_samples_and_the_full_set_train(size):
    found = train(Recipe(**(TINY | {"batch_size": size, "lr": 0.005}), epochs=1), DIGITS)
    assert found.log.updates[-1] == (360 if size == 1 else 1)
    assert found.log.train_loss[-1] < found.log.train_loss[0]


def test_a_warm_start_begins_at_the_checkpoint_of_another_regime(tmp_path):
    small, large = tmp_path / "small.safetensors", tmp_path / "large.safetensors"
    runs.run(Recipe(**TINY, epochs=2), small)
    metrics = runs.run(Recipe(**(TINY | {"batch_size": "full"}), epochs=2, init=str(small)), large)
    log, before = runfiles.read_log(large), runfiles.read_log(small)
    assert log.train_loss[0] == before.train_loss[-1]
    assert log.distance[0] == 0
    assert metrics["provenance"]["inputs"] == {str(small): load_checkpoint(small).sha256}
    other = tmp_path / "other.safetensors"
    with pytest.raises(InputError, match="does not fit"):
        runs.run(Recipe(**(TINY | {"model_args": {"widths": [5]}}), epochs=1, init=str(small)), other)


def test_a_minimum_of_random_labels_is_measured_on_its_own_labels(tmp_path):
    from landscape.studies.measured import Request, measured

    path = tmp_path / "a.safetensors"
    found = runs.run(Recipe(**TINY, label_noise=1.0, epochs=2), path)
    minimum = measured(Request(), [str(path)])[0]
    assert minimum.objective.num_samples == 360
    assert minimum.objective.value() == pytest.approx(found["train_loss"], rel=1e-5)
    own = measured(Request(data="digits"), [str(path)])[0]
    assert own.objective.num_samples == 1437


# -- what is written down


def test_the_log_of_updates_says_what_happened_and_changes_nothing():
    recipe = Recipe(**(NORMED | {"lr": 0.05}), epochs=3, schedule="step", milestones=(2,), dtype="float64")
    plain, found = train(recipe, DIGITS), train(recipe, DIGITS, watch=TrainingWatch(each_update=True))
    assert equal(plain.tensors, found.tensors)
    log, rows = found.updates, found.log
    assert plain.updates is None
    assert list(log.update) == list(range(1, 13))
    assert list(log.samples) == [90 * i for i in range(1, 13)]
    np.testing.assert_allclose(log.learning_rate, [0.05] * 8 + [0.005] * 4)
    for name in ("weight_norm", "distance", "gradient_norm"):
        np.testing.assert_allclose(getattr(log, name)[[3, 7, 11]], getattr(rows, name)[1:], rtol=1e-9)
    loop = Loop(recipe)
    x, y = next(loop.batches())
    outputs = loop.model(x).detach()
    assert log.loss[0] == pytest.approx(float(nn.functional.cross_entropy(outputs, y)), rel=1e-9)
    assert log.accuracy[0] == pytest.approx(float((outputs.argmax(1) == y).double().mean()))


def test_an_eigenvalue_is_tracked_and_changes_nothing(tmp_path):
    recipe = Recipe(**NORMED, epochs=4)
    track = tracking("eigen", recipe, 200, 2)
    found = train(recipe, DIGITS, watch=TrainingWatch(tracking=(track,)))
    assert equal(found.tensors, train(recipe, DIGITS).tensors)
    assert list(found.tracked[0].epoch) == [0, 2, 4]
    splits = changed(DIGITS, train_samples=360)
    model = build_model("mlp", recipe.model_args, splits, 0)
    objective = Objective(model, "cross_entropy", splits.train.first(200), dtype="float64").at(found.tensors)
    top = float(top_eigenpairs(Hessian(objective), 1, tol=1e-6).eigenvalues[0])
    assert found.tracked[0].column("eigenvalue")[-1] == pytest.approx(top, rel=2e-3)
    with pytest.raises(UsageError, match="unknown measure"):
        tracking("eigne", recipe, 200, 1)


def test_snapshots_are_spaced_evenly_in_epochs_or_in_the_logarithm_of_updates(tmp_path):
    recipe = Recipe(**(TINY | {"batch_size": 10}), epochs=4)
    extras = runs.Extras(save_every=2, save_log=2)
    runs.run(recipe, tmp_path / "a.safetensors", extras=extras)
    files = sorted((tmp_path / "a.trajectory").iterdir())
    assert [int(f.stem) for f in files] == [0, 1, 3, 10, 32, 72, 100, 144]
    assert equal(load_checkpoint(files[-1]).tensors, load_checkpoint(tmp_path / "a.safetensors").tensors)
    assert load_checkpoint(files[3]).metadata["updates"] == 10


@pytest.mark.parametrize("options", [{"channels_last": True}, {"bf16": True}])
def test_other_arithmetic_reaches_the_same_neighbourhood(options):
    common = CNN | {"lr": 0.05}
    plain, other = train(Recipe(**common, epochs=3), DIGITS), train(Recipe(**common, epochs=3, **options), DIGITS)
    assert other.log.train_loss[-1] == pytest.approx(plain.log.train_loss[-1], rel=0.1)


# -- going on, in every regime


@pytest.mark.parametrize("name", REGIMES)
def test_a_stopped_run_goes_on_bit_for_bit_in_every_regime(tmp_path, name):
    recipe = recipe_of(name)
    extras = runs.Extras(each_update=True, tracking=(tracking("eigen", recipe, 30, 1),) if name == "plain" else ())
    whole = tmp_path / "whole.safetensors"
    total = runs.run(recipe, whole, extras=extras)["updates"]
    parts = tmp_path / "parts.safetensors"
    stops = sorted({1, total // 3, total - 1} - {0})
    for stop in stops:
        begun = stops[stops.index(stop) - 1] if stop != stops[0] else 0
        answers = itertools.chain([False] * (stop - begun), [True])
        with pytest.raises(Stopped):
            runs.run(recipe, parts, resume=True, extras=extras, stop=answers.__next__)
    runs.run(recipe, parts, resume=True, extras=extras)
    assert equal(dict(load_checkpoint(whole).tensors), dict(load_checkpoint(parts).tensors))
    entries = [{entry.name: entry.result for entry in runfiles.entries(path)} for path in (whole, parts)]
    assert entries[0].keys() == entries[1].keys()
    for kind, result in entries[0].items():
        for field, value in vars(result).items():
            if isinstance(value, np.ndarray) and field != "seconds":
                np.testing.assert_array_equal(getattr(entries[1][kind], field), value, err_msg=f"{kind} {field}")
    assert entries[0]["training"].kept == entries[1]["training"].kept


def test_a_compiled_model_trains_the_params_of_the_plain_one(monkeypatch):
    """torch.compile itself needs a compiler; here it is a wrapper that counts its calls."""
    calls = []

    class Compiled(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            calls.append(len(x))
            return self.model(x)

    monkeypatch.setattr(torch, "compile", Compiled)
    plain, compiled = (train(Recipe(**TINY, epochs=1, compile=flag), DIGITS) for flag in (False, True))
    assert calls == [90] * 4
    assert equal(plain.tensors, compiled.tensors)
