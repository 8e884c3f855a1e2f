"""Rescaling against closed forms, the Hessian's law of Dinh et al., the outputs of many structures, and files."""

import copy
import json
from pathlib import Path

import pytest
import safetensors
import torch
from landscape_cli.main import run
from torch import nn
from torch.nn import functional

from landscape import Objective, rescale
from landscape.checkpoint import load_checkpoint, save_checkpoint
from landscape.errors import InputError, NumericalError, UsageError
from landscape.models.registry import BUILTIN
from landscape.rescaling import rescalable_layers, rules
from landscape.rescaling.operations import passing
from landscape.rescaling.scales import UNSCALED, Scales, combined, unknown

DTYPE = torch.float64
MLP, IMAGE = (5,), (2, 8, 8)


def seeded(make, seed=0):
    """A network in float64 whose params and buffers are all drawn at random, those of norm layers too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make().to(DTYPE)
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and (tensor.dim() == 1 or "running" in name):
                tensor.data.uniform_(0.5, 1.5)
    return model.eval()


def objective(model, shape=MLP, **options):
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(12, *shape, generator=generator, dtype=DTYPE)
    targets = torch.randint(0, 3, (12,), generator=generator)
    return Objective(model, "cross_entropy", (inputs, targets), **{"dtype": DTYPE} | options)


def builtin(name, shape, **options):
    return lambda: BUILTIN[name](input_shape=shape, **{"num_classes": 3} | options)


def chain(*layers):
    """A maker of a chain whose layers are copied, so that each gets its own weights."""
    return lambda: nn.Sequential(*copy.deepcopy(layers))


def outputs(found):
    with found.running(), torch.no_grad():
        return torch.cat([found.outputs(found.parts(), batch) for batch in found.samples.chunks(found.chunk)])


def tensors_of(found):
    return {**found.layout.named(found.params), **found.constants}


def ratios(before, after):
    """The factor of each tensor that changed; all its entries must have it."""
    found = {}
    for name, tensor in tensors_of(before).items():
        moved = tensors_of(after)[name]
        if not torch.equal(moved, tensor):
            ratio = moved / tensor
            torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio.flatten()[0])), rtol=1e-12, atol=0)
            found[name] = float(ratio.flatten()[0])
    return found


def perceptron():
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))


# -- closed forms ----------------------------------------------------------------------------------------------------


def test_a_perceptron_is_rescaled_as_the_paper_writes_it():
    before = objective(seeded(perceptron))
    found = rescale(before, [5.0, 0.3])
    w, v = tensors_of(before), tensors_of(found.objective)
    assert found.alphas == {"0": 5.0, "2": 0.3}
    assert torch.equal(v["0.weight"], 5.0 * w["0.weight"])
    assert torch.equal(v["0.bias"], 5.0 * w["0.bias"])
    torch.testing.assert_close(v["2.weight"], 0.3 / 5.0 * w["2.weight"], rtol=1e-14, atol=0)
    assert torch.equal(v["2.bias"], 0.3 * w["2.bias"])
    assert torch.equal(v["4.weight"], w["4.weight"] / 0.3)
    assert torch.equal(v["4.bias"], w["4.bias"])
    torch.testing.assert_close(outputs(found.objective), outputs(before), rtol=1e-12, atol=1e-12)
    assert found.largest_change < 1e-13
    assert found.objective.value() == pytest.approx(before.value(), rel=1e-12)


def hessian(found):
    return torch.stack([found.hvp(row) for row in torch.eye(found.layout.size, dtype=DTYPE)])


def test_the_hessian_follows_the_law_of_the_paper():
    """H(T w) = T^-1 H(w) T^-1, so the trace of the first layer's block falls by alpha^2 and the next one's rises."""
    before = objective(seeded(perceptron))
    after = rescale(before, [4.0, 1.0]).objective
    by_param = zip(before.layout.sizes, (4, 4, 0.25, 1, 1, 1), strict=True)
    factors = torch.cat([torch.full((size,), factor, dtype=DTYPE) for size, factor in by_param])
    one, other = hessian(before), hessian(after)
    torch.testing.assert_close(other, one / torch.outer(factors, factors), rtol=1e-9, atol=1e-12)
    blocks = [matrix.diagonal().split(before.layout.sizes) for matrix in (one, other)]
    assert float(blocks[1][0].sum()) == pytest.approx(float(blocks[0][0].sum()) / 16, rel=1e-9)
    assert float(blocks[1][2].sum()) == pytest.approx(float(blocks[0][2].sum()) * 16, rel=1e-9)


def test_powers_of_two_round_nothing_in_float32():
    before = objective(seeded(perceptron), dtype=torch.float32)
    found = rescale(before, 8.0)
    assert found.largest_change == 0.0
    assert torch.equal(outputs(found.objective), outputs(before))
    back = rescale(found.objective, 1 / 8)
    assert torch.equal(back.objective.params, before.params)


def test_rounding_to_float32_is_told():
    found = rescale(objective(seeded(perceptron), dtype=torch.float32), 3.0)
    assert 1e-9 < found.largest_change < 1e-6


@pytest.mark.parametrize("bn", ["eval", "batch"])
def test_a_batch_norm_takes_the_factor_and_its_statistics_stay(bn):
    make = builtin("cnn", IMAGE, channels=[4, 5], width=6, norm="batch")
    before = objective(seeded(make), IMAGE, bn=bn, **({"bn_batch": 6} if bn == "batch" else {}))
    found = rescale(before, [2.0, 4.0, 8.0])
    assert list(found.alphas) == ["1", "5", "9"]
    expected = {"1.weight": 2, "1.bias": 2, "4.weight": 1 / 2, "5.weight": 4, "5.bias": 4}
    expected |= {"9.weight": 8 / 4, "9.bias": 8, "11.weight": 1 / 8}
    assert ratios(before, found.objective) == expected
    torch.testing.assert_close(outputs(found.objective), outputs(before), rtol=1e-12, atol=1e-12)


def test_blocks_of_a_residual_network_have_their_own_factor_and_the_stream_shares_one():
    before = objective(seeded(builtin("resnet20", IMAGE, width=4)), IMAGE)
    inner = [f"{block}.residual.1" for block in range(3, 12)]
    assert rescalable_layers(before) == ("1", *inner)
    found = rescale(before, [2.0, 8.0, *[1.0] * 8])
    expected = {"1.weight": 2, "1.bias": 2, "3.residual.0.weight": 1 / 2, "3.residual.1.weight": 8}
    expected |= {"3.residual.1.bias": 8, "3.residual.3.weight": 1 / 8}
    for block in range(3, 12):
        expected |= {f"{block}.residual.0.weight": 1 / 2}
        expected |= {f"{block}.residual.4.{name}": 2 for name in ("weight", "bias")}
    last = [name for name in tensors_of(before) if name.endswith("weight")][-1]
    assert ratios(before, found.objective) == expected | {last: 1 / 2}


# -- structures ------------------------------------------------------------------------------------------------------


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Written(nn.Module):
    """The layers as functions, and a forward that is given."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.written = forward
        for name, layer in layers.items():
            setattr(self, name, copy.deepcopy(layer))

    def forward(self, x):
        return self.written(self, x)


def written(forward, **layers):
    return lambda: Written(forward, **layers)


def autoencoder(m, x):
    hidden = torch.relu(functional.linear(x, m.code.weight, m.code.bias))
    return functional.linear(hidden, m.code.weight.t())[:, :3]


def repeated(m, x):
    for _ in range(2):
        x = torch.relu(functional.linear(x, m.square.weight))
    return m.last(x)


def gated(m, x):
    left, right = torch.relu(m.first(x)), m.second(x).clamp(min=0)
    return m.last(left * right)


def dense(m, x):
    one = torch.relu(m.first(x))
    return m.last(functional.leaky_relu(m.second(torch.cat([one, torch.relu(m.again(one))], 1)), 0.1))


def projected(m, x):
    x = m.norm(m.conv(x)).relu()
    x = functional.pad(functional.max_pool2d(x, 2), (1, 1, 1, 1))
    both = m.shortcut(x) + m.second(torch.relu(m.first(x)))
    return m.last(torch.relu_(both).mean((2, 3)).view(x.size(0), -1))


def attended(m, x):
    x = torch.relu(m.first(x)).reshape(-1, 2, 3)
    weights = torch.softmax(m.query(x) @ m.key(x).transpose(1, 2), -1)
    return m.last(torch.relu(m.value(weights @ x)).flatten(1))


LINEAR = {"first": nn.Linear(5, 6), "second": nn.Linear(5, 6), "again": nn.Linear(6, 6), "last": nn.Linear(6, 3)}
# named like methods that tell shapes
NAMED = {"size": nn.Bilinear(5, 5, 6), "dim": nn.BatchNorm1d(6), "last": nn.Linear(6, 3)}
HALVES = {"query": nn.Linear(3, 3), "key": nn.Linear(3, 3), "value": nn.Linear(3, 3)}
CONVOLUTIONS = {
    "conv": nn.Conv2d(2, 4, 3, bias=False),
    "norm": nn.BatchNorm2d(4),
    "first": nn.Conv2d(4, 5, 3, padding=1),
    "second": nn.Conv2d(5, 6, 3, padding=1),
    "shortcut": nn.Conv2d(4, 6, 1),
    "last": nn.Linear(6, 3),
}
UPSAMPLED = chain(
    *(nn.ConvTranspose2d(2, 4, 2), nn.InstanceNorm2d(4, affine=True), nn.ReLU(inplace=True), nn.ZeroPad2d(1)),
    *(nn.Conv2d(4, 5, 3, padding_mode="reflect", padding=1), nn.GroupNorm(1, 5), nn.LeakyReLU(), nn.AvgPool2d(2)),
    *(nn.Dropout2d(), nn.ConvTranspose2d(5, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
)

# How each is made, its inputs, and the layers that have a factor, found by hand.
STRUCTURES = {
    "mlp": (builtin("mlp", MLP, widths=[8, 7]), MLP, "1 3"),
    "lenet": (builtin("lenet", (1, 12, 12)), (1, 12, 12), "0 3 7 9"),
    "vgg9": (builtin("vgg9", IMAGE), IMAGE, "1 4 8 11 15 18 21 26"),
    "f1": (builtin("f1", (1, 28, 28), num_classes=10), (1, 28, 28), "2 5 8 11 14"),
    "c1": (builtin("c1", (3, 32, 32), num_classes=10), (3, 32, 32), "1 5 10 14"),
    "layer-norm": (chain(nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3)), MLP, "1"),
    "rms-norm": (chain(nn.Linear(5, 6), nn.RMSNorm(6), nn.ReLU(), nn.Linear(6, 3)), MLP, "1"),
    "no-affine": (
        chain(nn.Linear(5, 6), nn.ReLU(), nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Linear(6, 6), nn.PReLU()),
        MLP,
        "",
    ),
    "prelu": (chain(nn.Linear(5, 6), nn.PReLU(6), nn.Linear(6, 3)), MLP, "0"),
    "two-linear": (
        chain(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
        MLP,
        "0 3",
    ),
    "upsampled": (UPSAMPLED, IMAGE, "1 5 9"),
    "tied": (written(autoencoder, code=nn.Linear(5, 6)), MLP, ""),
    "repeated": (written(repeated, square=nn.Linear(5, 5), last=nn.Linear(5, 3)), MLP, "square"),
    "gated": (written(gated, **LINEAR), MLP, "first second"),
    "named": (written(lambda m, x: m.last(torch.relu(m.dim(m.size(x, x)))), **NAMED), MLP, "dim"),
    "dense": (
        written(dense, **LINEAR | {"second": nn.Linear(12, 6)}),
        MLP,
        "first second",
    ),
    "projected": (written(projected, **CONVOLUTIONS), IMAGE, "norm first second"),
    "attended": (written(attended, **LINEAR | HALVES), MLP, "first value"),
    "resnet": (builtin("resnet20", IMAGE, width=4, norm="none"), IMAGE, None),
    "resnet-no-shortcuts": (builtin("resnet20", IMAGE, width=4, shortcuts=False), IMAGE, None),
    "resnet-group": (builtin("resnet20", IMAGE, width=4, norm="group"), IMAGE, None),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_any_factors_keep_the_function(name):
    make, shape, layers = STRUCTURES[name]
    model = seeded(make)
    before, state = objective(model, shape), copy.deepcopy(model.state_dict())
    found = rescalable_layers(before)
    if layers is not None:
        assert found == tuple(layers.split())
    if not found:
        with pytest.raises(InputError, match="no layer of this network can be rescaled"):
            rescale(before)
        return
    alphas = [2.5 + 0.7 * i if i % 2 else 0.4 / (i + 1) for i in range(len(found))]
    moved = rescale(before, alphas)
    assert moved.alphas == dict(zip(found, alphas, strict=True))
    torch.testing.assert_close(outputs(moved.objective), outputs(before), rtol=1e-12, atol=1e-12)
    assert not torch.equal(moved.objective.params, before.params)
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_a_factor_ends_in_the_very_next_layer():
    make, shape, _ = STRUCTURES["two-linear"]
    before = objective(seeded(make), shape)
    factors = ratios(before, rescale(before, [2.0, 4.0]).objective)
    assert factors == {"0.weight": 2, "0.bias": 2, "2.weight": 1 / 2, "3.weight": 4, "3.bias": 4, "5.weight": 1 / 4}


def test_a_shared_layer_has_one_factor_which_counts_at_each_use():
    make, shape, _ = STRUCTURES["repeated"]
    before = objective(seeded(make), shape)
    assert ratios(before, rescale(before, 2.0).objective) == {"square.weight": 2, "last.weight": 1 / 4}


def test_layers_that_are_multiplied_are_divided_by_both_factors():
    make, shape, _ = STRUCTURES["gated"]
    before = objective(seeded(make), shape)
    found = ratios(before, rescale(before, [2.0, 8.0]).objective)
    assert (found["first.weight"], found["second.bias"], found["last.weight"]) == (2, 8, 1 / 16)


def test_frozen_params_are_scaled_too():
    model = seeded(perceptron)
    model[0].requires_grad_(False)
    before = objective(model)
    found = rescale(before, 2.0)
    assert torch.equal(found.objective.constants["0.weight"], 2 * before.constants["0.weight"])
    torch.testing.assert_close(outputs(found.objective), outputs(before), rtol=1e-12, atol=1e-12)


class Buffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.rand(7))

    def forward(self, x):
        return x + self.shift


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.GRU(7, 7)

    def forward(self, x):
        return self.inner(x)[0]


def hooked(layer):
    layer.register_forward_hook(lambda module, args, out: out.exp())
    return layer


# Between two ReLU layers: the scale of the first cannot pass.
MIDDLES = {
    "constant": Function(lambda h: h + 1),
    "constant-in-place": Function(lambda h: h.add_(1)),
    "constant-keyword": Function(lambda h: torch.sub(h, other=1)),
    "buffer": Buffer(),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
    "relu6": nn.ReLU6(),
    "softmax": nn.Softmax(-1),
    "square": Function(lambda h: h.square()),
    "whole-numbers": Function(lambda h: h + (10 * h).to(torch.long)),
    "compared": Function(lambda h: h * (h > 0.3)),
    "clamped": Function(lambda h: h.clamp(0, 1)),
    "padded": Function(lambda h: functional.pad(h, (1, 0), value=0.5)[:, :7]),
    "joined": Function(lambda h: torch.cat([h[:, :6], torch.ones_like(h[:, :1])], 1)),
    "written": Function(lambda h: h.index_fill_(1, torch.tensor([2]), 3.0)),
    "multiplied-in-place": Function(lambda h: h.mul_(h)),
    "layer-norm": nn.LayerNorm(7),
    "hooked": hooked(nn.Linear(7, 7)),
    "recurrent": Recurrent(),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_what_is_not_homogeneous_is_left_alone(name):
    make = chain(
        *(nn.Linear(5, 7), nn.ReLU(), Function(lambda h: h.clone()), MIDDLES[name], nn.Linear(7, 6), nn.ReLU()),
        nn.Linear(6, 3),
    )
    before = objective(seeded(make))
    found = rescale(before, 2.0)
    assert list(found.alphas) == ["4"]
    assert set(ratios(before, found.objective)) == {"4.weight", "4.bias", "6.weight"}


def test_a_network_without_free_scales_says_why():
    before = objective(seeded(builtin("mlp", MLP, activation="tanh")))
    assert rescalable_layers(before) == ()
    with pytest.raises(InputError, match="no ReLU layer whose scale is free"):
        rescale(before, 2.0)


def test_a_wrong_structure_is_caught_by_the_outputs(monkeypatch):
    monkeypatch.setitem(rules.FUNCTIONS, torch.tanh, passing)
    model = seeded(chain(nn.Linear(5, 6), nn.ReLU(), Function(torch.tanh), nn.Linear(6, 3)))
    with pytest.raises(InputError, match="structure that rescaling does not understand"):
        rescale(objective(model), 2.0)


def test_the_constant_in_a_norm_is_not_taken_for_nothing(monkeypatch):
    """A layer norm has its outputs at any scale of its inputs, but for 1e-5 added to their variance."""
    monkeypatch.setitem(rules.FUNCTIONS, functional.layer_norm, lambda *_, weight, **__: weight.form)
    model = seeded(chain(nn.Linear(5, 6), nn.ReLU(), nn.LayerNorm(6), nn.Linear(6, 3)))
    with pytest.raises(InputError, match="structure that rescaling does not understand"):
        rescale(objective(model, dtype=torch.float32), 1.5)


def test_equations_between_scales_are_solved():
    scales, a, b, c = Scales(), *map(unknown, "abc")
    scales.equate(combined(a, b), combined(c, c))  # a + b = 2 c
    scales.equate(b, unknown(0))
    assert scales.is_open(a)
    assert not scales.is_open(b)
    scales.equate(c, UNSCALED)
    assert scales.reduced(a) == combined(UNSCALED, unknown(0), -1)
    scales.equate(a, UNSCALED)  # has no unknown left: no effect
    assert scales.reduced(combined(a, b)) == UNSCALED


# -- refusals --------------------------------------------------------------------------------------------------------


class OfInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.chain = perceptron()

    def forward(self, inputs):
        return self.chain(inputs) if inputs.sum() > 0 else -self.chain(inputs)


def test_what_cannot_be_rescaled_is_refused_in_one_line():
    before = objective(seeded(perceptron))
    spoilt = before.at(torch.full_like(before.params, float("nan")))
    batch = {"inputs": torch.randn(4, 5, dtype=DTYPE), "targets": torch.zeros(4, dtype=torch.long)}
    loss = lambda m, d: functional.cross_entropy(m(d["inputs"]), d["targets"])  # noqa: E731
    single = objective(seeded(perceptron), dtype=torch.float32)
    cases = [
        (before.restricted("0.*"), 2.0, InputError, "block of them"),
        (Objective(OfInputs(), loss, batch, dtype=DTYPE), 2.0, InputError, "dict batches"),
        (objective(seeded(OfInputs)), 2.0, InputError, "cannot be traced"),
        (before, [2.0, 3.0, 4.0], InputError, r"2 layers can be rescaled \(0, 2\), got 3 alphas"),
        (before, [2.0], InputError, "got 1 alphas"),
        (before, [], UsageError, "got none"),
        (before, 0.0, UsageError, "above 0, got 0"),
        (before, [1.0, float("inf")], UsageError, "above 0, got 1, inf"),
        (before, float("nan"), UsageError, "above 0, got nan"),
        (before, 1e308, InputError, "range of float64"),
        (single, 1e45, InputError, "range of float32"),
        (spoilt, 2.0, NumericalError, "not finite"),
    ]
    for found, alphas, kind, words in cases:
        with pytest.raises(kind, match=words) as caught:
            rescale(found, alphas)
        assert "\n" not in str(caught.value)


# -- the command -----------------------------------------------------------------------------------------------------

TRAIN = ["train", "--model-arg", "widths=[4,3]", "--epochs", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run([*TRAIN, "--out", "net.safetensors"]) == 0
    return tmp_path


def printed(capsys, text, code=0):
    capsys.readouterr()
    assert run(text.split()) == code, capsys.readouterr().err
    shown = capsys.readouterr()
    return shown.out if code == 0 else shown.err


def test_a_copy_is_read_as_the_original_is(here, capsys):
    shown = json.loads(printed(capsys, "rescale net.safetensors --alpha 4,0.5 --json"))
    assert shown["alphas"] == {"1": 4.0, "3": 0.5}
    assert shown["checkpoint"] == "net-rescaled.safetensors"
    assert shown["largest_change"] == 0.0
    one, other = load_checkpoint("net.safetensors"), load_checkpoint("net-rescaled.safetensors")
    assert other.recipe == one.recipe
    assert other.metadata == {**dict(one.metadata or {}), "rescaled": {"sha256": one.sha256, "alphas": shown["alphas"]}}
    assert shown["provenance"]["inputs"] == {"net.safetensors": one.sha256}
    factors = {"1.weight": 4, "1.bias": 4, "3.weight": 1 / 8, "3.bias": 0.5, "5.weight": 2, "5.bias": 1}
    assert other.tensors.keys() == one.tensors.keys()
    for name, factor in factors.items():
        assert torch.equal(other.tensors[name], factor * one.tensors[name])
        assert other.tensors[name].dtype == one.tensors[name].dtype
    found = [
        json.loads(printed(capsys, f"eigen {name}.safetensors -k 1 --samples 100 --json"))
        for name in ("net", "net-rescaled")
    ]
    assert found[1]["loss"] == found[0]["loss"]
    assert found[1]["eigenvalues"] != pytest.approx(found[0]["eigenvalues"], rel=0.1)
    assert "rescaled" in printed(capsys, "show net-rescaled.safetensors")


def test_a_file_that_stands_there_is_kept_unless_told(here, capsys):
    Path("mine.safetensors").write_bytes(b"mine")
    assert "--overwrite" in printed(capsys, "rescale net.safetensors --out mine.safetensors", code=3)
    assert Path("mine.safetensors").read_bytes() == b"mine"
    out = printed(capsys, "rescale net.safetensors --out mine.safetensors --overwrite")
    assert out.splitlines()[:2] == ["1  alpha 5", "3  alpha 5"]
    assert load_checkpoint("mine.safetensors").metadata["rescaled"]["alphas"] == {"1": 5.0, "3": 5.0}


TIED = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.one, self.other = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 3)
        self.other.weight = self.one.weight

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.one(x) + self.other(x)

def pair():
    return torch.linspace(-1, 1, 80).reshape(20, 4), torch.arange(20) % 3

def batches():
    inputs, targets = pair()
    return [(inputs[:12], targets[:12]), (inputs[12:], targets[12:])]
"""


@pytest.mark.parametrize(
    ("dtype", "data"), [(torch.float16, "pair"), (torch.float32, "batches"), (torch.float64, "pair")]
)
def test_a_foreign_checkpoint_has_a_foreign_copy(here, capsys, monkeypatch, dtype, data):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    Path("tied.py").write_text(TIED)
    names: dict = {}
    exec(TIED, names)
    state = names["Tied"]().to(dtype).state_dict()
    torch.save({"state_dict": state}, "foreign.pt")
    rest = f"--model tied.py:Tied --data tied.py:{data}"
    printed(capsys, f"rescale foreign.pt --alpha 2 {rest}")
    found = load_checkpoint("foreign-rescaled.safetensors")
    assert found.recipe is None
    kept = torch.float64 if dtype == torch.float64 else torch.float32
    for name, tensor in state.items():
        factor = 2 if name.startswith("first") else 0.5 if name.endswith("weight") else 1
        assert torch.equal(found.tensors[name], factor * tensor.to(kept))
    with safetensors.safe_open("foreign-rescaled.safetensors", framework="pt") as file:
        said = json.loads(file.metadata()["run"])["rescaled"]
    assert said == {"sha256": load_checkpoint("foreign.pt").sha256, "alphas": {"first": 2.0}}
    losses = [
        json.loads(printed(capsys, f"eigen {path} {rest} -k 1 --json"))["loss"]
        for path in ("foreign.pt", "foreign-rescaled.safetensors")
    ]
    assert losses[0] == losses[1]


def test_what_is_refused_writes_nothing(here, capsys):
    found = load_checkpoint("net.safetensors")
    assert run([*TRAIN, "--model-arg", "activation=tanh", "--out", "tanh.safetensors"]) == 0
    save_checkpoint("nan.safetensors", {n: t / 0 for n, t in found.tensors.items()}, found.recipe, {})
    files = sorted(here.iterdir())
    assert "no ReLU layer" in printed(capsys, "rescale tanh.safetensors", code=3)
    assert "not finite" in printed(capsys, "rescale nan.safetensors", code=4)
    assert "range of float32" in printed(capsys, "rescale net.safetensors --alpha 1e45", code=3)
    assert "2 layers can be rescaled (1, 3)" in printed(capsys, "rescale net.safetensors --alpha 1,2,3", code=3)
    assert ".safetensors" in printed(capsys, "rescale net.safetensors --out copy.pt", code=2)
    assert sorted(here.iterdir()) == files
