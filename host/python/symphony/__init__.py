"""Symphony: a plugin host for AI workflows.

This module only names what authors use; every name is imported on first use, so that ``import symphony``
costs nothing and never needs the native module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from symphony import _host as _host
    from symphony.errors import InvalidInput as InvalidInput
    from symphony.errors import StepFailed as StepFailed
    from symphony.errors import SymphonyError as SymphonyError
    from symphony.errors import UpstreamFailed as UpstreamFailed
    from symphony.errors import WorkflowChanged as WorkflowChanged
    from symphony.errors import WorkflowEffect as WorkflowEffect
    from symphony.handles import Handle as Handle
    from symphony.hookspecs import hookimpl as hookimpl
    from symphony.host import Host as Host
    from symphony.paths import DirectoryPath as DirectoryPath
    from symphony.paths import FilePath as FilePath
    from symphony.pit_access import open_pit as open_pit
    from symphony.pit_access import pit as pit
    from symphony.replayable import gather as gather
    from symphony.replayable import now as now
    from symphony.replayable import random as random
    from symphony.replayable import sleep as sleep
    from symphony.replayable import uuid as uuid
    from symphony.step_context import current as current
    from symphony.step_context import progress as progress
    from symphony.workflows import step as step
    from symphony.workflows import workflow as workflow

__version__: Final = "0.1.0"

_HOMES: Final = {
    "DirectoryPath": "paths",
    "FilePath": "paths",
    "Handle": "handles",
    "Host": "host",
    "InvalidInput": "errors",
    "StepFailed": "errors",
    "SymphonyError": "errors",
    "UpstreamFailed": "errors",
    "WorkflowChanged": "errors",
    "WorkflowEffect": "errors",
    "current": "step_context",
    "gather": "replayable",
    "hookimpl": "hookspecs",
    "now": "replayable",
    "open_pit": "pit_access",
    "pit": "pit_access",
    "progress": "step_context",
    "random": "replayable",
    "sleep": "replayable",
    "step": "workflows",
    "uuid": "replayable",
    "workflow": "workflows",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'symphony' has no attribute {name!r}")
    value: object = getattr(import_module(f"symphony.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
