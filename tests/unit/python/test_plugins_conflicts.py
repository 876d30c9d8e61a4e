"""Names that several plugins want: who has them, who is told, and what the user can do about it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.cli import main
from symphony.core_components import core_components
from symphony.errors import Conflict, InvalidInput
from symphony.home import Home
from symphony.interpreter import Interpreter
from symphony.plugins import PluginHost, catalog, conflicts, lookup, wish
from symphony.plugins.check import check
from symphony.plugins.names import canonical
from symphony.plugins.namespace import Rank
from symphony.running import Order, resolve
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
    """Install a distribution, each some seconds after the one before; returns its folder of metadata."""
    began = time.time() - 1000

    def install(name: str, source: str) -> Path:
        unpack(write_wheel(tmp_path / "wheels", name, source), site)
        info = site / f"{canonical(name).replace('-', '_')}-1.0.dist-info"
        later = began + 10 * len(list(site.glob("*.dist-info")))
        os.utime(info, (later, later))
        return info

    return install


def survey(home: Home) -> dict[str, PluginState]:
    return {state.name: state for state in catalog.survey(home)}


def statuses(home: Home) -> dict[str, str]:
    return {name: state.status for name, state in survey(home).items()}


def test_the_newcomer_keeps_its_full_names_and_is_told(
    home: Home, add: Callable[..., Path], tmp_path: Path
) -> None:
    add("zoo", source_of("good"))
    add("symphony-art", source_of("good"))
    zoo, art = survey(home).values()
    assert (zoo.name, zoo.notes, art.status, art.needs_attention) == ("zoo", (), "active", False)
    assert [(note.code, note.message) for note in art.notes] == [
        ("name_taken", "the short name workflow doubled is that of zoo, which was installed first"),
        ("name_taken", "the short name model toy is that of zoo, which was installed first"),
    ]
    assert art.notes[1].hint == "use art.toy, or: symphony plugins prefer model:toy symphony-art"
    assert art.json()["problem"] == art.notes[0].json()
    assert (art.adds(), zoo.json()["problem"]) == ("1 workflow, 1 model", None)
    host = PluginHost(home.path)
    host.load_all()
    assert {name: model.plugin for name, model in host.models.items()} == {
        "toy": "zoo",
        "art.toy": "symphony-art",
    }
    assert [host.model_name(name) for name in ("toy", "zoo.toy", "art.toy", "symphony-art:toy")] == [
        "toy",
        "toy",
        "art.toy",
        "art.toy",
    ]
    assert host.model_name("toy", "symphony-art") == "art.toy"
    assert host.find_workflow("doubled").plugin == "zoo"
    assert host.find_workflow("art.doubled").plugin == "symphony-art"
    told: list[str] = []
    assert resolve(home, Order("doubled"), told.append).workflow == "zoo.doubled"
    assert told == ["doubled is zoo.doubled; there is also art.doubled"]

    wish.prefer(home, "toy", "Symphony_Art")
    wish.prefer(home, "workflow:doubled", "symphony-art")
    zoo, art = survey(home).values()
    assert art.notes == ()
    assert {note.message.partition("that of ")[2] for note in zoo.notes} == {
        "symphony-art, which plugins.toml prefers"
    }
    assert lookup.workflow("doubled", [zoo, art], wish.preferences(home)).full == "art.doubled"
    assert host.find_workflow("doubled").plugin == "zoo"
    host.reload()
    assert host.find_workflow("doubled").plugin == "symphony-art"
    assert {name: model.plugin for name, model in host.models.items()} == {
        "zoo.toy": "zoo",
        "toy": "symphony-art",
    }
    for what in ("toy", "workflow:doubled"):
        wish.prefer(home, what, None)
    host.reload()
    assert host.find_workflow("doubled").plugin == "zoo"

    (tmp_path / "third.py").write_text(source_of("good"))
    checked = check(home, str(tmp_path / "third.py"))
    assert (checked.exit, {fault.level for fault in checked.faults}) == (0, {"note"})
    told = [fault.problem.message for fault in checked.faults]
    assert "the short name model toy is given by zoo, too" in told


MARKS = source_of("other") + "\nimport pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"


def test_of_two_distributions_with_the_same_names_one_runs(home: Home, add: Callable[..., Path]) -> None:
    add("symphony-toy", MARKS)
    site = add("toy", MARKS).parent
    first, second = survey(home).values()
    assert (first.name, first.status, second.status) == ("symphony-toy", "active", "conflict")
    assert second.adds() == "the names toy.* are those of symphony-toy, which was installed first"
    assert second.problem is not None
    assert second.problem.hint == "symphony plugins prefer plugin:toy toy, or disable symphony-toy"
    assert not (site / "toy.ran").exists(), "it was not even probed"
    wish.prefer(home, "plugin:toy", "toy")
    assert statuses(home) == {"symphony-toy": "conflict", "toy": "active"}
    assert (
        survey(home)["symphony-toy"].adds() == "the names toy.* are those of toy, which plugins.toml prefers"
    )
    wish.prefer(home, "plugin:toy", None)
    wish.change(home, "toy", order=1)
    assert list(statuses(home).items()) == [("toy", "active"), ("symphony-toy", "conflict")]
    assert survey(home)["symphony-toy"].adds().endswith("toy, which comes first by order in plugins.toml")
    wish.change(home, "toy", enabled=False)
    assert statuses(home) == {"toy": "disabled", "symphony-toy": "active"}


def test_a_broken_plugin_keeps_its_names(home: Home, add: Callable[..., Path]) -> None:
    add("toy", source_of("raises"))
    add("symphony-toy", source_of("good"))
    assert statuses(home) == {"toy": "broken", "symphony-toy": "conflict"}


def test_symphonys_own_name_is_not_to_be_had(home: Home, add: Callable[..., Path]) -> None:
    own = ("symphony", "symphony-host", "local")
    for name in own:
        site = add(name, MARKS).parent
    states = survey(home)
    assert {name: state.status for name, state in states.items()} == dict.fromkeys(own, "conflict")
    assert states["symphony-host"].adds() == "the name 'host' is Symphony's own"
    assert list(site.glob("*.ran")) == []
    with pytest.raises(Conflict, match="the name 'local' is Symphony's own"):
        raise lookup.error_of(states["local"])


NATIVE = """
import symphony
@symphony.hookimpl
def register_components(registry):
    registry.add({library!r})
"""


def test_a_component_that_is_there_already_is_a_conflict(home: Home, add: Callable[..., Path]) -> None:
    library = next(str(path) for path in core_components() if path.stem == "stale_manager")
    add("toy-native", NATIVE.format(library=library))
    state = survey(home)["toy-native"]
    assert (state.status, state.adds()) == (
        "conflict",
        "the component symphony.stale_manager is given by Symphony already",
    )
    host = PluginHost(home.path)
    host.load_all()
    assert host.components == []


def test_two_files_may_give_the_same_and_answer_only_to_their_own_runs(home: Home, tmp_path: Path) -> None:
    host = PluginHost(home.path)
    files = [tmp_path / "first.py", tmp_path / "second.py"]
    spare = '    registry.add("spare", Provider(), memory=1, backup="toy")\n'
    for file in files:
        file.write_text(source_of("good") + spare)
        host.load_file(file)
    assert [host.find_workflow("doubled", [file.stem]).file for file in files] == files
    assert host.find_workflow("doubled").name == "first.doubled"
    assert {name: model.terms["backup"] for name, model in host.models.items()} == {
        "toy": "",
        "spare": "toy",
        "second.toy": "",
        "second.spare": "second.toy",
    }
    (tmp_path / "host.py").write_text(source_of("good"))
    with pytest.raises(Conflict, match=r"its names host\.\* are Symphony's own") as refused:
        host.load_file(tmp_path / "host.py")
    assert refused.value.hint == "rename the file"


def test_the_time_of_installation_is_that_of_its_metadata(home: Home, add: Callable[..., Path]) -> None:
    info = add("toy", source_of("other"))
    wish.change(home, "toy", enabled=False)
    assert survey(home)["toy"].rank == Rank(installed=info.stat().st_mtime, name="toy")


def test_a_distribution_may_spell_its_name_as_it_likes(home: Home, add: Callable[..., Path]) -> None:
    add("Symphony.Geo_Tools", source_of("good"))
    state = survey(home)["symphony-geo-tools"]
    assert [item["name"] for item in state.contributions] == ["geo-tools.doubled", "toy"]
    host = PluginHost(home.path)
    host.load_all()
    for name in ("geo-tools.doubled", "Geo_Tools.doubled", "Symphony_Geo_Tools:doubled", "doubled"):
        assert host.find_workflow(name).name == "geo-tools.doubled"
    assert host.model_name("geo_tools.toy") == "toy"
    wish.prefer(home, "model:toy", "SYMPHONY.geo_tools")
    assert conflicts.namespace([state], wish.preferences(home)).preferred("model", "toy")


def test_a_component_has_a_full_name_too(
    home: Home, add: Callable[..., Path], operations_library: str
) -> None:
    add("symphony-geo", NATIVE.format(library=operations_library))
    state = survey(home)["symphony-geo"]
    assert [(offer.full, offer.id) for offer in state.offers] == [("geo.operations", "test.operations")]
    host = PluginHost(home.path)
    host.load_all()
    assert host.component_id("pool_manager") == "symphony.pool_manager"

    async def main() -> None:
        interpreter = Interpreter(lambda method, params: None)
        await interpreter.handle("configure", {"home": str(home.path)})
        try:
            for name in ("geo.operations", "symphony-geo:operations", "operations", "test.operations"):
                answer = await interpreter.handle("pit.call", {"component": name, "method": "ping"})
                assert answer == {"value": None}
            assert symphony.pit["geo.operations"] is symphony.pit["test.operations"]
        finally:
            await interpreter.handle("stop", {})

    asyncio.run(main())


CONDUCTS = (
    source_of("other")
    + """
class Policy:
    def order(self, ready, free):
        return ready
@symphony.hookimpl
def conductor():
    return Policy()
"""
)


def test_prefer_settles_who_is_meant_and_is_taken_back(
    home: Home, add: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, Any, str]:
        code = main(["--home", str(home.path), "plugins", "prefer", *arguments])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if "--json" in arguments else printed.out, printed.err

    add("toy-a", CONDUCTS)
    add("symphony-b", CONDUCTS)
    home.plugins_toml.write_text("# mine\n")
    main(["--home", str(home.path), "plugins", "list"])
    told = "without a short name that another has: symphony plugins info symphony-b"
    assert told in capsys.readouterr().err.splitlines()
    main(["--home", str(home.path), "plugins", "info", "b"])
    told_more = capsys.readouterr().out.splitlines()
    assert told_more[2].startswith("  order      2 of 2, installed 20")
    assert told_more[3] == "  note       the short name model toy is that of toy-a, which was installed first"
    assert "  model      b.toy" in told_more
    assert run()[1].splitlines() == [
        "KIND       NAME       PLUGIN  ALSO GIVEN BY",
        "conductor  conductor  toy-a   symphony-b",
        "model      toy        toy-a   symphony-b",
    ]
    assert run("model:toy", "B")[1] == "model toy is that of symphony-b (also given by toy-a)\n"
    assert run("conductor", "b", "--json")[:2] == (
        0,
        {
            "prefer": {"model:toy": "symphony-b", "conductor": "symphony-b"},
            "names": [
                {"kind": "conductor", "name": "conductor", "plugin": "symphony-b", "others": ["toy-a"]}
            ],
        },
    )
    assert home.plugins_toml.read_text() == (
        '# mine\n\n[prefer]\n"model:toy" = "symphony-b"\nconductor = "symphony-b"\n'
    )
    host = PluginHost(home.path)
    host.load_all()
    assert type(host.conductor).__module__ == "symphony_b"
    assert run("toy", "toy-a")[1] == "model toy is that of toy-a (also given by symphony-b)\n"
    assert wish.preferences(home) == {"conductor": "symphony-b", "toy": "toy-a"}
    assert run("conductor", "--unset")[1] == "conductor is that of toy-a (also given by symphony-b)\n"
    host.reload()
    assert type(host.conductor).__module__ == "toy_a"

    for arguments, code, message, hint in (
        (("toy", "toy-c"), 3, "there is no plugin 'toy-c'", "did you mean toy-a?"),
        (("model:toi", "toy-a"), 3, "toy-a gives no model 'toi'", "did you mean model:toy?"),
        (("workflow:toy", "toy-a"), 3, "toy-a gives no workflow 'toy'", ""),
        (("modl:toy", "toy-a"), 2, "there is no kind 'modl'", "did you mean model?"),
        (("model:", "toy-a"), 2, "'model:' names nothing", ""),
        (("conductor", "--unset"), 3, "prefers no plugin for 'conductor'", "symphony plugins prefer shows"),
        (("toi", "--unset"), 3, "prefers no plugin for 'toi'", "did you mean toy?"),
        (("toy",), 2, "Missing argument 'PLUGIN'", "--help"),
        (("--unset",), 2, "--unset needs a WHAT", "--help"),
        (("toy", "toy-a", "--unset"), 2, "--unset takes no PLUGIN", "--help"),
    ):
        exited, document, _ = run(*arguments, "--json")
        assert (exited, document["error"]["exit"]) == (code, code)
        assert message in document["error"]["message"]
        assert hint in document["error"]["hint"]
    assert wish.preferences(home) == {"toy": "toy-a"}
    wish.prefer(home, "map", "toy-gone")
    assert run()[2] == "toy-gone, which plugins.toml prefers for map, does not give it\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[prefer]\n"modl:toy" = "a"\n', "there is no kind 'modl'"),
        ("[prefer]\nmap = 1\n", r"\[prefer\] map: expected the name of a plugin, got 1"),
        ("[prefer]\nsmall.fast = 'a'\n", r"\[prefer\] small: expected the name of a plugin"),
        ("prefer = 'a'\n", "prefer: expected a table"),
        ("[preferred]\n", "unknown key 'preferred'"),
    ],
)
def test_a_mistake_in_the_choices_is_named(home: Home, text: str, message: str) -> None:
    home.plugins_toml.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        catalog.survey(home)
