"""Call a command of click, and turn what it raises about its own line into messages and exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from symphony.cli.failure import show_failure, show_usage
from symphony.errors import SymphonyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.cli.state import State


def invoke(state: State, parsed: Callable[[], click.Context]) -> int:
    """Parse the words of a command and call it; gives the exit code."""
    try:
        with parsed() as context:
            context.command.invoke(context)
        return 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return show_usage(state, error)
    except click.ClickException as error:
        return show_failure(state, SymphonyError(error.format_message()), error.exit_code)
    except click.Abort:
        raise KeyboardInterrupt from None
