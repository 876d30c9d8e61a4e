"""Loops come and go: closed with operations pending, and ended with the interpreter."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest

from symphony import _host
from tests.python.operations import LOOPS, alive

pytestmark = [pytest.mark.python, getattr(pytest.mark, "async")]

ENDS = int(os.environ.get("SYMPHONY_SHUTDOWNS", "10"))
PENDING = """
import asyncio, os, random, sys, threading
sys.path.insert(0, sys.argv[1])
from symphony import _host
from tests.python.operations import LOOPS

seed = int(sys.argv[4])
choice = random.Random(seed)
operations = _host.open_pit(sys.argv[2], [sys.argv[3]])["test.operations"]
operations.storm("pending", 5.0)  # a native thread wakes whoever waits, to the end and beyond

async def wait():
    while True:
        await operations.gate("pending")

async def main():
    tasks = [asyncio.ensure_future(wait()) for _ in range(50)]
    tasks += [asyncio.ensure_future(operations.later(choice.random() / 50)) for _ in range(50)]
    await asyncio.sleep(choice.random() / 50)
    if seed % 3 == 0:
        sys.exit(7)  # cancels all tasks
    return tasks

loop = LOOPS[("asyncio", "uvloop", "proactor")[seed % 3]]()
other = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
if seed % 2:
    other.start()
kept = loop.run_until_complete(main())  # neither closed nor collected before the interpreter ends
sys.exit(7)
"""


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "proactor"])
def test_what_comes_to_a_closed_loop_is_counted_and_dropped(operations: Any, kind: str) -> None:
    loop = LOOPS[kind]()
    waiting = [loop.create_task(operations.gate("late")) for _ in range(10)]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert operations.keep("late") == 10
    for task in waiting:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    before = _host.async_counts()["late"]
    loop.close()
    assert operations.wake_kept() == 10
    if kind == "proactor":  # nothing tells its thread before the first wake
        deadline = threading.Event()
        for _ in range(500):
            if _host.async_counts()["late"] - before:
                break
            deadline.wait(0.01)
    assert _host.async_counts()["late"] - before == 10
    assert alive(operations) == 10, "the tasks still refer to them"
    del waiting, task
    gc.collect()
    assert alive(operations) == 0


def test_wakes_that_wait_in_a_loop_that_closes_are_counted(operations: Any) -> None:
    loop = asyncio.new_event_loop()
    waiting = [loop.create_task(operations.gate("left")) for _ in range(10)]
    loop.call_soon(loop.stop)
    loop.run_forever()
    before = _host.async_counts()["late"]
    assert operations.open("left") == 10
    loop.close()
    assert _host.async_counts()["late"] - before == 10
    for task in waiting:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    del waiting, task
    gc.collect()


@pytest.mark.parametrize("kind", list(LOOPS))
def test_a_loop_leaves_nothing_behind(operations: Any, kind: str) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def once() -> None:
        loop = LOOPS[kind]()
        assert loop.run_until_complete(operations.threaded(1)) == 1
        loop.close()

    once()
    gc.collect()
    before = descriptors(), threads()
    for _ in range(20):
        once()
    gc.collect()
    settled = threading.Event()
    for _ in range(500):
        if (descriptors(), threads()) <= before:
            break
        settled.wait(0.01)
    # One that leaks does so with each of the 20 loops; the thread that signals the last one may come or go.
    assert descriptors() < before[0] + 10
    assert threads() < before[1] + 10


def test_a_loop_that_takes_nothing_from_other_threads_is_refused(operations: Any) -> None:
    class Alone(asyncio.SelectorEventLoop):
        def add_reader(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
            raise NotImplementedError

        def call_soon_threadsafe(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
            raise NotImplementedError

    loop = Alone()

    async def main() -> None:
        with pytest.raises(NotImplementedError):
            await operations.threaded(1)

    loop.run_until_complete(main())
    loop.close()


@pytest.mark.subprocess
def test_the_interpreter_ends_with_operations_pending(operations_library: str, tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])

    def end(seed: int) -> tuple[int, int, str]:
        home = str(tmp_path / str(seed))
        command = [sys.executable, "-c", PENDING, root, home, operations_library, str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        good = done.returncode == 7 and "panicked" not in done.stderr
        return seed, done.returncode, "" if good else done.stderr

    with ThreadPoolExecutor(2) as several:
        assert [row for row in several.map(end, range(ENDS)) if row[1:] != (7, "")] == []
