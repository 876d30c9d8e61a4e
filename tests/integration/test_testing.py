"""``symphony.testing``: its fixtures find what they are for, and say so where something is wrong."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.errors import NotFound
from symphony.host import RunFailed
from symphony.plugins import discovery

if TYPE_CHECKING:
    from symphony.testing.faults import KillInterpreterAt
    from symphony.testing.replaying import AssertReplayable
    from symphony.testing.workflows import RunWorkflow

pytestmark = [pytest.mark.python, pytest.mark.integration]
MODULES = Path(__file__).parents[1] / "fixtures" / "python_modules"


@pytest.fixture(autouse=True)
def _only_ours(no_installed_plugins: None) -> None:
    """The installed plugins are nothing to these tests."""


@symphony.step
def square(number: int, folder: str = "") -> int:
    if folder:
        with (Path(folder) / "executed").open("a") as file:
            file.write(f"{number} {os.getpid()}\n")
    return number * number


@symphony.workflow
async def squares(count: int, folder: str = "") -> int:
    """The sum of some squares."""
    return sum([await square(number, folder) for number in range(count)])


@symphony.workflow
async def approved_squares(count: int, folder: str) -> int:
    if not await symphony.ask("approve"):
        return -1
    return sum([await square(number, folder) for number in range(count)])


@symphony.workflow
async def release(version: str) -> str:
    if not await symphony.ask("approve", bool, prompt=f"Release {version}?"):
        return "kept"
    return f"released {await square(3)}"


class TestRunWorkflow:
    def test_a_workflow_is_run_in_this_process_and_what_its_steps_see_can_be_replaced(
        self, run_workflow: RunWorkflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @symphony.step
        def where() -> list[Any]:
            return [os.getpid(), os.cpu_count()]

        @symphony.workflow
        async def local() -> list[Any]:
            return await where()

        monkeypatch.setattr(os, "cpu_count", lambda: 77)
        result = run_workflow(local)
        assert (result.value, result.status) == ([os.getpid(), 77], "completed")
        assert run_workflow(squares, count=4).steps["executed"] == 4
        with pytest.raises(symphony.InvalidInput, match="count"):
            run_workflow(squares, count="x")

    def test_a_failed_step_is_raised_with_its_place(self, run_workflow: RunWorkflow) -> None:
        @symphony.step
        def fail() -> None:
            raise ValueError("out of luck")

        @symphony.workflow
        async def failing() -> None:
            await fail()

        with pytest.raises(RunFailed, match="out of luck") as failed:
            run_workflow(failing)
        assert (failed.value.type, failed.value.step) == ("ValueError", "fail#0")

    def test_answers_are_given_and_a_question_without_one_ends_the_test(
        self, run_workflow: RunWorkflow
    ) -> None:
        with pytest.raises(AssertionError, match=r"asks 'approve' \(Release 1.0\?\): set run_workflow"):
            run_workflow(release, version="1.0")
        run_workflow.answers["approve"] = True
        assert run_workflow(release, version="1.0").value == "released 9"

    def test_it_can_be_called_where_a_loop_runs(self, run_workflow: RunWorkflow) -> None:
        import asyncio

        async def inside() -> Any:
            return run_workflow(squares, count=3).value

        assert asyncio.run(inside()) == 5


class TestLocalFile:
    @pytest.fixture
    def symphony_files(self, tmp_path: Path) -> list[Path]:
        return [Path(shutil.copy(MODULES / "good.py", tmp_path / "symphony_plugins.py"))]

    def test_a_test_that_names_the_file_of_a_folder_need_not_trust_it(
        self, run_workflow: RunWorkflow
    ) -> None:
        assert run_workflow("local.doubled", number=4).value == 8


class TestFilePlugin:
    @pytest.fixture
    def symphony_files(self) -> list[Path]:
        return [MODULES / "good.py"]

    def test_a_workflow_of_a_file_is_run_by_its_name(self, run_workflow: RunWorkflow) -> None:
        assert run_workflow("good.doubled", number=4).value == 8
        with pytest.raises(NotFound) as unknown:
            run_workflow("good.dubled")
        assert unknown.value.hint == "did you mean good.doubled?"

    @pytest.mark.subprocess
    def test_and_by_a_host_of_its_own(self, symphony_host: symphony.Host, symphony_home: Path) -> None:
        assert symphony_host.run("good.doubled", number=4).value == 8
        assert (symphony_home / "host.json").exists()

    @pytest.mark.subprocess
    def test_and_is_killed_by_its_name_but_not_at_a_step_that_it_never_reaches(
        self, run_workflow: RunWorkflow, kill_interpreter_at: KillInterpreterAt
    ) -> None:
        kill_interpreter_at("double", "recorded")
        kill_interpreter_at("double#7")
        with pytest.raises(AssertionError) as unreached:
            run_workflow("good.doubled", number=4)
        assert "kill_interpreter_at('double#7', 'started'): not reached; the steps were double#0" in str(
            unreached.value
        )


@pytest.mark.subprocess
class TestKillInterpreterAt:
    def test_the_run_goes_on_in_another_interpreter_from_what_was_recorded(
        self,
        run_workflow: RunWorkflow,
        kill_interpreter_at: KillInterpreterAt,
        pit_later: Any,
        tmp_path: Path,
    ) -> None:
        kill_interpreter_at(square, "recorded")
        kill_interpreter_at("square#2")
        run_workflow.answers["approve"] = True
        result = run_workflow(approved_squares, count=4, folder=str(tmp_path))
        assert result.value == 14
        assert result.steps == {"executed": 2, "reused": 2, "failed": 0, "skipped": 0}
        executed = [line.split() for line in (tmp_path / "executed").read_text().splitlines()]
        assert [number for number, _ in executed] == ["0", "1", "2", "3"]
        assert len({pid for _, pid in executed}) == 3
        assert run_workflow(squares, count=4).value == 14  # in this process again, on the same home
        assert pit_later().dag_tracker.live_runs() == []

    def test_a_workflow_that_no_other_process_can_import_is_refused(
        self, run_workflow: RunWorkflow, kill_interpreter_at: KillInterpreterAt
    ) -> None:
        @symphony.workflow
        async def local() -> int:
            return await square(1)

        kill_interpreter_at(square)
        with pytest.raises(TypeError, match="define it at the top level"):
            run_workflow(local)

    @pytest.fixture
    def pit_later(self, request: pytest.FixtureRequest) -> Any:
        return lambda: request.getfixturevalue("_symphony_pit")


counter = itertools.count()


@symphony.workflow
async def counting() -> int:
    """Other arguments on each replay."""
    await square(1)
    return await square(next(counter))


@symphony.workflow
async def growing(seen: list[int]) -> int:
    """More calls on each replay: what is not recorded is only told apart after a cut."""
    handles = [square(number) for number in range(3 + next(counter))]
    return await handles[0]


@symphony.workflow
async def varied() -> list[Any]:
    async def late() -> int:
        await symphony.sleep(0.01)
        return await square(7)

    import asyncio

    both = await asyncio.gather(late(), square(2))
    approved = await symphony.ask("approve")
    return [*both, symphony.now().isoformat(), str(symphony.uuid()), symphony.random.random(), approved]


class TestAssertReplayable:
    def test_time_chance_timers_and_answers_of_the_run_are_the_same_on_every_replay(
        self, assert_replayable: AssertReplayable, run_workflow: RunWorkflow
    ) -> None:
        run_workflow.answers["approve"] = True
        result = assert_replayable(varied)
        assert result.value[:2] == [49, 4]
        assert assert_replayable(squares, count=30).steps["executed"] == 30

    def test_the_first_call_that_differs_is_named(self, assert_replayable: AssertReplayable) -> None:
        first = next(counter) + 1
        with pytest.raises(AssertionError) as found:
            assert_replayable(counting)
        text = str(found.value)
        assert "workflow counting does not replay: after record 1 of 2 (square#0)" in text
        assert f"call 2 was square#1 = square({first + 1}), and now is square#1 = square(" in text
        assert "take it from symphony.now()" in text

    def test_what_the_lint_finds_is_told_as_the_likely_cause(
        self, assert_replayable: AssertReplayable
    ) -> None:
        @symphony.workflow
        async def stamped() -> int:
            return await square(time.time_ns())

        with pytest.raises(AssertionError) as found:
            assert_replayable(stamped)
        assert "does not replay: after record 0 of 1" in str(found.value)
        line = stamped.fn.__code__.co_firstlineno + 2
        assert f"test_testing.py:{line}: time.time_ns in workflow 'stamped'" in str(found.value)

    def test_calls_that_no_record_tells_of_are_compared_too(
        self, assert_replayable: AssertReplayable
    ) -> None:
        with pytest.raises(AssertionError, match=r"after record 0 of \d+, the call square#\d+ .* is new"):
            assert_replayable(growing, seen=[])

    def test_an_effect_that_made_no_difference_this_time_is_told(
        self, assert_replayable: AssertReplayable
    ) -> None:
        @symphony.workflow
        async def patient() -> int:
            return await square(3 if time.time() > 0 else 4)

        @symphony.workflow
        async def allowed() -> int:
            return await square(3 if time.time() > 0 else 4)  # symphony: allow[clock]

        with pytest.raises(
            AssertionError, match=r"patient was replayed alike, but only by chance:\n.*time.time"
        ):
            assert_replayable(patient)
        assert assert_replayable(allowed).value == 9

    def test_a_result_that_differs_is_shown(self, assert_replayable: AssertReplayable) -> None:
        @symphony.workflow
        async def whimsical() -> int:
            return await square(2) + next(counter)

        with pytest.raises(AssertionError, match=r"its result was \d+, and now is \d+"):
            assert_replayable(whimsical)


def test_importing_it_costs_no_pytest_and_no_native_module() -> None:
    code = "import sys, symphony.testing; print({'pytest', 'symphony._host'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_installed_plugins_are_not_seen_but_those_added_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fixtures.wheel_writer import source_of, unpack, write_wheel

    assert "symphony-conductor" not in discovery.installed()
    monkeypatch.syspath_prepend(str(unpack(write_wheel(tmp_path, "toy-late", source_of("good")), tmp_path)))
    assert set(discovery.installed()) == {"toy-late"}
