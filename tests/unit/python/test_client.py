"""The client's end of the control socket, tried against a small host that speaks the protocol."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import symphony
from symphony import client, running
from symphony.errors import Conflict, HostUnavailable, InterpreterDied, InvalidInput, NotFound, RunCancelled
from symphony.home import Home
from symphony.host import RunFailed
from symphony.remote_errors import error_from
from symphony.running import Order
from tests.fixtures import fake_home as fake

pytestmark = [pytest.mark.python, pytest.mark.subprocess, pytest.mark.usefixtures("no_installed_plugins")]


def test_read_only_questions_start_nothing(home: Home) -> None:
    assert client.connect(home) is None
    assert client.ask(home, "runs.list")[0]["workflow"] == "toy.ok"
    with pytest.raises(NotFound, match="no such run") as error:
        client.ask(home, "runs.get", {"run": "x"})
    assert error.value.hint == "runs list"
    assert not home.host_json.exists()


def test_a_home_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    nowhere = Home(tmp_path / "nowhere")
    assert client.ask(nowhere, "runs.list") == []
    with pytest.raises(NotFound):
        client.ask(nowhere, "runs.get", {"run": "x"})
    assert not nowhere.path.exists()


def test_a_host_is_started_once_and_found_afterwards(home: Home) -> None:
    told: list[str] = []
    with client.connect_or_start(home, note=told.append) as first:
        pid = first.request("host.status")["pid"]
    with client.connect_or_start(home, note=told.append) as second:
        assert second.request("host.status")["pid"] == pid
    assert told == ["starting the host"]


def test_a_dead_hosts_file_is_no_host(home: Home) -> None:
    with client.connect_or_start(home) as first:
        pid = first.request("host.status")["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED)
    assert home.host_json.exists()
    assert client.connect(home) is None
    with client.connect_or_start(home) as second:
        assert second.request("host.status")["pid"] != pid


def test_a_host_that_is_stopped_is_named_with_what_lets_it_go_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_LIMIT", 0.05)
    with client.connect_or_start(home) as first:
        pid = first.request("host.status")["pid"]
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        with pytest.raises(client.HostSilent, match=f"pid {pid}.*it is stopped") as error:
            client.connect_or_start(home)
        assert (error.value.hint, error.value.exit_code) == (f"kill -CONT {pid} lets it go on", 9)
        assert client.ask(home, "runs.list")[0]["workflow"] == "toy.ok", "from the files"
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("key", ["prefix", "version"])
def test_the_host_of_another_environment_is_refused_with_both_named(home: Home, key: str) -> None:
    client.connect_or_start(home).close()
    entry = json.loads(home.host_json.read_text())
    home.host_json.write_text(json.dumps(entry | {key: "/elsewhere"}))
    with pytest.raises(Conflict, match="/elsewhere") as error:
        client.connect(home)
    assert sys.prefix in str(error.value)
    assert error.value.exit_code == 6


def test_what_symphonyd_says_instead_of_ready_is_the_error(home: Home) -> None:
    (home.path / "refuse").touch()
    with pytest.raises(Conflict, match="held by pid 1"):
        client.connect_or_start(home)
    (home.path / "refuse").unlink()
    (home.path / "mute").touch()
    with pytest.raises(HostUnavailable, match="no Python found"):
        client.connect_or_start(home)


def test_errors_come_back_as_their_class_with_the_hosts_exit_code(home: Home) -> None:
    with client.connect_or_start(home) as connection:
        with pytest.raises(Conflict, match="no nothing here") as error:
            connection.request("nothing")
        assert (error.value.hint, error.value.exit_code) == ("try another", 6)
        assert connection.request("host.status")["running"]
    unknown = error_from({"message": "m", "data": {"type": "Quarantined", "exit": 4}})
    assert (type(unknown).__name__, unknown.exit_code) == ("Quarantined", 4)
    assert isinstance(error_from({"code": -32601, "message": "no method"}), symphony.SymphonyError)


def test_a_request_that_is_too_long_is_not_sent(home: Home) -> None:
    with client.connect_or_start(home) as connection:
        with pytest.raises(InvalidInput, match="limit"):
            connection.request("pit.call", {"args": ["x" * client.MAX_LINE]})
        assert connection.request("host.status")["running"]


def test_events_come_while_a_run_is_awaited(home: Home) -> None:
    events: list[dict[str, Any]] = []
    with client.connect_or_start(home) as connection:
        run = running.submit(connection, Order("toy.ok"))
        document = running.wait(lambda: client.connect_or_start(home), connection, run, events.append)
    assert document["status"] == "completed"
    assert [event["kind"] for event in events] == ["step_started", "attempt_failed", "step_finished"]


def test_waiting_goes_on_when_the_host_dies(home: Home) -> None:
    told: list[str] = []
    with client.connect_or_start(home) as connection:
        run = running.submit(connection, Order("toy.kills_host"))
        document = running.wait(lambda: client.connect_or_start(home), connection, run, note=told.append)
    assert document["status"] == "completed"
    assert told == ["the host went away; starting it again, the run goes on from its records"]


def test_a_plugin_the_host_does_not_know_yet_is_reloaded(home: Home) -> None:
    with client.connect_or_start(home) as connection:
        assert running.submit(connection, Order("toy.unknown_here")) == "01jdunknown_here"
    assert "plugins.reload" in [method for method, _ in fake.requests(home)]


class TestHost:
    def test_a_result_carries_value_status_and_steps(self, home: Home, toy: Path) -> None:
        with symphony.Host(home.path, plugins=[toy]) as host:
            result = host.run("toy.ok", path=Path("src"))
        assert (result.run_id, result.status, result.steps["reused"]) == ("01jdok", "completed", 1)
        assert result.value["index"] == "blake"
        [params] = [params for method, params in fake.requests(home) if method == "workflows.run"]
        assert params["inputs"] == {"path": "src"}
        assert params["plugins"] == [str(toy)]
        assert params["cwd"] == str(Path.cwd())

    def test_a_failed_run_raises(self, home: Home, toy: Path) -> None:
        with symphony.Host(home.path, plugins=[toy]) as host:
            with pytest.raises(RunFailed, match="seven is odd") as error:
                host.run("toy.fails")
            assert (error.value.type, error.value.step, error.value.run_id) == (
                "ValueError",
                "0/halve#0",
                "01jdfails",
            )
            with pytest.raises(NotFound) as unknown:
                host.run("toy.fail")
            assert unknown.value.hint == "did you mean toy.fails?"

    async def arun(self, home: Home, toy: Path) -> None:
        import asyncio

        async with symphony.Host(home.path, plugins=[toy]) as host:
            assert (await host.arun("toy.ok")).status == "completed"
            task = asyncio.ensure_future(host.arun("toy.waits"))
            while "workflows.run" not in [
                m for m, p in fake.requests(home) if p.get("workflow") == "toy.waits"
            ]:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def test_cancelling_the_task_cancels_the_run(self, home: Home, toy: Path) -> None:
        import asyncio

        asyncio.run(self.arun(home, toy))
        assert ["runs.cancel", {"run": "01jdwaits"}] in fake.requests(home)

    def test_ends_of_runs_become_their_exceptions(self) -> None:
        from symphony.host import result_of

        base: dict[str, Any] = {"run": "r", "workflow": "w", "result": None, "steps": {}, "seconds": 1}
        with pytest.raises(RunCancelled):
            result_of({**base, "status": "cancelled", "error": None})
        with pytest.raises(InterpreterDied, match="thrice"):
            result_of(
                {**base, "status": "failed", "error": {"type": "InterpreterDied", "message": "died thrice"}}
            )
