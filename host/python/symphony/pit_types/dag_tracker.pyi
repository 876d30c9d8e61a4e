"""The component symphony.dag_tracker. Written by `symphony pit stubs`, from its method table."""

from collections.abc import Coroutine
from typing import Any, Protocol

from _typeshed import ReadableBuffer

class DagTracker(Protocol):
    """Owner of every run and step record."""
    def ping(self) -> None:
        """Do nothing: shows that the component answers."""
    def stats(self) -> dict[str, int]:
        """Counters: runs, live (not finished), records (appended or replayed), steps and edges of live
        runs, their bytes.
        """
    def accept_run(self, run: str, info: ReadableBuffer, inputs: ReadableBuffer) -> int:
        """Record that a run was accepted; a known run is left as it is. info is a JSON object, inputs
        codec bytes. Returns the time (µs).
        """
    def live_runs(self) -> list[str]:
        """Ids of the runs that are not finished, oldest first."""
    def finished_runs(self, limit: int = 1000) -> list[str]:
        """Ids of runs that have finished and were not forgotten, oldest first, at most limit."""
    def forget_runs(self, runs: list[str]) -> int:
        """Let go of finished runs, which then are in the history alone; runs that are live or unknown are
        left as they are. Returns how many there were.
        """
    def run_info(self, run: str) -> Any:
        """What is known of a run: info, inputs, accepted (µs), status (running until it has finished),
        state, finished (µs or None), payload, steps (how many by state), questions (open ones: key ->
        prompt).
        """
    def recovered(self, run: str) -> list[Any]:
        """The delivered records of a live run in log order, each [kind, key, fingerprint, state, payload,
        time (µs)]; kind 1 outcome, 2 timer, 3 command, 4 answer.
        """
    def attempts(self, run: str) -> dict[str, list[Any]]:
        """Failed attempts of steps without an outcome: key -> [attempts, `retry_at` (µs)]."""
    def start_step(self, run: str, key: str, name: str, attempt: int, dependencies: list[str]) -> None:
        """Record that an attempt of a step begins; dependencies are the keys of the steps whose results it
        takes. A step that was not added becomes part of the graph.
        """
    def fail_attempt(self, run: str, key: str, attempt: int, error: str, retry_at: int) -> None:
        """Record that an attempt failed and will be repeated at `retry_at` (µs)."""
    def finish_step(
        self,
        run: str,
        key: str,
        name: str,
        fingerprint: ReadableBuffer,
        state: int,
        payload: ReadableBuffer,
    ) -> int:
        """Record the outcome of a step; state 0 completed, 1 failed, 2 cached, 3 skipped. Returns the time
        (µs).
        """
    def finish_many(self, run: str, steps: list[list[Any]]) -> int:
        """Record the outcomes of steps, each [key, name, fingerprint, state, payload], in records of up to
        1 MiB; one that is refused refuses all. Returns the time (µs).
        """
    def fire_timer(self, run: str, key: str, when: int) -> int:
        """Record that a timer due at when (µs) fired. Returns the time (µs)."""
    def command(self, run: str, command: str) -> int:
        """Record a command for a run, such as cancel, which also ends the steps that have not started.
        Returns the time (µs).
        """
    def finish_run(self, run: str, status: str, payload: ReadableBuffer) -> int:
        """Record the end of a run; status is completed, failed or cancelled. Its graph is dropped. Returns
        the time (µs).
        """
    def cancel(self, run: str) -> int:
        """Ask for the end of a run: delivered as the command cancel; steps that have not started are
        cancelled. Returns the time (µs).
        """
    def pause(self, run: str, reason: str = "") -> int:
        """No step of the run starts any more; running ones finish. Returns the time (µs)."""
    def resume(self, run: str) -> int:
        """Steps of a paused run may start again. Returns the time (µs)."""
    def wait_for_input(self, run: str, key: str, prompt: str = "") -> int:
        """The run asks a person; the question is open until it is answered. Returns the time (µs)."""
    def provide_input(self, run: str, key: str, payload: ReadableBuffer) -> int:
        """The answer of an open question, as codec bytes; delivered. Returns the time (µs)."""
    def retry_step(self, run: str, key: str) -> int:
        """Let a failed, skipped or cancelled step wait again, with all steps that ended because of it.
        Returns the time (µs).
        """
    def skip_step(self, run: str, key: str) -> int:
        """Skip a step that has not ended; those who need it go on. Returns the time (µs)."""
    def cancel_step(self, run: str, key: str) -> int:
        """Cancel a step that has not ended, and those that cannot do without it. Returns the time (µs)."""
    def add_step(
        self,
        run: str,
        key: str,
        name: str = "",
        dependencies: Any = None,
        priority: int = 0,
        policy: Any = None,
    ) -> bool:
        """Add a step to the run's graph; False: it is there already, just like this. dependencies are keys
        or [key, kind]; kind hard (its failure ends this step), soft (waits, goes on after a failure),
        optional (waits only if it is there). policy: `max_attempts`, backoff (constant, linear,
        exponential), delay, `max_delay`, jitter, `retry_on`, `give_up_on`, `on_error` (fail, skip,
        fallback), fallback, default, timeout. Raises `PitConflict` for a key with other terms, and for
        a cycle, with its path.
        """
    def add_many(self, run: str, steps: Any) -> int:
        """Add steps, each a key, [key, dependencies, name, priority, policy] or a dict of these, in
        records of up to 1 MiB; in dependencies an int is a place in this list. Returns how many are
        new. Duplicates, unknown dependencies and cycles are what validate tells, all together. Adding
        the same steps again adds nothing.
        """
    def add_many_async(self, run: str, steps: Any) -> Coroutine[Any, Any, int]:
        """As `add_many`, on a thread that may block."""
    def validate(self, run: str) -> list[dict[str, Any]]:
        """All that is wrong with the graph: duplicates, unknown dependencies, cycles with their path.
        Empty: it is valid.
        """
    def validate_async(self, run: str) -> Coroutine[Any, Any, list[dict[str, Any]]]:
        """As `validate`, on a thread that may block."""
    def order(self, run: str) -> list[str]:
        """All steps, each after its dependencies. Raises `PitConflict` with all that is wrong if there is
        a cycle.
        """
    def order_async(self, run: str) -> Coroutine[Any, Any, list[str]]:
        """As `order`, on a thread that may block."""
    def ready(self, run: str, limit: int | None = None) -> list[str]:
        """Steps that may start now: higher priority first, then in the order of adding. None of a paused
        run.
        """
    def states(self, run: str) -> Any:
        """Key -> state of every step, in the order of adding."""
    def expired(self, run: str, now: int | None = None) -> list[list[Any]]:
        """Running steps whose timeout is over at now (µs; the clock's, if left out): [key, deadline],
        earliest first.
        """
    def critical_path(self, run: str, durations: dict[str, float] | None = None) -> dict[str, Any]:
        """The longest way through the graph: steps, seconds. Seconds per step are the means of recorded
        durations by name, with durations in front; of unknown names the mean of the known, of none a
        second.
        """
    def critical_path_async(
        self,
        run: str,
        durations: dict[str, float] | None = None,
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        """As `critical_path`, on a thread that may block."""
    def ranks(self, run: str, durations: dict[str, float] | None = None) -> Any:
        """Upward rank of every step: seconds from its start to the end of the run, at best. Durations as
        for `critical_path`.
        """
    def ranks_async(self, run: str, durations: dict[str, float] | None = None) -> Coroutine[Any, Any, Any]:
        """As `ranks`, on a thread that may block."""
    def remaining_time(
        self,
        run: str,
        slots: int = 0,
        now: int | None = None,
        durations: dict[str, float] | None = None,
    ) -> float:
        """Seconds until the run ends, at best: the longest way through what is not done, or the work
        shared by so many slots (0 = as many as it takes) if that is more. Durations as for
        `critical_path`.
        """
    def remaining_time_async(
        self,
        run: str,
        slots: int = 0,
        now: int | None = None,
        durations: dict[str, float] | None = None,
    ) -> Coroutine[Any, Any, float]:
        """As `remaining_time`, on a thread that may block."""
    def durations(self) -> dict[str, list[Any]]:
        """What completed steps took, over all runs: name -> [how many, mean seconds]."""
    def decide_retry(
        self,
        run: str,
        key: str,
        attempt: int,
        error_kind: str,
        policy: Any = None,
        error: str = "",
    ) -> dict[str, Any]:
        """What follows on a failed attempt (counted from 1): action retry (not before `retry_at`, µs),
        fallback, skip or fail, with the reason. The policy is the step's own, if none is given. A retry
        is recorded as `fail_attempt` does, so that its deadline holds after a restart; asked again for
        the same attempt, the answer is the same.
        """
    def graph_size(self, run: str) -> dict[str, Any]:
        """Size of a live run's graph: steps, edges, bytes."""
