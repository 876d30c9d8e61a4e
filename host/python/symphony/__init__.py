"""Symphony: a plugin host for AI workflows.

This module only names what authors use; every name is imported on first use, so that ``import symphony``
costs nothing and never needs the native module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from symphony import _host as _host
    from symphony.core_components import get_include as get_include
    from symphony.engine.handles import Handle as Handle
    from symphony.engine.questions import ask as ask
    from symphony.engine.replayable import gather as gather
    from symphony.engine.replayable import now as now
    from symphony.engine.replayable import random as random
    from symphony.engine.replayable import sleep as sleep
    from symphony.engine.replayable import uuid as uuid
    from symphony.engine.step_context import current as current
    from symphony.engine.step_context import progress as progress
    from symphony.errors import InvalidInput as InvalidInput
    from symphony.errors import StepFailed as StepFailed
    from symphony.errors import SymphonyError as SymphonyError
    from symphony.errors import UpstreamFailed as UpstreamFailed
    from symphony.errors import WorkflowChanged as WorkflowChanged
    from symphony.errors import WorkflowEffect as WorkflowEffect
    from symphony.hookspecs import hookimpl as hookimpl
    from symphony.host import Host as Host
    from symphony.observing.events import RunEvent as RunEvent
    from symphony.observing.events import StepEvent as StepEvent
    from symphony.pit_access import open_pit as open_pit
    from symphony.pit_access import pit as pit
    from symphony.values.paths import DirectoryPath as DirectoryPath
    from symphony.values.paths import FilePath as FilePath
    from symphony.values.registry import register_types as register_types
    from symphony.values.secret import Secret as Secret
    from symphony.workflows import step as step
    from symphony.workflows import workflow as workflow

__version__: Final = "0.1.0"

_HOMES: Final = {
    "DirectoryPath": "values.paths",
    "FilePath": "values.paths",
    "Handle": "engine.handles",
    "Host": "host",
    "InvalidInput": "errors",
    "RunEvent": "observing.events",
    "Secret": "values.secret",
    "StepEvent": "observing.events",
    "StepFailed": "errors",
    "SymphonyError": "errors",
    "UpstreamFailed": "errors",
    "WorkflowChanged": "errors",
    "WorkflowEffect": "errors",
    "ask": "engine.questions",
    "current": "engine.step_context",
    "gather": "engine.replayable",
    "get_include": "core_components",
    "hookimpl": "hookspecs",
    "now": "engine.replayable",
    "open_pit": "pit_access",
    "pit": "pit_access",
    "progress": "engine.step_context",
    "random": "engine.replayable",
    "register_types": "values.registry",
    "sleep": "engine.replayable",
    "step": "workflows",
    "uuid": "engine.replayable",
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
