"""What the engine writes down about one run, and reads back.

The only module that knows the shape of the Pit's answers. Nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from symphony.errors import PitNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.engine.durability import Durability

INLINE_LIMIT: Final = 4096
"""Results up to this many encoded bytes lie in the log itself, larger ones in the Artifact Store."""

OUTCOME, TIMER, COMMAND = 1, 2, 3
OK, FAILED, CACHED, SKIPPED = 0, 1, 2, 3
VALUE_TYPE: Final = "application/x-symphony-value"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One delivered record of a run; ``time`` is in microseconds since the epoch."""

    kind: int
    key: str
    fingerprint: bytes
    state: int
    payload: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Attempts:
    """Failed attempts of a step that has no outcome yet, and when the next one may start (microseconds)."""

    failed: int = 0
    retry_at: int = 0


class RunLog(Protocol):
    """The log of one run. ``finish_step``, ``fire_timer`` and ``command`` answer the record's time;
    ``decide_retry`` when the next attempt may start (microseconds), or None when there is none.

    What follows from a record waits in ``when_lasting``: an outcome that power loss takes was never seen.
    """

    def recovered(self) -> list[LogRecord]: ...
    def attempts(self) -> dict[str, Attempts]: ...
    def start_step(self, key: str, name: str, attempt: int, deps: list[str]) -> None: ...
    def decide_retry(
        self, key: str, attempt: int, kind: str, policy: dict[str, Any], error: str
    ) -> int | None: ...
    def finish_step(self, key: str, name: str, fingerprint: bytes, state: int, payload: bytes) -> int: ...
    def fire_timer(self, key: str, when: int) -> int: ...
    def command(self, command: str) -> int: ...
    def store(self, content: bytes, name: str, step: str) -> str: ...
    def find(self, name: str) -> str | None: ...
    def load(self, artifact: str) -> bytes | None: ...
    def when_lasting(self, go_on: Callable[[], None], failed: Callable[[Exception], None]) -> None: ...


def pack(encoded: bytes, log: RunLog, step: str) -> bytes:
    """The payload for ``finish_step``: the bytes themselves, or a reference to a complete artifact."""
    if len(encoded) < INLINE_LIMIT:
        return b"=" + encoded
    return reference(log.store(encoded, "", step))


def reference(artifact: str) -> bytes:
    return b"@" + artifact.encode("ascii")


def unpack(payload: bytes, log: RunLog) -> bytes | None:
    """The encoded value of a payload, or None when its artifact is missing or damaged."""
    if payload[:1] == b"@":
        return log.load(payload[1:].decode("ascii"))
    return payload[1:]


class PitRunLog:
    """The log of one run in the Pit: records in the DAG Tracker, large results in the Artifact Store."""

    def __init__(self, pit: Any, run: str, durability: Durability) -> None:
        self._tracker = pit.dag_tracker
        self._artifacts = pit.artifact_store
        self._run = run
        self._durability = durability

    def recovered(self) -> list[LogRecord]:
        return [LogRecord(*record) for record in self._tracker.recovered(self._run)]

    def attempts(self) -> dict[str, Attempts]:
        return {key: Attempts(failed, at) for key, (failed, at) in self._tracker.attempts(self._run).items()}

    def start_step(self, key: str, name: str, attempt: int, deps: list[str]) -> None:
        self._tracker.start_step(self._run, key, name, attempt, deps)

    def decide_retry(
        self, key: str, attempt: int, kind: str, policy: dict[str, Any], error: str
    ) -> int | None:
        decision = self._tracker.decide_retry(self._run, key, attempt, kind, policy, error)
        return None if decision["retry_at"] is None else int(decision["retry_at"])

    def finish_step(self, key: str, name: str, fingerprint: bytes, state: int, payload: bytes) -> int:
        return int(self._tracker.finish_step(self._run, key, name, fingerprint, state, payload))

    def fire_timer(self, key: str, when: int) -> int:
        return int(self._tracker.fire_timer(self._run, key, when))

    def command(self, command: str) -> int:
        return int(self._tracker.command(self._run, command))

    def store(self, content: bytes, name: str, step: str) -> str:
        return str(self._artifacts.put(content, name=name, media_type=VALUE_TYPE, step=f"{self._run}/{step}"))

    def find(self, name: str) -> str | None:
        found = self._artifacts.find(name)
        return None if found is None else str(found)

    def load(self, artifact: str) -> bytes | None:
        from symphony.errors import PitCorrupt

        try:
            return bytes(self._artifacts.get(artifact))
        except (PitNotFound, PitCorrupt):
            return None

    def when_lasting(self, go_on: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._durability.then(go_on, failed)
