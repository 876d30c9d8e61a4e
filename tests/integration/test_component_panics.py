"""A Rust component that panics, called through Python: that call alone fails; and whom it may call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from symphony import _host
from symphony.errors import PitError, PitInvalidArgument, PitNotFound, PitPanic
from tests.fixtures.rust_component import ROOT, build
from tests.integration.test_component_loading import compile_awkward

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.python, pytest.mark.subprocess]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    awkward = tmp_path_factory.mktemp("components") / "awkward.so"
    return [compile_awkward(awkward), str(build("fragile-component"))]


@pytest.fixture
def fragile(tmp_path: Path, both: list[str]) -> Iterator[Any]:
    pit = _host.open_pit(str(tmp_path / "home"), both)
    yield pit.fragile
    pit.close()


def test_a_create_that_panics_is_named_with_what_it_said(
    tmp_path: Path, both: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(tmp_path / "home")
    with monkeypatch.context() as patch:
        patch.setenv("FRAGILE_CREATE", "panics")
        with pytest.raises(
            PitError, match=r"component test\.fragile failed to start: fell while it was created"
        ):
            _host.open_pit(home, both)
    _host.open_pit(home, both).close()  # neither lease nor log suffered


def test_a_panic_of_a_method_is_the_error_of_that_call(fragile: Any) -> None:
    for method, message in [(fragile.fall, "fell at once"), (fragile.fall_blocking, "fell detached")]:
        with pytest.raises(PitPanic, match=message) as raised:
            method()
        place, component = raised.value.__notes__
        assert place.startswith("location: tests/fixtures/components/fragile/src/lib.rs:")
        assert component == "component: test.fragile"
        assert fragile.ping() is None


def test_a_panic_of_an_operation_is_the_error_of_its_await(fragile: Any) -> None:
    async def wait() -> None:
        for seconds in (0.0, 0.01):
            with pytest.raises(PitPanic, match="fell later"):
                await fragile.fall_blocking_async(seconds)
            assert fragile.ping() is None

    asyncio.run(wait())


def test_a_component_calls_what_it_declares_and_nothing_else(fragile: Any) -> None:
    assert fragile.ask("test.awkward", "count", []) == 1
    assert fragile.ask("test.awkward", "counted", []) == 1
    for component, method, args, error, message in [
        (
            "test.fragile",
            "ping",
            [],
            PitInvalidArgument,
            r"test\.fragile calls test\.fragile, which it does not",
        ),
        ("acme.missing", "ping", [], PitInvalidArgument, r"calls acme\.missing, which it does not declare"),
        ("test.awkward", "sing", [], PitNotFound, r'component test\.awkward has no method "sing"'),
        ("test.awkward", "count", [1], PitInvalidArgument, r"test\.awkward\.count takes 0 arguments, got 1"),
        ("test.awkward", "number", [], PitInvalidArgument, r"test\.awkward\.number: value is missing"),
    ]:
        with pytest.raises(error, match=message):
            fragile.ask(component, method, args)


def test_the_components_of_the_core_are_safe_rust_and_run_no_runtime() -> None:
    """What the lints allow crate by crate, none of the five takes."""
    lock = (ROOT / "Cargo.lock").read_text()
    for name in ("pool_manager", "dag_tracker", "artifact_store", "arbitration_engine", "stale_manager"):
        folder = ROOT / "pit" / name
        sources = [*folder.rglob("*.rs"), folder / "Cargo.toml"]
        assert len(sources) > 3
        for source in sources:
            assert "unsafe" not in source.read_text(), source
        package = f'name = "symphony-{name.replace("_", "-")}"\n'
        assert "tokio" not in everything_below(package, lock), name


def everything_below(package: str, lock: str) -> set[str]:
    """Names of the packages that one needs, directly or not, by the lock file."""
    blocks = {block.split('"')[1]: block for block in lock.split("[[package]]\n")[1:]}
    found: set[str] = set()
    left = [package.split('"')[1]]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            listed = blocks[name].partition("dependencies = [")[2]
            left += [line.split('"')[1].split(" ")[0] for line in listed.splitlines() if '"' in line]
    return found
