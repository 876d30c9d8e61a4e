"""``symphony plugins new``: complete projects. ``test_docs_plugin`` follows the plain one to its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony.plugins.new import new
from tests.fixtures.command_line import command

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]
ROOT = Path(__file__).parents[2]
BUILT = ROOT / "target" / "new-plugin"
"""Always the same folder, and the target folder of the workspace: cargo builds once."""


def ran(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(*words: str, cwd: Path) -> tuple[int, dict[str, Any]]:
    done = command("plugins", "new", *words, "--json", cwd=cwd)
    return done.returncode, json.loads(done.stdout)["error"]


@pytest.mark.parametrize("native", [False, True], ids=["plain", "native"])
def test_a_project_has_its_own_names_and_is_clean(tmp_path: Path, native: bool) -> None:
    name = "symphony-far-away-weather"
    files = new(name, tmp_path / "made", native=native, license="Apache-2.0", sdk=ROOT / "pit" / "sdk")
    expected = {".gitignore", "LICENSE", "README.md", "pyproject.toml", "tests/test_workflows.py"}
    expected |= {f"symphony_far_away_weather/{file}" for file in ("__init__.py", "plugin.py", "py.typed")}
    assert {str(file) for file in files} >= expected
    assert ("native/src/lib.rs" in map(str, files)) is native
    texts = {file: (tmp_path / "made" / file).read_text() for file in files}
    assert not [file for file, text in texts.items() if "acme" in text.lower()]
    project = tomllib.loads(texts[Path("pyproject.toml")])["project"]
    assert (project["name"], project["license"]) == (name, "Apache-2.0")
    assert project["entry-points"]["symphony"] == {name: "symphony_far_away_weather.plugin"}
    assert "Apache License" in texts[Path("LICENSE")]
    if native:
        crate = tomllib.loads(texts[Path("native/Cargo.toml")])
        sdk = tmp_path / "made" / "native" / crate["dependencies"]["symphony-pit"]["path"]
        assert (sdk / "Cargo.toml").resolve() == ROOT / "pit" / "sdk" / "Cargo.toml"
    for check in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        ran([sys.executable, "-m", "ruff", *check, "."], tmp_path / "made")
    if not native:
        ran([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], tmp_path / "made")
        [wheel] = (tmp_path / "made" / "dist").glob("*-py3-none-any.whl")
        checked = command("plugins", "check", str(wheel), "--json", "--home", str(tmp_path / "home"))
        assert (checked.returncode, json.loads(checked.stdout)["faults"]) == (0, []), checked.stdout


def test_what_cannot_be_a_plugin_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    code, error = refused("Symphony_Weather", cwd=tmp_path)
    assert (code, error["hint"]) == (2, "symphony plugins new symphony-weather")
    code, error = refused("json", cwd=tmp_path)
    assert (code, error["hint"]) == (2, "symphony plugins new symphony-json")
    assert refused("symphony-weather", "--sdk", ".", cwd=tmp_path)[1]["hint"].endswith("--native")
    assert refused("symphony-pit", cwd=tmp_path)[0] == refused("symphony", cwd=tmp_path)[0] == 6
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "symphony-here").mkdir()
    (tmp_path / "symphony-here" / "notes").touch()
    code, error = refused("symphony-here", cwd=tmp_path)
    assert (code, error["type"], error["hint"]) == (6, "Conflict", "choose another folder: --path DIR")
    assert [path.name for path in (tmp_path / "symphony-here").iterdir()] == ["notes"]


@pytest.fixture(scope="module")
def native() -> Path:
    """A native project whose wheel is built; cargo looks at the times of what is there already."""
    fresh, project = BUILT / "fresh", BUILT / "symphony-far-off"
    shutil.rmtree(fresh, ignore_errors=True)
    files = new("symphony-far-off", fresh, native=True, sdk=ROOT / "pit" / "sdk")
    for file in files:
        place = project / file
        if not place.exists() or place.read_text() != (fresh / file).read_text():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(fresh / file, place)
    shutil.copy2(ROOT / "Cargo.lock", project / "native")  # the crates that are here already
    shutil.rmtree(project / "dist", ignore_errors=True)
    environment = {"CARGO_TARGET_DIR": str(ROOT / "target")}
    ran([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], project, **environment)
    return project


def test_the_wheel_of_a_native_project_has_its_component_and_passes_its_tests(
    native: Path, tmp_path: Path
) -> None:
    [wheel] = (native / "dist").glob("*.whl")
    assert wheel.name.startswith("symphony_far_off-0.1.0-py3-none-linux")
    checked = command("plugins", "check", str(wheel), "--json", "--home", str(tmp_path / "home"))
    document = json.loads(checked.stdout)
    assert (checked.returncode, document["faults"]) == (0, [])
    assert [(item["kind"], item["id"]) for item in document["contributions"]] == [
        ("workflow", "symphony-far-off:words"),
        ("component", "far_off.tally"),
    ]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tests = [*words, "tests/test_component.py", "tests/test_workflows.py", "--deselect"]
    died = "tests/test_workflows.py::test_a_run_goes_on_where_its_interpreter_died"
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "SYMPHONY_PLUGINS": "far-off"}
    told = ran([*tests, died], native, PYTHONPATH=str(tmp_path / "site"), **alone)
    assert "6 passed, 1 deselected" in told


def test_the_component_of_a_native_project_passes_its_own_tests(native: Path) -> None:
    environment = {"CARGO_TARGET_DIR": str(ROOT / "target")}
    manifest = str(native / "native" / "Cargo.toml")
    told = ran(["cargo", "test", "--quiet", "--lib", "--manifest-path", manifest], native, **environment)
    assert "1 passed" in told
