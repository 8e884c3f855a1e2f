"""Runs the campaigns, each in a process of its own, and writes what they come to."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from .common import PLANT, Child, Count, Enough, Failures
from .planted import PLANTS
from .report import write
from .table import CAMPAIGNS


def main(arguments=None):
    """0 without failures, 1 with some."""
    asked = options(arguments)
    signal.signal(signal.SIGTERM, _leave)  # not the default, which would leave processes and folders behind
    if asked.alone:
        print(json.dumps(alone(asked.only[0], asked.size, asked.seed, asked.plant)))
        return 0
    rows = []
    for name in asked.only or [name for name in CAMPAIGNS if CAMPAIGNS[name].group == asked.group]:
        campaign = CAMPAIGNS[name]
        size = asked.size or max(1, round(campaign.full * asked.share) if asked.full else campaign.small)
        print(f"{name}: {size} ...", end=" ", file=sys.stderr, flush=True)
        row = _apart(name, size, asked.seed)
        print(f"{len(row['failures'])} failures of {row['n']}, {row['seconds']:.0f} s", file=sys.stderr, flush=True)
        for line in row["failures"][:20]:
            print(f"  {line}", file=sys.stderr)
        rows.append({**row, "campaign": name, "seed": asked.seed})
    if asked.json:
        print(json.dumps(rows))
    if asked.write:
        write(Path(asked.write), rows, asked)
    return int(any(row["failures"] for row in rows))


def options(arguments=None):
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="tests/faults", description="Fault campaigns.")
    parser.add_argument("--full", action="store_true", help="full sizes, not those of the tests")
    parser.add_argument("--share", type=float, default=1.0, help="of the full sizes")
    parser.add_argument("--group", choices=("store", "slices", "training"), default="store", help="of campaigns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=CAMPAIGNS, metavar="NAME", help=", ".join(CAMPAIGNS))
    parser.add_argument("--size", type=int, help="of each campaign")
    parser.add_argument("--write", metavar="FILE.md", help="where the table goes")
    parser.add_argument("--json", action="store_true", help="the counts, on stdout")
    parser.add_argument("--plant", choices=PLANTS, help="a fault to put in first, with --alone")
    parser.add_argument("--alone", action="store_true", help="one campaign in this process; its count as JSON")
    return parser.parse_args(arguments)


def alone(name, size, seed, plant=None):
    """One campaign in this process: its count and seconds."""
    campaign = CAMPAIGNS[name]
    if plant:
        PLANTS[plant]()
        os.environ[PLANT] = plant
        Failures.one = True  # whether it is noticed is all that is asked
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        try:
            count = campaign.run(size or campaign.small, seed, Path(folder).resolve())
        except Enough as enough:
            count = Count(name, 0, [str(enough)])
        finally:
            for pid in list(Child.living):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    return asdict(count) | {"seconds": time.perf_counter() - began}


def _apart(name, size, seed):
    """The same in a process of its own: some campaigns import torch, which others must not have."""
    call = [sys.executable, str(Path(__file__).parent), "--alone", "--only", name, "--size", str(size)]
    process = subprocess.Popen([*call, "--seed", str(seed)], stdout=subprocess.PIPE, text=True)
    try:
        out, _ = process.communicate()
    finally:
        process.terminate()
        process.wait()
    if process.returncode == 0:
        return json.loads(out)
    return {
        "name": name,
        "n": 0,
        "failures": [f"the campaign ended with {process.returncode}"],
        "note": "",
        "seconds": 0,
    }


def _leave(number, _frame):
    sys.exit(128 + number)
