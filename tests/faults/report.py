"""docs/reliability.md: what the campaigns came to."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import h5py

from .table import CAMPAIGNS

ROOT = Path(__file__).resolve().parent.parent.parent
SUBJECTS = {"store": "the store", "slices": "slices", "training": "training"}
SHOWN = 20  # failures of a campaign that are written out
PAGE = """\
# Reliability of {subject}

Written by `make campaign-{group}`; do not edit.

{date}, commit {commit}. {versions}.

Again: `{call}`. A single campaign: `--only NAME`, with `--size` and `--seed` as in its row.

| campaign | what was done | n | failures | seed | seconds |
|---|---|---|---|---|---|
{rows}

{failed}What counts as a failure:

{criteria}
"""


def write(path, rows, asked):
    """The page, from the rows of the campaigns."""
    failed = [line for row in rows for line in _failed(row)]
    text = PAGE.format(
        group=asked.group,
        subject=SUBJECTS[asked.group],
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        versions=_versions(),
        call=_call(asked),
        rows="\n".join(map(_row, rows)),
        failed="Failures:\n\n" + "\n".join(failed) + "\n\n" if failed else "",
        criteria="\n".join(f"- **{row['campaign']}**: {CAMPAIGNS[row['campaign']].failure}." for row in rows),
    )
    path.write_text(text, encoding="utf-8")


def _row(row):
    what = CAMPAIGNS[row["campaign"]].what + (f" ({row['note']})" if row["note"] else "")
    cells = [row["campaign"], what, row["n"], len(row["failures"]), row["seed"], f"{row['seconds']:.0f}"]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _failed(row):
    lines = [f"- {row['campaign']}, {line}" for line in row["failures"][:SHOWN]]
    more = len(row["failures"]) - SHOWN
    return [*lines, f"- {row['campaign']}: {more} more"] if more > 0 else lines


def _call(asked):
    words = ["python tests/faults"]
    words += ["--full"] * asked.full + [f"--share {asked.share:g}"] * (asked.share != 1.0)
    words += [f"--group {asked.group}"] * (asked.group != "store")
    words += [f"--seed {asked.seed}"] + [f"--size {asked.size}"] * bool(asked.size)
    return " ".join([*words, *(["--only", *asked.only] if asked.only else [])])


def _commit():
    """The short hash; `+ changes` where the sources differ from it. The page itself does not count."""
    commit = _git("rev-parse", "--short", "HEAD")
    return commit + (" + changes" if _git("status", "--porcelain", "--", ".", ":!docs/reliability*.md") else "")


def _git(*words):
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _versions():
    hdf5, system = h5py.version.hdf5_version, f"{platform.system()} {platform.release()}"
    packages = [f"{name} {metadata.version(name)}" for name in ("h5py", "torch", "numpy", "filelock")]
    return ", ".join([f"Python {platform.python_version()}", f"HDF5 {hdf5}", *packages, system])
