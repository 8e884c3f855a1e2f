"""A little of each fault campaign, and faults put in on purpose, which the campaigns must notice."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults.main import options
from faults.report import write
from faults.resumed import differences
from faults.table import CAMPAIGNS
from kinds import plane

from landscape.results import Status
from landscape.store import Store

FAULTS = Path(__file__).with_name("faults")
# They end by themselves; on busy cores each process that they kill takes seconds to begin.
LIMIT = 500
pytestmark = pytest.mark.timeout(LIMIT + 20)
SLOW = ["killed-planes", "killed-slices", "killed-eigen", "killed-training", "failing-calls", "salvaged-files"]


def start(*arguments):
    """The campaigns in a process of their own: here torch is loaded, and a fork would have its threads missing."""
    call = [sys.executable, str(FAULTS), *arguments]
    return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode in (0, 1), (process.returncode, err)
    return json.loads(out)


@pytest.fixture(scope="module", autouse=True)
def slow():
    """Those that take longest, begun with the first test."""
    process = start("--json", "--only", *SLOW)
    yield process
    process.terminate()
    process.communicate()


@pytest.mark.parametrize("name", [name for name in CAMPAIGNS if name not in SLOW])
def test_a_campaign_has_no_failures(name):
    row = finished(start("--alone", "--only", name))
    assert row["failures"] == []
    assert row["n"] >= CAMPAIGNS[name].small


PLANTED = [
    ("in-place", "killed-writers", 40),
    ("in-place", "reader-and-writer", 40),
    ("in-place", "full-disk", 3),
    ("no-sweep", "killed-writers", 40),
    ("lock-file", "dead-locks", 1),
    ("no-lock", "two-commands", 4),
    ("no-checks", "mutated-files", 240),
    ("follows-links", "links", 16),
    ("swallows", "failing-calls", 16),
    ("forgets", "killed-training", 12),
]


@pytest.mark.parametrize(("plant", "name", "size"), PLANTED)
def test_a_fault_that_was_put_in_is_noticed(plant, name, size):
    row = finished(start("--alone", "--only", name, "--size", str(size), "--plant", plant))
    assert row["failures"]


def test_a_bit_that_differs_after_a_resume_is_noticed(tmp_path):
    whole = plane(status=Status.COMPLETE)
    loss = whole.loss.copy()
    loss.view(np.uint64)[1, 2] ^= 1
    for name, result in (("whole", whole), ("same", whole), ("other", dataclasses.replace(whole, loss=loss))):
        Store(tmp_path / f"{name}.h5").add("net", result)
    assert differences(tmp_path / "same.h5", tmp_path / "whole.h5") == []
    (line,) = differences(tmp_path / "other.h5", tmp_path / "whole.h5")
    assert "loss" in line or "last places" in line


def test_the_page_has_a_row_for_each_campaign(tmp_path):
    known = {"n": 5, "note": "two hit", "seed": 3, "seconds": 1.25}
    rows = [{"campaign": name, "failures": [], **known} for name in CAMPAIGNS]
    rows[0]["failures"] = ["seed 3, trial 1: torn"]
    write(tmp_path / "page.md", rows, options(["--full", "--seed", "3"]))
    text = (tmp_path / "page.md").read_text()
    assert all(f"\n| {name} | " in text for name in CAMPAIGNS)
    assert f"- {next(iter(CAMPAIGNS))}, seed 3, trial 1: torn\n" in text
    assert "`python tests/faults --full --seed 3`" in text


def test_the_slow_campaigns_have_no_failures(slow):
    rows = finished(slow)
    assert {row["campaign"]: row["failures"] for row in rows} == {name: [] for name in SLOW}
