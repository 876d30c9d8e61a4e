"""Leases of models for steps, and what people ask of models: the Pool Manager decides, the providers load.

Which object belongs to which lease is known here; how one is loaded, dropped and checked is ``model_life``'s.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from symphony.engine.model_life import Loaded, ModelLife
from symphony.errors import Conflict, NotFound, PitConflict, PitError, PitTimeout
from symphony.values.signatures import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

# How long a load that somebody asked for waits for room.
ROOM_LIMIT: Final = 60.0


class Provider(Protocol):
    """What a plugin registers for a model. Coroutines run on the loop, plain functions in a thread."""

    async def load(self) -> Any: ...

    async def unload(self, model: Any) -> None: ...

    async def health(self, model: Any) -> bool: ...


class Models(Protocol):
    """Where the executor gets model objects from."""

    async def acquire(self, name: str, plugin: str = "") -> tuple[int, Any]:
        """A lease and the model's object; ``name`` is how the code of ``plugin`` calls it."""
        ...

    def release(self, lease: int) -> None: ...

    def described(self, name: str, plugin: str = "") -> str:
        """The model, and how it is, in words."""
        ...


class ModelPool:
    """The models of this interpreter.

    Parameters
    ----------
    pool:
        The Pit's Pool Manager: it knows states, memory and leases. Its callouts must reach ``answer``.
    report:
        Called with lines for the log.
    known_as:
        Gives the pool's name of what a plugin's code, or a person, calls a model.
    """

    def __init__(
        self,
        pool: Any,
        report: Callable[[str], None] = lambda line: None,
        known_as: Callable[[str, str], str] = lambda name, plugin: name,
    ) -> None:
        self._pool = pool
        self._known_as = known_as
        self._life = ModelLife(pool, report)
        # The handler of the Pit's callouts.
        self.answer = self._life.answer
        self._leased: dict[int, Loaded] = {}
        self._asked: set[asyncio.Task[None]] = set()

    def register(
        self,
        name: str,
        provider: Any,
        plugin: str,
        memory: int,
        instances: int,
        *,
        cost_per_call: float = 0.0,
        backup: str = "",
        keep_warm: float = 0.0,
        failure_threshold: int = 3,
    ) -> None:
        """Make a model known. One that is loaded stays so, unless its plugin's code is another one now."""
        self._pool.register(
            name, plugin, memory, instances, cost_per_call, backup, keep_warm, failure_threshold
        )
        self._life.provide(name, provider, plugin)

    def keep(self, names: Collection[str]) -> None:
        """Provide no other models; what is known by a name that its plugin gave up is forgotten."""
        for name in set(self._life.providers).difference(names):
            self._life.withdraw(name)
        present = {self._life.plugins[name] for name in names}
        for row in self._pool.models():
            if row["name"] not in names and row["provider"] in present:
                with suppress(PitError):  # it is in use: it is forgotten the next time
                    self._pool.unregister(row["name"])

    def watch(self, interval: float) -> None:
        """Check loaded models every so many seconds, and give failed ones with a backup new chances."""
        self._life.watch(interval)

    # For steps.

    async def acquire(self, name: str, plugin: str = "") -> tuple[int, Any]:
        """Lease a model, loading it when it is cold; ``plugin`` is whose code calls it by this name.

        Raises
        ------
        NotFound
            No plugin registered this model.
        PitConflict
            It does not load, or it failed; the message says why.
        PitExhausted
            The budget is used up, or it can never fit the memory.
        """
        name = self._known_as(name, plugin)
        if name not in self._life.providers:
            raise NotFound(f"no model {name!r}", hint=did_you_mean(name, self._life.providers))
        try:
            lease = self._pool.try_acquire(name)
        except PitConflict:
            lease = None
            self._pool.recover(name)  # it failed and nothing stands in for it: this is a new chance
        if lease is None:
            try:
                lease = await self._pool.acquire_async(name)
            except PitConflict as error:
                raise _told(error) from error
        # From here on no await: a step that is stopped must not take the lease with it.
        served = self._pool.lease_model(lease)
        loaded = self._life.loaded.get(served)
        if loaded is None:
            self._pool.release(lease)
            raise Conflict(
                f"model {served} counts as hot, but was not loaded by the engine",
                hint=f"symphony pit call pool_manager.failed {served} reset",
            )
        loaded.leases += 1
        self._leased[lease] = loaded
        return int(lease), loaded.value

    def release(self, lease: int) -> None:
        """Give a lease back."""
        loaded = self._leased.pop(lease)
        loaded.leases -= 1
        self._life.let_go(loaded)
        self._pool.release(lease)

    # For people.

    def described(self, name: str, plugin: str = "") -> str:
        """The model, and how it is: ``model toy-small (hot, 1 of 1 leased, 2 waiting)``."""
        name = self._known_as(name, plugin)
        row = next(row for row in self._pool.models() if row["name"] == name)
        leased, waiting = f"{row['leased']} of {row['instances']} leased", f"{row['waiting']} waiting"
        return f"model {name} ({row['state']}, {leased}, {waiting})"

    def rows(self) -> list[dict[str, Any]]:
        """The Pool Manager's rows; ``provided`` says whether a loaded plugin can load the model."""
        return [{**row, "provided": row["name"] in self._life.providers} for row in self._pool.models()]

    def row(self, name: str) -> dict[str, Any]:
        """One of them. Raises ``NotFound`` with the closest name."""
        name = self._known_as(name, "")
        rows = self.rows()
        for row in rows:
            if row["name"] == name:
                return row
        raise NotFound(
            f"no model {name!r}",
            hint=did_you_mean(name, [row["name"] for row in rows]) or "symphony models list",
        )

    async def load(self, name: str) -> dict[str, Any]:
        """Load a model now, and answer its row once it is hot; a failed one is tried again.

        Raises
        ------
        NotFound
            No loaded plugin provides it.
        PitConflict
            It does not load; the message says why.
        PitTimeout
            There was no room for it: others are in use, or kept warm.
        """
        name = self._begin(name)["name"]
        deadline = time.monotonic() + ROOM_LIMIT
        while True:
            row = self.row(name)
            if row["state"] == "hot":
                return row
            if row["state"] == "failed":
                raise PitConflict(f"model {name} failed: {row['reason']}")
            if row["state"] == "cold":
                if time.monotonic() > deadline:
                    raise PitTimeout(
                        f"no room for model {name} within {ROOM_LIMIT:g} s: others are in use or kept warm"
                    )
                self._pool.prewarm(name)
            await self._life.moved(0.1)

    def prewarm(self, name: str) -> bool:
        """Load a model in the background. False: it is hot, or on its way."""
        row = self._begin(name)
        if row["state"] not in ("cold", "failed"):
            return False
        task = asyncio.get_running_loop().create_task(self._quietly(row["name"]))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return True

    async def unload(self, name: str) -> dict[str, Any]:
        """Unload a model that no one uses, and answer its row.

        Raises
        ------
        NotFound
            There is no such model.
        Conflict
            It is in use, being loaded, or could not be unloaded.
        """
        row = self.row(name)
        name = row["name"]
        if row["state"] == "failed":
            self._pool.recover(name)
        elif row["state"] != "cold" and not await self._life.unload(name):
            row = self.row(name)
            use = f"in use ({row['leased']} leased)" if row["leased"] else row["state"]
            raise Conflict(f"model {name} is {use}", hint="try again when it is idle")
        row = self.row(name)
        if row["state"] == "failed":
            raise Conflict(f"model {name} failed: {row['reason']}")
        return row

    async def unload_all(self) -> None:
        """Give every provider the chance to let go; what they raise is of no more use to anyone."""
        for task in self._asked:
            task.cancel()
        await self._life.close()

    def _begin(self, name: str) -> dict[str, Any]:
        """The row of a model that is to be loaded, as it was; one that failed gets a new chance."""
        row = self.row(name)
        if not row["provided"]:
            raise NotFound(
                f"no plugin that is loaded provides model {name!r}",
                hint=f"it was {row['provider']}'s: symphony plugins list",
            )
        if row["state"] == "failed":
            self._pool.recover(row["name"])
        return row

    async def _quietly(self, name: str) -> None:
        with suppress(PitError, NotFound):  # the model's row says what became of it
            await self.load(name)


def _told(error: PitConflict) -> PitConflict:
    """The error with its notes in its message: only the message is recorded of a step's error."""
    notes = "; ".join(getattr(error, "__notes__", []))
    return PitConflict(f"{error} ({notes})" if notes else str(error))


class NoModels:
    """For interpreters without a Pit: every model is unknown."""

    async def acquire(self, name: str, plugin: str = "") -> tuple[int, Any]:
        raise NotFound(f"no model {name!r}", hint="no Pit is open in this interpreter")

    def release(self, lease: int) -> None:
        raise AssertionError("nothing was leased")

    def described(self, name: str, plugin: str = "") -> str:
        return f"model {name}"
