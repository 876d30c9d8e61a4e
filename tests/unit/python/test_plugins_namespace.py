"""Which name means what: for every kind of contribution, by one rule."""

from __future__ import annotations

import pytest

from symphony.cli.app import COMMANDS
from symphony.plugins import commands
from symphony.plugins.catalog import PluginState
from symphony.plugins.conflicts import judged
from symphony.plugins.names import canonical, prefix
from symphony.plugins.namespace import KINDS, Namespace, Offer, Rank, core_names, prefix_holder
from symphony.plugins.probe_result import ProbeResult

pytestmark = [pytest.mark.unit, pytest.mark.python]


def offer(kind: str, plugin: str, name: str) -> Offer:
    return Offer(kind, plugin, name, f"{plugin}:{name}")


def names(*offers: Offer, **prefer: str) -> Namespace:
    return Namespace(offers, prefer)


def meant(found: Offer | None) -> str | None:
    return found.full if found else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_name_always_means_its_plugins_and_a_short_one_the_first(kind: str) -> None:
    known = names(offer(kind, "symphony-geo", "map"), offer(kind, "ocr", "map"))
    assert meant(known.find(kind, "geo.map")) == "geo.map"
    assert meant(known.find(kind, "ocr.map")) == "ocr.map"
    assert meant(known.find(kind, "map")) == "geo.map"
    assert known.find(kind, "mop") is None
    assert known.find(kind, "other.map") is None
    others = set(KINDS) - {kind}
    assert [known.find(other, "geo.map") for other in others] == [None] * len(others)


@pytest.mark.parametrize(
    "spelling",
    ["geo-tools.map", "Geo_Tools.map", "geo.tools.map", "symphony_geo-tools.map", "symphony-geo-tools:map"],
)
def test_a_plugins_name_is_understood_in_every_spelling(spelling: str) -> None:
    known = names(offer("workflow", canonical("Symphony.Geo_Tools"), "map"))
    assert meant(known.find("workflow", spelling)) == "geo-tools.map"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[("executor", name) for name in ("async", "thread", "process")],
        *[("component", name) for name in ("pool_manager", "dag_tracker", "artifact_store")],
        *[("command", name) for name in ("run", "runs", "plugins", "host", "doctor")],
    ],
)
@pytest.mark.parametrize("prefer", [{}, {"{kind}:{name}": "geo"}, {"{name}": "geo"}])
def test_what_is_symphonys_own_cannot_be_taken(kind: str, name: str, prefer: dict[str, str]) -> None:
    given = {key.format(kind=kind, name=name): plugin for key, plugin in prefer.items()}
    known = Namespace([offer(kind, "geo", name)], given)
    assert meant(known.find(kind, name)) == f"symphony.{name}"
    assert meant(known.find(kind, name, plugin="geo")) == f"symphony.{name}"
    assert meant(known.find(kind, f"symphony.{name}")) == f"symphony.{name}"
    assert meant(known.find(kind, f"geo.{name}")) == f"geo.{name}"
    assert known.contested() == [(kind, name)]


def test_the_user_chooses_for_one_kind_or_for_all() -> None:
    given = [offer(kind, plugin, "map") for plugin in ("geo", "ocr") for kind in ("workflow", "model")]
    one = Namespace(given, {"model:map": "ocr"})
    assert [meant(one.find(kind, "map")) for kind in ("workflow", "model")] == ["geo.map", "ocr.map"]
    both = Namespace(given, {"map": "ocr"})
    assert [meant(both.find(kind, "map")) for kind in ("workflow", "model")] == ["ocr.map", "ocr.map"]
    narrow = Namespace(given, {"map": "ocr", "workflow:map": "geo"})
    assert meant(narrow.find("workflow", "map")) == "geo.map"
    gone = Namespace(given, {"map": "not-installed"})
    assert meant(gone.find("workflow", "map")) == "geo.map"
    assert [offer.full for offer in both.rivals("model", "map")] == ["ocr.map", "geo.map"]
    assert (both.shortest(given[0]), both.shortest(given[2])) == ("geo.map", "map")


def test_a_plugins_own_code_means_its_own_unless_the_user_prefers_anothers() -> None:
    given = [offer("model", "geo", "small"), offer("model", "ocr", "small")]
    assert meant(Namespace(given).find("model", "small", plugin="ocr")) == "ocr.small"
    assert meant(Namespace(given).find("model", "small", plugin="third")) == "geo.small"
    chosen = Namespace(given, {"model:small": "geo"})
    assert meant(chosen.find("model", "small", plugin="ocr")) == "geo.small"


def test_what_is_hidden_answers_to_no_name() -> None:
    known = names(offer("workflow", "geo", "map"), offer("workflow", "tools", "map"), map="tools")
    assert meant(known.find("workflow", "map")) == "tools.map"
    assert meant(known.find("workflow", "map", hidden={"tools"})) == "geo.map"
    assert known.find("workflow", "tools.map", hidden={"tools"}) is None


def test_a_name_with_dots_or_colons_is_found_in_full_and_short() -> None:
    known = names(
        offer("model", "geo", "llama3.1:8b"), offer("model", "a", "b.c"), offer("model", "a.b", "c")
    )
    for name in ("llama3.1:8b", "geo.llama3.1:8b", "geo:llama3.1:8b"):
        assert meant(known.find("model", name)) == "geo.llama3.1:8b"
    assert meant(known.find("model", "b.c")) == "a.b.c"


def test_one_of_two_distributions_holds_the_names_of_both() -> None:
    both = ["geo", "symphony-geo"]
    assert prefix_holder(both, "geo") == "geo"
    assert prefix_holder(both[::-1], "geo") == "symphony-geo"
    assert prefix_holder(both, "geo", {"plugin:geo": "symphony-geo"}) == "symphony-geo"
    assert prefix_holder(both, "geo", {"geo": "symphony-geo"}) == "symphony-geo"
    assert prefix_holder(both, "geo", {"geo": "ocr"}) == "geo"
    assert prefix_holder(both, "ocr") is None
    for own in ("symphony", "host", "local", "pit"):
        assert prefix_holder([own], own, {own: own}) == "symphony"


def test_the_order_is_the_users_then_by_time_then_by_name() -> None:
    chosen, early, late, same = Rank(2, 9.0, "z"), Rank(installed=1.0, name="z"), Rank(installed=2.0), Rank()
    assert sorted([same, late, early, chosen]) == [chosen, early, late, same]
    assert chosen.why_before(early) == "which comes first by order in plugins.toml"
    assert early.why_before(late) == "which was installed first"
    assert Rank(name="a").why_before(Rank(name="b")) == "which comes first by name"


def test_the_cores_names_are_those_that_there_are() -> None:
    assert set(core_names("executor")) == {"async", "thread", "process"}
    assert len(core_names("component")) == 5
    assert "plugins" in core_names("command")
    assert not core_names("workflow")


def active(plugin: str, **given: str) -> PluginState:
    """An active plugin that gives one thing of each kind."""
    items = [
        {"kind": kind, "name": f"{prefix(plugin)}.{name}", "id": f"{plugin}:{name}", "summary": ""}
        for kind, name in given.items()
    ]
    return PluginState(plugin, "1", "active", True, result=ProbeResult(contributions=items))


def test_commands_go_by_the_same_rule() -> None:
    states = [active("a", command="tiles"), active("symphony-b", command="tiles"), active("c", command="run")]

    def called(prefer: dict[str, str], *names: str) -> list[str | None]:
        found = commands.callable_by(commands.of(judged(states, prefer)), COMMANDS)
        return [found[name].plugin if name in found else None for name in names]

    assert called({}, "tiles", "b.tiles", "run", "c.run") == ["a", "symphony-b", None, "c"]
    assert called({"command:tiles": "symphony-b"}, "tiles", "a.tiles") == ["symphony-b", "a"]
    assert commands.find("Symphony_B.tiles", judged(states), COMMANDS).plugin == "symphony-b"
    [note] = judged(states)[2].notes
    assert (note.message, note.hint) == ("the short name command run is Symphony's own", "use c.run")
