"""Import one plugin, or open component libraries, in this throw-away process and report what is there.

    python -P -m symphony.probe NAME|FILE
    python -P -m symphony.probe --component PATH...
    python -P -m symphony.probe --exercise PATH HOME
    python -P -m symphony.probe --examine NAME|FILE [MODULE...]

Started by ``symphony.plugins.prober``, which watches it. It reports JSON lines on an inherited descriptor
(``--report-fd``, else stdout): one per stage, the last with the result. It keeps no state, and opens a Pit
only to exercise a component, in a throw-away home.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from symphony.errors import InvalidInput, PitError
from symphony.plugins.discovery import Candidate, file_candidate, find
from symphony.plugins.loading import Contributions, collect, import_modules, is_own, own_roots, problem_of
from symphony.plugins.names import prefix

Report = Callable[[dict[str, Any]], None]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Probe what the arguments name, report, and leave without running anybody's exit handlers."""
    parser = argparse.ArgumentParser(prog="python -P -m symphony.probe")
    parser.add_argument("target", nargs="+", metavar="NAME|FILE")
    parser.add_argument("--component", action="store_true", help="the targets are component libraries")
    parser.add_argument("--exercise", action="store_true", help="create a component and call it, in a home")
    parser.add_argument("--sha256", default="", help="what a plugin file must have, to be executed")
    parser.add_argument("--examine", action="store_true", help="report all that is wrong with a plugin")
    parser.add_argument("--report-fd", type=int, default=1)
    parser.add_argument("--trace-fd", type=int, default=2)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds until all stacks are dumped")
    options = parser.parse_args(argv)
    for descriptor in (options.report_fd, options.trace_fd):
        os.set_inheritable(descriptor, descriptor < 3)
    faulthandler.enable(file=options.trace_fd, all_threads=True)
    faulthandler.dump_traceback_later(options.limit, file=options.trace_fd)

    def report(record: dict[str, Any]) -> None:
        os.write(options.report_fd, json.dumps(record, default=str).encode() + b"\n")

    if options.component:
        report({"result": {"components": describe(options.target)}})
    elif options.exercise:
        report({"result": exercise(options.target[0], options.target[1], report)})
    elif options.examine:
        from symphony.plugins.examine import examine

        name, *modules = options.target
        plugin = file_candidate(Path(name)) if name.endswith(".py") else Candidate(name, "", (*modules,), "")
        note_os_exit(own_roots(plugin), report)
        report({"result": examine(plugin, report)})
    else:
        report({"result": probe(options.target[0], report, options.sha256)})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def probe(target: str, report: Report, sha256: str = "") -> dict[str, Any]:
    """Import one plugin and call its ``register_*`` hooks on recorders."""
    candidate = file_candidate(Path(target)) if target.endswith(".py") else find(target)
    own = own_roots(candidate)
    note_os_exit(own, report)
    before, started = len(sys.modules), time.perf_counter()
    measured: dict[str, Any] = {"modules": 0, "ms": 0.0}
    try:
        if sha256 and candidate.sha256 != sha256:
            raise InvalidInput(f"{candidate.file} changed while it was looked at", hint="try again")
        report({"stage": "imported"})
        modules = import_modules(candidate)
        measured = {
            "modules": len(sys.modules) - before,
            "ms": round((time.perf_counter() - started) * 1000, 1),
        }
        report({"stage": "asked for its contributions"})
        found = collect(candidate.name, modules, conductor=False)
        contributions = contributions_json(candidate, found)
    except BaseException as error:
        return {
            "problem": problem_of(error, own).json(),
            "hooks": [],
            "contributions": [],
            "import": measured,
        }
    return {"problem": None, "hooks": found.hooks, "contributions": contributions, "import": measured}


def contributions_json(candidate: Candidate, found: Contributions) -> list[dict[str, Any]]:
    """What the store keeps about each contribution."""
    plugin, short = candidate.name, prefix(candidate.name)
    items: list[dict[str, Any]] = [
        {
            "kind": "workflow",
            "name": f"{short}.{name}",
            "id": f"{plugin}:{name}",
            "summary": workflow.summary,
            "inputs": workflow.inputs,
        }
        for name, workflow in found.workflows.items.items()
    ]
    items += [{"kind": "model", "name": name, "id": f"{plugin}:{name}"} for name in found.models.items]
    items += [
        {
            "kind": "command",
            "name": f"{short}.{name}",
            "id": f"{plugin}:{name}",
            "summary": command.get_short_help_str(limit=60),
        }
        for name, command in found.commands.items.items()
    ]
    for library in found.components.items:
        name = library.stem.removeprefix("lib")
        items.append({"kind": "component", "name": name, "id": f"{plugin}:{name}", "library": str(library)})
    if "conductor" in found.hooks:
        items.append({"kind": "conductor", "name": short, "id": f"{plugin}:conductor"})
    return items


def describe(libraries: Sequence[str]) -> list[dict[str, Any]]:
    """Open each library in turn: its ``pit list`` element, or what is wrong with it."""
    from symphony import _host

    found: list[dict[str, Any]] = []
    for library in libraries:
        try:
            found.append(_host.describe(library))
        except BaseException as error:
            found.append({"library": library, "problem": problem_of(error, []).json()})
    return found


def exercise(library: str, home: str, report: Report) -> dict[str, Any]:
    """Let a component library live once: created, asked, closed, and brought back from its records."""
    from symphony import _host
    from symphony.core_components import core_components

    checks: list[str] = []
    component: dict[str, Any] | None = None
    try:
        report({"stage": "described"})
        component = _host.describe(library)
        checks.append("described")
        core = [_host.describe(str(path)) for path in core_components()]
        others = [item["library"] for item in core if item["id"] != component["id"]]
        for life in ("created", "brought back from its records"):
            report({"stage": life})
            pit = _host.open_pit(home, [*others, library])
            if reasons := [row[1] for row in pit.disabled() if row[0] == component["id"]]:
                raise PitError(reasons[0])
            checks.append(life)
            for method in ("ping", "stats"):
                report({"stage": f"asked for {method}()"})
                _answer(pit[component["id"]], component["id"], method)
                checks.append(f"{method}()")
            report({"stage": "closed"})
            pit.close()
            checks.append("closed")
    except BaseException as error:
        return {"component": component, "checks": checks, "problem": problem_of(error, []).json()}
    return {"component": component, "checks": checks, "problem": None}


def _answer(component: Any, id: str, method: str) -> None:
    known = getattr(component, method, None)
    if known is None:
        raise PitError(f"component {id} has no method {method}(), which every component has")
    answer = known()
    wanted: type = type(None) if method == "ping" else dict
    if not isinstance(answer, wanted):
        what = "None" if method == "ping" else "a dict of counters"
        raise PitError(f"component {id}: {method}() gave {type(answer).__name__}, expected {what}")


def note_os_exit(own: Sequence[Path], report: Report) -> None:
    """Report who called os._exit before it takes effect: nothing runs afterwards that could."""
    leave, me = os._exit, os.getpid()

    def noted(status: int) -> NoReturn:
        if os.getpid() == me:
            frame = sys._getframe(1)
            while frame.f_back and not is_own(frame.f_code.co_filename, own):
                frame = frame.f_back
            at = (
                f"{frame.f_code.co_filename}:{frame.f_lineno}"
                if is_own(frame.f_code.co_filename, own)
                else None
            )
            report({"os_exit": status, "at": at})
        leave(status)

    os._exit = noted


if __name__ == "__main__":
    main()
