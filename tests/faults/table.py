"""The campaigns: what each does, how often, and what counts as a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import calls, damaged, disk, killed, links, listed, resumed, together, trained
from .common import HANG, Count


@dataclass(frozen=True)
class Campaign:
    """One campaign. `full` and `small` are its sizes: of `make campaign-store`, and of the tests."""

    run: Callable[[int, int, Path], Count]
    full: int
    small: int
    what: str
    failure: str
    group: str = "store"  # of which page it is


CAMPAIGNS = {
    "killed-writers": Campaign(
        killed.killed_writers,
        300,
        12,
        "`kill -9` of a process that adds results of all kinds to a file, at a random time",
        "the file is refused; an entry is not, bit for bit, one that was being added, or is older than one whose "
        "adding had returned; after the next write a temporary is there",
    ),
    "killed-planes": Campaign(
        resumed.killed_planes,
        100,
        2,
        "`kill -9` of `landscape plane --out --resume` at a random time, then gone on with",
        "the file is refused or holds fewer points than before; going on does not end with exit code 0; the result "
        "differs from an uninterrupted one in digest or in a bit of a field; a temporary is left",
    ),
    "killed-slices": Campaign(
        resumed.killed_slices,
        50,
        3,
        "`kill -9` of adaptive planes, of lines by layer, aligned or with re-estimated batch norm, of curves in "
        "training and of comparisons, at a random time, then gone on with by `--resume`",
        "the file is refused or holds fewer points than before; going on does not end with exit code 0; the result "
        "differs from an uninterrupted one in digest or in a bit of a field; a temporary is left",
        group="slices",
    ),
    "killed-eigen": Campaign(
        resumed.killed_eigen,
        20,
        1,
        "`kill -9` of `landscape eigen --out --resume` at a random time, then gone on with",
        "as above, in the fields that do not tell how the run went; or a journal or its lock is left",
    ),
    "killed-training": Campaign(
        trained.killed_training,
        200,
        20,
        "`kill -9` of training at a random update, or at a random time, in each regime in turn; then gone on with",
        "going on is refused; a state is older than the one before; the tensors, what was kept or a row of the logs "
        "differ by a bit from an uninterrupted run; a temporary is left",
        group="training",
    ),
    "full-disk": Campaign(
        disk.full_disk,
        50,
        5,
        "`landscape merge` into a file that exists, with RLIMIT_FSIZE from 0 to beyond what is needed",
        "another exit code than 5 where it does not fit and 0 where it does; more or less than one line on stderr; "
        "where it does not fit the old file changed by a bit, where it does a result missing; a temporary is left",
    ),
    "failing-calls": Campaign(
        calls.failing_calls,
        2000,  # more than there are
        24,
        "open, write, close, fsync or rename failing: each call in turn, by EIO, ENOSPC, EACCES, or it and all after",
        "another exit code than 5, or more or less than one line (a failing lock or journal may be got over); a file "
        "that is not the old one, nor whole and no older than the last rename; a temporary, unless removing it "
        "failed; the same command again not ending as it does on a sound disk",
    ),
    "two-commands": Campaign(
        together.two_commands,
        100,
        8,
        "two processes that write one file at once: `landscape merge` or `Store.add`",
        "one of them fails; a result of either, or of before, is missing or not whole; a temporary is left",
    ),
    "reader-and-writer": Campaign(
        together.reader_and_writer,
        500,
        40,
        "writes, while another process reads all entries over and over",
        "a read is refused; an entry is not, bit for bit, one that was written, or is older than in the read before",
    ),
    "dead-locks": Campaign(
        killed.locks_of_the_dead,
        20,
        3,
        "`kill -9` of a process that holds the lock, then a write by another",
        f"it takes more than {killed.FREED:.0f} s; a result is missing or not whole; a temporary is left",
    ),
    "mutated-files": Campaign(
        damaged.mutated,
        2000,
        24,
        "`landscape show` of files with 1, 8 or 64 bytes or 1 bit of a value changed, cut, or with a part copied over "
        "another; half under the checksum, a quarter without it, a quarter without it in HDF5's old format",
        f"another exit code than 0 and 3; more or less than one line; a signal; more than {HANG:.0f} s; an entry that "
        "is read and is not, bit for bit, the one that was written, with its digest and its origin",
    ),
    "salvaged-files": Campaign(
        damaged.salvaged,
        200,
        8,
        "`landscape merge --salvage` of such files",
        "another exit code than 0 and 3; a signal; more than 300 s; a result in the new file that is not, bit for bit, "
        "the one that was written; a temporary is left",
    ),
    "links": Campaign(
        links.links,
        144,
        16,
        "external and soft links, external storage and virtual data sets at root, label and result, to a named pipe",
        "another exit code than 3; a line that does not say so; the pipe is opened; something is written",
    ),
    "listing": Campaign(
        listed.listing,
        100,
        24,
        "results in a file that is opened, listed and read, in a fresh process",
        "torch is imported; a result is missing",
    ),
}
