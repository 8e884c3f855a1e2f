"""SPECs: naming a user's own model, data or loss as `package.module:name` or `path/file.py:name`."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import math
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import InputError, UsageError, one_line


def is_builtin(spec: str) -> bool:
    """Whether `spec` is a built-in name: those need no colon."""
    return ":" not in spec


def parse_arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """`k=v` pairs as a dictionary; `v` is a TOML literal where it parses as one, else a string."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"an argument is NAME=VALUE, got {pair!r}")
        arguments[key] = _literal(text)
    return arguments


def _literal(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_memory(text: str) -> int:
    """Bytes of `500M`, `4G`, `4GB`, or a plain number of bytes. Raises UsageError."""
    number = text.strip().upper().removesuffix("B").rstrip("KMGT")
    unit = text.strip().upper().removesuffix("B")[len(number) :]
    try:
        size = float(number) * UNITS[unit]
    except (ValueError, KeyError) as error:
        raise UsageError(f"--memory is a size such as 500M or 4G, got {text!r}") from error
    if not 0 <= size < math.inf:
        raise UsageError(f"--memory must be finite and not negative, got {text!r}")
    return int(size)


def load(spec: str) -> Any:
    """The object that a SPEC names. Runs the code of its module. Raises InputError, saying why."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise UsageError(f"a SPEC is package.module:name or path/file.py:name, got {spec!r}")
    module = _module_of_file(place) if place.endswith(".py") else _module_by_name(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            close = difflib.get_close_matches(part, [n for n in dir(found) if not n.startswith("_")], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else "; check the name after the colon"
            raise InputError(f"{place} has no {part!r}{hint}")
        found = getattr(found, part)
    return found


def _module_by_name(name: str) -> ModuleType:
    # A console script does not have the current folder on its path; `python -m` and uvicorn do.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(f"cannot import {name}: {one_line(error)}; check the SPEC") from error


def _module_of_file(place: str) -> ModuleType:
    path = Path(place)
    if not path.is_file():
        raise InputError(f"no file {place}; check the SPEC's part before the colon")
    # One module a path: the same file named twice (for the model and for the data) runs once.
    name = f"landscape_spec_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{place} failed to run: {one_line(error)}; mend the file") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def call(factory: Any, arguments: Mapping[str, Any], spec: str) -> Any:
    """`factory(**arguments)`, any failure of the user's code told in one line as an InputError."""
    try:
        return factory(**arguments)
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
        raise InputError(f"{spec}({shown}) failed: {one_line(error)}; check its arguments") from error


def call_builtin(factory: Callable[..., Any], arguments: Mapping[str, Any], what: str) -> Any:
    """`factory(**arguments)` of a built-in; UsageError naming the arguments it takes where these do not fit."""
    signature = inspect.signature(factory)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "none"
        raise UsageError(f"{what}: {error}; it takes: {takes}") from error
    return factory(**arguments)


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a built-in name that does not exist, with the names that do."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return UsageError(
        f"unknown {kind} {name!r}; {hint}built in: {', '.join(known)}; your own: package.module:name or file.py:name"
    )
