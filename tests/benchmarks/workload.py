"""A plugin file for the benchmarks: steps that do next to nothing, so that what is timed is Symphony."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import symphony

if TYPE_CHECKING:
    from symphony.plugins.registry import WorkflowRegistry


@symphony.step
async def increment(number: int) -> int:
    return number + 1


@symphony.workflow
async def chain(length: int) -> int:
    """Steps one after the other, each taking the result of the one before."""
    number = 0
    for _ in range(length):
        number = await increment(number)
    return number


@symphony.workflow
async def nothing() -> None:
    """No step at all."""


@symphony.step
async def tell_the_time() -> float:
    """Says it as its progress, rests, and returns it at its end."""
    symphony.progress(time.time())
    await asyncio.sleep(0.02)
    return time.time()


@symphony.workflow
async def clock(length: int) -> list[float]:
    """The end of each of some steps, in seconds since the epoch."""
    return [await tell_the_time() for _ in range(length)]


@symphony.step
async def wait(mark: str) -> None:
    with Path(mark).open("a") as file:
        file.write(f"{os.getpid()}\n")
    await asyncio.Event().wait()


@symphony.workflow
async def waits(mark: str) -> None:
    """A step that writes down that it has begun, and never ends."""
    await wait(mark)


@symphony.hookimpl
def register_workflows(registry: WorkflowRegistry) -> None:
    registry.add(chain)
    registry.add(nothing)
    registry.add(clock)
    registry.add(waits)
