"""``symphony.Host``: run workflows from Python, as ``symphony run`` does from the command line.

It is only a client: plugins, steps and the Pit live in the host's own process and its managed interpreter.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any, Final, Self

from symphony import client, running
from symphony.errors import InterpreterDied, Refused, RunCancelled, WorkflowError
from symphony.home import Home, absolute, resolve_home
from symphony.running import Order
from symphony.values import json_value

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from types import TracebackType

CANCEL_LIMIT: Final = 30.0


class RunFailed(WorkflowError):
    """A run failed: ``type`` names the exception, ``step`` its place, ``report`` a crash report."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "",
        step: str | None = None,
        run_id: str = "",
        report: str | None = None,
    ) -> None:
        super().__init__(message, hint=f"symphony runs show {run_id}")
        self.type = kind
        self.step = step
        self.run_id = run_id
        self.report = report


@dataclasses.dataclass(frozen=True)
class RunResult:
    """The end of a run: ``value`` is JSON values, ``steps`` counts ``executed, reused, failed, skipped``."""

    value: Any
    run_id: str
    status: str
    steps: dict[str, int]


class Host:
    """The host of a home; one is started where none runs, and leaves by itself 10 s after its last client.

    Parameters
    ----------
    home:
        The home folder; None takes ``SYMPHONY_HOME``, else the environment's own.
    isolated:
        True runs everything in processes of its own. False (all in this process) is not there yet.
    plugins:
        Files to use as plugins, as with ``--plugin``.

    Raises
    ------
    HostUnavailable
        No host could be started.
    Conflict
        The home is held by the host of another environment.

    Example
    -------
    >>> with symphony.Host() as host:
    ...     result = host.run("conductor.index", path=".")
    >>> result.value["files"]
    42
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        isolated: bool = True,
        plugins: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        if not isolated:
            raise Refused(
                "Host(isolated=False) is not there yet", hint="use Host(), which runs in processes of its own"
            )
        self._home = Home(resolve_home(home))
        self._plugins = [absolute(path) for path in plugins]
        self._connection: client.Client | None = None

    def __enter__(self) -> Self:
        self._connection = client.connect_or_start(self._home)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, at)

    def run(self, workflow: str, /, **inputs: Any) -> RunResult:
        """Run a workflow and wait for its end. Ctrl-C cancels the run.

        Raises
        ------
        NotFound, InvalidInput, PluginBroken
            The run was refused; nothing was recorded.
        RunFailed
            It ran and failed.
        RunCancelled
            It was cancelled.
        InterpreterDied
            The managed interpreter died on it again and again.
        """
        order = self._order(workflow, inputs)
        with client.connect_or_start(self._home) as connection:
            run = running.submit(connection, order)
            try:
                return result_of(running.wait(self._home, connection, run))
            except KeyboardInterrupt:
                running.cancel(self._home, run)
                raise

    async def arun(self, workflow: str, /, **inputs: Any) -> RunResult:
        """``run`` for coroutines; raises the same. Cancelling the task cancels the run.

        Example
        -------
        >>> async with symphony.Host() as host:
        ...     result = await host.arun("conductor.index", path=".")
        """
        order = await asyncio.to_thread(self._order, workflow, inputs)
        connection = await asyncio.to_thread(client.connect_or_start, self._home)
        with connection:
            run = await asyncio.to_thread(running.submit, connection, order)
            waiting = asyncio.ensure_future(asyncio.to_thread(running.wait, self._home, connection, run))
            try:
                return result_of(await asyncio.shield(waiting))
            except asyncio.CancelledError:
                await asyncio.to_thread(running.cancel, self._home, run)
                await asyncio.wait([waiting], timeout=CANCEL_LIMIT)
                raise

    def _order(self, workflow: str, inputs: dict[str, Any]) -> Order:
        values = {name: json_value(value, name) for name, value in inputs.items()}
        return running.resolve(self._home, Order(workflow, values, {}, self._plugins))


def result_of(document: dict[str, Any]) -> RunResult:
    """The result in a run's document, or the exception that its failure is."""
    run, status, error = document["run"], document["status"], document.get("error") or {}
    if status == "completed":
        return RunResult(document["result"], run, status, document["steps"])
    kind, message = str(error.get("type", "")), str(error.get("message") or f"the run is {status}")
    if status == "cancelled":
        raise RunCancelled(f"run {run} was cancelled")
    if kind == InterpreterDied.__name__:
        raise InterpreterDied(message, hint=f"symphony runs resume {run}")
    raise RunFailed(message, kind=kind, step=error.get("step"), run_id=run, report=error.get("report"))
