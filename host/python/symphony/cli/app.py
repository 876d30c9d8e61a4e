"""The root command: run one command line, and turn whatever happens into one message and an exit code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from symphony.cli.command import spelled_out
from symphony.cli.failure import ended
from symphony.cli.invoking import invoke
from symphony.cli.plugin_commands import RootGroup
from symphony.cli.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "artifacts": ("artifacts", "Look at what runs produced, and tidy up."),
    "doctor": ("doctor", "Look at the log and say what needs attention."),
    "host": ("host", "Start, stop and look at the host."),
    "models": ("models", "Look at models, load and unload them."),
    "pit": ("pit", "Look at the Pit's components and call them."),
    "plugins": ("plugins", "Install, remove and look at plugins."),
    "run": ("run_command", "Run a workflow and wait for its result."),
    "runs": ("runs", "Look at runs, resume, command and delete them."),
    "workflows": ("workflows", "List the workflows that plugins add."),
}

ROOT = RootGroup(
    "symphony",
    help="Symphony: a plugin host for AI workflows.",
    lazy=COMMANDS,
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
    arguments = spelled_out(arguments)
    before_separator = arguments[: arguments.index("--")] if "--" in arguments else arguments
    state = State(json="--json" in before_separator, traceback="--traceback" in before_separator)
    # Not ROOT.main(), which ends the process with code 1 when nobody reads its output any more.
    return ended(
        state, lambda: invoke(state, lambda: ROOT.make_context("symphony", list(arguments), obj=state))
    )
