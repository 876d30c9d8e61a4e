"""The command line in this process, its host being the fake one."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony import __version__, client
from symphony.cli import main
from symphony.cli.output import cut, safe
from symphony.cli.rendering import render
from symphony.cli.run import exit_code
from symphony.cli.times import parse_time
from tests.fixtures import fake_home as fake

if TYPE_CHECKING:
    from symphony.home import Home

pytestmark = [pytest.mark.python, pytest.mark.subprocess, pytest.mark.usefixtures("no_installed_plugins")]


class Cli:
    """Runs command lines and keeps what they print."""

    def __init__(self, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
        self._home, self._capsys = home, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = main(["--home", str(self._home.path), *arguments])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    def json(self, *arguments: str) -> tuple[int, Any]:
        code, out, _ = self(*arguments, "--json")
        return code, json.loads(out)


@pytest.fixture
def cli(home: Home, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(home, capsys)


DEAR = {"click", "pluggy", "rich", "asyncio", "symphony._host", "importlib.metadata"}
"""Modules whose import takes longer than a short command."""


def output_and_dear(code: str, dear: set[str] = DEAR) -> list[str]:
    """What the code prints in a process of its own, and the dear modules that are imported then."""
    script = f"import sys; {code}; print(sorted({dear} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class TestCommon:
    def test_version_needs_next_to_nothing(self) -> None:
        code = "from symphony.cli import main; main(['--version'])"
        assert output_and_dear(code, {*DEAR, "json"}) == [f"symphony {__version__}", "[]"]

    def test_help_imports_no_command(self) -> None:
        script = (
            "import sys; from symphony.cli import main; main(['--help']); "
            "print([m for m in sys.modules if m.startswith(('symphony.plugins.', 'pluggy', 'rich', "
            "'importlib.metadata')) and m != 'symphony.plugins.commands'])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_a_run_needs_neither_click_nor_the_plugins_metadata(self) -> None:
        assert output_and_dear("import symphony.cli.quick, symphony.cli.run, symphony.cli.state") == ["[]"]

    @pytest.mark.parametrize(
        "command", [["plugins", "list"], ["workflows", "list", "--json"]], ids=["short", "long"]
    )
    def test_output_that_nobody_can_take_is_told_in_a_line(self, home: Home, command: list[str]) -> None:
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "symphony", "--home", str(home.path), *command],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stderr.splitlines()[-1]) == (9, "Error: No space left on device")

    def test_closed_streams_are_as_good_as_none(self, home: Home) -> None:
        command = [sys.executable, "-m", "symphony", "--home", str(home.path), "plugins", "list"]
        done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *command], check=False)
        assert done.returncode == 0

    @pytest.mark.parametrize("module", ["quick", "run", "app"])
    def test_ctrl_c_while_it_is_imported_ends_a_command_in_a_line(
        self, home: Home, tmp_path: Path, module: str
    ) -> None:
        script = f"""
            import sys
            from symphony.cli import main

            class Interrupting:
                def find_spec(self, name, *_):
                    if name == "symphony.cli.{module}":
                        raise KeyboardInterrupt

            sys.meta_path.insert(0, Interrupting())
            sys.argv = ["symphony", "--home", {str(home.path)!r}, *sys.argv[1:]]
            sys.exit(main())
        """
        words = ["pit", "list"] if module == "app" else ["run", "no.such"]
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "Error: interrupted\n")

    def test_it_runs_as_a_module(self) -> None:
        command = [sys.executable, "-m", "symphony", "--version", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == {"version": __version__}

    @pytest.mark.parametrize(
        "command",
        [
            (),
            ("run",),
            ("workflows",),
            ("workflows", "list"),
            ("workflows", "show"),
            ("runs",),
            ("runs", "list"),
            ("runs", "show"),
            ("runs", "resume"),
            ("runs", "cancel"),
            ("runs", "delete"),
            ("runs", "prune"),
            ("runs", "pause"),
            ("runs", "unpause"),
            ("runs", "retry"),
            ("runs", "skip"),
            ("runs", "input"),
            ("plugins",),
            ("plugins", "list"),
            ("plugins", "info"),
            ("plugins", "install"),
            ("plugins", "uninstall"),
            ("plugins", "enable"),
            ("plugins", "disable"),
            ("plugins", "prefer"),
            ("plugins", "trust"),
            ("pit",),
            ("pit", "list"),
            ("pit", "show"),
            ("pit", "call"),
            ("pit", "check"),
            ("pit", "stubs"),
            ("models",),
            ("models", "list"),
            ("models", "load"),
            ("models", "unload"),
            ("models", "prewarm"),
            ("artifacts",),
            ("artifacts", "list"),
            ("artifacts", "show"),
            ("artifacts", "get"),
            ("artifacts", "search"),
            ("artifacts", "verify"),
            ("artifacts", "gc"),
            ("host",),
            ("host", "start"),
            ("host", "stop"),
            ("host", "status"),
        ],
    )
    def test_every_command_has_help_with_examples_in_80_columns(
        self, cli: Cli, command: tuple[str, ...]
    ) -> None:
        code, out, _ = cli(*command, "--help")
        assert code == 0
        assert "Examples:" in out
        assert "--json" in out
        assert max(map(len, out.splitlines())) <= 80

    @pytest.mark.parametrize(
        "arguments",
        [["--json", "host", "status"], ["host", "--json", "status"], ["host", "status", "--json"]],
    )
    def test_json_is_understood_everywhere(self, cli: Cli, arguments: list[str]) -> None:
        code, out, _ = cli(*arguments)
        assert (code, json.loads(out)) == (
            0,
            {"running": False, "pid": None, "interpreter": None, "runs": 0, "paused": None},
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "kind", "hint"),
        [
            (["plugins", "lst"], 2, "UsageError", "symphony plugins --help"),
            (["runs", "list", "--status", "bad"], 2, "UsageError", "symphony runs list --help"),
            (["runs", "list", "--nope"], 2, "UsageError", "symphony runs list --help"),
            ([], 2, "UsageError", "symphony --help"),
            (["run", "toy.ok", "path"], 2, "InvalidInput", "write inputs as name=value"),
            (["run", "toy.ok", "--input", "/none"], 2, "InvalidInput", ""),
            (
                ["runs", "list", "--since", "soon"],
                2,
                "InvalidInput",
                "2026-01-31, 2026-01-31T12:00, 30m, 2h, 7d",
            ),
            (["run", "toy.none"], 3, "NotFound", "symphony workflows list"),
            (["plugins", "info", "none"], 3, "NotFound", "symphony plugins list"),
            (["plugins", "uninstall", "none"], 3, "NotFound", "symphony plugins list"),
            (["plugins", "disable", "none"], 3, "NotFound", "symphony plugins list"),
            (["pit", "call", "models"], 2, "InvalidInput", "as in pool_manager.models"),
            (
                ["pit", "call", "a.b", "--nope"],
                2,
                "InvalidInput",
                "as an argument, write it as JSON: '\"--nope\"'",
            ),
        ],
    )
    def test_a_failure_is_one_json_document(
        self, cli: Cli, arguments: list[str], code: int, kind: str, hint: str
    ) -> None:
        exited, document = cli.json(*arguments)
        assert (exited, document["error"]["exit"], document["error"]["type"]) == (code, code, kind)
        assert set(document["error"]) == {"type", "message", "hint", "exit"}
        assert document["error"]["hint"] == hint

    @pytest.mark.parametrize("group", [(), ("plugins",)])
    def test_without_a_command_there_is_help_on_stderr(self, cli: Cli, group: tuple[str, ...]) -> None:
        code, out, err = cli(*group)
        assert (code, out) == (2, "")
        assert "Examples:" in err
        assert "ommand" in cli.json(*group)[1]["error"]["message"]

    def test_an_unknown_command_names_the_closest(self, cli: Cli) -> None:
        code, _, err = cli("plugins", "instal", "x")
        assert code == 2
        assert "there is no command 'instal': did you mean install?" in err

    def test_a_bug_is_told_as_one(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "connect", lambda _: 1 / 0)
        code, out, err = cli("host", "status")
        assert (code, out) == (1, "")
        assert "ZeroDivisionError" in err
        assert "Traceback" not in err
        assert "Traceback" in cli("host", "status", "--traceback")[2]


class TestRun:
    def test_the_result_is_readable_and_the_rest_on_stderr(self, cli: Cli, toy: Path) -> None:
        code, out, err = cli("run", "toy.ok", "path=src", "--plugin", str(toy))
        assert code == 0
        assert out.splitlines() == ["hits:", "  a.py:3-9  0.512", "      x = 1", "", "index  blake"]
        assert err.splitlines() == [
            "probing toy",
            "starting the host",
            "step a failed, will be tried again: try 1",
            "completed in 1.2 s: 2 steps executed, 1 reused (run 01jdok)",
        ]

    def test_inputs_go_as_text_or_as_json(self, cli: Cli, home: Home, toy: Path, tmp_path: Path) -> None:
        (tmp_path / "in.json").write_text('{"deep": [1]}')
        code, document = cli.json(
            "run", "ok", "path=a=b", "--input", str(tmp_path / "in.json"), "--plugin", str(toy)
        )
        assert (code, document["status"]) == (0, "completed")
        [params] = [params for method, params in fake.requests(home) if method == "workflows.run"]
        assert params["workflow"] == "toy.ok"
        assert (params["text"], params["inputs"]) == ({"path": "a=b"}, {"deep": [1]})
        assert (
            cli.json("run", "ok", "deep=1", "--input", str(tmp_path / "in.json"), "--plugin", str(toy))[0]
            == 2
        )

    def test_inputs_from_stdin(
        self, cli: Cli, home: Home, toy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO('{"path": "x"}'))
        assert cli("run", "toy.ok", "--input", "-", "--plugin", str(toy))[0] == 0
        monkeypatch.setattr("sys.stdin", io.StringIO("[1]"))
        assert cli.json("run", "toy.ok", "--input", "-", "--plugin", str(toy))[1]["error"][
            "message"
        ].endswith("got list")

    @pytest.mark.parametrize(
        ("name", "code", "kind", "told"),
        [
            ("fails", 1, "ValueError", "  seven.py"),
            ("crashes", 4, "InterpreterDied", "Hint: see /reports/1.txt"),
        ],
    )
    def test_a_failed_run_prints_its_document(
        self, cli: Cli, toy: Path, name: str, code: int, kind: str, told: str
    ) -> None:
        exited, document = cli.json("run", f"toy.{name}", "--plugin", str(toy))
        assert (exited, document["status"], document["error"]["type"]) == (code, "failed", kind)
        exited, out, err = cli("run", f"toy.{name}", "--plugin", str(toy))
        assert (exited, out) == (code, "")
        assert f"Error: {kind} in step 0/halve#0: seven is odd" in err
        assert told in err.splitlines()

    def test_detached_it_prints_the_id(self, cli: Cli, home: Home, toy: Path) -> None:
        code, out, _ = cli("run", "toy.waits", "--detach", "--plugin", str(toy))
        assert (code, out) == (0, "01jdwaits\n")
        assert "runs.wait" not in [method for method, _ in fake.requests(home)]
        assert cli.json("run", "toy.waits", "--detach", "--plugin", str(toy))[1]["status"] == "running"

    def test_an_unknown_workflow_starts_no_host(self, cli: Cli, home: Home, toy: Path) -> None:
        code, out, err = cli("run", "toy.fail", "--plugin", str(toy))
        assert (code, out) == (3, "")
        assert "did you mean toy.fails?" in err
        assert not home.host_json.exists()

    def test_a_broken_file_is_named_with_its_line(self, cli: Cli, home: Home, tmp_path: Path) -> None:
        (tmp_path / "bad.py").write_text("import os\nos._exit(0)\n")
        code, document = cli.json("run", "bad.x", "--plugin", str(tmp_path / "bad.py"))
        assert (code, document["error"]["type"]) == (4, "PluginBroken")
        assert f"{tmp_path / 'bad.py'}:2" in document["error"]["message"]
        assert not home.host_json.exists()

    def test_exit_codes_of_runs(self) -> None:
        assert exit_code({"status": "completed"}) == 0
        assert exit_code({"status": "cancelled", "error": {"type": "RunCancelled"}}) == 1
        assert exit_code({"status": "failed", "error": {"type": "NotFound"}}) == 1
        assert exit_code({"status": "failed", "error": {"type": "InterpreterDied"}}) == 4
        assert exit_code({"status": "waiting"}) == 10


class TestOthers:
    def test_runs(self, cli: Cli) -> None:
        code, out, _ = cli("runs", "list")
        assert code == 0
        assert out.splitlines() == [
            "RUN               STATUS     STARTED (UTC)     TIME   STEPS  WORKFLOW",
            "01jd000000000000  completed  2026-01-31 12:00  1.2 s  3      toy.ok",
        ]
        assert cli.json("runs", "list")[1][0]["started"] == "2026-01-31T12:00:00Z"
        assert cli.json("runs", "show", "zzz") == (
            3,
            {"error": {"type": "NotFound", "message": "no such run", "hint": "runs list", "exit": 3}},
        )
        assert cli.json("runs", "resume", "01jdok")[1]["status"] == "completed"
        code, out, _ = cli("runs", "show", "01jd")
        assert out.splitlines()[-1].split() == ["ok", "1", "0.5", "s", "a", "0/a#0"]
        assert cli.json("runs", "cancel", "01jd") == (0, {"run": "01jd"})

    def test_runs_are_deleted_and_pruned(self, cli: Cli, home: Home) -> None:
        assert cli.json("runs", "delete", "01a", "01b") == (0, {"deleted": ["01a", "01b"]})
        code, out, err = cli("runs", "prune", "--older-than", "7d", "--status", "failed", "--dry-run")
        assert (code, out.split(), err) == (0, ["01a", "01b"], "2 runs would be deleted\n")
        code, out, err = cli("runs", "prune", "--older-than", "2026-01-31")
        assert (code, out, err) == (0, "", "2 runs deleted\n")
        asked = [params for method, params in fake.requests(home) if method == "runs.prune"]
        assert [(params["status"], params["dry_run"]) for params in asked] == [
            ("failed", True),
            (None, False),
        ]
        assert cli.json("runs", "prune", "--older-than", "soon")[0] == 2
        assert cli.json("runs", "prune", "--older-than", "99999999w")[0] == 2
        assert cli.json("runs", "prune")[0] == 2

    def test_host_start_status_stop(self, cli: Cli) -> None:
        code, started = cli.json("host", "start")
        assert (code, started["running"], started["runs"]) == (0, True, 0)
        assert set(started) == {"running", "pid", "interpreter", "runs", "paused"}
        assert cli.json("host", "start")[1]["pid"] == started["pid"]
        assert "16 MiB" in cli("host", "status")[1]
        assert cli.json("host", "stop")[1]["running"] is False
        assert cli("host", "status")[1] == "not running\n"
        assert cli.json("host", "stop")[0] == 0

    def test_pit_arguments_are_json_or_text(self, cli: Cli) -> None:
        code, document = cli.json(
            "pit", "call", "symphony.pool_manager.try_acquire", "-1", "[2]", "plain", '"3"'
        )
        assert (code, document) == (
            0,
            {"value": ["symphony.pool_manager", "try_acquire", -1, [2], "plain", "3"]},
        )

    def test_pit_components_are_listed_without_a_host(self, cli: Cli, home: Home) -> None:
        code, found = cli.json("pit", "list")
        assert code == 0
        assert "pool_manager" in [item["name"] for item in found]
        assert cli.json("pit", "show", "symphony.pool_manager")[1]["name"] == "pool_manager"
        code, document = cli.json("pit", "show", "pool_maneger")
        assert (code, document["error"]["hint"]) == (3, "did you mean pool_manager?")
        assert not home.host_json.exists()

    def test_a_wrong_plugins_toml_is_named(self, cli: Cli, home: Home) -> None:
        home.plugins_toml.write_text("[plugins.x]\nenabld = true\n")
        code, document = cli.json("plugins", "list")
        assert (code, document["error"]["hint"]) == (2, "did you mean enabled?")


class TestScreen:
    def test_results_of_any_shape_are_readable(self) -> None:
        assert render({"files": 3, "skipped": [], "ok": True, "none": None}) == [
            "files    3",
            "skipped  none",
            "ok       yes",
            "none     -",
        ]
        assert render([1, "two", [3]]) == ["- 1", "- two", "- - 3"]
        assert render("a\nb") == ["a", "b"]
        assert render(None) == []
        assert render({"skipped": [{"path": "a.bin", "reason": "binary"}]}) == ["skipped:", "  a.bin  binary"]

    def test_text_from_outside_cannot_steer_the_terminal(self) -> None:
        assert "\x1b" not in safe("a\x1b[2Jb")
        assert render("\x1b]0;title\x07") == ["\ufffd]0;title\ufffd"]

    def test_wide_characters_count_twice(self) -> None:
        assert cut("日本語テキスト", 14) == "日本語テキスト"
        assert cut("日本語テキスト", 13) == "日本語テキ..."

    def test_since_is_a_time_or_an_age(self) -> None:
        from datetime import UTC, datetime

        now = datetime(2026, 1, 8, tzinfo=UTC)
        assert parse_time("--since", "7d", now) == "2026-01-01T00:00:00+00:00"
        assert parse_time("--since", "2026-01-31T12:00Z") == "2026-01-31T12:00:00+00:00"
