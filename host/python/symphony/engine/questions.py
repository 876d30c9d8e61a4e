"""What a run asks people: ``symphony.ask``, and steps that wait for a retry or a skip.

An answer is a record like any other: first in the log, then delivered by the run's cursor, as in a replay.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from symphony.engine.run_loop import RunLoop, WorkflowFuture, WorkflowTask, running_run_loop
from symphony.errors import InvalidInput, WorkflowChanged, WorkflowEffect, WorkflowError
from symphony.values import coerce
from symphony.values.coercion import converter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from symphony.engine.run_log import LogRecord, RunLog
    from symphony.values.codec import Codec

T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Question(WorkflowFuture[Any]):
    """An input that the workflow waits for; ``key`` names it in the log, ``kind`` is the answer's type."""

    def __init__(self, loop: RunLoop, key: str, name: str, kind: Any, prompt: str) -> None:
        super().__init__(loop, zlib.crc32(key.encode()))
        self.key: Final = key
        self.name: Final = name
        self.kind: Final = kind
        self.prompt: Final = prompt


class Questions:
    """The questions of one run.

    ``steps`` are the prompts of steps that wait for a person, by key; they belong to the run's commands.
    """

    def __init__(self, codec: Codec, log: RunLog) -> None:
        self.steps: Final[dict[str, str]] = {}
        self._asked: dict[str, Question] = {}
        self._open: dict[str, Question] = {}
        self._recorded: set[str] = set()
        self._answered: set[str] = set()
        self._codec = codec
        self._log = log

    def begin(self, recorded: Mapping[str, str]) -> None:
        """Take up a run whose log has these questions open."""
        self._recorded.update(recorded)

    def ask(self, loop: RunLoop, name: str, kind: Any, prompt: str) -> Question:
        """A new question, with the key that it will have on every replay (R5)."""
        task = asyncio.current_task(loop)
        if not isinstance(task, WorkflowTask):
            raise WorkflowEffect(f"{name!r} was asked outside the workflow's own tasks")
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"ask: {name!r} is no name", hint="letters, digits, _ and -: approve")
        converter(kind)  # a hint that cannot be checked is the author's mistake, said at once
        scope = task.scope
        key = f"{scope.prefix}{name}?{scope.ordinal(f'?{name}')}"
        question = Question(loop, key, name, kind, prompt or name)
        self._asked[key] = self._open[key] = question
        return question

    @property
    def open(self) -> list[Question]:
        """The inputs that are waited for, in the order in which they were asked."""
        open_ones = (question for question in self._open.values() if not question.done())
        return [question for question in open_ones if question.key not in self._answered]

    def settle(self) -> None:
        """Write down which questions are open, at the end of a turn that is not replayed."""
        if not self._open and not self._recorded and not self.steps:
            return
        self._open = {key: question for key, question in self._open.items() if not question.done()}
        prompts = {question.key: question.prompt for question in self.open} | self.steps
        for key in sorted(self._recorded - prompts.keys()):  # nobody waits for the answer any more
            self._log.withdraw(key)
        for key, prompt in prompts.items():
            if key not in self._recorded:
                self._log.ask(key, prompt)
        self._recorded = set(prompts)

    def answered(self, key: str) -> None:
        """The log has the answer; it is about to be delivered."""
        self._recorded.discard(key)
        self._answered.add(key)
        self.steps.pop(key, None)

    def deliver(self, record: LogRecord) -> None:
        """Give the recorded answer to whoever waits for it.

        Raises
        ------
        WorkflowChanged
            The workflow does not ask this question.
        """
        question = self._asked.get(record.key)
        if question is None:
            raise WorkflowChanged(
                f"the workflow does not ask the recorded question {record.key}",
                hint="the code has changed or is not deterministic; run the code that began this run",
            )
        if question.done():  # nobody waits for it any more
            return
        try:
            value = coerce(self._codec.decode(record.payload[1:]), question.kind, question.name)
        except Exception as mismatch:  # the type in the code has changed: the same on every replay
            question.set_exception(mismatch)
        else:
            question.set_result(value)

    def close(self) -> None:
        """The workflow has ended: nobody waits for an answer."""
        self.steps.clear()
        for question in self._open.values():
            question.cancel()

    def clear(self) -> None:
        self._asked.clear()
        self._open.clear()
        self.steps.clear()


def question_row(key: str, prompt: str) -> dict[str, str]:
    """An open question as clients see it: an input is answered, a step is retried or skipped."""
    name, mark, _ = key.rpartition(":")[2].rpartition("?")
    kind = "input" if mark else "step"
    return {"key": key, "name": name if mark else key, "kind": kind, "prompt": prompt}


@overload
def ask(name: str, *, prompt: str = "") -> Awaitable[bool]: ...
@overload
def ask(name: str, kind: type[T], *, prompt: str = "") -> Awaitable[T]: ...
@overload
def ask(name: str, kind: Any, *, prompt: str = "") -> Awaitable[Any]: ...


def ask(name: str, kind: Any = bool, *, prompt: str = "") -> Awaitable[Any]:
    """Ask a person, in workflow code; the run waits, through deaths and restarts, until somebody answers.

    Parameters
    ----------
    name:
        What the answer is given to: ``symphony runs input RUN name=VALUE``.
    kind:
        The type of the answer, any type that an input of a workflow can have.
    prompt:
        What the person is told; the name, if left out.

    Raises
    ------
    WorkflowError
        Called outside workflow code.
    InvalidInput
        The name is no name, or the type cannot be checked.

    Example
    -------
    >>> if await symphony.ask("approve", bool, prompt="Deploy to production?"):
    ...     await deploy()
    """
    loop = running_run_loop()
    if loop is None or loop.questions is None:
        raise WorkflowError(
            "symphony.ask was called outside workflow code", hint="ask before or after a step"
        )
    return loop.questions.ask(loop, name, kind, prompt)
