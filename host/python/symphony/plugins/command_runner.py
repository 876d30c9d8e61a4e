"""Run a plugin's command in a child process with the terminal attached, and name how it ended.

Only the child (``symphony.command_process``) imports the plugin.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import PluginBroken
from symphony.plugins import discovery
from symphony.plugins.prober import signal_name, traced_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from symphony.home import Home
    from symphony.plugins.commands import PluginCommand

PASSED_ON: Final = (signal.SIGTERM, signal.SIGHUP)
CRASHES: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


def run_command(home: Home, command: PluginCommand, called: str, words: Sequence[str]) -> int:
    """Run the command and give its exit code.

    Raises
    ------
    PluginBroken
        A signal ended it.
    KeyboardInterrupt
        It ended by Ctrl-C, without an exit code of its own.
    """
    with tempfile.TemporaryFile() as trace:
        line = [sys.executable, "-P", "-m", "symphony.command_process", str(trace.fileno()), called]
        environment = {**os.environ, "SYMPHONY_HOME": str(home.path)}
        sys.stdout.flush()
        with _signals_left_to() as child:
            child[:] = [
                subprocess.Popen([*line, command.id, *words], pass_fds=[trace.fileno()], env=environment)
            ]
            code = child[0].wait()
        if code >= 0:
            return code
        if code == -signal.SIGINT:
            raise KeyboardInterrupt
        trace.seek(0)
        own = discovery.roots(discovery.find(command.plugin).modules)
        at = traced_frame(trace.read().decode("utf-8", "replace"), own)
    raise PluginBroken(
        f"command {called} of plugin {command.plugin} ended with {signal_name(-code)}"
        + (f" (at {at})" if at else ""),
        hint="the fault is the plugin's: tell its author" if -code in CRASHES else "",
    )


@contextmanager
def _signals_left_to() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Ctrl-C, which the terminal gives the child too, is the child's; what asks to end is passed on to it."""
    child: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: Any) -> None:
        for process in child:
            process.send_signal(number)

    before = {}
    # A handler and not SIG_IGN, which the child would inherit.
    for number, handler in ((signal.SIGINT, lambda *_: None), *((number, pass_on) for number in PASSED_ON)):
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    try:
        yield child
    finally:
        for number, former in before.items():
            signal.signal(number, former)
