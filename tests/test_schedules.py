"""Schedules are arithmetic: published update counts, rates at each moment, recipes as text."""

import math

import pytest

from landscape.errors import InputError, UsageError
from landscape.recipe import Position, Recipe, Schedule, from_json, from_toml, overridden, to_toml

CIFAR, IMAGENET = 50_000, 1_281_167
STEPS = {"schedule": "step", "milestones": (60, 120, 160), "decay": (0.2,), "epochs": 200}
GROW = STEPS | {"batch_schedule": "grow", "max_batch_size": 5120}


def schedule(count=1000, **fields):
    return Schedule(Recipe(**({"epochs": 10} | fields)), count)


def at(schedule, epochs, updates=0):
    return Position(round(epochs * schedule.num_samples * schedule.stretch), updates)


def rates(schedule, *epochs):
    return [schedule.rate(at(schedule, epoch)) for epoch in epochs]


def real_updates(schedule, epochs):
    """Updates when every epoch is cut into batches, the last of which may be short: the loop of a run, in counts."""
    updates = samples = 0
    for epoch in range(epochs):
        while samples < (epoch + 1) * schedule.num_samples:
            size = schedule.batch_size(Position(samples, updates))
            samples = min(samples + size, (epoch + 1) * schedule.num_samples)
            updates += 1
    return updates


# -- Smith et al. (2018): 200 epochs of CIFAR-10, steps of 5 at 60, 120, 160


@pytest.mark.parametrize(
    ("fields", "published"),
    [
        (STEPS | {"batch_size": 128}, 78_125),
        (GROW | {"batch_size": 128}, 29_141),
        (GROW | {"batch_size": 640, "lr": 0.5}, 6_406),
        (GROW | {"batch_size": 3200, "lr": 0.5, "momentum": 0.98}, 2_305),
    ],
)
def test_nominal_updates_are_the_published_ones(fields, published):
    found = schedule(CIFAR, **fields)
    assert round(found.nominal_updates()) == published
    assert published <= real_updates(found, 200) <= published * 1.02 + 200


@pytest.mark.parametrize(
    ("fields", "published"),
    [
        ({"batch_size": 8192}, 14_075),
        ({"batch_size": 8192, "batch_schedule": "grow", "max_batch_size": 65_536}, 5_865),
        ({"batch_size": 32_768, "batch_schedule": "grow", "max_batch_size": 65_536, "momentum": 0.975}, 2_346),
    ],
)
def test_nominal_updates_on_imagenet(fields, published):
    steps = {"schedule": "step", "milestones": (30, 60, 80), "decay": (0.1,), "epochs": 90}
    assert round(schedule(IMAGENET, **(steps | fields)).nominal_updates()) == published


def test_a_growing_batch_keeps_the_ratio_of_rate_to_batch_of_the_decaying_rate():
    """lr / B is that of the step schedule at every moment, below the cap and above it."""
    grow, steps = schedule(CIFAR, **GROW, batch_size=128, lr=0.1), schedule(CIFAR, **STEPS, batch_size=128, lr=0.1)
    assert [grow.batch_size(at(grow, e)) for e in (0, 59, 60, 120, 160, 199)] == [128, 128, 640, 3200, 5120, 5120]
    assert rates(grow, 0, 60, 120) == [0.1, 0.1, 0.1]
    for epoch in (0, 60, 120, 160):
        ratio = grow.rate(at(grow, epoch)) / grow.batch_size(at(grow, epoch))
        assert ratio == pytest.approx(steps.rate(at(steps, epoch)) / 128, rel=1e-12)
    # without a cap of the user's: a tenth of the samples
    free = schedule(CIFAR, **(GROW | {"max_batch_size": None}), batch_size=128)
    assert free.batch_size(at(free, 199)) == 5000


# -- rules and warm-up


@pytest.mark.parametrize(("rule", "factor"), [("none", 1), ("linear", 16), ("sqrt", 4)])
def test_rules_scale_the_rate_from_the_base_batch(rule, factor):
    found = schedule(batch_size=128, base_batch_size=8, scale_lr=rule, lr=0.05)
    assert rates(found, 0, 5) == pytest.approx([0.05 * factor] * 2, rel=1e-14)


def test_gradual_warm_up_rises_from_the_unscaled_rate_in_equal_steps():
    """Goyal et al. (2017): from eta to k eta over 5 epochs, equally each iteration."""
    found = schedule(8192 * 10, batch_size=8192, base_batch_size=256, scale_lr="linear", lr=0.1, warmup=5, epochs=90)
    steps = [found.rate(Position(i * 8192, i)) for i in range(52)]
    assert steps[0] == 0.1
    assert steps[50] == steps[51] == pytest.approx(3.2)
    assert [b - a for a, b in zip(steps[:50], steps[1:51], strict=True)] == pytest.approx([3.1 / 50] * 50)


def test_constant_warm_up_jumps():
    found = schedule(batch_size=64, base_batch_size=8, scale_lr="linear", lr=0.1, warmup=2, warmup_shape="constant")
    assert rates(found, 0, 1.9, 2, 9) == pytest.approx([0.1, 0.1, 0.8, 0.8])
    assert rates(schedule(lr=0.4, warmup=4, warmup_shape="constant"), 0, 5) == [0.4, 0.4]  # nothing was scaled
    assert rates(schedule(lr=0.4, warmup=4), 0, 1, 2, 4) == pytest.approx([0, 0.1, 0.2, 0.4])
    assert rates(schedule(lr=0.4, warmup=4, warmup_lr=0.2), 0, 2, 4) == pytest.approx([0.2, 0.3, 0.4])


# -- the rate over epochs


def test_steps_take_one_factor_or_one_each():
    """The regime of Hoffer et al. (2017) for C1: up, then down."""
    found = schedule(lr=1e-3, schedule="step", milestones=(2, 4, 6), decay=(10, 0.1, 0.1))
    assert rates(found, 0, 1.999, 2, 4, 6, 9) == pytest.approx([1e-3, 1e-3, 1e-2, 1e-3, 1e-4, 1e-4])


def test_exponential_decays_once_an_epoch():
    found = schedule(lr=0.1, schedule="exponential", decay=(0.95,))
    assert rates(found, 0, 0.9, 1, 7.5) == pytest.approx([0.1, 0.1, 0.095, 0.1 * 0.95**7])


@pytest.mark.parametrize(
    "budget", [{"epochs": 10}, {"epochs": None, "samples": 10_000}, {"epochs": None, "updates": 100}]
)
def test_cosine_ends_at_zero_whatever_the_budget_is_told_in(budget):
    found = schedule(lr=0.2, schedule="cosine", warmup=2, warmup_lr=0.2, batch_size=100, **budget)
    for epoch in (2, 4, 6, 10):
        expected = 0.2 * (1 + math.cos(math.pi * (epoch - 2) / 8)) / 2
        assert found.rate(at(found, epoch, updates=epoch * 10)) == pytest.approx(expected, abs=1e-15)


def test_cyclic_rate_and_cyclic_batch_have_one_ratio():
    """Jastrzebski et al. (2017): 5 + 5 epochs, 45,000 samples; 63,450 and 105,600 steps."""
    cyclic = {"lr": 0.005, "batch_size": 128, "cycle": 5, "epochs": 300}
    batch = schedule(45_000, batch_schedule="cyclic", **cyclic)
    rate = schedule(45_000, schedule="cyclic", **cyclic)
    assert [batch.batch_size(at(batch, e)) for e in (0, 5, 10)] == [128, 640, 128]
    assert rates(rate, 0, 5, 10) == pytest.approx([0.005, 0.001, 0.005])
    assert pytest.approx(3.90625e-5) == 0.005 / 128
    assert batch.rate(at(batch, 5)) / 640 == pytest.approx(rate.rate(at(rate, 5)) / 128) == pytest.approx(7.8125e-6)
    assert (real_updates(batch, 300), real_updates(rate, 300)) == (63_450, 105_600)


# -- the end of a run


def test_the_adapted_regime_stretches_every_length():
    """Hoffer et al. (2017): phases of E epochs become B_L / B_S times as long."""
    found = schedule(
        4096, batch_size=512, base_batch_size=128, regime_adaptation=True, warmup=1, warmup_lr=0.05,
        schedule="step", milestones=(4, 8), decay=(0.1,), lr=0.1, epochs=10,
    )  # fmt: skip
    assert found.stretch == 4
    passes = [found.rate(Position(epoch * 4096, 0)) for epoch in (0, 2, 4, 15, 16, 31, 32)]
    assert passes == pytest.approx([0.05, 0.075, 0.1, 0.1, 0.01, 0.01, 0.001])
    assert not found.spent(Position(40 * 4096 - 1, 0))
    assert found.spent(Position(40 * 4096, 0))
    assert found.nominal_updates() == 320  # as many as the base batch makes in 10 epochs
    assert schedule(4096, batch_size=128, epochs=10).nominal_updates() == 320


def test_budgets():
    assert schedule(epochs=None, updates=7).spent(Position(1, 7))
    assert not schedule(epochs=None, updates=7).spent(Position(10**9, 6))
    assert schedule(epochs=None, samples=70).spent(Position(70, 1))
    assert schedule(epochs=0.5).spent(Position(500, 1))
    assert not schedule(epochs=None, target_loss=0.1).spent(Position(10**9, 10**9))


@pytest.mark.parametrize(("asked", "got"), [("full", 1000), (1, 1), (5000, 1000)])
def test_from_one_sample_to_all(asked, got):
    assert schedule(batch_size=asked).batch_size(Position(0, 0)) == got


# -- what is refused


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"schedule": "step"}, "milestones"),
        ({"milestones": (3,)}, "schedule step"),
        ({"schedule": "step", "milestones": (3, 2)}, "rise"),
        ({"schedule": "step", "milestones": (2, 3), "decay": (1, 2, 3)}, "2 milestones take"),
        ({"schedule": "exponential", "decay": (0.5, 0.2)}, "one decay"),
        ({"batch_schedule": "grow"}, "needs --schedule step"),
        ({"batch_schedule": "grow", "schedule": "step", "milestones": (1,), "decay": (2,)}, "below 1"),
        ({"max_batch_size": 9}, "needs --batch-schedule grow"),
        ({**GROW, "epochs": 1, "max_batch_size": 2}, "below batch_size"),
        ({"cycle": 3}, "cyclic"),
        ({"schedule": "cyclic"}, "cycle"),
        ({"schedule": "cosine", "epochs": None, "target_loss": 0.1}, "length"),
        ({"scale_lr": "sqrt"}, "base-batch-size"),
        ({"regime_adaptation": True}, "base-batch-size"),
        ({"average": "swa", "patience": 3}, "one of them"),
        ({"sam": 0.1, "conservative": 0.1}, "one of them"),
        ({"batch_size": "half"}, "full"),
        ({"batch_size": 2.5}, "a whole number or full"),
        ({"lr": float("nan")}, "finite"),
        ({"lr": True}, "lr must be a number"),
        ({"label_noise": 1.5}, "at most 1"),
        ({"shift": 1.0}, "below 1"),
        ({"clip": 0}, "above 0"),
        ({"samples": 5}, "one budget"),
        ({"average": "mean"}, "one of none, swa, ema"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Recipe(**({"epochs": 1} | wrong))


# -- recipes as text

FULL = Recipe(
    model="mlp", model_args={"widths": [4, 5], "norm": "batch"}, data_args={"root": "a b"}, optimizer="adam", lr=0.25,
    **GROW, batch_size="full", ghost_batch=16, target_loss=0.5, init_seed=3, reshuffle=False,
)  # fmt: skip


def test_a_recipe_survives_json_and_toml(tmp_path):
    assert from_json(FULL.to_json(), "x") == FULL
    path = tmp_path / "r.toml"
    path.write_text(to_toml(FULL))
    assert overridden(from_toml(path), {}) == FULL
    assert overridden(from_toml(path), {}).to_json() == FULL.to_json()


def test_equal_recipes_have_equal_json():
    one, other = (
        Recipe(epochs=10, milestones=[2.0], schedule="step"),
        Recipe(epochs=10.0, milestones=(2,), schedule="step"),
    )
    assert one.to_json() == other.to_json()


def test_flags_override_a_file_and_a_budget_the_files_budget(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('optimizer = "adam"\nepochs = 30\nbatch_size = 8\n[model_args]\nwidths = [3]\n')
    found = overridden(from_toml(path), {"batch_size": 32, "updates": 9})
    assert (found.optimizer, found.lr, found.batch_size) == ("adam", 0.001, 32)
    assert (found.epochs, found.updates, found.model_args) == (None, 9, {"widths": [3]})
    assert overridden({}, {}).epochs == 20


@pytest.mark.parametrize(
    ("text", "message"), [("epoch = 3", "did you mean epochs"), ("lr = ", "no TOML"), ("widths = 3", "there are: data")]
)
def test_recipe_files_that_are_none_are_refused(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        from_toml(tmp_path / "r.toml")


def test_an_old_recipe_has_the_defaults_of_what_it_does_not_know():
    old = '{"data": "digits", "epochs": 3, "updates": null, "lr": 0.05, "batch_size": 16, "seed": 0}'
    assert from_json(old, "x") == Recipe(epochs=3, batch_size=16)
