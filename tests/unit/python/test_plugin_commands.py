"""Commands of plugins: listed from the store, run in a process of their own, named however they end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import BashComplete

from symphony.cli import main
from symphony.cli.app import COMMANDS, ROOT
from symphony.errors import InvalidInput
from symphony.home import Home
from symphony.plugins import catalog, commands
from symphony.plugins.install import set_enabled
from symphony.plugins.registry import CommandRegistry
from tests.fixtures.wheel_writer import MODULES, source_of, unpack, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.python,
    pytest.mark.integration,
    pytest.mark.subprocess,
    pytest.mark.usefixtures("no_installed_plugins"),
]
FAULT = "ctypes.string_at(0)\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "site-packages"
    wheels = folder.parent / "wheels"
    return unpack(write_wheel(wheels, "commanding", source_of("commanding")), folder)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("commands") / "home").ensure()


@pytest.fixture
def home(shared_home: Home, site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home that has seen the plugin, which this process can find and never imports."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("SYMPHONY_HOME", str(shared_home.path))
    catalog.survey(shared_home)
    yield shared_home
    assert "commanding" not in sys.modules


def test_the_help_lists_them_from_the_store_and_none_stands_for_one_of_the_core(
    home: Home, site: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import sys; from symphony.cli import main; main(['--help']); "
        "print({'importlib.metadata', 'pluggy', 'commanding'}.isdisjoint(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nTrue\n"), "it looks at no distribution"
    own, _, foreign = done.stdout.partition("Commands of plugins:\n")
    shown = foreign.partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in shown] == ["commanding.run", "end", "shout", "tiles", "twice"]
    assert shown[-1] == "  twice           Double a number by a run."
    assert "Run a workflow and wait for its result." in own
    assert main(["run", "--help"]) == 0
    assert "WORKFLOW" in capfd.readouterr().out
    assert main(["commanding.run"]) == 0
    assert capfd.readouterr().out == "not the core's run\n"
    completing = BashComplete(ROOT, {}, "symphony", "_SYMPHONY_COMPLETE")
    assert [item.value for item in completing.get_completions([], "t")] == ["tiles", "twice"]
    monkeypatch.setenv("SYMPHONY_PLUGINS", "-commanding")
    main(["--help"])
    assert "Commands of plugins" not in capfd.readouterr().out
    monkeypatch.delenv("SYMPHONY_PLUGINS")
    # Removed by hand: nobody has looked at the plugins since.
    moved = shutil.move(site / "commanding-1.0.dist-info", tmp_path / "aside")
    assert commands.kept(home) == []
    shutil.move(moved, site / "commanding-1.0.dist-info")
    assert {command.short for command in commands.kept(home)} == {"twice", "shout", "end", "run", "tiles"}


@pytest.mark.hook("register_commands")
def test_a_command_has_the_terminal_the_home_and_a_host_and_no_pit(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    line = [sys.executable, "-m", "symphony", "--home", str(home.path), "shout"]
    done = subprocess.run(line, input="hear", capture_output=True, text=True, check=True)
    assert done.stdout == f"HEAR {home.path} False\n"
    try:
        assert main(["twice", "21"]) == 0
        assert capfd.readouterr().out == "42\n"
    finally:
        main(["host", "stop"])


def test_options_before_the_command_and_behind_it_are_understood(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiles", "build", "--json", "--home", "/elsewhere", "--traceback"]) == 0
    assert capfd.readouterr().out == '{"built": 3}\n'
    assert main(["tiles", "build", "--help"]) == 0
    assert capfd.readouterr().out.startswith("Usage: symphony tiles build [OPTIONS]\n\n  Build tiles.\n")
    assert main(["twice", "x", "--json"]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert (error["type"], error["hint"]) == ("UsageError", "symphony twice --help")


def test_however_it_ends_the_exit_code_says_it_and_a_crash_names_plugin_signal_and_place(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    def ended(*words: str) -> tuple[int, dict[str, object]]:
        code = main(["--json", *words])
        out = capfd.readouterr().out
        return code, json.loads(out)["error"] if out else {}

    assert ended("end", "exit", "--number", "7") == (7, {})
    crash = MODULES / "commanding.py"
    line = crash.read_text().partition(FAULT)[0].count("\n") + 1
    code, error = ended("end", "crash")
    assert (code, error["type"], error["exit"]) == (4, "PluginBroken", 4)
    told = "command end of plugin commanding ended with SIGSEGV (at "
    assert str(error["message"]).startswith(told)
    assert str(error["message"]).endswith(f"commanding.py:{line})")
    code = main(["--json", "end", "raise", "--traceback"])
    shown = capfd.readouterr()
    error = json.loads(shown.out)["error"]
    assert (code, error["type"]) == (1, "ValueError")
    assert "command end of plugin commanding raised ValueError: no such tile (at" in error["message"]
    assert 'raise ValueError("no such tile")' in shown.err
    assert ended("end", "refuse") == (
        2,
        {"type": "InvalidInput", "message": "no such tile", "hint": "try another", "exit": 2},
    )


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("number", "code", "told"), [(5, 5, b"tidied"), (0, 130, b"interrupted")])
def test_ctrl_c_is_the_commands_and_the_terminal_is_its_own(number: int, code: int, told: bytes) -> None:
    ours, theirs = os.openpty()
    script = "import os, sys; os.login_tty(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    line = [sys.executable, "-c", script, "-m", "symphony", "end", "wait", f"--number={number}"]
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while b"waiting" not in said:
            said += os.read(ours, 1024)
        os.write(ours, b"\x03")
        assert process.wait(30) == code
        try:
            while more := os.read(ours, 1024):
                said += more
        except OSError:  # nobody has the terminal any more
            pass
    os.close(ours)
    assert b"[True, True, True]" in said
    assert told in said
    assert (b"interrupted" in said) is (code == 130)


def test_a_name_that_is_not_known_is_told_with_the_closest_of_all(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    for word, near in (("tils", "tiles"), ("rums", "runs"), ("commanding.ed", "commanding.end")):
        assert main([word, "--json"]) == 3
        error = json.loads(capfd.readouterr().out)["error"]
        assert error["type"] == "NotFound"
        assert near in error["hint"]
    set_enabled(home, "commanding", enabled=False)
    try:
        assert main(["tiles", "build", "--json"]) == 8
        hint = json.loads(capfd.readouterr().out)["error"]["hint"]
        assert hint == "symphony plugins enable commanding"
    finally:
        set_enabled(home, "commanding", enabled=True)


def test_the_first_plugin_has_the_short_name() -> None:
    first = commands.PluginCommand("a.tiles", "symphony-a:tiles", "symphony-a", "")
    second = commands.PluginCommand("b.tiles", "b:tiles", "b", "")
    names = commands.callable_by([first, second], COMMANDS)
    assert {name: command.plugin for name, command in names.items()} == {
        "tiles": "symphony-a",
        "a.tiles": "symphony-a",
        "symphony-a:tiles": "symphony-a",
        "b.tiles": "b",
        "b:tiles": "b",
    }
    assert list(commands.shown([first, second], COMMANDS)) == ["tiles", "b.tiles"]


def test_what_is_no_command_is_refused() -> None:
    import click

    registry = CommandRegistry()
    with pytest.raises(InvalidInput, match=r"add is a function, not a command"):
        registry.add(lambda_named("add"))  # type: ignore[arg-type]
    for name in ("Tiles", "geo.tiles", "-x", ""):
        with pytest.raises(InvalidInput, match="cannot be a command's name"):
            registry.add(click.Command(name))
    registry.add(click.Command("tiles"))
    with pytest.raises(InvalidInput, match="added twice"):
        registry.add(click.Command("tiles"))


def lambda_named(name: str) -> object:
    def add() -> None: ...

    add.__name__ = name
    return add
