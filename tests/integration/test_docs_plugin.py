"""docs/write-a-plugin.md, done as it says: its files written, its commands run, their output compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.author_environment import AuthorEnvironment
from tests.integration.test_docs_component import BLOCK, Block, commands

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text()
VARIES = re.compile(r"\d+ ms, \d+ modules?|\d+\.\d+s\b")
"""What an import takes, and pytest's time."""


def alike(text: str) -> list[str]:
    return [VARIES.sub("N", line).rstrip() for line in text.strip("\n").splitlines()]


def test_the_page_can_be_followed_to_the_letter(tmp_path: Path) -> None:
    author = AuthorEnvironment(tmp_path)
    (tmp_path / "symphony").symlink_to(ROOT)
    place, ran = tmp_path, 0
    for block in (Block(*found.group("path", "kind", "text")) for found in BLOCK.finditer(PAGE)):
        if block.path is not None:
            (tmp_path / block.path).write_text(block.text)
        for command, shown in commands(block.text) if block.kind == "console" else ():
            ran += 1
            if command.startswith("cd "):
                place = (place / command.removeprefix("cd ")).resolve()
                continue
            done = author.run(command, place)
            assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
            assert alike(done.stdout) == alike(shown), command
    assert ran == len(re.findall(r"^\$ (?!symphony plugins dev)", PAGE, re.MULTILINE))


def test_every_fixture_and_exit_code_stands_on_the_page() -> None:
    from symphony.plugins.check import EXITS
    from symphony.testing import fixtures

    described = set(re.findall(r"^\| `(\w+)[(`]", PAGE.partition("## Its tests")[2], re.MULTILINE))
    public = {
        name
        for name, found in vars(fixtures).items()
        if type(found).__name__ == "FixtureFunctionDefinition" and not name.startswith("_")
    }
    assert public - {"symphony_plugins", "symphony_faults"} == described - {"WorkflowEffect"} - {
        "ModuleNotFoundError",
        "WorkflowChanged",
    }
    table = PAGE.partition("## Check")[2].partition("## Give it")[0]
    assert {int(code) for code in re.findall(r"^\| (\d) \|", table, re.MULTILINE)} == {0, *EXITS.values()}
