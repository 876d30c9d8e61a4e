"""What plugin code and the system do to an interpreter and its host, and what goes on all the same."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from symphony import symphonyd
from symphony.crash_reports import crash_reports
from tests.fixtures.counted_runs import gone, process_state, request, symphony, until
from tests.fixtures.deadly_runs import (
    FIXTURES,
    build_native,
    executed,
    forgive,
    impatient_home,
    interpreter,
    result,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from symphony.home import Home

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

MIB = 1 << 20


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = impatient_home(tmp_path_factory.mktemp("faults") / "home")
    symphony(home, "host", "start")
    yield home
    symphony(home, "host", "stop")


@pytest.fixture(autouse=True)
def forgiven(home: Home) -> Iterator[None]:
    yield
    forgive(home)


@pytest.fixture
def limit(home: Home) -> Iterator[Callable[[int], int]]:
    """Let the present interpreter have so many bytes more of address space, and no more. Gives its pid."""
    limited: list[int] = []

    def limit(more: int) -> int:
        pid: int = interpreter(home)["pid"]
        size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        _, most = resource.prlimit(pid, resource.RLIMIT_AS)
        resource.prlimit(pid, resource.RLIMIT_AS, (size + more, most))
        limited.append(pid)
        return pid

    yield limit
    for pid in limited:
        if not gone(pid):
            resource.prlimit(pid, resource.RLIMIT_AS, resource.prlimit(os.getpid(), resource.RLIMIT_AS))


def bear(home: Home, folder: Path, how: str, place: str = "thread") -> object:
    """What a run with such a step gives, once it has ended."""
    document = result(home, start(home, "bearable", how=how, place=place, folder=str(folder)))
    assert document["status"] == "completed", document
    return document["result"]


def child(folder: Path) -> int:
    """The process that a step forked off."""
    return int(next(line for line in executed(folder) if line.startswith("child")).split()[1])


def test_python_code_that_wants_too_much_memory_fails_alone(
    home: Home, tmp_path: Path, limit: Callable[[int], int]
) -> None:
    pid = limit(512 * MIB)
    document = result(home, start(home, "bearable", how="memory", place="thread", folder=str(tmp_path)))
    assert (document["status"], document["error"]["type"]) == ("failed", "MemoryError"), document
    assert interpreter(home)["pid"] == pid


@pytest.mark.parametrize(
    ("how", "cause", "said"),
    [
        ("result", "signal 6 (SIGABRT)", "memory allocation of"),  # of Rust code
        ("exhaust once", "signal 11 (SIGSEGV)", ""),
    ],
)
def test_native_code_without_memory_is_blamed(
    home: Home, tmp_path: Path, native: str, limit: Callable[[int], int], how: str, cause: str, said: str
) -> None:
    if how == "result":
        limit(320 * MIB)
    before = len(crash_reports(home))
    run = start(home, "bearable", how=how, place="thread", folder=str(tmp_path), library=native)
    until(lambda: len(crash_reports(home)) > before, "the death")
    request(home, "runs.cancel", run=run)
    report = crash_reports(home)[-1 - before].read_text()
    assert report.startswith(f"death     {cause}\n"), report
    assert f"of run {run} (deadly.bearable), plugin deadly" in report.partition("\n\n")[0]
    assert said in report


def test_what_a_plugin_writes_into_the_channel_is_told_from_answers(home: Home, tmp_path: Path) -> None:
    pid = interpreter(home)["pid"]
    assert bear(home, tmp_path, "garbage", "loop") == "survived"
    assert request(home, "pit.list")
    assert interpreter(home)["pid"] == pid
    assert "the interpreter sent what is no JSON object" in (home.logs / "symphonyd.log").read_text()


def test_an_interpreter_that_hangs_up_is_replaced(home: Home, tmp_path: Path) -> None:
    pid = interpreter(home)["pid"]
    assert bear(home, tmp_path, "hang up") == "survived"
    assert executed(tmp_path).count("harm hang up") == 2
    assert gone(pid)
    assert interpreter(home)["last_death"] == "exit code 0"


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("close once", "exit code 1"),
        ("exec once", "signal 9 (SIGKILL) from the host, since it had closed its channel to the host"),
    ],
)
def test_an_interpreter_without_its_descriptors_is_replaced_at_once(
    home: Home, tmp_path: Path, how: str, cause: str
) -> None:
    go = tmp_path / "go"
    bystander = start(home, "patience", path=str(go), folder=str(tmp_path))
    assert bear(home, tmp_path, how) == "survived"
    assert executed(tmp_path).count(f"harm {how}") == 2
    assert interpreter(home)["last_death"] == cause
    go.touch()
    assert result(home, bystander)["result"] == [0]


def test_what_a_call_gives_that_was_ended_to_find_the_holder_of_the_lock_is_not_recorded(
    home: Home, tmp_path: Path
) -> None:
    before = len(crash_reports(home))
    assert bear(home, tmp_path, "doze once") == "survived"
    assert executed(tmp_path).count("harm doze once") == 2
    report = crash_reports(home)[-1 - before].read_text()
    assert "blamed    step in_thread_too#0 of run" in report, report


def test_a_step_that_cancels_all_tasks_hits_no_other(home: Home, tmp_path: Path) -> None:
    pid = interpreter(home)["pid"]
    others = start(home, "audience", folder=str(tmp_path), steps=3, seconds=0.5)
    until(lambda: executed(tmp_path).count("nap 2"), "the others")
    assert bear(home, tmp_path, "cancel all", "loop") == "survived"
    assert result(home, others)["result"] == 3
    assert interpreter(home)["pid"] == pid


def test_a_step_cannot_stop_the_loop_of_all(home: Home, tmp_path: Path) -> None:
    pid = interpreter(home)["pid"]
    run = start(home, "bearable", how="stop the loop", place="loop", folder=str(tmp_path))
    error = result(home, run)["error"]
    assert (error["type"], error["step"]) == ("RuntimeError", "on_loop_too#0")
    assert "a step called stop() of the event loop, which is not its own" in error["message"]
    assert interpreter(home)["pid"] == pid


def test_megabytes_of_output_are_kept_within_bounds(home: Home, tmp_path: Path) -> None:
    assert bear(home, tmp_path, "print") == "survived"
    until(lambda: (home.logs / "interpreter.log.1").exists(), "all of it is taken in")
    assert sum(log.stat().st_size for log in home.logs.glob("interpreter.log*")) < 20 * MIB


@pytest.mark.parametrize("place", ["loop", "thread"])
def test_a_forked_child_that_returns_to_the_engine_ends_there(home: Home, tmp_path: Path, place: str) -> None:
    pid = interpreter(home)["pid"]
    assert bear(home, tmp_path, "fork", place) == "survived"
    until(lambda: gone(child(tmp_path)), "the child's end")
    assert executed(tmp_path).count("nap 0") == 1
    assert all(request(home, "pit.list") for _ in range(3)), "nobody else takes the requests"
    assert interpreter(home)["pid"] == pid
    assert bear(home, tmp_path, "nothing", place) == "survived"


def test_a_plugin_that_ignores_signals_is_stopped_all_the_same(home: Home, tmp_path: Path) -> None:
    pid = interpreter(home)["pid"]
    assert bear(home, tmp_path, "handlers", "loop") == "survived"
    request(home, "conductor.restart")
    assert gone(pid)
    assert bear(home, tmp_path, "nothing") == "survived"


@pytest.mark.parametrize(("how", "cause"), [("faulthandler", "(SIGSEGV)"), ("handler", "was blocked for")])
def test_handlers_of_a_plugin_hide_no_crash(
    home: Home, tmp_path: Path, native: str, how: str, cause: str
) -> None:
    run = start(home, "death", how=how, place="loop", folder=str(tmp_path), library=native)
    document = result(home, run)
    assert (document["error"]["type"], document["error"]["step"]) == ("Quarantined", "on_loop#0")
    assert cause in document["error"]["message"]
    assert f"blamed    step on_loop#0 of run {run}" in Path(document["error"]["report"]).read_text()


def test_a_grandchild_that_outlives_interpreter_and_host_hinders_nobody(home: Home, tmp_path: Path) -> None:
    assert bear(home, tmp_path, "leave behind") == "survived"
    left = child(tmp_path)
    try:
        run = start(home, "patience", path=str(tmp_path / "go"), folder=str(tmp_path))
        os.kill(interpreter(home)["pid"], signal.SIGKILL)
        until(
            lambda: interpreter(home)["state"] == "ready" and interpreter(home)["restarts"], "the next life"
        )
        status = request(home, "host.status")
        os.kill(status["pid"], signal.SIGKILL)
        until(lambda: gone(status["interpreter"]["pid"]), "both ends")
        symphony(home, "host", "start")
        (tmp_path / "go").touch()
        assert result(home, run)["result"] == [0]
        assert not gone(left)
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_stopped_interpreter_does_not_outlive_its_host(home: Home, tmp_path: Path) -> None:
    run = start(home, "patience", path=str(tmp_path / "go"), folder=str(tmp_path))
    status = request(home, "host.status")
    stopped = status["interpreter"]["pid"]
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: process_state(stopped) == "T", "the stop")
    os.kill(status["pid"], signal.SIGKILL)
    symphony(home, "host", "start")
    assert gone(stopped)
    (tmp_path / "go").touch()
    assert result(home, run)["result"] == [0]


def test_a_process_that_got_the_pid_of_an_orphan_is_not_killed_for_it(tmp_path: Path) -> None:
    """In a namespace where the next pid can be chosen."""
    namespace = ["unshare", "-pf" if os.geteuid() == 0 else "-rpf", "--mount-proc", "--kill-child"]
    reuse = [sys.executable, str(FIXTURES / "pid_reuse.py"), "symphony.interpreter"]
    daemon = [str(symphonyd.binary()), "--python", sys.executable, "--prefix", sys.prefix, "--linger"]
    command = [*namespace, *reuse, str(tmp_path / "home"), *daemon]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"same pid": True, "spared": True, "ready": True}
