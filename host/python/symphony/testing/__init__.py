"""A pytest plugin for those who write Symphony plugins: results, resumes after real deaths, and replays.

A project takes it into use by ``addopts = ["-p", "symphony.testing"]`` in its pytest settings, or by
``pytest_plugins = ["symphony.testing"]`` in its ``conftest.py``. The fixtures are in
``symphony.testing.fixtures``; they import what they need only when a test asks for it. In short:

>>> def test_result(run_workflow):
...     assert run_workflow(digest, urls=["a"]).value == 1
>>> def test_resume(run_workflow, kill_interpreter_at):
...     kill_interpreter_at("fetch#1")
...     assert run_workflow(digest, urls=["a", "b"]).steps["reused"] == 1
>>> def test_replay(assert_replayable):
...     assert_replayable(digest, urls=["a", "b"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from symphony.pit_access import OpenPit as OpenPit
    from symphony.testing.faults import KillInterpreterAt as KillInterpreterAt
    from symphony.testing.replaying import AssertReplayable as AssertReplayable
    from symphony.testing.workflows import RunWorkflow as RunWorkflow

pytest_plugins: Final = ("symphony.testing.fixtures",)

_HOMES: Final = {  # the types of fixtures, for those who annotate their tests
    "AssertReplayable": "symphony.testing.replaying",
    "KillInterpreterAt": "symphony.testing.faults",
    "OpenPit": "symphony.pit_access",
    "RunWorkflow": "symphony.testing.workflows",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'symphony.testing' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    return value
