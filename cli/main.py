"""The command line's entry: the table of commands, and the exit code of every kind of failure.

0 done; 1 a bug; 2 usage; 3 input refused; 4 numerical; 5 resources; 6 stopped, resumable; 130/143 signals.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from landscape.errors import LandscapeError, one_line

# name -> (module, one line for the list of commands), so that the list imports nothing
COMMANDS = {
    "demo": ("demo", "The main job on the embedded digits data: train, measure, compare, draw."),
    "train": ("train", "Train a network from flags; write a checkpoint with its recipe."),
    "sweep": ("sweep", "Train a grid of runs: batch sizes x rules for the rate x seeds; summarise."),
    "eigen": ("eigen", "Top and bottom eigenvalues of the Hessian, or of another curvature matrix."),
    "trace": ("trace", "Trace and Frobenius norm of a curvature matrix, by layer too."),
    "density": ("density", "Distribution of the eigenvalues of a curvature matrix."),
    "sharpness": ("sharpness", "Sharpness of minima, by every definition in use."),
    "noise": ("noise", "Gradient noise scale: which batch sizes waste no samples."),
    "batch-size": ("batch_size", "Throughput, memory and time to one loss by batch size: which one pays."),
    "trade-off": ("trade_off", "Updates and samples to one loss by batch size; the critical batch size."),
    "line": ("line", "Loss along a direction, or between two minima."),
    "plane": ("plane", "Loss over a plane: around a minimum, through minima, along a run."),
    "path": ("path", "Train a curve between two minima; loss along it."),
    "compare": ("compare", "Compare minima or groups of runs: intervals, verdicts, what misleads."),
    "correlate": ("correlate", "Measures against generalisation over many checkpoints."),
    "rescale": ("rescale", "Write a rescaled copy of a ReLU network: the same function at other params."),
    "figure": ("figure", "Draw what a result file holds."),
    "show": ("show", "List what a result file holds."),
    "verify": ("verify", "Check a result file."),
    "merge": ("merge", "Join result files of several machines or shards."),
    "export": ("export", "Write results as CSV, JSON, npz or surface files."),
    "import": ("import_", "Take up a surface file of loss-landscape (Li et al. 2018)."),
}


class Commands(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"landscape {version('loss-landscape-toolkit')}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def group() -> None:
    """What batch size does to a neural network: train, measure and draw the loss around its minima.

    Results go to stdout, all else to stderr. `landscape COMMAND --help` has an example of each.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and exits with the code of the contract."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    try:
        outcome: Any = group.main(args=arguments, prog_name="landscape", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        return _usage(error)
    except LandscapeError as error:
        click.echo(f"landscape: {one_line(error)}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("landscape: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of stdout is gone (head, less): nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        click.echo(f"landscape: {error.strerror or error}: {error.filename or 'stdout'}", err=True)
        return 5
    return outcome if isinstance(outcome, int) else 0


def _usage(error: click.ClickException) -> int:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    hint = f"; see {context.command_path} --help" if context is not None else ""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    else:
        click.echo(f"landscape: {message.rstrip('.')}{hint}", err=True)
    return 2
