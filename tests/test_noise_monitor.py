"""The monitor of a user's own loop: unbiased estimates, averages, micro-batches, DistributedDataParallel, resuming."""

import math
import re
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from landscape.errors import UsageError
from landscape.noise import monitor
from landscape.noise.monitor import NoiseScale

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def norms(gradient):
    return float(gradient.square().sum())


# -- estimates


@pytest.mark.parametrize(("small", "parts"), [(1, 2), (3, 4)])
def test_estimates_are_unbiased(small, parts):
    """Gradients w - x_i of a quadratic, x_i ~ N(0, diag(1, 4, 9)): tr(Sigma) = 14 at every w, and |G|^2 = |w|^2."""
    generator = torch.Generator().manual_seed(0)
    point, scale = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double()
    found = []
    for _ in range(4000):
        draws = torch.randn(parts, small, 3, generator=generator, dtype=torch.float64) * scale
        gradients = (point - draws).mean(1)
        noise = NoiseScale()
        noise.update_from([[gradient] for gradient in gradients], small=small)
        found.append((noise.trace_covariance, noise.gradient_norm_squared))
    values = torch.tensor(found, dtype=torch.float64)
    error = values.std(0) / math.sqrt(len(found))
    assert ((values.mean(0) - torch.tensor([14.0, 5.25])).abs() < 3.5 * error).all()


def test_micro_batches_of_unequal_sizes_are_weighed_and_unbiased():
    """The same quadratic in parts of 4, 4 and 1; the mean is that of all nine samples."""
    generator = torch.Generator().manual_seed(3)
    point, scale = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double()
    found = []
    for _ in range(6000):
        gradients = point - torch.randn(9, 3, generator=generator, dtype=torch.float64) * scale
        noise = NoiseScale()
        (mean,) = noise.update_from(([part.mean(0)] for part in gradients.split(4)), small=[4, 4, 1])
        torch.testing.assert_close(mean, gradients.mean(0))
        found.append((noise.trace_covariance, noise.gradient_norm_squared))
    values = torch.tensor(found, dtype=torch.float64)
    error = values.std(0) / math.sqrt(len(found))
    assert ((values.mean(0) - torch.tensor([14.0, 5.25])).abs() < 3.5 * error).all()


def test_one_micro_batch_of_a_short_last_batch_is_skipped():
    noise = NoiseScale()
    (mean,) = noise.update_from([[torch.ones(2)]], small=[1])
    assert torch.equal(mean, torch.ones(2))
    assert (noise.updates, noise.skipped) == (0, 1)


def test_a_scale_of_the_loss_leaves_the_estimates():
    gradients = torch.randn(4, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    plain, scaled = NoiseScale(), NoiseScale()
    for factor in (1024.0, 512.0):
        mean = plain.update_from([[g] for g in gradients], small=2)
        (same,) = scaled.update_from([[g * factor] for g in gradients], small=2, scale=factor)
        torch.testing.assert_close(same, mean[0] * factor)
    assert scaled.state_dict() == pytest.approx(plain.state_dict())


def test_averages_are_weighted_means_from_the_first_update_on():
    noise, decay = NoiseScale(decay=0.8), 0.8
    pairs = [(5.0, 3.0), (7.0, 1.0), (2.0, 1.5)]
    for at_small, at_big in pairs:
        noise.update(small_norm_squared=at_small, big_norm_squared=at_big, small=2, big=8)
    weights = [decay**2, decay, 1.0]
    traces = [(a - b) / (1 / 2 - 1 / 8) for a, b in pairs]
    squares = [(8 * b - 2 * a) / 6 for a, b in pairs]

    def mean(values):
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    assert noise.trace_covariance == pytest.approx(mean(traces))
    assert noise.gradient_norm_squared == pytest.approx(mean(squares))
    assert noise.b_simple == pytest.approx(mean(traces) / mean(squares))
    assert noise.updates == 3


def test_what_is_not_resolved_is_none():
    noise = NoiseScale()
    assert (noise.b_simple, noise.trace_covariance, noise.gradient_norm_squared, noise.updates) == (None, None, None, 0)
    noise.update(small_norm_squared=10.0, big_norm_squared=1.0, small=1, big=2)
    assert noise.gradient_norm_squared == -8
    assert noise.b_simple is None
    for wrong in (math.inf, math.nan):
        noise.update(small_norm_squared=wrong, big_norm_squared=1.0, small=1, big=2)
    assert (noise.updates, noise.skipped, noise.gradient_norm_squared) == (1, 2, -8)


def test_a_resumed_monitor_goes_on_as_if_never_stopped():
    generator = torch.Generator().manual_seed(1)
    updates = torch.rand(20, 2, generator=generator, dtype=torch.float64).tolist()
    whole, first, second = NoiseScale(0.9), NoiseScale(0.9), NoiseScale()
    for one, part in ((whole, updates), (first, updates[:7])):
        for at_small, at_big in part:
            one.update(small_norm_squared=at_small + at_big, big_norm_squared=at_big, small=4, big=16)
    second.load_state_dict(first.state_dict())
    for at_small, at_big in updates[7:]:
        second.update(small_norm_squared=at_small + at_big, big_norm_squared=at_big, small=4, big=16)
    assert second.state_dict() == whole.state_dict()


def test_what_gives_no_estimate_is_refused():
    noise = NoiseScale()
    for sizes in ({"small": 4, "big": 4}, {"small": 0, "big": 4}, {"small": 8, "big": 4}):
        with pytest.raises(UsageError, match="small < big"):
            noise.update(small_norm_squared=1.0, big_norm_squared=1.0, **sizes)
    with pytest.raises(UsageError, match="decay"):
        NoiseScale(decay=1.0)
    with pytest.raises(UsageError, match="got 0"):
        noise.update_from([], small=1)
    for count in (1, 3):
        with pytest.raises(UsageError, match="micro-batches"):
            noise.update_from([[torch.ones(2)]] * count, small=[1, 1])
    for wrong in (0, [2, 0]):
        with pytest.raises(UsageError, match="at least 1 sample"):
            noise.update_from([[torch.ones(2)]] * 2, small=wrong)
    with pytest.raises(UsageError, match="of 1 and of 2 params"):
        noise.update_from([[torch.ones(2)], [torch.ones(2), torch.ones(1)]], small=1)
    with pytest.raises(UsageError, match="backward"):
        noise.update_from([[None], [None]], small=1)
    assert (noise.updates, noise.skipped) == (0, 0)


# -- micro-batches


def test_micro_batches_give_their_mean_and_their_norms():
    """Read one by one from .grad, which is emptied in between; a param that a micro-batch does not reach has none."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1).double()
    unused = nn.Parameter(torch.zeros(2).double())
    params, inputs = [*model.parameters(), unused], torch.randn(12, 4).double()

    def gradients():
        for number, part in enumerate(inputs.chunk(3)):
            model.zero_grad()
            unused.grad = None
            (model(part).square().mean() + (unused.sum() if number == 2 else 0.0)).backward()
            yield [param.grad for param in params]

    noise = NoiseScale()
    mean = noise.update_from(gradients(), small=4)
    each = [torch.cat([torch.zeros(2) if g is None else g.reshape(-1) for g in parts]) for parts in gradients()]
    unreached = torch.stack(each).mean(0)
    torch.testing.assert_close(torch.cat([part.reshape(-1) for part in mean]), unreached)
    at_small, at_big = sum(map(norms, each)) / 3, norms(unreached)
    assert noise.trace_covariance == pytest.approx((at_small - at_big) / (1 / 4 - 1 / 12))
    assert noise.gradient_norm_squared == pytest.approx((12 * at_big - 4 * at_small) / 8)


# -- several processes

LOCAL, RANKS, STEPS = 3, 2, 4
SCALES = (1024.0, 1024.0, 512.0, 2048.0)  # of a loss scaler, by update


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 40), nn.Tanh(), nn.Linear(40, 1)).double()


def batches():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(STEPS, RANKS, LOCAL, 5, generator=generator, dtype=torch.float64)


def of_one_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    try:
        noise = NoiseScale(decay=0.5)
        # buckets of next to nothing: each update is of several
        model = nn.parallel.DistributedDataParallel(network(), bucket_cap_mb=1e-4)
        scales = iter(SCALES)
        model.register_comm_hook(None, noise.ddp_hook(small=lambda: LOCAL, scale=lambda: next(scales)))
        plain = nn.parallel.DistributedDataParallel(network())
        for batch, scale in zip(batches(), SCALES, strict=True):
            for replica in (model, plain):
                replica.zero_grad()
                (replica(batch[rank]).square().mean() * scale).backward()
                with torch.no_grad():
                    for param in replica.parameters():
                        param -= 0.1 / scale * param.grad
        same = all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
        torch.save({"same": same, "state": noise.state_dict(), "b_simple": noise.b_simple}, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="no gloo")
def test_ranks_agree_with_micro_batches_of_one_process(tmp_path):
    spawn(of_one_rank, args=(str(tmp_path),), nprocs=RANKS)
    model, alone = network(), NoiseScale(decay=0.5)
    for batch in batches():
        losses = (model(part).square().mean() for part in batch)
        found = (torch.autograd.grad(loss, list(model.parameters())) for loss in losses)
        mean = alone.update_from(found, small=LOCAL)
        with torch.no_grad():
            for param, gradient in zip(model.parameters(), mean, strict=True):
                param -= 0.1 * gradient
    expected = alone.state_dict()
    for rank in range(RANKS):
        found = torch.load(f"{tmp_path}/{rank}.pt", weights_only=True)
        assert found["same"], "the hook changed the training"
        assert found["state"]["updates"] == STEPS
        assert found["state"] == pytest.approx(expected, rel=1e-10)
        assert found["b_simple"] == pytest.approx(alone.b_simple, rel=1e-10)


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="no gloo")
def test_one_rank_has_no_smaller_batch(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        with pytest.raises(UsageError, match="micro-batches"):
            NoiseScale().ddp_hook(small=4)
    finally:
        dist.destroy_process_group()


# -- the lines to be copied


def examples():
    """Those of the module's docstring, and of the README where it has some."""
    lines = [line.removeprefix("    ") for line in monitor.__doc__.splitlines() if line.startswith("    ")]
    found = ["\n".join(["from landscape.noise.monitor import NoiseScale", *lines])]
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    return found + [block for block in blocks if "NoiseScale()" in block]


@pytest.mark.parametrize("lines", examples())
def test_the_lines_to_be_copied_run(lines, capsys):
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    loader = [(torch.randn(size, 4), torch.randint(2, (size,))) for size in (64, 64, 64, 64, 5)]
    known = {
        "torch": torch,
        "model": model,
        "loader": loader,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    before = model.weight.detach().clone()
    exec(lines, known)
    assert known["noise"].updates == len(loader)
    assert not torch.equal(model.weight, before)
    assert capsys.readouterr().out.strip() == str(known["noise"].b_simple)
