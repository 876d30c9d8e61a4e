"""The command ``symphony run``, as click sees it; usual command lines are taken by ``quick``."""

from __future__ import annotations

import click

from symphony.cli.command import Command, State, pass_state, settings_option
from symphony.cli.run import start
from symphony.errors import SymphonyError


def _workflow_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion, from the store."""
    from symphony.cli.command import state_of
    from symphony.plugins import catalog

    try:
        rows = catalog.workflows(catalog.survey(state_of(context).home, probe=False))
    except (SymphonyError, OSError):
        return []
    return [row["name"] for row in rows if row["name"].startswith(incomplete)]


@click.command(
    "run",
    cls=Command,
    examples="""
    symphony run conductor.index path=src
    symphony run conductor.search query="retry with backoff" top=5
    symphony run tools.report --plugin tools.py --input report.json
    symphony run conductor.index path=. --detach
    symphony run tools.report --plugin tools.py --no-isolation
    symphony run tools.report --plugin tools.py --executor process
    """,
)
@click.argument("workflow", shell_complete=_workflow_names)
@click.argument("values", metavar="[KEY=VALUE]...", nargs=-1)
@click.option(
    "--input", "source", metavar="FILE|-", help="Read inputs as one JSON object from a file or stdin."
)
@click.option("--detach", is_flag=True, help="Print the run's id and do not wait for its end.")
@settings_option
@click.option(
    "--no-isolation", "here", is_flag=True, help="Run everything in this process, as a debugger likes it."
)
@click.option(
    "--plugin", "plugins", metavar="FILE", multiple=True, help="Use a file as a plugin (repeatable)."
)
@click.option("--executor", metavar="NAME", help="Where steps run that name no executor, such as process.")
@pass_state
def command(
    state: State,
    workflow: str,
    values: tuple[str, ...],
    source: str | None,
    detach: bool,
    here: bool,
    settings: tuple[str, ...],
    plugins: tuple[str, ...],
    executor: str | None,
) -> None:
    """Run a workflow and wait for its result.

    WORKFLOW is a name such as conductor.index. The type of each VALUE follows from the workflow's
    signature: text as it stands, everything else as JSON. Ctrl-C cancels the run, a second one stops waiting.
    A run that asks for an input goes on waiting for it when this command ends, with exit code 10.
    """
    start(state, workflow, values, source, detach, here, settings, plugins, executor)
