"""The fixtures of ``symphony.testing``. Each imports what it needs when a test asks for it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from symphony.host import Host
    from symphony.pit_access import OpenPit
    from symphony.testing.faults import Faults, KillInterpreterAt
    from symphony.testing.replaying import AssertReplayable
    from symphony.testing.runner import TestedPlugins
    from symphony.testing.workflows import RunWorkflow


@pytest.fixture(scope="session")
def _symphony_probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the probes found out, for the throw-away homes of all tests: each plugin is probed once."""
    return tmp_path_factory.mktemp("symphony-probes") / "plugins.cache"


@pytest.fixture
def symphony_home(tmp_path_factory: pytest.TempPathFactory, _symphony_probes: Path) -> Iterator[Path]:
    """A home folder of the test's own; a host that runs in it at the end of the test is stopped."""
    from symphony.home import Home
    from symphony.stopping import stop

    home = Home(tmp_path_factory.mktemp("symphony") / "home").ensure()
    if _symphony_probes.exists():
        shutil.copy2(_symphony_probes, home.plugins_cache)
    yield home.path
    if home.host_json.exists():
        stop(home)
    if home.plugins_cache.exists():
        shutil.copy2(home.plugins_cache, _symphony_probes)


@pytest.fixture
def symphony_files() -> Sequence[Path]:
    """The files to use as plugins, as with ``--plugin``: none, unless a test module says otherwise.

    >>> @pytest.fixture
    ... def symphony_files():
    ...     return [Path("tools.py")]
    """
    return []


@pytest.fixture
def _symphony_named(symphony_home: Path, symphony_files: Sequence[Path]) -> Sequence[Path]:
    """These files, a ``symphony_plugins.py`` among them trusted: who names it in a test has looked at it."""
    from symphony.home import Home
    from symphony.plugins import discovery, trust

    for file in symphony_files:
        if file.name == discovery.LOCAL_FILE:
            trust.grant(Home(symphony_home), str(file))
    return symphony_files


@pytest.fixture
def symphony_host(symphony_home: Path, _symphony_named: Sequence[Path]) -> Host:
    """A host in processes of its own, in a throw-away home. It starts with its first run."""
    from symphony.host import Host

    return Host(symphony_home, plugins=_symphony_named)


@pytest.fixture
def no_installed_plugins(monkeypatch: pytest.MonkeyPatch, symphony_home: Path) -> None:
    """Refuse the discovery of the plugins that are installed now; those that a test adds are found."""
    from symphony.home import Home
    from symphony.testing.hosts import hide_installed

    hide_installed(monkeypatch, Home(symphony_home))


@pytest.fixture
def _symphony_plugins(
    symphony_home: Path, _symphony_named: Sequence[Path], request: pytest.FixtureRequest
) -> TestedPlugins:
    """The installed plugins and the files of ``symphony_files``, loaded into this process."""
    from symphony.testing.runner import TestedPlugins

    if "no_installed_plugins" in request.fixturenames:
        request.getfixturevalue("no_installed_plugins")
    plugins = TestedPlugins(symphony_home)
    plugins.load_all()
    for file in _symphony_named:
        plugins.load_file(file)
    return plugins


@pytest.fixture
def _symphony_pit(symphony_home: Path, _symphony_plugins: TestedPlugins) -> Iterator[OpenPit]:
    from symphony.pit_access import open_pit

    with open_pit(symphony_home, [str(path) for path in _symphony_plugins.components]) as opened:
        yield opened


@pytest.fixture
def pit(_symphony_pit: OpenPit) -> OpenPit:
    """The Pit, open in this process, as ``symphony.pit`` is: the core components and those of plugins."""
    return _symphony_pit  # which other fixtures use by that name: a project may have a fixture ``pit``


@pytest.fixture
def _symphony_faults(symphony_home: Path) -> Faults:
    """What this test does to the interpreter; see ``kill_interpreter_at``."""
    from symphony.testing.faults import Faults

    return Faults(symphony_home.parent / "faults")


@pytest.fixture
def kill_interpreter_at(_symphony_faults: Faults) -> KillInterpreterAt:
    """``kill_interpreter_at(step, moment="started")``: the interpreter dies there, and the run goes on.

    The next ``run_workflow`` runs in a host of its own for that, and fails where the step is never reached.
    """
    from symphony.testing.faults import KillInterpreterAt

    return KillInterpreterAt(_symphony_faults)


@pytest.fixture
def run_workflow(request: pytest.FixtureRequest, _symphony_faults: Faults) -> RunWorkflow:
    """``run_workflow(workflow, **inputs)`` runs a workflow, or that of a name, and gives its ``RunResult``.

    It runs in this process, on the fixture ``pit``, so that ``monkeypatch`` and breakpoints work.
    ``run_workflow.answers`` are given to what it asks.
    """
    from symphony.testing.workflows import RunWorkflow

    return RunWorkflow(request.getfixturevalue, _symphony_faults)


@pytest.fixture
def assert_replayable(request: pytest.FixtureRequest, run_workflow: RunWorkflow) -> AssertReplayable:
    """``assert_replayable(workflow, **inputs)`` runs a workflow, and replays it after each of its records."""
    from symphony.testing.replaying import AssertReplayable

    return AssertReplayable(lambda: run_workflow.runner, lambda: request.getfixturevalue("_symphony_pit"))
