"""The engine with the real Pit: runs are recorded, taken up again, cancelled, or left with a reason."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine import run_records
from symphony.engine.engine import Engine
from symphony.errors import Conflict, InvalidInput, NotFound, PitUnavailable, WorkflowChanged
from symphony.host import RunFailed
from symphony.plugins import PluginHost
from symphony.plugins.loaded import RegisteredWorkflow
from symphony.plugins.namespace import Namespace, Offer
from symphony.values.codec import native_codec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from symphony.testing import RunWorkflow
    from symphony.workflows import Workflow


pytestmark = [pytest.mark.integration, pytest.mark.python, getattr(pytest.mark, "async")]

RUN, OTHER = "1" * 26, "2" * 26
executed: list[str] = []


@symphony.step
async def say(what: str, seconds: float = 0) -> str:
    executed.append(what)
    await asyncio.sleep(seconds)
    return what


@symphony.step
async def bulk(size: int) -> bytes:
    executed.append("bulk")
    return b"x" * size


@symphony.workflow
async def greet(name: str, folder: symphony.DirectoryPath = Path()) -> dict[str, Any]:
    """Greet somebody."""
    size = len(await bulk(20_000))
    await symphony.sleep(0.001)
    return {"text": await say(f"Hello {name}"), "size": size, "last": await say("slow", 0.01)}


@symphony.workflow
async def forever() -> None:
    try:
        await say("waiting", 1000)
    finally:
        await say("cleaned up")


class Plugins(PluginHost):
    """Workflows of this file, as if a plugin had registered them."""

    def __init__(self, home: Path, *workflows: Workflow) -> None:
        super().__init__(home, enabled=False)
        self.workflows = {
            f"test.{workflow.name}": RegisteredWorkflow(
                f"test.{workflow.name}", f"test:{workflow.name}", "test", "1", None, None, workflow
            )
            for workflow in workflows
        }
        self.names = Namespace(
            [Offer("workflow", "test", workflow.name, f"test:{workflow.name}") for workflow in workflows]
        )


@contextlib.asynccontextmanager
async def engine(home: Path, *workflows: Workflow) -> AsyncIterator[Engine]:
    """One life of an interpreter's engine."""
    notes: list[Any] = []
    with symphony.open_pit(home) as pit:
        made = Engine(
            pit.native,
            Plugins(home, *workflows),
            native_codec(),
            lambda method, params: notes.append((method, params)),
        )
        made.notes = notes  # type: ignore[attr-defined]
        try:
            yield made
        finally:
            await made.stop(0)


async def ended(running: Engine, run: str = RUN) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while run in running.live:
            await asyncio.sleep(0.001)
    return running.document(run)


@pytest.fixture(autouse=True)
def _nothing_executed() -> None:
    executed.clear()


@pytest.fixture(params=["process", "machine"])
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A home of either durability: what runs do is the same."""
    tmp_path.chmod(0o700)
    (tmp_path / "config.toml").write_text(f'[host]\ndurability = "{request.param}"\n')
    return tmp_path


def test_a_run_is_recorded_and_its_result_is_json(home: Path) -> None:
    async def main() -> None:
        async with engine(home, greet) as running:
            for _ in range(2):  # asked for again after an answer got lost
                assert await running.start(RUN, "test.greet", {}, {"name": "Ann"}, home, []) == "test.greet"
            result = await ended(running)
            assert result["result"] == {"text": "Hello Ann", "size": 20_000, "last": "slow"}
            assert result["steps"] == {"executed": 3, "reused": 0, "failed": 0, "skipped": 0}
            with pytest.raises(Conflict, match="has ended: completed"):
                await running.cancel(RUN)

    asyncio.run(main())
    assert executed == ["bulk", "Hello Ann", "slow"]


def test_a_wrong_input_is_refused_before_anything_is_recorded(home: Path) -> None:
    async def main() -> None:
        async with engine(home, greet) as running:
            for inputs in ({}, {"name": 3}, {"name": "a", "folder": "/is/not/there"}, {"nam": "a"}):
                with pytest.raises(InvalidInput):
                    await running.start(RUN, "test.greet", inputs, {}, home, [])
            with pytest.raises(NotFound):
                running.document(RUN)

    asyncio.run(main())


def test_the_next_interpreter_takes_a_run_up(home: Path) -> None:
    async def main() -> None:
        async with engine(home, greet) as running:
            await running.start(RUN, "test.greet", {"name": "Ann"}, {}, home, [])
            while "slow" not in executed:
                await asyncio.sleep(0)
        executed.clear()
        async with engine(home, greet) as running:
            await running.resume_all()
            result = await ended(running)
            assert result["result"]["text"] == "Hello Ann"
            assert result["steps"] == {"executed": 1, "reused": 2, "failed": 0, "skipped": 0}

    asyncio.run(main())
    assert executed == ["slow"]


def test_cancelling_is_recorded_and_the_workflow_cleans_up(home: Path) -> None:
    async def main() -> None:
        async with engine(home, forever) as running:
            await running.start(RUN, "test.forever", {}, {}, home, [])
            while not executed:
                await asyncio.sleep(0)
            await running.cancel(RUN)
            assert (await ended(running))["error"]["type"] == "RunCancelled"

    asyncio.run(main())
    assert executed == ["waiting", "cleaned up"]


def test_a_run_whose_workflow_is_gone_stays_and_hinders_no_other(home: Path) -> None:
    async def main() -> None:
        async with engine(home, forever, greet) as running:
            await running.start(RUN, "test.forever", {}, {}, home, [])
            await running.start(OTHER, "test.greet", {"name": "Ann"}, {}, home, [])
        async with engine(home, greet) as running:
            await running.resume_all()
            assert (await ended(running, OTHER))["error"] is None
            with pytest.raises(NotFound):
                running.document(RUN)
            assert running.notes[0][0] == "blocked"  # type: ignore[attr-defined]
            await running.cancel(RUN)
            assert running.document(RUN)["result"] is None

    asyncio.run(main())


def test_changed_code_leaves_the_run_for_the_right_code(home: Path) -> None:
    async def changed(name: str, folder: Path = Path()) -> str:
        return await say("something else")

    changed.__name__ = "greet"

    async def main() -> None:
        async with engine(home, greet) as running:
            await running.start(RUN, "test.greet", {"name": "Ann"}, {}, home, [])
            while "slow" not in executed:
                await asyncio.sleep(0)
        async with engine(home, symphony.workflow(changed)) as running:
            await running.resume(RUN)
            with pytest.raises(WorkflowChanged, match="recorded bulk#0"):
                await ended(running)
        async with engine(home, greet) as running:
            await running.resume_all()
            assert (await ended(running))["result"]["text"] == "Hello Ann"

    asyncio.run(main())


@pytest.mark.usefixtures("no_installed_plugins")
def test_a_result_without_json_form_fails_the_run(run_workflow: RunWorkflow) -> None:
    @symphony.workflow
    async def odd() -> Any:
        return {"when": datetime(2024, 1, 1, tzinfo=UTC), "bad": object()}

    with pytest.raises(
        RunFailed, match=r"^result\.bad: object has no JSON form: return plain values"
    ) as failed:
        run_workflow(odd)
    assert failed.value.type == "ConversionError"


@symphony.workflow
async def mute() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    raise Mute


def test_an_error_whose_text_cannot_be_had_ends_the_run(tmp_path: Path) -> None:
    async def main() -> None:
        async with engine(tmp_path, mute) as running:
            await running.start(RUN, "test.mute", {}, {}, tmp_path, [])
            error = (await ended(running))["error"]
            assert (error["type"], error["message"]) == ("Mute", "(its message cannot be shown)")

    tmp_path.chmod(0o700)
    asyncio.run(main())


def test_an_end_that_cannot_be_recorded_is_told_and_a_large_report_is_given_to_whom_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: Any) -> Any:
        raise MemoryError

    async def main() -> None:
        async with engine(tmp_path, greet) as running:
            with monkeypatch.context() as lacking:
                lacking.setattr(run_records, "run_report", lacks)
                await running.start(RUN, "test.greet", {}, {"name": "Ann"}, tmp_path, [])
                with pytest.raises(symphony.SymphonyError, match="its end cannot be recorded: MemoryError"):
                    await ended(running)
            large = str(running._pit.artifact_store.put(b'{"result": "large"}'))
            assert running.records.report(large) == {"result": "large"}
            with pytest.raises(symphony.SymphonyError, match="is kept") as refused:
                running.records.report(large, at_most=10)
            assert f"symphony artifacts get {large}" in refused.value.hint

    tmp_path.chmod(0o700)
    asyncio.run(main())


@pytest.mark.usefixtures("no_installed_plugins")
def test_workflow_code_cannot_reach_the_pit_but_steps_can(run_workflow: RunWorkflow) -> None:
    @symphony.step
    async def keep() -> str:
        return str(symphony.pit.artifact_store.put(b"kept", name="kept"))

    @symphony.workflow
    async def reaching() -> list[Any]:
        with pytest.raises(symphony.WorkflowEffect, match="used the Pit"):
            symphony.pit.artifact_store.find("kept")
        return [await keep()]

    assert run_workflow(reaching).value == [symphony.pit.artifact_store.find("kept")]


def test_one_process_holds_one_pit(home: Path) -> None:
    with symphony.open_pit(home) as pit:
        assert symphony.open_pit(home) is pit
        assert repr(symphony.pit) == repr(pit) == f"<Pit of {home}>"
        with pytest.raises(PitUnavailable, match="this process holds"):
            symphony.open_pit(home / "other")
    with pytest.raises(PitUnavailable, match="no Pit is open"):
        symphony.pit.artifact_store.find("x")
    assert any(home.iterdir())
