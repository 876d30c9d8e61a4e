"""The benchmarks run, and their lines have the agreed shape; no figure is judged here."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from symphony import _host
from symphony.core_components import core_components
from tests.benchmarks import (
    artifacts,
    awaits,
    calls,
    commands,
    events,
    graphs,
    history,
    leases,
    observed,
    processes,
    steps,
    values,
)
from tests.python.operations import alive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.measure import Figure

pytestmark = [pytest.mark.performance, pytest.mark.python]

KEYS = {"name", "value", "unit", "baseline", "baseline_value", "ratio", "repeats"}


def check(figures: list[Figure]) -> None:
    for figure in figures:
        line = json.loads(figure.line())
        assert set(line) >= KEYS
        assert line["value"] > 0
        assert line["ratio"] > 0


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CALLS", 20)
    monkeypatch.setattr(calls, "REPEATS", 2)
    for name, value in (("READY", 100), ("SINGLE", 10), ("FLIGHT", 20), ("REPEATS", 2)):
        monkeypatch.setattr(awaits, name, value)
    monkeypatch.setattr(steps, "RUNS", 2)
    monkeypatch.setattr(steps, "CONCURRENT", 2)
    monkeypatch.setattr(steps, "REPEATS", 1)
    monkeypatch.setattr(commands, "REPEATS", 1)
    monkeypatch.setattr(commands, "CROWD", 2)
    monkeypatch.setattr(history, "FEW", 20)
    monkeypatch.setattr(history, "MANY", 50)
    monkeypatch.setattr(history, "REPEATS", 2)
    monkeypatch.setattr(events, "STEPS", 8)
    monkeypatch.setattr(processes, "REPEATS", 1)
    monkeypatch.setattr(graphs, "STEPS", 40)
    monkeypatch.setattr(graphs, "SIZES", ((500, 1), (800, 1)))
    monkeypatch.setattr(leases, "QUEUED", 20)
    monkeypatch.setattr(leases, "REPEATS", 1)
    monkeypatch.setattr(artifacts, "SMALL", 10)
    monkeypatch.setattr(artifacts, "REPEATS", 1)
    monkeypatch.setattr(artifacts, "LARGE", 1 << 20)
    monkeypatch.setattr(artifacts, "MANY", 800)


@pytest.mark.usefixtures("_quick")
def test_calls_and_steps(tmp_path: Path) -> None:
    pit: Any = _host.open_pit(str(tmp_path), [str(path) for path in core_components()])
    check([calls.pool_figure(pit.pool_manager)])
    check(list(steps.step_figures(pit)))
    check(list(observed.observed_figure(pit, tmp_path)))
    pit.close()
    core = [str(path) for path in core_components()]
    lasting = _host.open_pit(str(tmp_path / "machine"), core, durability="machine")
    check(list(steps.machine_figures(lasting)))
    lasting.close()


@pytest.mark.usefixtures("_quick")
def test_values_and_the_way_over_a_socket(shapes: Any) -> None:
    check(list(values.value_figures(shapes)))
    check([calls.latency_figure(shapes), calls.socket_figure(shapes)])


class PlainFutures:
    """Stands in for the native baseline, whose build takes too long here."""

    async def future_ready(self, number: int) -> int:
        await asyncio.sleep(0)
        return number

    def complete_future(
        self, loop: asyncio.AbstractEventLoop, set_result: Callable[[int], None], number: int
    ) -> None:
        loop.call_soon_threadsafe(set_result, number)


@pytest.mark.usefixtures("_quick")
def test_awaits(operations: Any) -> None:
    bench = SimpleNamespace(
        ready=operations.ready,
        completed=operations.threaded,
        never=lambda: operations.gate("never"),
        pending=lambda: alive(operations),
    )
    check(list(awaits.await_figures(bench, PlainFutures())))


@pytest.mark.usefixtures("_quick")
def test_scale(tmp_path: Path) -> None:
    core = [str(path) for path in core_components()]
    pit, other = _host.open_pit(str(tmp_path / "a"), core), _host.open_pit(str(tmp_path / "b"), core)
    check(list(graphs.graph_figures(pit.dag_tracker)))
    check(list(leases.lease_figures(pit)))
    check(list(artifacts.small_figures(pit.artifact_store, tmp_path)))
    check(list(artifacts.large_figures(pit.artifact_store, tmp_path)))
    check(list(artifacts.many_figures(pit.artifact_store, other.artifact_store)))
    pit.close()
    other.close()
    check([artifacts.replay_figure(tmp_path / "b", core)])


@pytest.mark.subprocess
@pytest.mark.usefixtures("_quick")
def test_commands() -> None:
    check(list(commands.command_figures()))
    check(list(commands.crowd_figures()))


@pytest.mark.usefixtures("_quick")
def test_events() -> None:
    check(list(events.event_figures()))


@pytest.mark.subprocess
@pytest.mark.usefixtures("_quick")
def test_processes() -> None:
    check(list(processes.process_figures()))


@pytest.mark.subprocess
@pytest.mark.usefixtures("_quick")
def test_history() -> None:
    check(list(history.history_figure()))
