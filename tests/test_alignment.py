"""Permutation alignment against copies permuted by hand, all permutations of a small net, and unchanged outputs."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import Objective
from landscape.alignment import align, rules
from landscape.alignment.groups import groups_of, in_order
from landscape.alignment.matching import best_match, distance, weight_matching
from landscape.alignment.operations import pointwise
from landscape.alignment.structure import classes_of
from landscape.errors import InputError, NumericalError, UsageError
from landscape.models.registry import BUILTIN

DTYPE = torch.float64


def seeded(make, seed):
    """A network in float64 whose params and buffers are all drawn at random, those of norm layers too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make().to(DTYPE)
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and (tensor.dim() == 1 or "running" in name):
                tensor.data.uniform_(0.5, 1.5)
    return model.eval()


def objective(model, shape, count=12, classes=3, **options):
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(count, *shape, generator=generator, dtype=DTYPE)
    targets = torch.randint(0, classes, (count,), generator=generator)
    return Objective(model, "cross_entropy", (inputs, targets), dtype=DTYPE, **options)


def outputs(found):
    with found.running(), torch.no_grad():
        return torch.cat([found.outputs(found.parts(), batch) for batch in found.samples.chunks(found.chunk)])


def tensors_of(found):
    return {**found.layout.named(found.params), **found.constants}


def hand_order(size, generator):
    return torch.randperm(size, generator=generator)


def reorder(module, order, axis=0):
    """The tensors of one layer, in place, with their places along an axis in another order."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() > axis:
            tensor.data = tensor.data.index_select(axis, order)


def permuted_chain(model, pixels):
    """A copy of a chain of layers with its hidden units in random orders; `pixels` a channel where it is flattened."""
    found, generator, order = copy.deepcopy(model), torch.Generator().manual_seed(11), None
    last = found[-1]
    for layer in found:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            if order is not None:
                layer.weight.data = layer.weight.data.index_select(1, order)
            if layer is not last:
                order = hand_order(layer.weight.shape[0], generator)
                reorder(layer, order)
        elif isinstance(layer, nn.Flatten) and order is not None:
            order = (order[:, None] * pixels + torch.arange(pixels)).flatten()
        elif order is not None:
            reorder(layer, order)
    return found


def permuted_resnet(model):
    """A copy of a resnet of this library, permuted: the wider stage keeps the channels before it, and adds its own."""
    found, generator = copy.deepcopy(model), torch.Generator().manual_seed(12)
    order = hand_order(found[0].weight.shape[0], generator)
    for layer in found[:2]:
        reorder(layer, order)
    for block in [layer for layer in found if hasattr(layer, "residual")]:
        first, first_norm, _, second, second_norm = block.residual
        first.weight.data = first.weight.data.index_select(1, order)
        inner = hand_order(first.weight.shape[0], generator)
        reorder(first, inner)
        reorder(first_norm, inner)
        second.weight.data = second.weight.data.index_select(1, inner)
        order = torch.cat([order, len(order) + hand_order(block.extra, generator)])
        reorder(second, order)
        reorder(second_norm, order)
    found[-1].weight.data = found[-1].weight.data.index_select(1, order)
    return found


def builtin(name, shape, **options):
    return lambda: BUILTIN[name](input_shape=shape, num_classes=3, **options)


def cnn_average():
    layers = [nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, padding=1)]
    layers += [nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout2d(), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(32, 7), nn.LayerNorm(7), nn.GELU(), nn.Linear(7, 3))


CHAINS = {
    "mlp": (builtin("mlp", (5,), widths=[8, 7], activation="tanh"), (5,), 1),
    "mlp-batch-norm": (builtin("mlp", (5,), widths=[8, 7], norm="batch"), (5,), 1),
    "cnn-batch-norm": (builtin("cnn", (2, 8, 8), channels=[5, 6], width=7, norm="batch"), (2, 8, 8), 4),
    "cnn-average": (cnn_average, (2, 8, 8), 4),
    "lenet": (builtin("lenet", (1, 12, 12)), (1, 12, 12), 1),
    "vgg9": (builtin("vgg9", (1, 8, 8)), (1, 8, 8), 1),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_permuted_copy_comes_back(name):
    make, shape, pixels = CHAINS[name]
    model = seeded(make, 0)
    other = permuted_chain(model, pixels)
    a, b = objective(model, shape, count=4), objective(other, shape, count=4)
    torch.testing.assert_close(outputs(a), outputs(b), rtol=1e-9, atol=1e-9)  # the copy is made as it should be
    found = align(a, b)
    assert found.distance_before > 1
    assert found.distance < 1e-10
    assert found.moved > 0.5
    for key, tensor in tensors_of(found.objective).items():
        torch.testing.assert_close(tensor, tensors_of(a)[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"shortcuts": False}])
def test_a_permuted_residual_network_comes_back(options):
    model = seeded(builtin("resnet20", (2, 8, 8), width=4, **options), 0)
    a, b = objective(model, (2, 8, 8)), objective(permuted_resnet(model), (2, 8, 8))
    torch.testing.assert_close(outputs(a), outputs(b), rtol=1e-9, atol=1e-9)
    found = align(a, b, restarts=5)
    assert found.distance_before > 1
    assert found.distance < 1e-10
    torch.testing.assert_close(found.objective.params, a.params, rtol=0, atol=1e-12)
    for key, tensor in a.constants.items():
        torch.testing.assert_close(found.objective.constants[key], tensor, rtol=0, atol=1e-12)


def test_the_wider_stage_of_a_residual_network_is_the_one_before_and_its_own_channels():
    make = builtin("resnet20", (2, 8, 8), width=4)
    found = align(objective(seeded(make, 0), (2, 8, 8)), objective(seeded(make, 1), (2, 8, 8)))
    sizes = {name: len(order) for name, order in found.permutations.items()}
    stages = {"0": 4, "6.residual.3[4:8]": 4, "9.residual.3[8:16]": 8}
    inner = {f"{block}.residual.0": 4 * 2 ** ((block - 3) // 3) for block in range(3, 12)}
    assert sizes == {**stages, **inner}
    for order in found.permutations.values():
        assert sorted(order) == list(range(len(order)))
    changed = sum((order != np.arange(len(order))).sum() for order in found.permutations.values())
    assert found.moved == pytest.approx(changed / sum(sizes.values()))


class Tied(nn.Module):
    """Encoder and decoder of one matrix, and a param used by itself."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 5))
        self.scale = nn.Parameter(torch.randn(6))
        self.register_buffer("shift", torch.randn(6))

    def forward(self, x):
        hidden = torch.relu(functional.linear(x, self.weight) * self.scale + self.shift)
        return (hidden @ self.weight)[:, :3]


class Shared(nn.Module):
    """One layer used twice, with residuals: units on both axes of one param."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x)
        for _ in range(2):
            x = x + self.again(x).tanh()
        return self.last(x)


class Gated(nn.Module):
    """The halves of a layer multiplied; the outcome beside another layer; an addition in place."""

    def __init__(self):
        super().__init__()
        self.wide, self.more, self.bias = nn.Linear(5, 12), nn.Linear(6, 4), nn.Parameter(torch.randn(1, 10))
        self.last = nn.Linear(10, 3)

    def forward(self, x):
        left, right = self.wide(x).chunk(2, dim=1)
        gated = left * torch.sigmoid(right)
        both = torch.cat([gated, self.more(gated)], dim=-1)
        both += self.bias
        return self.last(both)


class Pixels(nn.Module):
    """Functions and methods: pooling, pixels before channels, the mean over pixels."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.next = (
            nn.Conv2d(2, 6, 3),
            nn.BatchNorm2d(6),
            nn.Conv2d(6, 5, 1, padding_mode="reflect"),
        )
        self.tokens, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 2)
        x = self.next(functional.pad(x, (1, 1, 1, 1))).relu()
        x = x.view(x.size(0), x.shape[1], -1).permute(0, 2, 1)
        return self.last(torch.relu(self.tokens(x)).mean(1))


class Split(nn.Module):
    """Some units go one way and some another, and one is taken alone."""

    def __init__(self):
        super().__init__()
        self.first, self.left, self.right = nn.Linear(5, 9), nn.Linear(3, 3), nn.Linear(5, 3)

    def forward(self, x):
        x = self.first(x).relu()
        return self.left(x[:, :3]) + self.right(x[:, 3:8]) * x[:, 8].unsqueeze(1)


STRUCTURES = {
    **{name: (make, shape) for name, (make, shape, _) in CHAINS.items() if name != "vgg9"},
    "resnet": (builtin("resnet20", (2, 8, 8), width=4), (2, 8, 8)),
    "resnet-no-norm": (builtin("resnet20", (2, 8, 8), width=4, norm="none"), (2, 8, 8)),
    "resnet-no-shortcuts": (builtin("resnet20", (2, 8, 8), width=4, shortcuts=False), (2, 8, 8)),
    "tied": (Tied, (5,)),
    "shared": (Shared, (5,)),
    "gated": (Gated, (5,)),
    "pixels": (Pixels, (2, 8, 8)),
    "split": (Split, (5,)),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_function_stays_and_the_distance_never_grows(name):
    make, shape = STRUCTURES[name]
    models = [seeded(make, seed) for seed in (0, 1)]
    a, b = (objective(model, shape, count=4) for model in models)
    state = copy.deepcopy(models[1].state_dict())
    for restarts in (0, 2):
        found = align(a, b, restarts=restarts)
        torch.testing.assert_close(outputs(found.objective), outputs(b), rtol=1e-10, atol=1e-10)
        assert found.distance <= found.distance_before
        assert found.distance_before == pytest.approx(float((a.params - b.params).norm()), rel=1e-12)
        assert found.distance == pytest.approx(float((a.params - found.objective.params).norm()), rel=1e-12)
        assert found.restarts == restarts
    assert found.moved > 0
    for key, tensor in models[1].state_dict().items():
        assert torch.equal(tensor, state[key])
    assert not any(isinstance(value, torch.fx.Proxy) for m in models[1].modules() for value in vars(m).values())


def test_units_that_go_different_ways_stay_apart():
    found = align(objective(seeded(Split, 0), (5,)), objective(seeded(Split, 1), (5,)))
    assert {name: len(order) for name, order in found.permutations.items()} == {"first[0:3]": 3, "first[3:8]": 5}


def test_halves_that_are_multiplied_move_together():
    found = align(objective(seeded(Gated, 0), (5,)), objective(seeded(Gated, 1), (5,)))
    assert {name: len(order) for name, order in found.permutations.items()} == {"wide": 6, "more": 4}


def perceptron():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize("seed", range(5))
def test_one_group_is_matched_as_well_as_by_all_its_permutations(seed):
    a = objective(seeded(perceptron, seed), (3,), classes=2)
    b = objective(seeded(perceptron, seed + 50), (3,), classes=2)
    one, other = (o.layout.named(o.params) for o in (a, b))
    truth = {}
    for order in itertools.permutations(range(4)):
        pick = list(order)
        parts = [other["0.weight"][pick], other["0.bias"][pick], other["2.weight"][:, pick], other["2.bias"]]
        truth[order] = float(sum((p - one[n]).square().sum() for p, n in zip(parts, one, strict=True)) ** 0.5)
    found = align(a, b, restarts=0)
    assert found.distance == pytest.approx(min(truth.values()), rel=1e-12)
    assert tuple(found.permutations["0"]) == min(truth, key=lambda order: truth[order])


def test_the_closest_of_the_starts_is_kept():
    make, shape, _ = CHAINS["cnn-average"]
    a, b = (objective(seeded(make, seed), shape) for seed in (0, 1))
    params = [o.layout.named(o.params) for o in (a, b)]
    groups = groups_of(classes_of(b), params[1])
    rng = np.random.default_rng(3)
    starts = [[np.arange(group.size) for group in groups]]
    found = [weight_matching(*params, groups, starts[0], rng)]
    for _ in range(4):
        starts.append([rng.permutation(group.size) for group in groups])
        found.append(weight_matching(*params, groups, starts[-1], rng))
    distances = [match.distance for match in found]
    assert len({round(value, 9) for value in distances}) > 1  # local minima that differ
    assert best_match(*params, groups, 4, np.random.default_rng(3)).distance == min(distances)
    aligned = [align(a, b, restarts=count, seed=3).distance for count in range(5)]
    assert aligned == list(np.minimum.accumulate(distances))


def test_an_end_is_a_minimum_among_changes_of_one_group():
    make, shape, _ = CHAINS["mlp"]
    a, b = (objective(seeded(make, seed), shape) for seed in (0, 1))
    found = align(a, b, restarts=0).objective
    params = [o.layout.named(o.params) for o in (a, found)]
    (first, second) = groups_of(classes_of(found), params[1])
    for group in (first, second):
        for i, j in itertools.combinations(range(group.size), 2):
            order = np.arange(group.size)
            order[[i, j]] = j, i
            swapped = {**params[1], **group.reordered(params[1], order)}
            assert distance(params[0], swapped) >= distance(*params) - 1e-12


def test_the_same_seed_gives_the_same_bits():
    make, shape, _ = CHAINS["cnn-average"]
    one, two = (align(*(objective(seeded(make, s), shape) for s in (0, 1)), seed=4) for _ in range(2))
    assert torch.equal(one.objective.params, two.objective.params)
    assert (one.distance, one.moved) == (two.distance, two.moved)


def test_channels_of_a_group_norm_stay_where_they_are():
    make = builtin("cnn", (2, 8, 8), channels=[8, 16], width=6, norm="group")
    a, b = (objective(seeded(make, seed), (2, 8, 8)) for seed in (0, 1))
    found = align(a, b)
    assert list(found.permutations) == ["9"]
    assert found.moved > 0
    for key, tensor in tensors_of(found.objective).items():
        assert torch.equal(tensor, tensors_of(b)[key]) == (key not in ("9.weight", "9.bias", "11.weight"))


def test_frozen_params_move_along_and_do_not_count():
    make, shape, _ = CHAINS["mlp-batch-norm"]
    models = [seeded(make, seed) for seed in (0, 1)]
    for model in models:
        model[1].requires_grad_(False)
    a, b = (objective(model, shape) for model in models)
    found = align(a, b)
    assert not torch.equal(found.objective.constants["1.weight"], b.constants["1.weight"])
    torch.testing.assert_close(outputs(found.objective), outputs(b), rtol=1e-10, atol=1e-10)
    assert found.distance == pytest.approx(float((a.params - found.objective.params).norm()), rel=1e-12)


class Between(nn.Module):
    """A chain with something in the middle that alignment does not understand."""

    def __init__(self, middle, width=6):
        super().__init__()
        self.first, self.second = nn.Linear(5, 7), nn.Linear(7, width)
        self.middle = middle() if isinstance(middle, type) else middle
        self.third, self.last = nn.Linear(width, 7), nn.Linear(7, 3)

    def forward(self, x):
        x = self.middle(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return self.last(torch.tanh(self.third(x)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        x = x.unsqueeze(1)
        return self.inner(x, x, x, need_weights=False)[0].squeeze(1)


class Heads(nn.Module):
    """Attention over heads, written out: each of the heads mixes its own units."""

    def forward(self, x):
        heads = x.view(-1, 2, 3)
        return (torch.softmax(heads @ heads.transpose(1, 2), -1) @ heads).reshape(-1, 6)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x):
        return self.inner(x.unsqueeze(1))[0].squeeze(1)


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv1d(6, 6, 1, groups=2)

    def forward(self, x):
        return self.inner(x[:, :, None]).flatten(1)


class Rewritten(nn.Module):
    """Writes some units over others, in place, and takes all in another order."""

    def forward(self, x):
        x = x.clone()
        x[:, :2].copy_(x[:, 3:5] * 2)
        return x[:, [1, 0, 2, 5, 4, 3]]


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("waves", torch.arange(6.0), persistent=False)

    def forward(self, x):
        return x + self.waves


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def hooked():
    layer = nn.Linear(6, 6)
    layer.register_forward_hook(lambda module, args, out: out.cumsum(1))
    return layer


MIDDLES = {
    "attention": Attention,
    "heads": Heads,
    "recurrent": Recurrent,
    "grouped": Grouped,
    "rewritten": Rewritten,
    "positions": Positions,
    "cumsum": Function(lambda x: x.cumsum(1)),
    "flip": Function(lambda x: x + x.flip(1)),
    "roll": Function(lambda x: x + torch.cat([x[:, 1:3], x[:, :1], x[:, 4:], x[:, 3:4]], 1) * x.mean(1, keepdim=True)),
    "pairs": Function(lambda x: x.reshape(-1, 3, 2).softmax(2).flatten(1)),
    "resorted": Function(lambda x: x.sort(1)[0]),
    "constant": Function(lambda x: x * torch.arange(6.0, dtype=x.dtype)),
    "item": Function(lambda x: x * x.shape[0] / x.size(0) + x.argmax(1, keepdim=True)),
    "group-norm": Function(nn.GroupNorm(2, 6)),
    "sorted-indices": Function(lambda x: x.gather(1, x[:, :1].long().abs().clamp(max=5).expand(-1, 6)) + x),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_what_is_not_understood_is_left_in_place(name):
    a, b = (objective(seeded(lambda: Between(copy.deepcopy(MIDDLES[name])), seed), (5,)) for seed in (0, 1))
    found = align(a, b)
    assert {"first", "third"} <= set(found.permutations)
    before, after = tensors_of(b), tensors_of(found.objective)
    torch.testing.assert_close(outputs(found.objective), outputs(b), rtol=1e-10, atol=1e-10)
    # sorting and flipping leave some freedom which is not looked for
    assert torch.equal(after["second.bias"], before["second.bias"])
    for key in before:
        assert not key.startswith("middle") or torch.equal(after[key], before[key])


@pytest.mark.parametrize("name", [*STRUCTURES, *MIDDLES])
def test_any_order_of_any_group_keeps_the_function(name):
    make, shape = STRUCTURES.get(name) or ((lambda: Between(copy.deepcopy(MIDDLES[name]))), (5,))
    found = objective(seeded(make, 0), shape)
    groups = groups_of(classes_of(found), found.layout.named(found.params))
    rng = np.random.default_rng(1)
    for _ in range(3):
        orders = [rng.permutation(group.size) for group in groups]
        moved = found.at(in_order(tensors_of(found), groups, orders))
        assert float((moved.params - found.params).abs().max()) > 0.1
        torch.testing.assert_close(outputs(moved), outputs(found), rtol=1e-10, atol=1e-10)


def test_a_wrong_structure_is_caught_by_the_outputs(monkeypatch):
    monkeypatch.setitem(rules.BY_NAME, "cumsum", pointwise)
    a, b = (objective(seeded(lambda: Between(MIDDLES["cumsum"]), seed), (5,)) for seed in (0, 1))
    with pytest.raises(InputError, match="structure that alignment does not understand"):
        align(a, b)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last(x if x.sum() > 0 else -x)


class OfInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, inputs):
        return self.chain(inputs)


def test_what_cannot_be_aligned_is_refused_in_one_line():
    make, shape, _ = CHAINS["mlp"]
    a, b = (objective(seeded(make, seed), shape) for seed in (0, 1))
    wider = objective(seeded(builtin("mlp", (5,), widths=[9, 7]), 0), shape)
    spoilt = b.at(torch.full_like(b.params, float("nan")))
    groups = [objective(seeded(builtin("resnet20", (2, 8, 8), norm="group"), s), (2, 8, 8)) for s in (0, 1)]
    branching = [objective(seeded(Branching, s), shape) for s in (0, 1)]
    batch = {"inputs": torch.randn(4, 5, dtype=DTYPE), "targets": torch.zeros(4, dtype=torch.long)}
    ofdict = Objective(
        OfInputs(), lambda m, d: functional.cross_entropy(m(d["inputs"]), d["targets"]), batch, dtype=DTYPE
    )
    cases = [
        ((a.restricted("1.*"), b), InputError, "--align moves all params"),
        ((a, b.restricted("1.*")), InputError, "--align moves all params"),
        ((wider, b), InputError, r"param 1.bias is \(9,\) and \(8,\): .* one architecture"),
        ((a, spoilt), NumericalError, "NaN or infinity"),
        (groups, InputError, "no hidden units of this network can be permuted"),
        ([objective(nn.Linear(5, 3), shape)] * 2, InputError, "no hidden units"),
        (branching, InputError, "cannot be traced"),
        ([ofdict] * 2, InputError, "dict batches"),
    ]
    for pair, kind, words in cases:
        with pytest.raises(kind, match=words) as caught:
            align(*pair)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="restarts must be 0 or more, got -1"):
        align(a, b, restarts=-1)
