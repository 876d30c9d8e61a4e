"""The outside world of a run in a test: a clock that jumps, a codec, and a log in memory that can be cut."""

from __future__ import annotations

import asyncio
import pickle
import selectors
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any

import symphony
from symphony.engine.dispatcher import Dispatcher
from symphony.engine.models import NoModels
from symphony.engine.run import Run
from symphony.engine.run_log import Attempts, LogRecord
from symphony.errors import Conflict
from symphony.values.records import Record

if TYPE_CHECKING:
    from symphony.engine.run_end import RunResult
    from symphony.workflows import Workflow

EPOCH = 1_700_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._clock = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen on the real loop")
        self._clock.jump(timeout)
        return super().select(0)


class PickleCodec:
    """Stands in for the native codec: by value, dataclasses come back as records."""

    def encode(self, value: object, /) -> bytes:
        if isinstance(value, symphony.Handle):
            raise symphony.InvalidInput("a handle cannot be encoded")
        if is_dataclass(value) and not isinstance(value, type):
            value = Record(type(value).__name__, dict(vars(value)))
        return pickle.dumps(value)

    def decode(self, data: bytes, /) -> object:
        return pickle.loads(data)


@dataclass
class MemoryLog:
    """The log of one run; ``clock`` gives microseconds."""

    clock: Callable[[], int] = lambda: EPOCH * 1_000_000
    records: list[LogRecord] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Attempts] = field(default_factory=dict)
    started: list[tuple[str, int]] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    positions: set[int] = field(default_factory=set)
    is_paused: bool = False

    def recovered(self) -> list[LogRecord]:
        return list(self.records)

    def attempts(self) -> dict[str, Attempts]:
        return dict(self.failed)

    def start_step(self, key: str, name: str, attempt: int, deps: list[str]) -> None:
        self.started.append((key, attempt))

    def decide_retry(
        self, key: str, attempt: int, kind: str, policy: dict[str, Any], error: str
    ) -> int | None:
        if attempt >= policy["max_attempts"] or kind in policy["give_up_on"]:
            return None
        wait = min(policy["delay"] * 2 ** (attempt - 1), policy["max_delay"])
        self.failed[key] = Attempts(attempt, self.clock() + int(wait * 1_000_000))
        return self.failed[key].retry_at

    def finish_step(self, key: str, name: str, fingerprint: bytes, state: int, payload: bytes) -> int:
        self.failed.pop(key, None)
        return self._append(LogRecord(1, key, fingerprint, state, payload, self._time()))

    def fire_timer(self, key: str, when: int) -> int:
        return self._append(LogRecord(2, key, b"", 0, b"", max(when, self._time())))

    def obey(
        self,
        position: int,
        command: str,
        key: str = "",
        name: str = "",
        fingerprint: bytes = b"",
        payload: bytes = b"",
    ) -> int | None:
        if position in self.positions:
            return None
        time = self._time()
        if command in ("pause", "resume"):
            if self.is_paused == (command == "pause"):
                raise Conflict(f"the run cannot {command} now")
            self.is_paused = command == "pause"
        if position:
            self.positions.add(position)
        if command in ("pause", "resume"):
            return time
        self.asked.pop(key, None)
        records = {
            "cancel": LogRecord(3, "cancel", b"", 0, b"", time),
            "retry": LogRecord(3, "retry", b"", 0, key.encode(), time),
            "skip": LogRecord(1, key, fingerprint, 3, payload, time),
            "input": LogRecord(4, key, b"", 0, payload, time),
        }
        return self._append(records[command])

    def ask(self, key: str, prompt: str) -> None:
        assert key not in self.asked
        self.asked[key] = prompt

    def withdraw(self, key: str) -> None:
        del self.asked[key]

    def questions(self) -> dict[str, str]:
        return dict(self.asked)

    def paused(self) -> bool:
        return self.is_paused

    def states(self) -> dict[str, str]:
        ended = {record.key for record in self.records if record.kind == 1}
        return {key: "completed" if key in ended else "running" for key, _ in self.started}

    def interrupted(self) -> set[str]:
        return {key for key, state in self.states().items() if state == "running"}

    def store(self, content: bytes, name: str, step: str) -> str:
        artifact = f"a{abs(hash(content)):x}"
        self.artifacts[artifact] = content
        if name:
            self.names[name] = artifact
        return artifact

    def find(self, name: str) -> str | None:
        return self.names.get(name)

    def load(self, artifact: str) -> bytes | None:
        return self.artifacts.get(artifact)

    def when_lasting(self, go_on: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        go_on()

    def _time(self) -> int:
        return max(self.clock(), self.records[-1].time if self.records else 0)

    def _append(self, record: LogRecord) -> int:
        self.records.append(record)
        return record.time


During = Callable[[Run], None]


async def driven(
    workflow: Workflow, inputs: dict[str, Any], log: MemoryLog, during: During | None, **executor: Any
) -> RunResult:
    reported: list[str] = []
    limit = executor.pop("limit", 20)
    models = executor.pop("models", NoModels())
    executing = Dispatcher(PickleCodec(), models, **{"report": reported.append, **executor})
    clock = executor.get("clock", lambda: asyncio.get_running_loop().time() + EPOCH)
    run = Run(
        "run-1",
        workflow,
        inputs,
        name=f"test.{workflow.name}",
        log=log,
        codec=PickleCodec(),
        launcher=executing,
        started=EPOCH * 1_000_000,
        report=reported.append,
        clock=clock,
    )
    run.begin()
    if during is not None:
        during(run)
    try:
        return await asyncio.wait_for(asyncio.shield(run.done), limit)
    finally:
        run.abandon()
        await executing.close()


def result_of(
    workflow: Workflow, inputs: dict[str, Any], log: MemoryLog, during: During | None = None, **executor: Any
) -> RunResult:
    """Drive one run to its end on a real loop, with real threads. ``during`` is called once it has begun."""
    return asyncio.run(driven(workflow, inputs, log, during, **executor))


def virtual_result_of(
    workflow: Workflow,
    inputs: dict[str, Any],
    log: MemoryLog,
    during: During | None = None,
    *,
    later: float = 0,
    **executor: Any,
) -> RunResult:
    """As ``result_of``, on a loop whose clock jumps, without threads.

    The clock goes on ``later`` seconds after the log's last record.
    """
    loop = VirtualLoop()
    began = log.records[-1].time if log.records else EPOCH * 1_000_000
    log.clock = lambda: began + round((loop.time() + later) * 1_000_000)
    executor.setdefault("limit", 10**7)
    executor.setdefault("clock", lambda: log.clock() / 1_000_000)
    try:
        return loop.run_until_complete(driven(workflow, inputs, log, during, **executor))
    finally:
        loop.close()
