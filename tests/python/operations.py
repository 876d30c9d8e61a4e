"""The component of tests/fixtures/components/operations, and the event loops that it is awaited on."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Proactor(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors for others, as the proactor loop does not."""

    def add_reader(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        raise NotImplementedError


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
    "proactor": Proactor,
}


def run(kind: str, main: Coroutine[Any, Any, T]) -> T:
    """Run on a loop of a kind of its own, in debug mode where the environment says so, and close it."""
    with asyncio.Runner(
        loop_factory=LOOPS[kind], debug=os.environ.get("SYMPHONY_LOOP_DEBUG") == "1"
    ) as runner:
        return runner.run(main)


def alive(component: Any) -> int:
    """Operations and streams of the component that were created and not dropped."""
    stats = component.stats()
    return int(stats["created"] - stats["dropped"])
