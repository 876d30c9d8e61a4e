"""Run one workflow in the test's own process, on the Pit that the test has open.

Everything is real but the host: the engine, the log, the steps. So breakpoints, ``monkeypatch`` and workflows
that are defined in a test work.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.engine import Engine
from symphony.engine.run_log import ANSWER, OUTCOME, TIMER, LogRecord, PitRunLog
from symphony.host import result_of
from symphony.plugins import PluginHost
from symphony.plugins.loaded import RegisteredWorkflow
from symphony.values import json_value
from symphony.values.codec import native_codec
from symphony.workflows import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from symphony.engine.durability import Durability
    from symphony.host import RunResult
    from symphony.pit_access import OpenPit

PLUGIN: Final = "under-test"


class TestedPlugins(PluginHost):
    """The plugins of a home, and the workflow under test as if a plugin had registered it."""

    __test__ = False  # no class of tests, whatever its name says

    workflow: Workflow | None = None

    def find_workflow(self, name: str, files: Collection[str] | None = None) -> RegisteredWorkflow:
        if self.workflow is None or name != f"{PLUGIN}.{self.workflow.name}":
            return super().find_workflow(name, files)
        return RegisteredWorkflow(
            name=name,
            id=f"{PLUGIN}:{self.workflow.name}",
            plugin=PLUGIN,
            version="",
            file=None,
            sha256=None,
            workflow=self.workflow,
        )


class KeptLog(PitRunLog):
    """The log of a run that keeps its records, and has the test answer what the workflow asks."""

    def __init__(
        self, pit: Any, run: str, durability: Durability, answer: Callable[[str, str], None]
    ) -> None:
        super().__init__(pit, run, durability)
        self.records: list[LogRecord] = []
        self._answer = answer

    def finish_step(self, key: str, name: str, fingerprint: bytes, state: int, payload: bytes) -> int:
        moment = super().finish_step(key, name, fingerprint, state, payload)
        self.records.append(LogRecord(OUTCOME, key, fingerprint, state, payload, moment))
        return moment

    def fire_timer(self, key: str, when: int) -> int:
        moment = super().fire_timer(key, when)
        self.records.append(LogRecord(TIMER, key, b"", 0, b"", moment))
        return moment

    def obey(
        self,
        position: int,
        command: str,
        key: str = "",
        name: str = "",
        fingerprint: bytes = b"",
        payload: bytes = b"",
    ) -> int | None:
        moment = super().obey(position, command, key, name, fingerprint, payload)
        if moment is not None and command == "input":
            self.records.append(LogRecord(ANSWER, key, b"", 0, payload, moment))
        return moment

    def ask(self, key: str, prompt: str) -> None:
        super().ask(key, prompt)
        self._answer(key, prompt)


class WorkflowRunner:
    """Runs workflows to their ends.

    Parameters
    ----------
    pit:
        The Pit that the test has open.
    plugins:
        The plugins loaded into this process.

    ``answers`` are given to what a workflow asks (``symphony.ask``), by name. ``run`` is the run that was
    last begun, ``log`` its log.
    """

    def __init__(self, pit: OpenPit, plugins: TestedPlugins) -> None:
        self.answers: dict[str, Any] = {}
        self.log: KeptLog | None = None
        self.run = ""
        self._pit = pit
        self._plugins = plugins

    def __call__(self, workflow: Workflow | str, /, **inputs: Any) -> RunResult:
        """Run a workflow, or the one of this name, and wait for its end.

        Raises
        ------
        RunFailed, InvalidInput, NotFound
            As ``symphony.Host.run``.
        AssertionError
            The workflow asks for what is not among ``answers``.
        """
        given = {name: json_value(value, name) for name, value in inputs.items()}
        result: RunResult = completed(self._lived(self.named(workflow), given))
        return result

    def named(self, workflow: Workflow | str) -> str:
        """The name that a workflow is run under, here."""
        if isinstance(workflow, str):
            return workflow
        if not isinstance(workflow, Workflow):
            raise TypeError(f"{workflow!r} is neither a workflow nor the name of one")
        self._plugins.workflow = workflow
        return f"{PLUGIN}.{workflow.name}"

    def workflow(self, name: str) -> Workflow:
        """The workflow of a name. Raises ``NotFound``."""
        return self._plugins.find_workflow(name).workflow

    async def _lived(self, name: str, inputs: Mapping[str, Any]) -> RunResult:
        """The life of an engine that has this run only."""
        open_questions: list[str] = []
        loop = asyncio.get_running_loop()
        run = self.run = secrets.token_hex(13)

        def answer(key: str, prompt: str) -> None:
            name = asked(key)
            known = name in self.answers
            if not known:
                open_questions.append(unanswered(name, prompt))
            details = {"name": key, "value": self.answers[name]} if known else {}
            # Not in the turn that asks.
            commands.append(loop.create_task(engine.command(run, "input" if known else "cancel", **details)))

        def open_log(pit: Any, run: str, durability: Durability) -> KeptLog:
            self.log = KeptLog(pit, run, durability, answer)
            return self.log

        commands: list[asyncio.Task[None]] = []
        engine = Engine(
            self._pit.native, self._plugins, native_codec(), lambda method, params: None, open_log=open_log
        )
        try:
            file = self._plugins.find_workflow(name).file
            await engine.start(run, name, inputs, {}, Path.cwd(), [] if file is None else [file])
            await engine.wait(run)
            for command in commands:
                await command
            if open_questions:
                raise AssertionError(open_questions[0])
            return result_of(engine.document(run))
        finally:
            await engine.stop(0)


def asked(key: str) -> str:
    """The name of a question, of its key."""
    return key.rpartition(":")[2].partition("?")[0]


def unanswered(name: str, prompt: str) -> str:
    """What a test is told that gives no answer."""
    return f"the workflow asks {name!r} ({prompt}): set run_workflow.answers[{name!r}]"


def completed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, in a thread where a loop runs in this one."""
    if not _in_a_loop():
        return asyncio.run(coroutine)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
