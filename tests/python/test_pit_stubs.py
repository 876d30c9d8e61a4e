"""Type stubs of components: those in the package are what the loaded tables give, and mypy takes them."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony import pit_stubs

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.integration, pytest.mark.python]

COMMITTED = Path(symphony.__file__).parent / "pit_types"


def test_the_committed_stubs_are_what_the_loaded_tables_give(pit: Any) -> None:
    given = pit_stubs.package(pit.components())
    committed = {path.name: path.read_text() for path in COMMITTED.glob("*.pyi")}
    assert committed == given, f"run: python -m symphony.pit_stubs {COMMITTED}"


def test_the_command_writes_and_checks_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pit_stubs.main(["--check", str(tmp_path)]) == 1
    assert "differs" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert pit_stubs.main([str(tmp_path)]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        path.name: path.read_text() for path in COMMITTED.glob("*.pyi")
    }
    assert pit_stubs.main(["--check", str(tmp_path)]) == 0


def method(name: str, signature: str, doc: str = "Do it.", flags: str = "FAST") -> dict[str, Any]:
    return {"name": name, "signature": signature, "doc": doc, "flags": [flags]}


def component(*methods: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": "acme.my_vectors", "name": "my_vectors", "description": "Vectors", "methods": list(methods)}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (method("add", "(x: float, y: int = 3) -> None"), "def add(self, x: float, y: int = 3) -> None:"),
        (
            method("add", "(text: str = 'a\"b') -> object"),
            'def add(self, text: str = "a\\"b") -> Any:',
        ),
        (
            method("put", "(content: bytes) -> bytes"),
            "def put(self, content: ReadableBuffer) -> bytes:",
        ),
        (
            method("wait", "() -> int | None", flags="ASYNC"),
            "def wait(self) -> Coroutine[Any, Any, int | None]:",
        ),
        (method("odd", "(x: Tensor[3]) -> list[Strange]"), "def odd(self, x: Any) -> list[Any]:"),
        (method("odd", "((( -> nonsense"), "def odd(self, *args: Any, **kwargs: Any) -> Any:"),
        (method("open", "() -> Handle"), "def open(self) -> Handle:"),
    ],
)
def test_a_method_becomes_a_typed_line(given: dict[str, Any], line: str) -> None:
    text = pit_stubs.stub(component(given))
    assert f"    {line}\n" in text
    compile(text, "stub", "exec")


def test_a_method_called_as_a_type_does_not_hide_the_type() -> None:
    text = pit_stubs.stub(component(method("list", "() -> list[int]"), method("all", "() -> list[str]")))
    assert "def all(self) -> builtins.list[str]:" in text
    assert "import builtins\n" in text


def test_whatever_a_doc_says_the_stub_stays_valid() -> None:
    for doc in ('ends with "', 'has """ in it', "back\\slash", "", "x" * 500, "one\n\ntwo " * 40):
        compile(pit_stubs.stub(component(method("add", "() -> None", doc))), "stub", "exec")


def test_the_example_of_the_generator_holds() -> None:
    assert doctest.testmod(pit_stubs).failed == 0


@pytest.mark.subprocess
def test_mypy_knows_the_methods_of_symphony_pit(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import symphony\n"
        "lease = symphony.pit.pool_manager.try_acquire('m', slots=2)\n"
        "reveal_type(lease)\n"
        "symphony.pit.pool_manager.try_acquire(3)\n"
        "symphony.open_pit().artifact_store.putt(b'')\n"
        "async def wait() -> int:\n"
        "    return await symphony.pit.pool_manager.acquire_async('m')\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--config-file=", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines()[:-1]]
    assert told == [
        'note: Revealed type is "int | None"',
        'error: Argument 1 to "try_acquire" of "PoolManager" has incompatible type "int"; expected "str"'
        "  [arg-type]",
        'error: "ArtifactStore" has no attribute "putt"; maybe "put"?  [attr-defined]',
    ]
