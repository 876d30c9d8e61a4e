"""The command ``symphony``. This file only answers ``--version`` at once and hands everything else on.

No command imports a plugin or the native module into its own process.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--version" in arguments and set(arguments) <= {"--version", "--json"}:
        from symphony import __version__

        # By hand: importing json alone would double the time of this command.
        print(f'{{"version": "{__version__}"}}' if "--json" in arguments else f"symphony {__version__}")
        return 0
    import signal

    _open_streams()
    code, short = _run(arguments)
    if argv is None:
        # The process ends with this code, also where an impatient Ctrl-C meets it on its way out.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _close_stdout()
        if short:  # and leaves nothing that Python would have to tidy up, which would take it 5 ms
            os._exit(code)
    return code


def _run(arguments: list[str]) -> tuple[int, bool]:
    """The exit code, and whether the command was one that needs no click."""
    try:
        from symphony.cli.quick import quick

        code = quick(arguments) if "_SYMPHONY_COMPLETE" not in os.environ else None
        if code is not None:
            return code, True
        from symphony.cli.app import run

        return run(arguments), False
    except KeyboardInterrupt:  # while modules are imported; later ones are the command's
        print("Error: interrupted", file=sys.stderr)
        return 130, True


def _open_streams() -> None:
    """Let a closed stdout or stderr be as good as ``/dev/null``."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _close_stdout() -> None:
    """Write what is left; where nobody takes it, Python must not complain of that when it flushes at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
