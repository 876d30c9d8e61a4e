"""What the engine writes down about one run, and reads back.

The only module that knows the shape of the Pit's answers. Nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from symphony.errors import Conflict, PitConflict, PitNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.engine.durability import Durability

INLINE_LIMIT: Final = 4096
"""Results up to this many encoded bytes lie in the log itself, larger ones in the Artifact Store."""

OUTCOME, TIMER, COMMAND, ANSWER = 1, 2, 3, 4
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
    """The log of one run. ``finish_step``, ``fire_timer`` and ``obey`` answer the record's time;
    ``decide_retry`` when the next attempt may start (microseconds), or None when there is none.

    ``obey`` records a command once: None means that the one of this position in the host log (0: it stands in
    none) was recorded before. ``questions`` are the open ones with their prompts.

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
    def obey(
        self,
        position: int,
        command: str,
        key: str = "",
        name: str = "",
        fingerprint: bytes = b"",
        payload: bytes = b"",
    ) -> int | None: ...
    def ask(self, key: str, prompt: str) -> None: ...
    def withdraw(self, key: str) -> None: ...
    def questions(self) -> dict[str, str]: ...
    def paused(self) -> bool: ...
    def states(self) -> dict[str, str]: ...
    def interrupted(self) -> set[str]: ...
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

    def obey(
        self,
        position: int,
        command: str,
        key: str = "",
        name: str = "",
        fingerprint: bytes = b"",
        payload: bytes = b"",
    ) -> int | None:
        try:
            moment = self._tracker.obey(self._run, position, command, key, name, fingerprint, payload)
        except (PitConflict, PitNotFound) as refused:
            raise Conflict(str(refused), hint=f"symphony runs show {self._run}") from refused
        return None if moment is None else int(moment)

    def ask(self, key: str, prompt: str) -> None:
        self._tracker.wait_for_input(self._run, key, prompt)

    def withdraw(self, key: str) -> None:
        self._tracker.withdraw(self._run, key)

    def questions(self) -> dict[str, str]:
        return dict(self._tracker.run_info(self._run)["questions"])

    def paused(self) -> bool:
        return bool(self._tracker.run_info(self._run)["state"] == "paused")

    def states(self) -> dict[str, str]:
        return dict(self._tracker.states(self._run))

    def interrupted(self) -> set[str]:
        """Steps that were started and have neither an outcome nor a failed attempt."""
        return {key for key, state in self.states().items() if state == "running"}

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
