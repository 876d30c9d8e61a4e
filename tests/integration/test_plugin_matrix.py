"""Every way a plugin can be bad, all installed at once: each is named, none imported again, others work."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from symphony import _host
from tests.fixtures.plugin_environment import Environment
from tests.fixtures.wheel_writer import source_of, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

ENTRY = Path(__file__).parents[1] / "fixtures" / "components" / "entry.c"
MARK: Final = """
import os, pathlib
with open(os.environ["MARKS"] + "/" + pathlib.Path(__file__).stem, "a") as mark:
    mark.write("imported\\n")
"""
LOUD: Final = """
import sys
import symphony
sys.stdout.write("x" * (1 << 20))

@symphony.workflow
async def hum() -> str:
    return "hm"

@symphony.hookimpl
def register_workflows(registry):
    registry.add(hum)
"""
GREETS: Final = """
import symphony

@symphony.workflow
async def {workflow}() -> str:
    return __name__

@symphony.hookimpl
def register_workflows(registry):
    registry.add({workflow})
"""
ASKS_FOR_MORE: Final = """
import symphony

@symphony.hookimpl
def register_workflows(registry, secrets):
    pass
"""
NATIVE: Final = """
from pathlib import Path
import symphony

@symphony.hookimpl
def register_components(registry):
    registry.add(Path(__file__).with_name("libtoy_other_abi.so"))
"""


@dataclass(frozen=True)
class Case:
    """A plugin: its source, how often it is imported at most, and what becomes of it."""

    source: str
    status: str
    code: str | None
    message: str = ""
    imports: int = 1
    name: str = ""


CASES: Final = {
    # Before the one whose names it wants: disabled in this order, it never gets them.
    "symphony-toy-good": Case(
        GREETS.format(workflow="doubled"),
        "conflict",
        "conflict",
        "the names toy-good.* are those of toy-good",
        imports=0,
    ),
    "toy-aborts": Case(source_of("aborts"), "broken", "sigabrt", "SIGABRT"),
    "toy-api": Case(source_of("needs_api_3"), "incompatible", "api", "needs plugin API 3", imports=0),
    "toy-argument": Case(ASKS_FOR_MORE, "broken", "raised", "secrets"),
    "toy-changed": Case(GREETS.format(workflow="hello"), "changed", "changed", "plugins.lock", imports=0),
    "toy-crashes": Case(source_of("segfaults"), "broken", "sigsegv", "SIGSEGV"),
    "toy-good": Case(source_of("good"), "active", None),
    "toy-hangs": Case("import time\ntime.sleep(600)\n", "broken", "hung", "did not finish within 10 s"),
    "toy-hook": Case(source_of("unknown_hook"), "broken", "raised", "no hook 'register_workflow'"),
    "toy-leaves": Case(source_of("os_exit"), "broken", "os_exit", "os._exit(0)"),
    "toy-loud": Case(LOUD, "active", "noise", "prints while it is being loaded"),
    "toy-native": Case(NATIVE, "incompatible", "abi", "expected ABI 1"),
    "toy-odd-name": Case(GREETS.format(workflow="odd"), "active", None, name="Toy_Odd.Name"),
    "toy-quits": Case(source_of("sys_exit"), "broken", "sys_exit", "sys.exit(0)"),
    "toy-raises": Case(source_of("raises"), "broken", "raised", "no such luck"),
    "toy-run": Case(GREETS.format(workflow="run"), "active", None),
}


def marks(environment: Environment) -> dict[str, int]:
    """How often each module was imported."""
    folder = Path(environment.variables["MARKS"])
    return {path.name.replace("_", "-"): path.read_text().count("imported") for path in folder.iterdir()}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """All of them, installed by one plain pip, which asks nobody; and looked at once."""
    folder = tmp_path_factory.mktemp("matrix")
    environment = Environment(folder)
    environment.variables = {"MARKS": str(folder / "marks")}
    (folder / "marks").mkdir()
    library = folder / "other.so"
    defines = ["-DMAGIC={'S','Y','M','P','H','P','I','T'}", "-DSIZE=4096", "-DMAJOR=9", "-DMINOR=0"]
    subprocess.run(["cc", "-shared", "-fPIC", *defines, "-o", library, ENTRY], check=True)
    wheels = []
    for name, case in CASES.items():
        beside = {"libtoy_other_abi.so": library.read_bytes()} if name == "toy-native" else {}
        source = MARK + case.source.replace("from __future__ import annotations\n", "")
        wheels.append(write_wheel(folder, case.name or name, source, beside=beside))
    environment.pip(*wheels)
    environment.home.mkdir(mode=0o700)
    wished = '[plugins.toy-changed]\nrequirement = "toy-changed"\n'
    (environment.home / "plugins.toml").write_text(wished)
    locked = {"version": "1.0", "record": "sha256:0", "installed": "2026-01-01T00:00:00+00:00"}
    first = {"version": "1.0", "record": None, "installed": "2020-01-01T00:00:00+00:00"}
    lock = {"schema": 1, "plugins": {"toy-changed": locked, "toy-good": first}}
    (environment.home / "plugins.lock").write_text(json.dumps(lock))
    code, document, _ = environment("plugins", "list", "--no-probe")
    assert code == 0
    assert {row["status"] for row in document["plugins"]} == {
        "disabled",
        "incompatible",
        "changed",
        "conflict",
    }
    assert environment("plugins", "hooks", "--no-probe")[0] == 0
    assert environment("doctor")[0] == 0
    pressed_tab = {
        "_SYMPHONY_COMPLETE": "bash_complete",
        "COMP_WORDS": "symphony run toy",
        "COMP_CWORD": "2",
        "SYMPHONY_HOME": str(environment.home),
    }
    environment.run(env=pressed_tab)
    assert marks(environment) == {}, "what only looks executes nothing"
    assert environment("plugins", "list")[0] == 0
    assert "toy-good.doubled" in environment.run(env=pressed_tab).stdout
    yield environment
    environment("host", "stop")


@pytest.fixture(scope="module")
def rows(environment: Environment) -> dict[str, dict[str, Any]]:
    """What the list says of each, looked at once more."""
    before = marks(environment)
    rows = environment.rows()
    assert marks(environment) == before
    return rows


@pytest.fixture
def once(environment: Environment) -> Iterator[dict[str, int]]:
    """Whatever the test does, nothing is imported again."""
    before = marks(environment)
    yield before
    assert marks(environment) == before


@pytest.mark.parametrize("name", CASES)
def test_each_has_a_status_a_reason_and_was_imported_once_at_most(
    rows: dict[str, dict[str, Any]], once: dict[str, int], name: str
) -> None:
    case, row = CASES[name], rows[name]
    assert row["status"] == case.status
    assert (row["problem"] or {}).get("code") == case.code
    assert case.message in (row["problem"] or {}).get("message", "")
    assert once.get(name, 0) == case.imports


def test_version_help_and_list_import_none_of_them(environment: Environment, once: dict[str, int]) -> None:
    start = [str(environment.python), "-m", "symphony"]
    variables = {**os.environ, **environment.variables, "SYMPHONY_HOME": str(environment.home)}
    variables.pop("PYTHONPATH", None)
    for words, told in (
        (["--version"], "symphony 0."),
        (["--help"], "plugins"),
        (["plugins", "--help"], "uninstall"),
        (["plugins", "list"], "toy-leaves"),
    ):
        done = subprocess.run([*start, *words], capture_output=True, text=True, env=variables, check=True)
        assert told in done.stdout
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == sorted(CASES)
    assert max(map(len, done.stdout.splitlines())) <= 80
    sick = sum(case.status != "active" for case in CASES.values())
    summary = f"{len(CASES)} plugins, {sick} need attention: symphony plugins doctor"
    assert done.stderr.splitlines()[-1] == summary


@pytest.mark.parametrize("name", CASES)
def test_each_can_be_disabled_without_being_imported(
    environment: Environment, once: dict[str, int], name: str
) -> None:
    assert environment("plugins", "disable", CASES[name].name or name)[1]["status"] == "disabled"
    assert environment.statuses()[name] == "disabled"


def test_the_others_work_beside_them(environment: Environment) -> None:
    for name in ("toy-good", "toy-run", "toy-odd-name"):
        environment("plugins", "enable", name)
    assert environment("run", "toy-good.doubled", "number=4")[1]["result"] == 8
    assert environment("run", "toy-run.run")[1]["result"] == "toy_run"
    assert environment("run", "toy-odd-name.odd")[1]["result"] == "toy_odd_name"
    code, document, _ = environment("run", "toy-leaves.anything")
    assert (code, document["error"]["type"]) == (8, "Refused")


def test_the_abi_that_plugins_are_judged_against_is_that_of_the_host(environment: Environment) -> None:
    assert environment("plugins", "list")[1]["host"]["abi"] == list(_host.ABI)


def test_a_core_command_is_never_taken_over(environment: Environment) -> None:
    done = environment.run("run", "--help")
    assert "Run a workflow" in done.stdout


def test_all_are_removed_without_being_imported(environment: Environment, once: dict[str, int]) -> None:
    environment("host", "stop")
    code, document, _ = environment("plugins", "uninstall", *CASES)
    assert (code, sorted(document["removed"])) == (0, sorted(CASES))
    assert environment.statuses() == {}


def test_a_hundred_plugins_are_listed(environment: Environment, tmp_path: Path) -> None:
    (environment.home / "policy.toml").write_text('[plugins]\nallow = ["many-1*"]\n')
    for number in range(120):
        environment.place(write_wheel(tmp_path, f"many-{number:03}", "raise SystemExit(7)\n"))
    rows = environment.rows("--no-probe")
    codes = {row["problem"]["code"] for row in rows.values()}
    assert (len(rows), codes) == (120, {"policy", "unprobed"})
    names = ",".join(name for name in rows if name != "many-100")
    (environment.home / "policy.toml").unlink()
    _, document, _ = environment(f"--no-plugins={names}", "plugins", "list")
    assert [(row["name"], row["problem"]["code"]) for row in document["plugins"]] == [
        ("many-100", "sys_exit")
    ]
