"""Calls over the bridge own what they take and give back what they borrow, also when they fail."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy
import pytest

from symphony import _host
from symphony.errors import SymphonyError
from tests.fixtures.any_values import Level, Money, Page, Point, register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.memory, pytest.mark.python]

# `make soak` sets a million.
ROUNDS = int(os.environ.get("SYMPHONY_MEMORY_ROUNDS", "1000"))

register()


class Allocated(ctypes.Structure):
    """What glibc's ``mallinfo2`` tells; in ``uordblks``, the bytes in use."""

    _fields_ = [
        *[(f"before_{number}", ctypes.c_size_t) for number in range(7)],
        ("uordblks", ctypes.c_size_t),
        *[(f"behind_{number}", ctypes.c_size_t) for number in range(2)],
    ]


MALLINFO = getattr(ctypes.CDLL(None), "mallinfo2", None)
if MALLINFO is not None:
    MALLINFO.restype = Allocated


def in_use() -> tuple[int, int]:
    """Blocks of Python's allocator, and bytes of the C library's, from which Rust takes its own."""
    gc.collect()
    return sys.getallocatedblocks(), MALLINFO().uordblks if MALLINFO is not None else 0


def leaks(call: Callable[[], object], rounds: int = ROUNDS) -> bool:
    """Whether memory grows with the calls: a leak adds a block or 16 bytes a call, whenever one looks.

    Caches do not, nor does what new threads keep for themselves.
    """

    def grows() -> bool:
        blocks, size = in_use()
        for _ in range(rounds):
            call()
        more_blocks, more_bytes = in_use()
        return more_blocks - blocks > rounds // 2 or more_bytes - size > 8 * rounds

    for _ in range(200):
        call()
    return all(grows() for _ in range(3))


def failing(call: Callable[[], object]) -> Callable[[], None]:
    def swallowed() -> None:
        with contextlib.suppress(SymphonyError, TypeError, ValueError):
            call()
            raise AssertionError("it did not fail")

    return swallowed


def test_the_check_finds_leaks_of_both_allocators() -> None:
    kept: list[object] = []
    assert leaks(lambda: kept.append(object()), 20_000)
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    if MALLINFO is not None:
        assert leaks(lambda: libc.malloc(16), 20_000)


def shapes_of_call(shapes: Any, closed: Any, text: str, number: int, items: list[Any]) -> Iterator[Any]:
    """Every shape of call, and each way in which one fails; all take ``text``, ``number`` or ``items``."""
    yield lambda: shapes.ping()
    yield lambda: shapes.add(text, number)
    yield lambda: shapes.add(text, number=number)
    yield lambda: shapes.add(number=number, text=text)
    yield lambda: shapes.five(number, number, number, number)
    yield lambda: shapes.padded(text)
    yield lambda: shapes.padded(text, fill=text)
    yield lambda: shapes.echo(text)
    yield lambda: shapes.echo(items)
    yield lambda: shapes.copied([items, {text: items}, {text: number}])
    yield lambda: shapes.echo(value=items)
    yield lambda: shapes.size(bytearray(b"x" * 2_000))
    yield lambda: shapes.block(0.0)
    yield failing(lambda: shapes.ping(text))
    yield failing(lambda: shapes.add(text))
    yield failing(lambda: shapes.add(text, number, items))
    yield failing(lambda: shapes.add(text, number, text=text))
    yield failing(lambda: shapes.add(text, nothing=items))
    yield failing(lambda: shapes.add(items, number))
    yield failing(lambda: shapes.add(number, text))
    yield failing(lambda: shapes.echo([text, items, object()]))
    yield failing(lambda: shapes.echo({text: "\ud800"}))
    yield failing(lambda: shapes.add("\ud800", number))
    yield failing(lambda: shapes.add(text, 1 << 70))
    yield failing(lambda: shapes.fail(text))
    yield failing(lambda: shapes.fail(reason=text))
    yield failing(lambda: shapes.panic())
    yield failing(lambda: shapes.block_and_panic())
    yield failing(lambda: closed.add(text, number))
    yield failing(lambda: closed.add(text=text, number=number))


@pytest.fixture
def closed(tmp_path: Path, shapes_library: Path) -> Any:
    """The same component in a Pit that is closed."""
    opened = _host.open_pit(str(tmp_path / "closed"), [str(shapes_library)])
    opened.close()
    return opened.shapes


@pytest.fixture
def _quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Panics print what they said, each time."""
    yield
    capfd.readouterr()


@pytest.mark.usefixtures("_quiet")
def test_every_shape_of_call_gives_back_what_it_borrows(shapes: Any, closed: Any) -> None:
    text, number, items = "a-text-of-its-own" * 3, 123_456_789, ["inner" * 3, 987_654_321, {"key" * 3: 1.5}]
    borrowed = [text, number, items, *items, None, shapes.add, shapes.add.__self__, shapes.echo, TypeError]
    for call in shapes_of_call(shapes, closed, text, number, items):
        call()
        gc.collect()
        before = [sys.getrefcount(thing) for thing in borrowed]
        for _ in range(50):
            call()
        gc.collect()
        grown = [sys.getrefcount(thing) - count for thing, count in zip(borrowed, before, strict=True)]
        assert all(abs(change) < 25 for change in grown), (call, grown)


@pytest.mark.usefixtures("_quiet")
def test_every_shape_of_call_keeps_no_memory(shapes: Any, closed: Any) -> None:
    text, number, items = "a-text-of-its-own" * 3, 123_456_789, ["inner" * 3, 987_654_321, {"key" * 3: 1.5}]
    for call in shapes_of_call(shapes, closed, text, number, items):
        assert not leaks(call)


def test_calls_of_the_core_keep_nothing(pit: Any) -> None:
    store, tracker, pool = pit.artifact_store, pit.dag_tracker, pit.pool_manager
    identity = store.put(b"content", name="n", metadata={"a": [1, "text", None]})
    tracker.accept_run("r", b"{}", b"")
    argument = ["a-key-of-its-own" * 3]
    for call in (
        pool.ping,
        lambda: pool.models(),
        lambda: store.get(identity),
        lambda: store.list(prefix="n"),
        lambda: store.verify(id=identity),
        failing(lambda: store.get("no id")),
        failing(lambda: store.put(b"x", metadata={"a": object()})),
        failing(lambda: pool.try_acquire("unknown")),
        lambda: _host.decode(_host.encode({"a": [1, 2.5, {"x"}], "b": (b"bytes", None)})),
        failing(lambda: _host.encode([object()])),
        failing(lambda: _host.decode(b"l\x05")),
    ):
        assert not leaks(call)
    # These append a record each, and the component may keep some of it: only what is Python's is compared.
    before = sys.getrefcount(argument), sys.getrefcount(argument[0]), sys.getallocatedblocks()
    for _ in range(500):
        store.put(bytearray(b"content"), name="n")
        tracker.start_step("r", "k", "n", 1, argument)
    gc.collect()
    assert (sys.getrefcount(argument), sys.getrefcount(argument[0])) == before[:2]
    assert sys.getallocatedblocks() - before[2] < 250


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
