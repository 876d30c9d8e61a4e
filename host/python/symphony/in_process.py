"""A host in the caller's own process: Pit, plugins and runs on a thread with an event loop of its own.

For notebooks and tests, where everything may be looked at; whatever takes the process down takes it all down.
It answers as a connection to a host does, from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from symphony import _host, pit_access
from symphony.channel import error_document
from symphony.engine.observed_log import ObservedLog, event_document
from symphony.errors import Conflict, HostUnavailable, SymphonyError
from symphony.home import unusable
from symphony.home_lock import HomeLock
from symphony.interpreter import Interpreter
from symphony.remote_errors import error_from
from symphony.run_id import RunIds
from symphony.shared_loop import run_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from symphony.client import Event
    from symphony.engine.durability import Durability
    from symphony.home import Home

DRAIN: Final = 10.0
"""Seconds that running steps are given when the host is closed; an isolated host gives them as many."""
# An interpreter whose host died ends by itself and gives the Pit back; it gets this long.
_ORPHAN_LIMIT: Final = 2.0
# Threads that have nothing to do any more end at once; those of steps that go on are not waited for longer.
_THREAD_LIMIT: Final = 1.0
# Recorded outcomes have had their effect on the workflow by then.
_SETTLED: Final = 0.05


_COMMANDS: Final = {
    "runs.cancel": "cancel",
    "runs.pause": "pause",
    "runs.unpause": "unpause",
    "runs.retry_step": "retry",
    "runs.skip_step": "skip",
    "runs.provide_input": "input",
}


class _Watchers:
    """Who is told what happens to which run, while it happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: list[tuple[str, Event]] = []
        self._running: dict[tuple[str, str], dict[str, Any]] = {}

    def tell(self, event: dict[str, Any]) -> None:
        place = (event["run"], event["key"])
        with self._lock:
            if event["kind"] == "step_started":
                self._running[place] = event
            elif event["kind"] == "step_finished":
                self._running.pop(place, None)
            for run, sink in self._sinks:
                if run == event["run"]:
                    sink(event)

    @contextlib.contextmanager
    def watching(self, run: str, sink: Event | None) -> Iterator[None]:
        """Tell ``sink`` of the run's events, first of the steps that run already."""
        if sink is None:
            yield
            return
        entry = (run, sink)
        with self._lock:
            self._sinks.append(entry)
            for (running, _), event in self._running.items():
                if running == run:
                    sink(event)
        try:
            yield
        finally:
            with self._lock:
                self._sinks.remove(entry)

    def ended(self, run: str) -> None:
        with self._lock:
            self._running = {place: event for place, event in self._running.items() if place[0] != run}


class InProcessHost:
    """The host of a home, in this process. Making the object touches nothing.

    Parameters
    ----------
    settings:
        KEY=VALUE words that come before the home's ``config.toml``. Those about the managed interpreter
        (``hang_after``, ``limits`` and so on) have no effect: this process is the caller's.

    Example
    -------
    >>> host = InProcessHost(Home("/tmp/home"))
    >>> host.open()
    >>> run = host.request("workflows.run", {"workflow": "tools.report"})["run"]
    >>> host.request("runs.wait", {"run": run})["status"]
    'completed'
    >>> host.close()
    """

    def __init__(self, home: Home, settings: Sequence[str] = ()) -> None:
        self._home = home
        self._settings = list(settings)
        self._ids = RunIds()
        self._watchers = _Watchers()
        self._thread: threading.Thread | None = None
        self._lock: HomeLock | None = None
        self._process = 0
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Event
        self._interpreter = Interpreter(self._notified, open_log=self._open_log)

    def open(self) -> None:
        """Take the home and take its unfinished runs up.

        Raises
        ------
        Conflict
            The home has a host already, or another process, or this one, holds its Pit.
        HostUnavailable
            The home cannot be written.
        InvalidInput
            The home's ``config.toml`` has a setting that is not known.
        """
        self._home.ensure_writable()
        for folder in (self._home.pit, self._home.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        lock = HomeLock.take(self._home)
        try:
            self._refuse_held_pit()
            self._start()
        except BaseException:
            lock.release()
            raise
        self._lock, self._process = lock, os.getpid()
        try:
            lock.publish()
        except OSError as error:
            self.close()
            raise unusable(self._home.path, error) from error

    def _refuse_held_pit(self) -> None:
        if pit_access.is_open():
            raise Conflict("this process has a Pit open", hint="close it before a host is opened here")
        deadline = time.monotonic() + _ORPHAN_LIMIT
        while (holder := _host.lease_holder(str(self._home.path))) is not None:
            if time.monotonic() > deadline:
                raise Conflict(
                    f"the Pit of home {self._home.path} is held by process {holder}",
                    hint="end that process, or choose another home",
                )
            time.sleep(0.01)

    def _start(self) -> None:
        started: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._serve, args=(started,), name="symphony-host", daemon=True
        )
        self._thread.start()
        problem = started.get()
        if problem is not None:
            self._thread.join()
            raise problem

    def _serve(self, started: queue.SimpleQueue[BaseException | None]) -> None:
        """The host's thread, from its start to its end."""
        loop = asyncio.new_event_loop()
        helpers = ThreadPoolExecutor(thread_name_prefix="asyncio")
        loop.set_default_executor(helpers)
        asyncio.set_event_loop(loop)
        try:
            run_through(loop, loop.create_task(self._live(started)))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            helpers.shutdown(wait=False, cancel_futures=True)
            loop.close()

    async def _live(self, started: queue.SimpleQueue[BaseException | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._interpreter = Interpreter(self._notified, open_log=self._open_log)
        try:
            params = {"home": str(self._home.path), "settings": self._settings}
            await self._interpreter.handle("configure", params)
        except BaseException as problem:
            started.put(problem)
            return
        started.put(None)
        await self._ended.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_THREAD_LIMIT)

    def _open_log(self, pit: Any, run: str, durability: Durability) -> ObservedLog:
        return ObservedLog(pit, run, durability, self._watchers.tell)

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        """What an interpreter tells its host; that a run cannot go on is seen by whoever waits for it."""
        if method == "progress":
            self._watchers.tell(event_document(kind="progress", **params))

    def close(self) -> None:
        """Give running steps time to finish, leave unfinished runs to the next host, free home and Pit.

        The threads of steps that do not end in time go on, and their Pit calls raise. Closing twice has no
        effect, nor has closing in a forked child.
        """
        lock, self._lock = self._lock, None
        if lock is None or os.getpid() != self._process:
            return
        try:
            stopped = asyncio.run_coroutine_threadsafe(self._stop(DRAIN), self._loop)
            try:
                stopped.result()
            except BaseException:
                stopped.cancel()
                raise
            finally:
                assert self._thread is not None
                self._thread.join()
        finally:
            lock.release()

    async def _stop(self, drain: float) -> None:
        engine = self._interpreter.engine
        assert engine is not None
        try:
            await self._interpreter.handle("stop", {"drain": drain})
            await asyncio.to_thread(engine.join_threads, _THREAD_LIMIT)
        except asyncio.CancelledError:  # Ctrl-C: whoever closes the host does not wait for steps any more
            await self._interpreter.handle("stop", {"drain": 0.0})
        finally:
            self._ended.set()

    # As a connection.

    def request(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        event: Event | None = None,
        timeout: float | None = None,
    ) -> Any:
        """As ``Client.request``: ask and wait for the answer; events of a run go to ``event`` on the way.

        Raises
        ------
        SymphonyError
            What is wrong, of the class that a client of an isolated host would get.
        TimeoutError
            No answer within ``timeout`` seconds.
        """
        if self._lock is None or os.getpid() != self._process:
            raise HostUnavailable(
                "the host is not open in this process", hint="with symphony.Host(isolated=False) as host: ..."
            )
        news: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        answering = self._answer(method, params or {}, None if event is None else news.put)
        answer: Future[Any] = asyncio.run_coroutine_threadsafe(answering, self._loop)
        answer.add_done_callback(lambda _: news.put(None))
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while (told := _next(news, deadline)) is not None:
                if event is not None:
                    event(told)
        except BaseException:
            answer.cancel()
            raise
        try:
            return answer.result()
        except SymphonyError:
            raise
        except Exception as error:
            raise error_from(error_document(error)) from error

    async def _answer(self, method: str, params: dict[str, Any], sink: Event | None) -> Any:
        if method == "workflows.run":
            run = self._ids.make()
            accepted = await self._interpreter.handle("run.start", {"run": run, **params})
            return {"run": run, "workflow": accepted["workflow"]}
        if method == "runs.wait":
            return await self._wait(params["run"], sink, until_waiting=bool(params.get("waiting")))
        command = _COMMANDS.get(method)
        if command is not None:
            engine, run = await self._interpreter.taken_up(), params["run"]
            if command != "cancel" or not engine.ended(run):
                details = {name: value for name, value in params.items() if name != "run"}
                await engine.command(run, command, **details)
            return {"run": run, "command": command, "applied": True}
        return await self._interpreter.handle(method, params)

    async def _wait(self, run: str, sink: Event | None, *, until_waiting: bool) -> dict[str, Any]:
        engine = await self._interpreter.taken_up()
        loop, stirred = asyncio.get_running_loop(), asyncio.Event()

        def stir(_: object) -> None:
            loop.call_soon_threadsafe(stirred.set)

        ended = asyncio.ensure_future(engine.wait(run))
        ended.add_done_callback(stir)
        with self._watchers.watching(run, sink), self._watchers.watching(run, stir):
            try:
                while not ended.done():
                    stirred.clear()
                    if until_waiting and await _stays(lambda: engine.waiting(run)):
                        document = engine.waiting(run)
                        if document is not None:
                            return document
                    await stirred.wait()
                await ended
            finally:
                ended.cancel()
        self._watchers.ended(run)
        if engine.stopping and not engine.ended(run):
            raise HostUnavailable(
                f"the host was closed; run {run} is kept", hint=f"symphony runs resume {run}"
            )
        return await asyncio.to_thread(engine.document, run)


async def _stays(condition: Callable[[], object]) -> bool:
    """Whether it holds, and still does once what was just recorded has had its effect."""
    if not condition():
        return False
    await asyncio.sleep(_SETTLED)
    return bool(condition())


def _next(news: queue.SimpleQueue[dict[str, Any] | None], deadline: float | None) -> dict[str, Any] | None:
    try:
        return news.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0))
    except queue.Empty:
        raise TimeoutError("the host did not answer in time") from None
