"""landscape verify"""

from __future__ import annotations

import click

from . import options
from .computing import counted, emit, tell


@click.command("verify")
@click.argument("file", metavar="FILE.h5")
@options.as_json
def command(file: str, as_json: bool) -> int:
    """Check a result file: checksums, schema, digests, masks against numbers, missing points, what waits beside it.

    Damage ends with exit code 3. What is only unfinished or untidy (missing points, journals, stale temporaries,
    inputs that have changed since) is told, and ends with 0.

    \b
    Example:
      landscape verify r.h5
    """
    from landscape.errors import InputError
    from landscape.store import verify

    problems = verify(file)
    severe = sum(problem.severe for problem in problems)
    if as_json:
        listed = [{"where": p.where, "problem": p.what, "severe": p.severe} for p in problems]
        emit(
            {
                "kind": "verification",
                "status": "complete",
                "label": None,
                "problems": listed,
                "provenance": {"file": file},
            }
        )
    else:
        for problem in problems:
            click.echo(f"{'damage' if problem.severe else 'note'}: {problem.where}: {problem.what}")
        if not problems:
            click.echo(f"{file}: no problems")
    if severe:
        tell(f"landscape: {file} is damaged: {counted(severe, 'problem')}; use a copy, or compute again")
        return InputError.exit_code
    return 0
