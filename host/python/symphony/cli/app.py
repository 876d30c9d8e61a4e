"""The root command: run one command line, and turn whatever happens into one message and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from symphony.cli.command import SUMMARIES, Group, State
from symphony.cli.failure import Exit, show_bug, show_failure, show_usage
from symphony.errors import HostUnavailable, SymphonyError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Group(
    "symphony",
    help="Symphony: a plugin host for AI workflows.",
    lazy={name: name for name in SUMMARIES},
    context_settings={"max_content_width": 80},
    params=[click.Option(["--version"], is_flag=True, help="Print the version.")],
    invoke_without_command=True,
    examples="""
    symphony plugins install symphony-conductor
    symphony run conductor.index path=.
    symphony run conductor.search query="where are retries counted" --json
    """,
)


def _root(version: bool) -> None:
    context = click.get_current_context()
    if version:
        from symphony import __version__

        click.echo(f"symphony {__version__}")
        context.exit(0)
    if context.invoked_subcommand is None:
        raise click.exceptions.NoArgsIsHelpError(context)


ROOT.callback = _root


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if "_SYMPHONY_COMPLETE" in os.environ:
        ROOT.main(list(arguments), prog_name="symphony")  # answers the shell and ends the process
    before_separator = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    state = State(json="--json" in before_separator, traceback="--traceback" in before_separator)
    try:
        code = _invoke(arguments, state)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not complain about it when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _invoke(arguments: Sequence[str], state: State) -> int:
    try:
        # Not ROOT.main(), which ends the process with code 1 when nobody reads its output any more.
        with ROOT.make_context("symphony", list(arguments), obj=state) as context:
            ROOT.invoke(context)
        return 0
    except Exit as ended:
        return ended.code
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        raise
    except click.UsageError as error:
        return show_usage(state, error)
    except click.ClickException as error:
        return show_failure(state, SymphonyError(error.format_message()), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return show_failure(state, SymphonyError("interrupted"), 130, kind="Interrupted")
    except SymphonyError as error:
        return show_failure(state, error, error.exit_code)
    except OSError as error:
        # What the system refuses outside of the places that expect it: a full disk, an unreadable folder.
        where = f" ({error.filename})" if error.filename else ""
        return show_failure(
            state, HostUnavailable(f"{error.strerror or error}{where}"), HostUnavailable.exit_code
        )
    except Exception as error:
        return show_bug(state, error)
