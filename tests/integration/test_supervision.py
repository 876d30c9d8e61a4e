"""Deaths, hangs and stops that really happen, in a real host: who is blamed, what goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony.crash_reports import crash_reports
from tests.fixtures.command_line import command
from tests.fixtures.counted_runs import process_state, request, symphony, until
from tests.fixtures.deadly_runs import (
    DEADLY,
    HANG_AFTER,
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

    Reports = Callable[[], list[Path]]

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One host for all: what one test does to it must not hinder the next."""
    home = impatient_home(tmp_path_factory.mktemp("supervision") / "home")
    symphony(home, "host", "start")
    yield home
    symphony(home, "host", "stop")


@pytest.fixture(autouse=True)
def forgiven(home: Home) -> Iterator[None]:
    yield
    forgive(home)


@pytest.fixture
def reports(home: Home) -> Callable[[], list[Path]]:
    """The reports of deaths in this test, the newest first."""
    before = set(crash_reports(home))
    return lambda: [report for report in crash_reports(home) if report not in before]


def executions(folder: Path, what: str) -> int:
    return executed(folder).count(what)


def check_quarantine(
    document: dict[str, Any], reports: list[Path], step: str, cause: str, deaths: int
) -> str:
    """The run failed by its own step, and the report names both. Gives the report's text."""
    assert document["status"] == "failed", document
    error = document["error"]
    assert (error["type"], error["step"]) == ("Quarantined", step), error
    assert cause in error["message"], error
    assert len(reports) == deaths
    assert str(reports[0]) == error["report"]
    assert all(report.stat().st_mode & 0o777 == 0o600 for report in reports)
    text = reports[0].read_text()
    gist = text.partition("\n\n")[0].splitlines()
    assert len(gist) <= 10
    assert gist[0] == f"death     {cause}" or cause in gist[0]
    assert "quarantined, its run fails" in text.partition("\n\n")[0]
    calls = text.partition("Last Pit calls, the newest last:\n")[2].partition("\n\n")[0].splitlines()
    assert 1 <= len(calls) <= 64
    assert "  dag_tracker.start_step" in {line.partition(",")[0] for line in calls}
    return text


@pytest.mark.parametrize(
    ("how", "place", "cause"),
    [
        ("segfault", "loop", "signal 11 (SIGSEGV)"),
        ("abort", "thread", "signal 6 (SIGABRT)"),
        ("overflow", "loop", "signal 11 (SIGSEGV)"),
        ("overflow", "thread", "signal 11 (SIGSEGV)"),
        ("segfault", "helper", "signal 11 (SIGSEGV)"),
        ("segfault", "task", "signal 11 (SIGSEGV)"),
    ],
)
def test_a_step_that_crashes_three_times_is_quarantined_and_another_run_goes_on(
    home: Home, tmp_path: Path, reports: Reports, native: str, how: str, place: str, cause: str
) -> None:
    bystander = start(home, "patience", path=str(tmp_path / "go"), folder=str(tmp_path), steps=3)
    key = {"loop": "on_loop#0"}.get(place, f"in_{place}#0")
    run = start(home, "death", how=how, place=place, folder=str(tmp_path), library=native)
    text = check_quarantine(result(home, run), reports(), key, cause, 3)
    assert f"blamed    step {key} of run {run} (deadly.death), plugin deadly" in text
    assert "wait_for#0" in text.partition("Python stacks:")[0]
    assert f'File "{DEADLY}"' in text.partition("Python stacks:")[2]
    assert executions(tmp_path, f"{key.partition('#')[0]} {how}") == 3
    (tmp_path / "go").touch()
    assert result(home, bystander)["result"] == [0, 1, 2]
    assert interpreter(home)["liveness"] == "running"


def test_a_crash_in_a_thread_of_its_own_makes_a_step_the_only_suspect(
    home: Home, tmp_path: Path, reports: Reports
) -> None:
    bystander = start(home, "patience", path=str(tmp_path / "go"), folder=str(tmp_path), steps=3)
    run = start(home, "death", how="segfault", place="own", folder=str(tmp_path))
    check_quarantine(result(home, run), reports(), "in_own_thread#0", "signal 11 (SIGSEGV)", 4)
    first = reports()[-1].read_text()
    assert f"suspect   step in_own_thread#0 of run {run} (deadly.death), plugin deadly" in first
    (tmp_path / "go").touch()
    assert result(home, bystander)["result"] == [0, 1, 2]


def test_a_workflow_whose_own_code_hangs_fails_alone(home: Home, tmp_path: Path, reports: Reports) -> None:
    bystander = start(home, "patience", path=str(tmp_path / "go"), folder=str(tmp_path))
    run = start(home, "death", how="loop", place="workflow", folder=str(tmp_path))
    document = result(home, run)
    assert (document["error"]["type"], document["error"]["step"]) == ("Quarantined", None)
    assert f"blamed    the workflow of run {run} (deadly.death), plugin deadly" in reports()[0].read_text()
    (tmp_path / "go").touch()
    assert result(home, bystander)["result"] == [0]


@pytest.mark.parametrize(("how", "cause"), [("exit", "exit code 3"), ("kill", "signal 9 (SIGKILL)")])
def test_a_death_without_a_trace_is_counted_only_against_a_step_that_dies_alone(
    home: Home, tmp_path: Path, reports: Reports, how: str, cause: str
) -> None:
    run = start(home, "crowd", how=how, folder=str(tmp_path), seconds=0.2)
    text = check_quarantine(result(home, run), reports(), "on_loop#0", cause, 5)
    assert "nobody; one step was in flight" in text
    first = reports()[-1].read_text()
    assert "nobody; 4 steps were in flight" in first
    # The innocent ones were executed twice beside it, and at most once alone.
    assert all(executions(tmp_path, f"nap {number}") <= 3 for number in range(3))


def test_counts_survive_the_host(home: Home, tmp_path: Path, reports: Reports) -> None:
    run = start(home, "death", how="segfault", place="loop", folder=str(tmp_path), seconds=0.3)
    until(lambda: reports() and executions(tmp_path, "on_loop segfault") == 2, "the second life")
    os.kill(request(home, "host.status")["pid"], signal.SIGKILL)
    symphony(home, "host", "start")
    assert result(home, run)["error"]["type"] == "Quarantined"
    assert len(reports()) == 3


def test_the_command_line_ends_with_4_and_shows_the_gist(
    home: Home, tmp_path: Path, reports: Reports
) -> None:
    words = ["deadly.death", "how=segfault", "place=loop", f"folder={tmp_path}", "--plugin", str(DEADLY)]
    ended = command("run", *words, "--home", str(home.path))
    assert ended.returncode == 4, ended.stderr
    assert f"see {reports()[0]}" in ended.stderr
    run = symphony(home, "runs", "list", "--status", "failed")[0]["run"]
    shown = symphony(home, "runs", "show", run)["crashes"]
    assert [crash["report"] for crash in shown] == [str(report) for report in reports()]
    assert shown[0]["gist"][0] == "death     signal 11 (SIGSEGV)"
    assert symphony(home, "doctor")["deaths"]["last"] == shown[0]


def test_a_blocked_loop_is_reported_with_step_and_stack_and_then_ended(home: Home, tmp_path: Path) -> None:
    run = start(home, "death", how="loop", place="loop", folder=str(tmp_path))
    blocked = until(lambda: (i := interpreter(home)).get("liveness") == "blocked" and i, "the block")
    assert (blocked["step"]["run"], blocked["step"]["key"]) == (run, "on_loop#0")
    assert f'File "{DEADLY}"' in blocked["stacks"]
    document = result(home, run)
    assert document["error"]["step"] == "on_loop#0"
    assert "from the host, since it was blocked for" in document["error"]["message"]


@pytest.mark.parametrize(("place", "step"), [("loop", "on_loop#0"), ("thread", "in_thread#0")])
def test_who_keeps_the_python_lock_in_c_is_blamed(
    home: Home, tmp_path: Path, reports: Reports, native: str, place: str, step: str
) -> None:
    go = tmp_path / "go"
    others = [start(home, "patience", path=str(go), folder=str(tmp_path)) for _ in range(2)]
    run = start(home, "death", how="hold", place=place, folder=str(tmp_path), library=native, seconds=0.3)
    text = check_quarantine(result(home, run), reports(), step, "signal 6 (SIGABRT)", 3)
    assert f'File "{DEADLY}"' in text
    assert "step wait_for#0" in text.partition("Steps in flight:")[2], "in other threads"
    go.touch()
    assert [result(home, other)["result"] for other in others] == [[0], [0]]


def test_a_signal_from_outside_blames_nobody(home: Home, tmp_path: Path, reports: Reports) -> None:
    go = tmp_path / "go"
    run = start(home, "death", how="wait", place="loop", folder=str(tmp_path), library=str(go))
    until(lambda: executions(tmp_path, "on_loop wait"), "the step, on the thread that will get the signal")
    os.kill(interpreter(home)["pid"], signal.SIGSEGV)
    until(reports, "the death")
    go.touch()
    assert result(home, run)["result"] == "survived"
    assert "blamed    nobody; one step was in flight" in reports()[0].read_text()


def test_a_stopped_interpreter_is_reported_and_goes_on_when_it_may(home: Home, tmp_path: Path) -> None:
    run = start(home, "patience", path=str(tmp_path / "go"), folder=str(tmp_path))
    before = interpreter(home)
    os.kill(before["pid"], signal.SIGSTOP)
    until(lambda: interpreter(home)["liveness"] == "stopped", "the stop")
    until(lambda: interpreter(home)["silent"] > HANG_AFTER, "more than a hang would take")
    assert process_state(before["pid"]) == "T"
    (tmp_path / "go").touch()
    os.kill(before["pid"], signal.SIGCONT)
    assert result(home, run)["result"] == [0]
    until(lambda: interpreter(home)["liveness"] == "running", "the beats")
    assert interpreter(home)["pid"] == before["pid"]


def core_limit(home: Home) -> list[str]:
    """Soft and hard limit of the interpreter's core files, in bytes."""
    limits = Path(f"/proc/{interpreter(home)['pid']}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    return line.split()[4:6]


def test_a_core_file_is_left_only_where_it_is_asked_for(home: Home) -> None:
    soft, hard = core_limit(home)
    assert soft == "0"
    (home.path / "config.toml").write_text(f"[host]\nhang_after = {HANG_AFTER}\ncore_dumps = true\n")
    request(home, "conductor.restart")
    assert core_limit(home) == [hard, hard]


def test_kill_stopped_ends_a_stopped_interpreter(home: Home, tmp_path: Path, reports: Reports) -> None:
    (home.path / "config.toml").write_text(f"[host]\nhang_after = {HANG_AFTER}\nkill_stopped = true\n")
    request(home, "conductor.restart")
    run = start(home, "patience", path=str(tmp_path / "go"), folder=str(tmp_path))
    os.kill(interpreter(home)["pid"], signal.SIGSTOP)
    until(reports, "the death")
    assert "from the host, since it was stopped for" in interpreter(home)["last_death"]
    (tmp_path / "go").touch()
    assert result(home, run)["result"] == [0]
