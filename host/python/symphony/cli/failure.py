"""How a failed command ends: one message on stderr, or one JSON document on stdout, and an exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from symphony.cli.output import note, print_json, styled
from symphony.errors import HostUnavailable, SymphonyError

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from symphony.cli.state import State


class Exit(Exception):
    """Ends the command with this exit code; everything there is to say has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def ended(state: State, command: Callable[[], int]) -> int:
    """Run a command, and turn whatever it raises into one message and an exit code."""
    try:
        code = command()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output has enough
        return 0
    except Exit as end:
        return end.code
    except KeyboardInterrupt:
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


def show_failure(state: State, error: SymphonyError, code: int, kind: str = "") -> int:
    """Show an error with its hint and return the exit code."""
    kind = kind or type(error).__name__
    document = {"error": {"type": kind, "message": str(error), "hint": error.hint, "exit": code}}
    if not (state.json and _printed(document)):
        _tell("Error", "red", str(error) or kind)
        if error.hint:
            _tell("Hint", "yellow", error.hint)
    if state.traceback and error.__traceback__ is not None:
        import traceback

        traceback.print_exception(error)
    return code


def _printed(document: dict[str, Any]) -> bool:
    """Whether stdout took the document; it may be what the failure is about."""
    try:
        print_json(document)
    except OSError:
        return False
    return True


def show_usage(state: State, error: click.UsageError) -> int:
    """Show what is wrong with the command line; exit code 2."""
    import click

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        if not state.json:
            note(error.format_message())
            return error.exit_code
        error = click.UsageError("a command is missing", error.ctx)
    path = error.ctx.command_path if error.ctx else "symphony"
    return show_failure(
        state,
        SymphonyError(error.format_message(), hint=f"{path} --help"),
        error.exit_code,
        kind="UsageError",
    )


def show_bug(state: State, error: Exception) -> int:
    """Show an error that nobody foresaw; exit code 1."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1:]
    at = f" at {last[0].filename}:{last[0].lineno}" if last else ""
    told = SymphonyError(
        f"this is a bug in Symphony: {type(error).__name__}: {error}{at}",
        hint="--traceback shows where; please report it",
    ).with_traceback(error.__traceback__)
    return show_failure(state, told, 1, kind=type(error).__name__)


def _tell(word: str, colour: str, text: str) -> None:
    note(f"{styled(f'{word}:', colour, sys.stderr)} {text}")
