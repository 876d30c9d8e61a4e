"""Large graphs of steps: the DAG Tracker against graphlib, and what a step takes of memory."""

from __future__ import annotations

import graphlib
import itertools
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.benchmarks.measure import Figure, figure, seconds
from tests.benchmarks.memory import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SIZES = ((100_000, 5), (1_000_000, 1))
"""Steps of a graph, and how often it is measured."""
EDGES = 5
"""Dependencies of each step, but of the first ones."""
STEPS = 10_000
"""Steps that are started and finished one after the other, for what recording them takes."""
_numbers = itertools.count()

Graph = list[tuple[str, list[int]]]
"""Steps with the places of those they need."""
Named = list[tuple[str, list[str]]]
"""The same with their keys."""


def made(steps: int) -> Graph:
    """Steps in no order of use: each depends on some before it, at random."""
    chance = random.Random(steps)
    return [(f"s{at}", chance.sample(range(at), min(at, EDGES))) for at in range(steps)]


def named(graph: Graph) -> Named:
    """Made before anything is timed: what makes a caller's lists is no part of either side."""
    keys = [key for key, _ in graph]
    return [(key, [keys[at] for at in needs]) for key, needs in graph]


def _begin(tracker: Any) -> str:
    run = f"graph{next(_numbers)}"
    tracker.accept_run(run, b"{}", b"")
    return run


def by_tracker(tracker: Any, graph: Graph) -> list[str]:
    """One call for the steps, one to validate, one for the order."""
    run = _begin(tracker)
    tracker.add_many(run, graph)
    assert tracker.validate(run) == []
    return list(tracker.order(run))


def call_by_call(tracker: Any, graph: Named) -> list[str]:
    run = _begin(tracker)
    for key, needs in graph:
        tracker.add_step(run, key, dependencies=needs)
    assert tracker.validate(run) == []
    return list(tracker.order(run))


def by_graphlib(graph: Named) -> list[str]:
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for key, needs in graph:
        sorter.add(key, *needs)
    return list(sorter.static_order())


def check(graph: Named, order: Sequence[str]) -> None:
    """Every step once, and behind all that it needs."""
    place = {key: at for at, key in enumerate(order)}
    assert len(place) == len(order) == len(graph)
    assert all(place[need] < place[key] for key, needs in graph for need in needs)


def compare(
    name: str,
    subject: Callable[[], list[str]],
    graph: Named,
    repeats: int,
    **more: str,
) -> Figure:
    check(graph, subject())
    taken = [(seconds(subject), seconds(lambda: by_graphlib(graph))) for _ in range(repeats)]
    edges = sum(len(needs) for _, needs in graph)
    return figure(
        f"graph of {len(graph):,} steps, {edges:,} edges, {name}",
        "ms",
        "graphlib.TopologicalSorter",
        [pair[0] * 1e3 for pair in taken],
        [pair[1] * 1e3 for pair in taken],
        **more,
    )


def _recorded(tracker: Any) -> str:
    """A chain of steps, each started and finished: two records a step."""
    run, before = _begin(tracker), ""
    for at in range(STEPS):
        key = f"s{at}"
        tracker.start_step(run, key, "chain", 1, [before] if before else [])
        tracker.finish_step(run, key, "chain", b"fingerprint", 0, b"=1")
        before = key
    return run


def step_figure(tracker: Any) -> Figure:
    """Recording that a step starts and how it ended, against two Pit calls that do nothing."""
    records = tracker.stats()["records"]
    run = _recorded(tracker)
    assert tracker.stats()["records"] - records == 2 * STEPS + 1
    assert [row[1] for row in tracker.recovered(run)] == tracker.order(run)
    assert set(tracker.states(run).values()) == {"completed"}

    def calls() -> None:
        for _ in range(STEPS):
            tracker.ping()
            tracker.ping()

    taken = [(seconds(lambda: _recorded(tracker)), seconds(calls)) for _ in range(5)]
    return figure(
        "start_step + finish_step, recorded",
        "µs",
        "two Pit calls",
        [pair[0] / STEPS * 1e6 for pair in taken],
        [pair[1] / STEPS * 1e6 for pair in taken],
    )


def graph_figures(tracker: Any) -> Iterator[Figure]:
    """Figures of recording steps, and of adding, validating and ordering a graph."""
    yield step_figure(tracker)
    for steps, repeats in SIZES:
        graph = made(steps)
        keyed = named(graph)
        check(keyed, by_graphlib(keyed))
        before = resident_bytes()
        tracker.add_many(_begin(tracker), graph)
        note = f"{(resident_bytes() - before) / steps:.0f} bytes of memory a step, with its edges"
        target = "≤ 0.05" if steps == SIZES[0][0] else ""
        many = partial(by_tracker, tracker, graph)
        yield compare("by add_many", many, keyed, repeats, target=target, note=note)
        if steps == SIZES[0][0]:
            one_by_one = partial(call_by_call, tracker, keyed)
            yield compare("call by call", one_by_one, keyed, repeats, target="≤ 0.17")
