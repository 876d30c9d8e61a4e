"""The component symphony.stale_manager. Written by `symphony pit stubs`, from its method table."""

from collections.abc import Coroutine
from typing import Any, Protocol

class StaleManager(Protocol):
    """Decides what is kept: policies, values, sweeps."""
    def ping(self) -> None:
        """Do nothing: shows that the component answers."""
    def stats(self) -> dict[str, int]:
        """Counters: policies, sweeps, decisions, deleted, deleted_bytes, pending."""
    def set_policy(
        self,
        name: str,
        rules: dict[str, Any],
        priority: int = 0,
        action: str = "delete",
        folder: str = "",
    ) -> None:
        """Set a policy, or replace the one of this name. Lasts over restarts.

        Of the policies that are about an artifact the one with the highest priority decides alone (of
        equal ones the first by name); an artifact that none is about is kept. rules is a dict. Whom the
        policy is about: prefix (of one of its names) and unnamed (bool). What it keeps, whatever else
        holds: keep_tagged (list of tags) and keep_referenced (bool). When the rest expires: max_age
        (seconds since it was stored) and min_accesses (used less often than this); all rules of one
        dict must hold, any and all take lists of dicts of max_age, min_accesses, prefix, unnamed, any,
        all. Besides, max_total_size (bytes): of what the other rules leave, the lowest value goes first
        until the rest fits.

        action is what happens to it: delete, or archive to folder, an absolute path (default: a folder
        of this component). What is referenced or of high value is never deleted, whatever a policy
        says.
        """
    def remove_policy(self, name: str) -> None:
        """Remove a policy. Without any, the built-in one holds again."""
    def policies(self) -> list[dict[str, Any]]:
        """The policies that hold, highest priority first. While none is set that is the built-in one: keep
        everything but contents without a name that nothing refers to, older than 30 days.
        """
    def set_weights(
        self,
        recency: float = 1.0,
        frequency: float = 2.0,
        uniqueness: float = 1.0,
        mark: float = 12.0,
        half_life: float = 2592000.0,
        high_value: float = 0.75,
    ) -> None:
        """Set how much each part of an artifact's value weighs. Lasts over restarts.

        The value is the weighted mean of recency (halves every half_life seconds without use),
        frequency (logarithm of the accesses, full at 1,023), uniqueness (1 / contents whose name
        differs only in digits) and the user's mark, which is left out where there is none. From
        high_value on an artifact is never deleted; with the default weights a mark of 1 reaches that
        alone.
        """
    def weights(self) -> dict[str, Any]:
        """The weights that hold."""
    def plan(self, now: int | None = None, limit: int = 1000, decision: str = "") -> dict[str, Any]:
        """A dry run: what a sweep would do as of now (µs; default: the present), and why. Changes nothing.

        The totals are over everything; decisions are the first of lowest value, only those of one kind
        if decision is keep, archive or delete.
        """
    def plan_async(
        self,
        now: int | None = None,
        limit: int = 1000,
        decision: str = "",
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        """As plan, on another thread."""
    def begin_sweep(self, now: int | None = None) -> dict[str, Any]:
        """Plan a sweep and remember it; the steps carry it out. Raises PitConflict while another one is
        not over.
        """
    def begin_sweep_async(self, now: int | None = None) -> Coroutine[Any, Any, dict[str, Any]]:
        """As begin_sweep, on another thread."""
    def step(self, sweep: int, batch: int = 1000) -> dict[str, Any]:
        """Carry out the next of a sweep's plan: to the trash or the archive. What has been used, tagged or
        referenced since the plan stays. Gives the progress; the sweep is stepped once done is total.
        After an error a step can be repeated.
        """
    def step_async(self, sweep: int, batch: int = 1000) -> Coroutine[Any, Any, dict[str, Any]]:
        """As step, on another thread."""
    def commit(self, sweep: int) -> dict[str, Any]:
        """Delete for good what a sweep put into the trash; gives how many and how many bytes. The rest of
        its plan is dropped.
        """
    def commit_async(self, sweep: int) -> Coroutine[Any, Any, dict[str, Any]]:
        """As commit, on another thread."""
    def abort(self, sweep: int) -> dict[str, Any]:
        """Undo a sweep: bring back what it put into the trash and the archive."""
    def abort_async(self, sweep: int) -> Coroutine[Any, Any, dict[str, Any]]:
        """As abort, on another thread."""
    def pending_sweep(self) -> dict[str, Any] | None:
        """The sweep that is not over, or None. One of a process that was killed is interrupted: commit or
        abort it.
        """
    def sweeps(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest sweeps, newest first; the last 1,000 are remembered."""
    def decisions(self, limit: int = 100, decision: str = "") -> list[dict[str, Any]]:
        """What sweeps did, and what they kept of their plan after all, newest first; the last 10,000 are
        remembered.
        """
    def archive(self, id: str, folder: str = "") -> None:
        """Move an artifact's bytes to another folder (an absolute path; default: a folder of this
        component).
        """
    def archive_async(self, id: str, folder: str = "") -> Coroutine[Any, Any, None]:
        """As archive, on another thread."""
    def retrieve(self, id: str) -> None:
        """Bring an archived artifact's bytes back."""
    def retrieve_async(self, id: str) -> Coroutine[Any, Any, None]:
        """As retrieve, on another thread."""
