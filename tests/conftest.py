"""What several suites share: the component libraries and a Pit in a home of its own."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from tests.fixtures import rust_component
from tests.python import operations as component

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["symphony.testing"]
COMPONENTS = Path(symphony.__file__).parent / "_components"
CORE = ("arbitration_engine", "artifact_store", "dag_tracker", "pool_manager", "stale_manager")


def pytest_collection_finish() -> None:
    """Leave what collection made to itself: tests that collect garbage look at what they made."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def libraries() -> dict[str, Path]:
    """The core component libraries by name."""
    suffix = next(COMPONENTS.glob("dag_tracker.*")).suffix
    return {name: COMPONENTS / f"{name}{suffix}" for name in CORE}


@pytest.fixture
def pit(tmp_path: Path, libraries: dict[str, Path]) -> Iterator[Any]:
    """A Pit with the five core components, held by this process."""
    from symphony import _host

    opened = _host.open_pit(str(tmp_path), [str(path) for path in libraries.values()])
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def operations_library() -> str:
    """The library of a component whose operations are awaited in tests, built."""
    return str(rust_component.build("symphony-test-operations"))


@pytest.fixture
def operations(tmp_path: Path, operations_library: str) -> Iterator[Any]:
    """That component, in a Pit of its own. Whatever a test awaits or drops is dropped when it ends."""
    from symphony import _host

    opened = _host.open_pit(str(tmp_path), [operations_library])
    yield opened["test.operations"]
    assert component.alive(opened["test.operations"]) == 0
    opened.close()


@pytest.fixture(params=list(component.LOOPS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of event loop in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def shapes_library() -> Path:
    """The component of ``tests/fixtures/components/shapes``: a method for each shape of call."""
    os.environ["RUST_BACKTRACE"] = "0"  # it panics on purpose, and a trace takes longer than all the rest
    return rust_component.build("symphony-shapes")


@pytest.fixture
def shapes(tmp_path: Path, shapes_library: Path) -> Iterator[Any]:
    """The component with a method for each shape of call, in a Pit of its own."""
    from symphony import _host

    opened = _host.open_pit(str(tmp_path / "shapes"), [str(shapes_library)])
    yield opened.shapes
    opened.close()
