"""``symphony_plugins.py`` in the working folder: found, told of, and not run before it was trusted."""

from __future__ import annotations

import importlib.util
import json
import py_compile
from typing import TYPE_CHECKING, Any

import pytest

from symphony.cli import main
from symphony.errors import InvalidInput, Refused
from symphony.plugins import PluginHost, discovery, prober
from tests.fixtures import fake_home
from tests.fixtures.wheel_writer import source_of

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.home import Home

pytestmark = [pytest.mark.python, pytest.mark.subprocess, pytest.mark.usefixtures("no_installed_plugins")]

SEEN = "symphony_plugins.py here was seen and not run, it is not trusted: symphony plugins trust ."
CHANGED = (
    "symphony_plugins.py here was seen and not run, it changed since it was trusted: symphony plugins trust ."
)


class Folder:
    """A working folder with a plugin that leaves a mark when any of it is executed."""

    def __init__(self, path: Path, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.home, self._capsys = path, home, capsys
        self.file, self.mark = path / "symphony_plugins.py", path / "ran"
        self.write(source_of("good"))

    def write(self, source: str) -> None:
        self.file.write_text(f"{source}\nopen({str(self.mark)!r}, 'w').close()\n")

    def __call__(self, *arguments: str) -> tuple[int, Any, str]:
        code = main(["--home", str(self.home.path), *arguments])
        printed = self._capsys.readouterr()
        return code, json.loads(printed.out) if "--json" in arguments else printed.out, printed.err

    def ran(self) -> bool:
        found = self.mark.exists()
        self.mark.unlink(missing_ok=True)
        return found


@pytest.fixture
def folder(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Folder:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Folder(tmp_path / "work", home, capsys)


def test_it_is_seen_and_nothing_of_it_runs_until_it_is_trusted(folder: Folder, toy: Path) -> None:
    for named in ((), ("--plugin", "symphony_plugins.py")):
        code, document, err = folder("run", "local.doubled", *named, "--json")
        assert (code, document["error"]["type"], err) == (8, "Refused", "")
        assert document["error"]["hint"] == f"look at it, then: symphony plugins trust {folder.file}"
    assert folder("plugins", "check", "./symphony_plugins.py", "--json")[1]["error"]["exit"] == 8
    for arguments in (
        ("plugins", "list"),
        ("workflows", "list"),
        ("plugins", "info", "local"),
        ("run", "toy.ok", "--plugin", str(toy)),
        ("run", "doubled"),
    ):
        for json_option in ((), ("--json",)):
            _, _, err = folder(*arguments, *json_option)
            assert err.splitlines().count(SEEN) == 1, (arguments, err)
    for quiet in (("--version",), ("--help",), ("plugins", "--help"), ("plugins", "trust", "--list")):
        assert SEEN not in folder(*quiet)[2]
    assert folder("plugins", "list", "--json")[1]["plugins"] == []
    assert not folder.ran()
    orders = [params for method, params in fake_home.requests(folder.home) if method == "workflows.run"]
    assert str(folder.file) not in [path for order in orders[:2] for path in order["plugins"]]


def test_what_is_trusted_is_used_here_until_it_changes(folder: Folder, toy: Path, tmp_path: Path) -> None:
    code, out, _ = folder("plugins", "trust", ".")
    assert (code, out.partition(" (")[0]) == (0, f"{folder.file} is trusted as it is now")
    assert not folder.ran(), "to trust it runs nothing of it"
    assert "doubled" not in folder.home.trusted_toml.read_text()
    code, document, err = folder("plugins", "list", "--json")
    [plugin] = document["plugins"]
    assert (plugin["name"], plugin["status"], err) == ("local", "active", "probing local\n")
    assert folder.ran(), "the probe did it"
    assert [row["name"] for row in folder("workflows", "list", "--json")[1]] == ["local.doubled"]
    assert f"  file       {folder.file}\n" in folder("plugins", "info", "local")[1]
    assert folder("plugins", "check", "symphony_plugins.py", "--json")[1]["faults"] == []
    assert folder("plugins", "prefer", "doubled", "local")[:2] == (0, "workflow doubled is that of local\n")
    assert folder("plugins", "prefer")[2] == "no name is given by more than one plugin\n"
    folder("run", "toy.ok", "--plugin", str(toy))
    [order] = [params for method, params in fake_home.requests(folder.home) if method == "workflows.run"]
    assert order["plugins"] == [str(toy), str(folder.file)]

    host = PluginHost(folder.home.path)
    host.load_file(folder.file)
    assert host.find_workflow("local.doubled").file == folder.file
    folder.write(source_of("raises"))
    assert CHANGED in folder("workflows", "list")[2].splitlines()
    assert [row["status"] for row in folder("plugins", "trust", "--list", "--json")[1]["files"]] == [
        "changed"
    ]
    with pytest.raises(Refused, match="it changed since it was trusted"):
        host.load_file(folder.file)
    host.reload()
    assert "local.doubled" in host.workflows, "what is loaded was trusted"

    folder("plugins", "trust", str(folder.file))
    code, _, err = folder("run", "toy.ok", "--plugin", str(toy))
    told = "symphony_plugins.py here was left out: RuntimeError: no such luck (symphony plugins info local)"
    assert (code, told in err.splitlines()) == (0, True)
    assert folder("plugins", "info", "local", "--json")[1]["status"] == "broken"
    folder.file.unlink()
    assert folder("plugins", "trust", "--list")[1].split() == ["gone", str(folder.file)]
    assert folder("plugins", "trust", "--revoke", ".", "--json")[1]["status"] == "revoked"
    host.reload()
    assert host.workflows == {}
    assert folder("plugins", "trust", "--list", "--json")[1] == {"files": []}


def test_a_compiled_file_beside_it_is_not_taken_for_it(folder: Folder) -> None:
    evil = folder.path / "evil.py"
    evil.write_text(f"open({str(folder.mark)!r}, 'w').close()\n")
    cached = importlib.util.cache_from_source(str(folder.file))
    folder.file.write_text(source_of("good"))
    py_compile.compile(
        str(evil), cached, str(folder.file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    folder("plugins", "trust", ".")
    assert [row["name"] for row in folder("workflows", "list", "--json")[1]] == ["local.doubled"]
    host = PluginHost(folder.home.path)
    host.load_file(folder.file)
    assert "local.doubled" in host.workflows
    assert not folder.ran()


def test_what_was_looked_at_is_what_runs(folder: Folder) -> None:
    seen = discovery.file_candidate(folder.file)
    folder.write(source_of("raises"))
    problem = prober.probe(seen).problem
    assert problem is not None
    assert "changed while it was looked at" in problem.message
    assert not folder.ran()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "nowhere needs no trust, only symphony_plugins.py does"),
        (["empty"], 3, "there is no file"),
        ([""], 2, "names no file"),
        (["--revoke", "."], 3, "is not trusted"),
        ([], 2, "Missing argument 'PATH'"),
        (["--list", "."], 2, "--list goes alone"),
    ],
)
def test_a_wrong_path_is_told(folder: Folder, arguments: list[str], code: int, message: str) -> None:
    (folder.path / "empty").mkdir()
    exited, document, _ = folder("plugins", "trust", *arguments, "--json")
    assert (exited, document["error"]["exit"]) == (code, code)
    assert message in document["error"]["message"]
    assert not folder.home.trusted_toml.exists()


@pytest.mark.parametrize(
    "text", ["[files]\na = 1\n", "[file]\n", "files = 1\n", "[files]\na = 'short'\n", "["]
)
def test_a_damaged_list_trusts_nothing(folder: Folder, text: str) -> None:
    folder.home.trusted_toml.write_text(text)
    with pytest.raises(InvalidInput, match=r"trusted\.toml"):
        PluginHost(folder.home.path).load_file(folder.file)
    assert folder("plugins", "trust", ".", "--json")[0] == 2
    assert folder.home.trusted_toml.read_text() == text
    assert not folder.ran()
