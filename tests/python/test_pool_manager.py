"""The Pool Manager through the bridge: every state and event, leases, queues, memory, budget, what lasts.

Loading is played by the tests here; with real providers it is in test_models.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony import _host
from symphony.errors import (
    PitConflict,
    PitExhausted,
    PitInvalidArgument,
    PitNotFound,
    PitTimeout,
    PitWouldBlock,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.python]

STATES = ("cold", "warming", "hot", "cooling", "failed")
# What each event leads to: the answer and the next state; a state without an entry refuses it.
EVENTS: dict[str, dict[str, tuple[object, str]]] = {
    "warm": {
        "cold": (True, "warming"),
        "warming": (False, "warming"),
        "hot": (False, "hot"),
        "cooling": (False, "cooling"),
        "failed": (True, "warming"),
    },
    "warmed": {"warming": (None, "hot")},
    "failed": {"warming": (None, "failed"), "hot": (None, "failed"), "cooling": (None, "failed")},
    "recover": {"failed": (None, "cold")},
    "cool": {
        "cold": (False, "cold"),
        "warming": (False, "warming"),
        "hot": (True, "cooling"),
        "cooling": (False, "cooling"),
        "failed": (False, "failed"),
    },
    "cooled": {"cooling": (None, "cold")},
    "prewarm": {state: (state == "cold", state) for state in STATES},
    "check": {state: (state == "hot", state) for state in STATES},
    "well": {state: (None, state) for state in STATES},
    "unwell": {"warming": (None, "failed"), "hot": (None, "failed"), "cooling": (None, "failed")},
    "unregister": {"cold": (None, ""), "failed": (None, "")},
}
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "warmed": (0.5,),
    "failed": ("no memory",),
    "well": (True,),
    "unwell": (False, "no answer"),
}
WAYS = {
    "cold": (),
    "warming": ("warm",),
    "hot": ("warm", "warmed"),
    "cooling": ("warm", "warmed", "cool"),
    "failed": ("warm", "failed"),
}

USE_AND_DIE = """
import os, signal, sys
from symphony import _host
pool = _host.open_pit(sys.argv[1], sys.argv[2:]).pool_manager
pool.register("kept", "acme", 64, 2, 0.5, "spare", 9.0, 4)
pool.register("gone")
pool.unregister("gone")
pool.configure(1000, 7.5)
pool.warm("kept")
pool.warmed("kept", 0.1)
for _ in range(3):
    pool.release(pool.try_acquire("kept"))
pool.charge("kept", 0.25, 100)
pool.try_acquire("kept")
pool.register("free", instances=9)
pool.warm("free")
pool.warmed("free", 0.1)
for _ in range(7):
    pool.release(pool.try_acquire("free"))
pool.checked("free", True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def pool(pit: Any) -> Any:
    return pit.pool_manager


def tell(pool: Any, event: str, model: str = "m") -> object:
    method = {"well": "checked", "unwell": "checked"}.get(event, event)
    return getattr(pool, method)(model, *ARGUMENTS.get(event, ()))


def row(pool: Any, model: str = "m") -> dict[str, Any]:
    return next((found for found in pool.models() if found["name"] == model), {"state": ""})


def heat(pool: Any, model: str = "m", **terms: Any) -> None:
    """Register a model and load it."""
    pool.register(model, **terms)
    assert pool.warm(model)
    pool.warmed(model, 0.1)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_each_state_takes_the_events_that_make_sense_and_refuses_the_others(
    pool: Any, state: str, event: str
) -> None:
    pool.register("m", failure_threshold=1)
    for step in WAYS[state]:
        tell(pool, step)
    assert row(pool)["state"] == state
    expected = EVENTS[event].get(state)
    if expected is None:
        with pytest.raises(PitConflict, match=f"m is {state}"):
            tell(pool, event)
        assert row(pool)["state"] == state
    else:
        assert tell(pool, event) == expected[0]
        assert row(pool)["state"] == expected[1]


@pytest.mark.parametrize("event", [*EVENTS, "try_acquire", "acquire"])
def test_an_unknown_model_is_named(pool: Any, event: str) -> None:
    pool.register("known")
    with pytest.raises(PitNotFound, match='no model "m"') as raised:
        tell(pool, event)
    assert raised.value.__notes__ == ["known models: known"]


@pytest.mark.parametrize("state", STATES)
def test_only_a_hot_model_is_leased(pool: Any, state: str) -> None:
    pool.register("m")
    for step in WAYS[state]:
        tell(pool, step)
    if state == "failed":
        with pytest.raises(PitConflict, match="m failed") as raised:
            pool.try_acquire("m")
        assert raised.value.__notes__ == ["reason: no memory"]
        with pytest.raises(PitConflict, match="m failed"):
            pool.acquire("m", timeout=5)
    elif state == "hot":
        assert pool.lease_model(pool.try_acquire("m")) == "m"
    else:
        assert pool.try_acquire("m") is None
        with pytest.raises(PitTimeout, match="no lease of model m in time"):
            pool.acquire("m", timeout=0.001)
    assert row(pool)["waiting"] == 0


def test_a_model_in_use_cannot_be_cooled_or_forgotten(pool: Any) -> None:
    heat(pool)
    lease = pool.try_acquire("m")
    assert pool.cool("m") is False
    with pytest.raises(PitConflict, match="unload it first"):
        pool.unregister("m")
    pool.release(lease)
    assert pool.cool("m") is True
    pool.cooled("m")
    pool.unregister("m")
    assert pool.models() == []


def test_a_lease_takes_slots_and_is_given_back_once(pool: Any) -> None:
    heat(pool, instances=3)
    two = pool.try_acquire("m", 2)
    assert pool.try_acquire("m", slots=2) is None
    one = pool.try_acquire("m")
    assert (row(pool)["leased"], pool.stats()["leases"]) == (3, 2)
    pool.release(two)
    with pytest.raises(PitNotFound):
        pool.release(two)
    with pytest.raises(PitNotFound):
        pool.lease_model(two)
    assert pool.try_acquire("m", 2) not in (None, two, one)
    for slots in (0, 4):
        with pytest.raises(PitInvalidArgument, match="slots: expected 1 to 3"):
            pool.try_acquire("m", slots)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"model": ""}, "a name"),
        ({"instances": 0}, "at least one instance"),
        ({"failure_threshold": 0}, "threshold"),
        ({"cost_per_call": -1.0}, "cost_per_call"),
        ({"keep_warm": float("nan")}, "keep_warm"),
        ({"backup": "m"}, "cannot stand in for itself"),
        ({"memory": -1}, "memory"),
    ],
)
def test_terms_that_mean_nothing_are_refused(pool: Any, terms: dict[str, Any], message: str) -> None:
    with pytest.raises(PitInvalidArgument, match=message):
        pool.register(**{"model": "m", **terms})
    assert pool.models() == []


def test_a_second_registration_changes_the_terms_and_keeps_the_state(pool: Any) -> None:
    heat(pool, memory=5)
    pool.register("m", "acme", 7, 2, 0.5, "spare", 1.5, 4)
    found = row(pool)
    terms = {
        "provider": "acme",
        "memory": 7,
        "instances": 2,
        "cost_per_call": 0.5,
        "backup": "spare",
        "keep_warm": 1.5,
        "failure_threshold": 4,
        "state": "hot",
    }
    assert {key: found[key] for key in terms} == terms


def test_more_instances_serve_who_waits_and_fewer_tell_who_wants_too_many(pool: Any) -> None:
    async def main() -> None:
        heat(pool)
        pool.try_acquire("m")
        waiting = asyncio.create_task(pool.acquire_async("m"))
        await asyncio.sleep(0)
        pool.register("m", instances=3)
        assert await waiting
        large = asyncio.create_task(pool.acquire_async("m", slots=3))
        await asyncio.sleep(0)
        pool.register("m", instances=2)
        with pytest.raises(PitInvalidArgument, match="slots: expected 1 to 2"):
            await large
        assert pool.stats()["waiting"] == 0

    asyncio.run(main())


def test_a_failed_model_is_not_forgotten_while_it_is_leased(pool: Any) -> None:
    heat(pool)
    lease = pool.try_acquire("m")
    pool.failed("m", "broken")
    with pytest.raises(PitConflict, match="m is failed, leased or waited for"):
        pool.unregister("m")
    pool.release(lease)
    pool.unregister("m")


def test_the_higher_priority_then_the_longer_wait_comes_first(pool: Any) -> None:
    async def main() -> None:
        heat(pool)
        held, served = pool.try_acquire("m"), []

        async def wait(name: str, priority: int) -> None:
            lease = await pool.acquire_async("m", priority=priority)
            served.append(name)
            pool.release(lease)

        tasks = []
        for name, priority in (("low", -100), ("first", 0), ("second", 0), ("high", 100)):
            tasks.append(asyncio.create_task(wait(name, priority)))
            await asyncio.sleep(0)
        assert row(pool)["waiting"] == 4
        assert pool.try_acquire("m") is None
        pool.release(held)
        await asyncio.gather(*tasks)
        assert served == ["high", "first", "second", "low"]
        assert row(pool)["waits"] == 4

    asyncio.run(main())


def test_who_gives_up_leaves_no_gap_in_the_queue(pool: Any) -> None:
    async def main() -> None:
        heat(pool)
        held = pool.try_acquire("m")
        leaving = asyncio.create_task(pool.acquire_async("m", priority=5))
        staying = asyncio.create_task(pool.acquire_async("m"))
        await asyncio.sleep(0)
        with pytest.raises(PitTimeout):
            await pool.acquire_async("m", timeout=0.001)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        pool.release(held)
        pool.release(await staying)
        assert pool.stats()["waiting"] == 0

    asyncio.run(main())


def test_a_thread_waits_without_holding_up_others(pool: Any) -> None:
    heat(pool)
    held, leases = pool.try_acquire("m"), []
    thread = threading.Thread(target=lambda: leases.append(pool.acquire("m", 20)))
    thread.start()
    while row(pool)["waiting"] == 0:
        pass
    pool.release(held)
    thread.join(20)
    assert len(leases) == 1


def test_a_waiting_method_is_refused_on_an_event_loop(pool: Any) -> None:
    async def main() -> None:
        with pytest.raises(PitWouldBlock, match="acquire_async"):
            pool.acquire("m")

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(pool: Any, timeout: float) -> None:
    heat(pool)
    with pytest.raises(PitInvalidArgument, match="timeout: expected seconds"):
        pool.acquire("m", timeout)


def served(pit: Any, program: Coroutine[Any, Any, None]) -> list[tuple[str, list[Any]]]:
    """Run a program while callouts are kept; gives them."""
    asked: list[tuple[str, list[Any]]] = []

    async def main() -> None:
        pit.serve_callouts(
            asyncio.get_running_loop(), lambda component, name, args: asked.append((name, args))
        )
        await program
        await asyncio.sleep(0.005)

    asyncio.run(main())
    return asked


def test_the_engine_is_asked_once_to_load_what_several_wait_for(pit: Any, pool: Any) -> None:
    async def program() -> None:
        pool.register("m", instances=2)
        waiting = [asyncio.create_task(pool.acquire_async("m")) for _ in range(2)]
        await asyncio.sleep(0)
        assert pool.warm("m")
        pool.warmed("m", 0.25)
        assert len({await task for task in waiting}) == 2
        assert (row(pool)["loads"], row(pool)["load_seconds"], row(pool)["misses"]) == (1, 0.25, 1)

    assert served(pit, program()) == [("model.load", ["m"])]


def test_the_least_recently_used_idle_model_is_asked_to_go(pit: Any, pool: Any) -> None:
    async def program() -> None:
        pool.configure(memory_limit=30)
        for model in "abc":
            heat(pool, model, memory=10)
        for model in "abca":
            pool.release(pool.try_acquire(model))
        held = pool.try_acquire("b")
        pool.register("new", memory=10)
        waiting = asyncio.create_task(pool.acquire_async("new"))
        await asyncio.sleep(0)
        assert pool.cool("c")
        pool.cooled("c")
        await asyncio.sleep(0.005)
        assert pool.warm("new")
        pool.warmed("new", 0.1)
        pool.release(await waiting)
        pool.release(held)
        assert (row(pool, "c")["evictions"], pool.stats()["evictions"]) == (1, 1)
        assert pool.stats()["resident_bytes"] == 30

    assert served(pit, program()) == [("model.unload", ["c"]), ("model.load", ["new"])]


def test_another_cap_sends_idle_models_away_or_lets_waiting_ones_in(pit: Any, pool: Any) -> None:
    async def program() -> None:
        pool.configure(memory_limit=20)
        for model in "ab":
            heat(pool, model, memory=10)
            pool.release(pool.try_acquire(model))
        pool.configure(memory_limit=10)
        await asyncio.sleep(0.005)
        assert pool.cool("a")
        pool.cooled("a")
        held = pool.try_acquire("b")
        waiting = asyncio.create_task(pool.acquire_async("a"))
        await asyncio.sleep(0.005)
        pool.configure(memory_limit=20)
        await asyncio.sleep(0.005)
        assert pool.warm("a")
        pool.warmed("a", 0.1)
        pool.release(await waiting)
        pool.release(held)

    assert served(pit, program()) == [("model.unload", ["a"]), ("model.load", ["a"])]


def test_what_never_fits_the_memory_is_refused_at_once(pool: Any) -> None:
    pool.configure(memory_limit=10)
    pool.register("m", memory=11)
    with pytest.raises(PitExhausted, match="m takes 11 bytes, and all models together may take 10"):
        pool.warm("m")
    with pytest.raises(PitExhausted):
        pool.acquire("m", 1)
    pool.configure()
    assert pool.warm("m")


def test_there_is_no_room_beside_models_in_use(pool: Any) -> None:
    pool.configure(memory_limit=10)
    heat(pool, "a", memory=10)
    lease = pool.try_acquire("a")
    pool.register("b", memory=1)
    assert pool.warm("b") is False
    pool.release(lease)
    assert pool.warm("b") is False  # a is to go first
    assert pool.cool("a")
    pool.cooled("a")
    assert pool.warm("b") is True


def test_a_prewarmed_model_saves_a_cold_start(pit: Any, pool: Any) -> None:
    async def program() -> None:
        pool.register("m")
        assert pool.prewarm("m")
        assert pool.warm("m")
        pool.warmed("m", 0.1)
        pool.try_acquire("m")
        assert (row(pool)["cold_starts_avoided"], row(pool)["misses"], row(pool)["hits"]) == (1, 0, 1)

    assert served(pit, program()) == [("model.load", ["m"])]


def test_health_checks_fail_a_model_at_its_threshold_and_a_good_one_resets_the_count(
    pit: Any, pool: Any
) -> None:
    async def program() -> None:
        heat(pool, failure_threshold=2)
        assert pool.check("m")
        for healthy in (False, True, False):
            pool.checked("m", healthy)
            assert row(pool)["state"] == "hot"
        pool.checked("m", False, "no answer")
        assert (row(pool)["state"], row(pool)["reason"]) == ("failed", "2 health checks failed: no answer")

    assert served(pit, program()) == [("model.health", ["m"])]


def test_a_bad_answer_about_a_model_that_is_not_loaded_is_refused_and_not_counted(pool: Any) -> None:
    pool.register("m", failure_threshold=3)
    with pytest.raises(PitConflict, match="m is cold"):
        pool.checked("m", False)
    assert row(pool)["failures"] == 0


def test_a_backup_serves_for_a_failed_model_also_to_those_who_wait(pool: Any) -> None:
    async def main() -> None:
        heat(pool, "spare")
        pool.register("m", backup="spare")
        assert pool.warm("m")
        waiting = asyncio.create_task(pool.acquire_async("m"))
        await asyncio.sleep(0)
        pool.failed("m", "broken")
        lease = await waiting
        assert pool.lease_model(lease) == "spare"
        assert row(pool, "spare")["leased"] == 1
        pool.release(lease)
        pool.failed("spare", "broken too")
        with pytest.raises(PitConflict, match="spare failed"):
            pool.try_acquire("m")
        pool.recover("m")
        assert pool.try_acquire("m") is None

    asyncio.run(main())


def test_backups_that_name_each_other_end_in_an_error(pool: Any) -> None:
    for model, backup in (("a", "b"), ("b", "a")):
        heat(pool, model, backup=backup)
    pool.failed("a", "x")
    assert pool.lease_model(pool.try_acquire("a")) == "b"
    pool.failed("b", "y")
    with pytest.raises(PitConflict, match="so did all its backups"):
        pool.try_acquire("a")


def test_the_budget_ends_new_leases_until_it_is_reset(pool: Any) -> None:
    heat(pool, cost_per_call=0.5, instances=9)
    pool.configure(budget=1.0)
    for _ in range(2):
        pool.release(pool.try_acquire("m"))
    with pytest.raises(PitExhausted, match="the budget of 1 is used up: 1 was spent"):
        pool.try_acquire("m")
    pool.reset_budget()
    lease = pool.try_acquire("m")
    pool.charge("m", 2.0, 50)
    assert pool.stats()["spent"] == 2.0
    assert (row(pool)["cost"], row(pool)["units"]) == (3.0, 50.0)
    with pytest.raises(PitExhausted):
        pool.acquire("m", 1)
    pool.release(lease)
    for cost in (-1.0, float("nan"), float("inf")):
        with pytest.raises(PitInvalidArgument, match="cost"):
            pool.charge("m", cost)
    with pytest.raises(PitInvalidArgument, match="budget"):
        pool.configure(budget=-1.0)


def test_counters_tell_what_happened(pool: Any) -> None:
    assert set(pool.stats()) == {
        "models",
        "hot",
        "resident_bytes",
        "leases",
        "waiting",
        "hits",
        "misses",
        "evictions",
        "cold_starts_avoided",
        "waits",
        "wait_seconds",
        "wait_max",
        "spent",
    }
    assert pool.ping() is None
    heat(pool, memory=10)
    pool.try_acquire("m")
    stats = pool.stats()
    shown = {key: stats[key] for key in ("models", "hot", "resident_bytes", "leases", "hits", "misses")}
    assert shown == {"models": 1, "hot": 1, "resident_bytes": 10, "leases": 1, "hits": 1, "misses": 1}


def test_the_time_that_leases_waited_is_measured(pool: Any) -> None:
    async def main() -> None:
        heat(pool)
        held = pool.try_acquire("m")
        for seconds in (0.02, 0.002):
            waiting = asyncio.create_task(pool.acquire_async("m"))
            await asyncio.sleep(seconds)
            pool.release(held)
            held = await waiting
        found, stats = row(pool), pool.stats()
        assert (found["waits"], found["hits"]) == (2, 1)
        assert found["wait_max"] >= 0.02
        assert found["wait_seconds"] >= found["wait_max"] + 0.002
        assert (stats["waits"], stats["wait_max"]) == (2, found["wait_max"])
        assert stats["wait_seconds"] == found["wait_seconds"]

    asyncio.run(main())


def test_registrations_limits_use_and_cost_outlive_a_killed_process(
    tmp_path: Path, libraries: dict[str, Path]
) -> None:
    paths = [str(libraries["pool_manager"])]
    done = subprocess.run([sys.executable, "-c", USE_AND_DIE, str(tmp_path), *paths], check=False)
    assert done.returncode == -signal.SIGKILL
    pit: Any = _host.open_pit(str(tmp_path), paths)
    pool = pit.pool_manager
    found = row(pool, "kept")
    assert [found[key] for key in ("provider", "memory", "instances", "backup", "keep_warm")] == [
        "acme",
        64,
        2,
        "spare",
        9.0,
    ]
    assert (found["calls"], found["cost"], found["units"]) == (3, 1.75, 100.0)
    assert (found["state"], found["leased"]) == ("cold", 0)
    assert [one["name"] for one in pool.models()] == ["free", "kept"]
    assert row(pool, "free")["calls"] == 7
    assert pool.stats()["spent"] == 1.75
    pool.register("large", memory=1001)
    with pytest.raises(PitExhausted, match="1000"):
        pool.warm("large")
    pool.configure(budget=1.0)
    with pytest.raises(PitExhausted, match="budget"):
        pool.try_acquire("kept")
    pit.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, libraries: dict[str, Path]) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("home")
    pit: Any = _host.open_pit(str(home), [str(libraries["pool_manager"])])
    yield pit.pool_manager
    pit.close()


_numbers = iter(range(10**9))


@pytest.mark.property
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*EVENTS, "lease", "release"]), max_size=25))
def test_any_sequence_of_events_does_what_the_table_says(shared: Any, events: list[str]) -> None:
    model, state = f"m{next(_numbers)}", "cold"
    leases: list[int] = []
    shared.register(model, failure_threshold=1, instances=2)
    for event in events:
        if event == "unregister":
            continue
        if event == "lease":
            if state == "failed":
                with pytest.raises(PitConflict):
                    shared.try_acquire(model)
                continue
            lease = shared.try_acquire(model)
            assert (lease is not None) == (state == "hot" and len(leases) < 2)
            leases += [lease] if lease is not None else []
        elif event == "release":
            if leases:
                shared.release(leases.pop())
        elif event == "cool" and leases:
            assert shared.cool(model) is False
        elif state in EVENTS[event]:
            answer, state = EVENTS[event][state]
            assert tell(shared, event, model) == answer
        else:
            with pytest.raises(PitConflict):
                tell(shared, event, model)
        found = row(shared, model)
        assert (found["state"], found["leased"]) == (state, len(leases))
