"""What passes between a run and the dispatcher: a step to execute, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from symphony.engine.run_log import RunLog
    from symphony.scheduling import ReadyStep
    from symphony.workflows import Step

DecodedArguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended: state, encoded value or failure, and the payload for the log once it is packed."""

    state: int
    encoded: bytes
    payload: bytes = b""


@dataclass(eq=False, slots=True)
class StepCall:
    """A step to execute.

    ``arguments`` decodes fresh arguments; ``on_done`` is told the outcome, ``on_broken`` that none can be had
    (the log cannot be written). ``attempt`` counts from 1, ``not_before`` is a wall-clock deadline in
    seconds. ``on_retry`` takes the place of another attempt, while the run is paused. ``executor`` is the
    run's, for steps that name none, ``givers`` the plugins of the run's executors. The fields from
    ``stopped`` on are the dispatcher's own; ``leasing`` is the model of which a lease is awaited.
    """

    run: str
    workflow: str
    cwd: str
    key: str
    step: Step[..., Any]
    deps: list[str]
    arguments: Callable[[], DecodedArguments]
    log: RunLog
    on_done: Callable[[Outcome], None]
    on_broken: Callable[[Exception], None]
    attempt: int
    not_before: float
    plugin: str = ""
    executor: str | None = None
    givers: Mapping[str, str] = field(default_factory=dict)
    on_retry: Callable[[], None] | None = None
    stopped: bool = False
    leasing: str | None = None
    task: asyncio.Task[None] | None = None
    backoff: asyncio.TimerHandle | None = None
    ready: ReadyStep | None = field(default=None, repr=False)


class Launcher(Protocol):
    """What executes steps."""

    def submit(self, calls: list[StepCall]) -> None: ...

    def stop(self, call: StepCall) -> None: ...
