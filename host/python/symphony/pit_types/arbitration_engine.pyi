"""The component symphony.arbitration_engine. Written by `symphony pit stubs`, from its method table."""

from collections.abc import Coroutine
from typing import Any, Protocol

class ArbitrationEngine(Protocol):
    """Decides who gets a contended resource."""
    def ping(self) -> None:
        """Do nothing: shows that the component answers."""
    def stats(self) -> dict[str, int]:
        """Counters: decisions, granted, denied, deferred, expired, deadlocks (all over restarts), and
        resources, held, waiting (now).
        """
    def define(
        self,
        resource: str,
        capacity: float,
        kind: str,
        strategy: str = "priority",
        seed: int = 0,
    ) -> None:
        """Make a resource known, or change its terms; lasts over restarts.

        capacity is what can be granted at once, in any unit; for a cost, what can be consumed in all;
        for a model, 0 = as many as the Pool Manager has instances of the model of this name. kind is
        model, memory, cpu or cost and names the conflict about it. strategy and seed as in
        `set_policy`. Raises `PitInvalidArgument`, and `PitConflict` where the kind changes while
        someone holds or awaits a part.
        """
    def set_policy(
        self,
        resource: str,
        strategy: str = "priority",
        ageing_rate: float = 1.0,
        seed: int = 0,
        minimum: float = 1.0,
    ) -> None:
        """Choose who comes next on a resource, also among those who wait already; lasts over restarts.

        strategy: priority (effective priority, then fair share by amount × time held and weight),
        `round_robin` (the owners in turn), collaborative (everyone who waits gets an equal part of what
        is free, at least minimum), `weighted_random` (by lot from seed, by the owners' weights).
        `ageing_rate` is what waiting adds to a priority per second; 0 = nothing, and low priorities may
        starve. Raises `PitNotFound`, `PitInvalidArgument`.
        """
    def undefine(self, resource: str) -> None:
        """Forget a resource that nobody holds or waits for. Raises `PitNotFound`, `PitConflict`."""
    def resources(self) -> list[Any]:
        """Every resource with its terms, what of it is free, granted and consumed, how many hold and await
        it, and for how many seconds a part is held on the average.
        """
    def conflicts(self) -> list[Any]:
        """The resources of which more is granted and awaited (demand) than there is, with the name of the
        conflict (model contention, memory pressure, CPU saturation, cost limit) and the names of
        holders and waiters.
        """
    def reset_budget(self, resource: str) -> None:
        """Set what was consumed of a cost back to nothing. Raises `PitNotFound`."""
    def set_share(self, owner: str, weight: float) -> None:
        """Let an owner have `weight` times the fair share of every resource; 1 is what all have. Lasts
        over restarts.
        """
    def shares(self) -> dict[str, float]:
        """The weights that differ from 1, by owner."""
    def request(
        self,
        resource: str,
        owner: str,
        amount: float = 1.0,
        priority: int | str = 0,
        holder: str = "",
        max_wait: float | None = None,
    ) -> Any:
        """Ask for a part of a resource, without waiting for it.

        owner is whose fair share it counts for, a run id; amount is in the resource's unit; priority a
        number, higher first, or CRITICAL (1000), HIGH (100), NORMAL (0), LOW (-100), BACKGROUND
        (-1000). holder names who would hold it, such as a step that does one thing after the other: who
        waits for whom is told by it; it is the owner unless given, and then the owner may do several
        things at once. `max_wait` in seconds: a wait estimated longer is denied, one that lasts longer
        expires; None waits for ever.

        Gives a dict: decision (granted; deferred: it waits, and `status` tells when it is granted;
        denied), reason, ticket (None if denied), amount (granted; by collaborative sharing it may be
        less than asked for), `wait_estimate` (seconds, or None while nothing is known). Raises
        `PitNotFound` for an unknown resource.
        """
    def acquire(
        self,
        resource: str,
        owner: str,
        amount: float = 1.0,
        priority: int | str = 0,
        holder: str = "",
        timeout: float | None = None,
    ) -> int:
        """Wait for a part of a resource, on this thread, and give its ticket. Parameters as in request;
        timeout in seconds, None waits for ever. Raises `PitTimeout`, `PitExhausted` (more than there
        is, a budget that is used up), `PitConflict` (a deadlock, with its path), `PitCancelled` (by
        cancel), `PitNotFound`.
        """
    def acquire_async(
        self,
        resource: str,
        owner: str,
        amount: float = 1.0,
        priority: int | str = 0,
        holder: str = "",
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, int]:
        """Wait for a part of a resource, as acquire does; cancelling the await leaves the queue."""
    def release(self, ticket: int, used: float | None = None) -> None:
        """Give back what a ticket was granted. used is what was consumed of a cost, by default all that
        was granted; it does not come back, and lasts over restarts. Raises `PitConflict` unless the
        ticket is granted, `PitNotFound`.
        """
    def cancel(self, ticket: int) -> None:
        """Leave the queue. Raises `PitConflict` unless the ticket waits, `PitNotFound`."""
    def release_all(self, owner: str) -> int:
        """Release or cancel every ticket of an owner, as when its run ends; a cost counts as used. Gives
        how many there were.
        """
    def status(self, ticket: int) -> Any:
        """A ticket with its state (waiting, granted, released, cancelled, denied, expired), the reason,
        since when (µs) and for how many seconds it is in it, and while it waits about its position and
        how long it still waits (seconds). The last 10,000 that ended are known too. Raises
        `PitNotFound`.
        """
    def queue(self, resource: str) -> list[Any]:
        """The tickets that wait for a resource, in the order in which they would be granted if nobody came
        or left, and what is held were held as long as the average. Raises `PitNotFound`.
        """
    def audit(
        self,
        resource: str = "",
        owner: str = "",
        decision: str = "",
        limit: int = 100,
        after: int = 0,
    ) -> list[Any]:
        """The newest decisions, newest first, of the 10,000 that are kept: of this resource, owner and
        decision (granted, denied, deferred, expired) where given, and with a number above after. Each
        with its number, time (µs), ticket, resource, owner, amount, priority, decision, reason,
        `queue_length` and position. Lasts over restarts.
        """
