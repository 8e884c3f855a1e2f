"""A process that looks through a file before this one does.

Damaged HDF5 can make the library loop for ever or crash, inside C, where no signal handler and no exception reaches.
A file under its seal holds what a store wrote; one without was last written by another program, and may hold anything.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from ..errors import InputError, one_line

SECONDS = 20.0  # to look through a file: reading a store takes less than one
REFUSED = 3
_LOOK = "from landscape.store.watchdog import look; look()"
_passed: set[str] = set()  # sha256 of what this process had examined already


def examined(content: bytes, path: Path) -> None:
    """Has a process of its own read all of it; InputError where that fails, crashes or does not end."""
    key = hashlib.sha256(content).hexdigest()
    if key in _passed:
        return
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    call = [sys.executable, "-c", _LOOK, str(path)]
    try:
        done = subprocess.run(call, input=content, capture_output=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path} is damaged: reading it does not end; use a copy of it") from error
    except OSError as error:
        raise InputError(f"cannot look through {path}: {one_line(error)}") from error
    if done.returncode == REFUSED:
        raise InputError(done.stderr.decode(errors="replace").strip())
    if done.returncode:
        raise InputError(f"{path} is damaged: reading it crashes HDF5; use a copy of it")
    _passed.add(key)


def look() -> None:
    """Reads a store from stdin, all of it; leaves with 3 and a line on stderr where it is refused."""
    from .file import image
    from .groups import groups, read_entry

    path = Path(sys.argv[1])
    try:
        with image(sys.stdin.buffer.read(), path) as file:
            for place in groups(file):
                read_entry(place)
    except InputError as error:
        _leave(one_line(error))
    except Exception as error:  # whatever HDF5 makes of damage
        _leave(f"{path} is damaged: {one_line(error)[:120]}")


def _leave(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
    os._exit(REFUSED)  # without HDF5's own cleaning up, which may crash on what is damaged
