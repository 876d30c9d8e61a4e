"""Types that plugins register: which are refused, and what becomes of values whose plugin is gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.errors import Conflict, InvalidInput, TypeMissing
from symphony.plugins.catalog import PluginState
from symphony.plugins.conflicts import judged
from symphony.plugins.probe_result import ProbeResult
from symphony.plugins.registry import TypeRegistry
from symphony.values import Record
from symphony.values.codec import native_codec
from symphony.values.registry import adopt_types, registered_kind, withdraw_types
from tests.unit.python.test_replay_engine import RUN, ended, engine, home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["home"]

pytestmark = [pytest.mark.integration, pytest.mark.python]


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Point:
    x: int


def offered(plugin: str, *, name: str = "") -> TypeRegistry:
    registry = TypeRegistry(plugin)
    registry.add(Money, encode=lambda money: money.cents, decode=Money, name=name)
    return registry


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    yield
    for plugin in ("symphony-shop", "other"):
        withdraw_types(plugin)


@pytest.mark.parametrize("name", ["", "till.Money"])
def test_a_value_comes_back_as_its_class_or_names_the_plugin_that_is_gone(name: str) -> None:
    codec = native_codec()
    adopt_types("symphony-shop", offered("symphony-shop", name=name).items.values())
    recorded = codec.encode({"price": [Money(5)]})
    assert codec.decode(recorded) == {"price": [Money(5)]}
    withdraw_types("symphony-shop")
    with pytest.raises(
        TypeMissing, match=f"{name or 'symphony-shop:Money'}.*symphony-shop is not loaded"
    ) as gone:
        codec.decode(recorded)
    assert "symphony plugins info symphony-shop" in gone.value.hint
    adopt_types("symphony-shop", offered("symphony-shop", name=name).items.values())
    assert codec.decode(recorded) == {"price": [Money(5)]}


def test_a_class_with_fields_comes_back_without_a_hint_and_else_as_a_record() -> None:
    registry = TypeRegistry("symphony-shop")
    registry.add(Point)
    adopt_types("symphony-shop", registry.items.values())
    recorded = native_codec().encode(Point(1))
    assert native_codec().decode(recorded) == Point(1)
    withdraw_types("symphony-shop")
    assert native_codec().decode(recorded) == Record("symphony-shop:Point", {"x": 1})
    assert registered_kind(Point) is None


def test_another_plugins_class_or_name_is_refused_and_nothing_is_registered() -> None:
    late = TypeRegistry("other")
    late.add(Point)
    late.add(complex_like(), encode=str, decode=int, name="till.Money")
    adopt_types("symphony-shop", offered("symphony-shop", name="till.Money").items.values())
    with pytest.raises(Conflict, match="plugin symphony-shop registers the class Money already"):
        adopt_types("other", offered("other").items.values())
    taken = r"'till.Money' already stands for .* by plugin symphony-shop"
    with pytest.raises(Conflict, match=taken):
        adopt_types("other", late.items.values())
    with pytest.raises(Conflict, match=taken):
        TypeRegistry("other").add(complex_like(), encode=str, decode=int, name="till.Money")
    assert registered_kind(Point) is None
    adopt_types("symphony-shop", [])
    adopt_types("other", offered("other").items.values())


def complex_like() -> type:
    class Complex:
        pass

    return Complex


@pytest.mark.parametrize("kind", [datetime, int, list, symphony.Secret, Record])
def test_a_type_that_crosses_by_itself_is_refused(kind: type) -> None:
    with pytest.raises(Conflict, match="crosses the bridge by itself"):
        TypeRegistry("other").add(kind, encode=str, decode=kind)
    with pytest.raises(Conflict, match="crosses the bridge by itself"):
        symphony.register_types(kind, encode=str, decode=kind)


def test_a_type_without_a_codec_or_added_twice_is_refused() -> None:
    registry = offered("other")
    with pytest.raises(InvalidInput, match="has no fields to cross by"):
        registry.add(complex_like())
    with pytest.raises(InvalidInput, match="'other:Money' was added twice"):
        registry.add(Money, encode=str, decode=Money)
    with pytest.raises(InvalidInput, match="belong together"):
        registry.add(Point, encode=str)


def test_of_two_plugins_with_one_name_in_records_the_second_is_left_out() -> None:
    def state(plugin: str, name: str) -> PluginState:
        given = [{"kind": "type", "name": name, "id": f"{plugin}:Money"}]
        return PluginState(plugin, "1", "active", True, result=ProbeResult(contributions=given))

    rows = judged([state("shop", "till.Money"), state("bank", "till.Money"), state("bar", "bar.Money")])
    assert [row.status for row in rows] == ["active", "conflict", "active"]
    assert rows[1].problem is not None
    assert rows[1].problem.message == "the type till.Money is given by shop already"


@symphony.step
async def price() -> Money:
    return Money(5)


@symphony.workflow
async def pay() -> int:
    first: Any = await price()
    await symphony.ask("approve", bool)
    return int(first.cents)


@pytest.mark.hook("register_types")
def test_a_run_waits_for_the_plugin_of_a_value_and_goes_on_when_it_is_back(home: Path) -> None:
    async def begin() -> None:
        async with engine(home, pay) as running:
            await running.start(RUN, "test.pay", {}, {}, home, [])
            async with asyncio.timeout(10):
                while not running._runs[RUN].counts.executed:
                    await asyncio.sleep(0.001)

    async def resumed() -> Any:
        async with engine(home, pay) as running:
            await running.resume_all()
            await running.command(RUN, "input", name="approve", value=True)
            return await ended(running)

    async def without() -> None:
        async with engine(home, pay) as running:
            await running.resume_all()
            await running.wait(RUN)
            with pytest.raises(TypeMissing, match="plugin symphony-shop is not loaded"):
                running.document(RUN)

    adopt_types("symphony-shop", offered("symphony-shop").items.values())
    asyncio.run(begin())
    withdraw_types("symphony-shop")
    asyncio.run(without())
    adopt_types("symphony-shop", offered("symphony-shop").items.values())
    assert asyncio.run(resumed())["result"] == 5
