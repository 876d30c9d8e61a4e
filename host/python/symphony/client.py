"""The client's end of the control socket: JSON-RPC 2.0, one document per line, over plain sockets.

Finds the host of a home, or starts one. It imports neither the native module nor any plugin.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from symphony import errors
from symphony.errors import Conflict, HostUnavailable
from symphony.plugins import SELECTION
from symphony.remote_errors import error_from

if TYPE_CHECKING:
    from symphony.home import Home

MAX_LINE: Final = 16 << 20
ANSWER_LIMIT: Final = 10.0
"""Seconds that a host has for what it knows at once."""
Event = Callable[[dict[str, Any]], None]


class ConnectionLost(HostUnavailable):
    """The host went away while an answer was awaited."""


class HostSilent(HostUnavailable, TimeoutError):
    """The host did not answer in time."""

    def __init__(self, pid: int | None, seconds: float) -> None:
        host = "the host" if pid is None else f"the host (pid {pid})"
        message, hint = f"{host} did not answer within {seconds:g} s", ""
        if pid is not None and _is_stopped(pid):
            message += ": it is stopped (SIGSTOP, a debugger)"
            hint = f"kill -CONT {pid} lets it go on"
        elif pid is not None:
            hint = f"kill -9 {pid} ends it; its runs are kept, and go on with the next one"
        super().__init__(message, hint=hint)


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")


class Client:
    """One connection to a running host; one request at a time.

    Example
    -------
    >>> with connect(Home("/tmp/home")) as client:
    ...     client.request("host.status")["running"]
    True
    """

    def __init__(self, connection: socket.socket, pid: int | None = None) -> None:
        self._socket = connection
        self._pid = pid
        self._unread = bytearray()
        self._next = 0

    def request(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        event: Event | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send one request and wait for its answer; notifications on the way go to ``event``.

        Raises
        ------
        SymphonyError
            The class that the host's error names.
        ConnectionLost
            The host went away.
        HostSilent
            No answer within ``timeout`` seconds. It is a TimeoutError, too.
        """
        self._next += 1
        document = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params or {}}
        line = json.dumps(document).encode() + b"\n"
        if len(line) > MAX_LINE:
            raise errors.InvalidInput(f"{method}: the request has {len(line)} bytes, the limit is {MAX_LINE}")
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(line)
            while True:
                answer = self._receive(deadline)
                if "method" in answer and "id" not in answer:
                    if event is not None and answer["method"] == "event":
                        event(answer.get("params") or {})
                elif answer.get("id") == self._next:
                    break
        except TimeoutError:
            raise HostSilent(self._pid, timeout or 0.0) from None
        except OSError as error:
            raise ConnectionLost(f"the connection to the host broke: {error.strerror or error}") from error
        if answer.get("error") is not None:
            raise error_from(answer["error"])
        return answer.get("result")

    def subscribe(self, **interest: Any) -> Iterator[dict[str, Any]]:
        """Subscribe to events, and give them as they come, until the host goes away.

        The connection serves this subscription alone from now on.

        Parameters
        ----------
        interest:
            ``run``, ``workflow``, ``kinds``, as ``events.subscribe`` takes them.

        Raises
        ------
        NotFound
            There is no such run.

        Example
        -------
        >>> for event in connect(home).subscribe(kinds=["run_finished"]):
        ...     print(event["run"], event["state"])
        """
        number = self.request("events.subscribe", interest)["subscription"]
        self._socket.settimeout(None)
        return self._events(number)

    def _events(self, number: int) -> Iterator[dict[str, Any]]:
        while True:
            try:
                params = self._receive(None).get("params") or {}
            except (ConnectionLost, OSError):
                return
            if params.get("subscription", number) == number and "kind" in params:
                yield params

    def _receive(self, deadline: float | None) -> dict[str, Any]:
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if len(self._unread) > MAX_LINE:
                raise ConnectionLost("the host sent a line that is too long")
            if deadline is not None:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = self._socket.recv(1 << 20)
            if not chunk:
                raise ConnectionLost("the host closed the connection")
            self._unread += chunk
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        try:
            document = json.loads(line)
        except ValueError as error:
            raise ConnectionLost(f"the host sent a line that is no JSON: {line[:80]!r}") from error
        if not isinstance(document, dict):
            raise ConnectionLost(f"the host sent a line that is no JSON-RPC: {line[:80]!r}")
        return document

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(home: Home) -> Client | None:
    """A connection to the home's running host, or None when none runs.

    Raises
    ------
    Conflict
        The host belongs to another environment or version; the message names both.
    """
    home.check()
    try:
        entry = json.loads(home.host_json.read_bytes())
        address = str(entry["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    client = _open(address, entry.get("pid"))
    if client is not None:
        try:
            _same_environment(home, entry)
        except Conflict:
            client.close()
            raise
    return client


def _open(address: str, pid: int | None) -> Client | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(5.0)
        connection.connect(address)
    except OSError:  # a host that died left its file behind
        connection.close()
        return None
    return Client(connection, pid)


def _same_environment(home: Home, entry: dict[str, Any]) -> None:
    from symphony import __version__

    theirs, ours = (entry.get("prefix"), entry.get("version")), (sys.prefix, __version__)
    if theirs != ours:
        raise Conflict(
            f"home {home.path} is held by the host of another environment: {theirs[0]} ({theirs[1]}), "
            f"pid {entry.get('pid')}; this one is {ours[0]} ({ours[1]})",
            hint="stop that host from its own environment, or choose another --home",
        )


def connect_or_start(
    home: Home,
    *,
    linger: bool = False,
    settings: Sequence[str] = (),
    note: Callable[[str], None] = lambda text: None,
    check: Callable[[], object] = lambda: None,
) -> Client:
    """A connection to the home's host, started where none runs.

    Parameters
    ----------
    linger:
        Whether the host stays until it is stopped, also one that runs already.
    settings:
        KEY=VALUE words that a host is started with.
    note:
        Is told when one is started.
    check:
        Called before one is started; what it raises prevents that.

    Raises
    ------
    HostUnavailable
        None could be started, or the one that runs does not answer.
    Conflict
        The home is held by another environment's host, or by one that was started with other settings, or
        for other plugins (see ``SYMPHONY_PLUGINS``).
    """
    settings = [*settings, *_selection()]
    for _ in range(3):
        client = connect(home)
        if client is None:
            from symphony import symphonyd

            check()
            note("starting the host")
            started = symphonyd.start(home, linger=linger, settings=settings)
            client = _open(started["socket"], started.get("pid"))
        if client is None:
            continue
        try:
            status = client.request("host.linger" if linger else "host.status", timeout=ANSWER_LIMIT)
        except ConnectionLost:  # it was just leaving
            client.close()
            time.sleep(0.05)
            continue
        except HostSilent:
            client.close()
            raise
        _same_settings(client, home, settings, status)
        return client
    raise HostUnavailable(
        f"the host of {home.path} goes away as soon as it is asked", hint=f"see {home.host_log}"
    )


def _selection() -> list[str]:
    """The setting for a host that does not know of all plugins."""
    if SELECTION not in os.environ:
        return []
    from symphony.plugins import selection

    return selection.words()


def _same_settings(client: Client, home: Home, wanted: Sequence[str], status: dict[str, Any]) -> None:
    theirs = list(status.get("settings") or [])
    running = f"the host of {home.path} runs already (pid {status.get('pid')})"
    chosen, ours = ([word for word in words if word.startswith("select=")] for words in (theirs, wanted))
    if chosen != ours:
        # Both ways: a workflow that is not found, or found where it should not be, would tell nobody why.
        client.close()
        asked, started = (f"with {words[0]}" if words else "with all plugins" for words in (ours, chosen))
        raise Conflict(
            f"{running} and was started {started}, this command is to run {asked}",
            hint="symphony host stop, then try again; or the same --no-plugins or SYMPHONY_PLUGINS",
        )
    if set(wanted) <= set(theirs):
        return
    client.close()
    raise Conflict(
        f"{running}, with other settings: {', '.join(theirs) or 'none'}",
        hint="symphony host stop, then try again",
    )


def exec_symphonyd() -> NoReturn:
    """The script ``symphonyd``: become the host's program."""
    from symphony import symphonyd

    try:
        program = str(symphonyd.binary())
        os.execv(program, [program, *sys.argv[1:]])
    except (OSError, HostUnavailable) as error:
        sys.exit(f"symphonyd: {error}")


def ask(home: Home, method: str, params: dict[str, Any] | None = None) -> Any:
    """A read-only question to the running host, or to the logs where none runs, or none answers."""
    client = connect(home)
    if client is not None:
        with client:
            try:
                return client.request(method, params, timeout=ANSWER_LIMIT)
            except (ConnectionLost, HostSilent):
                pass
    from symphony import symphonyd

    return symphonyd.query(home, method, params)
