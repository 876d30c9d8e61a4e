"""Telling one plugin: in order, each event once, whatever its observers do."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from symphony.engine.failures import encode_failure
from symphony.home import Home
from symphony.observing.events import Failure, RunEvent, StepEvent, Told, told
from symphony.observing.observer import Observer
from symphony.observing.observers import Observers
from symphony.observing.place import Place, look
from symphony.plugins import PluginHost
from symphony.plugins.discovery import file_candidate
from symphony.plugins.loaded import RegisteredObservers
from symphony.plugins.loading import collect, import_modules
from symphony.values.codec import native_codec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.python]

NOW = datetime(2026, 1, 2, tzinfo=UTC)
START, END = 100, 10_000


def event(position: int, hook: str = "run_started") -> Told:
    return Told(hook, RunEvent(str(position), "w.x", "running", NOW, position=position))


class Watched:
    """An observer of the plugin ``w``, begun anew at will."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.seen: list[int] = []
        self.reports: list[str] = []

    def begin(self, *functions: Callable[[Any], Any], most: int = 100, end: int = START) -> Observer:
        place = Place(self.home, "w", end)
        hooks = {"run_started": list(functions or (self.see,))}
        return Observer("w", [], hooks, place, self.reports.append, lambda plugin, hook: nullcontext(), most)

    def see(self, event: RunEvent) -> None:
        self.seen.append(event.position)

    def counts(self) -> tuple[int, int, int]:
        about = look(self.home, "w")
        assert about is not None
        return about["told"], about["lost"], about["raised"]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(Home(tmp_path))


def test_each_event_is_told_once_in_order_to_plain_functions_and_coroutines(watched: Watched) -> None:
    loops, threads = set(), set()

    async def see_later(event: RunEvent) -> None:
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        threads.add(threading.get_ident())
        watched.seen.append(-event.position)

    observer = watched.begin(watched.see, see_later)
    observer.give([event(99), event(100), event(101), event(101), event(102, "run_finished")], 0)
    observer.give([event(101), event(103)], 0)  # as after the log was read anew
    assert observer.close(30)
    assert watched.seen == [100, -100, 101, -101, 101, -101, 103, -103]
    assert len(loops) == len(threads) == 1
    assert threads != {threading.get_ident()}
    assert (watched.counts(), watched.reports) == ((4, 0, 0), [])


def test_the_next_life_goes_on_behind_what_was_told(watched: Watched) -> None:
    observer = watched.begin()
    observer.give([event(100), event(105)], 0)
    assert observer.close(30)
    observer = watched.begin(end=END)
    assert observer.expects == 106
    observer.give([event(position) for position in (100, 105, 106)], 0)
    assert observer.close(30)
    assert watched.seen == [100, 105, 106]
    observer = watched.begin(end=104)
    assert observer.expects == 104, "of another log: it begins at its end"
    assert observer.close(30)


def test_what_was_being_told_at_a_death_comes_again_once(watched: Watched) -> None:
    for again, skipped in ((1, False), (2, False), (3, True)):
        place = Place(watched.home, "w", START)
        assert place.skipped is skipped, f"life {again}"
        assert place.next == (121 if skipped else 100)
        place.telling(120)  # and the process is gone
    assert watched.counts() == (0, 1, 0)


def test_what_an_observer_raises_is_named_and_the_others_are_told(watched: Watched) -> None:
    def sour(event: RunEvent) -> None:
        if event.position == 102:
            sys.exit(3)
        raise ValueError(f"sour \N{BLACK HEART SUIT}{event.position % 2}")

    observer = watched.begin(sour, watched.see)
    observer.give([event(position) for position in (100, 102, 104, 106)], 0)
    assert observer.close(30)
    assert watched.seen == [100, 102, 104, 106]
    assert watched.counts() == (4, 0, 4)
    assert [report.partition(" raised ")[2] for report in watched.reports] == [
        "ValueError: sour \N{BLACK HEART SUIT}0",
        "SystemExit: 3",
        "ValueError: sour \N{BLACK HEART SUIT}0",
    ]
    about = look(watched.home, "w")
    assert about is not None
    assert about["problem"].endswith("run_started raised ValueError: sour \N{BLACK HEART SUIT}0")


def test_of_a_slow_observer_what_there_is_no_room_for_is_counted_and_told_so(watched: Watched) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def wait(event: RunEvent) -> None:
        begun.set()
        assert go_on.wait(60)
        watched.see(event)

    observer = watched.begin(wait, most=3)
    observer.give([event(100)], 0)
    assert begun.wait(60)
    observer.give([event(101), event(102)], 0)
    observer.give([event(103), event(104), event(105)], 0)
    assert not observer.close(0.0), "it is told the rest in its next life"
    go_on.set()
    assert observer.close(30)
    assert watched.seen == [100, 101, 102, 103]
    assert watched.counts() == (4, 2, 0)
    assert watched.reports == [
        "plugin w: its observers are too slow, events are lost to it",
        "plugin w: 2 events were lost to its observers",
    ]


def test_an_event_says_what_the_record_says() -> None:
    codec = native_codec()
    try:
        raise LookupError("no such page")
    except LookupError as raised:
        failure = encode_failure(codec, raised)
    kept = {"small": b"", "large": failure}

    def made(
        record: bytes | None, step: tuple[str, str, int] | None = ("k#0", "k", 2)
    ) -> RunEvent | StepEvent:
        row = (("step_finished", 7, 3_500_000), ("r", "w.x"), step, "failed", 1_000_000, record)
        return told(row, codec.decode, lambda artifact: kept[artifact]).event

    error = Failure("LookupError", "no such page")
    assert made(b"=" + failure) == StepEvent(
        "r", "w.x", "k#0", "k", 2, "failed", datetime.fromtimestamp(3.5, UTC), 2.5, error, 7
    )
    assert made(b"@large").error == error
    assert made(None).error is None
    unread = made(b"@gone").error
    assert unread is not None
    assert unread.type == "unknown"
    report = b'={"result": null, "error": {"type": "ValueError", "message": "odd", "step": null}}'
    assert made(report, None) == RunEvent(
        "r", "w.x", "failed", datetime.fromtimestamp(3.5, UTC), 2.5, Failure("ValueError", "odd"), 7
    )


def test_an_observer_may_take_no_argument_and_stand_in_any_module(tmp_path: Path) -> None:
    file = tmp_path / "counting.py"
    file.write_text(
        "import symphony\nseen = []\n\n@symphony.hookimpl\ndef run_finished():\n    seen.append('end')\n"
    )
    (module,) = import_modules(file_candidate(file))
    found = collect("counting", [module])
    assert list(found.observers) == ["run_finished"]
    found.observers["run_finished"][0](event(1).event)
    assert module.seen == ["end"]


def test_events_are_values() -> None:
    one, other = event(1).event, event(1).event
    assert one == other
    with pytest.raises(AttributeError):
        one.position = 2  # type: ignore[misc]


def test_the_log_is_needed_from_where_observers_have_read_it(pit: Any, tmp_path: Path) -> None:
    plugins = PluginHost(tmp_path)
    seen: list[str] = []
    plugins.observers = {"w": RegisteredObservers({"run_started": [lambda run: seen.append(run.id)]}, [])}
    observers = Observers(Home(tmp_path), pit, plugins, native_codec(), seen.append)
    pit.dag_tracker.accept_run("before", b'{"workflow": "w.x"}', b"")
    assert observers.needs is None
    observers.take_over()
    assert observers.needs is not None
    assert observers.needs <= pit.log_end()
    for number in range(3):
        pit.dag_tracker.accept_run(f"run{number}", b'{"workflow": "w.x"}', b"")
    observers.close(30)
    assert seen == ["run0", "run1", "run2"], "and nothing of what was before"
    observers = Observers(Home(tmp_path), pit, plugins, native_codec(), seen.append)
    pit.dag_tracker.accept_run("between", b'{"workflow": "w.x"}', b"")
    observers.take_over()
    observers.close(30)
    assert seen[3:] == ["between"]
