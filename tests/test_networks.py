"""The networks of the literature: params counted by hand, shapes, refusals, shortcuts, norms."""

import functools

import pytest
import torch
from torch import nn

from landscape.data import Splits, samples_of
from landscape.errors import InputError, UsageError
from landscape.models import BUILTIN, build_model
from landscape.models.resnet import Block

CIFAR10 = {"input_shape": (3, 32, 32), "num_classes": 10}
CIFAR100 = {"input_shape": (3, 32, 32), "num_classes": 100}
MNIST = {"input_shape": (1, 28, 28), "num_classes": 10}
DATA = {"f1": MNIST, "lenet": MNIST, "lenet300": MNIST, "c3": CIFAR100, "c4": CIFAR100}


def conv(planes, channels, size=3):
    """Params of a convolution with bias and its batch norm."""
    return planes * channels * size**2 + channels + 2 * channels


def dense(size, width, norm=True):
    return size * width + width + 2 * width * norm


STACKS = conv(3, 64) + conv(64, 64), conv(64, 128) + conv(128, 128), conv(128, 256) + 2 * conv(256, 256)
VGG16 = sum(STACKS) + conv(256, 512) + 5 * conv(512, 512)
VGG11 = conv(3, 64) + conv(64, 128) + conv(128, 256) + conv(256, 256) + conv(256, 512) + 3 * conv(512, 512)
SHALLOW = conv(3, 64, 5) + conv(64, 64, 5) + dense(4096, 384) + dense(384, 192)

COUNTS = {
    "mlp": dense(3072, 128, norm=False) + dense(128, 128, norm=False) + dense(128, 10, norm=False),
    "cnn": 3 * 16 * 9 + 16 + 16 * 32 * 9 + 32 + dense(32 * 8 * 8, 64, norm=False) + dense(64, 10, norm=False),
    "f1": 1_462_794,
    "c1": 4864 + 128 + 102_464 + 128 + 1_573_248 + 768 + 73_920 + 384 + 1930,
    "c2": VGG16 + dense(512, 512) + dense(512, 10, norm=False),
    "c3": SHALLOW + dense(192, 100, norm=False),
    "c4": VGG16 + dense(512, 512) + dense(512, 100, norm=False),
    "lenet": 61_706,
    "lenet300": 266_610,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "vgg9": sum(STACKS) + dense(256 * 4 * 4, 256) + dense(256, 10, norm=False),
    "vgg11": VGG11 + dense(512, 10, norm=False),
    "vgg16": VGG16 + dense(512, 10, norm=False),
}


@functools.cache
def built(name):
    """The network with its defaults, once for all tests; none of them changes it."""
    torch.manual_seed(0)
    return BUILTIN[name](**DATA.get(name, CIFAR10)).eval()


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", BUILTIN)
def test_params_are_as_many_as_published(name):
    assert count(built(name)) == COUNTS[name]


def test_the_sums_are_the_published_counts():
    published = {"vgg11": 9_231_114, "vgg16": 14_728_266, "c1": 1_757_834}
    assert {name: COUNTS[name] for name in published} == published
    assert SHALLOW + dense(192, 10, norm=False) == COUNTS["c1"]
    for name in ("vgg9", "c2", "c3", "c4"):
        assert f"{COUNTS[name]:,} params" in " ".join(BUILTIN[name].__doc__.split())


@pytest.mark.parametrize("name", BUILTIN)
def test_two_samples_in_double_precision_give_two_rows(name):
    data, model = DATA.get(name, CIFAR10), built(name)
    outputs = torch.func.functional_call(
        model,
        {key: t.double() if t.is_floating_point() else t for key, t in model.state_dict().items()},
        drawn(2, *data["input_shape"]),
    )
    assert outputs.shape == (2, data["num_classes"])
    assert outputs.dtype == torch.float64
    assert torch.isfinite(outputs).all()
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet", (3, 32, 32)),
        ("lenet", (2, 12, 15)),
        ("lenet300", (1, 8, 8)),
        ("resnet20", (1, 9, 8)),
        ("vgg9", (1, 8, 9)),
        ("vgg11", (1, 32, 64)),
    ],
)
def test_other_images_are_taken(name, shape):
    model = BUILTIN[name](input_shape=shape, num_classes=7)
    # in train mode, where a batch norm takes the statistics of the two
    assert model(drawn(2, *shape).float()).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet20", "vgg9", "c1", "cnn", "mlp"])
@pytest.mark.parametrize("norm", ["none", "group"])
def test_each_sample_is_alone_without_batch_norm(name, norm):
    model = BUILTIN[name](norm=norm, **CIFAR10).double()
    groups = [m for m in model.modules() if isinstance(m, nn.GroupNorm)]
    assert bool(groups) == (norm == "group")
    assert all(group.num_groups == 8 for group in groups)
    assert not list(model.buffers())
    dropouts = [m.eval() for m in model.modules() if isinstance(m, nn.Dropout)]
    assert len(dropouts) == (2 if name == "c1" else 0)
    one, others = drawn(1, 3, 32, 32), 5 * drawn(2, 3, 32, 32, seed=1)
    torch.testing.assert_close(model(torch.cat([others, one]))[2:], model(one), rtol=1e-12, atol=1e-12)


def test_groups_divide_the_channels():
    model = BUILTIN["cnn"](channels=[12, 7], norm="group", **CIFAR10)
    assert [m.num_groups for m in model.children() if isinstance(m, nn.GroupNorm)] == [4, 1]


def refused(error, match, name, data=CIFAR10, **arguments):
    with pytest.raises(error, match=match) as caught:
        BUILTIN[name](**data, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in BUILTIN if name not in {"f1", "lenet", "lenet300"}])
def test_an_unknown_norm_is_refused(name):
    refused(UsageError, "unknown norm 'layer'; one of none, batch, group", name, DATA.get(name, CIFAR10), norm="layer")
    refused(UsageError, "unknown norm True", name, DATA.get(name, CIFAR10), norm=True)


@pytest.mark.parametrize(
    ("name", "match", "arguments"),
    [
        ("mlp", "two units a group, got width 8; try 16", {"widths": [8], "norm": "group"}),
        ("resnet20", "shortcuts must be true or false", {"shortcuts": 1}),
        ("resnet20", "zero_gamma must be true or false", {"zero_gamma": "yes"}),
        ("resnet32", "resnet32 width must be a positive integer, got 0", {"width": 0}),
        ("resnet44", "positive integer, got True", {"width": True}),
        ("resnet56", "zero_gamma needs a norm", {"zero_gamma": True, "norm": "none"}),
        ("resnet20", "zero_gamma needs shortcuts", {"zero_gamma": True, "shortcuts": False}),
    ],
)
def test_wrong_arguments_are_refused(name, match, arguments):
    refused(UsageError, match, name, **arguments)


@pytest.mark.parametrize(
    ("name", "match", "shape", "classes"),
    [
        ("c1", r"\(3, 32, 32\) and 10 classes \(CIFAR-10\), got \(3, 32, 32\) and 100", (3, 32, 32), 100),
        ("c2", "CIFAR-10", (1, 28, 28), 10),
        ("c3", r"100 classes \(CIFAR-100\), got \(3, 32, 32\) and 10$", (3, 32, 32), 10),
        ("c4", "CIFAR-100", (3, 8, 8), 100),
        ("lenet", "at least 12 x 12", (1, 11, 28), 10),
        ("lenet", "takes images", (784,), 10),
        ("resnet20", "at least 8 x 8", (3, 8, 7), 10),
        ("resnet56", "takes images", (3, 32), 10),
        ("vgg9", "at least 8 x 8", (3, 7, 7), 10),
        ("vgg11", "at least 32 x 32", (3, 31, 32), 10),
        ("vgg16", "takes images", (3072,), 10),
    ],
)
def test_wrong_inputs_are_refused(name, match, shape, classes):
    refused(InputError, match, name, {"input_shape": shape, "num_classes": classes})


def test_arguments_that_a_network_does_not_take_are_named():
    splits = Splits(samples_of((torch.zeros(20, 1, 28, 28), torch.arange(20) % 10)), None)
    with pytest.raises(UsageError, match="shortcuts, zero_gamma, width, norm"):
        build_model("resnet20", {"depth": 3}, splits, 0)
    with pytest.raises(UsageError, match="norm"):
        build_model("lenet", {"norm": "batch"}, splits, 0)


def blocks(model):
    return [m for m in model.modules() if isinstance(m, Block)]


def option_a(inputs, channels, stride):
    """The shortcut of option A, pixel by pixel."""
    batch, planes, height, width = inputs.shape
    rows, columns = range(0, height, stride), range(0, width, stride)
    outputs = torch.zeros(batch, channels, len(rows), len(columns), dtype=inputs.dtype)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            outputs[:, :planes, i, j] = inputs[:, :, row, column]
    return outputs


@pytest.mark.parametrize(("planes", "channels", "stride"), [(4, 4, 1), (4, 8, 2), (3, 5, 2)])
@pytest.mark.parametrize("shape", [(8, 8), (5, 6)])
def test_a_block_is_its_shortcut_and_its_residual(planes, channels, stride, shape):
    inputs = drawn(2, planes, *shape)
    block, plain = (Block(planes, channels, stride, "batch", shortcut).double() for shortcut in (True, False))
    plain.load_state_dict(block.state_dict())
    residual = block.residual(inputs)
    assert torch.equal(block(inputs), torch.relu(option_a(inputs, channels, stride) + residual))
    assert torch.equal(plain(inputs), torch.relu(residual))


def test_resnets_have_three_stages_and_shortcuts_all_or_none():
    model = built("resnet32")
    assert [(b.residual[0].out_channels, b.stride) for b in blocks(model)] == [
        *[(16, 1)] * 5,
        *[(32, 2), *[(32, 1)] * 4],
        *[(64, 2), *[(64, 1)] * 4],
    ]
    plain = BUILTIN["resnet32"](shortcuts=False, **CIFAR10)
    assert all(b.has_shortcut for b in blocks(model))
    assert not any(b.has_shortcut for b in blocks(plain))
    assert count(plain) == count(model)


def test_without_shortcuts_a_dead_block_ends_everything():
    outputs = {}
    for shortcuts in (True, False):
        model = BUILTIN["resnet20"](shortcuts=shortcuts, **CIFAR10).double().eval()
        for p in blocks(model)[4].parameters():
            nn.init.zeros_(p)
        outputs[shortcuts] = model(drawn(2, 3, 32, 32))
    assert torch.equal(outputs[False][0], outputs[False][1])
    assert not torch.equal(outputs[True][0], outputs[True][1])


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_zero_gamma_is_of_the_last_norm_of_each_block_alone(norm):
    model = BUILTIN["resnet20"](zero_gamma=True, norm=norm, **CIFAR10).double()
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)}
    zero = {name for name, m in norms.items() if not m.weight.any()}
    assert zero == {f"{name}.residual.4" for name, m in model.named_modules() if isinstance(m, Block)}
    assert len(zero) == 9
    assert all(bool((m.weight == 1).all()) for name, m in norms.items() if name not in zero)
    for block in blocks(model):
        inputs = drawn(2, block.residual[0].in_channels, 8, 8)
        channels = block.residual[0].out_channels
        assert torch.equal(block(inputs), torch.relu(option_a(inputs, channels, block.stride)))


def test_convolutions_of_resnets_have_no_bias_and_kaimings_deviation():
    layers = [m for m in built("resnet56").modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == 55
    assert all(layer.bias is None for layer in layers)
    last = layers[-1].weight.detach()
    # the deviation of n draws is known to 1 / sqrt(2 n), here .4 %
    assert float(last.std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_width_is_of_the_first_stage():
    model = BUILTIN["resnet20"](width=4, **CIFAR10)
    assert [b.residual[0].out_channels for b in blocks(model)] == [4] * 3 + [8] * 3 + [16] * 3
    assert list(model.children())[-1].in_features == 16
