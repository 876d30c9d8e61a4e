"""``symphony.Host``: run workflows from Python, as ``symphony run`` does from the command line.

It is only a client: plugins, steps and the Pit live in the host's own process and its managed interpreter,
unless it is told to do it all in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

from symphony import client, running
from symphony.errors import InterpreterDied, RunCancelled, SymphonyError, WorkflowError
from symphony.home import Home, absolute, resolve_home
from symphony.running import Order
from symphony.settings import setting_words
from symphony.values import json_value

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from symphony.in_process import InProcessHost

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
        True runs everything in processes of its own. False runs it in this one, on threads of its own: for
        notebooks and tests, where the code of steps is to be looked at. A crash takes everything down then,
        nobody ends what hangs, and no other host can have the home until this one is closed.
    plugins:
        Files to use as plugins, as with ``--plugin``.
    settings:
        Settings that come before those in ``config.toml``, such as ``{"hang_after": 10}``.

    Raises
    ------
    InvalidInput
        A setting is not known, or its value is wrong.
    HostUnavailable
        No host could be started.
    Conflict
        The home is held by the host of another environment, or by one that was started with other settings;
        with ``isolated=False``, by any other.

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
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._home = Home(resolve_home(home))
        self._settings = setting_words(settings or {})
        self._plugins = [absolute(path) for path in plugins]
        self._connection: client.Client | None = None
        self._here: InProcessHost | None = None
        if not isolated:
            from symphony.in_process import InProcessHost  # which imports the native module

            self._here = InProcessHost(self._home, self._settings)

    def _connect(self) -> contextlib.AbstractContextManager[running.Connection]:
        if self._here is not None:
            return contextlib.nullcontext(self._here)
        return client.connect_or_start(self._home, settings=self._settings)

    def __enter__(self) -> Self:
        if self._here is not None:
            self._here.open()
        else:
            self._connection = client.connect_or_start(self._home, settings=self._settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._here is not None:
            self._here.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, at)

    def run(self, workflow: str, /, **inputs: Any) -> RunResult:
        """Run a workflow and wait for its end.

        Ctrl-C cancels the run; KeyboardInterrupt comes once its end is recorded. After 30 s, or by a second
        Ctrl-C, it comes all the same, and the run ends as soon as its steps do.

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
        # In a thread, so that Ctrl-C meets a run that is known, however early it comes.
        with self._connect() as connection, ThreadPoolExecutor(1) as thread:
            submitting = thread.submit(running.submit, connection, order)
            try:
                return result_of(running.wait(self._connect, connection, submitting.result()))
            except KeyboardInterrupt:
                with contextlib.suppress(TimeoutError, SymphonyError):  # what is raised is the interrupt
                    running.cancel(self._connect, submitting.result(CANCEL_LIMIT), CANCEL_LIMIT)
                raise

    async def arun(self, workflow: str, /, **inputs: Any) -> RunResult:
        """``run`` for coroutines; raises the same. Cancelling the task cancels the run.

        Example
        -------
        >>> async with symphony.Host() as host:
        ...     result = await host.arun("conductor.index", path=".")
        """
        order = await asyncio.to_thread(self._order, workflow, inputs)
        with await asyncio.to_thread(self._connect) as connection:
            submitting = asyncio.ensure_future(asyncio.to_thread(running.submit, connection, order))
            waiting: asyncio.Future[Any] | None = None
            try:
                wait = functools.partial(
                    running.wait, self._connect, connection, await asyncio.shield(submitting)
                )
                waiting = asyncio.ensure_future(asyncio.to_thread(wait))
                return result_of(await asyncio.shield(waiting))
            except asyncio.CancelledError:
                with contextlib.suppress(TimeoutError, SymphonyError):
                    run = await submitting
                    await asyncio.to_thread(running.cancel, self._connect, run, CANCEL_LIMIT)
                if waiting is not None:
                    await asyncio.wait([waiting], timeout=1.0)
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
