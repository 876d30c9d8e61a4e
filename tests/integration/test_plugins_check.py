"""``symphony plugins check``: all faults of a file, a project, a wheel or an installed plugin, at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.command_line import command
from tests.fixtures.wheel_writer import source_of, write_wheel

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]
MODULES = Path(__file__).parents[1] / "fixtures" / "python_modules"

PROJECT = """
[project]
name = "Symphony_Bad"
version = "1.0"
requires-python = ">=99"
dependencies = ["symphony-host>=9"]
[project.entry-points.symphony]
a = "symphony_bad.one"
b = "symphony_bad.two"
c = "symphony_bad.three"
"""
TWO = """
from pathlib import Path
import time, symphony
symphony_api = 7
print("hello")
@symphony.workflow
async def ok() -> float:
    return time.time()
@symphony.hookimpl
def register_workflow(registry): ...
@symphony.hookimpl
def register_workflows(registry, extra): ...
@symphony.hookimpl
def register_models(registry):
    registry.add("x", object(), memory=1)
    registry.add("conductor", 3, memory=-1)
@symphony.hookimpl
def register_components(registry):
    registry.add("/nowhere.so")
    registry.add(Path(__file__))
def conductor(): ...
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, since a check leaves nothing in it."""
    return tmp_path_factory.mktemp("checking")


def check(home: Path, target: str, cwd: Path | None = None) -> tuple[int, dict[str, Any]]:
    done = command("plugins", "check", target, "--json", "--home", str(home), cwd=cwd)
    return done.returncode, json.loads(done.stdout)


def told(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Level, code and the last part of the place of each fault."""
    return {
        (fault["level"], fault["code"], (fault["at"] or "").rpartition("/")[2])
        for fault in document["faults"]
    }


def test_all_faults_of_a_project_are_told_at_once(home: Path, tmp_path: Path) -> None:
    package = tmp_path / "src" / "symphony_bad"
    package.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").touch()
    (package / "one.py").write_text("import cv2_that_is_not_installed\n")
    (package / "two.py").write_text(TWO)
    (package / "three.py").write_text("import sys; sys.exit(0)\n")
    code, document = check(home, str(tmp_path))
    assert told(document) == {
        ("broken", "raised", "one.py:1"),
        ("broken", "sys_exit", "three.py:1"),
        ("broken", "unknown_hook", "two.py:9"),
        ("broken", "hook_arguments", "two.py:11"),
        ("broken", "raised", "two.py:15"),
        ("broken", "raised", "two.py:16"),
        ("broken", "raised", "two.py:19"),
        ("broken", "hook_unmarked", "two.py:21"),
        ("incompatible", "python", ""),
        ("incompatible", "host", ""),
        ("incompatible", "api", "two.py"),
        ("incompatible", "abi", ""),
        ("effect", "clock", "two.py:8"),
        ("note", "name", ""),
        ("note", "noise", ""),
    } | {fault for fault in told(document) if fault[1] == "slow"}
    assert (code, document["error"]["exit"], document["kind"]) == (4, 4, "project")
    assert document["hooks"] == ["register_components", "register_models"]
    assert not list(package.rglob("__pycache__")), "the project's folder is left as it was"


def test_what_works_is_fine_and_shown(home: Path) -> None:
    done = command("plugins", "check", "symphony-conductor", "--home", str(home))
    assert (done.returncode, done.stderr) == (0, "no faults\n")
    assert "  workflow   conductor.index\n" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_a_wheel_is_read_and_its_places_are_those_in_it(home: Path, tmp_path: Path) -> None:
    source = source_of("good").replace("return await double(number)", "return open(str(number))")
    wheel = write_wheel(tmp_path, "toy-wheel", source, requires_python=">=3.99")
    code, document = check(home, wheel.name, cwd=tmp_path)
    assert (code, document["kind"], document["version"]) == (5, "wheel", "1.0")
    line = source.splitlines().index("    return open(str(number))") + 1
    assert [(fault["code"], fault["at"]) for fault in document["faults"]] == [
        ("python", None),
        ("file", f"toy_wheel.py:{line}"),
    ]
    plain = write_wheel(tmp_path, "toy-plain", "x = 1\n", plugin=False)
    code, document = check(home, str(plain))
    assert (code, told(document)) == (4, {("broken", "entry_point", "")})


def test_effects_alone_end_with_1_and_what_came_before_a_crash_is_told(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "flows.py"
    file.write_text(source_of("good").replace("await double(number)", "len(input())"))
    assert (check(home, "flows.py", cwd=tmp_path)[0]) == 1
    file.write_text(f"{source_of('good')}\nimport os\ndef conductor(): os.abort()\n")
    with file.open("a") as more:
        more.write("@symphony.hookimpl\ndef register_components(registry): os.abort()\n")
    code, document = check(home, str(file))
    assert code == 4
    assert [fault["code"] for fault in document["faults"]] == ["hook_unmarked", "sigabrt"]


def test_a_name_that_is_taken_is_a_conflict_and_a_short_one_is_told(home: Path, tmp_path: Path) -> None:
    assert command("plugins", "list", "--home", str(home)).returncode == 0  # which probes what is installed
    (tmp_path / "conductor.py").write_text(source_of("good").replace('"toy"', '"wordllama"'))
    code, document = check(home, "./conductor.py", cwd=tmp_path)
    assert (code, told(document)) == (6, {("conflict", "conflict", ""), ("note", "name_taken", "")})
    assert "has the prefix 'conductor', too" in document["error"]["message"]
    assert document["faults"][1]["message"] == (
        "the short name model wordllama is given by symphony-conductor, too"
    )


@pytest.mark.parametrize(
    ("target", "exit", "hint"),
    [
        ("conducto", 3, "did you mean symphony-conductor?"),
        ("./not_there.py", 3, ""),
        (str(MODULES), 2, "name the folder of a Python project"),
        (str(MODULES / "../deadly.c"), 2, "name a .py file, a project's folder or a wheel"),
    ],
)
def test_what_cannot_be_checked_is_said(home: Path, target: str, exit: int, hint: str) -> None:
    code, document = check(home, target)
    assert (code, document["error"]["exit"], document["error"]["hint"]) == (exit, exit, hint)


def test_a_project_that_only_its_backend_understands_is_to_be_built(home: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nname = 'x'\n")
    code, document = check(home, ".", cwd=tmp_path)
    assert (code, document["error"]["hint"]) == (2, "build a wheel, and check that")
