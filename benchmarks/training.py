"""Training side by side in one run: samples per second against a plain PyTorch DataLoader loop.

Usage: python benchmarks/training.py [--epochs N]. The same network, batches of the same size and the same optimiser;
ours also measures the whole of both splits after each epoch, which is left out of its clock as of the loop's.
"""

import argparse
import statistics
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from landscape import Recipe, build_model, load_data, train

ROUNDS = 3
BATCH_SIZES = (16, 144)


def plain_loop(recipe: Recipe) -> float:
    """Seconds of the loop that everyone writes."""
    splits = load_data(recipe.data)
    model = build_model(recipe.model, recipe.model_args, splits, recipe.seed)
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum)
    loader = DataLoader(TensorDataset(*splits.train.blocks[0]), recipe.batch_size, shuffle=True)
    began = time.perf_counter()
    for _ in range(recipe.epochs or 0):
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return time.perf_counter() - began


def ours(recipe: Recipe) -> float:
    """Seconds of our updates."""
    return float(train(recipe, load_data(recipe.data)).log.seconds[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, mlp 64-128-128-10 on digits, {epochs} epochs")
    for batch_size in BATCH_SIZES:
        recipe = Recipe(batch_size=batch_size, epochs=epochs)
        ours(recipe)
        ratios = [plain_loop(recipe) / ours(recipe) for _ in range(ROUNDS)]
        print(f"batch {batch_size:>4}: {statistics.median(ratios):.2f} x the samples per second of the DataLoader loop")


if __name__ == "__main__":
    main()
