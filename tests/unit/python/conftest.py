"""Fixtures of the Python unit tests."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from symphony import symphonyd
from symphony.home import Home
from symphony.plugins import discovery
from tests.fixtures import fake_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose host is the fake one."""
    program = fake_home.write_program(tmp_path)
    monkeypatch.setattr(symphonyd, "binary", lambda: program)
    home = Home(tmp_path / "home").ensure()
    yield home
    fake_home.stop(home)


@pytest.fixture
def only_test_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the plugins of the environment that the tests run in; those that a test adds are all there is."""

    def added(group: str) -> list[EntryPoint]:
        found = entry_points(group=group)
        return [entry for entry in found if entry.dist and entry.dist.name != "symphony-conductor"]

    monkeypatch.setattr(discovery, "entry_points", added)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A file plugin with the workflows that the fake host knows."""
    return fake_home.write_plugin(tmp_path)
