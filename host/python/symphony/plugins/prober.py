"""Start a probe, watch it for ten seconds, and turn however it ended into one result.

The parent's side of ``symphony.probe``: it survives every way a plugin can end a process, and leaves no
process behind. It keeps nothing; ``symphony.plugins.cache`` does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from symphony.plugins.discovery import Candidate, roots
from symphony.plugins.probe_result import ProbeResult
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT: Final = 10.0
KEPT_OUTPUT: Final = 65536
FRAME: Final = re.compile(r'^\s*File "(.+)", line (\d+)')


@dataclass(frozen=True)
class _Ending:
    """How a probe process ended."""

    returncode: int
    hung: bool
    records: list[dict[str, Any]]
    trace: str
    output: str

    def last(self, key: str) -> dict[str, Any] | None:
        return next((record for record in reversed(self.records) if key in record), None)


def probe(candidate: Candidate, limit: float = LIMIT) -> ProbeResult:
    """Probe one plugin, and then each component library it registers."""
    # A file is what it was when it was looked at, or it is not executed.
    seen = ["--sha256", candidate.sha256] if candidate.file else []
    ending = _run([*seen, candidate.target], limit)
    own = [candidate.file] if candidate.file else roots(candidate.modules)
    reported = ending.last("result")
    if reported is None:
        return ProbeResult(problem=_death(ending, own, limit), output=ending.output)
    result = replace(ProbeResult.of(reported["result"]), output=ending.output)
    if result.problem:
        return result
    if ending.output.strip():
        result = replace(result, problem=_noise(ending.output))
    return _with_components(result, limit)


def _with_components(result: ProbeResult, limit: float) -> ProbeResult:
    completed = []
    for item in result.contributions:
        if item["kind"] == "component":
            found = describe([item["library"]], limit)[0]
            if found.get("problem"):
                return replace(result, contributions=[], problem=Problem.of(found["problem"]))
            item = {**item, "name": found["name"], "id": found["id"], "description": found}
        completed.append(item)
    return replace(result, contributions=completed)


def describe(libraries: Sequence[str], limit: float = LIMIT) -> list[dict[str, Any]]:
    """The ``pit list`` element of each library, or ``{"library", "problem"}``; a crash harms no other."""
    if not libraries:
        return []
    ending = _run(["--component", *libraries], limit)
    reported = ending.last("result")
    if reported is not None:
        return list(reported["result"]["components"])
    if len(libraries) > 1:
        return [describe([library], limit)[0] for library in libraries]
    death = _death(ending, [], limit, Path(libraries[0]).name)
    return [{"library": libraries[0], "problem": death.json()}]


def exercise(library: str, limit: float = LIMIT) -> dict[str, Any]:
    """Let a component live once in a throw-away home: ``{"library", "component", "checks", "problem"}``.

    ``component`` is its ``pit list`` element, ``checks`` what went well, ``problem`` what did not.
    """
    with tempfile.TemporaryDirectory(prefix="symphony-check-") as home:
        ending = _run(["--exercise", library, home], limit)
    reported = ending.last("result")
    if reported is not None:
        return {"library": library, **reported["result"]}
    death = _death(ending, [], limit, Path(library).name)
    return {"library": library, "component": None, "checks": [], "problem": death.json()}


def examine(
    target: str, modules: Sequence[str], path: Sequence[Path], own: Sequence[Path], limit: float = LIMIT
) -> tuple[ProbeResult, list[Problem]]:
    """Everything that is wrong with a plugin, and what of it works.

    Parameters
    ----------
    target:
        A plugin's name, or the path of a plugin file.
    modules:
        The modules that it names in the group ``symphony``; none for a file.
    path:
        Folders to find them in, before all others.
    own:
        Where its own code lies.
    """
    ending = _run(["--examine", target, *modules], limit, path)
    faults = [Problem.of(record["fault"]) for record in ending.records if "fault" in record]
    found = [fault for fault in faults if fault is not None]
    reported = ending.last("result")
    if reported is None:
        imported = ending.last("import") or {"import": {"modules": 0, "ms": 0.0}}
        measured = imported["import"]
        result = ProbeResult(modules=measured["modules"], ms=measured["ms"], output=ending.output)
        return result, [*found, _death(ending, own, limit)]
    result = replace(ProbeResult.of(reported["result"]), output=ending.output)
    if ending.output.strip():
        found.append(_noise(ending.output))
    described = []
    for item in result.contributions:
        if item["kind"] == "component":
            component = exercise(item["library"], limit)
            problem = Problem.of(component["problem"])
            if problem is not None:
                found.append(problem)
            if component["component"] is not None:
                item = {**item, "name": component["component"]["name"], "id": component["component"]["id"]}
        described.append(item)
    return replace(result, contributions=described), found


def _noise(output: str) -> Problem:
    first = output.strip().splitlines()[0][:60]
    return Problem(
        "noise", f"prints while it is being loaded: {first!r}", hint="it works; its author may mend it"
    )


def _run(arguments: Sequence[str], limit: float, path: Sequence[Path] = ()) -> _Ending:
    with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as trace:
        descriptors = (report.fileno(), trace.fileno())
        command = [
            sys.executable,
            "-P",
            "-m",
            "symphony.probe",
            "--report-fd",
            str(descriptors[0]),
            "--trace-fd",
            str(descriptors[1]),
            "--limit",
            str(max(limit - 1.5, limit / 2)),  # starting takes some of the time
            *arguments,
        ]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            env=_environment(path),
            start_new_session=True,
        )
        assert child.stdout is not None
        kept = bytearray()
        drain = threading.Thread(target=_drain, args=(child.stdout, kept), daemon=True)
        drain.start()
        hung = False
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            _kill_group(child.pid)
            child.wait()
            drain.join(1.0)  # a grandchild that left the group may keep the pipe open
        return _Ending(
            child.returncode, hung, _records(_text(report)), _text(trace), kept.decode("utf-8", "replace")
        )


def _environment(path: Sequence[Path]) -> dict[str, str] | None:
    """Ours, with folders in front of the module path."""
    if not path:
        return None
    before = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, path), *([before] if before else [])]),
        "PYTHONDONTWRITEBYTECODE": "1",  # the folder is somebody's project
    }


def _drain(pipe: IO[bytes], kept: bytearray) -> None:
    with pipe:
        while chunk := pipe.read1(65536) if hasattr(pipe, "read1") else pipe.read(65536):
            kept.extend(chunk[: KEPT_OUTPUT - len(kept)])


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(1 << 24).decode("utf-8", "replace")


def _records(text: str) -> list[dict[str, Any]]:
    records = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _death(ending: _Ending, own: Sequence[Path], limit: float, component: str = "") -> Problem:
    """Name the end of a probe that gave no result."""
    stage = (ending.last("stage") or {"stage": "opened" if component else "looked for"})["stage"]
    who, when = f"component {component} " if component else "", f"while it was being {stage}"
    at = traced_frame(ending.trace, own)
    if ending.hung:
        hint = "" if component else "a plugin's module only defines things; work belongs into steps"
        return Problem("hung", f"{who}did not finish within {limit:g} s {when}", at, hint)
    exited = ending.last("os_exit")
    if exited is not None:
        return Problem("os_exit", f"{who}called os._exit({exited['os_exit']}) {when}", exited["at"])
    if ending.returncode < 0:
        name = signal_name(-ending.returncode)
        return Problem(name.lower(), f"{who}crashed with {name} {when}", at)
    told = ending.output.strip().splitlines()
    tail = f": {told[-1][:200]}" if told else ""
    return Problem("exited", f"{who}ended its probe with exit code {ending.returncode} {when}{tail}", at)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIG{number}"


def traced_frame(trace: str, own: Sequence[Path]) -> str | None:
    """The innermost frame of the plugin in faulthandler's dump, which lists the most recent call first."""
    from symphony.plugins.loading import is_own

    for line in trace.splitlines():
        match = FRAME.match(line)
        if match and is_own(match[1], own):
            return f"{match[1]}:{match[2]}"
    return None
