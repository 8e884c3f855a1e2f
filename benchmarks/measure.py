"""What the benchmarks share: works timed in turn, tables as text, and a record of where the numbers come from."""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "curvlinops-for-pytorch",
    "hessian-eigenthings",
    "PyHessian",
    "loss-landscapes",
)

Work = Callable[[], object]


def seconds(work: Work) -> float:
    """Wall time of one call, the GPU's own work included."""
    synchronise()
    began = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - began


def synchronise() -> None:
    """Waits for the GPU where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turn(works: Mapping[str, Work], rounds: int, *, warm: bool = True) -> dict[str, float]:
    """Median seconds of each work over rounds in which all have their turn, so that drift hits all alike.

    Each round begins with another of them. With `warm` a work's turn is two calls, of which the second is timed: a
    solver makes its products one after the other, not each after another tool's has emptied the caches.
    """
    names = list(works)
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            if warm:
                works[name]()
            times[name].append(seconds(works[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def fastest(make: Callable[[int], Work], chunks: Sequence[int]) -> int:
    """The chunk size whose work is the fastest: the best of two runs each, after one to warm up."""
    times = {}
    for chunk in chunks:
        work = make(chunk)
        work()
        times[chunk] = min(seconds(work) for _ in range(2))
    return min(times, key=lambda chunk: times[chunk])


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Rows as aligned text. `columns`: the heading of each key and, after a colon, its format."""
    heads = [column.partition(":")[0] for column in columns.values()]
    formats = [column.partition(":")[2] for column in columns.values()]
    cells = [[_cell(row.get(key), spec) for key, spec in zip(columns, formats, strict=True)] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *cells]]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any, spec: str) -> str:
    if value is None:
        return "-"
    return format(value, spec) if isinstance(value, (int, float)) else str(value)


def circumstances() -> dict[str, Any]:
    """Versions, threads, device, command and date of this run."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    versions["torch"] = torch.__version__
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": versions,
    }


def write(folder: str | None, name: str, results: Mapping[str, Any]) -> None:
    """The numbers and their circumstances as one JSON file in `folder`; nothing without one."""
    if folder is None:
        return
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"circumstances": circumstances(), **results}, indent=1)
    (place / name).write_text(text + "\n", encoding="utf-8")
