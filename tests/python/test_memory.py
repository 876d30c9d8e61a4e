"""Calls over the bridge own what they take and give back what they borrow, also when they fail."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy
import pytest

from symphony import _host
from symphony.errors import SymphonyError
from tests.fixtures.any_values import Level, Money, Page, Point, register

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.memory, pytest.mark.python]

ROUNDS = 2_000

register()


def blocks_after(call: Callable[[], object], rounds: int) -> int:
    for _ in range(rounds):
        call()
    gc.collect()
    return sys.getallocatedblocks()


def leaks(call: Callable[[], object], rounds: int = ROUNDS) -> bool:
    """Whether blocks grow with the calls: a leak adds at least one a call, caches do not."""
    call()
    before = blocks_after(call, 200)
    return blocks_after(call, rounds) - before > rounds // 2


def failing(call: Callable[[], object]) -> Callable[[], None]:
    def swallowed() -> None:
        with contextlib.suppress(SymphonyError, TypeError, ValueError):
            call()
            raise AssertionError("it did not fail")

    return swallowed


def test_the_check_finds_a_leak() -> None:
    kept: list[object] = []
    assert leaks(lambda: kept.append(object()))


def test_calls_keep_nothing(pit: Any) -> None:
    store, tracker, pool = pit.artifact_store, pit.dag_tracker, pit.pool_manager
    identity = store.put(b"content", name="n", metadata={"a": [1, "text", None]})
    tracker.accept_run("r", b"{}", b"")
    argument = ["a-key-of-its-own" * 3]
    before = sys.getrefcount(argument), sys.getrefcount(argument[0])
    for call in (
        pool.ping,
        lambda: pool.models(),
        lambda: store.get(identity),
        lambda: store.list(prefix="n"),
        lambda: store.put(bytearray(b"content"), name="n"),
        lambda: tracker.start_step("r", "k", "n", 1, argument),
        lambda: store.verify(id=identity),
        failing(lambda: store.get("no id")),
        failing(lambda: store.get()),
        failing(lambda: store.get(nothing=1)),
        failing(lambda: store.put(b"x", metadata={"a": object()})),
        failing(lambda: pool.try_acquire("unknown")),
        lambda: _host.decode(_host.encode({"a": [1, 2.5, {"x"}], "b": (b"bytes", None)})),
        failing(lambda: _host.encode([object()])),
        failing(lambda: _host.decode(b"l\x05")),
    ):
        assert not leaks(call)
    assert (sys.getrefcount(argument), sys.getrefcount(argument[0])) == before


def test_values_of_every_kind_keep_nothing(mirror: Any) -> None:
    array = numpy.arange(5.0)
    mutable = bytearray(b"content")
    values = [
        (1, {2}, frozenset({"three"}), 2**80),
        {"day": date(2026, 1, 2), "zone": datetime(2026, 1, 2, tzinfo=UTC)},
        [Page("url", [Level.HIGH]), Point("x", 2), Money(5, "EUR")],
        [array, mutable, memoryview(b"x")[::2]],
    ]
    inner = (array, mutable, values[0])
    before = [sys.getrefcount(value) for value in inner]
    for value in values:
        for call in (mirror.echo, mirror.echo_blocking):
            assert not leaks(lambda call=call, value=value: call(value), 500)  # type: ignore[misc]
    for call in (
        lambda: mirror.echo([values, object()]),
        lambda: mirror.echo({"a": (b"bytes", 2**90, mutable, Number(1))}),
        lambda: mirror.plan([{"name": "a", "timeout": "soon"}]),
        mirror.fail_with_causes,
        lambda: mirror.wait(0.0),
    ):
        assert not leaks(failing(call), 500)
    assert [sys.getrefcount(value) for value in inner] == before
    mutable.extend(b"free again")


class Number(int):
    pass


def test_awaits_keep_nothing(pit: Any) -> None:
    pool = pit.pool_manager
    pool.register("m")
    pool.warm("m")
    pool.warmed("m", 0.0)
    loop = asyncio.new_event_loop()

    async def ready() -> None:
        pool.release(await pool.acquire_async("m"))

    async def waited() -> None:
        held = pool.try_acquire("m")
        task = asyncio.ensure_future(ready())
        await asyncio.sleep(0)
        pool.release(held)
        await task

    async def cancelled() -> None:
        held = pool.try_acquire("m")
        task = asyncio.ensure_future(ready())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        pool.release(held)

    async def dropped() -> None:
        pool.acquire_async("m")

    for operation in (ready, waited, cancelled, dropped):
        assert not leaks(lambda operation=operation: loop.run_until_complete(operation()))  # type: ignore[misc]
    assert pool.stats()["waiting"] == pool.stats()["leases"] == 0
    loop.close()


def test_opening_and_closing_a_pit_gives_its_memory_back(tmp_path: Any, libraries: dict[str, Any]) -> None:
    paths = [str(path) for path in libraries.values()]

    def mapped() -> int:
        with open("/proc/self/maps") as maps:  # noqa: PTH123 - not a file to be walked
            return sum(".seg" in line for line in maps)

    gc.collect()
    before = mapped()  # other tests' Pits may go meanwhile
    for _ in range(3):
        pit = _host.open_pit(str(tmp_path), paths)
        pit.dag_tracker.ping()
        pit.close()
        del pit
        gc.collect()
    assert mapped() <= before
