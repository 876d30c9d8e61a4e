"""Loading as the managed interpreter does: all of a plugin or nothing, and never the end of the process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from symphony.errors import Conflict, Incompatible, InvalidInput, NotFound, PluginBroken
from symphony.plugins import PluginHost, loaded, wish
from tests.fixtures.wheel_writer import source_of, unpack, write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.subprocess, pytest.mark.usefixtures("no_installed_plugins")]


@pytest.fixture
def add(tmp_path: Path, site: Path) -> Callable[..., None]:
    def install(name: str, source: str) -> None:
        unpack(write_wheel(tmp_path / "wheels", name, source), site)

    return install


@pytest.fixture
def host(tmp_path: Path) -> PluginHost:
    (tmp_path / "home").mkdir(mode=0o700)
    return PluginHost(tmp_path / "home")


@pytest.mark.hook("register_workflows")
def test_what_works_is_loaded_and_what_does_not_is_named(host: PluginHost, add: Callable[..., None]) -> None:
    add("symphony-loads-well", source_of("good"))
    add("loads-not", source_of("segfaults"))
    host.load_all()
    found = host.find_workflow("loads-well.doubled")
    assert (found.name, found.id, found.plugin, found.version) == (
        "loads-well.doubled",
        "symphony-loads-well:doubled",
        "symphony-loads-well",
        "1.0",
    )
    assert found.file is None
    assert host.find_workflow("symphony-loads-well:doubled") is found
    assert host.find_workflow("doubled") is found
    assert host.models["toy"].memory == 1 << 20
    with pytest.raises(PluginBroken, match="crashed with SIGSEGV") as error:
        host.find_workflow("loads-not.x")
    assert error.value.exit_code == 4
    with pytest.raises(NotFound) as unknown:
        host.find_workflow("loads-well.doubbled")
    assert unknown.value.hint == "did you mean loads-well.doubled?"


# Its probe passes, its load here does not: what a plugin may do differently in another process.
TWO_FACED = """
import os, sys, symphony
@symphony.workflow
async def half() -> int:
    return 1
@symphony.hookimpl
def register_workflows(registry):
    registry.add(half)
@symphony.hookimpl
def register_models(registry):
    if not any(argument == "--report-fd" for argument in sys.argv):
        sys.exit(0)
"""


def test_a_plugin_that_fails_only_when_loaded_leaves_nothing(
    host: PluginHost, add: Callable[..., None]
) -> None:
    add("two-faced", TWO_FACED)
    add("two-good", source_of("good"))
    host.load_all()
    assert sorted(host.workflows) == ["two-good.doubled"]
    assert host.problems["two-faced"].code == "sys_exit"


def test_reload_takes_up_what_is_new_and_drops_what_is_disabled(
    host: PluginHost, add: Callable[..., None], tmp_path: Path
) -> None:
    from symphony.home import Home

    host.load_all()
    assert host.workflows == {}
    add("new-comer", source_of("good"))
    host.reload()
    assert "new-comer.doubled" in host.workflows
    wish.change(Home(tmp_path / "home"), "new-comer", enabled=False)
    host.reload()
    assert host.workflows == {}
    assert host.models == {}


def test_what_an_editor_wrote_about_plugins_is_noticed(
    host: PluginHost, add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded, "_LOOK", 0.0)
    add("loads-well", source_of("good"))
    host.load_all()
    assert not host.outdated()
    rules = host.home / "policy.toml"
    rules.write_text('[plugins]\nblock = ["loads-well"]\n')
    assert host.outdated()
    host.reload()
    assert not host.outdated()
    assert host.workflows == {}
    rules.write_text("[plugins")
    with pytest.raises(InvalidInput):
        host.reload()
    assert host.outdated(), "so that each run is refused with the reason"


def test_a_loaded_plugin_whose_files_changed_stays_and_is_told(
    host: PluginHost, add: Callable[..., None]
) -> None:
    add("changes-later", source_of("good"))
    host.load_all()
    before = host.find_workflow("changes-later.doubled")
    add("changes-later", source_of("good") + "\n# edited\n")
    host.reload()
    assert host.find_workflow("changes-later.doubled").workflow is before.workflow
    assert host.problems["changes-later"].code == "stale"


def test_a_file_is_loaded_again_only_when_its_content_changed(host: PluginHost, tmp_path: Path) -> None:
    file = tmp_path / "tool.py"
    file.write_text(source_of("noisy"))
    assert host.load_file(file) == "tool"
    first = host.find_workflow("tool.hum")
    assert first.file == file
    assert first.sha256 is not None
    os.utime(file)
    host.load_file(file)
    assert host.find_workflow("tool.hum").workflow is first.workflow
    file.write_text(source_of("noisy").replace("hm", "hmm"))
    host.load_file(file)
    assert host.find_workflow("tool.hum").sha256 != first.sha256


@pytest.mark.parametrize(
    ("module", "kind"), [("os_exit", PluginBroken), ("raises", PluginBroken), ("needs_api_3", Incompatible)]
)
def test_a_bad_file_is_refused_and_what_was_loaded_stays(
    host: PluginHost, tmp_path: Path, module: str, kind: type[Exception]
) -> None:
    (tmp_path / "fine.py").write_text(source_of("noisy"))
    (tmp_path / "bad.py").write_text(source_of(module))
    host.load_file(tmp_path / "fine.py")
    with pytest.raises(kind, match=r"bad\.py"):
        host.load_file(tmp_path / "bad.py")
    assert sorted(host.workflows) == ["fine.hum"]
    assert not (tmp_path / "bad.ran").exists()


def test_a_file_cannot_take_over_an_installed_plugins_names(
    host: PluginHost, add: Callable[..., None], tmp_path: Path
) -> None:
    add("symphony-taken", source_of("good"))
    host.load_all()
    (tmp_path / "taken.py").write_text(source_of("good"))
    with pytest.raises(Conflict, match=r"its names taken\.\* are those of the plugin symphony-taken"):
        host.load_file(tmp_path / "taken.py")
    (tmp_path / "lender.py").write_text(source_of("other"))
    host.load_file(tmp_path / "lender.py")
    assert {name: model.plugin for name, model in host.models.items()} == {
        "toy": "symphony-taken",
        "lender.toy": "lender",
    }


def test_without_plugins_only_files_are_loaded(tmp_path: Path, add: Callable[..., None]) -> None:
    add("not-wanted", source_of("good"))
    (tmp_path / "home").mkdir(mode=0o700)
    host = PluginHost(tmp_path / "home", enabled=False)
    host.load_all()
    assert host.workflows == {}


CONDUCTORS = """
import symphony
class Policy:
    name = "{name}"
    def order(self, ready, free):
        return ready
@symphony.hookimpl
def conductor():
    return Policy()
"""


@pytest.mark.hook("conductor")
def test_the_first_conductor_in_order_wins(
    host: PluginHost, add: Callable[..., None], tmp_path: Path
) -> None:
    from symphony.home import Home

    add("policy-a", CONDUCTORS.format(name="a"))
    add("policy-b", CONDUCTORS.format(name="b"))
    wish.change(Home(tmp_path / "home"), "policy-b", order=1)
    host.load_all()
    assert host.conductor is not None
    assert host.conductor.name == "b"  # type: ignore[attr-defined]
