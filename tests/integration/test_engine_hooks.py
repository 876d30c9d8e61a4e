"""A plugin that uses the hooks of the engine's side, in hosts of both kinds: ``backstage.py``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony import client
from symphony.home import Home
from symphony.plugins import catalog
from tests.fixtures import counted_runs as counted
from tests.fixtures.wheel_writer import source_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

SETTINGS = {"plugins": {"backstage": {"greeting": "hello"}}}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plugin") / "backstage.py"
    file.write_text(source_of("backstage"))
    return file


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One home for all, so that the plugin is probed once."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def host(home: Home, plugin: Path) -> Iterator[symphony.Host]:
    os.environ["BACKSTAGE_KEY"] = "opensesame"
    try:
        with symphony.Host(home.path, isolated=False, plugins=[plugin], settings=SETTINGS) as host:
            yield host
    finally:
        del os.environ["BACKSTAGE_KEY"]
    assert (home.path / "stopped").read_text().splitlines()[:2] == [
        "configure",
        f"started in {home.path.name}, artifacts 0",
    ]


def module() -> Any:
    """The plugin as this process has loaded it."""
    return next(found for name, found in sys.modules.items() if name.endswith("_backstage"))


@pytest.mark.hook("configure", "step_middleware", "interpreter_started", "interpreter_stopping")
def test_settings_middleware_and_secrets_reach_steps_wherever_they_run(host: symphony.Host) -> None:
    assert host.run("backstage.greetings").value == ["hello somebody", "hello there", len("opensesame")]
    assert [line for line in module().seen if " on " in line] == ["greet_there on process", "greet on thread"]


@pytest.mark.hook("register_types", "register_executors")
def test_values_of_a_plugins_type_go_through_processes_of_the_core_and_of_a_plugin(
    host: symphony.Host,
) -> None:
    assert host.run("backstage.sums").value == [16]


def test_an_executor_is_found_by_its_full_name_and_can_be_the_runs(host: symphony.Host) -> None:
    here, thread = host.run("backstage.places").value
    assert (here, thread) == (os.getpid(), "symphony-host")
    key = module().inline.ran[-1]
    assert key.endswith("/alone#0")


def test_what_dies_or_hangs_in_another_process_fails_only_its_step(
    host: symphony.Host, tmp_path: Path
) -> None:
    result = host.run("backstage.deaths", folder=tmp_path)
    assert result.value == [
        "lived",
        "lived",
        "TimeoutError: step 'hangs' took longer than 1 s",
        "PitUnavailable: a step that runs in another process has no Pit",
    ]
    hanging = int((tmp_path / "hanging").read_text())
    counted.until(lambda: counted.gone(hanging), "the end of the process that hung")


def test_the_probe_knows_what_the_plugin_gives_without_its_settings(home: Home, plugin: Path) -> None:
    state = catalog.file_state(home, plugin)
    assert state.status == "active"
    assert state.adds() == "5 workflows, 1 type, 2 executors"
    given = {(item["kind"], item["name"], item["id"]) for item in state.contributions}
    assert given >= {
        ("type", "backstage.Money", "backstage:Money"),
        ("executor", "backstage.inline", "backstage:inline"),
        ("executor", "backstage.pool", "backstage:pool"),
    }
    assert {"configure", "step_middleware", "interpreter_started", "interpreter_stopping"} <= set(
        state.json()["hooks"]
    )


@pytest.fixture
def isolated(tmp_path: Path) -> Iterator[Home]:
    """A home whose host, if there is one, is stopped at the end."""
    home = Home(tmp_path / "home")
    yield home
    counted.symphony(home, "host", "stop", check=False)


def test_the_executor_of_a_run_is_recorded_and_a_mistake_starts_nothing(
    isolated: Home, tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = isolated, tmp_path / "backstage.py"
    file.write_text(plugin.read_text())

    def run(*words: str) -> Any:
        return counted.symphony(home, "run", *words, "--plugin", str(file), check=False)

    wrong = run("backstage.places", "--executor", "backstage.pol")["error"]
    assert (wrong["exit"], wrong["hint"]) == (3, "did you mean backstage.pool?")
    assert client.connect(home) is None
    greeting = ("--set", "plugins.backstage.greeting=hello")
    wrong = run("backstage.places", "--set", "plugins.backstage.greting=hello")["error"]
    assert (wrong["exit"], wrong["hint"]) == (2, "did you mean greeting?")
    assert "setting plugins.backstage.greting: no such setting" in wrong["message"]
    counted.symphony(home, "host", "stop")

    monkeypatch.setenv("BACKSTAGE_KEY", "opensesame")
    assert run("backstage.greetings", *greeting)["result"][2] == len("opensesame")
    counted.symphony(home, "host", "stop")
    log = (home.logs / "interpreter.log").read_text()
    assert "the key is [secret env:BACKSTAGE_KEY]" in log
    assert "opensesame" not in log

    waiting = run("backstage.waits", "--executor", "pool", *greeting)
    assert waiting["status"] == "waiting"
    counted.symphony(home, "host", "stop")
    assert (home.path / "stopped").read_text().startswith("configure\nstarted in home")
    file.rename(tmp_path / "gone.py")
    counted.symphony(home, "host", "start", *greeting)
    refused = counted.symphony(home, "runs", "resume", waiting["run"], check=False)["error"]
    assert f"there is no plugin file {file}" in refused["message"]
    (tmp_path / "gone.py").rename(file)
    interpreter = counted.symphony(home, "host", "status")["interpreter"]["pid"]
    counted.symphony(home, "runs", "input", waiting["run"], "go=true")
    done = counted.symphony(home, "runs", "resume", waiting["run"])
    assert done["status"] == "completed"
    assert done["result"] != interpreter
    assert counted.process_state(done["result"]) not in ("", "Z")
    counted.symphony(home, "host", "stop")
    assert counted.gone(done["result"])
