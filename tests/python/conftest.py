"""A Pit with the component that gives back what it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fixtures import rust_component

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def mirror_library() -> str:
    """The component of ``tests/fixtures/components/mirror``, built with nothing but the SDK."""
    return str(rust_component.build("symphony-mirror"))


@pytest.fixture(scope="session")
def mirror(mirror_library: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its methods; nothing of what it does lasts, so that all tests share it."""
    from symphony import _host

    opened = _host.open_pit(str(tmp_path_factory.mktemp("mirror")), [mirror_library])
    yield opened.mirror
    opened.close()
