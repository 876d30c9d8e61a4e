"""What people command of a run that is driven here: pause it, retry or skip a step, answer a question.

Each command is written to the log before it has an effect; those that workflow code can notice are then
delivered in their place, like every record. What cannot apply is refused with the reason, and not written.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.run_log import ANSWER, COMMAND, OUTCOME, SKIPPED, Attempts, LogRecord
from symphony.errors import Conflict, InvalidInput, NotFound
from symphony.values import coerce
from symphony.values.coercion import Mode
from symphony.values.inputs import from_text
from symphony.values.signatures import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.engine.handles import Handle
    from symphony.engine.launching import Launcher, StepCall
    from symphony.engine.questions import Question, Questions
    from symphony.engine.run_calls import RunCalls
    from symphony.engine.run_log import RunLog
    from symphony.values.codec import Codec

RETRY: Final = "retry"
_LONGEST_ANSWER: Final = 256 * 1024


class RunCommands:
    """The commands of one run, and the steps that they hold back.

    Parameters
    ----------
    under_way:
        The steps that were handed to the launcher.
    attempts:
        Failed attempts of steps without an outcome, for the next one.
    arrive:
        Called with each record that was written, to be delivered.
    go_on:
        Called when more may be started than a moment ago.
    """

    def __init__(
        self,
        run: str,
        cwd: str,
        log: RunLog,
        codec: Codec,
        calls: RunCalls,
        questions: Questions,
        launcher: Launcher,
        under_way: dict[Handle[Any], StepCall],
        attempts: dict[str, Attempts],
        arrive: Callable[[LogRecord], None],
        go_on: Callable[[], None],
    ) -> None:
        self.paused = False
        self._run = run
        self._cwd = cwd
        self._log = log
        self._codec = codec
        self._calls = calls
        self._questions = questions
        self._launcher = launcher
        self._under_way = under_way
        self._attempts = attempts
        self._arrive = arrive
        self._go_on = go_on
        self._interrupted: set[str] | None = None
        self._waiting: dict[str, Handle[Any]] = {}
        self._ended: set[str] = set()

    def begin(self) -> None:
        self.paused = self._log.paused()

    # What the run asks before it starts steps.

    def admitted(self) -> list[Handle[Any]]:
        """The steps to be started now; taken from those that are ready."""
        if self.paused:
            return []
        ready = list(self._calls.to_start)
        self._calls.to_start.clear()
        return [handle for handle in ready if handle.key not in self._ended and not self._must_wait(handle)]

    def _must_wait(self, handle: Handle[Any]) -> bool:
        """Whether a death interrupted the step, and only a person may say that it is executed again."""
        if handle.step.options.idempotent:
            return False
        if self._interrupted is None:
            self._interrupted = self._log.interrupted()
        if handle.key not in self._interrupted:
            return False
        self._waiting[handle.key] = handle
        self._questions.steps[handle.key] = f"step {handle.key} was interrupted and may have had its effect"
        return True

    def needs_person(self, key: str) -> bool:
        """Whether a step waits to be retried or skipped."""
        return key in self._waiting

    def put_back(self, handle: Handle[Any]) -> None:
        """A step that was handed out has not started, or waits for its next attempt: it is ready again."""
        call = self._under_way.pop(handle)
        self._launcher.stop(call)
        self._attempts[handle.key] = Attempts(call.attempt - 1, int(call.not_before * 1_000_000))
        self._calls.to_start[handle] = None

    def forget(self, handle: Handle[Any]) -> None:
        """The handle is done, by whatever it was."""
        if self._waiting.pop(handle.key, None) is not None:
            self._questions.steps.pop(handle.key, None)

    def ended(self, key: str) -> None:
        """The log has the step's outcome; it is about to be delivered."""
        self._ended.add(key)

    def delivered(self, key: str) -> None:
        self._ended.discard(key)

    def clear(self) -> None:
        self._waiting.clear()

    # Commands.

    async def pause(self, position: int) -> None:
        """Start no more steps; those that run finish."""
        before = self.paused
        self.paused = True
        later = list(self._calls.to_start)
        self._calls.to_start.clear()
        for handle, call in list(self._under_way.items()):
            if call.task is None:
                self.put_back(handle)
            else:
                call.on_retry = lambda handle=handle: self.put_back(handle)
        self._calls.to_start.update(dict.fromkeys(later))
        # Steps that the executor has just started write down their start first: a paused run refuses it.
        await asyncio.sleep(0)
        try:
            self._log.obey(position, "pause")
        except BaseException:
            if not before:
                self._release()
            raise

    def unpause(self, position: int) -> None:
        if self._log.obey(position, "resume") is not None:
            self._release()

    def _release(self) -> None:
        self.paused = False
        for call in self._under_way.values():
            call.on_retry = None
        self._go_on()

    def retry(self, key: str, position: int) -> None:
        """Execute a step again that waits for a person, or now one that waits for its next attempt.

        Raises
        ------
        NotFound, Conflict
            There is no such step, or it cannot be retried: the message says why.
        """
        failed = self._calls.retriable(key)
        handle = self._calls.by_key.get(key) if failed is None else failed
        if handle is None or key in self._ended or (failed is None and handle.done()):
            raise self._no_step(key)
        call = self._under_way.get(handle)
        attempts = self._attempts.get(key, Attempts()).failed if call is None else call.attempt - 1
        in_backoff = attempts > 0 and (call is None or call.task is None)
        if failed is None and key not in self._waiting and not in_backoff:
            state = "running" if call is not None and call.task is not None else "not started yet"
            raise Conflict(f"step {key} is {state}: it cannot be retried")
        moment = self._log.obey(position, RETRY, key)
        if moment is None:
            return
        self._questions.answered(key)
        if call is not None:
            self.put_back(handle)
        elif self._waiting.pop(key, None) is not None:
            self._calls.to_start[handle] = None
        self._attempts.pop(key, None)
        if self._interrupted is not None:
            self._interrupted.discard(key)
        self._arrive(LogRecord(COMMAND, RETRY, b"", 0, key.encode(), moment))
        self._go_on()

    def skip(self, key: str, position: int) -> None:
        """End a step that has not ended, with None as its result; those who need it go on.

        Raises
        ------
        NotFound, Conflict
            There is no such step, or it has ended.
        """
        handle = self._calls.by_key.get(key)
        if handle is None or key in self._ended or handle.done():
            raise self._no_step(key)
        payload = b"=" + self._codec.encode(None)
        moment = self._log.obey(position, "skip", key, handle.name, handle.fingerprint, payload)
        if moment is None:
            return
        self.ended(key)
        self._questions.answered(key)
        self._waiting.pop(key, None)
        self._calls.to_start.pop(handle, None)
        call = self._under_way.pop(handle, None)
        if call is not None:
            self._launcher.stop(call)
        self._arrive(LogRecord(OUTCOME, key, handle.fingerprint, SKIPPED, payload, moment))

    def provide(self, name: str, position: int, *, value: Any = None, text: str | None = None) -> None:
        """Answer a question, by its name or key, with a JSON value or with text as it was typed.

        Raises
        ------
        NotFound
            Nothing of this name is asked.
        InvalidInput
            The answer is not of the type that is asked for.
        """
        question = self._question(name)
        mode = Mode(json=True, cwd=Path(self._cwd))
        if text is None:
            answer = coerce(value, question.kind, question.name, mode)
        else:
            answer = from_text(question.name, question.kind, text, mode)
        encoded = self._codec.encode(answer)
        if len(encoded) > _LONGEST_ANSWER:
            raise InvalidInput(
                f"{name}: the answer has {len(encoded):,} bytes, at most {_LONGEST_ANSWER:,} are taken",
                hint="write it to a file, and give the file's path",
            )
        moment = self._log.obey(position, "input", question.key, payload=b"=" + encoded)
        if moment is None:
            return
        self._questions.answered(question.key)
        self._arrive(LogRecord(ANSWER, question.key, b"", 0, b"=" + encoded, moment))

    def _question(self, name: str) -> Question:
        known = self._questions.open
        for question in known:
            if name in (question.key, question.name):
                return question
        if name in self._waiting:
            raise Conflict(
                f"step {name} waits for a retry or a skip, not for an input",
                hint=f"symphony runs retry {self._run} {name}",
            )
        asked = [question.name for question in known]
        hint = did_you_mean(name, asked) if asked else f"it asks nothing: symphony runs show {self._run}"
        raise NotFound(f"run {self._run} does not ask for {name!r}", hint=hint)

    def _no_step(self, key: str) -> NotFound | Conflict:
        """Why a command cannot reach a step."""
        states = self._log.states()
        if key not in states:
            return NotFound(f"run {self._run} has no step {key!r}", hint=did_you_mean(key, states))
        if states[key] == "failed":
            return Conflict(
                f"step {key} has failed, and the workflow has gone on with its failure",
                hint="start a new run: what this one has cached is reused",
            )
        return Conflict(f"step {key} is {states[key]} already")
