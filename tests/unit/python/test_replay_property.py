"""Cut the log of a random workflow anywhere, run it again: no record runs twice, nothing differs."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from symphony.engine.run_commands import RETRY
from symphony.engine.run_log import OUTCOME, LogRecord
from symphony.errors import WorkflowChanged
from tests.unit.python.replay_programs import Attempt, Program, attempt, programs

pytestmark = [pytest.mark.property, pytest.mark.python, getattr(pytest.mark, "async")]

EXAMPLES = int(os.environ.get("SYMPHONY_REPLAY_EXAMPLES", "12"))
CUTS = 12

replays = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
seeds = st.integers(0, 10**6)


def keys(records: list[LogRecord]) -> set[str]:
    return {record.key for record in records if record.kind == OUTCOME}


def untimed(records: list[LogRecord]) -> list[tuple[object, ...]]:
    return [(record.kind, record.key, record.fingerprint, record.state, record.payload) for record in records]


def retried(records: list[LogRecord]) -> set[str]:
    return {record.payload.decode() for record in records if record.key == RETRY}


def check_cut(program: Program, whole: Attempt, cut: int, seed: int, meddling: bool = False) -> Attempt:
    """Run again from the first ``cut`` records."""
    before = whole.log.records[:cut]
    again = attempt(program, before, seed, None, meddling)
    assert again.error is None, again.error
    assert again.log.records[:cut] == before
    twice = retried(again.log.records)  # a person wanted these once more
    assert not keys(before) & again.executed - twice
    once = [record.key for record in again.log.records if record.kind == OUTCOME and record.key not in twice]
    assert len(once) == len(set(once))
    seen = again.marks[cut] if cut < len(again.marks) else len(again.trace)
    assert again.trace[:seen] == whole.trace[:seen]
    return again


def check_program(
    program: Program, seed: int, *, confluent: bool, cancel_at: int | None = None, meddling: bool = False
) -> None:
    chance = random.Random(seed)
    whole = attempt(program, [], seed, cancel_at, meddling)
    assert whole.error is None
    end = len(whole.log.records)
    cuts = list(range(end + 1)) if end <= CUTS else [*sorted(chance.sample(range(end), CUTS)), end]
    for cut in cuts:
        again = check_cut(program, whole, cut, seed * 31 + cut, meddling)
        if cut == end or (confluent and cancel_at is None):
            assert again.outcome == whole.outcome
        second = chance.randint(cut, len(again.log.records))
        third = check_cut(program, again, second, seed + 5, meddling)
        if second == len(again.log.records):
            assert third.outcome == again.outcome


@replays
@given(programs(racy=False), seeds)
def test_confluent_workflows_give_the_same_result_from_every_cut(program: Program, seed: int) -> None:
    check_program(program, seed, confluent=True)


@replays
@given(programs(racy=True), seeds, st.one_of(st.none(), st.none(), st.integers(0, 12)))
def test_racy_workflows_repeat_what_was_seen_before_the_cut(
    program: Program, seed: int, cancel_at: int | None
) -> None:
    check_program(program, seed, confluent=False, cancel_at=cancel_at)


@settings(replays, max_examples=EXAMPLES // 3)
@given(programs(racy=True), seeds)
def test_commands_of_a_person_are_repeated_in_their_place(program: Program, seed: int) -> None:
    check_program(program, seed, confluent=False, meddling=True)


EDITABLE = {"step", "mutated", "sleep", "gather"}


def edited(program: Program, chance: random.Random) -> Program | None:
    """The program with one change in its main scope: an operation renamed, left out, added, or swapped."""
    places = [index for index, operation in enumerate(program) if operation[0] in EDITABLE]
    if not places:
        return None
    index = chance.choice(places)
    operation, new = program[index], list(program)
    change = chance.choice(["rename", "delete", "insert", "swap"])
    if change == "rename" and operation[0] in ("step", "mutated"):
        new[index] = (operation[0], (operation[1] + 1) % 4)
    elif change == "delete":
        del new[index]
    elif change == "insert":
        new.insert(index, ("step", 2))
    elif change == "swap" and index + 1 < len(program):
        new[index], new[index + 1] = new[index + 1], new[index]
    return new if new != program else None


@settings(replays, phases=[Phase.generate])
@given(programs(racy=True, max_leaves=20), seeds)
def test_a_changed_workflow_is_detected_or_makes_every_recorded_call(program: Program, seed: int) -> None:
    changed = edited(program, random.Random(seed))
    whole = attempt(program, [], seed)
    if changed is None or not whole.log.records:
        return
    again = attempt(changed, whole.log.records, seed + 1)
    if again.error is not None:
        assert isinstance(again.error, WorkflowChanged)
        assert untimed(again.log.records) == untimed(whole.log.records), (
            "nothing may be written once it is detected"
        )
        return
    # Accepted: then no recorded step ran again, and the new code made all recorded calls.
    assert not keys(whole.log.records) & again.executed
    calls = {(record.key, record.fingerprint) for record in whole.log.records if record.kind == OUTCOME}
    assert calls <= set(again.calls)
