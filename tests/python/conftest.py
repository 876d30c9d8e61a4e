"""A Pit with the component that gives back what it gets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def mirror_library() -> str:
    """The component of ``tests/fixtures/components/mirror``, built with nothing but the SDK."""
    build = ["cargo", "build", "--quiet", "--package", "symphony-mirror"]
    subprocess.run(build, check=True, cwd=ROOT, timeout=600)
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, cwd=ROOT, capture_output=True
    )
    return str(Path(json.loads(metadata.stdout)["target_directory"]) / "debug" / "libsymphony_mirror.so")


@pytest.fixture(scope="session")
def mirror(mirror_library: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its methods; nothing of what it does lasts, so that all tests share it."""
    from symphony import _host

    opened = _host.open_pit(str(tmp_path_factory.mktemp("mirror")), [mirror_library])
    yield opened.mirror
    opened.close()
