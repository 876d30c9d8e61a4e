"""The engine's half of a model's life: what the Pool Manager asks for is done by the plugins' providers.

Each callout is answered by a method of the Pool Manager: load by warmed or failed, unload by cooled, health
by checked. Nothing here gives leases.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import NotFound, PitConflict, PitError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# A model that does not answer in this time is not well.
CHECK_LIMIT: Final = 10.0
_LONGEST_PAUSE: Final = 64


@dataclass(slots=True, eq=False)
class Loaded:
    """A model's object, and the provider that loaded it: its plugin may have been loaded again since."""

    name: str
    provider: Any
    value: Any
    leases: int = 0
    retired: bool = False


class ModelLife:
    """Loads, unloads and checks the models of this interpreter.

    ``providers`` are those of the loaded plugins, ``plugins`` whose they are, ``loaded`` the objects of the
    models that are hot.
    """

    def __init__(self, pool: Any, report: Callable[[str], None]) -> None:
        self.providers: dict[str, Any] = {}
        self.plugins: dict[str, str] = {}
        self.loaded: dict[str, Loaded] = {}
        self._pool = pool
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._checking: set[str] = set()
        # Rounds of the watch until a failed model gets its next chance, and how many it waited the last time.
        self._pauses: dict[str, tuple[int, int]] = {}
        self._moved = asyncio.Event()
        self._closing = False

    def provide(self, name: str, provider: Any, plugin: str = "") -> None:
        """Take a provider from now on. What another plugin, or another class of provider, loaded goes once
        nobody uses it.
        """
        changed = self.plugins.get(name, plugin) != plugin
        self.providers[name], self.plugins[name] = provider, plugin
        loaded = self.loaded.get(name)
        if loaded is not None and (changed or type(loaded.provider) is not type(provider)):
            self._abandon(name, "its plugin was loaded again")

    def withdraw(self, name: str) -> None:
        """Provide a model no more; what is loaded goes once nobody uses it."""
        del self.providers[name], self.plugins[name]
        if name in self.loaded:
            self._abandon(name, "its plugin gives it no more")

    def _abandon(self, name: str, reason: str) -> None:
        with suppress(PitConflict):  # it is just being unloaded
            self._pool.failed(name, reason)
            self._pool.recover(name)
        self._retire(name)

    def answer(self, component: str, request: str, args: list[Any]) -> object:
        """A component's callout. It must neither raise nor wait. ``NotImplemented`` for an unknown one."""
        if self._closing:
            return None
        match (component, request, *args):
            case ("symphony.pool_manager", "model.load", str(name)):
                self._spawn(self._load(name))
            case ("symphony.pool_manager", "model.unload", str(name)):
                self._spawn(self._unload(name))
            case ("symphony.pool_manager", "model.health", str(name)):
                self._spawn(self._check(name))
            case _:
                self._report(f"{component} asks for {request!r}, which the engine does not know")
                return NotImplemented
        return None

    def watch(self, interval: float) -> None:
        """Check loaded models every so many seconds; 0 = never."""
        if interval > 0 and self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(interval))

    async def moved(self, limit: float) -> None:
        """Returns when a model was loaded or unloaded, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._moved.wait()

    def let_go(self, loaded: Loaded) -> None:
        """Unload what has been retired, once no step uses it any more."""
        if loaded.retired and loaded.leases == 0 and not self._closing:
            self._spawn(self._drop(loaded))

    async def unload(self, name: str) -> bool:
        """Unload a model that no one leases; False where that is not possible."""
        try:
            if not self._pool.cool(name):
                return False
        except PitError:  # it was unregistered meanwhile
            return False
        loaded = self.loaded.pop(name, None)
        try:
            if loaded is not None:
                await _unload(loaded)
        except BaseException as error:
            self._failed(name, "unloading", error)
            return True
        self._answered(self._pool.cooled, name)
        return True

    async def close(self) -> None:
        """Unload everything, without regard to who uses it."""
        self._closing = True
        waiting = [*self._tasks, *([self._watching] if self._watching else [])]
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting, timeout=1.0)
        for loaded in list(self.loaded.values()):
            if not await self.unload(loaded.name):
                self._answered(self._pool.failed, loaded.name, "the interpreter ends")
                await self._drop(self.loaded.pop(loaded.name))

    # The callouts.

    async def _load(self, name: str) -> None:
        try:
            if not self._pool.warm(name):
                return  # somebody was quicker, or there is no room yet: then it is asked again
        except PitError as error:  # unregistered meanwhile, or too large: the Pool Manager tells who waits
            self._report(f"model {name} is not loaded: {error}")
            return
        began = time.perf_counter()
        self._retire(name)
        try:
            provider = self.providers.get(name)
            if provider is None:
                raise NotFound("no plugin that is loaded provides it")
            value = await _call(provider.load)
        except BaseException as error:
            self._failed(name, "loading", error)
            return
        loaded = self.loaded[name] = Loaded(name, provider, value)
        self._pauses.pop(name, None)
        if not self._answered(self._pool.warmed, name, time.perf_counter() - began):
            self._retire(loaded.name)
        elif type(self.providers.get(name)) is not type(provider):  # its plugin went while it was loading
            self._abandon(name, "its plugin gives it no more")

    async def _unload(self, name: str) -> None:
        await self.unload(name)

    async def _check(self, name: str) -> None:
        loaded = self.loaded.get(name)
        health = getattr(loaded.provider, "health", None) if loaded else None
        if loaded is None or health is None or name in self._checking:
            return
        self._checking.add(name)
        detail = ""
        try:
            async with asyncio.timeout(CHECK_LIMIT) as limit:
                if not await _call(health, loaded.value):
                    detail = "health() said no"
        except Exception as error:  # a plugin's code
            detail = f"{type(error).__name__}: {error}"
            if limit.expired():
                detail = f"health() gave no answer within {CHECK_LIMIT:g} s"
        finally:
            self._checking.discard(name)
        if self.loaded.get(name) is not loaded:
            return  # unloaded meanwhile
        if detail:
            self._report(f"model {name} is not well: {detail}")
        self._answered(self._pool.checked, name, not detail, detail)
        if detail and self._state(name) == "failed":
            self._retire(name)

    async def _watch(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            for row in self._pool.models():
                name, state = row["name"], row["state"]
                if state == "hot":
                    self._answered(self._pool.check, name)
                elif state == "failed" and row["backup"] and name in self.providers:
                    self._new_chance(name)

    def _new_chance(self, name: str) -> None:
        """Try a failed model that has a backup again, after ever longer pauses: its users wait meanwhile."""
        left, waited = self._pauses.get(name, (1, 1))
        if left > 1:
            self._pauses[name] = (left - 1, waited)
            return
        longer = min(waited * 2, _LONGEST_PAUSE)
        self._pauses[name] = (longer, longer)
        self._answered(self._pool.recover, name)

    # What they have in common.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # A context of its own: a provider sees nothing of a step.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._moved.set()  # who waits looks again
        self._moved = asyncio.Event()

    def _failed(self, name: str, what: str, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, asyncio.CancelledError):
            reason = "was cancelled"
        self._report(f"{what} model {name}: {reason}")
        self._answered(self._pool.failed, name, reason if what == "loading" else f"{what} it: {reason}")

    def _answered(self, method: Callable[..., Any], name: str, *args: Any) -> bool:
        """Call the Pool Manager; False where somebody else has moved the model on, or has forgotten it."""
        try:
            method(name, *args)
        except PitError as error:
            self._report(f"model {name}: {error}")
            return False
        return True

    def _state(self, name: str) -> str:
        return next((str(row["state"]) for row in self._pool.models() if row["name"] == name), "")

    def _retire(self, name: str) -> None:
        """Lease this object to no one any more."""
        loaded = self.loaded.pop(name, None)
        if loaded is not None:
            loaded.retired = True
            self.let_go(loaded)

    async def _drop(self, loaded: Loaded) -> None:
        try:
            await _unload(loaded)
        except Exception as error:  # a plugin's code, and nobody waits for it
            self._report(f"unloading model {loaded.name}: {type(error).__name__}: {error}")


async def _unload(loaded: Loaded) -> None:
    unload = getattr(loaded.provider, "unload", None)
    value, loaded.value = loaded.value, None
    if unload is not None:
        await _call(unload, value)


async def _call(function: Callable[..., Any], *args: Any) -> Any:
    """A provider's method: a coroutine on the loop, a plain function in a thread, so that it may block."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    answer = await asyncio.to_thread(function, *args)
    return await answer if inspect.isawaitable(answer) else answer
