"""Kill the interpreter that runs a workflow, at a step, for certain: the test's side and the interpreter's.

The test writes a plan and a plugin file. The file, loaded by the interpreter as any other, registers the
workflow under test and makes the interpreter look at the plan whenever a step starts or ends.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from symphony.workflows import Step, Workflow

Moment = Literal["started", "recorded"]
PLUGIN: Final = "under_test"
SOURCE: Final = '''"""The workflow under test. Written by symphony.testing."""
from symphony.testing import faults
register_workflows = faults.enter({folder!r}, {path!r}, {module!r}, {file!r}, {name!r})
'''


class Faults:
    """What one test does to the interpreter: the plan, and what of it has been done."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plan: list[dict[str, str]] = []

    @property
    def planned(self) -> bool:
        return bool(self._plan)

    def add(self, step: str, moment: str) -> None:
        self._folder.mkdir(exist_ok=True)
        self._plan.append({"step": step, "moment": moment})
        (self._folder / "plan.json").write_text(json.dumps(self._plan))

    def plugin_file(self, workflow: Workflow, file: Path | None) -> Path:
        """The plugin that has the interpreter run this workflow, and die by the plan.

        ``file`` is the workflow's plugin file, if it comes from one. Raises ``TypeError`` for a workflow
        that another process could not import.
        """
        module, name = workflow.fn.__module__, workflow.fn.__qualname__
        found = getattr(sys.modules.get(module), name, None)
        if found is not workflow:
            raise TypeError(
                f"workflow {name} cannot be imported by the interpreter that is to die: define it at the top "
                f"level of a module, under its own name"
            )
        plugin = self._folder / f"{PLUGIN}.py"
        plugin.write_text(
            SOURCE.format(
                folder=str(self._folder),
                path=[str(Path(entry).absolute()) for entry in sys.path if entry],
                module=module,
                file=None if file is None else str(file),
                name=name,
            )
        )
        return plugin

    def clear(self) -> list[dict[str, str]]:
        """Forget the plan, and tell what of it was not done."""
        left = [row for number, row in enumerate(self._plan) if not self._mark(number).exists()]
        for number in range(len(self._plan)):
            self._mark(number).unlink(missing_ok=True)
        self._plan = []
        return left

    def _mark(self, number: int) -> Path:
        return self._folder / f"done-{number}"


class KillInterpreterAt:
    """The fixture ``kill_interpreter_at``."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __call__(self, step: Step[..., Any] | str, moment: Moment = "started") -> None:
        """Have the interpreter of the next ``run_workflow`` killed (SIGKILL) at a step, once.

        Parameters
        ----------
        step:
            The step or its name, which means its first call, or the key of one call: ``fetch#2`` is the
            third one of ``fetch``.
        moment:
            ``"started"``: it is about to be executed, which will be done again. ``"recorded"``: its outcome
            has just been recorded, so that it is never executed again.
        """
        if moment not in ("started", "recorded"):
            raise ValueError(f"moment: expected 'started' or 'recorded', got {moment!r}")
        self._faults.add(step if isinstance(step, str) else step.name, moment)


# What follows is executed by the interpreter that is to die.


def enter(
    folder: str, path: Sequence[str], module: str, file: str | None, name: str
) -> Callable[[Any], None]:
    """Make this interpreter obey the plan in ``folder``; gives the hook that registers the workflow."""
    from symphony.hookspecs import hookimpl

    _obey(Path(folder))
    sys.path.extend(entry for entry in path if entry not in sys.path)
    if file is None:
        found = importlib.import_module(module)
    else:
        from symphony.plugins.discovery import file_candidate
        from symphony.plugins.loading import import_modules

        [found] = import_modules(file_candidate(Path(file)))

    @hookimpl
    def register_workflows(registry: Any) -> None:
        registry.add(getattr(found, name))

    hook: Callable[[Any], None] = register_workflows
    return hook


def _obey(folder: Path) -> None:
    from symphony.engine.run_log import PitRunLog

    start, finish = PitRunLog.start_step, PitRunLog.finish_step

    def start_step(log: PitRunLog, key: str, name: str, attempt: int, deps: list[str]) -> None:
        start(log, key, name, attempt, deps)
        _strike(folder, "started", key, name)

    def finish_step(
        log: PitRunLog, key: str, name: str, fingerprint: bytes, state: int, payload: bytes
    ) -> int:
        moment = finish(log, key, name, fingerprint, state, payload)
        _strike(folder, "recorded", key, name)
        return moment

    PitRunLog.start_step = start_step  # type: ignore[method-assign, assignment]
    PitRunLog.finish_step = finish_step  # type: ignore[method-assign, assignment]


def _strike(folder: Path, moment: str, key: str, name: str) -> None:
    """Die, where the plan says so and it was not done before."""
    for number, fault in enumerate(json.loads((folder / "plan.json").read_text())):
        if moment == fault["moment"] and fault["step"] in (key, name):
            try:
                (folder / f"done-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
