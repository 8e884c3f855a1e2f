"""What can go wrong for a user, each kind with the exit code that the command line gives it.

A message is one line: what, what was got, what to try. Bugs stay ordinary exceptions (exit code 1).
"""

from __future__ import annotations


class LandscapeError(Exception):
    """Anything that a user can mend."""

    exit_code = 1


class UsageError(LandscapeError, ValueError):
    """Refused from the text of the request alone: an unknown name, a value out of range."""

    exit_code = 2


class InputError(LandscapeError, ValueError):
    """Refused after a look at a file, a SPEC or the data."""

    exit_code = 3


class NumericalError(LandscapeError, ArithmeticError):
    """Non-finite values, or a self-check that contradicts the product."""

    exit_code = 4


class ResourceError(LandscapeError, RuntimeError):
    """Memory, disk or a lock ran out."""

    exit_code = 5


class Stopped(LandscapeError):
    """Stopped on request (SIGTERM, SIGUSR1) at a point from which the work can resume."""

    exit_code = 6


def one_line(error: BaseException) -> str:
    """The error's message on a single line, its class named where the message alone says too little."""
    text = " ".join(str(error).split())
    if isinstance(error, LandscapeError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
