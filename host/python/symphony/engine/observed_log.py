"""The log of a run that tells what is recorded about its steps, where no host reads the log to tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.run_log import CACHED, FAILED, OK, SKIPPED, PitRunLog

if TYPE_CHECKING:
    from symphony.engine.durability import Durability

Tell = Callable[[dict[str, Any]], None]
_STATES: Final = {OK: "completed", FAILED: "failed", CACHED: "cached", SKIPPED: "skipped"}


class ObservedLog(PitRunLog):
    """As ``PitRunLog``; ``tell`` gets the events that clients of a host get, after each record."""

    def __init__(self, pit: Any, run: str, durability: Durability, tell: Tell) -> None:
        super().__init__(pit, run, durability)
        self._tell = tell
        self._names: dict[str, str] = {}

    def start_step(self, key: str, name: str, attempt: int, deps: list[str]) -> None:
        super().start_step(key, name, attempt, deps)
        self._names[key] = name
        self._event("step_started", key, "running")

    def decide_retry(
        self, key: str, attempt: int, kind: str, policy: dict[str, Any], error: str
    ) -> int | None:
        retry_at = super().decide_retry(key, attempt, kind, policy, error)
        if retry_at is not None:
            self._event("attempt_failed", key, "queued", error)
        return retry_at

    def finish_step(self, key: str, name: str, fingerprint: bytes, state: int, payload: bytes) -> int:
        moment = super().finish_step(key, name, fingerprint, state, payload)
        self._names[key] = name
        self._event("step_finished", key, _STATES[state])
        del self._names[key]
        return moment

    def ask(self, key: str, prompt: str) -> None:
        super().ask(key, prompt)
        self._event("waiting", key, "", prompt)

    def _event(self, kind: str, key: str, state: str, message: str = "") -> None:
        self._tell(event_document(self._run, kind, key, self._names.get(key, ""), state, message))


def event_document(
    run: str,
    kind: str,
    key: str,
    name: str,
    state: str = "",
    message: str = "",
    done: float | None = None,
    total: float | None = None,
) -> dict[str, Any]:
    """One event, in the words of the control protocol."""
    return {
        "run": run,
        "kind": kind,
        "key": key,
        "name": name,
        "state": state,
        "message": message,
        "done": done,
        "total": total,
    }
