"""A process that executes steps one after another, at both of its ends.

    python -P -m symphony.engine.step_process DESCRIPTOR

It has plugins, but neither engine nor Pit, and ends with the interpreter. What it writes goes where the
interpreter's output goes; the value of a secret it gets from the interpreter, which tells the host first.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.launching import Outcome
from symphony.errors import ProcessDied, SymphonyError
from symphony.step_output import StepOutput
from symphony.values.codec import native_codec

if TYPE_CHECKING:
    from collections.abc import Callable

_OUTCOME, _PROGRESS, _SECRET = "outcome", "progress", "secret"
_END: Final = 5.0


class StepProcess:
    """One such process, started with its first step. Used by one thread at a time, killed by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None

    def execute(self, packed: bytes, report: Callable[[float, float, str], None]) -> Outcome:
        """Execute a packed step, and wait for it.

        Raises
        ------
        ProcessDied
            The process ended meanwhile; the message says how.
        """
        codec = native_codec()
        try:
            connection = self._connected()
            connection.send_bytes(packed)
            while True:
                told: Any = codec.decode(connection.recv_bytes())
                kind, *content = told
                if kind == _OUTCOME:
                    return Outcome(*content)
                if kind == _PROGRESS:
                    report(*content)
                else:
                    connection.send_bytes(codec.encode(_value_of(*content)))
        except (EOFError, OSError) as error:
            end = self._end()
            self._close()
            raise ProcessDied(f"the process of the step ended: {end}") from error

    @property
    def lives(self) -> bool:
        """Whether it can take a step."""
        return not self._killed and (self._process is None or self._process.poll() is None)

    def kill(self) -> None:
        """End it, whatever it does; the step that it executes fails. It is not waited for."""
        with self._lock:
            self._killed = True
            if self._process is not None and self._socket is not None:
                self._process.kill()
                with suppress(OSError):  # a child of the step may hold the other end open
                    self._socket.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """After ``kill``: until it is gone."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END)
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> Connection:
        with self._lock:
            if self._killed:
                raise ProcessDied("the process of the step was stopped before it began")
            if self._connection is None:
                self._socket, there = socket.socketpair()
                with there:
                    self._process = _start(there.fileno())
                self._connection = Connection(os.dup(self._socket.fileno()))
                self._connection.send_bytes(native_codec().encode(sys.path))
            return self._connection

    def _end(self) -> str:
        assert self._process is not None  # its connection has ended
        try:
            status = self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "it closed its connection"
        if status >= 0:
            return f"exit status {status}"
        try:
            return f"signal {-status} ({signal.Signals(-status).name})"
        except ValueError:
            return f"signal {-status}"


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "symphony.engine.step_process", str(descriptor)],
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor,),
    )


def _value_of(source: str) -> tuple[bool, str]:
    """The value of a secret, or what is wrong with it."""
    from symphony.values.secret import Secret

    try:
        return True, Secret(source).reveal()
    except SymphonyError as error:
        return False, str(error)


def _serve(connection: Connection) -> None:
    from symphony.engine.packed_step import execute_packed
    from symphony.errors import InvalidInput

    codec, sending = native_codec(), threading.Lock()

    def send(*content: Any) -> None:
        with sending:
            connection.send_bytes(codec.encode(content))

    def report(done: float, total: float, message: str) -> None:
        send(_PROGRESS, done, total, message)

    def reveal(source: str) -> str:
        send(_SECRET, source)
        answer: Any = codec.decode(connection.recv_bytes())
        known, text = answer
        if not known:
            raise InvalidInput(text)
        return str(text)

    path: Any = codec.decode(connection.recv_bytes())
    sys.path[:] = path
    while True:
        outcome = execute_packed(connection.recv_bytes(), report, reveal)
        send(_OUTCOME, outcome.state, outcome.encoded)


def main() -> None:
    """Execute steps until the interpreter goes away."""
    from symphony import _host

    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    sys.stdout, sys.stderr = StepOutput(1), StepOutput(2)
    faulthandler.enable()
    # Ctrl-C is for the client. A handler and not SIG_IGN, which child processes of steps would inherit.
    signal.signal(signal.SIGINT, lambda _signal, _frame: None)
    _host.watch_parent(descriptor)
    with suppress(EOFError, OSError):
        _serve(Connection(descriptor))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
