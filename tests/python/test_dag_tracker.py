"""The DAG Tracker through the bridge: graphs against networkx, states, retries, and what a death leaves."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony import _host
from symphony.errors import PitConflict, PitInvalidArgument, PitNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration]

Edges = dict[str, list[str]]
"""Dependencies by step."""

_numbers = iter(range(10**9))


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory, libraries: dict[str, Path]) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("home")
    pit: Any = _host.open_pit(str(home), [str(libraries["dag_tracker"])])
    yield pit.dag_tracker
    pit.close()


def new_run(tracker: Any) -> str:
    run = f"run{next(_numbers):08}"
    tracker.accept_run(run, b"{}", b"")
    return run


def start(tracker: Any, run: str, key: str) -> None:
    tracker.start_step(run, key, "", 1, [])


def end(tracker: Any, run: str, key: str, state: int = 0) -> None:
    tracker.finish_step(run, key, "", b"", state, b"=")


def do(tracker: Any, run: str, *keys: str, state: int = 0) -> None:
    for key in keys:
        start(tracker, run, key)
        end(tracker, run, key, state)


@st.composite
def graphs(draw: st.DrawFn, acyclic: bool = False) -> Edges:
    count = draw(st.integers(1, 14))
    order = draw(st.permutations(range(count)))
    place = {step: at for at, step in enumerate(order)}
    edges: Edges = {f"s{step}": [] for step in draw(st.permutations(range(count)))}
    for step, other in draw(
        st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=40)
    ):
        if not acyclic or place[other] < place[step]:
            edges[f"s{step}"].append(f"s{other}")
    return edges


def reference(edges: Edges) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(edges)
    graph.add_edges_from((need, step) for step, needs in edges.items() for need in needs)
    return graph


def added(tracker: Any, edges: Edges) -> str:
    run = new_run(tracker)
    assert tracker.add_many(run, [[step, needs] for step, needs in edges.items()]) == len(edges)
    return run


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.property
@quick
@given(edges=graphs())
def test_cycles_and_orders_agree_with_networkx(tracker: Any, edges: Edges) -> None:
    graph, run = reference(edges), added(tracker, edges)
    problems = tracker.validate(run)
    if nx.is_directed_acyclic_graph(graph):
        assert problems == []
        place = {step: at for at, step in enumerate(tracker.order(run))}
        assert len(place) == len(edges)
        assert all(place[need] < place[step] for need, step in graph.edges)
        return
    with pytest.raises(PitConflict, match="cycle"):
        tracker.order(run)
    told: set[str] = set()
    for problem in problems:
        assert problem["kind"] == "cycle"
        path = problem["path"]
        assert path[0] == path[-1]
        assert len(set(path)) == len(path) - 1
        assert all(need in edges[step] for step, need in itertools.pairwise(path))
        assert told.isdisjoint(path)
        told.update(path)
    for knot in nx.strongly_connected_components(graph):
        if len(knot) > 1 or any(step in edges[step] for step in knot):
            assert told & knot, f"no cycle of {knot} was told"


@pytest.mark.property
@quick
@given(edges=graphs())
def test_call_by_call_refuses_just_the_step_that_closes_a_cycle(tracker: Any, edges: Edges) -> None:
    run = new_run(tracker)
    so_far: nx.DiGraph[str] = nx.DiGraph()
    for step, needs in edges.items():
        tried = so_far.copy()
        tried.add_node(step)
        tried.add_edges_from((need, step) for need in needs)
        if nx.is_directed_acyclic_graph(tried):
            assert tracker.add_step(run, step, dependencies=needs)
            so_far = tried
        else:
            with pytest.raises(PitConflict, match=rf"step {step} would close a cycle: {step} needs "):
                tracker.add_step(run, step, dependencies=needs)
    assert [problem for problem in tracker.validate(run) if problem["kind"] == "cycle"] == []


@pytest.mark.property
@quick
@given(edges=graphs(acyclic=True), data=st.data())
def test_critical_path_and_ranks_are_longest_paths(tracker: Any, edges: Edges, data: st.DataObject) -> None:
    graph, run = reference(edges), added(tracker, edges)
    seconds = {step: float(data.draw(st.integers(0, 9))) for step in edges}
    longest: dict[str, float] = {}
    for step in reversed(list(nx.topological_sort(graph))):
        longest[step] = seconds[step] + max((longest[later] for later in graph.successors(step)), default=0.0)
    assert tracker.ranks(run, seconds) == longest
    way = tracker.critical_path(run, seconds)
    assert way["seconds"] == max(longest.values())
    assert sum(seconds[step] for step in way["steps"]) == way["seconds"]
    assert all(graph.has_edge(*pair) for pair in zip(way["steps"], way["steps"][1:], strict=False))
    assert tracker.remaining_time(run, durations=seconds) == max(longest.values())
    work = sum(seconds.values())
    assert tracker.remaining_time(run, 1, durations=seconds) == pytest.approx(work)


GONE = {"failed": "skipped", "skipped by failure": "skipped", "cancelled": "cancelled"}
"""What a hard edge makes of the next step, by how a step ended without a result."""


@pytest.mark.property
@quick
@given(edges=graphs(acyclic=True), data=st.data())
def test_the_ready_set_is_what_a_simulation_says(tracker: Any, edges: Edges, data: st.DataObject) -> None:
    run = new_run(tracker)
    priority = {step: data.draw(st.integers(-2, 2)) for step in edges}
    kinds = {
        (need, step): data.draw(st.sampled_from(["hard", "hard", "soft", "optional"]))
        for step, needs in edges.items()
        for need in needs
    }
    tracker.add_many(
        run,
        [
            [
                step,
                [[need, kinds[need, step]] for need in needs] + [["nowhere", "optional"]],
                "",
                priority[step],
            ]
            for step, needs in edges.items()
        ],
    )
    state = dict.fromkeys(edges, "waiting")
    graph, place = reference(edges), {step: at for at, step in enumerate(edges)}
    while True:
        for step in nx.topological_sort(graph):
            lost = [
                GONE[state[need]]
                for need in edges[step]
                if kinds[need, step] == "hard" and state[need] in GONE
            ]
            if state[step] == "waiting" and lost:
                state[step] = "cancelled" if "cancelled" in lost else "skipped by failure"
        ready = [
            step
            for step in edges
            if state[step] == "waiting" and all(state[need] != "waiting" for need in edges[step])
        ]
        ready.sort(key=lambda step: (-priority[step], place[step]))
        assert tracker.ready(run) == ready
        assert tracker.ready(run, 2) == ready[:2]
        if not ready:
            break
        step = data.draw(st.sampled_from(ready))
        state[step] = data.draw(st.sampled_from(["completed", "completed", "failed", "skipped"]))
        if state[step] == "skipped":
            tracker.skip_step(run, step)
        else:
            start(tracker, run, step)
            end(tracker, run, step, 0 if state[step] == "completed" else 1)
    told = {"skipped by failure": "skipped"}
    assert tracker.states(run) == {step: told.get(now, now) for step, now in state.items()}


def test_all_errors_are_told_together(tracker: Any) -> None:
    run = new_run(tracker)
    tracker.add_many(
        run,
        [
            ["a", ["c"]],
            ["b", ["a"]],
            ["c", ["b"]],
            ["d", ["nowhere"]],
            ["e"],
            {"key": "e", "priority": 3},
            ["f", ["f"]],
        ],
    )
    problems = tracker.validate(run)
    assert [(problem["kind"], problem["key"]) for problem in problems] == [
        ("duplicate", "e"),
        ("unknown_dependency", "d"),
        ("cycle", "a"),
        ("cycle", "f"),
    ]
    assert problems[1]["dependency"] == "nowhere"
    assert problems[2]["path"] == ["a", "c", "b", "a"]
    assert problems[3]["message"] == "cycle: f needs f"


def test_the_kinds_of_edges(tracker: Any) -> None:
    run = new_run(tracker)
    tracker.add_many(
        run,
        [
            "bad",
            ["hard", ["bad"]],
            ["soft", [["bad", "soft"]]],
            ["optional", [["bad", "optional"]]],
            ["alone", [["nowhere", "optional"]]],
            ["after_hard", ["hard"]],
            ["after_hard_softly", [["hard", "soft"]]],
        ],
    )
    assert tracker.ready(run) == ["bad", "alone"]
    start(tracker, run, "bad")
    end(tracker, run, "bad", 1)
    assert tracker.ready(run) == ["soft", "optional", "alone", "after_hard_softly"]
    assert tracker.states(run)["after_hard"] == "skipped"
    tracker.retry_step(run, "bad")
    assert tracker.ready(run, 1) == ["bad"]
    assert tracker.states(run)["after_hard"] == "pending"
    with pytest.raises(PitInvalidArgument, match="hard, soft, optional"):
        tracker.add_step(run, "x", dependencies=[["bad", "firm"]])


def test_an_optional_step_that_appears_is_waited_for(tracker: Any) -> None:
    run = new_run(tracker)
    tracker.add_step(run, "report", dependencies=[["extra", "optional"]])
    assert tracker.ready(run) == ["report"]
    tracker.add_step(run, "extra")
    assert tracker.ready(run) == ["extra"]
    do(tracker, run, "extra")
    assert tracker.ready(run) == ["report"]


def test_adding_the_same_again_adds_nothing(tracker: Any) -> None:
    run = new_run(tracker)
    steps = [
        ["a"],
        ["b", ["a"], "name", 3, {"max_attempts": 2}],
        {"key": "c", "dependencies": [0, [1, "soft"]]},
    ]
    assert tracker.add_many(run, steps) == 3
    records = tracker.stats()["records"]
    assert tracker.add_many(run, steps) == 0
    assert tracker.add_step(run, "b", "name", ["a"], 3, {"max_attempts": 2}) is False
    assert tracker.stats()["records"] == records
    with pytest.raises(PitConflict, match="step b is there already, with other terms"):
        tracker.add_step(run, "b", "name", ["a"], 4)


def test_a_batch_that_is_refused_leaves_nothing(tracker: Any) -> None:
    run = new_run(tracker)
    with pytest.raises(PitInvalidArgument, match=r"steps\[1\]: .*backoff"):
        tracker.add_many(run, [["a", ["z"]], ["b", [], "n", 0, {"backoff": "cubic"}]])
    with pytest.raises(PitInvalidArgument, match=r"steps\[0\]: dependencies: no step 5"):
        tracker.add_many(run, [["a", [5]]])
    assert tracker.graph_size(run)["steps"] == 0
    assert tracker.add_many(run, [["z"], ["a", ["z"]]]) == 2
    assert tracker.order(run) == ["z", "a"]


def test_only_legal_transitions_of_steps(tracker: Any) -> None:
    run = new_run(tracker)
    tracker.add_many(run, ["a", ["b", ["a"]]])
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: start(tracker, run, "b"), "step b is pending: start is not possible"),
        (lambda: end(tracker, run, "a"), "step a is queued: complete is not possible"),
        (lambda: tracker.fail_attempt(run, "a", 1, "e", 0), "step a is queued: retry is not possible"),
        (lambda: tracker.retry_step(run, "a"), "step a is queued: reset is not possible"),
    ]
    for call, message in refused:
        with pytest.raises(PitConflict, match=message):
            call()
    do(tracker, run, "a")
    with pytest.raises(PitConflict, match="step a is completed: cancel is not possible"):
        tracker.cancel_step(run, "a")
    with pytest.raises(PitNotFound):
        tracker.skip_step(run, "nowhere")
    tracker.skip_step(run, "b")
    assert tracker.states(run) == {"a": "completed", "b": "skipped"}


RUN_WAYS: dict[str, Callable[[Any, str], Any]] = {
    "pending": lambda tracker, run: None,
    "running": lambda tracker, run: start(tracker, run, "first"),
    "paused": lambda tracker, run: tracker.pause(run),
    "waiting_for_input": lambda tracker, run: tracker.wait_for_input(run, "q"),
    "completed": lambda tracker, run: tracker.finish_run(run, "completed", b""),
    "failed": lambda tracker, run: tracker.finish_run(run, "failed", b""),
    "cancelled": lambda tracker, run: tracker.finish_run(run, "cancelled", b""),
}
ENDS = {"completed": "completed", "failed": "failed", "cancelled": "cancelled"}
RUN_EVENTS: dict[str, Callable[[Any, str], Any]] = {
    "start": lambda tracker, run: start(tracker, run, "s"),
    "pause": lambda tracker, run: tracker.pause(run),
    "resume": lambda tracker, run: tracker.resume(run),
    "wait": lambda tracker, run: tracker.wait_for_input(run, "other"),
    "provide": lambda tracker, run: tracker.provide_input(run, "q", b"="),
    "completed": lambda tracker, run: tracker.finish_run(run, "completed", b""),
    "failed": lambda tracker, run: tracker.finish_run(run, "failed", b""),
    "cancelled": lambda tracker, run: tracker.finish_run(run, "cancelled", b""),
}
RUN_TABLE: dict[str, dict[str, str]] = {
    "pending": {"start": "running", "pause": "paused", "wait": "waiting_for_input", **ENDS},
    "running": {"start": "running", "pause": "paused", "wait": "waiting_for_input", **ENDS},
    "paused": {"resume": "running", "wait": "paused", "provide": "paused", **ENDS},
    "waiting_for_input": {
        "start": "waiting_for_input",
        "pause": "paused",
        "wait": "waiting_for_input",
        "provide": "running",
        **ENDS,
    },
    "completed": {},
    "failed": {},
    "cancelled": {},
}


@pytest.mark.parametrize("event", RUN_EVENTS)
@pytest.mark.parametrize("state", RUN_TABLE)
def test_every_pair_of_run_state_and_event(tracker: Any, state: str, event: str) -> None:
    run = new_run(tracker)
    if (state, event) == ("paused", "provide"):
        tracker.wait_for_input(run, "q")
    RUN_WAYS[state](tracker, run)
    assert tracker.run_info(run)["state"] == state
    expected = RUN_TABLE[state].get(event)
    if expected is None:
        with pytest.raises(PitConflict):
            RUN_EVENTS[event](tracker, run)
    else:
        RUN_EVENTS[event](tracker, run)
    assert tracker.run_info(run)["state"] == (expected or state)


STEP_WAYS: dict[str, Callable[[Any, str], Any]] = {
    "pending": lambda tracker, run: tracker.add_step(run, "s", dependencies=["first"]),
    "queued": lambda tracker, run: None,
    "running": lambda tracker, run: start(tracker, run, "s"),
    "completed": lambda tracker, run: do(tracker, run, "s"),
    "failed": lambda tracker, run: do(tracker, run, "s", state=1),
    "skipped": lambda tracker, run: tracker.skip_step(run, "s"),
    "cancelled": lambda tracker, run: tracker.cancel_step(run, "s"),
}
STEP_EVENTS: dict[str, Callable[[Any, str], Any]] = {
    "start": lambda tracker, run: start(tracker, run, "s"),
    "fail_attempt": lambda tracker, run: tracker.fail_attempt(run, "s", 1, "boom", 0),
    "complete": lambda tracker, run: end(tracker, run, "s", 0),
    "fail": lambda tracker, run: end(tracker, run, "s", 1),
    "reuse": lambda tracker, run: end(tracker, run, "s", 2),
    "skip": lambda tracker, run: tracker.skip_step(run, "s"),
    "cancel": lambda tracker, run: tracker.cancel_step(run, "s"),
    "retry": lambda tracker, run: tracker.retry_step(run, "s"),
}
STEP_TABLE: dict[str, dict[str, str]] = {
    "pending": {"reuse": "completed", "skip": "skipped", "cancel": "cancelled"},
    "queued": {
        "start": "running",
        "fail": "failed",
        "reuse": "completed",
        "skip": "skipped",
        "cancel": "cancelled",
    },
    "running": {
        "start": "running",
        "fail_attempt": "queued",
        "complete": "completed",
        "fail": "failed",
        "skip": "skipped",
        "cancel": "cancelled",
    },
    "completed": {},
    "failed": {"retry": "queued"},
    "skipped": {"retry": "queued"},
    "cancelled": {"retry": "queued"},
}


@pytest.mark.parametrize("event", STEP_EVENTS)
@pytest.mark.parametrize("state", STEP_TABLE)
def test_every_pair_of_step_state_and_event(tracker: Any, state: str, event: str) -> None:
    run = new_run(tracker)
    tracker.add_step(run, "first")
    if state != "pending":
        tracker.add_step(run, "s")
    STEP_WAYS[state](tracker, run)
    assert tracker.states(run)["s"] == state
    expected = STEP_TABLE[state].get(event)
    if expected is None:
        with pytest.raises(PitConflict, match=f"step s is {state}: .* is not possible"):
            STEP_EVENTS[event](tracker, run)
    else:
        STEP_EVENTS[event](tracker, run)
    assert tracker.states(run)["s"] == (expected or state)


def test_runs_pause_ask_and_end(tracker: Any) -> None:
    run = new_run(tracker)

    def state() -> Any:
        return tracker.run_info(run)["state"]

    tracker.add_many(run, ["a", ["b", ["a"]]])
    assert state() == "pending"
    start(tracker, run, "a")
    tracker.pause(run, "lunch")
    with pytest.raises(PitConflict, match=f"run {run} is paused: pause is not possible"):
        tracker.pause(run)
    end(tracker, run, "a")
    assert (state(), tracker.ready(run)) == ("paused", [])
    with pytest.raises(PitConflict, match="paused: start"):
        start(tracker, run, "b")
    tracker.wait_for_input(run, "q", "Deploy?")
    tracker.resume(run)
    assert (state(), tracker.run_info(run)["questions"]) == ("waiting_for_input", {"q": "Deploy?"})
    with pytest.raises(PitNotFound, match="no open question other"):
        tracker.provide_input(run, "other", b"=")
    tracker.provide_input(run, "q", b"=yes")
    assert state() == "running"
    assert [record[:2] + record[4:5] for record in tracker.recovered(run)] == [
        [1, "a", b"="],
        [4, "q", b"=yes"],
    ]
    tracker.cancel(run)
    assert tracker.states(run) == {"a": "completed", "b": "cancelled"}
    assert tracker.recovered(run)[-1][:2] == [3, "cancel"]
    tracker.finish_run(run, "cancelled", b"={}")
    info = tracker.run_info(run)
    assert (info["state"], info["steps"]) == ("cancelled", {"completed": 1, "cancelled": 1})
    with pytest.raises(PitConflict, match="is finished"):
        tracker.resume(run)


def test_batches_of_outcomes(tracker: Any) -> None:
    run = new_run(tracker)
    keys = [f"k{at}" for at in range(20)]
    tracker.add_many(run, [*keys, ["join", keys]])
    for key in keys:
        start(tracker, run, key)
    with pytest.raises(PitConflict, match="step join is pending"):
        tracker.finish_many(run, [["k0", "", b"", 0, b"="], ["join", "", b"", 0, b"="]])
    with pytest.raises(PitInvalidArgument, match="step k0 ends twice"):
        tracker.finish_many(run, [["k0", "", b"", 0, b"="]] * 2)
    assert tracker.recovered(run) == []
    payload = b"=" + bytes(200_000)  # twenty of them are more than a record holds
    time = tracker.finish_many(run, [[key, "n", b"f", 0, payload] for key in keys])
    assert tracker.recovered(run) == [[1, key, b"f", 0, payload, time] for key in keys]
    assert tracker.ready(run) == ["join"]


def test_a_start_is_one_record_and_an_end_is_one_that_is_delivered(tracker: Any) -> None:
    run = new_run(tracker)
    records = tracker.stats()["records"]
    start(tracker, run, "a")
    assert (tracker.stats()["records"], tracker.recovered(run)) == (records + 1, [])
    tracker.fail_attempt(run, "a", 1, "boom", 0)
    assert (tracker.stats()["records"], tracker.recovered(run)) == (records + 2, [])
    start(tracker, run, "a")
    end(tracker, run, "a")
    assert tracker.stats()["records"] == records + 4
    assert [record[1] for record in tracker.recovered(run)] == ["a"]


def test_steps_that_the_workflow_starts_become_the_graph(tracker: Any) -> None:
    run = new_run(tracker)
    for key, needs in [("r:a#0", []), ("r:b#0", ["r:a#0"]), ("r:c#0", ["r:a#0", "r:b#0"])]:
        tracker.start_step(run, key, "n", 1, needs)
        end(tracker, run, key)
    assert tracker.order(run) == ["r:a#0", "r:b#0", "r:c#0"]
    assert tracker.critical_path(run, {"n": 2.0})["seconds"] == 6.0
    assert tracker.graph_size(run)["edges"] == 3
    # After a death, or when a result is lost, the engine starts a step again: what it does is what counts.
    tracker.start_step(run, "r:a#0", "n", 1, [])
    assert tracker.states(run)["r:a#0"] == "running"
    tracker.add_step(run, "r:d#0", dependencies=["r:a#0"])
    assert tracker.ready(run) == []
    end(tracker, run, "r:a#0")
    end(tracker, run, "r:a#0")
    assert tracker.ready(run) == ["r:d#0"]


def test_remaining_time_learns_from_all_runs(tmp_path: Path, libraries: dict[str, Path]) -> None:
    pit: Any = _host.open_pit(str(tmp_path), [str(libraries["dag_tracker"])])
    tracker = pit.dag_tracker
    first = new_run(tracker)
    tracker.start_step(first, "a", "load", 1, [])
    tracker.finish_step(first, "a", "load", b"", 0, b"=")
    count, seconds = tracker.durations()["load"]
    assert count == 1
    assert seconds >= 0
    second = new_run(tracker)
    tracker.add_many(second, [["x", [], "load"], ["y", ["x"], "load"], ["z", ["x"], "other"]])
    assert tracker.remaining_time(second) == pytest.approx(2 * seconds)
    given = {"load": 4.0, "other": 10.0}
    assert tracker.remaining_time(second, durations=given) == 14.0
    assert tracker.remaining_time(second, 1, durations=given) == 18.0
    do(tracker, second, "x")
    assert tracker.remaining_time(second, durations=given) == 10.0
    start(tracker, second, "z")
    hour = tracker.accept_run(second, b"", b"") + 3_600_000_000
    assert tracker.remaining_time(second, now=hour, durations=given) == 4.0
    pit.close()


def test_decisions_on_failures(tracker: Any) -> None:
    run = new_run(tracker)
    policy = {"max_attempts": 3, "backoff": "exponential", "delay": 60.0, "jitter": 0.2}
    tracker.add_step(run, "a", policy={**policy, "on_error": "skip", "default": b"=none"})
    start(tracker, run, "a")
    decision = tracker.decide_retry(run, "a", 1, "error", error="boom")
    assert decision["action"] == "retry"
    assert 48 <= decision["delay"] <= 72
    assert tracker.attempts(run) == {"a": [1, decision["retry_at"]]}
    assert tracker.decide_retry(run, "a", 1, "error")["retry_at"] == decision["retry_at"]
    assert (tracker.states(run)["a"], tracker.ready(run)) == ("queued", [])
    last = tracker.decide_retry(run, "a", 3, "error")
    assert (last["action"], last["default"], last["retry_at"]) == ("skip", b"=none", None)
    stand_in = {"on_error": "fallback", "fallback": "b"}
    assert tracker.decide_retry(run, "a", 1, "error", stand_in)["fallback"] == "b"
    assert tracker.decide_retry(run, "a", 1, "error", {})["action"] == "fail"
    with pytest.raises(PitInvalidArgument, match="policy"):
        tracker.decide_retry(run, "a", 1, "error", {"tries": 3})


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [("constant", [4, 4, 4, 4]), ("linear", [4, 8, 12, 15]), ("exponential", [4, 8, 15, 15])],
)
def test_backoff_grows_as_named_up_to_its_cap(tracker: Any, backoff: str, delays: list[float]) -> None:
    run = new_run(tracker)
    policy = {"max_attempts": 5, "backoff": backoff, "delay": 4.0, "max_delay": 15.0}
    tracker.add_step(run, "a", policy=policy)
    for attempt, delay in enumerate(delays, 1):
        tracker.start_step(run, "a", "", attempt, [])
        before = tracker.command(run, "what time is it")
        decision = tracker.decide_retry(run, "a", attempt, "error")
        assert (decision["action"], decision["delay"]) == ("retry", delay)
        since = decision["retry_at"] - int(delay * 1_000_000)
        assert before <= since <= tracker.command(run, "and now")
    tracker.start_step(run, "a", "", 5, [])
    assert tracker.decide_retry(run, "a", 5, "error")["action"] == "fail"


@pytest.mark.parametrize(
    ("kind", "policy", "action"),
    [
        ("timeout", {"max_attempts": 2, "retry_on": ["timeout"]}, "retry"),
        ("error", {"max_attempts": 2, "retry_on": ["timeout"]}, "fail"),
        ("ValueError", {"max_attempts": 2, "give_up_on": ["ValueError"]}, "fail"),
        ("cancelled", {"max_attempts": 2, "on_error": "skip"}, "fail"),
        ("error", {"on_error": "skip"}, "skip"),
        ("error", {"on_error": "fallback", "fallback": "b"}, "fallback"),
    ],
)
def test_the_kind_of_error_and_the_policy_decide(
    tracker: Any, kind: str, policy: dict[str, Any], action: str
) -> None:
    run = new_run(tracker)
    tracker.add_step(run, "a", policy=policy)
    start(tracker, run, "a")
    assert tracker.decide_retry(run, "a", 1, kind)["action"] == action


def test_a_due_backoff_is_ready_again(tracker: Any) -> None:
    run = new_run(tracker)
    tracker.add_step(run, "a", policy={"max_attempts": 2, "delay": 0.0})
    start(tracker, run, "a")
    assert tracker.decide_retry(run, "a", 1, "error")["delay"] == 0.0
    assert tracker.ready(run) == ["a"]
    start(tracker, run, "a")
    assert tracker.ready(run) == []


def test_timeouts(tracker: Any) -> None:
    run = new_run(tracker)
    tracker.add_many(run, [["a", [], "", 0, {"timeout": 5.0}], ["b", [], "", 0, {"timeout": 1.0}], "c"])
    for key in "abc":
        start(tracker, run, key)
    accepted = tracker.accept_run(run, b"", b"")
    assert tracker.expired(run, accepted) == []
    rows = tracker.expired(run, accepted + 3_600_000_000)
    assert [key for key, _ in rows] == ["b", "a"]
    assert tracker.expired(run, rows[0][1]) == rows[:1]
    end(tracker, run, "b")
    assert [key for key, _ in tracker.expired(run, accepted + 3_600_000_000)] == ["a"]


def test_a_finished_run_keeps_no_graph(tracker: Any) -> None:
    run, before = new_run(tracker), tracker.stats()["graph_bytes"]
    tracker.add_many(run, [[f"k{at}", [at - 1] if at else []] for at in range(5_000)])
    assert tracker.stats()["graph_bytes"] > before
    tracker.finish_run(run, "failed", b"={}")
    assert tracker.stats()["graph_bytes"] == before
    assert tracker.run_info(run)["steps"] == {"pending": 4_999, "queued": 1}


def test_a_step_that_is_there_already_leaves_nothing_that_a_restart_would_miss(
    tmp_path: Path, libraries: dict[str, Path]
) -> None:
    paths = [str(libraries["dag_tracker"])]
    pit: Any = _host.open_pit(str(tmp_path), paths)
    run = new_run(pit.dag_tracker)
    start(pit.dag_tracker, run, "unfolded")
    assert pit.dag_tracker.add_step(run, "unfolded", dependencies=["nobody"]) is False
    start(pit.dag_tracker, run, "next")
    assert pit.dag_tracker.add_step(run, "last", dependencies=["nobody", "next"])
    states = pit.dag_tracker.states(run)
    pit.close()
    pit = _host.open_pit(str(tmp_path), paths)
    assert pit.dag_tracker.states(run) == states
    assert pit.dag_tracker.validate(run)[0]["dependency"] == "nobody"
    pit.close()


DYING = """
import os, sys
from symphony import _host
tracker = _host.open_pit(sys.argv[1], [sys.argv[2]]).dag_tracker
tracker.accept_run("r", b"{}", b"")
steps = [[f"step-{at}", [at - 1, [at // 2, "soft"]] if at else [], "work", at % 3] for at in range(60_000)]
tracker.add_many("r", steps)
tracker.add_step("r", "last", dependencies=["step-59999"], policy={"max_attempts": 3, "timeout": 2.0})
for key in ("step-0", "step-1"):
    tracker.start_step("r", key, "", 1, [])
    tracker.finish_many("r", [[key, "", b"", 0, b"="]])
tracker.start_step("r", "step-2", "", 1, [])
print(tracker.decide_retry("r", "step-2", 1, "error", {"max_attempts": 3, "delay": 1000.0})["retry_at"])
tracker.wait_for_input("r", "q", "Deploy?")
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""


@pytest.mark.subprocess
def test_graphs_states_and_deadlines_survive_a_kill(tmp_path: Path, libraries: dict[str, Path]) -> None:
    library = str(libraries["dag_tracker"])
    died = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path), library], capture_output=True, text=True, check=False
    )
    assert died.returncode == -9, died.stderr
    pit: Any = _host.open_pit(str(tmp_path), [library])
    tracker = pit.dag_tracker
    assert tracker.graph_size("r")["steps"] == 60_001
    assert tracker.validate("r") == []
    assert tracker.order("r")[-1] == "last"
    states = tracker.states("r")
    assert [states[f"step-{at}"] for at in range(4)] == ["completed", "completed", "queued", "pending"]
    assert tracker.ready("r") == []
    assert tracker.attempts("r") == {"step-2": [1, int(died.stdout)]}
    again = tracker.decide_retry("r", "step-2", 1, "error", {"max_attempts": 3, "delay": 5.0})
    assert again["retry_at"] == int(died.stdout)
    assert tracker.run_info("r")["state"] == "waiting_for_input"
    assert (
        tracker.add_step("r", "last", dependencies=["step-59999"], policy={"max_attempts": 3, "timeout": 2.0})
        is False
    )
    pit.close()
