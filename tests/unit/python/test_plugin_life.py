"""Plugins are told that the interpreter begins and ends; what they make of it stops nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine import plugin_life
from symphony.engine.plugin_life import STARTED, STOPPING, PluginLife, PluginLives

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.unit, pytest.mark.python, getattr(pytest.mark, "async")]

told: list[Any] = []
never = threading.Event()


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told.clear()
    never.clear()
    monkeypatch.setattr(plugin_life, "LIMITS", {STARTED: 0.05, STOPPING: 0.05})


async def asynchronous(home: Path, pit: Any) -> None:
    await asyncio.sleep(0)
    told.append(("async", home, pit))


def plain(home: Path) -> None:
    told.append(("thread", threading.current_thread() is threading.main_thread()))


def bare() -> None:
    told.append("bare")


def raising() -> None:
    raise ValueError("no")


async def leaving() -> None:
    raise SystemExit(3)


def hanging() -> None:
    never.wait(5)


async def hanging_async() -> None:
    await asyncio.sleep(60)


def life(plugin: str, started: Callable[..., Any], stopping: Callable[..., Any] = bare) -> PluginLife:
    return PluginLife(plugin, {STARTED: [started], STOPPING: [stopping]})


def begun(*lives: PluginLife, stop: bool = False) -> list[str]:
    lines: list[str] = []

    async def main() -> None:
        everyone = PluginLives(Path("/home"), symphony.pit, lines.append)
        await everyone.start(lives)
        await everyone.start(lives)  # as when a further plugin was loaded
        if stop:
            await everyone.stop()
            await everyone.stop()

    asyncio.run(main())
    return lines


@pytest.mark.hook("interpreter_started", "interpreter_stopping")
def test_each_is_told_once_with_what_it_takes() -> None:
    lines = begun(life("a", asynchronous), life("b", plain), PluginLife("c"), stop=True)
    assert lines == []
    assert sorted(map(repr, told)) == sorted(
        map(repr, [("async", Path("/home"), symphony.pit), ("thread", False), "bare", "bare"])
    )


@pytest.mark.parametrize(
    ("started", "reason"),
    [
        (raising, "raised ValueError: no"),
        (leaving, "raised SystemExit: 3"),
        (hanging, "took longer than 0.05 s; it is not waited for"),
        (hanging_async, "took longer than 0.05 s; it is not waited for"),
    ],
)
def test_what_fails_or_hangs_is_reported_by_name_and_holds_up_nobody(
    started: Callable[..., Any], reason: str
) -> None:
    assert begun(life("symphony-bad", started), life("good", bare)) == [
        f"plugin symphony-bad: interpreter_started {reason}"
    ]
    assert told == ["bare"]
    told.clear()
    lines = begun(life("symphony-bad", bare, started), life("good", bare), stop=True)
    assert lines == [f"plugin symphony-bad: interpreter_stopping {reason}"]
    assert told == ["bare"] * 3
    never.set()
