"""The core's own executors: the event loop, threads, processes. A plugin of the core, by the same hook."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from symphony.hookspecs import hookimpl

if TYPE_CHECKING:
    from symphony.engine.step_process import StepProcess
    from symphony.executors import Outcome, StepTask
    from symphony.plugins.registry import ExecutorRegistry

ASYNC: Final = "async"
THREAD: Final = "thread"
PROCESS: Final = "process"
_CPUS: Final = os.cpu_count() or 1
SLOTS: Final = {ASYNC: 100, THREAD: min(32, _CPUS + 4), PROCESS: _CPUS}


class OnLoop:
    """Async steps, on the interpreter's loop."""

    slots = SLOTS[ASYNC]

    async def submit(self, task: StepTask) -> Outcome:
        return await task.run_here()

    async def close(self) -> None:
        """There is nothing to close."""


class _Threads:
    """Threads that are made when the first is needed."""

    def __init__(self, slots: int, name: str) -> None:
        self.slots = slots
        self._name = name
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None

    def call(self, task: StepTask, function: Any, *args: Any) -> concurrent.futures.Future[Outcome]:
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(self.slots, thread_name_prefix=self._name)
        called: concurrent.futures.Future[Outcome] = self._pool.submit(Context().run, function, *args)
        task.hold(called)
        return called

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for thread in list(self._pool._threads) if self._pool is not None else ():
            thread.join(max(deadline - time.monotonic(), 0.0))


class OnThreads:
    """Steps in threads. A thread cannot be interrupted: it keeps its slot until it returns."""

    def __init__(self, slots: int = SLOTS[THREAD]) -> None:
        self.slots = slots
        self._threads = _Threads(slots, "step")

    async def submit(self, task: StepTask) -> Outcome:
        return await asyncio.wrap_future(self._threads.call(task, task.run_blocking))

    async def close(self) -> None:
        self._threads.close()

    def join(self, seconds: float) -> None:
        """After ``close``: wait for the threads of steps, but not longer than so many seconds."""
        self._threads.join(seconds)


class OnProcesses:
    """Steps in processes of their own, which are kept for further ones. One that is stopped is killed."""

    def __init__(self, slots: int = SLOTS[PROCESS]) -> None:
        self.slots = slots
        self._threads = _Threads(slots, "step-process")
        self._idle: list[StepProcess] = []
        self._busy: set[StepProcess] = set()

    async def submit(self, task: StepTask) -> Outcome:
        packed = task.pack()
        process = self._next()
        self._busy.add(process)
        try:
            outcome = await asyncio.wrap_future(
                self._threads.call(task, process.execute, packed, task.report)
            )
        except BaseException:
            process.kill()
            raise
        else:
            self._idle.append(process)
            return outcome
        finally:
            self._busy.discard(process)

    def _next(self) -> StepProcess:
        while self._idle:
            process = self._idle.pop()
            if process.lives:
                return process
        from symphony.engine.step_process import StepProcess  # not for who needs no process

        return StepProcess()

    async def close(self) -> None:
        processes = [*self._idle, *self._busy]
        for process in processes:
            process.kill()
        self._threads.close()
        for process in processes:
            await asyncio.to_thread(process.wait)


@hookimpl
def register_executors(registry: ExecutorRegistry) -> None:
    registry.add(ASYNC, OnLoop())
    registry.add(THREAD, OnThreads())
    registry.add(PROCESS, OnProcesses())
