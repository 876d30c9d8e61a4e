"""The managed interpreter, ``python -P -m symphony.interpreter``; ``symphonyd`` gives it a socket as fd 3.

Serves the host's requests and drives the runs. It is made to be killed: what must survive is in the log.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import platform
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony import __version__, _host
from symphony.artifact_requests import ArtifactRequests
from symphony.channel import LINE_LIMIT, Channel, UnknownMethod
from symphony.compaction import keep_compact
from symphony.core_components import core_components
from symphony.engine.engine import Engine, Notify, OpenLog
from symphony.engine.marking import HelperThreads, mark_tasks, mark_threads
from symphony.engine.run_log import PitRunLog
from symphony.errors import Incompatible, InvalidInput, NotFound
from symphony.home import Home
from symphony.limits import Limited, impose
from symphony.log_line import log_line
from symphony.model_requests import ModelRequests
from symphony.observing.observers import Observers
from symphony.pit_access import OpenPit, open_pit
from symphony.plugins import SELECTION, PluginHost
from symphony.settings import HostSettings, load_settings
from symphony.shared_loop import SharedLoop, run_through
from symphony.step_output import StepOutput
from symphony.values import json_value
from symphony.values.codec import native_codec
from symphony.values.secret import own_process, teller
from symphony.values.signatures import did_you_mean
from symphony.vitals import WatchedInterpreter, allow_core_dumps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from symphony.artifact_requests import Requests

CHANNEL, EARS, PULSE, STACKS, SECRETS = 3, 4, 6, 7, 8
BESIDES: Final = 64 * 1024
"""Bytes that an answer with the report of a run has besides it."""
TELLING: Final = 2.0
"""Seconds in which plugins are told what happened last, when the interpreter stops."""


@dataclass(frozen=True)
class _Ready:
    """What there is once the interpreter is configured."""

    engine: Engine
    plugins: PluginHost
    pit: OpenPit
    observers: Observers
    requests: Requests


class Interpreter:
    """The requests of the host, one method for each; ``configure`` comes first.

    Parameters
    ----------
    notify:
        Called with the method and parameters of notifications for the host.
    watched:
        The vital signs of this process; None: nobody watches it.
    open_log:
        Gives the log of a run.
    """

    def __init__(
        self, notify: Notify, watched: WatchedInterpreter | None = None, open_log: OpenLog = PitRunLog
    ) -> None:
        self._notify = notify
        self._watched = watched
        self._open_log = open_log
        self._ready: _Ready | None = None
        self._limited = Limited()
        self._resuming: asyncio.Task[None] | None = None
        self._compacting: asyncio.Task[None] | None = None
        self._retirable = 0
        self.stopped = asyncio.Event()
        self._methods: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
            "configure": self._configure,
            "workflows.list": self._workflows_list,
            "run.start": self._run_start,
            "run.resume": self._run_resume,
            "run.command": self._run_command,
            "run.result": self._run_result,
            "run.waits": self._run_waits,
            "runs.forget": self._runs_forget,
            "pit.list": self._pit_list,
            "pit.call": self._pit_call,
            "plugins.reload": self._plugins_reload,
            "stop": self._stop,
        }

    async def handle(self, method: str, params: dict[str, Any]) -> Any:
        """Answer one request."""
        methods = self._methods if self._ready is None else {**self._methods, **self._ready.requests}
        known = methods.get(method)
        if known is None:
            raise UnknownMethod(f"no method {method!r}", hint=did_you_mean(method, methods))
        try:
            return await known(**{name.replace("-", "_"): value for name, value in params.items()})
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                raise InvalidInput(
                    f"{method}: {str(error).partition('() ')[2]}"
                ) from None  # the call itself did not fit
            raise

    @property
    def _configured(self) -> _Ready:
        if self._ready is None:
            raise InvalidInput("the interpreter is not configured yet")
        return self._ready

    async def _configure(
        self,
        home: str,
        prefix: str = sys.prefix,
        version: str = __version__,
        notify: list[int] | None = None,
        no_plugins: bool = False,
        quarantined: list[dict[str, Any]] | None = None,
        suspects: list[tuple[str, str, int]] | None = None,
        commands: list[dict[str, Any]] | None = None,
        settings: list[str] | None = None,
    ) -> dict[str, Any]:
        if self._ready is not None:
            raise InvalidInput("the interpreter is configured already")
        if version != __version__:
            raise Incompatible(
                f"the host is version {version}, this interpreter has {__version__} ({sys.prefix})"
            )
        if prefix and prefix != sys.prefix:
            raise Incompatible(f"the host belongs to {prefix}, this interpreter to {sys.prefix}")
        words = settings or []
        chosen = load_settings(Path(home), words)
        watched = self._watched
        if chosen.select is not None and watched is not None:
            os.environ[SELECTION] = chosen.select
        if watched is None:  # the process is somebody else's
            plugins = PluginHost(Path(home), enabled=not no_plugins, settings=words)
        else:
            if chosen.core_dumps:
                allow_core_dumps()
            self._limited = impose(chosen.limits)
            plugins = PluginHost(
                Path(home), enabled=not no_plugins, importing=watched.importing, settings=words
            )
        plugins.load_all()
        for name, problem in plugins.problems.items():
            if problem.code == "setting":  # which no list shows: the probe knows no settings
                log_line(f"plugin {name} is not loaded: {problem.message}")
        libraries = [str(path) for path in plugins.components]
        ears = None if notify is None else (notify[0], notify[1])
        pit = open_pit(home, libraries, notify=ears, settings=chosen)
        pit.ids = plugins.component_ids()
        try:
            engine = self._engine_over(pit, plugins, chosen, quarantined or [], suspects or [])
        except BaseException:
            pit.close()
            raise
        requests = {**ModelRequests(engine.models).methods(), **ArtifactRequests(pit.native).methods()}
        observers = self._observers_of(Home(home), pit, plugins)
        self._ready = _Ready(engine, plugins, pit, observers, requests)
        await engine.tell_plugins()
        loop = asyncio.get_running_loop()
        self._resuming = loop.create_task(engine.resume_all(commands or []))
        core = [str(library) for library in core_components()]
        everything = [*core, *libraries]
        self._compacting = loop.create_task(
            keep_compact(pit.native, Path(home), everything, log_line, retirable=self._unneeded)
        )
        return {
            "ready": True,
            "version": __version__,
            "abi": list(_host.ABI),
            "python": platform.python_version(),
            "pid": os.getpid(),
            "hang_after": chosen.hang_after,
            "kill_stopped": chosen.kill_stopped,
            "limits": self._limited.text,
            "durability": chosen.durability,
        }

    def _engine_over(
        self,
        pit: OpenPit,
        plugins: PluginHost,
        settings: HostSettings,
        quarantined: list[dict[str, Any]],
        suspects: list[tuple[str, str, int]],
    ) -> Engine:
        return Engine(
            pit.native,
            plugins,
            native_codec(),
            self._notify,
            health_interval=settings.health_interval,
            vitals=None if self._watched is None else self._watched.vitals,
            quarantined=quarantined,
            suspects=suspects,
            open_log=self._open_log,
        )

    def _observers_of(self, home: Home, pit: OpenPit, plugins: PluginHost) -> Observers:
        calling = {} if self._watched is None else {"calling": self._watched.calling}
        observers = Observers(home, pit.native, plugins, native_codec(), log_line, **calling)
        plugins.published = observers.take_over
        observers.take_over()
        return observers

    def _unneeded(self) -> int:
        """The position before which nobody needs the log."""
        needs = None if self._ready is None else self._ready.observers.needs
        return self._retirable if needs is None else min(self._retirable, needs)

    @property
    def engine(self) -> Engine | None:
        """The engine, once there is one."""
        return None if self._ready is None else self._ready.engine

    async def taken_up(self) -> Engine:
        """The engine, once every run that was left unfinished has been taken up."""
        if self._resuming is not None:
            await asyncio.wait([self._resuming])
        return self._configured.engine

    async def _workflows_list(self) -> list[dict[str, Any]]:
        return [
            {
                "name": registered.name,
                "id": registered.id,
                "plugin": registered.plugin,
                "summary": registered.workflow.summary,
                "inputs": registered.workflow.inputs,
            }
            for registered in self._configured.plugins.workflows.values()
        ]

    async def _run_start(
        self,
        run: str,
        workflow: str,
        inputs: dict[str, Any] | None = None,
        text: dict[str, str] | None = None,
        cwd: str = "/",
        plugins: list[str] | None = None,
        executor: str | None = None,
    ) -> dict[str, Any]:
        files = [Path(file) for file in plugins or []]
        name = await self._configured.engine.start(
            run, workflow, inputs or {}, text or {}, Path(cwd), files, executor
        )
        return {"accepted": True, "workflow": name}

    async def _run_resume(self, run: str) -> dict[str, Any]:
        return {"run": run, "workflow": await self._configured.engine.resume(run)}

    async def _run_command(self, run: str, command: str, position: int, **details: Any) -> dict[str, Any]:
        await self._configured.engine.command(run, command, position, **details)
        return {"run": run}

    async def _run_result(self, run: str, artifact: str) -> dict[str, Any]:
        return self._configured.engine.records.report(artifact, at_most=LINE_LIMIT - BESIDES)

    async def _run_waits(self, run: str) -> dict[str, Any]:
        return self._configured.engine.waits(run)

    async def _runs_forget(self, runs: list[str], before: int) -> dict[str, Any]:
        """The history has these runs, and before a position all of the log that no live run needs."""
        tracker = self._configured.pit.native.dag_tracker
        tracker.forget_runs(runs)
        self._retirable = before  # less than before, where the history has to be made anew
        return {"finished": tracker.finished_runs()}

    async def _pit_list(self) -> Any:
        return json_value(self._configured.pit.native.components(), "pit.list")

    async def _pit_call(self, component: str, method: str, args: list[Any] | None = None) -> dict[str, Any]:
        native = self._configured.pit.native
        component = self._configured.plugins.component_id(component)
        try:
            # A method may wait: in a thread it cannot hold up the runs.
            value = await asyncio.to_thread(native.call, component, method, args or [])
        except NotFound as error:
            error.hint = _closest(native.components(), component, method)
            raise
        if inspect.isawaitable(value):
            value = await value
        return {"value": json_value(value, "value")}

    async def _plugins_reload(self) -> dict[str, Any]:
        ready = self._configured
        await asyncio.to_thread(ready.plugins.reload)
        ready.engine.take_over_plugins()
        await ready.engine.tell_plugins()
        await ready.engine.resume_blocked()
        problems = ready.plugins.problems
        return {"stale": sorted(name for name, problem in problems.items() if problem.code == "stale")}

    async def _stop(self, drain: float = 0.0) -> dict[str, Any]:
        for task in (self._resuming, self._compacting):
            if task is not None:
                task.cancel()
        if self._ready is not None:
            await self._ready.engine.stop(float(drain))
            await asyncio.to_thread(self._ready.observers.close, TELLING)
            self._ready.pit.close()
        self._limited.leave()
        self.stopped.set()
        return {}


def _closest(components: list[dict[str, Any]], component: str, method: str) -> str:
    """A hint for who called a method that is not there."""
    known = [item for item in components if component in (item["name"], item["id"])]
    if known:
        return did_you_mean(method, [item["name"] for item in known[0]["methods"]])
    return did_you_mean(component, [item["name"] for item in components])


async def _serve(watched: WatchedInterpreter) -> None:
    connection = socket.socket(fileno=CHANNEL)
    reader, writer = await asyncio.open_connection(sock=connection, limit=LINE_LIMIT)
    channel = Channel(reader, writer)
    interpreter = Interpreter(channel.notify, watched)
    serving = asyncio.ensure_future(channel.serve(interpreter.handle))
    stopped = asyncio.ensure_future(interpreter.stopped.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    await channel.flush()


def main() -> None:
    """Serve until the host says stop or goes away, then leave without waiting for threads of steps."""
    for descriptor in (CHANNEL, EARS, PULSE, STACKS, SECRETS):
        os.set_inheritable(descriptor, False)  # not for the programs that steps start, or become
    sys.stdout, sys.stderr = StepOutput(1), StepOutput(2)
    watched = WatchedInterpreter(PULSE, STACKS)
    mark_threads(watched.vitals)
    own_process(teller(SECRETS))
    # Ctrl-C is for the client. A handler and not SIG_IGN, which child processes of steps would inherit.
    signal.signal(signal.SIGINT, lambda _signal, _frame: None)
    _host.watch_parent(CHANNEL)
    loop = SharedLoop()
    loop.set_default_executor(HelperThreads(watched.vitals))
    mark_tasks(watched.vitals, loop)
    watched.beat_on(loop)
    code = 0
    try:
        run_through(loop, loop.create_task(_serve(watched)))
    except BaseException as error:  # Python's own end would wait for threads of steps
        log_line(f"the interpreter ends: {type(error).__name__}: {error}")
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # they may be a plugin's by now
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
