"""What the workflows give, also when the interpreter dies on the way, with Symphony's fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
from symphony.testing import AssertReplayable, KillInterpreterAt, RunWorkflow

from symphony_acme.workflows import count, words


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.txt").write_text("word " * number)
    return [str(path) for path in sorted(tmp_path.iterdir())]


EXPECTED = {"1.txt": 1, "2.txt": 2, "3.txt": 3, "all": 6}


def test_a_step_is_a_function(paths: list[str]) -> None:
    assert count.fn(Path(paths[2])) == 3


def test_the_result(run_workflow: RunWorkflow, paths: list[str]) -> None:
    result = run_workflow(words, paths=paths)
    assert result.value == EXPECTED
    assert result.steps["failed"] == 0


def test_the_workflow_is_found_by_its_name(run_workflow: RunWorkflow, paths: list[str]) -> None:
    assert run_workflow("acme.words", paths=paths).value == EXPECTED


def test_a_run_goes_on_where_its_interpreter_died(
    run_workflow: RunWorkflow, kill_interpreter_at: KillInterpreterAt, paths: list[str]
) -> None:
    kill_interpreter_at("count", "recorded")
    result = run_workflow(words, paths=paths)
    assert result.value == EXPECTED
    assert result.steps["reused"] >= 1


def test_a_replay_makes_the_same_calls(
    assert_replayable: AssertReplayable, paths: list[str]
) -> None:
    assert_replayable(words, paths=paths)
