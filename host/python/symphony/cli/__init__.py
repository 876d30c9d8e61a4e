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

    from symphony.cli.quick import quick

    code = quick(arguments) if "_SYMPHONY_COMPLETE" not in os.environ else None
    if code is None:
        from symphony.cli.app import run

        code = run(arguments)
    if argv is None:
        # The process ends with this code, also where an impatient Ctrl-C meets it on its way out.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code
