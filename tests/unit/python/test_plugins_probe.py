"""Every way a plugin can end its process becomes a named state, with the place in the plugin's own code."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from symphony.core_components import core_components
from symphony.plugins.discovery import file_candidate
from symphony.plugins.prober import describe, probe

if TYPE_CHECKING:
    from symphony.plugins.probe_result import ProbeResult

pytestmark = [pytest.mark.python, pytest.mark.subprocess]
MODULES = Path(__file__).parents[2] / "fixtures" / "python_modules"


def probed(module: str, limit: float = 10.0) -> ProbeResult:
    return probe(file_candidate(MODULES / f"{module}.py"), limit)


def test_a_good_plugin_is_recorded_with_everything_it_adds() -> None:
    result = probed("good")
    assert result.problem is None
    assert result.hooks == ["register_models", "register_workflows"]
    workflow, model = result.contributions
    assert (workflow["kind"], workflow["name"], workflow["id"]) == (
        "workflow",
        "good.doubled",
        "good:doubled",
    )
    assert workflow["summary"] == "Double a number."
    assert workflow["inputs"] == [{"name": "number", "type": "int", "required": False, "default": 21}]
    assert (model["kind"], model["name"]) == ("model", "toy")
    assert result.ms > 0


@pytest.mark.parametrize(
    ("module", "code", "message", "line"),
    [
        ("raises", "raised", "RuntimeError: no such luck", 7),
        ("missing_module", "raised", "No module named 'cv2_that_is_not_installed'", 3),
        ("raises_in_hook", "raised", "ValueError: second thoughts", 17),
        ("sys_exit", "sys_exit", "called sys.exit(0)", 5),
        ("os_exit", "os_exit", "called os._exit(0)", 5),
        ("segfaults", "sigsegv", "crashed with SIGSEGV", 5),
        ("aborts", "sigabrt", "crashed with SIGABRT", 5),
        ("unknown_hook", "raised", "there is no hook 'register_workflow'", None),
    ],
)
def test_a_bad_plugin_is_named_with_its_own_frame(
    module: str, code: str, message: str, line: int | None
) -> None:
    result = probed(module)
    assert result.problem is not None
    assert not result.ok
    assert result.problem.code == code
    assert message in result.problem.message
    assert result.problem.at == (f"{MODULES / module}.py:{line}" if line else None)
    assert result.contributions == []


def test_a_plugin_that_hangs_is_ended_with_its_grandchildren() -> None:
    started = time.monotonic()
    result = probed("hangs", limit=2.0)
    assert time.monotonic() - started < 5
    assert result.problem is not None
    assert result.problem.code == "hung"
    assert result.problem.at == f"{MODULES / 'hangs'}.py:7"
    assert not [
        process for process in Path("/proc").glob("[0-9]*") if b"sleep\x00612" in command_line(process)
    ]


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_noise_is_kept_away_from_the_report_and_told() -> None:
    result = probed("noisy")
    assert result.ok
    assert result.problem is not None
    assert result.problem.code == "noise"
    assert result.problem.status == "active"
    assert [item["name"] for item in result.contributions] == ["noisy.hum"]
    assert "loading weights" in result.output


def test_a_syntax_error_is_at_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("x = 1\ndef half(\n")
    result = probe(file_candidate(tmp_path / "torn.py"))
    assert result.problem is not None
    assert result.problem.at == f"{tmp_path / 'torn.py'}:2"


def test_a_hint_names_the_hook_that_was_meant() -> None:
    problem = probed("unknown_hook").problem
    assert problem is not None
    assert problem.hint == "did you mean register_workflows?"


def test_a_library_that_is_no_component_harms_no_other(tmp_path: Path) -> None:
    fake = tmp_path / "libfake.so"
    fake.write_bytes(b"not a library")
    core = core_components()
    found = describe([str(fake), *map(str, core[:1])])
    assert found[0]["problem"]["message"]
    if core:
        assert found[1]["id"].startswith("symphony.")


COMPONENT_PLUGIN = """
import symphony
@symphony.hookimpl
def register_components(registry):
    registry.add({library!r})
"""


def test_a_plugins_component_is_described_under_its_own_id(tmp_path: Path) -> None:
    library = next(path for path in core_components() if path.stem == "stale_manager")
    plugin = tmp_path / "native.py"
    plugin.write_text(COMPONENT_PLUGIN.format(library=str(library)))
    [component] = probe(file_candidate(plugin)).contributions
    assert (component["kind"], component["name"], component["id"]) == (
        "component",
        "stale_manager",
        "symphony.stale_manager",
    )


def test_a_component_that_crashes_when_opened_breaks_only_its_plugin(tmp_path: Path) -> None:
    source, library = tmp_path / "crash.c", tmp_path / "libcrash.so"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void go(void) { abort(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    plugin = tmp_path / "native.py"
    plugin.write_text(COMPONENT_PLUGIN.format(library=str(library)))
    result = probe(file_candidate(plugin))
    assert result.problem is not None
    assert (result.problem.code, result.contributions) == ("sigabrt", [])
    assert "component libcrash.so crashed with SIGABRT" in result.problem.message
    plugin.write_text(COMPONENT_PLUGIN.format(library=str(tmp_path / "none.so")))
    missing = probe(file_candidate(plugin)).problem
    assert missing is not None
    assert missing.at == f"{plugin}:5"
