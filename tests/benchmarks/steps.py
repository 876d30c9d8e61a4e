"""Durable steps and runs through the real engine and the real log, against the same work kept in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import graphlib
import itertools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony.engine.engine import Engine
from symphony.plugins import PluginHost
from symphony.values.codec import native_codec
from tests.benchmarks.measure import Figure, figure, seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

PLUGIN = Path(__file__).parent / "workload.py"
REPEATS = 7
CHAIN = 100
RUNS = 100
SHORT = 5
CONCURRENT = 50
_numbers = itertools.count()


async def increment(number: int) -> int:
    return number + 1


async def task_chain(length: int) -> int:
    """One asyncio task per step, nothing recorded."""
    number = 0
    for _ in range(length):
        number = await asyncio.create_task(increment(number))
    return number


async def graph_run(length: int) -> int:
    """What an in-memory runner does: graphlib for the order, a task per node, results in a dict."""
    sorter = graphlib.TopologicalSorter({at: (at - 1,) if at else () for at in range(length)})
    sorter.prepare()
    results: dict[int, int] = {}
    done: asyncio.Queue[int] = asyncio.Queue()

    async def node(at: int) -> None:
        results[at] = await increment(results.get(at - 1, 0))
        done.put_nowait(at)

    tasks = set()
    while sorter.is_active():
        for at in sorter.get_ready():
            task = asyncio.create_task(node(at))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        sorter.done(await done.get())
    return results[length - 1]


class DurableRuns:
    """An engine in this process, on a home of its own."""

    def __init__(self, pit: Any, home: Path) -> None:
        plugins = PluginHost(home)
        plugins.load_file(PLUGIN)
        # As of an installed plugin: the look at a file before each run is not what is measured here.
        plugins.workflows = {
            name: dataclasses.replace(registered, file=None) for name, registered in plugins.workflows.items()
        }
        self._pit = pit
        self._engine = Engine(pit, plugins, native_codec(), lambda method, params: None)

    async def __call__(self, length: int) -> None:
        run = f"bench{next(_numbers):08}"
        others = asyncio.all_tasks()
        await self._engine.start(run, "workload.chain", {"length": length}, {}, Path("/"), [])
        while started := asyncio.all_tasks() - others:
            await asyncio.wait(started)
        info = self._pit.dag_tracker.run_info(run)
        assert info["status"] == "completed", info
        assert info["payload"].startswith(f'={{"result": {length},'.encode()), info["payload"]

    async def alone(self, length: int) -> None:
        """One of several runs at once."""
        run = f"bench{next(_numbers):08}"
        await self._engine.start(run, "workload.chain", {"length": length}, {}, Path("/"), [])
        while run in self._engine.live:
            await asyncio.sleep(0.001)
        assert self._pit.dag_tracker.run_info(run)["status"] == "completed"

    async def close(self) -> None:
        await self._engine.stop(0)


def timed(loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[object]]) -> float:
    async def main() -> None:
        await call()

    return seconds(lambda: loop.run_until_complete(main()))


def step_figures(pit: Any) -> Iterator[Figure]:
    """Figures of durable steps and runs."""
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        durable = loop.run_until_complete(made(pit, Path(folder)))
        assert (
            loop.run_until_complete(task_chain(CHAIN)) == loop.run_until_complete(graph_run(CHAIN)) == CHAIN
        )
        loop.run_until_complete(durable(CHAIN))
        chain = [
            (timed(loop, lambda: durable(CHAIN)), timed(loop, lambda: task_chain(CHAIN)))
            for _ in range(REPEATS)
        ]
        yield figure(
            "durable step, chain of 100",
            "µs",
            "asyncio.create_task + await",
            [pair[0] / CHAIN * 1e6 for pair in chain],
            [pair[1] / CHAIN * 1e6 for pair in chain],
            target="≤ 2 (later)",
        )

        async def many(run: Callable[[int], Awaitable[object]]) -> None:
            for _ in range(RUNS):
                await run(SHORT)

        runs = [
            (RUNS / timed(loop, lambda: many(durable)), RUNS / timed(loop, lambda: many(graph_run)))
            for _ in range(REPEATS)
        ]
        yield figure(
            "durable 5-step runs per second",
            "1/s",
            "graphlib + asyncio, not durable",
            [pair[0] for pair in runs],
            [pair[1] for pair in runs],
            target="≥ 1.0 (later)",
        )
        loop.run_until_complete(durable.close())
    loop.close()


def machine_figures(pit: Any) -> Iterator[Figure]:
    """A durable step where it waits for the disk, alone and among others; ``pit`` is open in that mode."""
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        assert pit.durability == "machine"
        durable = loop.run_until_complete(made(pit, Path(folder)))
        loop.run_until_complete(durable(SHORT))
        plain = (Path(folder) / "plain").open("ab", buffering=0)

        def flushes() -> None:
            for _ in range(CHAIN):
                plain.write(bytes(4096))
                os.fdatasync(plain.fileno())

        async def together() -> None:
            await asyncio.gather(*[durable.alone(CHAIN) for _ in range(CONCURRENT)])

        taken = [
            (timed(loop, lambda: durable(CHAIN)), timed(loop, together) / CONCURRENT, seconds(flushes))
            for _ in range(REPEATS)
        ]
        for name, at, target in (
            ("one run", 0, "≤ 1.3"),
            (f"{CONCURRENT} runs at once", 1, "≤ 0.1"),
        ):
            yield figure(
                f'durable step, durability="machine", {name}',
                "µs",
                "append of 4 KiB + fdatasync",
                [row[at] / CHAIN * 1e6 for row in taken],
                [row[2] / CHAIN * 1e6 for row in taken],
                target=target,
            )
        plain.close()
        loop.run_until_complete(durable.close())
    loop.close()


async def made(pit: Any, home: Path) -> DurableRuns:
    return DurableRuns(pit, home)
