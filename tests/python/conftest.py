"""What the suites of the bridge share: the component whose operations they await."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from symphony import _host
from tests.python import operations as component

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def operations_library() -> str:
    """The library of the component, built."""
    return str(component.library())


@pytest.fixture
def operations(tmp_path: Path, operations_library: str) -> Iterator[Any]:
    """The component in a Pit of its own. Whatever a test awaits or drops is dropped when it ends."""
    pit = _host.open_pit(str(tmp_path), [operations_library])
    yield pit["test.operations"]
    assert component.alive(pit["test.operations"]) == 0
    pit.close()


@pytest.fixture(params=list(component.LOOPS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of event loop in turn."""
    return str(request.param)
