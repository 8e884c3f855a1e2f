"""Peak memory and time of our products over the number of samples, each number of samples in a process of its own.

With a fixed budget for what is kept, memory beyond the data is flat once the budget is spent; with nothing kept time
is linear too. The data are noise of MNIST's shape: neither depends on what they show.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import measure
import torch
from models import MNIST, mlp, random_images

from landscape import Hessian, Objective

BUDGETS = (0, 200_000_000)  # bytes
SAMPLES = (1000, 5000, 20_000, 60_000)
PRODUCTS = 3
COLUMNS = {
    "budget": "budget MB:.0f",
    "samples": "samples:,d",
    "data": "data MB:.0f",
    "peak": "peak MB:.0f",
    "beyond": "peak beyond data MB:.0f",
    "kept": "kept MB:.0f",
    "chunks": "chunks kept",
    "seconds": "seconds:.3f",
    "per_sample": "us / sample:.2f",
}


def peak() -> float:
    """Largest resident size of this process so far, MB. On Linux without what it inherited from its parent."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measured(budget: int, samples: int) -> dict[str, Any]:
    """The row of one budget and number of samples, in this process."""
    inputs, targets = random_images(MNIST, samples)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp()
    operator = Hessian(Objective(model, "cross_entropy", (inputs, targets)), memory=budget)
    vector = torch.randn(operator.size, generator=torch.Generator().manual_seed(1))
    operator.matvec(vector)
    times = measure.in_turn({"product": lambda: operator.matvec(vector)}, PRODUCTS)
    report = operator.report()
    data = (inputs.nbytes + targets.nbytes) / 1e6
    return {
        "budget": budget / 1e6,
        "samples": samples,
        "data": data,
        "peak": peak(),
        "beyond": peak() - data,
        "kept": report["kept_bytes"] / 1e6,
        "chunks": f"{report['kept_chunks']} of {report['chunks']}",
        "seconds": times["product"],
        "per_sample": times["product"] / samples * 1e6,
    }


def memory_table() -> list[dict[str, Any]]:
    """A row for each budget and number of samples."""
    rows = []
    for budget, samples in itertools.product(BUDGETS, SAMPLES):
        command = [sys.executable, __file__, str(budget), str(samples)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append(json.loads(output.splitlines()[-1]))
    return rows


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), int(sys.argv[2]))))
