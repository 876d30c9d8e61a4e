"""``Host(isolated=False)`` and ``symphony run --no-isolation``: the host in the caller's own process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.errors import Conflict, HostUnavailable, WorkflowChanged
from symphony.home import Home
from symphony.host import RunFailed
from symphony.in_process import InProcessHost
from tests.fixtures import counted_runs as counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

PLUGIN = """
import asyncio, os
import symphony

@symphony.step
def where(number: int) -> int:
    print("in a step")
    if number < 0:
        raise ValueError(f"{number} is negative")
    return os.getpid()

@symphony.step
async def nap(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    return name

@symphony.workflow
async def here(number: int = 1) -> list:
    return [await where(number), os.environ.get("PYTHONHASHSEED")]

@symphony.workflow
async def naps(count: int, seconds: float) -> int:
    for number in range(count):
        await nap(str(number), seconds)
    return count

@symphony.workflow
async def strings(seconds: float) -> list[str]:
    order = list({f"string {number}" for number in range(40)})
    return [await nap(name, seconds) for name in order]

@symphony.workflow
async def deploy(path: str) -> str:
    names = [nap("first", 0.0), nap("second", 0.2)]
    approved = await symphony.ask("approve", bool, prompt="Deploy?")
    return f"{approved} {await names[1]}"

@symphony.hookimpl
def register_workflows(registry):
    for workflow in (here, naps, strings, deploy):
        registry.add(workflow)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plugin") / "toy.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One home for all, so that each plugin is probed once."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    counted.symphony(home, "host", "stop")


def listed(home: Home) -> dict[str, str]:
    """The status of each run, as ``symphony runs list`` tells it without a host."""
    from symphony import symphonyd

    return {row["run"]: row["status"] for row in symphonyd.query(home, "runs.list")}


def in_process(code: str, **environment: str) -> subprocess.Popen[str]:
    """A Python of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_steps_run_in_this_process_and_are_recorded(home: Home, plugin: Path) -> None:
    with symphony.Host(home.path, isolated=False, plugins=[plugin]) as host:
        result = host.run("toy.here")
        assert (result.value[0], result.status, result.steps["executed"]) == (os.getpid(), "completed", 1)
        with pytest.raises(RunFailed, match="-1 is negative") as failed:
            host.run("toy.here", number=-1)
        assert (failed.value.type, failed.value.step) == ("ValueError", "where#0")
        with pytest.raises(symphony.InvalidInput, match="number"):
            host.run("toy.here", number="x")
        with pytest.raises(symphony.SymphonyError) as unknown:
            host.run("toy.her")
        assert unknown.value.hint == "did you mean toy.here?"
    runs = listed(home)
    assert (runs[result.run_id], runs[failed.value.run_id]) == ("completed", "failed")


def test_hosts_after_one_another_leave_nothing(home: Home, plugin: Path) -> None:
    from symphony import _host

    threads = set(threading.enumerate())
    for _ in range(3):
        with symphony.Host(home.path, isolated=False, plugins=[plugin]) as host:
            assert host.run("toy.here").status == "completed"
            assert _host.lease_holder(str(home.path)) == os.getpid()
        assert _host.lease_holder(str(home.path)) is None
        counted.until(lambda: not set(threading.enumerate()) - threads, "its threads to end")
        assert not home.host_json.exists()
    with pytest.raises(HostUnavailable, match="not open"):
        host.run("toy.here")


def test_it_works_where_a_loop_runs_already(home: Home, plugin: Path) -> None:
    async def all_at_once() -> list[Any]:
        async with symphony.Host(home.path, isolated=False, plugins=[plugin]) as host:
            before = host.run("toy.here").value  # as in a cell of a notebook
            runs = [host.arun("toy.naps", count=number, seconds=0.0) for number in range(3)]
            return [before[0], *[result.value for result in await asyncio.gather(*runs)]]

    assert asyncio.run(all_at_once()) == [os.getpid(), 0, 1, 2]


def test_cancelling_the_task_cancels_the_run(home: Home, plugin: Path) -> None:
    async def cancelled() -> None:
        async with symphony.Host(home.path, isolated=False, plugins=[plugin]) as host:
            before = set(listed(home))
            task = asyncio.ensure_future(host.arun("toy.naps", count=1000, seconds=0.05))
            while not (new := set(listed(home)) - before):
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert listed(home)[new.pop()] == "cancelled"

    asyncio.run(cancelled())


def test_ctrl_c_comes_once_the_run_is_recorded_as_cancelled(home: Home, plugin: Path) -> None:
    before = set(listed(home))
    with symphony.Host(home.path, isolated=False, plugins=[plugin]) as host:

        def press() -> None:
            counted.until(lambda: set(listed(home)) - before, "a run")
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            host.run("toy.naps", count=1000, seconds=0.05)
        [run] = set(listed(home)) - before
        assert listed(home)[run] == "cancelled"
        assert host.run("toy.here").status == "completed"  # the host is as good as new


def test_an_isolated_host_goes_on_with_what_was_left_and_the_other_way_round(
    home: Home, tmp_path: Path
) -> None:
    inputs = {"folder": str(tmp_path), "count": counted.COUNT}
    order = {"workflow": "counted.squares", "inputs": inputs, "plugins": [str(counted.COUNTED)]}
    host = InProcessHost(home)
    host.open()
    run = host.request("workflows.run", order)["run"]
    counted.until(lambda: len(counted.executed(tmp_path)) > 4, "some steps")
    host.close()
    recorded = counted.executions_of(recorded_squares(home, run), tmp_path)
    assert listed(home)[run] == "pending"

    counted.symphony(home, "host", "start")  # which takes it up
    counted.until(lambda: len(counted.executed(tmp_path)) > 9, "some more steps")
    status = counted.symphony(home, "host", "status")
    with pytest.raises(Conflict, match=f"has a host already, pid {status['pid']}"):
        host.open()
    for pid in (status["pid"], status["interpreter"]["pid"]):
        os.kill(pid, signal.SIGKILL)
    counted.until(lambda: counted.gone(status["pid"]), "the death of the host")
    recorded |= counted.executions_of(recorded_squares(home, run), tmp_path)
    assert len(recorded) > 4

    host.open()
    result = host.request("runs.wait", {"run": run})
    host.close()
    counted.check_end(result, recorded, tmp_path, deaths=2)
    assert len({pid for _, pid in counted.executed(tmp_path)}) == 2


def recorded_squares(home: Home, run: str) -> set[int]:
    from symphony import symphonyd

    return counted.squares_done(symphonyd.query(home, "runs.get", {"run": run})["graph"])


class TestWhoHasTheHome:
    def test_others_are_refused_with_our_pid_and_we_live(self, home: Home, plugin: Path) -> None:
        with symphony.Host(home.path, isolated=False, plugins=[plugin]) as host:
            started = time.monotonic()
            refused = counted.symphony(home, "run", "toy.here", "--plugin", str(plugin), check=False)["error"]
            assert (refused["type"], refused["exit"]) == ("Conflict", 6)
            assert f"held by process {os.getpid()}" in refused["message"]
            assert time.monotonic() - started < 20  # it is told at once, not after a long wait for the lock
            with pytest.raises(Conflict, match=f"held by process {os.getpid()}"):
                symphony.Host(home.path, isolated=False).__enter__()
            assert host.run("toy.here").status == "completed"

    def test_a_pit_that_is_open_is_not_taken_away(self, home: Home) -> None:
        with symphony.open_pit(home.path) as pit:
            with pytest.raises(Conflict, match="has a Pit open"):
                symphony.Host(home.path, isolated=False).__enter__()
            assert pit.artifact_store.find("nothing") is None

    def test_one_that_was_killed_or_forgotten_is_in_nobodys_way(self, home: Home, plugin: Path) -> None:
        code = f"""
            import sys, symphony
            host = symphony.Host({str(home.path)!r}, isolated=False, plugins=[{str(plugin)!r}]).__enter__()
            print(host.run("toy.here").status, flush=True)
            sys.stdin.readline()
        """
        killed = in_process(code)
        assert killed.stdout is not None
        assert [killed.stdout.readline() for _ in range(2)][1] == "completed\n"
        killed.kill()
        killed.communicate()
        assert json.loads(home.host_json.read_text())["pid"] == killed.pid  # nobody could remove it
        forgotten = in_process(code)
        out, err = forgotten.communicate("\n", timeout=60)
        assert (forgotten.returncode, out.splitlines()[-1], err) == (0, "completed", "")
        with symphony.Host(home.path, isolated=False) as host:
            assert host is not None

    def test_a_forked_child_neither_keeps_nor_ends_it(self, home: Home) -> None:
        host = InProcessHost(home)
        host.open()
        reader, writer = os.pipe()
        with warnings.catch_warnings(action="ignore"):  # of threads that the child does without
            child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            host.close()
            os._exit(0)
        try:
            assert isinstance(host.request("workflows.list"), list)
            host.close()
            with symphony.Host(home.path, isolated=False):  # while the child lives
                assert not counted.gone(child)
        finally:
            os.close(writer)
            os.close(reader)
            assert os.waitpid(child, 0)[1] == 0


def test_a_run_under_another_hash_seed_is_not_taken_for_changed_code(home: Home, plugin: Path) -> None:
    code = f"""
        import time
        from symphony.home import Home
        from symphony.in_process import InProcessHost
        host = InProcessHost(Home({str(home.path)!r}))
        host.open()
        order = dict(workflow="toy.strings", inputs=dict(seconds=0.05), plugins=[{str(plugin)!r}])
        run = host.request("workflows.run", order)["run"]
        ends = []
        def close(event):  # once enough is recorded for chance to repeat it
            ends.extend([event] if event["kind"] == "step_finished" else [])
            assert len(ends) < 4
        try:
            host.request("runs.wait", dict(run=run, events=True), event=close)
        except AssertionError:
            host.close()
            print(run)
    """
    run = in_process(code, PYTHONHASHSEED="1").communicate(timeout=60)[0].strip()
    host = InProcessHost(home)
    host.open()
    with pytest.raises(WorkflowChanged, match="recorded under another PYTHONHASHSEED"):
        host.request("runs.wait", {"run": run})
    host.request("runs.cancel", {"run": run})
    host.close()


def without_isolation(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process from its start, since it starts anew with the home's hash seed."""
    command = [sys.executable, "-m", "symphony", *words, "--no-isolation", "--home", str(home.path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class TestCommandLine:
    def test_it_prints_what_an_isolated_run_prints(self, home: Home, plugin: Path) -> None:
        words = ["run", "toy.here", "number=1", "--plugin", str(plugin)]
        here = json.loads(without_isolation(home, *words, "--json").stdout)
        isolated = counted.symphony(home, *words)
        counted.symphony(home, "host", "stop")
        assert here.keys() == isolated.keys()
        assert here["steps"] == isolated["steps"]
        seed = (home.path / "hash_seed").read_text().strip()
        assert (here["result"][1], isolated["result"][1]) == (seed, seed)
        assert here["result"][0] != isolated["result"][0]

    def test_what_fails_ends_with_the_same_code(self, home: Home, plugin: Path) -> None:
        done = without_isolation(home, "run", "toy.here", "number=-1", "--plugin", str(plugin))
        assert (done.returncode, done.stdout) == (1, "")
        assert "in a step" in done.stderr
        assert "-1 is negative" in done.stderr
        words = ["run", "toy.here", "--no-isolation", "--detach"]
        assert counted.symphony(home, *words, check=False)["error"]["exit"] == 2

    def test_a_run_that_waits_for_an_answer_is_left_to_whoever_gives_it(
        self, home: Home, plugin: Path
    ) -> None:
        words = ["run", "toy.deploy", "path=.", "--plugin", str(plugin)]
        done = without_isolation(home, *words, "--json")
        here = json.loads(done.stdout)
        assert (done.returncode, here["status"], here["steps"]["executed"]) == (10, "waiting", 2), here
        assert [(question["name"], question["prompt"]) for question in here["questions"]] == [
            ("approve", "Deploy?")
        ]
        assert f"symphony runs input {here['run']} approve=VALUE" in done.stderr
        counted.symphony(home, "runs", "input", here["run"], "approve=true")
        ended = counted.symphony(home, "runs", "resume", here["run"])
        counted.symphony(home, "host", "stop")
        assert (ended["status"], ended["result"]) == ("completed", "True second")
