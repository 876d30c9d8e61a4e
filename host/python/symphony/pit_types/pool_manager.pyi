"""The component symphony.pool_manager. Written by `symphony pit stubs`, from its method table."""

from collections.abc import Coroutine
from typing import Any, Protocol

class PoolManager(Protocol):
    """The life of every model: loading, leases, limits."""
    def ping(self) -> None:
        """Do nothing: shows that the component answers."""
    def stats(self) -> dict[str, float]:
        """Counters: models, hot, `resident_bytes`, leases, waiting, hits, misses, evictions,
        `cold_starts_avoided`, waits, `wait_seconds`, `wait_max`, spent.
        """
    def register(
        self,
        model: str,
        provider: str = "",
        memory: int = 0,
        instances: int = 1,
        cost_per_call: float = 0.0,
        backup: str = "",
        keep_warm: float = 0.0,
        failure_threshold: int = 3,
    ) -> None:
        """Make a model known, or change its terms; lasts over restarts.

        memory is an estimate in bytes, instances the slots that may be leased at once, `cost_per_call`
        what a lease costs when it is given back, backup the model that serves while this one is failed,
        `keep_warm` the seconds that an idle model is kept before it may be evicted, `failure_threshold`
        the failed health checks in a row that make it failed.
        """
    def unregister(self, model: str) -> None:
        """Forget a model that is cold or failed and that nobody leases or waits for."""
    def configure(self, memory_limit: int | None = None, budget: float | None = None) -> None:
        """Limit the bytes that all loaded models together may take, and the cost up to which leases are
        given; None = no limit. Lasts over restarts.
        """
    def reset_budget(self) -> None:
        """Set what was spent of the budget back to nothing."""
    def models(self) -> list[Any]:
        """Every model with its terms, its state, its counters since the start, and its calls, cost and
        units so far.
        """
    def warm(self, model: str) -> bool:
        """Begin to warm a cold or failed model. True: the caller loads it now and answers with warmed or
        failed. False: it is not cold, or there is no room yet.
        """
    def warmed(self, model: str, seconds: float) -> None:
        """The model is loaded; it took so many seconds. Those who wait for it are served."""
    def failed(self, model: str, reason: str) -> None:
        """The model could not be loaded, or broke. Those who wait for it get the reason, or the backup."""
    def recover(self, model: str) -> None:
        """Make a failed model cold again, so that it can be loaded."""
    def cool(self, model: str) -> bool:
        """Begin to cool a hot model that no one leases. True: the caller unloads it now and answers with
        cooled.
        """
    def cooled(self, model: str) -> None:
        """The model is unloaded; whoever waits for its room is served."""
    def prewarm(self, model: str) -> bool:
        """Ask the engine to load a cold model ahead of its first use. False: it is not cold."""
    def check(self, model: str) -> bool:
        """Ask the engine whether a hot model is well; it answers with checked. False: it is not hot."""
    def checked(self, model: str, healthy: bool, detail: str = "") -> None:
        """The answer of a health check. As many failures in a row as the model's threshold make it failed."""
    def try_acquire(self, model: str, slots: int = 1) -> int | None:
        """A lease of a hot model, or None when it is not hot, has no free slot, or others wait for one."""
    def acquire(self, model: str, timeout: float | None = None, priority: int = 0, slots: int = 1) -> int:
        """Wait for a lease, on this thread; timeout in seconds, None waits for ever. Higher priorities are
        served first. Raises `PitTimeout`, `PitConflict` (the model failed), `PitExhausted` (budget,
        memory).
        """
    def acquire_async(
        self,
        model: str,
        timeout: float | None = None,
        priority: int = 0,
        slots: int = 1,
    ) -> Coroutine[Any, Any, int]:
        """Wait for a lease, as acquire does; cancelling the await leaves the queue."""
    def lease_model(self, lease: int) -> str:
        """The model of a lease: the one asked for, or the backup that serves for it."""
    def release(self, lease: int) -> None:
        """Give a lease back."""
    def charge(self, model: str, cost: float, units: float = 0.0) -> None:
        """Count what a call cost beyond the model's fixed price, and units such as tokens. Lasts over
        restarts.
        """
