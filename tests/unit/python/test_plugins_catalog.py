"""What is wished, what is installed and what the probes found, put together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from symphony import running
from symphony.errors import InvalidInput, NotFound, PluginBroken, Quarantined, Refused
from symphony.home import Home
from symphony.plugins import PluginHost, cache, catalog, discovery, lookup, wish
from symphony.plugins.install import set_enabled
from symphony.plugins.names import canonical, closest, prefix
from symphony.running import Order
from tests.fixtures.wheel_writer import source_of, unpack, write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from symphony.plugins.catalog import PluginState

pytestmark = [pytest.mark.python, pytest.mark.subprocess, pytest.mark.usefixtures("no_installed_plugins")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


@pytest.fixture
def add(tmp_path: Path, site: Path) -> Callable[..., Path]:
    """Install a distribution made of one source into a folder on the module path."""

    def install(name: str, source: str, **options: object) -> Path:
        return unpack(write_wheel(tmp_path / "wheels", name, source, **options), site)  # type: ignore[arg-type]

    return install


def by_name(states: list[PluginState]) -> dict[str, PluginState]:
    return {state.name: state for state in states if not state.name.startswith("symphony-")}


def test_names_are_canonical_before_any_comparison() -> None:
    assert canonical("Symphony_OCR.x") == "symphony-ocr-x"
    assert prefix("symphony-conductor") == "conductor"
    assert closest("conductor.indx", ["conductor.index", "conductor.search"]) == ["conductor.index"]
    assert closest("index", ["conductor.index", "tools.report"]) == ["conductor.index"]


def test_a_broken_plugin_harms_no_other(home: Home, add: Callable[..., Path]) -> None:
    add("toy-good", source_of("good"))
    add("toy-raises", source_of("missing_module"))
    add("toy-exits", source_of("os_exit"))
    states = by_name(catalog.survey(home))
    assert {name: state.status for name, state in states.items()} == {
        "toy-good": "active",
        "toy-raises": "broken",
        "toy-exits": "broken",
    }
    assert states["toy-good"].adds() == "1 workflow, 1 model"
    assert states["toy-raises"].adds() == "ModuleNotFoundError: No module named 'cv2_that_is_not_installed'"
    assert lookup.workflow("toy-good.doubled", list(states.values())).full == "toy-good.doubled"
    assert lookup.workflow("doubled", list(states.values())).full == "toy-good.doubled"
    with pytest.raises(PluginBroken, match="toy-exits"):
        lookup.workflow("toy-exits.anything", list(states.values()))
    with pytest.raises(NotFound) as error:
        lookup.workflow("toy-good.dubled", list(states.values()))
    assert error.value.hint == "did you mean toy-good.doubled?"


def test_what_needs_another_api_is_judged_without_running_it(home: Home, add: Callable[..., Path]) -> None:
    site = add("toy-future", source_of("needs_api_3"))
    add("toy-python", source_of("good"), requires_python=">=4")
    add("toy-host", source_of("good"), requires=["symphony-host>=99"])
    states = by_name(catalog.survey(home))
    assert states["toy-future"].adds() == "needs plugin API 3, this host has 1"
    assert states["toy-python"].adds().startswith("needs Python >=4")
    assert states["toy-host"].adds().startswith("needs symphony-host >=99")
    assert {state.status for state in states.values()} == {"incompatible"}
    assert not (site / "toy_future.ran").exists()


def test_a_probe_runs_once_until_the_plugin_changes(
    home: Home, add: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("toy-good", source_of("good"))
    told: list[str] = []
    catalog.survey(home, note=told.append)
    catalog.survey(home, note=told.append)
    assert told == ["probing toy-good"]
    home.plugins_cache.unlink()
    catalog.survey(home, note=told.append)
    add("toy-good", source_of("good") + "\n# changed\n")
    catalog.survey(home, note=told.append)
    assert told == ["probing toy-good"] * 3


def test_a_failed_probe_is_tried_again_when_something_was_installed(
    home: Home, add: Callable[..., Path]
) -> None:
    add("toy-needy", "import needed_thing\n")
    assert by_name(catalog.survey(home))["toy-needy"].status == "broken"
    add("needed-thing", "", plugin=False)
    assert by_name(catalog.survey(home))["toy-needy"].status == "active"


def test_a_damaged_cache_is_ignored(home: Home, add: Callable[..., Path]) -> None:
    add("toy-good", source_of("good"))
    for content in ("", "[]", '{"schema": 1, "plugins": {"toy-good": {"key": 1}}}', "{"):
        home.plugins_cache.write_text(content)
        assert by_name(catalog.survey(home))["toy-good"].status == "active"


def test_a_disabled_plugin_is_not_probed(home: Home, add: Callable[..., Path]) -> None:
    add("toy-exits", source_of("os_exit"))
    wish.change(home, "toy-exits", enabled=False)
    told: list[str] = []
    assert by_name(catalog.survey(home, note=told.append))["toy-exits"].status == "disabled"
    assert told == []
    with pytest.raises(Refused, match="disabled"):
        lookup.workflow("toy-exits.x", catalog.survey(home))


def test_a_quarantined_plugin_is_neither_probed_nor_used_until_it_is_enabled(
    home: Home, add: Callable[..., Path]
) -> None:
    add("toy-good", source_of("good"))
    verdict = {"time": 0, "cause": "signal 11", "report": "/r.txt"}
    deaths = {"toy-good": {"deaths": [], "quarantined": verdict}, "toy-file": {"quarantined": verdict}}
    near = {"deaths": [[0, "run", "step#0"]], "quarantined": None}
    home.plugin_deaths.write_text(json.dumps({"plugins": {**deaths, "toy-near": near}}))
    states = by_name(catalog.survey(home))
    assert {name: state.status for name, state in states.items()} == dict.fromkeys(deaths, "quarantined")
    assert states["toy-good"].result is None
    assert catalog.workflows(states.values()) == []
    with pytest.raises(Quarantined, match="again and again, last by signal 11") as refused:
        lookup.workflow("toy-good.hello", list(states.values()))
    assert refused.value.hint.endswith("symphony plugins enable toy-good")
    assert "/r.txt" in refused.value.hint
    assert set_enabled(home, "toy-file", enabled=True).status == "active"
    assert set_enabled(home, "toy-good", enabled=True).status == "active"
    assert set(by_name(catalog.survey(home))) == {"toy-good"}
    assert json.loads(home.plugin_deaths.read_text()) == {"plugins": {"toy-near": near}}


def test_a_wish_that_is_not_installed_is_missing(home: Home) -> None:
    wish.change(home, "Toy_Gone", requirement="toy-gone>=1", enabled=True)
    state = by_name(catalog.survey(home))["toy-gone"]
    assert (state.status, state.problem and state.problem.hint) == (
        "missing",
        "symphony plugins install toy-gone",
    )


def test_an_edited_file_plugin_is_probed_again(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "tool.py"
    file.write_text(source_of("good"))
    assert catalog.file_state(home, file).status == "active"
    file.write_text(source_of("raises"))
    assert catalog.file_state(home, file).status == "broken"
    with pytest.raises(InvalidInput):
        catalog.file_state(home, tmp_path / "none.py")


def test_a_policy_can_forbid_plugin_files(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "tool.py"
    file.write_text(source_of("os_exit"))
    for text in ("[sources]\nfiles = false\n", '[plugins]\nblock = ["tool"]\n', "[plugins]\nallow = []\n"):
        home.policy.write_text(text)
        state = catalog.file_state(home, file)
        assert (state.status, state.result) == ("disabled", None)  # it was not probed
        with pytest.raises(Refused, match=str(home.policy)):
            PluginHost(home.path).load_file(file)
        with pytest.raises(Refused, match=str(home.policy)):
            running.resolve(home, Order("tool.any", plugins=[file]))


def test_the_cache_of_a_home_that_cannot_be_written_is_done_without(
    home: Home, add: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from symphony.errors import HostUnavailable

    def full(*_: object) -> None:
        raise HostUnavailable("the disk is full")

    add("toy-good", source_of("good"))
    monkeypatch.setattr(wish, "replace", full)
    assert by_name(catalog.survey(home))["toy-good"].status == "active"
    assert cache.peek(home, discovery.installed()["toy-good"]) is None


class TestWish:
    def test_comments_and_spelling_survive_a_change(self, home: Home) -> None:
        home.plugins_toml.write_text('# mine\n[plugins.Toy_OCR]\nrequirement = "toy-ocr" # pinned later\n')
        wish.change(home, "toy-ocr", enabled=False)
        assert home.plugins_toml.read_text() == (
            '# mine\n[plugins.Toy_OCR]\nrequirement = "toy-ocr" # pinned later\nenabled = false\n'
        )
        assert wish.read(home) == {"toy-ocr": wish.Wish("toy-ocr", False)}
        wish.remove(home, "TOY.ocr")
        assert wish.read(home) == {}

    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            (
                "[plugins.a]\nenable = true\n",
                "unknown key 'enable' in \\[plugins.a\\]",
                "did you mean enabled?",
            ),
            ("[plugin.a]\n", "unknown key 'plugin'", "did you mean plugins?"),
            ("[plugins.a]\nenabled = 1\n", "plugins.a.enabled: expected bool, got int", ""),
            ("[plugins.a]\n[plugins.A]\n", "twice", ""),
            ("plugins = 1\n", "expected tables", "write \\[plugins.NAME\\]"),
            ("[plugins\n", "line 1", "mend the file"),
        ],
    )
    def test_a_mistake_is_named_and_the_file_left_alone(
        self, home: Home, text: str, message: str, hint: str
    ) -> None:
        home.plugins_toml.write_text(text)
        with pytest.raises(InvalidInput, match=message) as error:
            wish.change(home, "a", enabled=False)
        assert hint.replace("\\", "") in error.value.hint
        assert home.plugins_toml.read_text() == text


def test_the_json_of_a_plugin_is_what_scripts_rely_on(home: Home, add: Callable[..., Path]) -> None:
    add("toy-good", source_of("good"))
    document = by_name(catalog.survey(home))["toy-good"].json()
    measured = document.pop("import")
    assert measured["modules"] > 0
    assert json.loads(json.dumps(document)) == {
        "name": "toy-good",
        "version": "1.0",
        "status": "active",
        "enabled": True,
        "order": 1,
        "hooks": ["register_models", "register_workflows"],
        "contributions": [
            {"kind": "workflow", "name": "toy-good.doubled", "id": "toy-good:doubled", "short": "doubled"},
            {"kind": "model", "name": "toy", "id": "toy-good:toy", "short": "toy"},
        ],
        "problem": None,
    }
