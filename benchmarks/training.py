"""Training side by side in one run: samples per second against a plain PyTorch DataLoader loop.

Usage: python benchmarks/training.py [--epochs N]

The same network, batches of the same size and the same optimiser; ours also measures the whole of both splits after
each epoch, which is left out of its clock. The last column is the bound: forward, backward and the fused step of torch
on one batch that stays where it is, all that is not arithmetic left out.
"""

from __future__ import annotations

import argparse
import functools
import time

import measure
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from landscape import Recipe, build_model, load_data, train
from landscape.data import Samples, Splits

ROUNDS = 5
BATCH_SIZES = (16, 144)


@functools.cache
def data_of(spec: str) -> Splits:
    """The data, read once."""
    return load_data(spec)


def block_of(samples: Samples) -> tuple[Tensor, Tensor]:
    """Inputs and targets."""
    block = samples.blocks[0]
    assert not isinstance(block, dict)
    return block


def plain_loop(recipe: Recipe, device: str = "cpu", workers: int = 0) -> float:
    """Seconds of the loop that everyone writes."""
    splits = data_of(recipe.data)
    model = build_model(recipe.model, recipe.model_args, splits, recipe.seed).to(device)
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum)
    pinned = device != "cpu"
    data = TensorDataset(*block_of(splits.train.first(recipe.train_samples)))
    loader = DataLoader(data, int(recipe.batch_size), shuffle=True, num_workers=workers, pin_memory=pinned)
    measure.synchronise()
    began = time.perf_counter()
    for _ in range(int(recipe.epochs or 0)):
        for inputs, targets in loader:
            inputs, targets = inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    measure.synchronise()
    return time.perf_counter() - began


def ours(recipe: Recipe, device: str = "cpu") -> float:
    """Seconds of our updates."""
    return float(train(recipe, data_of(recipe.data), device=device).log.seconds[-1])


def arithmetic(recipe: Recipe) -> float:
    """Seconds of forward, backward and step alone, for as many batches."""
    splits = data_of(recipe.data)
    model = build_model(recipe.model, recipe.model_args, splits, recipe.seed)
    params = list(model.parameters())
    values, velocity = [p.detach() for p in params], [torch.zeros_like(p) for p in params]
    size = int(recipe.batch_size)
    inputs, targets = (tensor[:size].clone() for tensor in block_of(splits.train))
    began = time.perf_counter()
    for _ in range(int(recipe.epochs or 0) * -(-len(splits.train) // size)):
        gradients = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), targets), params)
        torch._fused_sgd_(  # pyright: ignore[reportPrivateImportUsage]
            values, gradients, velocity, weight_decay=0.0, momentum=recipe.momentum, lr=1e-3, dampening=0.0,
            nesterov=False, maximize=False, is_first_step=False,
        )  # fmt: skip
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    threads = torch.get_num_threads()
    print(
        f"torch {torch.__version__}, {threads} threads, mlp 64-128-128-10 on digits, {epochs} epochs, {ROUNDS} rounds"
    )
    rows = []
    for batch_size in BATCH_SIZES:
        recipe = Recipe(batch_size=batch_size, epochs=epochs)
        times: dict[str, list[float]] = {"loop": [], "ours": [], "bound": []}
        ours(recipe)
        for _ in range(ROUNDS):
            times["loop"].append(plain_loop(recipe))
            times["ours"].append(ours(recipe))
            times["bound"].append(arithmetic(recipe))
        middle = {name: sorted(found)[ROUNDS // 2] for name, found in times.items()}
        updates = epochs * -(-len(data_of("digits").train) // batch_size)
        rows.append(
            {
                "batch": batch_size,
                **{name: seconds / updates * 1e6 for name, seconds in middle.items()},
                "ratio": middle["loop"] / middle["ours"],
                "most": middle["loop"] / middle["bound"],
            }
        )
    heads = {"batch": "batch", "loop": "loop, us an update:.0f", "ours": "ours:.0f", "bound": "arithmetic alone:.0f"}
    print(measure.table(rows, {**heads, "ratio": "loop / ours:.2f", "most": "loop / arithmetic:.2f"}))


if __name__ == "__main__":
    main()
