"""Problems with known answers: networks whose layers are written out a second time in plain arithmetic.

`torch.func.hessian` is right for plain arithmetic and silently wrong for some fused layers (LayerNorm, BatchNorm):
so the truth is the Hessian of the plain twin, which shares no kernel with the network that is tested.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian

from landscape import Objective
from landscape.vectors import layout_of

DTYPE = torch.float64


class PlainLayerNorm(nn.LayerNorm):
    """LayerNorm over the last axis in plain arithmetic."""

    def forward(self, input: Tensor) -> Tensor:
        centred = input - input.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return scaled * self.weight + self.bias


class PlainBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d in plain arithmetic; with `batch_statistics` those of the batch."""

    batch_statistics = False

    def forward(self, input: Tensor) -> Tensor:
        if self.batch_statistics:
            mean = input.mean((0, 2, 3))
            variance = (input - mean[:, None, None]).square().mean((0, 2, 3))
        else:
            assert self.running_mean is not None
            assert self.running_var is not None
            mean, variance = self.running_mean, self.running_var
        shaped = [t[:, None, None] for t in (mean, variance, self.weight, self.bias)]
        return (input - shaped[0]) / (shaped[1] + self.eps).sqrt() * shaped[2] + shaped[3]


class PlainBatchStatistics(PlainBatchNorm):
    batch_statistics = True


@dataclass(frozen=True)
class Problem:
    """A network, its plain twin with the same names of params, and data."""

    name: str
    model: nn.Module
    twin: nn.Module
    inputs: Tensor
    targets: Tensor
    bn: str = "eval"

    def objective(self, **options) -> Objective:
        return Objective(self.model, "cross_entropy", (self.inputs, self.targets), dtype=DTYPE, bn=self.bn, **options)

    def loss_of_vector(self) -> Callable[[Tensor], Tensor]:
        layout = layout_of(self.model)
        buffers = dict(self.model.named_buffers())

        def loss(vector: Tensor) -> Tensor:
            outputs = functional_call(self.twin, {**layout.named(vector), **buffers}, (self.inputs,))
            return nn.functional.cross_entropy(outputs, self.targets)

        return loss

    def dense_hessian(self) -> Tensor:
        """The Hessian (n, n) of the mean loss over all samples at once, from the plain twin."""
        point = torch.cat([p.detach().reshape(-1) for p in self.model.parameters()])
        matrix = hessian(self.loss_of_vector())(point)
        assert isinstance(matrix, Tensor)
        return matrix


def _warm(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    """Some Adam steps, so that the point is neither an initialisation nor a minimum; buffers fill on the way."""
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.zero_grad()
    model.eval()


def problem(name: str) -> Problem:
    """One of `PROBLEMS`, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        if name == "tanh-mlp":
            inputs, targets = torch.randn(50, 6, dtype=DTYPE), torch.randint(0, 3, (50,))
            model = twin = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(DTYPE)
        elif name == "layer-norm-mlp":
            inputs, targets = torch.randn(50, 6, dtype=DTYPE), torch.randint(0, 3, (50,))
            model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).to(DTYPE)
            twin = nn.Sequential(nn.Linear(6, 8), PlainLayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).to(DTYPE)
        else:
            inputs, targets = torch.randn(40, 1, 6, 6, dtype=DTYPE), torch.randint(0, 3, (40,))
            kind = PlainBatchStatistics if name == "batch-norm-cnn-batch" else PlainBatchNorm
            model, twin = _cnn(nn.BatchNorm2d(3)), _cnn(kind(3))
        _warm(model, inputs, targets)
    bn = "batch" if name.endswith("-batch") else "eval"
    return Problem(name, model, twin, inputs, targets, bn)


def _cnn(norm: nn.Module) -> nn.Module:
    layers = [nn.Conv2d(1, 3, 3), norm, nn.Softplus(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)]
    return nn.Sequential(*layers).to(DTYPE)


PROBLEMS = ("tanh-mlp", "layer-norm-mlp", "batch-norm-cnn")


class Quadratic(nn.Module):
    """Outputs w, so that a loss of (outputs, targets) can be any function of the params."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(start.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.w.expand(len(inputs), -1)


def quadratic(matrix: Tensor, start: Tensor, samples: int = 5, **options) -> Objective:
    """L(w) = w'Aw / 2, the same for every sample."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs @ matrix) * outputs).sum(1).mean() / 2

    data = (torch.zeros(samples, 1, dtype=DTYPE), torch.zeros(samples, dtype=DTYPE))
    return Objective(Quadratic(start), loss, data, dtype=DTYPE, **options)
