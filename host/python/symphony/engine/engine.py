"""All runs of one interpreter: started, taken up again, cancelled, finished.

Knows what is recorded about a run as a whole; what happens inside a run is its driver's business.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from json import dumps, loads  # by these names, since a plugin may put others into the module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony import pit_access
from symphony.engine.dispatcher import Dispatcher
from symphony.engine.durability import Durability
from symphony.engine.models import ModelPool
from symphony.engine.plugin_life import PluginLives
from symphony.engine.quarantine import quarantine_result
from symphony.engine.questions import question_row
from symphony.engine.run import Run
from symphony.engine.run_end import RunResult
from symphony.engine.run_log import INLINE_LIMIT, PitRunLog, RunLog, reference
from symphony.engine.run_report import run_report
from symphony.engine.waits import waits
from symphony.errors import (
    Conflict,
    HostUnavailable,
    InvalidInput,
    NotFound,
    PitIO,
    PitNotFound,
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
    from symphony.engine.launching import StepCall
    from symphony.plugins import PluginHost
    from symphony.plugins.loaded import RegisteredWorkflow
    from symphony.values.codec import Codec

Notify = Callable[[str, dict[str, Any]], None]
OpenLog = Callable[[Any, str, Durability], RunLog]
_PROGRESS_DELAY: Final = 0.005
HASHES: Final = f"{hash('symphony') & 0xFFFF_FFFF:08x}"
"""Tells apart the seeds of Python's string hashes, by which sets of strings have their order."""


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
        self._tracker = pit.dag_tracker
        self._durability = Durability(pit)
        self._plugins = plugins
        self._codec = codec
        self._notify = notify
        self.models = ModelPool(pit.pool_manager, log_line, plugins.model_name)
        self._dispatcher = Dispatcher(
            codec, self.models, progress=self._progress, report=log_line, vitals=vitals
        )
        self._dispatcher.care.suspect({(run, key): deaths for run, key, deaths in suspects})
        self._quarantined: Final = {str(step["run"]): step for step in quarantined}
        self._runs: dict[str, Run] = {}
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._blocked: dict[str, SymphonyError] = {}
        self._pending_progress: dict[tuple[str, str], dict[str, Any]] = {}
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
        known = self._info(run_id)
        if known is not None:
            return str(loads(known["info"])["workflow"])
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
        require_secrets(restore_inputs(registered.workflow, _decoded(self._codec, encoded)))
        if self._info(run_id) is not None:  # asked for twice while the file was loaded
            return registered.name
        about = _info(registered, cwd, executor, self._dispatcher.lanes.givers(), files)
        self._tracker.accept_run(run_id, dumps(about).encode(), encoded)
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
        await self._take_up(self._tracker.live_runs())

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
        info = self._live_info(run_id)
        about = loads(info["info"])
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
        self._live_info(run_id)  # it may have been cancelled while the file was loaded
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
        self._live_info(run_id)
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
            info = self._info(run_id)
            if info is None or info["finished"] is None:
                await self.cancel(run_id, position)
            return  # one that has ended may have ended by this, given once before
        if position in self._live_info(run_id)["commands"]:
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
            self._live_info(run_id)
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
        info = self._info(run_id)
        return info is not None and info["finished"] is not None

    def document(self, run_id: str) -> dict[str, Any]:
        """What clients are shown of a run that has ended; raises as ``result``."""
        result = self.result(run_id)
        info = self._tracker.run_info(run_id)
        return {
            "run": run_id,
            "workflow": loads(info["info"])["workflow"],
            "status": info["status"],
            **result,
            "seconds": (info["finished"] - info["accepted"]) / 1e6,
        }

    def waiting(self, run_id: str) -> dict[str, Any] | None:
        """What clients are shown of a run that does nothing before a person answers; None of any other."""
        info, now = self._tracker.run_info(run_id), time.time_ns() // 1000
        run, steps = self._runs.get(run_id), info["steps"]
        idle = run is not None and not run.commands.paused and not steps.get("running")
        if not idle or info["finished"] is not None or not info["questions"]:
            return None
        failed = steps.get("failed", 0)
        executed = steps.get("completed", 0) + failed
        return {
            "run": run_id,
            "workflow": loads(info["info"])["workflow"],
            "status": "waiting",
            "result": None,
            "error": None,
            "steps": {
                "executed": executed,
                "reused": steps.get("cached", 0),
                "failed": failed,
                "skipped": steps.get("skipped", 0),
            },
            "seconds": (now - info["accepted"]) / 1e6,
            "questions": [question_row(key, prompt) for key, prompt in info["questions"].items()],
        }

    def result(self, run_id: str) -> dict[str, Any]:
        """What was recorded at the end of a run.

        Raises
        ------
        NotFound
            There is no such run.
        Conflict
            It has not ended.
        SymphonyError
            It cannot go on; the error says why.
        """
        info = self._info(run_id)
        if info is None:
            raise NotFound(f"no run {run_id!r}", hint="symphony runs list")
        if info["finished"] is None:
            if run_id in self._blocked:
                raise self._blocked[run_id]
            raise Conflict(f"run {run_id} has not ended")
        payload = bytes(info["payload"])
        if payload[:1] == b"@":
            return self.report(payload[1:].decode("ascii"))
        result: dict[str, Any] = loads(payload[1:])
        return result

    def report(self, artifact: str, at_most: int | None = None) -> dict[str, Any]:
        """The report of a run's end that was too large for its record.

        Raises
        ------
        PitNotFound
            The artifact is gone.
        SymphonyError
            It has more than ``at_most`` bytes; the hint says how to get them.
        """
        content = bytes(self._pit.artifact_store.get(artifact))
        if at_most is not None and len(content) > at_most:
            raise SymphonyError(
                f"the run has ended, and its result of {len(content) / (1 << 20):.1f} MiB is kept, "
                "but an answer has at most 16 MiB",
                hint=f"symphony artifacts get {artifact} -o result.json; or return an artifact's id",
            )
        report: dict[str, Any] = loads(content)
        return report

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
        info = self._tracker.run_info(run_id)
        about = loads(info["info"])
        executor, givers = about.get("executor"), about.get("executors", {})
        if executor is not None:
            self._dispatcher.lanes.find(executor, registered.plugin, givers, f"run {run_id}")
        inputs = restore_inputs(registered.workflow, _decoded(self._codec, bytes(info["inputs"])))
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
            self._block(run.id, self._with_seeds(run.id, error))
        except SymphonyError as error:
            self._block(run.id, error)
        except Exception as error:
            self._block(run.id, SymphonyError(f"{type(error).__name__}: {error}"))
        else:
            self._record_end(run.id, result, run)
        finally:
            self._runs.pop(run.id, None)
            self._driving.pop(run.id, None)

    def _with_seeds(self, run_id: str, error: WorkflowChanged) -> WorkflowChanged:
        """The error, which says so where a set of strings may be what changed."""
        if loads(self._tracker.run_info(run_id)["info"]).get("hashes", HASHES) == HASHES:
            return error
        told = WorkflowChanged(
            f"{error}; the run was recorded under another PYTHONHASHSEED, by which sets of strings have "
            "their order"
        )
        told.hint = "take it up under that seed; that of isolated hosts is in the file hash_seed of the home"
        return told

    def _record_end(self, run_id: str, result: RunResult, run: Run | None = None) -> None:
        try:
            status, report = run_report(result, None if run is None else run.workflow)
            content = dumps(report, ensure_ascii=False).encode("utf-8", "backslashreplace")
            if len(content) < INLINE_LIMIT:
                payload = b"=" + content
            else:
                store = self._pit.artifact_store
                payload = reference(str(store.put(content, media_type="application/json", step=run_id)))
            self._tracker.finish_run(run_id, status, payload)
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

    def _info(self, run_id: str) -> dict[str, Any] | None:
        try:
            info: dict[str, Any] | None = self._tracker.run_info(run_id)
        except PitNotFound:
            return None
        return info

    def _live_info(self, run_id: str) -> dict[str, Any]:
        info = self._info(run_id)
        if info is None:
            raise NotFound(f"no run {run_id!r}", hint="symphony runs list")
        if info["finished"] is not None:
            raise Conflict(f"run {run_id} has ended: {info['status']}", hint=f"symphony runs show {run_id}")
        return info

    # Progress: the latest of a few milliseconds.

    def _progress(self, call: StepCall, done: float, total: float, message: str) -> None:
        """Called from the threads of steps, too."""
        report = {
            "run": call.run,
            "key": call.key,
            "name": call.step.name,
            "done": done,
            "total": total,
            "message": message,
        }
        with suppress(RuntimeError):  # the loop has closed: the interpreter is going away
            self._dispatcher.loop.call_soon_threadsafe(self._keep_progress, (call.run, call.key), report)

    def _keep_progress(self, place: tuple[str, str], report: dict[str, Any]) -> None:
        if not self._pending_progress:
            self._dispatcher.loop.call_later(_PROGRESS_DELAY, self._send_progress)
        self._pending_progress[place] = report

    def _send_progress(self) -> None:
        pending, self._pending_progress = self._pending_progress, {}
        for report in pending.values():
            self._notify("progress", report)


def _decoded(codec: Codec, encoded: bytes) -> dict[str, Any]:
    inputs: Any = codec.decode(encoded)
    return dict(inputs)


def _info(
    registered: RegisteredWorkflow,
    cwd: Path,
    executor: str | None,
    givers: Mapping[str, str],
    files: Iterable[Path],
) -> dict[str, Any]:
    """The first record of a run: with it, any later interpreter can take it up, or say what is missing."""
    more: dict[str, Any] = {"executor": executor, "executors": givers, "files": [str(file) for file in files]}
    if registered.file is not None:
        plugin = {"name": registered.plugin, "file": str(registered.file), "sha256": registered.sha256}
    else:
        plugin = {"name": registered.plugin, "version": registered.version}
    return {
        "workflow": registered.name,
        "id": registered.id,
        "plugin": plugin,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "cwd": str(cwd),
        "started": datetime.fromtimestamp(time.time(), UTC).isoformat(),
        "hashes": HASHES,
        **{name: value for name, value in more.items() if value},
    }
