"""A library that is no component of this ABI is refused with path, expected and found; the process lives."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from symphony import _host
from symphony.errors import Conflict, Incompatible, PitError

pytestmark = [pytest.mark.integration, pytest.mark.python]

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "tests" / "fixtures" / "components"
SOURCE = FIXTURES / "entry.c"
HEADERS = ROOT / "pit" / "include"


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
        ({"major": 0}, "expected ABI 1.1", "found ABI 0.0"),
        ({"major": 2}, "expected ABI 1.1", "found ABI 2.0"),
        ({"minor": 9}, "expected ABI 1.1", "found ABI 1.9"),
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


def test_a_library_may_be_named_relative_to_the_folder_at_hand(
    tmp_path: Path, libraries: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.so").write_bytes(libraries["pool_manager"].read_bytes())
    monkeypatch.chdir(tmp_path)
    assert _host.describe("here.so")["id"] == "symphony.pool_manager"


def test_the_loader_says_what_a_library_lacks(tmp_path: Path) -> None:
    source = "extern int nowhere(void); int use(void) { return nowhere(); }"
    library = tmp_path / "lacks.so"
    command = ["cc", "-x", "c", "-shared", "-fPIC", "-Wl,-z,now", "-o", str(library), "-"]
    subprocess.run(command, input=source, text=True, check=True)
    with pytest.raises(Incompatible, match="undefined symbol: nowhere"):
        _host.describe(str(library))


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
        names = {method["name"] for method in row["methods"]}
        waiting = {method["name"] for method in row["methods"] if "BLOCKING" in method["flags"]}
        assert {f"{name}_async" for name in waiting} <= names


def compile_awkward(
    target: Path, id: str = "test.awkward", *, calls: tuple[str, ...] = (), **defines: object
) -> str:
    """A component that behaves as the definitions say."""
    options = [f"-D{name.upper()}={value}" for name, value in defines.items()]
    options.append(f'-DID="{id}"')
    if calls:
        options.append("-DCALLS=" + ", ".join(f'SYMPHONY_STR("{callee}")' for callee in calls))
    source = FIXTURES / "awkward.c"
    command = ["cc", "-shared", "-fPIC", "-I", str(HEADERS), *options, "-o", str(target), str(source)]
    subprocess.run(command, check=True)
    return str(target)


def test_a_component_whose_method_table_is_cut_short_is_refused(tmp_path: Path) -> None:
    library = compile_awkward(tmp_path / "short.so", method_size=40)
    with pytest.raises(Incompatible, match=r"expected methods of \d+ bytes, found 40 bytes"):
        _host.describe(library)


@pytest.mark.parametrize(
    ("defines", "expected", "found"),
    [
        ({"ID": '"../../escape.it"'}, "expected an id such as acme.vectors", r'found "\.\./\.\./escape\.it"'),
        ({"ID": '"lonely"'}, "expected an id such as acme.vectors", 'found "lonely"'),
        ({"ID": '"acme."'}, "expected an id such as acme.vectors", r'found "acme\."'),
        ({"ID": '"acme.\\xff"'}, "expected an id as UTF-8 text", "found"),
        ({"NAME": '"two words"'}, "expected a method's name that is one in Python", 'found "two words"'),
        ({"NAME": '"__class__"'}, "expected a method's name that is one in Python", 'found "__class__"'),
        ({"SECOND": "NAME"}, "expected methods of different names", "found two called ping"),
        ({"FLAGS": "0"}, "expected ping to be one of FAST, BLOCKING", "found the flags 0x0"),
        ({"FLAGS": "3"}, "expected ping to be one of FAST, BLOCKING", "found the flags 0x3"),
        ({"DOC": '"a\\0b"'}, "expected the doc of ping as UTF-8 text without zeros", "found"),
        (
            {"PARAMS": ",".join(f'PARAM("p{at}","")' for at in range(13))},
            "expected at most 12 parameters of ping",
            "found 13",
        ),
        (
            {"PARAMS": 'PARAM("a","1"),PARAM("b","")'},
            "expected a default of ping's b, since one before it has one",
            "found none",
        ),
        (
            {"PARAMS": 'PARAM("a",""),PARAM("a","")'},
            "expected parameters of ping with different names",
            "found two called a",
        ),
        (
            {"SNAPSHOT": "snapshot"},
            "expected snapshot and restore, or neither",
            "found snapshot without restore",
        ),
    ],
)
def test_tables_that_break_the_rules_are_refused(
    tmp_path: Path, defines: dict[str, str], expected: str, found: str
) -> None:
    library = tmp_path / "odd.so"
    options = [f"-D{name}={value}" for name, value in defines.items()]
    command = ["cc", "-shared", "-fPIC", "-I", str(HEADERS), *options, "-o", str(library)]
    subprocess.run([*command, str(FIXTURES / "odd_table.c")], check=True)
    with pytest.raises(Incompatible, match=f"{expected}.*{found}"):
        _host.describe(str(library))


def test_an_entry_that_has_grown_at_its_end_is_taken(tmp_path: Path) -> None:
    library = compile_awkward(tmp_path / "grown.so", entry_size="sizeof(symphony_entry)+64")
    pit = _host.open_pit(str(tmp_path / "home"), [library])
    assert pit.awkward.ping() is None
    pit.close()


@pytest.mark.parametrize(
    ("create", "message"),
    [
        ("FAILS", "component test.awkward failed to start: the model file is missing"),
        ("FAILS_SILENTLY", "component test.awkward failed to start: the component gave no message"),
        ("HANGS", "component test.awkward failed to start: create did not return within 0.3 s"),
    ],
)
def test_a_component_that_cannot_be_created_is_named_with_its_reason(
    tmp_path: Path, create: str, message: str
) -> None:
    library = compile_awkward(tmp_path / "awkward.so", create=create)
    home = str(tmp_path / "home")
    with pytest.raises(PitError, match=message):
        _host.open_pit(home, [library], create_timeout=timedelta(seconds=0.3))
    fine = compile_awkward(tmp_path / "fine.so", "test.fine")
    _host.open_pit(home, [fine]).close()  # neither lease nor log suffered


def test_calls_between_components_form_no_cycle(tmp_path: Path) -> None:
    ring = {"test.a": "test.b", "test.b": "test.c", "test.c": "test.a"}
    libraries = [
        compile_awkward(tmp_path / f"{name}.so", name, calls=(callee,)) for name, callee in ring.items()
    ]
    with pytest.raises(Conflict, match=r"test\.a → test\.b → test\.c → test\.a"):
        _host.open_pit(str(tmp_path / "home"), libraries)


def test_a_component_that_calls_one_which_is_not_there_is_refused(tmp_path: Path) -> None:
    library = compile_awkward(tmp_path / "lonely.so", calls=("acme.missing",))
    with pytest.raises(Conflict, match=r"test\.awkward calls acme\.missing, which is not there"):
        _host.open_pit(str(tmp_path / "home"), [library])


def test_a_component_is_created_after_those_that_it_calls(tmp_path: Path) -> None:
    caller = compile_awkward(tmp_path / "caller.so", "test.caller", calls=("test.callee",))
    callee = compile_awkward(tmp_path / "callee.so", "test.callee")
    opened = _host.open_pit(str(tmp_path / "home"), [caller, callee])
    assert [row["id"] for row in opened.components()] == ["test.callee", "test.caller"]
    assert [row["calls"] for row in opened.components()] == [[], ["test.callee"]]
    opened.close()


def test_a_handle_is_given_back_and_released_with_its_last_use(tmp_path: Path) -> None:
    opened = _host.open_pit(str(tmp_path / "home"), [compile_awkward(tmp_path / "awkward.so")])
    awkward = opened.awkward
    before = awkward.let_go()
    handle = awkward.open_handle()
    assert awkward.number(handle) == 7
    assert repr(handle) == "<Handle 7 of test.awkward>"
    assert awkward.let_go() == before
    del handle
    assert awkward.let_go() == before + 1
    opened.close()
