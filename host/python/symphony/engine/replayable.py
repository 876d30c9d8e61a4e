"""Time and chance that are the same on replay: ``sleep``, ``now``, ``random``, ``uuid``, and ``gather``.

In workflow code they come from the run; in steps and everywhere else they are the ordinary ones.
"""

from __future__ import annotations

import asyncio
import random as _random
import uuid as _uuid
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from symphony.engine.run_loop import RunLoop, running_run_loop


async def sleep(duration: float | timedelta) -> None:
    """Sleep for some seconds. In a workflow the deadline is durable: a death does not start it again.

    Example
    -------
    >>> await symphony.sleep(timedelta(hours=6))
    """
    await asyncio.sleep(duration.total_seconds() if isinstance(duration, timedelta) else duration)


def now() -> datetime:
    """The time, in UTC. In a workflow: the time of what happened last, the same on every replay.

    Example
    -------
    >>> deadline = symphony.now() + timedelta(minutes=5)
    """
    loop = running_run_loop()
    return loop.now() if loop is not None else datetime.now(UTC)


def uuid() -> _uuid.UUID:
    """A random UUID. In a workflow it comes from the run, the same on every replay.

    Example
    -------
    >>> name = f"report-{symphony.uuid()}"
    """
    loop = running_run_loop()
    if loop is None:
        return _uuid.uuid4()
    return _uuid.UUID(int=loop.random.getrandbits(128), version=4)


def gather(*awaitables: Awaitable[Any] | Iterable[Awaitable[Any]], return_exceptions: bool = False) -> Any:
    """``asyncio.gather`` that also takes one list of handles, as ``Step.map`` returns it.

    Example
    -------
    >>> pages = await symphony.gather(fetch.map(urls))
    """
    if len(awaitables) == 1 and not isinstance(awaitables[0], Awaitable):
        awaitables = tuple(awaitables[0])
    return asyncio.gather(
        *cast("tuple[Awaitable[Any], ...]", awaitables), return_exceptions=return_exceptions
    )


class _RunRandom:
    """The methods of ``random.Random``: the run's generator in workflow code, the module's elsewhere."""

    def __getattr__(self, name: str) -> Any:
        loop: RunLoop | None = running_run_loop()
        return getattr(_random if loop is None else loop.random, name)


random: _random.Random = cast("_random.Random", _RunRandom())
"""Random numbers. In a workflow they come from the run, the same on every replay."""
