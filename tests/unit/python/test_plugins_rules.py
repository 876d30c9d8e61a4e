"""Selection, policy, lock, files and credentials: each rule by itself."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from symphony.errors import InvalidInput, Refused
from symphony.home import Home
from symphony.plugins import SELECTION, lock, policy, selection
from symphony.plugins.credentials import without_credentials
from symphony.plugins.discovery import Candidate
from symphony.plugins.installer import IndexOptions, complaint
from symphony.plugins.lock import Locked
from symphony.plugins.record import Record
from symphony.settings import load_settings
from tests.fixtures.wheel_writer import unpack, write_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.plugins.policy import Policy

pytestmark = [pytest.mark.unit, pytest.mark.python]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


class TestSelection:
    @pytest.mark.parametrize(
        ("text", "taken"),
        [
            (None, ["symphony-ocr", "toy", "tools"]),
            ("", []),
            ("ocr", ["symphony-ocr"]),
            ("Symphony_OCR, toy", ["symphony-ocr", "toy"]),
            ("-ocr", ["toy", "tools"]),
            ("toy,tools,-toy", ["tools"]),
        ],
    )
    def test_a_value_takes(self, text: str | None, taken: list[str]) -> None:
        chosen = selection.read(text)
        assert [name for name in ("symphony-ocr", "toy", "tools") if chosen.takes(name)] == taken
        assert selection.read(None if chosen.everything else chosen.text()) == chosen

    @pytest.mark.parametrize(
        ("before", "option", "after"),
        [(None, "", ""), (None, "a, b", "-a,-b"), ("a,b", "a", "a,b,-a"), ("a", "", ""), ("", "a", "")],
    )
    def test_the_option_adds_to_the_variable(
        self, monkeypatch: pytest.MonkeyPatch, before: str | None, option: str, after: str
    ) -> None:
        monkeypatch.setenv(SELECTION, before or "")
        if before is None:
            monkeypatch.delenv(SELECTION)
        selection.leave_out(option)
        assert os.environ[SELECTION] == after

    def test_what_is_no_name_is_told(self) -> None:
        with pytest.raises(InvalidInput, match="'a b' is no plugin's name"):
            selection.read("a b")
        assert selection.read("a,nix,-nie").unknown(["symphony-a"]) == ["nie", "nix"]

    def test_it_is_a_matter_of_one_start_and_not_of_the_settings_file(self, home: Home) -> None:
        assert load_settings(home.path, ["select=-a,1"]).select == "-a,1"
        (home.path / "config.toml").write_text('[host]\nselect = "a"\n')
        with pytest.raises(InvalidInput, match="for one start of a host only") as error:
            load_settings(home.path)
        assert error.value.hint == "for good: symphony plugins disable NAME"


class TestPolicy:
    def given(self, home: Home, text: str) -> Policy:
        home.policy.write_text(text)
        return policy.read(home)

    def test_names_are_patterns_of_canonical_names(self, home: Home) -> None:
        rules = self.given(home, '[plugins]\nallow = ["Symphony_*"]\nblock = ["symphony-ocr"]\n')
        forbidden = {name: rules.judge(name) for name in ("symphony-geo", "symphony-ocr", "toy")}
        messages = {name: problem and problem.message for name, problem in forbidden.items()}
        assert messages == {
            "symphony-geo": None,
            "symphony-ocr": f"{home.policy} blocks it",
            "toy": f"{home.policy} allows symphony-* only",
        }
        assert {problem.status for problem in forbidden.values() if problem} == {"disabled"}
        with pytest.raises(Refused, match="blocks it"):
            rules.check("Symphony.OCR")

    def test_an_empty_list_allows_nothing_and_no_file_everything(self, home: Home) -> None:
        assert policy.read(home).judge("toy") is None
        assert self.given(home, "[plugins]\nallow = []\n").judge("toy") is not None

    def test_each_file_can_only_forbid_more(
        self, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(policy, "COMPUTER", tmp_path / "computer.toml")
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
        of_environment = tmp_path / "env" / "etc" / "symphony" / "policy.toml"
        of_environment.parent.mkdir(parents=True)
        policy.COMPUTER.write_text('[plugins]\nblock = ["a"]\n[sources]\nindexes = ["https://i/one", "/w"]\n')
        of_environment.write_text(
            '[plugins]\nallow = ["a", "b"]\n[sources]\nindexes = ["/w/", "https://i/2"]\n'
        )
        rules = self.given(home, '[plugins]\nallow = ["*"]\n[sources]\nfiles = false\n')
        assert [name for name in "abc" if rules.judge(name) is None] == ["b"]
        assert rules.judge("b", file=True) is not None
        assert rules.indexes([]) == ("/w/",)
        with pytest.raises(Refused, match="allows no packages from https://i/one"):
            rules.indexes(["https://me:secret@i/one"])

    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("[plugin]\n", "unknown table 'plugin'", "did you mean plugins?"),
            ("[plugins]\nblok = []\n", "unknown key in \\[plugins\\]: 'blok'", "did you mean block?"),
            ('[plugins]\nblock = "a"\n', "plugins.block: expected a list of names", ""),
            ("[sources]\nfiles = 0\n", "sources.files: expected true or false", ""),
            ("[", "policy.toml: ", "mend the file"),
        ],
    )
    def test_a_file_that_cannot_be_understood_is_never_skipped(
        self, home: Home, text: str, message: str, hint: str
    ) -> None:
        with pytest.raises(InvalidInput, match=message) as error:
            self.given(home, text)
        assert hint in error.value.hint

    def test_bound_installs_ask_nothing_else(self) -> None:
        bound = IndexOptions().bound_to(["/wheels", "https://i/simple"])
        assert bound.arguments(uv=False) == ["--index-url", "https://i/simple"]
        assert IndexOptions(find_links=("/wheels",)).bound_to(["/wheels"]).no_index
        assert IndexOptions(index_url="https://i/2").bound_to(["https://i/1"]).index_url == "https://i/2"


class TestRecord:
    def test_installers_differ_and_the_digest_does_not(self, tmp_path: Path) -> None:
        wheel = write_wheel(tmp_path, "toy", "x = 1\n")
        site = unpack(wheel, tmp_path / "site")
        text = (site / "toy-1.0.dist-info" / "RECORD").read_text()
        pips = text + (
            "toy-1.0.dist-info/INSTALLER,sha256=zuuue4knoyJ-UwPPXg8fezS7VCrXJQrAP7zeNuwvFQg,4\n"
            "__pycache__/toy.cpython-311.pyc,,\n../../../bin/toy,sha256=abc,200\n"
        )
        record = Record.of(pips, site)
        assert record.digest() == Record.of(text, site).digest() == record.actual().digest()
        assert [path for path, _ in record.rows] == sorted(
            ["toy.py", *(f"toy-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt"))]
        )

    def test_an_edit_and_a_missing_file_change_it(self, tmp_path: Path) -> None:
        site = unpack(write_wheel(tmp_path, "toy", "x = 1\n"), tmp_path / "site")
        record = Record.of((site / "toy-1.0.dist-info" / "RECORD").read_text(), site)
        before = record.stamp()
        (site / "toy.py").write_text("x = 2\n")
        assert record.stamp() != before  # also with the same size
        assert record.differing(record.actual()) == ["toy.py"]
        (site / "toy.py").unlink()
        assert record.actual().digest() != record.digest()


class TestLock:
    def test_the_time_of_the_first_installation_stays(self, home: Home, tmp_path: Path) -> None:
        site = unpack(write_wheel(tmp_path, "toy", "x = 1\n"), tmp_path / "site")
        record = Record.of((site / "toy-1.0.dist-info" / "RECORD").read_text(), site)
        lock.put(home, "toy", Locked("0.9", None, "2020-01-01T00:00:00+00:00"))
        kept = lock.keep(home, Candidate("toy", "1.0", ("toy",), "", record=record))
        assert kept == Locked("1.0", record.digest(), "2020-01-01T00:00:00+00:00")
        assert lock.read(home) == {"toy": kept}
        assert lock.keep(home, Candidate("editable", "1.0", ("x",), "")).record is None
        lock.put(home, "toy", None)
        assert list(lock.read(home)) == ["editable"]
        assert home.plugins_lock.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            '{"schema": 2, "plugins": {}}',
            '{"schema": 1, "plugins": {"a": {"version": "1"}}}',
            '{"schema": 1, "plugins": {"a": {"version": "1", "record": null, "installed": "soon"}}}',
        ],
    )
    def test_a_damaged_lock_is_told_and_never_taken_for_an_empty_one(self, home: Home, text: str) -> None:
        home.plugins_lock.write_text(text)
        for action in (lambda: lock.read(home), lambda: lock.put(home, "a", None)):
            with pytest.raises(InvalidInput, match=r"plugins\.lock") as error:
                action()
            assert "doctor --fix" in error.value.hint
        assert home.plugins_lock.read_text() == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:p%40ss@host/simple", "https://host/simple"),
        ("toy @ https://me:p@ss@host/toy.whl", "toy @ https://host/toy.whl"),
        (
            "Looking in http://me@host:8080/x and http://host/y",
            "Looking in http://host:8080/x and http://host/y",
        ),
        ("https://host/simple?access_token=abc&x=1", "https://host/simple?access_token=****&x=1"),
        ("git+ssh://git@host/x.git@main", "git+ssh://host/x.git@main"),
        ("nothing@all", "nothing@all"),
    ],
)
def test_credentials_are_left_out(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
    assert str(complaint("x", f"ERROR: {text}")) == f"x: {shown}"
