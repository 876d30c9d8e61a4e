"""``run_workflow``: in this process, or, where the interpreter is to die, in a host of its own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from symphony import client, pit_access, running, symphonyd
from symphony.home import Home
from symphony.host import result_of
from symphony.stopping import stop
from symphony.testing.faults import PLUGIN
from symphony.testing.runner import WorkflowRunner, asked, unanswered
from symphony.values import json_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from symphony.host import RunResult
    from symphony.testing.faults import Faults
    from symphony.testing.runner import TestedPlugins
    from symphony.workflows import Workflow


class RunWorkflow:
    """The fixture ``run_workflow``.

    ``answers`` are given to what a workflow asks, by name.

    Example
    -------
    >>> def test_release(run_workflow):
    ...     run_workflow.answers["approve"] = True
    ...     assert run_workflow(release, version="1.0").value == "released"
    """

    def __init__(self, fixture: Callable[[str], Any], faults: Faults) -> None:
        self.answers: dict[str, Any] = {}
        self._fixture = fixture
        self._faults = faults

    @cached_property
    def runner(self) -> WorkflowRunner:
        """Runs workflows in this process; made, with the Pit, when it is first used."""
        runner = WorkflowRunner(self._fixture("_symphony_pit"), self._fixture("_symphony_plugins"))
        runner.answers = self.answers
        return runner

    def __call__(self, workflow: Workflow | str, /, **inputs: Any) -> RunResult:
        """Run a workflow, or that of a name, and wait for its end.

        Raises
        ------
        RunFailed, InvalidInput, NotFound
            As ``symphony.Host.run``.
        AssertionError
            It asks what ``answers`` does not have, or a step of ``kill_interpreter_at`` was never reached.
        """
        if not self._faults.planned:
            return self.runner(workflow, **inputs)
        return self._with_faults(workflow, inputs)

    def _with_faults(self, workflow: Workflow | str, inputs: dict[str, Any]) -> RunResult:
        if pit_access.is_open():
            raise RuntimeError(
                "this test has the Pit open, which the interpreter that is to die needs: in one test, use "
                "kill_interpreter_at before anything else, or not at all"
            )
        home = Home(self._fixture("symphony_home"))
        file: Path | None = None
        if isinstance(workflow, str):
            plugins: TestedPlugins = self._fixture("_symphony_plugins")
            registered = plugins.find_workflow(workflow)
            workflow, file = registered.workflow, registered.file
        plugin = self._faults.plugin_file(workflow, file)
        try:
            order = running.Order(
                f"{PLUGIN}.{workflow.name}",
                {name: json_value(value, name) for name, value in inputs.items()},
                plugins=[plugin, *self._fixture("_symphony_named")],
            )
            return self._through_deaths(home, running.resolve(home, order))
        finally:
            left = self._faults.clear()
            stop(home)  # so that the test can open the Pit
            if left:
                raise AssertionError(_unreached(home, left))

    def _through_deaths(self, home: Home, order: running.Order) -> RunResult:
        def connect() -> client.Client:
            return client.connect_or_start(home)

        with connect() as connection:
            run = running.submit(connection, order)
            while True:
                document = running.wait(connect, connection, run, waiting=True)
                if document["status"] != "waiting":
                    return result_of(document)
                for question in document["questions"]:
                    name = asked(question["name"])
                    if name not in self.answers:
                        raise AssertionError(unanswered(name, question["prompt"]))
                    answer = {"run": run, "name": question["name"], "value": self.answers[name]}
                    connection.request("runs.provide_input", answer)


def _unreached(home: Home, left: list[dict[str, str]]) -> str:
    told = " and ".join(f"kill_interpreter_at({row['step']!r}, {row['moment']!r})" for row in left)
    runs = symphonyd.query(home, "runs.list")
    steps = symphonyd.query(home, "runs.get", {"run": runs[0]["run"]})["graph"] if runs else []
    return f"{told}: not reached; the steps were {', '.join(step['key'] for step in steps) or 'none'}"
