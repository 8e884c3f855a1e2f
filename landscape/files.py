"""Whole files or none: every file that landscape writes goes through `write_atomically`."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from pathlib import Path

from .errors import InputError, ResourceError


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replaces `path` by `content` so that a reader, or a crash, sees the old file or the new one, whole.

    The bytes go to a temporary beside the target, are synced, and are renamed over it; a link is followed,
    not replaced, and who may read and write the file stays. Raises ResourceError where the disk or the folder
    refuses; the old file then stands.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.tmp.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ResourceError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another place"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(path: str | os.PathLike[str]) -> None:
    """Removes what killed writers of `path` left beside it; those of living processes stay."""
    for stale in stale_temporaries(path):
        stale.unlink(missing_ok=True)


def stale_temporaries(path: str | os.PathLike[str]) -> list[Path]:
    """What killed writers of `path` left beside it."""
    target = Path(os.path.realpath(path))
    found = target.parent.glob(f".{glob.escape(target.name)}.tmp.*")
    return [temporary for temporary in sorted(found) if not _alive(temporary.name.rpartition(".")[2])]


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raises ResourceError at once where a later write of `path` would fail, before hours are spent.

    Only what exists is looked at; no folder is made.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; name a file")
    folder = target.parent
    while not folder.exists() and not folder.is_symlink():
        folder = folder.parent
    if not folder.is_dir():
        raise ResourceError(f"cannot write {path}: {folder} is not a folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ResourceError(f"cannot write {path}: no permission in {folder}; choose another place")


def require_file(path: str | os.PathLike[str], what: str) -> Path:
    """The path, if a regular file that is not empty stands there; else InputError saying which."""
    try:
        found = Path(path)
        if not exists(found):
            raise InputError(f"no {what} at {path}; check the path")
        if not found.is_file():
            raise InputError(f"{path} is not a regular file; name a {what}")
        if found.stat().st_size == 0:
            raise InputError(f"{path} is empty; it is no {what}")
        with open(found, "rb"):
            return found
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {one_reason(error)}; check the path") from error


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether something stands at the path; InputError for a path that cannot be (too long, a NUL inside)."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)[:80]!r}: {one_reason(error)}; check the path") from error
    return True


def one_reason(error: OSError | ValueError) -> str:
    """The operating system's words for an error, without its number."""
    return getattr(error, "strerror", None) or str(error)
