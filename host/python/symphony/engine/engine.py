"""All runs of one interpreter: started, taken up again, commanded, finished; inside each is its driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony import pit_access
from symphony.engine.dispatcher import Dispatcher
from symphony.engine.durability import Durability
from symphony.engine.models import ModelPool
from symphony.engine.plugin_life import PluginLives
from symphony.engine.progress_reports import ProgressReports
from symphony.engine.quarantine import quarantine_result
from symphony.engine.run import Run
from symphony.engine.run_end import RunResult
from symphony.engine.run_log import PitRunLog, RunLog
from symphony.engine.run_records import RunRecords, first_record
from symphony.engine.waits import waits
from symphony.errors import (
    Conflict,
    HostUnavailable,
    InvalidInput,
    PitIO,
    Quarantined,
    Refused,
    SymphonyError,
    WorkflowChanged,
)
from symphony.log_line import log_line
from symphony.values.inputs import bind_inputs, restore_inputs
from symphony.values.secret import require_secrets

if TYPE_CHECKING:
    from symphony._host import Vitals
    from symphony.plugins import PluginHost
    from symphony.plugins.loaded import RegisteredWorkflow
    from symphony.values.codec import Codec

Notify = Callable[[str, dict[str, Any]], None]
OpenLog = Callable[[Any, str, Durability], RunLog]


class Engine:
    """The runs of this interpreter.

    Parameters
    ----------
    pit:
        The open Pit.
    plugins:
        The plugins that were loaded; their models and their policy are taken over.
    codec:
        The bridge's codec.
    notify:
        Called with the method and parameters of notifications for the host.
    health_interval:
        Seconds between the health checks of loaded models; 0 = none.
    vitals:
        Where the host sees which steps are in flight; None: nobody watches.
    quarantined:
        Steps that ended the interpreter too often, as the host counts it; their runs fail.
    suspects:
        Run and key of steps that are first executed with nothing beside them, and the deaths near to them.
    open_log:
        Gives the log of a run.

    Example
    -------
    >>> engine = Engine(pit, plugins, native_codec(), notify)
    >>> await engine.start("01j...", "hello.greet", {"name": "World"}, {}, Path.cwd(), [])
    'hello.greet'
    """

    def __init__(
        self,
        pit: Any,
        plugins: PluginHost,
        codec: Codec,
        notify: Notify,
        *,
        health_interval: float = 30.0,
        vitals: Vitals | None = None,
        quarantined: Iterable[Mapping[str, Any]] = (),
        suspects: Iterable[tuple[str, str, int]] = (),
        open_log: OpenLog = PitRunLog,
    ) -> None:
        self._pit = pit
        self._open_log = open_log
        self.records = RunRecords(pit)
        self._durability = Durability(pit)
        self._plugins = plugins
        self._codec = codec
        self._notify = notify
        self.models = ModelPool(pit.pool_manager, log_line, plugins.model_name)
        progress = ProgressReports(asyncio.get_running_loop(), notify)
        self._dispatcher = Dispatcher(codec, self.models, progress=progress, report=log_line, vitals=vitals)
        self._dispatcher.care.suspect({(run, key): deaths for run, key, deaths in suspects})
        self._quarantined: Final = {str(step["run"]): step for step in quarantined}
        self._runs: dict[str, Run] = {}
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._blocked: dict[str, SymphonyError] = {}
        self._stopping = False
        self._lives = PluginLives(plugins.home, pit_access.pit, log_line)
        pit.serve_callouts(asyncio.get_running_loop(), self.models.answer)
        self.take_over_plugins()
        self.models.watch(health_interval)

    def take_over_plugins(self) -> None:
        """Make known what the loaded plugins give."""
        for model in self._plugins.models.values():
            self.models.register(
                model.name, model.provider, model.plugin, model.memory, model.instances, **model.terms
            )
        self.models.keep(self._plugins.models)
        plugins = self._plugins
        self._dispatcher.take_over(
            plugins.executors, plugins.names, plugins.middleware, plugins.sources, plugins.conductor
        )

    async def tell_plugins(self) -> None:
        """Tell plugins that were loaded that the interpreter has started."""
        await self._lives.start(self._plugins.lives)

    @property
    def live(self) -> list[str]:
        """The runs that are being driven."""
        return list(self._runs)

    async def start(
        self,
        run_id: str,
        workflow: str,
        inputs: Mapping[str, Any],
        text: Mapping[str, str],
        cwd: Path,
        files: list[Path],
        executor: str | None = None,
    ) -> str:
        """Record and begin a run, and answer the workflow's full name. A known run id is only answered again.

        Raises
        ------
        InvalidInput
            An input is wrong; nothing is recorded then.
        NotFound, PluginBroken
            There is no such workflow or executor, or its plugin does not load.
        HostUnavailable
            The interpreter is stopping.
        """
        known = self.records.find(run_id)
        if known is not None:
            return str(known["about"]["workflow"])
        if self._stopping:
            raise HostUnavailable("the interpreter is stopping", hint="try again")
        loaded = [await asyncio.to_thread(self._plugins.load_file, file) for file in files]
        misconfigured = any(problem.code == "setting" for problem in self._plugins.problems.values())
        outdated = misconfigured or self._plugins.outdated()
        if outdated:  # the settings may have been mended meanwhile
            await asyncio.to_thread(self._plugins.reload)
        if files or outdated:
            self.take_over_plugins()
            await self.tell_plugins()
        registered = self._plugins.find_workflow(workflow, loaded)
        if executor is not None:
            executor = self._dispatcher.lanes.of_run(executor, self._plugins.files - set(loaded)).name
        bound = bind_inputs(registered.workflow, inputs, text, cwd)
        encoded = self._codec.encode(bound)
        # What cannot come back is refused now, as is a secret that cannot be read.
        require_secrets(self._restored(registered, encoded))
        if self.records.find(run_id) is not None:  # asked for twice while the file was loaded
            return registered.name
        about = first_record(registered, cwd, executor, self._dispatcher.lanes.givers(), files)
        self.records.accept(run_id, about, encoded)
        self._begin(run_id, registered)
        await self._durability.settled()
        return registered.name

    async def resume_all(self, commands: Iterable[Mapping[str, Any]] = ()) -> None:
        """Take up every live run; one that cannot go on is reported and does not hinder the others.

        ``commands`` are those that the host is about to give: a run to be paused or cancelled must not
        start a step before.
        """
        for given in commands:
            if given["command"] in ("cancel", "pause", "unpause"):
                with suppress(SymphonyError):  # whoever gave it is told when the host gives it
                    await self.command(given["run"], given["command"], given["position"])
        await self._take_up(self.records.live())

    async def resume_blocked(self) -> None:
        """Try again to take up the runs whose plugin was quarantined, or not to be used."""
        waiting = [
            run_id for run_id, error in self._blocked.items() if isinstance(error, Quarantined | Refused)
        ]
        await self._take_up(waiting)
        for run_id in waiting:
            if run_id not in self._blocked:
                self._notify("unblocked", {"run": run_id})

    async def _take_up(self, runs: Iterable[str]) -> None:
        for run_id in runs:
            try:
                await self.resume(run_id)
            except SymphonyError as error:
                self._block(run_id, error)
            except Exception as error:  # loading a plugin's file may raise anything
                self._block(run_id, SymphonyError(f"{type(error).__name__}: {error}"))

    async def resume(self, run_id: str) -> str:
        """Take up a live run from where its log ends, and answer the workflow's full name.

        Raises
        ------
        NotFound
            There is no such run, or its workflow is gone; the run stays as it is.
        Conflict
            The run has ended.
        PluginBroken
            The plugin does not load; the run stays as it is.
        """
        info = self.records.require_live(run_id)
        about = info["about"]
        if run_id in self._runs:
            return str(about["workflow"])
        if self._stopping:
            raise HostUnavailable("the interpreter is stopping", hint="try again")
        if run_id in self._quarantined:
            self._record_end(run_id, quarantine_result(self._quarantined[run_id], info["steps"]))
            return str(about["workflow"])
        file = about["plugin"].get("file")
        files = about.get("files", [] if file is None else [file])
        loaded = [await asyncio.to_thread(self._plugins.load_file, Path(each)) for each in files]
        if files:
            self.take_over_plugins()
            await self.tell_plugins()
        registered = self._plugins.find_workflow(about["workflow"], loaded)
        self.records.require_live(run_id)  # it may have been cancelled while the file was loaded
        if run_id not in self._runs:
            self._begin(run_id, registered)
        return registered.name

    async def cancel(self, run_id: str, position: int = 0) -> None:
        """Record a cancellation; the workflow gets CancelledError, a run that is not driven ends at once.

        Raises
        ------
        NotFound, Conflict
            There is no such run, or it has ended.
        """
        self.records.require_live(run_id)
        run = self._runs.get(run_id)
        if run is not None:
            run.cancel(position)
        else:
            self._log_of(run_id).obey(position, "cancel")
            self._blocked.pop(run_id, None)
            self._record_end(run_id, RunResult("cancelled"))
        await self._durability.settled()

    async def command(self, run_id: str, command: str, position: int = 0, **details: Any) -> None:
        """Obey a command of the host: at most once for each position in the host log.

        Parameters
        ----------
        command:
            cancel, pause, unpause; retry and skip, of ``step``; input, to ``name``, of ``value`` or ``text``.

        Raises
        ------
        NotFound
            There is no such run, step or question.
        Conflict
            The command cannot apply now; the message says why.
        InvalidInput
            An answer is not of the type that is asked for.
        HostUnavailable
            The interpreter is stopping.
        """
        if self._stopping:
            raise HostUnavailable("the interpreter is stopping", hint="the next one obeys")
        if command == "cancel":
            if not self.ended(run_id):
                await self.cancel(run_id, position)
            return  # one that has ended may have ended by this, given once before
        if position in self.records.require_live(run_id)["commands"]:
            return  # an interpreter before this one obeyed, and died before it could say so
        run = self._runs.get(run_id)
        if command in ("pause", "unpause") and run is None:
            self._log_of(run_id).obey(position, "pause" if command == "pause" else "resume")
        elif command == "pause" and run is not None:
            await run.commands.pause(position)
        elif command == "unpause" and run is not None:
            run.commands.unpause(position)
        else:
            commands = (await self._caught_up(run_id)).commands
            if command == "retry":
                commands.retry(position=position, key=details["step"])
            elif command == "skip":
                commands.skip(position=position, key=details["step"])
            elif command == "input":
                commands.provide(position=position, **details)
            else:
                raise InvalidInput(f"there is no command {command!r}")
        await self._durability.settled()

    async def _caught_up(self, run_id: str) -> Run:
        """The run, driven, and with all its records delivered: its steps and questions are known now."""
        await self.resume(run_id)
        run = self._runs.get(run_id)
        if run is not None:
            either: list[asyncio.Future[Any]] = [run.caught_up, run.done]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if run is None or run.done.done():
            self.records.require_live(run_id)
            blocked = self._blocked.get(run_id)
            raise Conflict(f"run {run_id} cannot go on now: {blocked}", hint=f"symphony runs show {run_id}")
        return run

    def waits(self, run_id: str) -> dict[str, Any]:
        """What a live run waits for now; see ``symphony.engine.waits``."""
        run = self._runs.get(run_id)
        if run is None:
            return {"because": "the interpreter has not taken it up yet", "steps": []}
        return waits(run, self._dispatcher)

    def _log_of(self, run_id: str) -> RunLog:
        return self._open_log(self._pit, run_id, self._durability)

    async def wait(self, run_id: str) -> None:
        """Return once nobody works on the run any more: it has ended, it cannot go on, or it never began."""
        while (driving := self._driving.get(run_id)) is not None:
            await asyncio.wait([driving])

    def ended(self, run_id: str) -> bool:
        """Whether the run's end is recorded."""
        info = self.records.find(run_id)
        return info is not None and info["finished"] is not None

    def document(self, run_id: str) -> dict[str, Any]:
        """As of the records; of a run that cannot go on it raises why."""
        if run_id in self._blocked and not self.ended(run_id):
            raise self._blocked[run_id]
        return self.records.document(run_id)

    def waiting(self, run_id: str) -> dict[str, Any] | None:
        """What clients are shown of a run that does nothing before a person answers; None of any other."""
        run = self._runs.get(run_id)
        return None if run is None or run.commands.paused else self.records.waiting(run_id)

    @property
    def stopping(self) -> bool:
        """Whether no run is taken on or taken up any more."""
        return self._stopping

    async def stop(self, drain: float) -> None:
        """Accept nothing more, let running steps finish for some seconds, then let go of everything."""
        self._stopping = True
        await self._dispatcher.drain(drain)
        for run in list(self._runs.values()):
            run.abandon()
        await self._dispatcher.close()
        await self._lives.stop()
        await self.models.unload_all()

    def join_threads(self, seconds: float) -> None:
        """After ``stop``: wait for the threads of steps, but not longer than so many seconds."""
        self._dispatcher.join(seconds)

    # Driving runs.

    def _begin(self, run_id: str, registered: RegisteredWorkflow) -> None:
        info = self.records.require(run_id)
        about = info["about"]
        executor, givers = about.get("executor"), about.get("executors", {})
        if executor is not None:
            self._dispatcher.lanes.find(executor, registered.plugin, givers, f"run {run_id}")
        inputs = self._restored(registered, bytes(info["inputs"]))
        require_secrets(inputs)
        run = Run(
            run_id,
            registered.workflow,
            inputs,
            name=registered.name,
            log=self._log_of(run_id),
            codec=self._codec,
            launcher=self._dispatcher,
            started=int(info["accepted"]),
            cwd=str(about["cwd"]),
            plugin=registered.plugin,
            executor=executor,
            givers=givers,
            vitals=self._dispatcher.vitals,
            report=lambda line: log_line(f"run {run_id}: {line}"),
        )
        self._blocked.pop(run_id, None)
        run.begin()
        self._runs[run_id] = run
        task = asyncio.get_running_loop().create_task(self._follow(run))
        self._driving[run_id] = task

    async def _follow(self, run: Run) -> None:
        try:
            result = await run.done
        except asyncio.CancelledError:
            return  # abandoned: the interpreter stops
        except WorkflowChanged as error:
            self._block(run.id, self.records.with_seeds(run.id, error))
        except SymphonyError as error:
            self._block(run.id, error)
        except Exception as error:
            self._block(run.id, SymphonyError(f"{type(error).__name__}: {error}"))
        else:
            self._record_end(run.id, result, run)
        finally:
            self._runs.pop(run.id, None)
            self._driving.pop(run.id, None)

    def _restored(self, registered: RegisteredWorkflow, encoded: bytes) -> dict[str, Any]:
        inputs: Any = self._codec.decode(encoded)
        return restore_inputs(registered.workflow, dict(inputs))

    def _record_end(self, run_id: str, result: RunResult, run: Run | None = None) -> None:
        try:
            self.records.finish(run_id, result, None if run is None else run.workflow)
        except SymphonyError as error:
            self._block(run_id, error)
        except Exception as error:  # such as MemoryError: whoever waits for the run must be told
            self._block(run_id, SymphonyError(f"its end cannot be recorded: {type(error).__name__}: {error}"))

    def _block(self, run_id: str, error: SymphonyError) -> None:
        """The run is not over but cannot go on now: say so, and leave its records as they are."""
        if isinstance(error, PitIO) and not error.hint:
            error.hint = f"free space in the home, then: symphony runs resume {run_id}"
        self._blocked[run_id] = error
        hint = f" ({error.hint})" if error.hint else ""
        log_line(f"run {run_id} is left as it is: {type(error).__name__}: {error}{hint}")
        self._notify(
            "blocked",
            {"run": run_id, "type": type(error).__name__, "message": str(error), "hint": error.hint},
        )
