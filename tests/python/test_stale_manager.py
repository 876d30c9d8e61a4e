"""The Stale Manager over the real Artifact Store: policies, values, dry run, sweeps, trash, archive."""

from __future__ import annotations

import asyncio
import math
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony import _host
from symphony.errors import PitConflict, PitInvalidArgument, PitNotFound, PitWouldBlock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.python]

DAY = 86_400.0
YEAR = 365 * 86_400 * 1_000_000

SWEEP_AND_WAIT = """
import sys, time
from symphony import _host
pit = _host.open_pit(sys.argv[1], sys.argv[2:])
for number in range(6):
    pit.artifact_store.put(b"content %d" % number)
pit.stale_manager.set_policy("all", {"max_age": 0})
time.sleep(0.01)
sweep = pit.stale_manager.begin_sweep()["sweep"]
print(pit.stale_manager.step(sweep, 4)["deleted"], flush=True)
time.sleep(60)
"""


def ids(pit: Any) -> set[str]:
    return {row["id"] for row in pit.artifact_store.inventory()}


def future(pit: Any) -> int:
    """A year from now, when everything is old."""
    return int(pit.stale_manager.plan()["now"]) + YEAR


def decisions(plan: dict[str, Any]) -> dict[str, str]:
    return {row["id"]: row["decision"] for row in plan["decisions"]}


def test_without_a_policy_only_what_is_unnamed_unreferenced_and_old_goes(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    named = store.put(b"named", "report")
    source = store.put(b"source")
    made = store.put(b"made from it", "result", inputs=[source])
    loose = store.put(b"loose")
    assert stale.policies()[0]["built_in"]
    assert stale.plan()["totals"]["deleted"] == 0
    plan = stale.plan(future(pit))
    wanted = {named: "keep", source: "keep", made: "keep", loose: "delete"}
    assert decisions(plan) == wanted
    assert plan["totals"]["deleted_bytes"] == len(b"loose")
    assert ids(pit) == set(wanted)


def test_a_dry_run_says_why_and_by_which_policy(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    gold = store.put(b"gold", tags=["gold"])
    marked = store.put(b"marked")
    store.mark(marked, 1.0)
    old = store.put(b"old")
    stale.set_policy("tidy", {"max_age": 30 * DAY, "keep_tagged": ["gold"]}, 5)
    rows = {row["id"]: row for row in stale.plan(future(pit))["decisions"]}
    assert (rows[gold]["decision"], rows[gold]["reason"]) == ("keep", "tagged gold")
    assert (rows[marked]["decision"], rows[marked]["reason"]) == (
        "keep",
        "of high value, which is never deleted",
    )
    assert (rows[old]["decision"], rows[old]["reason"]) == ("delete", "older than 30 days")
    assert {row["policy"] for row in rows.values()} == {"tidy"}
    assert rows[marked]["score"] > 0.75 > rows[old]["score"]
    only = stale.plan(future(pit), decision="delete")["decisions"]
    assert [row["id"] for row in only] == [old]
    assert stale.plan(future(pit), limit=2)["totals"]["total"] == 3
    with pytest.raises(PitInvalidArgument, match="decision"):
        stale.plan(decision="burn")


def test_the_policy_of_the_highest_priority_decides_alone(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    for number in range(2):
        store.put(b"log %d" % number, "log/main")
    store.put(b"loose")
    stale.set_policy("all", {"max_age": DAY}, 0)
    stale.set_policy("logs", {"prefix": "log/"}, 9)
    assert [policy["name"] for policy in stale.policies()] == ["logs", "all"]
    assert stale.plan(future(pit))["totals"]["deleted"] == 1
    stale.remove_policy("logs")
    assert stale.plan(future(pit))["totals"]["deleted"] == 2  # the newest version of a name is referenced
    with pytest.raises(PitNotFound, match="logs"):
        stale.remove_policy("logs")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"max_age": "long"}, r"rules\.max_age: expected seconds"),
        ({"any": [{"max_age": 1}, {"keep_tagged": []}]}, r"rules\.any\[1\]\.keep_tagged: no such rule here"),
        ({"forever": True}, r"rules\.forever: no such rule"),
        ({"max_total_size": -1}, r"rules\.max_total_size: expected bytes"),
    ],
)
def test_rules_that_mean_nothing_are_refused(pit: Any, rules: dict[str, Any], message: str) -> None:
    with pytest.raises(PitInvalidArgument, match=message):
        pit.stale_manager.set_policy("p", rules)
    assert pit.stale_manager.policies()[0]["built_in"]


def test_a_total_size_takes_the_lowest_value_first(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    loose = [store.put(bytes([number]) * 100) for number in range(5)]
    for count, content in enumerate(loose):
        for _ in range(count):
            store.get(content)
    stale.set_policy("quota", {"max_total_size": 250})
    plan = stale.plan()
    assert [row["id"] for row in plan["decisions"]] == loose  # by value
    assert [row["decision"] for row in plan["decisions"]] == ["delete"] * 3 + ["keep"] * 2
    assert plan["totals"]["kept_bytes"] == 200


def test_deleted_content_rests_in_the_trash_until_the_commit(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    loose = [store.put(b"content %d" % number) for number in range(10)]
    begun = stale.begin_sweep(future(pit))
    assert (begun["state"], begun["total"]) == ("running", 10)
    with pytest.raises(PitConflict, match="not over"):
        stale.begin_sweep()
    progress = stale.step(begun["sweep"], 4)
    assert (progress["state"], progress["done"], progress["deleted"]) == ("running", 4, 4)
    assert len(store.list_trash()) == 4
    progress = stale.step(begun["sweep"], 100)
    assert (progress["state"], progress["done"]) == ("stepped", 10)
    assert ids(pit) == set()
    assert len(store.list_trash()) == 10
    with pytest.raises(PitConflict, match="stepped"):
        stale.step(begun["sweep"])
    emptied = stale.commit(begun["sweep"])
    assert emptied == {"deleted": 10, "bytes": 90}
    assert store.list_trash() == []
    with pytest.raises(PitNotFound):
        store.get(loose[0])
    assert stale.pending_sweep() is None
    with pytest.raises(PitConflict, match="committed"):
        stale.abort(begun["sweep"])
    history = stale.decisions(decision="delete")
    assert {row["id"] for row in history} == set(loose)
    assert {row["reason"] for row in history} == {"older than 30 days"}
    assert stale.sweeps()[0]["state"] == "committed"
    assert stale.stats()["deleted"] == 10


def test_an_abort_brings_everything_back(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    loose = store.put(b"loose")
    sweep = stale.begin_sweep(future(pit))["sweep"]
    stale.step(sweep)
    assert ids(pit) == set()
    assert stale.abort(sweep)["state"] == "aborted"
    assert bytes(store.get(loose)) == b"loose"


def test_what_is_needed_since_the_plan_stays(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    loose, source = store.put(b"loose"), store.put(b"source")
    sweep = stale.begin_sweep(future(pit))["sweep"]
    made = store.put(b"made from it", "made", inputs=[source])
    progress = stale.step(sweep)
    assert (progress["deleted"], progress["kept"]) == (1, 1)
    assert ids(pit) == {source, made}
    kept = stale.decisions(decision="keep")
    assert [(row["id"], row["reason"]) for row in kept] == [(source, "a rule keeps it now")]
    stale.commit(sweep)
    with pytest.raises(PitNotFound):
        store.get(loose)


def test_what_is_needed_since_the_step_comes_back_at_the_commit(pit: Any) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    loose, source, again = store.put(b"loose"), store.put(b"source"), store.put(b"again")
    sweep = stale.begin_sweep(future(pit))["sweep"]
    assert stale.step(sweep)["deleted"] == 3
    made = store.put(b"made from it", "made", inputs=[source])
    store.put(b"again")
    assert stale.commit(sweep) == {"deleted": 1, "bytes": len(b"loose")}
    assert ids(pit) == {source, again, made}
    with pytest.raises(PitNotFound):
        store.get(loose)


def test_a_killed_sweep_is_found_and_its_trash_restored(tmp_path: Path, libraries: dict[str, Path]) -> None:
    paths = [str(path) for path in libraries.values()]
    command = [sys.executable, "-c", SWEEP_AND_WAIT, str(tmp_path), *paths]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "4"
        process.send_signal(signal.SIGKILL)
    pit: Any = _host.open_pit(str(tmp_path), paths)
    pending = pit.stale_manager.pending_sweep()
    assert (pending["state"], pending["done"], pending["total"]) == ("interrupted", 4, 6)
    assert len(ids(pit)) == 2
    with pytest.raises(PitConflict, match="interrupted"):
        pit.stale_manager.step(pending["sweep"])
    pit.stale_manager.abort(pending["sweep"])
    assert len(ids(pit)) == 6
    assert pit.stale_manager.pending_sweep() is None
    assert [policy["name"] for policy in pit.stale_manager.policies()] == ["all"]
    pit.close()


def test_weights_change_what_is_valuable_and_outlive_a_restart(
    tmp_path: Path, libraries: dict[str, Path]
) -> None:
    paths = [str(path) for path in libraries.values()]
    pit = _host.open_pit(str(tmp_path), paths)
    stale = pit.stale_manager
    pit.artifact_store.put(b"loose")
    score = stale.plan()["decisions"][0]["score"]
    assert math.isclose(score, 0.5, abs_tol=1e-4)  # new and unique, never used
    stale.set_weights(frequency=0.0, high_value=0.9)
    assert math.isclose(stale.plan()["decisions"][0]["score"], 1.0, abs_tol=1e-4)
    stale.set_policy("all", {"max_age": 0})
    assert stale.plan()["totals"]["deleted"] == 0
    with pytest.raises(PitInvalidArgument, match="high_value"):
        stale.set_weights(high_value=2.0)
    pit.close()
    pit = _host.open_pit(str(tmp_path), paths)
    assert pit.stale_manager.weights()["high_value"] == 0.9
    assert pit.stale_manager.policies()[0]["rules"] == {"max_age": 0}
    pit.close()


def test_archived_content_is_retrieved_on_demand(pit: Any, tmp_path: Path) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    folder = tmp_path / "cold"
    keep, go = store.put(b"keep" * 100), store.put(b"go" * 100, "logs/1")
    stale.set_policy("logs", {"prefix": "logs/", "max_age": DAY}, 1, "archive", str(folder))
    stale.set_policy("rest", {}, 0)
    plan = stale.plan(future(pit))
    assert decisions(plan) == {keep: "keep", go: "archive"}
    sweep = stale.begin_sweep(future(pit))["sweep"]
    assert stale.step(sweep)["archived"] == 1
    stale.commit(sweep)
    assert [path.name for path in folder.iterdir()] == [go]
    row = next(row for row in store.inventory() if row["id"] == go)
    assert row["archived"]
    assert stale.plan(future(pit))["totals"]["archived"] == 0
    stale.retrieve(go)
    assert bytes(store.get(go)) == b"go" * 100
    assert not next(row for row in store.inventory() if row["id"] == go)["archived"]
    stale.archive(keep)
    asyncio.run(_retrieve(stale, keep))
    assert bytes(store.get(keep)) == b"keep" * 100
    with pytest.raises(PitInvalidArgument, match="absolute"):
        stale.set_policy("logs", {}, 1, "archive", "cold")


async def _retrieve(stale: Any, content: str) -> None:
    with pytest.raises(PitWouldBlock, match="retrieve_async"):
        stale.retrieve(content)
    await stale.retrieve_async(content)


def test_an_event_loop_sweeps_by_the_async_twins(pit: Any) -> None:
    async def sweep() -> None:
        stale = pit.stale_manager
        then = (await stale.plan_async())["now"] + YEAR
        with pytest.raises(PitWouldBlock, match="begin_sweep_async"):
            stale.begin_sweep()
        begun = await stale.begin_sweep_async(then)
        await stale.step_async(begun["sweep"])
        await stale.abort_async(begun["sweep"])
        begun = await stale.begin_sweep_async(then)
        progress = await stale.step_async(begun["sweep"])
        assert progress["deleted"] == 3
        assert (await stale.commit_async(begun["sweep"]))["deleted"] == 3

    for number in range(3):
        pit.artifact_store.put(b"content %d" % number)
    asyncio.run(sweep())
    assert ids(pit) == set()


CONTENTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["", "", "a/1", "a/2", "b"]),
            "size": st.integers(1, 60),
            "tag": st.sampled_from(["", "gold"]),
            "mark": st.sampled_from([None, None, 0.0, 0.4, 1.0]),
            "reads": st.integers(0, 4),
        }
    ),
    max_size=8,
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "prefix": st.sampled_from(["a/", ""]),
        "max_age": st.sampled_from([DAY, 1000 * DAY]),
        "min_accesses": st.integers(0, 4),
        "keep_tagged": st.just(["gold"]),
        "keep_referenced": st.booleans(),
        "max_total_size": st.integers(0, 150),
    },
)


def value(row: dict[str, Any], rows: list[dict[str, Any]], now: int) -> float:
    """As documented, from the inventory alone."""
    families = [{re.sub("[0-9]+", "#", name) for name in other["names"]} or {""} for other in rows]
    own = {re.sub("[0-9]+", "#", name) for name in row["names"]} or {""}
    fewest = min(sum(family in other for other in families) for family in own)
    recency = 0.5 ** ((now - max(row["last_access"] or 0, row["created"])) / 1e6 / (30 * DAY))
    total = recency + 2 * min(1.0, math.log2(1 + row["accesses"]) / 10) + 1 / fewest
    return float(total / 4 if row["mark"] is None else (total + 12 * row["mark"]) / 16)


def expected(rules: dict[str, Any], rows: list[dict[str, Any]], now: int) -> set[str]:
    """What this one policy deletes."""
    prefix = rules.get("prefix", "")
    mine = [row for row in rows if not prefix or any(name.startswith(prefix) for name in row["names"])]

    def safe(row: dict[str, Any]) -> bool:
        tagged = bool(set(row["tags"]) & set(rules.get("keep_tagged", [])))
        return row["referenced"] or tagged or value(row, rows, now) >= 0.75

    def expired(row: dict[str, Any]) -> bool:
        checks = []
        if "max_age" in rules:
            checks.append((now - row["created"]) / 1e6 > rules["max_age"])
        if "min_accesses" in rules:
            checks.append(row["accesses"] < rules["min_accesses"])
        return bool(checks) and all(checks)

    gone = {row["id"] for row in mine if expired(row) and not safe(row)}
    rest = sorted(
        (row for row in mine if row["id"] not in gone), key=lambda row: (value(row, rows, now), row["id"])
    )
    size = sum(row["size"] for row in rest)
    for row in rest:
        if size > rules.get("max_total_size", math.inf) and not safe(row):
            gone.add(row["id"])
            size -= row["size"]
    return gone


@pytest.mark.property
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=CONTENTS, rules=RULES)
def test_a_sweep_never_deletes_what_a_policy_keeps(
    pit: Any, contents: list[dict[str, Any]], rules: dict[str, Any]
) -> None:
    store, stale = pit.artifact_store, pit.stale_manager
    for row in store.inventory():
        store.delete(row["id"], force=True)
    for number, one in enumerate(contents):
        tags = [one["tag"]] if one["tag"] else []
        content = store.put(bytes([number]) * one["size"], one["name"], tags=tags)
        if one["mark"] is not None:
            store.mark(content, one["mark"])
        for _ in range(one["reads"]):
            store.get(content)
    stale.set_policy("it", rules)
    now = future(pit)
    rows = store.inventory()
    begun = stale.begin_sweep(now)
    if begun["total"]:
        stale.step(begun["sweep"])
    gone = {row["id"] for row in rows} - ids(pit)
    stale.commit(begun["sweep"])
    assert gone == expected(rules, rows, now)
    assert not gone & {row["id"] for row in rows if row["referenced"]}
