"""Models end to end: steps, the engine, the real Pool Manager, and providers that really load something."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine.engine import Engine
from symphony.engine.models import ModelPool
from symphony.errors import Conflict, InvalidInput, NotFound, PitConflict, PitExhausted, PitTimeout
from symphony.plugins import PluginHost
from symphony.plugins.registry import ModelRegistry
from symphony.values.codec import native_codec
from tests.unit.python.virtual_world import MemoryLog, driven

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.python, getattr(pytest.mark, "async")]


class Provider:
    """Loads a bytearray, and counts what it is asked for."""

    def __init__(self, content: str = "model", fail: int = 0) -> None:
        self.content = content.encode()
        self.fail = fail
        self.calls: Counter[str] = Counter()
        self.alive: list[bytearray] = []
        self.well = True

    async def load(self) -> bytearray:
        self.calls["load"] += 1
        await asyncio.sleep(0.002)
        if self.calls["load"] <= self.fail:
            raise OSError("no such file")
        self.alive.append(bytearray(self.content))
        return self.alive[-1]

    async def unload(self, model: bytearray) -> None:
        self.calls["unload"] += 1
        self.alive = [one for one in self.alive if one is not model]

    async def health(self, model: bytearray) -> bool:
        self.calls["health"] += 1
        assert any(one is model for one in self.alive)
        return self.well


class Blocking:
    """A provider of plain functions, which may block."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def load(self) -> str:
        self.threads.append(threading.current_thread().name)
        return "loaded in a thread"

    def unload(self, model: str) -> None:
        self.threads.append(threading.current_thread().name)

    def health(self, model: str) -> bool:
        self.threads.append(threading.current_thread().name)
        return False


class World:
    """A pool of models over the Pit, served on the running loop."""

    def __init__(self, pit: Any) -> None:
        self.lines: list[str] = []
        self.native = pit.pool_manager
        self.models = ModelPool(self.native, self.lines.append)
        pit.serve_callouts(asyncio.get_running_loop(), self.models.answer)

    def add(self, name: str, provider: Any, memory: int = 10, instances: int = 1, **terms: Any) -> None:
        self.models.register(name, provider, "test", memory, instances, **terms)

    def state(self, name: str) -> str:
        return str(self.models.row(name)["state"])

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not what():
                await asyncio.sleep(0.001)

    async def failed_checks(self, name: str, count: int) -> None:
        await self.until(lambda: self.models.row(name)["failures"] == count)

    async def use(self, name: str) -> bytes:
        lease, model = await self.models.acquire(name)
        self.models.release(lease)
        return bytes(model)


def served(pit: Any, program: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run a program in a world of its own; no provider's model is left loaded."""

    async def main() -> None:
        world = World(pit)
        try:
            await program(world)
        finally:
            await world.models.unload_all()
        assert {row["state"] for row in world.models.rows()} <= {"cold", "failed"}
        assert pit.pool_manager.stats()["leases"] == 0

    asyncio.run(main())


def test_steps_that_want_a_cold_model_wait_for_one_load_and_use_it_in_turn(pit: Any) -> None:
    using: list[int] = []

    @symphony.step(model="small")
    async def embed(text: str, *, model: bytearray) -> str:
        using.append(1)
        assert len(using) == 1
        await asyncio.sleep(0.001)
        using.pop()
        return f"{model.decode()}: {text}"

    @symphony.workflow
    async def all_of() -> list[str]:
        return list(await symphony.gather(embed.map(["a", "b", "c"])))

    provider = Provider()

    async def program(world: World) -> None:
        world.add("small", provider)
        world.add("small", provider)
        assert await _run(world, all_of) == ["model: a", "model: b", "model: c"]
        assert provider.calls["load"] == 1
        row = world.models.row("small")
        assert (row["state"], row["leased"], row["calls"], row["misses"]) == ("hot", 0, 3, 1)

    served(pit, program)
    assert provider.alive == []


def test_a_loading_failure_reaches_the_step_with_its_reason_and_the_next_attempt_loads_again(
    pit: Any,
) -> None:
    @symphony.step(model="small", retries=1, backoff=0)
    async def embed(*, model: bytearray) -> str:
        return model.decode()

    @symphony.workflow
    async def retried() -> str:
        return await embed()

    async def program(world: World) -> None:
        flaky, broken = Provider(fail=1), Provider(fail=9)
        world.add("small", flaky)
        assert await _run(world, retried) == "model"
        assert flaky.calls["load"] == 2
        world.add("broken", broken)
        with pytest.raises(PitConflict, match=r"broken failed \(reason: OSError: no such file\)"):
            await world.use("broken")
        assert world.models.row("broken")["reason"] == "OSError: no such file"
        assert "loading model broken: OSError: no such file" in world.lines

    served(pit, program)


def test_all_who_wait_for_a_model_that_does_not_load_are_told(pit: Any) -> None:
    async def program(world: World) -> None:
        broken = Provider(fail=1)
        world.add("broken", broken, instances=4)
        told = await asyncio.gather(*(world.use("broken") for _ in range(4)), return_exceptions=True)
        assert ["no such file" in str(error) for error in told] == [True] * 4
        assert broken.calls["load"] == 1

    served(pit, program)


def test_under_a_memory_cap_the_least_recently_used_model_is_unloaded_for_the_next(pit: Any) -> None:
    async def program(world: World) -> None:
        providers = {name: Provider(name) for name in "abc"}
        for name, provider in providers.items():
            world.add(name, provider, memory=10)
        world.native.configure(memory_limit=20)
        for name in "aba":
            assert await world.use(name) == name.encode()
        assert await world.use("c") == b"c"
        assert {name for name, provider in providers.items() if provider.alive} == {"a", "c"}
        assert [world.state(name) for name in "abc"] == ["hot", "cold", "hot"]
        assert world.native.stats()["evictions"] == 1
        world.add("huge", Provider(), memory=21)
        with pytest.raises(PitExhausted, match="21 bytes"):
            await world.use("huge")

    served(pit, program)


def test_many_steps_share_a_cap_that_holds_at_every_moment(pit: Any) -> None:
    async def program(world: World) -> None:
        providers = {f"m{number}": Provider(f"m{number}") for number in range(5)}
        most = 0

        async def work(number: int) -> bytes:
            nonlocal most
            name = f"m{number * 7 % 5}"
            lease, model = await world.models.acquire(name)
            most = max(most, sum(len(provider.alive) for provider in providers.values()))
            await asyncio.sleep(0)
            content = bytes(model)
            world.models.release(lease)
            assert content == name.encode()
            return content

        for name, provider in providers.items():
            world.add(name, provider, memory=10, instances=2)
        world.native.configure(memory_limit=20)
        async with asyncio.timeout(20):
            found = await asyncio.gather(*(work(number) for number in range(60)))
        assert len(found) == 60
        assert most <= 2
        assert world.native.stats()["waiting"] == 0

    served(pit, program)


def test_an_idle_model_is_kept_warm_for_a_time(pit: Any) -> None:
    async def program(world: World) -> None:
        kept, other = Provider("kept"), Provider("other")
        world.add("kept", kept, memory=10, keep_warm=0.1)
        world.add("other", other, memory=10)
        world.native.configure(memory_limit=10)
        await world.use("kept")
        began = asyncio.get_running_loop().time()
        assert await world.use("other") == b"other"
        assert asyncio.get_running_loop().time() - began >= 0.09
        assert kept.calls["unload"] == 1

    served(pit, program)


def test_a_prewarmed_model_is_hot_at_its_first_use(pit: Any) -> None:
    async def program(world: World) -> None:
        provider = Provider()
        world.add("small", provider)
        assert world.models.prewarm("small")
        await world.until(lambda: world.state("small") == "hot")
        assert not world.models.prewarm("small")
        assert await world.use("small") == b"model"
        row = world.models.row("small")
        assert (row["cold_starts_avoided"], row["misses"], provider.calls["load"]) == (1, 0, 1)
        world.add("native", Provider())
        assert world.native.prewarm("native")  # as a component or a step would ask for it
        await world.until(lambda: world.state("native") == "hot")

    served(pit, program)


def test_a_prewarmed_model_waits_for_room(pit: Any) -> None:
    async def program(world: World) -> None:
        world.add("a", Provider("a"))
        world.add("b", Provider("b"))
        world.native.configure(memory_limit=10)
        lease, _ = await world.models.acquire("a")
        world.models.prewarm("b")
        await asyncio.sleep(0.01)
        assert world.state("b") == "cold"
        world.models.release(lease)
        await world.until(lambda: world.state("b") == "hot")
        assert world.state("a") == "cold"

    served(pit, program)


def test_failed_health_checks_make_a_model_failed_and_its_backup_serves(pit: Any) -> None:
    async def program(world: World) -> None:
        primary, backup = Provider("primary"), Provider("backup")
        world.add("primary", primary, backup="spare", failure_threshold=2)
        world.add("spare", backup)
        assert await world.use("primary") == b"primary"
        primary.well = False
        for checks in (1, 2):
            assert world.native.check("primary")
            await world.failed_checks("primary", checks)
        assert world.state("primary") == "failed"
        assert "2 health checks failed: health() said no" in world.models.row("primary")["reason"]
        await world.until(lambda: primary.calls["unload"] == 1)
        assert await world.use("primary") == b"backup"
        primary.well = True
        world.native.recover("primary")
        assert await world.use("primary") == b"primary"
        assert primary.calls["load"] == 2

    served(pit, program)


def test_a_model_that_breaks_while_steps_use_it_is_unloaded_after_the_last_of_them(pit: Any) -> None:
    async def program(world: World) -> None:
        provider = Provider()
        world.add("small", provider, instances=2, failure_threshold=1)
        leases = [(await world.models.acquire("small"))[0] for _ in range(2)]
        provider.well = False
        world.native.check("small")
        await world.until(lambda: world.state("small") == "failed")
        world.models.release(leases.pop())
        await asyncio.sleep(0.005)
        assert len(provider.alive) == 1
        world.models.release(leases.pop())
        await world.until(lambda: not provider.alive)

    served(pit, program)


def test_the_watch_checks_hot_models_and_gives_failed_ones_with_a_backup_new_chances(pit: Any) -> None:
    async def program(world: World) -> None:
        primary, spare, plain = Provider("primary", fail=2), Provider("spare"), Provider("plain", fail=9)
        world.add("primary", primary, backup="spare")
        world.add("spare", spare)
        world.add("plain", plain)
        world.models.watch(0.002)
        assert await world.use("primary") == b"spare"
        with pytest.raises(PitConflict):
            await world.use("plain")
        await world.until(lambda: spare.calls["health"] >= 3)

        async def served_by_primary() -> None:
            while await world.use("primary") != b"primary":
                await asyncio.sleep(0.001)

        await asyncio.wait_for(served_by_primary(), 20)
        assert primary.calls["load"] == 3
        assert world.state("plain") == "failed"

    served(pit, program)


def test_plain_functions_of_a_provider_run_in_threads(pit: Any) -> None:
    async def program(world: World) -> None:
        provider = Blocking()
        world.add("small", provider, failure_threshold=1)
        lease, model = await world.models.acquire("small")
        assert model == "loaded in a thread"
        world.models.release(lease)
        world.native.check("small")
        await world.until(lambda: world.state("small") == "failed")
        await world.until(lambda: len(provider.threads) == 3)
        assert threading.main_thread().name not in provider.threads

    served(pit, program)


def test_a_health_check_that_raises_or_hangs_counts_as_failed(
    pit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("symphony.engine.model_life.CHECK_LIMIT", 0.01)

    class Hanging(Provider):
        async def health(self, model: bytearray) -> bool:
            self.calls["health"] += 1
            if self.calls["health"] == 1:
                raise RuntimeError("out of order")
            await asyncio.sleep(60)
            return True

    async def program(world: World) -> None:
        world.add("small", Hanging())
        await world.use("small")
        for failures in (1, 2):
            world.native.check("small")
            await world.failed_checks("small", failures)
        assert "model small is not well: RuntimeError: out of order" in world.lines
        assert "model small is not well: health() gave no answer within 0.01 s" in world.lines

    served(pit, program)


def test_a_model_is_let_go_when_its_plugin_gives_it_no_more(pit: Any) -> None:
    opened = asyncio.Event()

    class Slow(Provider):
        async def load(self) -> bytearray:
            await opened.wait()
            return await super().load()

    async def program(world: World) -> None:
        provider, slow = Provider(), Slow()
        world.add("small", provider)
        world.add("large", slow)
        world.add("renamed", Provider())
        lease, _ = await world.models.acquire("small")
        assert world.models.prewarm("large") is True
        await world.until(lambda: world.state("large") == "warming")
        world.models.keep(["renamed"])
        assert {row["name"] for row in world.models.rows()} == {"small", "large", "renamed"}, "two are in use"
        with pytest.raises(NotFound):
            await world.models.acquire("small")
        assert provider.alive != [], "a step uses it"
        world.models.release(lease)
        opened.set()
        await world.until(lambda: provider.calls["unload"] == slow.calls["unload"] == 1)
        assert (provider.alive, slow.alive) == ([], [])
        world.models.keep(["renamed"])
        assert [row["name"] for row in world.models.rows()] == ["renamed"]

    served(pit, program)


def test_a_model_that_cannot_be_unloaded_is_failed_and_can_be_loaded_again(pit: Any) -> None:
    class Sticky(Provider):
        async def unload(self, model: bytearray) -> None:
            raise OSError("device busy")

    async def program(world: World) -> None:
        provider = Sticky()
        world.add("small", provider)
        await world.use("small")
        with pytest.raises(Conflict, match="unloading it: OSError: device busy"):
            await world.models.unload("small")
        assert await world.use("small") == b"model"
        assert provider.calls["load"] == 2

    served(pit, program)


def test_a_model_is_loaded_and_unloaded_on_demand(pit: Any) -> None:
    async def program(world: World) -> None:
        provider = Provider()
        world.add("small", provider)
        assert (await world.models.load("small"))["state"] == "hot"
        assert (await world.models.load("small"))["calls"] == 0
        lease, _ = await world.models.acquire("small")
        with pytest.raises(Conflict, match=r"in use \(1 leased\)"):
            await world.models.unload("small")
        world.models.release(lease)
        assert (await world.models.unload("small"))["state"] == "cold"
        assert (await world.models.unload("small"))["state"] == "cold"
        assert (provider.calls["load"], provider.calls["unload"]) == (1, 1)
        world.add("broken", Provider(fail=1))
        with pytest.raises(PitConflict, match="broken failed: OSError: no such file"):
            await world.models.load("broken")
        assert (await world.models.load("broken"))["state"] == "hot"

    served(pit, program)


def test_a_load_that_finds_no_room_gives_up(pit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symphony.engine.models.ROOM_LIMIT", 0.02)

    async def program(world: World) -> None:
        world.add("a", Provider("a"))
        world.add("b", Provider("b"))
        world.native.configure(memory_limit=10)
        lease, _ = await world.models.acquire("a")
        with pytest.raises(PitTimeout, match="no room for model b"):
            await world.models.load("b")
        world.models.release(lease)

    served(pit, program)


def test_a_model_whose_plugin_is_gone_is_named(pit: Any) -> None:
    pit.pool_manager.register("gone", "acme")

    async def program(world: World) -> None:
        world.add("small", Provider())
        assert [(row["name"], row["provided"]) for row in world.models.rows()] == [
            ("gone", False),
            ("small", True),
        ]
        with pytest.raises(NotFound, match="gone") as raised:
            await world.models.load("gone")
        assert "acme's" in raised.value.hint
        with pytest.raises(NotFound) as raised:
            await world.models.load("smal")
        assert raised.value.hint == "did you mean 'small'?"
        with pytest.raises(PitConflict, match="failed"):
            await world.native.acquire_async("gone")
        assert "no plugin that is loaded provides it" in world.models.row("gone")["reason"]

    served(pit, program)


def test_another_class_of_provider_takes_over_and_the_old_one_unloads_its_own(pit: Any) -> None:
    class Newer(Provider):
        pass

    async def program(world: World) -> None:
        old, new = Provider("old"), Newer("new")
        world.add("small", old)
        lease, model = await world.models.acquire("small")
        world.add("small", new)
        assert bytes(model) == b"old"
        assert old.calls["unload"] == 0
        world.models.release(lease)
        await world.until(lambda: old.calls["unload"] == 1)
        assert await world.use("small") == b"new"
        world.add("small", Newer("newest"))
        assert await world.use("small") == b"new"  # the same class: what is loaded stays

    served(pit, program)


def test_a_stopped_step_leaves_no_lease_and_no_place_in_the_queue(pit: Any) -> None:
    async def program(world: World) -> None:
        world.add("small", Provider())
        lease, _ = await world.models.acquire("small")
        waiting = asyncio.create_task(world.use("small"))
        await world.until(lambda: world.models.row("small")["waiting"] == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        world.models.release(lease)
        assert world.models.row("small")["waiting"] == 0
        assert await world.use("small") == b"model"

    served(pit, program)


def test_an_unknown_callout_is_reported_and_harms_nothing(pit: Any) -> None:
    async def program(world: World) -> None:
        world.models.answer("acme.vectors", "model.load", ["small"])
        world.models.answer("symphony.pool_manager", "model.paint", ["small"])
        assert len(world.lines) == 2
        assert "acme.vectors asks for 'model.load'" in world.lines[0]

    served(pit, program)


def test_a_model_that_somebody_else_calls_hot_is_not_given_to_steps(pit: Any) -> None:
    async def program(world: World) -> None:
        world.add("small", Provider())
        world.native.warm("small")
        world.native.warmed("small", 0.1)
        with pytest.raises(Conflict, match="not loaded by the engine"):
            await world.use("small")
        assert pit.pool_manager.stats()["leases"] == 0
        world.native.failed("small", "reset")
        assert await world.use("small") == b"model"

    served(pit, program)


PLUGIN = """
import symphony

class Provider:
    cost = 0.25
    async def load(self): return "the model"
    async def health(self, model): return False

@symphony.hookimpl
def register_models(registry):
    registry.add("small", Provider(), memory=1, instances=2, backup="spare", keep_warm=9, failure_threshold=5)
    registry.add("spare", Provider(), memory=1)
"""


@pytest.mark.hook("register_models")
def test_the_engine_serves_the_models_of_plugins_with_their_terms(pit: Any, tmp_path: Path) -> None:
    file = tmp_path / "toy.py"
    file.write_text(PLUGIN)

    async def main() -> None:
        plugins = PluginHost(tmp_path)
        plugins.load_file(file)
        engine = Engine(pit, plugins, native_codec(), lambda method, params: None, health_interval=0.001)
        lease, model = await engine.models.acquire("small")
        assert model == "the model"
        engine.models.release(lease)
        row = engine.models.row("small")
        shown = (row["provider"], row["instances"], row["backup"], row["keep_warm"], row["cost"])
        assert shown == ("toy", 2, "spare", 9.0, 0.25)
        async with asyncio.timeout(20):
            while engine.models.row("small")["failures"] == 0:
                await asyncio.sleep(0.001)  # its health() says no
        await engine.stop(0)
        assert engine.models.row("small")["state"] == "cold"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"keep_warm": -1}, "keep_warm"),
        ({"failure_threshold": 0}, "failure_threshold"),
        ({"instances": True}, "instances"),
        ({"backup": "small"}, "backup"),
    ],
)
def test_terms_out_of_range_are_refused(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ModelRegistry().add("small", Provider(), **{"memory": 1, **terms})
    with pytest.raises(InvalidInput, match="no method 'load'"):
        ModelRegistry().add("small", object(), memory=1)


async def _run(world: World, workflow: Any) -> Any:
    """The value of a run whose steps use the models of this world."""
    result = await driven(workflow, {}, MemoryLog(), None, models=world.models)
    if result.error is not None:
        raise result.error
    return result.value
