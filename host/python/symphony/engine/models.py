"""Leases of models for steps: the Pool Manager counts, the providers load, here they come together."""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from symphony.errors import NotFound, PitConflict
from symphony.values.signatures import did_you_mean


class Provider(Protocol):
    """What a plugin registers for a model. ``load`` must not block the loop: use ``asyncio.to_thread``."""

    async def load(self) -> Any: ...

    async def unload(self, model: Any) -> None: ...

    async def health(self, model: Any) -> bool: ...


class Models(Protocol):
    """Where the executor gets model objects from."""

    async def acquire(self, name: str) -> tuple[int, Any]:
        """A lease and the model's object."""
        ...

    def release(self, lease: int) -> None: ...


@dataclass(slots=True)
class _Model:
    provider: Any
    loaded: bool = False
    value: Any = None
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)


class ModelPool:
    """The models of this interpreter.

    ``pool`` is the Pit's Pool Manager: it knows states, memory and how many leases there are; the objects
    themselves are here.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._models: dict[str, _Model] = {}
        self._terms: dict[str, tuple[str, int, int]] = {}

    def register(self, name: str, provider: Any, plugin: str, memory: int, instances: int) -> None:
        """Make a model known; one that is loaded stays so when its plugin is registered again."""
        terms = (plugin, memory, instances)
        if self._terms.get(name) != terms:  # each registration is a record in the log
            self._pool.register(name, *terms)
            self._terms[name] = terms
        known = self._models.get(name)
        if known is None or type(known.provider) is not type(provider):
            self._models[name] = _Model(provider)
        else:
            known.provider = provider

    async def acquire(self, name: str) -> tuple[int, Any]:
        """Lease a model, loading it when it is cold.

        Raises
        ------
        NotFound
            No plugin registered this model.
        """
        model = self._models.get(name)
        if model is None:
            raise NotFound(f"no model {name!r}", hint=did_you_mean(name, self._models))
        lease = self._pool.try_acquire(name) if model.loaded else None
        if lease is None:
            await self._ensure_loaded(name, model)
            lease = self._pool.try_acquire(name)
        if lease is None:
            lease = await self._pool.acquire_async(name)
        return int(lease), model.value

    def release(self, lease: int) -> None:
        self._pool.release(lease)

    async def unload_all(self) -> None:
        """Give every provider the chance to let go; what they raise is of no more use to anyone."""
        for model in self._models.values():
            if model.loaded and hasattr(model.provider, "unload"):
                model.loaded, value, model.value = False, model.value, None
                with suppress(Exception):  # the provider is a plugin's code, and the interpreter ends
                    await _awaited(model.provider.unload(value))

    async def _ensure_loaded(self, name: str, model: _Model) -> None:
        async with model.loading:
            must_load = self._pool.warm(name)
            if model.loaded and not must_load:
                return
            began = time.perf_counter()
            try:
                if not model.loaded:
                    model.value = await _awaited(model.provider.load())
                    model.loaded = True
            except BaseException as error:
                reason = "loading was cancelled" if isinstance(error, asyncio.CancelledError) else str(error)
                self._pool.failed(name, f"{type(error).__name__}: {reason}")
                raise
            try:
                self._pool.warmed(name, time.perf_counter() - began)
            except PitConflict:
                if must_load:
                    raise  # otherwise it was warm already, in the records of an earlier interpreter


async def _awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


class NoModels:
    """For interpreters without a Pit: every model is unknown."""

    async def acquire(self, name: str) -> tuple[int, Any]:
        raise NotFound(f"no model {name!r}", hint="no Pit is open in this interpreter")

    def release(self, lease: int) -> None:
        raise AssertionError("nothing was leased")
