"""A pytest plugin for those who write Symphony plugins: results, resumes after real deaths, and replays.

pytest finds it by itself where Symphony is installed. Its fixtures, in ``symphony.testing.fixtures``, are
imported by pytest alone, and what they need only when a test asks for it. In short:

>>> def test_result(run_workflow):
...     assert run_workflow(digest, urls=["a"]).value == 1
>>> def test_resume(run_workflow, kill_interpreter_at):
...     kill_interpreter_at("fetch#1")
...     assert run_workflow(digest, urls=["a", "b"]).steps["reused"] == 1
>>> def test_replay(assert_replayable):
...     assert_replayable(digest, urls=["a", "b"])
"""

from __future__ import annotations

from typing import Final

pytest_plugins: Final = ("symphony.testing.fixtures",)
