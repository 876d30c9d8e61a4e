"""A library that is no component of this ABI is refused with path, expected and found; the process lives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from symphony import _host
from symphony.errors import Conflict, Incompatible

pytestmark = [pytest.mark.integration, pytest.mark.python]

SOURCE = Path(__file__).parent.parent / "fixtures" / "components" / "entry.c"


def compile_entry(
    target: Path, *, magic: str = "SYMPHPIT", size: int = 4096, major: int = 1, minor: int = 0
) -> Path:
    letters = ",".join(f"'{letter}'" for letter in magic)
    defines = [f"-DMAGIC={{{letters}}}", f"-DSIZE={size}", f"-DMAJOR={major}", f"-DMINOR={minor}"]
    subprocess.run(["cc", "-shared", "-fPIC", *defines, "-o", target, SOURCE], check=True)
    return target


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        ({"magic": "NOTTHEIR"}, "expected the magic SYMPHPIT", "found the bytes"),
        ({"major": 0}, "expected ABI 1.0", "found ABI 0.0"),
        ({"major": 2}, "expected ABI 1.0", "found ABI 2.0"),
        ({"minor": 9}, "expected ABI 1.0", "found ABI 1.9"),
        ({"size": 16}, "expected an entry of", "found 16 bytes"),
    ],
)
def test_another_abi_is_refused(tmp_path: Path, change: dict[str, object], expected: str, found: str) -> None:
    library = compile_entry(tmp_path / "other.so", **change)  # type: ignore[arg-type]
    with pytest.raises(Incompatible) as raised:
        _host.describe(str(library))
    message = str(raised.value)
    assert str(library) in message
    assert expected in message
    assert found in message


def test_what_is_no_library_is_refused(tmp_path: Path, libraries: dict[str, Path]) -> None:
    text = tmp_path / "text.so"
    text.write_text("not a library")
    truncated = tmp_path / "truncated.so"
    whole = libraries["dag_tracker"].read_bytes()
    truncated.write_bytes(whole[: len(whole) // 3])
    foreign = tmp_path / "foreign.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "/dev/null", "-o", foreign], check=True)
    for path, found in [
        (text, "a file of 13 bytes"),
        (truncated, "a truncated one"),
        (foreign, "a library without it"),
        (tmp_path / "missing.so", "No such file"),
        (tmp_path, "Is a directory"),
    ]:
        with pytest.raises(Incompatible, match=found) as raised:
            _host.describe(str(path))
        assert str(path) in str(raised.value)


def test_every_truncation_is_an_error_and_never_a_crash(tmp_path: Path, libraries: dict[str, Path]) -> None:
    whole = libraries["stale_manager"].read_bytes()
    path = tmp_path / "cut.so"
    for cut in [*range(0, 64, 7), *range(64, len(whole) // 2, len(whole) // 20)]:
        path.write_bytes(whole[:cut])
        with pytest.raises(Incompatible):
            _host.describe(str(path))


def test_one_id_from_two_libraries_is_refused(tmp_path: Path, libraries: dict[str, Path]) -> None:
    copy = tmp_path / "copy.so"
    copy.write_bytes(libraries["dag_tracker"].read_bytes())
    with pytest.raises(Conflict, match=r"component symphony\.dag_tracker is given twice"):
        _host.open_pit(str(tmp_path / "home"), [str(libraries["dag_tracker"]), str(copy)])


def test_the_five_components_describe_themselves(libraries: dict[str, Path]) -> None:
    described = {name: _host.describe(str(path)) for name, path in libraries.items()}
    assert {name: row["id"] for name, row in described.items()} == {
        name: f"symphony.{name}" for name in libraries
    }
    for row in described.values():
        assert {"ping", "stats"} <= {method["name"] for method in row["methods"]}
        assert all(method["doc"] and method["flags"] for method in row["methods"])
