"""docs/plugins.md: its session, its commands and its files are what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from symphony.cli.app import ROOT
from symphony.cli.command import spelled_out
from symphony.errors import SymphonyError
from symphony.home import Home
from symphony.plugins import policy, wish
from symphony.plugins.doctor import Fault
from symphony.plugins.problem import Problem
from symphony.plugins.sync import Step
from symphony.plugins.update import Outcome
from tests.fixtures.plugin_environment import Environment
from tests.fixtures.wheel_writer import source_of, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

STEP = Step("toy", "install", "toy", "1.0", "it is missing")
OUTCOME = Outcome("toy", "updated", "1.0", "1.1")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text()
SHELL = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def block(name: str) -> str:
    found = re.search(rf"^```{name}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def session() -> Iterator[tuple[list[str], list[str]]]:
    """Each command of the session, and what it prints."""
    for entry in block("console").split("$ symphony ")[1:]:
        words, *printed = entry.splitlines()
        yield shlex.split(words), printed


def test_the_session_prints_what_the_page_shows(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.place(write_wheel(tmp_path, "toy-good", source_of("good")))
    write_wheel(tmp_path, "toy-good", source_of("good"), version="1.1")
    for words, printed in session():
        done = environment.run(*words, cwd=tmp_path)
        assert [*done.stdout.splitlines(), *done.stderr.splitlines()] == printed, words


def test_each_command_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMPHONY_PLUGINS", "a")  # which parsing --no-plugins changes
    assert len(SHELL) > 10
    for line in SHELL:
        words = [word for word in shlex.split(line) if not word.startswith("SYMPHONY_")]
        assert words[0] == "symphony", line
        command: click.Command = ROOT
        context = ROOT.make_context("symphony", spelled_out(words[1:]))
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert found is not None, line
            command, context = found, found.make_context(name, rest, parent=context)


def test_the_example_files_are_right(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.plugins_toml.write_text(block("toml plugins.toml"))
    assert wish.read(home) == {"symphony-ocr": wish.Wish("symphony-ocr<1", True, 1)}
    assert wish.preferences(home) == {"model:small": "symphony-ocr"}
    home.policy.write_text(block("toml policy.toml"))
    rules = policy.read(home)
    allowed = [name for name in ("symphony-geo", "acme-x", "symphony-ocr", "toy") if not rules.judge(name)]
    assert allowed == ["symphony-geo", "acme-x"]
    for check in (rules.check_file, rules.check_build):
        with pytest.raises(SymphonyError):
            check("x")


def test_every_status_and_exit_code_stands_on_the_page() -> None:
    codes = ("changed", "conflict", "missing", "quarantined", "api", "raised", "noise", "policy")
    known = {Problem(code, "").status for code in codes}
    table = PAGE.partition("## Status")[2].partition("## Files")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == known
    table = PAGE.partition("## Exit codes")[2]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [str(code) for code in range(10)]


def test_the_documents_for_scripts_have_the_keys_of_the_page() -> None:
    table = PAGE.partition("## For scripts")[2]
    documented = dict(re.findall(r"^\| `(\w+)` \| .*?\[\{(.*?)\}\]", table, re.MULTILINE))
    fault = Fault("", "", "", "").json()
    for name, made in (("sync", STEP.json()), ("update", OUTCOME.json()), ("doctor", fault)):
        assert re.findall(r'"(\w+)"', documented[name]) == list(made), name
