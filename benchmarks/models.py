"""The networks of the benchmarks, each moved by a few dozen updates from its start, so not at a minimum either."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import build_model
from landscape.data import Splits, samples_of

MNIST, CIFAR10 = (1, 28, 28), (3, 32, 32)
UPDATES, BATCH, MOMENTUM = 60, 64, 0.9


def mlp() -> nn.Module:
    """784-512-512-10, ReLU; 669,706 params."""
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def cnn() -> nn.Module:
    """The library's own: two convolutions with pooling and two dense layers; 105,866 params."""
    targets = torch.arange(10)
    return build_model("cnn", {}, Splits(samples_of((torch.zeros(10, *MNIST), targets)), None), torch.initial_seed())


class Block(nn.Module):
    """Two convolutions with batch norm, and a shortcut without params (He et al. 2016, option A)."""

    def __init__(self, planes: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.stride, self.missing = stride, width - planes

    def forward(self, inputs: Tensor) -> Tensor:
        """Where the width grows, the shortcut is every second pixel, with channels of zeros on both sides."""
        outputs = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(inputs)))))
        if self.missing:
            half = self.missing // 2
            inputs = functional.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return functional.relu(inputs + outputs)


def resnet20() -> nn.Module:
    """ResNet-20 for CIFAR-10 (He et al. 2016, section 4.2); 269,722 params."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    planes = 16
    for width in (16, 32, 64):
        for index in range(3):
            layers.append(Block(planes, width, 2 if index == 0 and width > 16 else 1))
            planes = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Transformer(nn.Module):
    """Four encoder layers over the 28 rows of an image, the mean of their outputs classified; 204,234 params."""

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(28, width)
        self.position = nn.Parameter(0.02 * torch.randn(28, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.classify = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 28, 28)."""
        return self.classify(self.encoder(self.embed(images.squeeze(1)) + self.position).mean(1))


# Each network: its data, what makes it, the step size of its few updates.
NETWORKS = {
    "mlp": ("mnist", mlp, 0.02),
    "cnn": ("mnist", cnn, 0.02),
    "resnet20": ("cifar10", resnet20, 0.05),
    "transformer": ("mnist", Transformer, 0.02),
}


def trained(name: str, data: tuple[Tensor, Tensor], seed: int = 0, updates: int = UPDATES) -> nn.Module:
    """A network after `updates` steps of SGD on random batches of `data`, in eval mode; the same for the same seed."""
    inputs, targets = data
    _, make, step_size = NETWORKS[name]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make().train()
        optimizer = torch.optim.SGD(model.parameters(), step_size, MOMENTUM)
        for _ in range(updates):
            chosen = torch.randint(len(inputs), (min(BATCH, len(inputs)),), generator=generator)
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
            optimizer.step()
    model.zero_grad()
    return model.eval()


def random_images(shape: tuple[int, ...], count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise and labels in the shape of image data, for machines that hold none."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator), torch.randint(10, (count,), generator=generator)
