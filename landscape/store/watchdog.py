"""A process that looks through a file before this one does.

Damaged HDF5 can make the library loop for ever or crash, inside C, where no signal handler and no exception reaches.
A file under its seal holds what a store wrote; one without was last written by another program, and may hold anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from ..errors import InputError, one_line
from .seal import ForeignError

SECONDS = 20.0  # to look through a file: reading a store takes less than one
REFUSED, FOREIGN = 3, 4
_passed: set[str] = set()  # sha256 of what this process had examined already


def examined(content: bytes, path: Path) -> None:
    """Has a process of its own read all of it; InputError where that fails, crashes or does not end."""
    key = hashlib.sha256(content).hexdigest()
    if key in _passed:
        return
    ended, _, told = _run("look", content, path)
    if ended in (REFUSED, FOREIGN):
        raise (ForeignError if ended == FOREIGN else InputError)(told)
    if ended is None:
        raise InputError(f"{path} is damaged: reading it did not end in {SECONDS:.0f} s; use a copy of it")
    if ended:
        raise InputError(f"{path} is damaged: reading it crashes HDF5; use a copy of it")
    _passed.add(key)


def surveyed(content: bytes, path: Path) -> tuple[list[str], dict[str, str]]:
    """The results of a damaged file that are whole, as `label/name`, and why the others are not.

    Where the process that reads them hangs or crashes, another one goes on behind that result. InputError where even
    the list of results cannot be read.
    """
    whole: list[str] = []
    lost: dict[str, str] = {}
    while True:
        ended, lines, told = _run("survey", content, path, *whole, *lost)
        begun = None
        for line in lines:
            found = json.loads(line)
            if found["said"] == "begun":
                begun = found["place"]
            elif found["said"] == "whole":
                whole.append(found["place"])
            else:
                lost[found["place"]] = found["said"]
        if ended == 0:
            return whole, lost
        if begun is None or begun in whole or begun in lost:
            raise InputError(told or f"{path} is damaged: not even the list of its results can be read")
        lost[begun] = f"reading it did not end in {SECONDS:.0f} s" if ended is None else "reading it crashes HDF5"


def _run(task: str, content: bytes, path: Path, *done: str) -> tuple[int | None, list[str], str]:
    """Exit code (None: cut off), lines and the message of a process that does `task` on the content."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    call = [sys.executable, "-c", f"from landscape.store.watchdog import {task}; {task}()", str(path), *done]
    try:
        ran = subprocess.run(call, input=content, capture_output=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired as cut:
        return None, (cut.stdout or b"").decode().splitlines(), ""
    except OSError as error:
        raise InputError(f"cannot look through {path}: {one_line(error)}") from error
    return ran.returncode, ran.stdout.decode().splitlines(), ran.stderr.decode(errors="replace").strip()


def look() -> None:
    """Reads a store from stdin, all of it; leaves with 3 and a line on stderr where it is refused."""
    from .file import image
    from .groups import groups, read_entry

    path = Path(sys.argv[1])
    try:
        with image(sys.stdin.buffer.read(), path) as file:
            for place in groups(file):
                read_entry(place)
    except ForeignError as error:
        _leave(one_line(error), FOREIGN)
    except InputError as error:
        _leave(one_line(error))
    except Exception as error:  # whatever HDF5 makes of damage
        _leave(f"{path} is damaged: {one_line(error)[:120]}")


def survey() -> None:
    """Reads a store from stdin, result by result, but for those named as done; a line of JSON before and after each."""
    from .file import image
    from .groups import groups, read_entry

    def say(place: str, said: str) -> None:
        sys.stdout.write(json.dumps({"place": place, "said": said}) + "\n")
        sys.stdout.flush()

    path, done = Path(sys.argv[1]), set(sys.argv[2:])
    try:
        with image(sys.stdin.buffer.read(), path) as file:
            for place in groups(file):
                name = f"{place.label}/{place.name}"
                if name in done:
                    continue
                say(name, "begun")
                try:
                    read_entry(place)
                    say(name, "whole" if "content" in place.group.attrs else "it has no checksum of its own")
                except Exception as error:  # whatever HDF5 makes of damage
                    say(name, one_line(error)[:120])
    except Exception as error:
        _leave(one_line(error)[:120])
    os._exit(0)


def _leave(line: str, code: int = REFUSED) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
    os._exit(code)  # without HDF5's own cleaning up, which may crash on what is damaged
