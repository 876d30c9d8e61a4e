"""Fixtures of the Python unit tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from symphony import symphonyd
from symphony.home import Home
from tests.fixtures import fake_home

if TYPE_CHECKING:
    from collections.abc import Iterator
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
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the module path, here and in what is started from here, to install plugins into."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A file plugin with the workflows that the fake host knows."""
    return fake_home.write_plugin(tmp_path)
