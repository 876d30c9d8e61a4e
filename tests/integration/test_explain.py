"""``runs.explain`` of a live run: what it waits for now, which no record tells."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from symphony.cli import main
from tests.fixtures.counted_runs import until
from tests.fixtures.wire import TOY, Wire, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

WAITS = TOY.with_name("waits.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("host") / "home"


@pytest.fixture(scope="module")
def wire(home: Path) -> Iterator[Wire]:
    with running(home) as address, Wire(address) as wire:
        yield wire


def start(wire: Wire, name: str) -> str:
    order = {"workflow": f"waits.{name}", "inputs": {}, "cwd": "/", "plugins": [str(WAITS)]}
    return str(wire.result("workflows.run", **order)["run"])


def reasons(wire: Wire, run: str) -> dict[str, str]:
    return {step["key"]: step["because"] for step in wire.result("runs.explain", run=run)["steps"]}


@pytest.fixture(scope="module")
def crowded(wire: Wire) -> str:
    """A run of which one step of each kind is executed, and all others wait."""
    run = start(wire, "crowded")
    until(lambda: "failed" in reasons(wire, run).get("stumble#0", ""), "the attempt to fail")
    return run


def test_a_step_waits_for_a_slot_and_counts_who_is_ahead(wire: Wire, crowded: str) -> None:
    given = reasons(wire, crowded)
    assert given["squeezed#0"] == "it depends on no step: the workflow came to it"
    taken = "it waits for executor waits.narrow: its only slot is taken"
    assert (given["squeezed#1"], given["squeezed#2"]) == (taken, f"{taken}, 1 step is ahead")
    steps = {step["key"]: step for step in wire.result("runs.explain", run=crowded)["steps"]}
    assert (steps["squeezed#1"]["state"], steps["squeezed#1"]["started"]) == ("queued", None)
    assert steps["squeezed#1"]["waited"] > 0


def test_a_step_waits_for_a_lease_of_its_model(wire: Wire, crowded: str) -> None:
    given = reasons(wire, crowded)
    lease = "it waits for a lease of model single (hot, 1 of 1 leased, 1 waiting)"
    assert given["modelled#1"] == lease


def test_a_step_waits_for_its_next_attempt_and_another_for_it(wire: Wire, crowded: str) -> None:
    given = wire.result("runs.explain", run=crowded)["steps"]
    stumble = next(step for step in given if step["key"] == "stumble#0")
    at = stumble["failures"][0]["retry_at"]
    assert stumble["because"] == f"attempt 1 failed, it is tried again at {at}"
    after = next(step for step in given if step["key"] == "after#0")
    assert after["because"] == "it waits for stumble#0"
    assert after["dependencies"] == [{"key": "stumble#0", "finished": None}]


def test_a_run_waits_for_a_person_a_time_or_to_be_unpaused(
    wire: Wire, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def because(run: str) -> str:
        return str(wire.result("runs.explain", run=run)["because"])

    asking, idle = start(wire, "asking"), start(wire, "idle")
    until(lambda: "a person" in because(asking), "the question")
    assert because(asking) == f"it waits for a person, 'Deploy?': symphony runs input {asking} approve=VALUE"
    assert because(idle).startswith("it sleeps until 20")
    wire.result("runs.pause", run=idle)
    assert because(idle) == f"it is paused: symphony runs unpause {idle}"
    assert main(["--home", str(home), "runs", "explain", idle]) == 0
    assert (
        capsys.readouterr().out.splitlines()[0]
        == f"the run waits: it is paused: symphony runs unpause {idle}"
    )


def test_all_of_a_run_waits_for_the_interpreter(wire: Wire, crowded: str) -> None:
    def held() -> tuple[Any, set[str]]:
        answer = wire.result("runs.explain", run=crowded)
        return answer["because"], {step["because"] for step in answer["steps"]}

    process = wire.result("conductor.status")["pid"]
    os.kill(process, signal.SIGSTOP)
    try:
        because, each = held()
    finally:
        os.kill(process, signal.SIGCONT)
    assert because in ("the interpreter does not answer", "the interpreter does not answer: it is stopped")
    assert each == {because}
    wire.result("conductor.stop", drain=0)
    stopped = "the interpreter was stopped on request: symphony host restart"
    assert held() == (stopped, {stopped})
    wire.result("conductor.start")
    until(lambda: held()[0] is None, "the run to be taken up")
    wire.result("runs.cancel", run=crowded)
    wire.result("runs.wait", run=crowded)
    ended, each = held()
    assert ended is None
    assert not any("it waits" in reason for reason in each)


def test_a_run_that_cannot_go_on_says_why(wire: Wire, tmp_path: Path) -> None:
    plugin = tmp_path / "gone.py"
    plugin.write_text(WAITS.read_text().replace("narrow", "thin").replace("single", "sole"))
    order = {"workflow": "gone.idle", "inputs": {}, "cwd": "/", "plugins": [str(plugin)]}
    run = wire.result("workflows.run", **order)["run"]
    plugin.unlink()
    wire.result("conductor.restart")
    reason = "it cannot go on: "
    until(lambda: str(wire.result("runs.explain", run=run)["because"]).startswith(reason), "it to be left")
    assert "gone.py" in wire.result("runs.explain", run=run)["because"]
