"""Pit calls from Python: arguments, results, errors, awaits, as a plugin author meets them."""

from __future__ import annotations

import asyncio
import copy
import doctest
import inspect
import math
import os
import pickle
import pydoc
import re
import subprocess
import sys
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from symphony import _host
from symphony.errors import (
    ConversionError,
    NotFound,
    PitConflict,
    PitInvalidArgument,
    PitNotFound,
    PitPanic,
    PitTimeout,
    PitUnavailable,
    PitWouldBlock,
)

pytestmark = pytest.mark.python

PAGE = Path(__file__).parent.parent.parent / "docs" / "bridge.md"


def test_methods_read_as_builtins(pit: Any) -> None:
    method = pit.pool_manager.try_acquire
    assert inspect.isbuiltin(method)
    assert str(inspect.signature(method)) == "(model, slots=1)"
    assert method.__name__ == "try_acquire"
    assert method.__qualname__ == "PoolManager.try_acquire"
    assert method.__module__ == "symphony.pit"
    assert repr(method).startswith("<built-in method try_acquire of symphony.pit.PoolManager object at ")
    assert repr(pit.pool_manager) == f"<Pit component symphony.pool_manager {_host.__version__}>"
    assert "A lease of a hot model" in str(method.__doc__)
    assert pit["symphony.pool_manager"] is pit.pool_manager


def test_the_page_about_calls_shows_what_happens(pit: Any) -> None:
    section = PAGE.read_text().partition("\n## Calls\n")[2].partition("\n## ")[0]
    examples = doctest.DocTestParser().get_doctest(section, {"pit": pit}, PAGE.name, str(PAGE), 0)
    assert len(examples.examples) > 8
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    assert runner.run(examples, out=report.append).failed == 0, "".join(report)


def test_help_shows_parameters_types_and_text(shapes: Any) -> None:
    shown = pydoc.plain(pydoc.render_doc(shapes.padded))
    assert "padded(text, width=4, fill='.')" in shown
    assert "The text, filled up to a width." in shown
    assert "padded(text: str, width: int = 4, fill: str = '.') -> str" in shown
    shown = pydoc.plain(pydoc.render_doc(shapes))
    assert "Every shape of call" in shown
    assert "padded(text, width=4, fill='.')" in shown


def test_every_shape_of_call_gives_its_result(shapes: Any) -> None:
    assert shapes.ping() is None
    assert shapes.add("ab", 3) == shapes.add("ab", number=3) == shapes.add(number=3, text="ab") == 5
    assert shapes.four(1, 2.5, True, "abc") == 7.5
    assert shapes.five(1, 2, 3, 4) == shapes.five(1, 2, c=3, d=4, e=5) == 15
    assert shapes.padded("ab") == shapes.padded(text="ab") == "ab.."
    assert shapes.padded("ab", 3) == shapes.padded("ab", width=3) == "ab."
    assert shapes.padded("ab", fill="-") == "ab--"
    assert shapes.padded("ab", 5, "-") == shapes.padded(fill="-", width=5, text="ab") == "ab---"
    assert shapes.add(*["ab"], **{"num" + "ber": 3}) == 5
    assert shapes.ping(**{}) is None
    assert shapes.block(0.0) == shapes.block(seconds=0.0) == 0.0
    assert asyncio.run(_awaited(shapes.echo_async, "x")) == "x"


async def _awaited(method: Any, *args: Any) -> Any:
    return await method(*args)


def test_scalars_come_back_as_they_were(shapes: Any) -> None:
    for value in (
        *(None, True, False, 0, -1, 2**31, -(2**63), 2**63 - 1, 2**64 - 1),
        *(0.5, -0.0, math.inf, "", "ä𝄞\0", "a" * 5_000, b"", b"\0\xff" * 9),
    ):
        back = shapes.echo(value)
        assert type(back) is type(value)
        assert repr(back) == repr(value)
    assert math.isnan(shapes.echo(math.nan))
    assert shapes.four(1, 2, False, "") == 3.0


def test_arguments_are_checked_as_in_python(pit: Any, shapes: Any) -> None:
    pool = pit.pool_manager
    pool.register("a", memory=5, provider="p")
    assert pool.models()[0] | {"memory": 5, "provider": "p", "instances": 1} == pool.models()[0]
    malformed: list[tuple[Any, str]] = [
        (lambda: shapes.ping(1), r"ping() takes no arguments (1 given)"),
        (lambda: shapes.echo(1, 2), r"echo() takes at most 1 argument (2 given)"),
        (lambda: shapes.add("a", 1, 2), r"add() takes at most 2 arguments (3 given)"),
        (lambda: shapes.add(), r"add() missing required argument: 'text' (pos 1)"),
        (lambda: shapes.add("a"), r"add() missing required argument: 'number' (pos 2)"),
        (lambda: shapes.add(number=1), r"add() missing required argument: 'text' (pos 1)"),
        (lambda: shapes.five(1, 2, 3), r"five() missing required argument: 'd' (pos 4)"),
        (lambda: shapes.five(1, 2, 3, 4, 5, 6), r"five() takes at most 5 arguments (6 given)"),
        (lambda: shapes.add("a", 1, nmber=2), r"add() got an unexpected keyword argument 'nmber'"),
        (lambda: shapes.add("a", text="b"), r"add() got multiple values for argument 'text'"),
    ]
    for call, message in malformed:
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            call()
    unfitting: list[tuple[Any, str]] = [
        (lambda: shapes.add(3, 4), "text: expected str, got int"),
        (lambda: shapes.add("a", number="b"), "number: expected int, got str ('b')"),
        (lambda: shapes.add("a", None), "number: expected int, got None"),
        (lambda: shapes.add("a", True), "number: expected int, got bool"),
        (lambda: shapes.padded("a", -1), "width: expected int of at least 0, got -1"),
        (lambda: pool.register(3), "model: expected str, got int"),
    ]
    for call, message in unfitting:
        with pytest.raises(PitInvalidArgument, match=f"^{re.escape(message)}$"):
            call()


@pytest.mark.parametrize("of", [lambda shapes: shapes.add, lambda shapes: shapes, None])
def test_what_belongs_to_a_process_is_not_pickled(pit: Any, shapes: Any, of: Any) -> None:
    thing = pit if of is None else of(shapes)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"cannot pickle .* a Pit lives in one process"):
            pickle.dumps(thing, protocol)
    if of is not None:
        assert copy.copy(shapes.add) is copy.deepcopy(shapes.add) is shapes.add


def test_a_panic_is_an_error_of_its_call_alone(shapes: Any) -> None:
    for call, said in ((shapes.panic, "it panicked"), (shapes.block_and_panic, "it panicked detached")):
        with pytest.raises(PitPanic, match=said) as raised:
            call()
        assert "component: symphony.shapes" in raised.value.__notes__
        assert shapes.add("ab", 3) == 5


def test_what_cannot_cross_is_named_by_its_path(pit: Any) -> None:
    put = pit.artifact_store.put
    for metadata, message in [
        ({"a": [1, object()]}, r"metadata\['a'\]\[1\]: a value of type object cannot cross"),
        ({"a": "\ud800"}, r"metadata\['a'\]: expected str, got a str with a lone surrogate"),
    ]:
        with pytest.raises(ConversionError, match=message):
            put(b"x", name="n", metadata=metadata)
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ConversionError, match="a cycle"):
        put(b"x", name="n", metadata={"a": cycle})


def test_values_come_back_as_they_were(pit: Any) -> None:
    metadata: dict[str, Any] = {
        "none": None,
        "bools": [True, False],
        "ints": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1],
        "floats": [0.5, -0.0, float("inf")],
        "text": ["", "ä", "𝄞", "a\0b"],
        "bytes": [b"", b"\0\xff", bytearray(b"x")],
        "nested": {"a": {"b": [[], {}]}},
        "kinds": [(1, 2), {3}, frozenset({4}), 2**70, date(2026, 1, 2), {(1, 2): Decimal("1.10")}],
    }
    pit.artifact_store.put(b"x", name="n", metadata=metadata)
    back = pit.artifact_store.list("n")[0]["metadata"]
    assert back == metadata
    assert repr(back["floats"]) == repr(metadata["floats"])


def test_errors_have_their_kind(pit: Any) -> None:
    with pytest.raises(PitNotFound, match="no run nowhere"):
        pit.dag_tracker.run_info("nowhere")
    pit.dag_tracker.accept_run("r", b"{}", b"")
    pit.dag_tracker.finish_run("r", "completed", b"={}")
    with pytest.raises(PitConflict, match="run r is finished"):
        pit.dag_tracker.finish_step("r", "k", "n", b"", 0, b"=")
    with pytest.raises(LookupError):
        pit.pool_manager.try_acquire("unknown")
    with pytest.raises(NotFound, match='has no method "nothing"'):
        pit.call("dag_tracker", "nothing", [])
    with pytest.raises(AttributeError, match="no Pit component"):
        pit.dagtracker  # noqa: B018


def test_a_closed_pit_refuses_calls(pit: Any, shapes: Any) -> None:
    pit.close()
    for call in (
        pit.dag_tracker.ping,
        lambda: pit.pool_manager.try_acquire("m"),
        lambda: pit.pool_manager.try_acquire(model="m"),
        lambda: pit.pool_manager.acquire("m"),
        lambda: pit.pool_manager.acquire_async("m"),
    ):
        with pytest.raises(PitUnavailable, match=r"^the Pit is closed$"):
            call()
    assert shapes.add("ab", 3) == 5  # of another Pit


@pytest.mark.subprocess
def test_the_pit_has_one_holder(pit: Any, tmp_path: Path, libraries: dict[str, Path]) -> None:
    program = (
        "import sys; from symphony import _host, errors\n"
        "try: _host.open_pit(sys.argv[1], [])\n"
        "except errors.PitUnavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert f"in use by process {os.getpid()}" in done.stdout
    pit.close()
    _host.open_pit(str(tmp_path), [str(libraries["dag_tracker"])]).close()


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_cut_off_durable_values_are_errors(cut: int) -> None:
    whole = _host.encode({"a": [1, 2.5, "text", b"bytes"], "b": (None, True)})
    if cut < len(whole):
        with pytest.raises(ValueError, match="cut off"):
            _host.decode(whole[:cut])


@getattr(pytest.mark, "async")
class TestWaiting:
    """Leases waited for: on a loop, on a thread, given up."""

    @pytest.fixture
    def pool(self, pit: Any) -> Any:
        pit.pool_manager.register("m")
        assert pit.pool_manager.warm("m") is True
        assert pit.pool_manager.warm("m") is False
        return pit.pool_manager

    def test_an_await_ends_when_another_thread_completes_it(self, pool: Any) -> None:
        async def main() -> int:
            threading.Timer(0.02, pool.warmed, ("m", 0.1)).start()
            return int(await pool.acquire_async("m"))

        lease = asyncio.run(main())
        assert pool.stats()["leases"] == 1
        pool.release(lease)
        assert pool.stats()["leases"] == 0

    def test_a_ready_await_needs_no_turn_of_the_loop(self, pool: Any) -> None:
        pool.warmed("m", 0.0)

        async def main() -> list[str]:
            order: list[str] = []
            asyncio.get_running_loop().call_soon(order.append, "turn")
            pool.release(await pool.acquire_async("m"))
            order.append("done")
            await asyncio.sleep(0)
            return order

        assert asyncio.run(main()) == ["done", "turn"]

    def test_cancelling_leaves_the_queue_before_the_task_sees_it(self, pool: Any) -> None:
        seen: list[int] = []

        async def wait() -> None:
            try:
                await pool.acquire_async("m")
            except asyncio.CancelledError:
                seen.append(pool.stats()["waiting"])
                raise

        async def main() -> None:
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            assert pool.stats()["waiting"] == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert seen == [0]

    def test_timeout_and_first_come_first_served(self, pool: Any) -> None:
        pool.warmed("m", 0.0)

        async def main() -> list[int]:
            held = pool.try_acquire("m")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await pool.acquire_async("m")
            served: list[int] = []

            async def wait(number: int) -> None:
                lease = await pool.acquire_async("m")
                served.append(number)
                pool.release(lease)

            async with asyncio.TaskGroup() as group:
                for number in range(5):
                    group.create_task(wait(number))
                await asyncio.sleep(0)
                pool.release(held)
            return served

        assert asyncio.run(main()) == [0, 1, 2, 3, 4]

    def test_a_blocking_call_detaches_and_is_refused_on_a_loop(self, pool: Any) -> None:
        with pytest.raises(PitTimeout):
            pool.acquire("m", 0.01)
        threading.Timer(0.02, pool.warmed, ("m", 0.0)).start()
        assert pool.acquire("m") > 0

        async def main() -> None:
            pool.acquire("m", 1.0)

        with pytest.raises(PitWouldBlock, match="await acquire_async"):
            asyncio.run(main())

    def test_a_failed_load_reaches_those_who_wait(self, pool: Any) -> None:
        async def main() -> None:
            asyncio.get_running_loop().call_later(0.01, pool.failed, "m", "no such file")
            await pool.acquire_async("m")

        with pytest.raises(PitConflict, match="model m failed") as raised:
            asyncio.run(main())
        assert raised.value.__notes__ == ["reason: no such file"]
