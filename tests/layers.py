"""The matrix of layers and losses as data: pairs whose second derivatives are right, pairs that are refused.

Each pair is tiny, in float64, and at a point that is neither an initialisation nor a minimum. The truth is written out
here a second time: plain torch on the model itself, all samples at once, torch's own mean of the loss, and finite
differences of that gradient. It shares no code with the objective and the engine.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from landscape import GaussNewton, Hessian, Objective, top_eigenpairs
from landscape.errors import InputError, LandscapeError, NumericalError
from landscape.products import choice

DTYPE = torch.float64
SAMPLES, CHUNK = 13, 5  # chunks of 5, 5 and 3
STEPS = (1e-5, 5e-6)  # of the finite differences, along unit vectors
DENSE = 120  # params up to which the whole matrix is held against finite differences
RIGHT = 1e-6  # relative error up to which a product is right

# Losses ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossPair:
    """A loss as an Objective is given it, and the mean over all samples that torch itself makes of it."""

    name: str
    given: Any
    mean: Callable[..., Tensor]


def _mean(name: str, function: Callable[..., Tensor], **options: Any) -> LossPair:
    """A loss whose mean over samples is the mean of the chunks' means by their numbers of samples."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return function(outputs, targets, **options)

    return LossPair(name, loss, loss)


WEIGHTS = torch.tensor([0.3, 1.0, 4.0], dtype=DTYPE)
IGNORED = 2


def _weighted(outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    total = functional.cross_entropy(outputs, targets, weight=WEIGHTS, label_smoothing=smoothing, reduction="sum")
    return total, WEIGHTS[targets].sum()


def _ignoring(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    total = functional.cross_entropy(outputs, targets, ignore_index=IGNORED, reduction="sum")
    return total, (targets != IGNORED).sum()


def _gaussian(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.gaussian_nll_loss(outputs[:, 0], targets, functional.softplus(outputs[:, 1]))


def _next_token(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    rows, targets = model(batch["tokens"]).flatten(0, 1), batch["next"].flatten()
    return functional.cross_entropy(rows, targets, reduction="sum"), (targets != -100).sum()


def _next_token_mean(model: nn.Module, data: Any) -> Tensor:
    batches = [data] if isinstance(data, dict) else data
    rows = torch.cat([model(batch["tokens"]).flatten(0, 1) for batch in batches])
    return functional.cross_entropy(rows, torch.cat([batch["next"].flatten() for batch in batches]))


def _masked(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    kept = targets != IGNORED
    return functional.cross_entropy(outputs[kept], targets[kept], reduction="sum"), kept.sum()


def _of_batch(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return functional.huber_loss(model(batch["left"], batch["right"]), batch["targets"], delta=0.3)


CROSS_ENTROPY = LossPair("cross-entropy", "cross_entropy", functional.cross_entropy)
SMOOTHED = _mean("cross-entropy, label smoothing", functional.cross_entropy, label_smoothing=0.2)
WEIGHTED = LossPair(
    "cross-entropy, class weights", _weighted, lambda o, t: functional.cross_entropy(o, t, weight=WEIGHTS)
)
WEIGHTED_SMOOTHED = LossPair(
    "cross-entropy, class weights and label smoothing",
    lambda o, t: _weighted(o, t, 0.1),
    lambda o, t: functional.cross_entropy(o, t, weight=WEIGHTS, label_smoothing=0.1),
)
IGNORING = LossPair(
    "cross-entropy, ignore_index", _ignoring, lambda o, t: functional.cross_entropy(o, t, ignore_index=IGNORED)
)
MASKED = LossPair("cross-entropy of rows picked by a mask", _masked, IGNORING.mean)
SOFT = LossPair("cross-entropy, soft targets", "cross_entropy", functional.cross_entropy)
NLL = _mean("NLL", functional.nll_loss)
MSE = LossPair("MSE", "mse", functional.mse_loss)
MSE_OF_CLASSES = LossPair(
    "MSE of one-hot classes", "mse", lambda o, t: functional.mse_loss(o, functional.one_hot(t, 3).to(o))
)
MSE_MEAN = _mean("MSE, torch's mean", functional.mse_loss)
BCE_LOGITS = _mean("BCE with logits", functional.binary_cross_entropy_with_logits)
BCE_WEIGHTED = _mean(
    "BCE with logits, pos_weight",
    functional.binary_cross_entropy_with_logits,
    pos_weight=torch.tensor([0.5, 3.0], dtype=DTYPE),
)
BCE = _mean("BCE", functional.binary_cross_entropy)
HUBER = _mean("Huber", functional.huber_loss, delta=0.3)
SMOOTH_L1 = _mean("smooth L1", functional.smooth_l1_loss, beta=0.4)
L1 = _mean("L1", functional.l1_loss)
POISSON = _mean("Poisson NLL", functional.poisson_nll_loss)
GAUSSIAN = LossPair("Gaussian NLL", _gaussian, _gaussian)
KL = _mean("KL divergence", functional.kl_div, reduction="batchmean")
SOFT_MARGIN = _mean("soft margin", functional.soft_margin_loss)
MULTILABEL = _mean("multilabel soft margin", functional.multilabel_soft_margin_loss)
NEXT_TOKEN = LossPair("loss(model, batch), (sum, weight)", _next_token, _next_token_mean)
OF_BATCH = LossPair("loss(model, batch), Huber", _of_batch, _of_batch)

# Data -----------------------------------------------------------------------------------------------------------------


def _inputs(*shape: int, n: int = SAMPLES) -> Tensor:
    return torch.randn(n, *shape, dtype=DTYPE)


def _classes(*shape: int, n: int = SAMPLES, out: tuple[int, ...] = (), count: int = 3) -> tuple[Tensor, Tensor]:
    return _inputs(*shape, n=n), torch.randint(0, count, (n, *out))


def _values(*shape: int, out: tuple[int, ...] = (2,), n: int = SAMPLES) -> tuple[Tensor, Tensor]:
    return _inputs(*shape, n=n), _inputs(*out, n=n)


def _bits(*shape: int, out: tuple[int, ...] = (2,), low: float = 0.0) -> tuple[Tensor, Tensor]:
    return _inputs(*shape), torch.where(torch.rand(SAMPLES, *out) < 0.5, low, 1.0).to(DTYPE)


def _counts(*shape: int) -> tuple[Tensor, Tensor]:
    return _inputs(*shape), torch.randint(0, 4, (SAMPLES, 2)).to(DTYPE)


def _shares(*shape: int) -> tuple[Tensor, Tensor]:
    return _inputs(*shape), torch.softmax(_inputs(3), 1)


def _words(length: int = 4, *, per_token: bool = False, vocabulary: int = 6) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(0, vocabulary, (SAMPLES, length))
    if not per_token:
        return tokens, torch.randint(0, 3, (SAMPLES,))
    targets = torch.randint(0, 3, (SAMPLES, length))
    targets[::3, 1:] = -100
    return tokens, targets


def _text(length: int = 4, n: int = SAMPLES) -> dict[str, Tensor]:
    following = torch.randint(0, 6, (n, length))
    following[::3, 1:] = -100
    return {"tokens": torch.randint(0, 6, (n, length)), "next": following}


def _pairs() -> dict[str, Tensor]:
    return {"left": _inputs(3), "right": _inputs(2), "targets": _inputs(2)}


# Models ---------------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Of(nn.Module):
    """A layer called in a way of its own, and a linear head."""

    def __init__(self, layer: nn.Module, call: Callable[[nn.Module, Tensor], Tensor], *head: int) -> None:
        super().__init__()
        self.layer, self.call = layer, call
        self.head = nn.Linear(*head) if head else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.call(self.layer, x))


class Tied(nn.Module):
    """Embedding and decoder share one tensor."""

    def __init__(self, words: int, width: int, **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, **options)
        self.middle = nn.Linear(width, width)
        self.decoder = nn.Linear(width, words, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.middle(self.embedding(tokens))))


class TiedLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight.T) @ self.weight


class Attention(nn.Module):
    """Attention by `scaled_dot_product_attention` over the positions, and a linear head on the mean."""

    def __init__(self, *, backend: SDPBackend | None = None, **options: Any) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(4, 12), nn.Linear(4, 3)
        self.backend, self.options = backend, options

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        if self.backend is None:
            mixed = functional.scaled_dot_product_attention(query, key, value, **self.options)
        else:
            with sdpa_kernel(self.backend):
                mixed = functional.scaled_dot_product_attention(query, key, value, **self.options)
        return self.head(mixed.transpose(1, 2).flatten(2).mean(1))


class Plain(nn.Module):
    """A function without params as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(3, 2, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.tanh(self.bilinear(left, right))


class WrittenInPlace(nn.Module):
    """A recurrence that writes its states into one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(3, 3), nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        states = x.new_zeros(len(x), 3, 3)
        for i in range(3):
            states[:, i] = torch.tanh(self.step(x if i == 0 else states[:, i - 1].clone()))
        return self.head(states.flatten(1))


class Branching(nn.Module):
    """Another activation by the values of a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        hidden = torch.tanh(hidden) if float(self.first.weight.detach().sum()) > -1e6 else hidden
        return self.second(hidden)


class OldCube(torch.autograd.Function):
    """x^3 with a backward that can be differentiated, in the form that torch.func does not take."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


class DetachedCube(torch.autograd.Function):
    """x^3 with a backward that saved a detached tensor: right gradient, symmetric and wrong Hessian."""

    @staticmethod
    def forward(ctx, x):
        ctx.saved = x.detach()
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        return 3 * ctx.saved**2 * gradient


class OnceCube(torch.autograd.Function):
    """x^3 with a backward that cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.inner, self.reentrant = nn.Linear(4, 4), nn.Linear(4, 3), reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        return checkpoint(lambda h: torch.sin(self.inner(h)), hidden, use_reentrant=self.reentrant)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class WithoutGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = torch.tanh(self.features(x))
        return self.head(hidden)


def _mlp(*middle: nn.Module, out: int = 3, width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), *middle, nn.Linear(width, out))


def _head(*layers: nn.Module, wide: int, out: int = 3) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(wide, out))


def _last(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)[0][:, -1]


def _packed(layer: nn.Module, x: Tensor) -> Tensor:
    lengths = (x[:, :, 0] > -0.5).sum(1).clamp(min=1)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return layer(packed)[1][-1]


def _self_attention(layer: nn.Module, x: Tensor, *, weights: bool) -> Tensor:
    return layer(x, x, x, need_weights=weights)[0].mean(1)


def _spectrum_of_signal(x: Tensor) -> Tensor:
    return torch.fft.rfft(x).abs().square().log1p()


# Pairs that are right -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A layer and a loss: `model()` and `data()` make them, `options` are the Objective's.

    `falls_back` is what torch says where linearize cannot run, as a pattern, and the same in plain words.
    """

    layer: str
    loss: LossPair
    model: Callable[[], nn.Module]
    data: Callable[[], Any]
    options: dict[str, Any] = field(default_factory=lambda: {"chunk": CHUNK})
    falls_back: tuple[str, str] | None = None
    gauss_newton: bool = False

    @property
    def name(self) -> str:
        return f"{self.layer} | {self.loss.name}"


BATCH = {"bn": "batch", "bn_batch": CHUNK}
HUBER_FALLS = ("huber_loss_backward", "torch has no forward rule for Huber's gradient")
MARGIN_FALLS = ("soft_margin_loss_backward", "torch has no forward rule for the loss's gradient")
BRANCH = ("data-dependent", "it branches on values")
MASK = ("data-dependent", "shapes depend on values")


def _pair(layer: str, loss: LossPair, model: Callable[[], nn.Module], data: Callable[[], Any], **more: Any) -> Pair:
    return Pair(layer, loss, model, data, **more)


def _dense_layers() -> list[Pair]:
    return [
        _pair("Linear", CROSS_ENTROPY, lambda: nn.Linear(4, 3), lambda: _classes(4), gauss_newton=True),
        _pair("Linear, Tanh", MSE, lambda: _mlp(nn.Tanh(), out=2), lambda: _values(4), gauss_newton=True),
        _pair("Linear, Tanh", MSE_MEAN, lambda: _mlp(nn.Tanh(), out=2), lambda: _values(4)),
        _pair("Linear, Tanh", SMOOTH_L1, lambda: _mlp(nn.Tanh(), out=2), lambda: _values(4)),
        _pair("GELU", SMOOTHED, lambda: _mlp(nn.GELU()), lambda: _classes(4)),
        _pair(
            "GELU (tanh)",
            MSE_OF_CLASSES,
            lambda: _mlp(nn.GELU("tanh")),
            lambda: _classes(4),
        ),
        _pair("SiLU", WEIGHTED, lambda: _mlp(nn.SiLU()), lambda: _classes(4), gauss_newton=True),
        _pair("Softplus", IGNORING, lambda: _mlp(nn.Softplus()), lambda: _classes(4), gauss_newton=True),
        _pair("ReLU", CROSS_ENTROPY, lambda: _mlp(nn.ReLU()), lambda: _classes(4)),
        _pair(
            "ReLU in place",
            HUBER,
            lambda: _mlp(nn.ReLU(inplace=True), out=2),
            lambda: _values(4),
            falls_back=HUBER_FALLS,
        ),
        _pair(
            "LeakyReLU",
            SOFT_MARGIN,
            lambda: _mlp(nn.LeakyReLU(), out=2),
            lambda: _bits(4, low=-1.0),
            falls_back=MARGIN_FALLS,
        ),
        _pair("PReLU", L1, lambda: _mlp(nn.PReLU(4), nn.Sigmoid(), out=2), lambda: _values(4)),
        _pair("ELU", BCE_LOGITS, lambda: _mlp(nn.ELU(), out=2), lambda: _bits(4)),
        _pair("Mish", BCE_WEIGHTED, lambda: _mlp(nn.Mish(), out=2), lambda: _bits(4)),
        _pair("Sigmoid", BCE, lambda: nn.Sequential(_mlp(nn.Sigmoid(), out=2), nn.Sigmoid()), lambda: _bits(4)),
        _pair("SELU", POISSON, lambda: _mlp(nn.SELU(), out=2), lambda: _counts(4)),
        _pair("Hardswish", MULTILABEL, lambda: _mlp(nn.Hardswish(), out=2), lambda: _bits(4)),
        _pair("GLU", KL, lambda: nn.Sequential(nn.Linear(4, 6), nn.GLU(), nn.LogSoftmax(1)), lambda: _shares(4)),
        _pair(
            "Softsign",
            GAUSSIAN,
            lambda: _mlp(nn.Softsign(), out=2),
            lambda: _values(4, out=()),
            falls_back=("data-dependent", "torch's loss branches on values"),
        ),
        _pair("LogSoftmax", NLL, lambda: nn.Sequential(_mlp(nn.Tanh()), nn.LogSoftmax(1)), lambda: _classes(4)),
        _pair("Softmax", SOFT, lambda: _mlp(nn.Softmax(1)), lambda: _shares(4)),
        _pair("Dropout in eval", CROSS_ENTROPY, lambda: _mlp(nn.Tanh(), nn.Dropout(0.5)), lambda: _classes(4)),
        _pair(
            "residual",
            HUBER,
            lambda: Residual(_mlp(nn.Tanh(), out=4)),
            lambda: _values(4, out=(4,)),
            falls_back=HUBER_FALLS,
        ),
        _pair("Bilinear", OF_BATCH, TwoInputs, _pairs, falls_back=HUBER_FALLS),
    ]


def _conv_layers() -> list[Pair]:
    def conv2d(*middle: nn.Module, wide: int, out: int = 3, **options: Any) -> nn.Module:
        return _head(nn.Conv2d(1, 2, 3, **options), *middle, wide=wide, out=out)

    def grouped() -> nn.Module:
        return _head(nn.Conv2d(2, 4, 3, groups=2), nn.SiLU(), nn.AvgPool2d(2), wide=4)

    def depthwise() -> nn.Module:
        return _head(nn.Conv2d(2, 2, 3, stride=2, padding=2, dilation=2, groups=2), nn.Tanh(), wide=8, out=2)

    def transposed() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.ConvTranspose2d(2, 1, 3, stride=2, output_padding=1))

    return [
        _pair("Conv1d", CROSS_ENTROPY, lambda: _head(nn.Conv1d(2, 3, 3), nn.GELU(), wide=9), lambda: _classes(2, 5)),
        _pair("Conv2d", MSE, lambda: conv2d(nn.Tanh(), wide=8, out=2), lambda: _values(1, 4, 4), gauss_newton=True,
              ),
        _pair("Conv2d, circular", KL, lambda: nn.Sequential(conv2d(nn.Tanh(), wide=18, padding=1,
              padding_mode="circular"), nn.LogSoftmax(1)), lambda: _shares(1, 3, 3)),
        _pair("Conv3d", CROSS_ENTROPY, lambda: _head(nn.Conv3d(1, 2, 2), nn.Tanh(), wide=16),
              lambda: _classes(1, 3, 3, 3)),
        _pair("Conv2d, grouped", SMOOTHED, grouped, lambda: _classes(2, 4, 4)),
        _pair("Conv2d, depthwise, stride and dilation", SMOOTH_L1, depthwise, lambda: _values(2, 4, 4)),
        _pair("ConvTranspose1d", MSE, lambda: nn.Sequential(nn.ConvTranspose1d(2, 2, 3, stride=2), nn.Tanh()),
              lambda: _values(2, 3, out=(2, 7))),
        _pair("ConvTranspose2d", BCE_LOGITS, transposed, lambda: _bits(1, 3, 3, out=(1, 6, 6))),
        _pair("ConvTranspose2d, grouped", L1, lambda: nn.Sequential(nn.ConvTranspose2d(2, 4, 2, groups=2), nn.Tanh()),
              lambda: _values(2, 2, 2, out=(4, 3, 3))),
        _pair("ConvTranspose3d", SMOOTH_L1, lambda: nn.Sequential(nn.ConvTranspose3d(1, 2, 2), nn.Softplus()),
              lambda: _values(1, 2, 2, 2, out=(2, 3, 3, 3))),
        _pair("MaxPool2d", CROSS_ENTROPY, lambda: conv2d(nn.MaxPool2d(2), nn.Tanh(), wide=2),
              lambda: _classes(1, 4, 4)),
        _pair("MaxPool1d, ReLU", NLL, lambda: nn.Sequential(
            _head(nn.Conv1d(1, 3, 2), nn.ReLU(), nn.MaxPool1d(2), wide=6), nn.LogSoftmax(1)), lambda: _classes(1, 5)),
        _pair("AvgPool2d", WEIGHTED, lambda: conv2d(nn.GELU(), nn.AvgPool2d(2), wide=2), lambda: _classes(1, 4, 4)),
        _pair("AdaptiveAvgPool2d", IGNORING, lambda: conv2d(nn.SiLU(), nn.AdaptiveAvgPool2d(1), wide=2),
              lambda: _classes(1, 4, 4)),
        _pair("AdaptiveMaxPool2d", MSE, lambda: conv2d(nn.AdaptiveMaxPool2d(1), nn.Tanh(), wide=2, out=2),
              lambda: _values(1, 4, 4)),
        _pair("Upsample, bilinear", L1, lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Upsample(
            scale_factor=2, mode="bilinear"), nn.Conv2d(2, 1, 1)), lambda: _values(1, 3, 3, out=(1, 4, 4))),
        _pair("PixelShuffle", BCE_LOGITS, lambda: nn.Sequential(nn.Conv2d(1, 4, 2), nn.Tanh(), nn.PixelShuffle(2),
              nn.Conv2d(1, 1, 1)), lambda: _bits(1, 3, 3, out=(1, 4, 4))),
        _pair("Dropout2d in eval", SMOOTHED, lambda: conv2d(nn.Dropout2d(0.5), nn.Softplus(), wide=8),
              lambda: _classes(1, 4, 4)),
    ]  # fmt: skip


def _norm_layers() -> list[Pair]:
    def images(norm: nn.Module, out: int = 3) -> nn.Module:
        return _head(nn.Conv2d(1, 2, 3), norm, nn.Tanh(), wide=8, out=out)

    def residual() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), Residual(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.SiLU()), nn.Linear(4, 3))

    def weight_norm_conv() -> nn.Module:
        return _head(parametrizations.weight_norm(nn.Conv1d(2, 3, 3), dim=1), nn.Tanh(), wide=9, out=2)

    def spectral_norm_conv() -> nn.Module:
        return _head(parametrizations.spectral_norm(nn.Conv2d(1, 2, 3)), nn.Tanh(), wide=8)

    return [
        _pair("BatchNorm1d, stored statistics", CROSS_ENTROPY, lambda: _mlp(nn.BatchNorm1d(4), nn.Tanh()),
              lambda: _classes(4)),
        _pair("BatchNorm2d, stored statistics", BCE_LOGITS, lambda: images(nn.BatchNorm2d(2), 2),
              lambda: _bits(1, 4, 4)),
        _pair("BatchNorm1d in a residual block, stored statistics", CROSS_ENTROPY, residual, lambda: _classes(4)),
        _pair("BatchNorm1d, batch statistics", CROSS_ENTROPY, lambda: _mlp(nn.BatchNorm1d(4), nn.Tanh()),
              lambda: _classes(4), options=BATCH, gauss_newton=True),
        _pair("BatchNorm2d, batch statistics", MSE, lambda: images(nn.BatchNorm2d(2), 2), lambda: _values(1, 4, 4),
              options=BATCH),
        _pair("BatchNorm3d, batch statistics", SMOOTHED, lambda: _head(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2),
              nn.GELU(), wide=16), lambda: _classes(1, 3, 3, 3), options=BATCH),
        _pair("BatchNorm1d in a residual block, batch statistics", SMOOTH_L1, lambda: nn.Sequential(
              Residual(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.SiLU()), nn.Linear(4, 2)), lambda: _values(4),
              options=BATCH),
        _pair("LayerNorm", CROSS_ENTROPY, lambda: _mlp(nn.LayerNorm(4), nn.Tanh()), lambda: _classes(4),
              gauss_newton=True),
        _pair("LayerNorm", MSE_MEAN, lambda: _mlp(nn.LayerNorm(4), nn.Tanh(), out=2), lambda: _values(4)),
        _pair("LayerNorm without affine", SMOOTH_L1, lambda: _mlp(nn.LayerNorm(4, elementwise_affine=False), nn.GELU(),
              out=2), lambda: _values(4)),
        _pair("GroupNorm", SMOOTHED, lambda: _head(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), wide=16),
              lambda: _classes(1, 4, 4)),
        _pair("InstanceNorm1d, affine", NLL, lambda: nn.Sequential(_head(nn.Conv1d(2, 3, 3),
              nn.InstanceNorm1d(3, affine=True), nn.Tanh(), wide=9), nn.LogSoftmax(1)), lambda: _classes(2, 5)),
        _pair("InstanceNorm2d, affine", CROSS_ENTROPY, lambda: images(nn.InstanceNorm2d(2, affine=True)),
              lambda: _classes(1, 4, 4)),
        _pair("InstanceNorm2d, stored statistics", L1, lambda: images(nn.InstanceNorm2d(2, track_running_stats=True),
              2), lambda: _values(1, 4, 4)),
        _pair("RMSNorm", WEIGHTED, lambda: _mlp(nn.RMSNorm(4), nn.Tanh()), lambda: _classes(4)),
        _pair("LocalResponseNorm", WEIGHTED_SMOOTHED, lambda: images(nn.LocalResponseNorm(2)),
              lambda: _classes(1, 4, 4)),
        _pair("weight_norm of Linear", CROSS_ENTROPY, lambda: nn.Sequential(parametrizations.weight_norm(
              nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 3)), lambda: _classes(4)),
        _pair("weight_norm of Linear, last axis", NLL, lambda: nn.Sequential(parametrizations.weight_norm(
              nn.Linear(4, 4), dim=1), nn.Tanh(), nn.Linear(4, 3), nn.LogSoftmax(1)), lambda: _classes(4)),
        _pair("weight_norm of Linear, dim=None", CROSS_ENTROPY, lambda: nn.Sequential(parametrizations.weight_norm(
              nn.Linear(4, 4), dim=None), nn.Tanh(), nn.Linear(4, 3)), lambda: _classes(4)),
        _pair("weight_norm of Conv1d, dim=1", MSE_MEAN, weight_norm_conv, lambda: _values(2, 5)),
        _pair("spectral_norm of Linear", MSE_MEAN, lambda: nn.Sequential(parametrizations.spectral_norm(
              nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 2)), lambda: _values(4)),
        _pair("spectral_norm of Conv2d", IGNORING, spectral_norm_conv, lambda: _classes(1, 4, 4)),
    ]  # fmt: skip


def _sequence_layers() -> list[Pair]:
    def encoder(**options: Any) -> nn.Module:
        layer = nn.TransformerEncoderLayer(3, 1, 3, batch_first=True, **options)
        return Of(layer, lambda inner, x: inner(x).mean(1), 3, 3)

    def recurrent(kind: type[nn.RNNBase], *head: int, **options: Any) -> nn.Module:
        return Of(kind(2, 3, batch_first=True, **options), _last, *head)

    def attention(*, weights: bool, **options: Any) -> nn.Module:
        layer = nn.MultiheadAttention(4, 2, batch_first=True, **options)
        return Of(layer, lambda inner, x: _self_attention(inner, x, weights=weights), 4, 3)

    return [
        _pair("Embedding", CROSS_ENTROPY, lambda: Of(nn.Embedding(6, 3), lambda e, x: torch.tanh(e(x)).mean(1), 3, 3),
              _words),
        _pair("Embedding, padding_idx, padding masked", CROSS_ENTROPY, lambda: Of(nn.Embedding(6, 3, padding_idx=0),
              lambda e, x: torch.sin((e(x) * (x > 0)[..., None]).sum(1)), 3, 3), _words),
        _pair("Embedding, a class per token, ignored ones", CROSS_ENTROPY, lambda: nn.Sequential(nn.Embedding(6, 3),
              nn.Tanh(), nn.Linear(3, 3), Plain(lambda x: x.transpose(1, 2))), lambda: _words(per_token=True)),
        _pair("tied weights, Embedding and decoder", NEXT_TOKEN, lambda: Tied(6, 3), _text),
        _pair("tied weights, batches of several lengths", NEXT_TOKEN, lambda: Tied(6, 3),
              lambda: [_text(length, n) for length, n in ((3, 4), (5, 4), (2, 3))]),
        _pair("tied weights, batches of six lengths", NEXT_TOKEN, lambda: Tied(6, 3),
              lambda: [_text(length, 3) for length in range(2, 8)],
              falls_back=("chunks come in 6 shapes", "chunks of more than 4 shapes")),
        _pair("tied weights, autoencoder", MSE, TiedLinear, lambda: _values(4, out=(4,))),
        _pair("RNN", SMOOTH_L1, lambda: recurrent(nn.RNN, 3, 2), lambda: _values(4, 2)),
        _pair("LSTM", CROSS_ENTROPY, lambda: recurrent(nn.LSTM, 3, 3), lambda: _classes(3, 2), gauss_newton=True),
        _pair("LSTM, both ways, projected", NLL, lambda: nn.Sequential(recurrent(nn.LSTM, 4, 3, bidirectional=True,
              proj_size=2), nn.LogSoftmax(1)), lambda: _classes(2, 2)),
        _pair("GRU", MSE, lambda: recurrent(nn.GRU, 3, 2), lambda: _values(3, 2)),
        _pair("GRU, two layers, dropout in eval", WEIGHTED, lambda: recurrent(nn.GRU, 3, 3, num_layers=2, dropout=0.3),
              lambda: _classes(2, 2)),
        _pair("GRU on packed sequences", HUBER, lambda: Of(nn.GRU(2, 3, batch_first=True), _packed, 3, 2),
              lambda: _values(4, 2), falls_back=("failed to unpack", "shapes depend on values")),
        _pair("MultiheadAttention", CROSS_ENTROPY, lambda: attention(weights=False), lambda: _classes(3, 4)),
        _pair("MultiheadAttention, with its weights", WEIGHTED, lambda: attention(weights=True, dropout=0.2),
              lambda: _classes(3, 4)),
        _pair("TransformerEncoderLayer", CROSS_ENTROPY, encoder, lambda: _classes(4, 3)),
        _pair("TransformerEncoderLayer, norm first, GELU", SMOOTHED, lambda: encoder(norm_first=True,
              activation="gelu"), lambda: _classes(4, 3)),
        _pair("SDPA", CROSS_ENTROPY, Attention, lambda: _classes(3, 4)),
        _pair("SDPA, causal", IGNORING, lambda: Attention(is_causal=True), lambda: _classes(3, 4)),
    ]  # fmt: skip


def _other_layers() -> list[Pair]:
    def old() -> nn.Module:
        return _mlp(Plain(OldCube.apply), nn.Tanh())  # pyright: ignore[reportArgumentType]

    return [
        _pair("states written in place", MSE, WrittenInPlace, lambda: _values(3)),
        _pair("FFT", CROSS_ENTROPY, lambda: nn.Sequential(nn.Linear(4, 4), Plain(_spectrum_of_signal),
              nn.Linear(3, 3)), lambda: _classes(4)),
        _pair("Linear, Tanh", MASKED, lambda: _mlp(nn.Tanh()), lambda: _classes(4), falls_back=MASK),
        _pair("a branch on values", CROSS_ENTROPY, Branching, lambda: _classes(4), falls_back=BRANCH),
        _pair("custom function without setup_context", CROSS_ENTROPY, old, lambda: _classes(4),
              falls_back=("setup_context", "torch.func needs setup_context")),
    ]  # fmt: skip


PAIRS = [*_dense_layers(), *_conv_layers(), *_norm_layers(), *_sequence_layers(), *_other_layers()]
BY_NAME = {pair.name: pair for pair in PAIRS}


# Pairs that are refused -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """What must not be measured: kind of error and a pattern of its line, which names the culprit."""

    name: str
    model: Callable[[], nn.Module]
    loss: Any
    data: Callable[[], Any]
    kind: type[LandscapeError]
    pattern: str
    options: dict[str, Any] = field(default_factory=lambda: {"chunk": CHUNK})


class Sampled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(torch.tanh(x), self.centres)


class Augmented(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.randn(4, dtype=DTYPE), torch.tensor(index % 3)


def _each(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none")


def _ctc(outputs: Tensor, targets: Tensor) -> Tensor:
    count, length = outputs.shape[:2]
    lengths = (torch.full((count,), length), torch.full((count,), targets.shape[1]))
    return functional.ctc_loss(outputs.log_softmax(2).transpose(0, 1), targets, *lengths)


def _ctc_data() -> tuple[Tensor, Tensor]:
    return _inputs(5, 4), torch.randint(1, 3, (SAMPLES, 2))


def _with_nan() -> tuple[Tensor, Tensor]:
    inputs, targets = _classes(4)
    inputs[7, 2] = torch.nan
    return inputs, targets


def _of_function(function: Any) -> nn.Module:
    return _mlp(Plain(function.apply), nn.Tanh())


def _refusals() -> list[Refusal]:
    def bags() -> nn.Module:
        return nn.Sequential(nn.EmbeddingBag(6, 3), nn.Tanh(), nn.Linear(3, 3))

    def padded() -> nn.Module:
        return Of(nn.Embedding(6, 3, padding_idx=0), lambda e, x: torch.sin(e(x).sum(1)), 3, 3)

    no_second, mixes = "no second derivative in torch.*", "let no layer mix samples"
    ce: Any = "cross_entropy"
    return [
        Refusal("dropout on", lambda: _mlp(Sampled(), nn.Tanh()), ce, lambda: _classes(4), NumericalError, "dropout"),
        Refusal("cdist", Distances, ce, lambda: _classes(4), InputError, no_second + "cdist"),
        Refusal("ctc_loss", lambda: nn.Linear(4, 3), _ctc, _ctc_data, InputError, no_second + "ctc_loss"),
        Refusal("flash-only attention", lambda: Attention(backend=SDPBackend.FLASH_ATTENTION), ce,
                lambda: _classes(3, 4), InputError, no_second + "flash_attention"),
        Refusal("custom function without double backward", lambda: _of_function(OnceCube), ce, lambda: _classes(4),
                LandscapeError, "second derivative is wrong|once_differentiable|OnceCube"),
        Refusal("custom function that saved a detached tensor", lambda: _of_function(DetachedCube), ce,
                lambda: _classes(4), NumericalError, "contradict the product by .* at "),
        Refusal("EmbeddingBag", bags, ce, _words, InputError, no_second + "embedding_bag"),
        Refusal("multi_margin_loss", lambda: _mlp(nn.Tanh()), functional.multi_margin_loss, lambda: _classes(4),
                InputError, no_second + "multi_margin_loss"),
        Refusal("checkpoint, reentrant", lambda: Checkpointed(reentrant=True), ce, lambda: _classes(4), InputError,
                "heckpoint"),
        Refusal("checkpoint, not reentrant", lambda: Checkpointed(reentrant=False), ce, lambda: _classes(4),
                LandscapeError, "heckpoint"),
        Refusal("Embedding, padding_idx, padding in the loss", padded, ce, _words, NumericalError,
                "contradict.*suspect: the embedding"),
        Refusal("param that the loss does not depend on", Unused, ce, lambda: _classes(4), InputError,
                r"spare\.weight has no part"),
        Refusal("no_grad inside the model", WithoutGradient, ce, lambda: _classes(4), LandscapeError,
                "contradict|features.weight"),
        Refusal("layer that mixes samples", lambda: _mlp(Plain(lambda x: x - x.mean(0)), nn.Tanh()), ce,
                lambda: _classes(4), NumericalError, mixes),
        Refusal("mean over counted rows as a plain mean", lambda: _mlp(nn.Tanh()), IGNORING.mean, lambda: _classes(4),
                NumericalError, mixes),
        Refusal("samples that are not finite", lambda: _mlp(nn.Tanh()), ce, _with_nan, NumericalError, "not finite"),
        Refusal("loss of each sample", lambda: _mlp(nn.Tanh()),
                _each, lambda: _classes(4), InputError,
                "must return a scalar tensor"),
        Refusal("batch statistics of one sample", lambda: _mlp(nn.BatchNorm1d(4)), ce, lambda: _classes(4), InputError,
                "one sample", options={"bn": "batch", "bn_batch": 6}),
        Refusal("augmentation in the Dataset", lambda: _mlp(nn.Tanh()), ce, Augmented, InputError, "augmentation"),
        Refusal("frozen model", lambda: _mlp(nn.Tanh()).requires_grad_(requires_grad=False), ce, lambda: _classes(4),
                InputError, "no trainable params"),
    ]  # fmt: skip


REFUSALS = _refusals()


# The truth and the measurement ----------------------------------------------------------------------------------------


def made(pair: Pair | Refusal) -> tuple[nn.Module, Any]:
    """Model and data of a pair, in float64, the same each time; torch's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = pair.model().to(DTYPE)
        data = pair.data()
        if isinstance(pair, Pair):
            _warm(pair, model, data)
    return model, data


def _warm(pair: Pair, model: nn.Module, data: Any) -> None:
    """Some Adam steps and a random move: neither an initialisation nor a minimum. Statistics fill on the way."""
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(12):
        optimizer.zero_grad()
        _loss(pair, model, data).backward()
        optimizer.step()
    model.zero_grad()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval()


def _loss(pair: Pair, model: nn.Module, data: Any) -> Tensor:
    if isinstance(data, tuple):
        return pair.loss.mean(model(data[0]), data[1])
    return pair.loss.mean(model, data)


class Truth:
    """Loss and gradient by plain torch: params written into a copy of the model, all samples at once."""

    def __init__(self, pair: Pair, model: nn.Module, data: Any) -> None:
        self.pair, self.data = pair, data
        self.model = copy.deepcopy(model).train(pair.options.get("bn") == "batch")
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.point = torch.cat([p.detach().reshape(-1) for p in self.parameters])

    def loss(self) -> Tensor:
        size = self.pair.options.get("bn_batch")
        if size is None:
            return _loss(self.pair, self.model, self.data)
        batches = list(zip(*(tensor.split(size) for tensor in self.data), strict=True))
        return torch.stack([_loss(self.pair, self.model, b) * len(b[0]) for b in batches]).sum() / len(self.data[0])

    def move(self, point: Tensor) -> None:
        """Takes the model to a point."""
        with torch.no_grad():
            for parameter, part in zip(self.parameters, point.split([p.numel() for p in self.parameters]), strict=True):
                parameter.copy_(part.view_as(parameter))

    def gradient(self, point: Tensor) -> Tensor:
        self.move(point)
        found = torch.autograd.grad(self.loss(), self.parameters)
        return torch.cat([part.reshape(-1) for part in found])

    def product(self, vector: Tensor, step: float) -> Tensor:
        """H v by a central difference of the gradient."""
        unit = vector / vector.norm()
        ahead, behind = (self.gradient(self.point + sign * step * unit) for sign in (1, -1))
        return (ahead - behind) / (2 * step) * vector.norm()

    def dense(self) -> Tensor:
        """H, column by column."""
        return torch.stack([self.product(e, STEPS[0]) for e in torch.eye(len(self.point), dtype=DTYPE)], dim=1)

    def gauss_newton(self) -> Tensor:
        """J' C J by differences of the outputs along each param, then of the loss's gradient along each column of J."""
        step, chunks = STEPS[0], []
        for inputs, targets in self._batches():
            outputs = self._outputs(self.point, inputs)
            columns = [
                (self._outputs(self.point + step * e, inputs) - self._outputs(self.point - step * e, inputs)) / 2 / step
                for e in torch.eye(len(self.point), dtype=DTYPE)
            ]
            bent = [self._bend(outputs, column, targets, step) for column in columns]
            jacobian = torch.stack([column.reshape(-1) for column in columns])
            chunks.append(jacobian @ torch.stack([b.reshape(-1) for b in bent]).T * len(inputs))
        return torch.stack(chunks).sum(0) / len(self.data[0])

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        size = self.pair.options.get("bn_batch", len(self.data[0]))
        return zip(*(tensor.split(size) for tensor in self.data), strict=True)

    def _outputs(self, point: Tensor, inputs: Tensor) -> Tensor:
        self.move(point)
        return self.model(inputs).detach()

    def _bend(self, outputs: Tensor, column: Tensor, targets: Tensor, step: float) -> Tensor:
        def gradient(at: Tensor) -> Tensor:
            at = at.requires_grad_()
            return torch.autograd.grad(self.pair.loss.mean(at, targets), at)[0]

        return (gradient(outputs + step * column) - gradient(outputs - step * column)) / 2 / step


@dataclass(frozen=True)
class Outcome:
    """What one pair came to. Errors are relative; `linearize` is empty where it ran, else why it did not."""

    params: int
    chunks: int
    steps: float  # between the two finite differences
    error: float  # of the product by double backward against them, and of the dense matrix where n allows
    dense: bool
    linearize: str
    fast: float  # of the fast product, or of that of `auto` where it fell back, against double backward
    path: str  # that `auto` took where linearize fell back
    verdict: str
    reason: str
    gauss_newton: float | None


def relative(found: Tensor, truth: Tensor) -> float:
    """|found - truth| / |truth|."""
    return float((found - truth).norm() / truth.norm())


def direction(size: int, seed: int = 3) -> Tensor:
    """A random vector (n,)."""
    return torch.randn(size, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))


def objective_of(pair: Pair | Refusal) -> Objective:
    """The objective of a pair."""
    model, data = made(pair)
    loss = pair.loss.given if isinstance(pair, Pair) else pair.loss
    return Objective(model, loss, data, dtype=DTYPE, **pair.options)


@contextmanager
def tracing_always() -> Iterator[None]:
    """`auto` tries linearize however cheap a product is, and takes it whatever the clock says of the two."""
    before = choice.WORTH_TRACING, choice.PREFERENCE
    choice.WORTH_TRACING, choice.PREFERENCE = 0.0, 0.0
    try:
        yield
    finally:
        choice.WORTH_TRACING, choice.PREFERENCE = before


@cache
def measured(name: str) -> Outcome:
    """Runs one pair, once a session."""
    pair = BY_NAME[name]
    model, data = made(pair)
    truth = Truth(pair, model, data)
    objective = objective_of(pair)
    double = Hessian(objective, hvp="double")
    v = direction(double.size)
    product = double.matvec(v)
    slopes = [truth.product(v, step) for step in STEPS]
    error = max(relative(product, slope) for slope in slopes)
    dense = double.size <= DENSE
    if dense:
        error = max(error, relative(double.dense(), truth.dense()))
    linearize, fast, path = _fast_path(objective, v, product)
    check = double.self_check(0)
    return Outcome(
        params=double.size,
        chunks=double.report()["chunks"],
        steps=relative(*slopes),
        error=error,
        dense=dense,
        linearize=linearize,
        fast=fast,
        path=path,
        verdict=check["verdict"],
        reason=check.get("reason", ""),
        gauss_newton=_gauss_newton(objective, truth) if pair.gauss_newton else None,
    )


def _fast_path(objective: Objective, v: Tensor, product: Tensor) -> tuple[str, float, str]:
    fast = Hessian(objective, hvp="linearize")
    try:
        return "", relative(fast.matvec(v), product), fast.report()["path"]
    except (InputError, NumericalError) as error:
        with tracing_always():
            auto = Hessian(objective)
            return str(error), relative(auto.matvec(v), product), auto.report()["path"]


def _gauss_newton(objective: Objective, truth: Truth) -> float:
    found = [GaussNewton(objective, hvp=path).dense() for path in ("double", "linearize")]
    wanted = truth.gauss_newton()
    return max(relative(matrix, wanted) for matrix in found)


@cache
def refused(name: str) -> tuple[type[Exception], str]:
    """Kind and line of what measuring a pair that must be refused raises."""
    (refusal,) = (r for r in REFUSALS if r.name == name)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, on checkpointing
            torch.manual_seed(0)  # dropout and augmentation draw from it
            top_eigenpairs(Hessian(objective_of(refusal)), 2)
    except Exception as error:
        return type(error), str(error)
    raise AssertionError(f"{name} was measured")
