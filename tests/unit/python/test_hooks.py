"""What keeps the hooks honest: each has a test, and stands in docs/hooks.md with its exact signature."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import BashComplete

from symphony import hook_reference, hookspecs
from symphony.cli import main
from symphony.cli.app import ROOT as COMMAND_LINE
from symphony.plugins.loading import Contributions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.unit, pytest.mark.python]

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "hooks.md"
SPECS = {
    node.name: node
    for node in ast.parse(Path(hookspecs.__file__).read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name in hookspecs.HOOKS
}
IMPLEMENTATION = re.compile(r"@symphony\.hookimpl(?:\([^)\n]*\))?\n(?:async )?def (\w+)\(")


def marks(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Each test function of a module, and each ``@pytest.mark.hook(...)`` on it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.hook":
                    yield node.name, mark


def test_every_hook_has_a_test_and_a_plugin_that_implements_it() -> None:
    """A test says ``@pytest.mark.hook("name")``; a plugin among the tests, or the Conductor, has the hook."""
    tested: set[str] = set()
    implemented: set[str] = set()
    for file in [*TESTS.rglob("*.py"), *(ROOT / "conductor_plugin").rglob("*.py")]:
        source = file.read_text(encoding="utf-8")
        implemented.update(IMPLEMENTATION.findall(source))
        if "pytest.mark.hook" in source and file.name.startswith("test_") and file != Path(__file__):
            for _, mark in marks(ast.parse(source)):
                tested.update(str(ast.literal_eval(name)) for name in mark.args)
    assert tested - set(hookspecs.HOOKS) == set(), "there are no such hooks"
    assert set(hookspecs.HOOKS) - tested == set(), "these have no test marked pytest.mark.hook(NAME)"
    assert set(hookspecs.HOOKS) - implemented == set(), "no plugin of a test implements these"


def test_every_hook_stands_in_the_docs_with_its_exact_signature() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert sorted(SPECS) == list(hookspecs.HOOKS)
    for name, spec in SPECS.items():
        assert spec.returns is not None
        signature = f"def {name}({ast.unparse(spec.args)}) -> {ast.unparse(spec.returns)}: ..."
        assert f"\n## {name}\n\n```python\n{signature}\n```\n" in page
    assert page.count("\n## ") == len(SPECS)


def test_the_page_is_what_the_specifications_say() -> None:
    assert hook_reference.main(["--check", str(PAGE)]) == 0, hook_reference.__doc__


def test_a_page_that_is_out_of_date_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "hooks.md"
    assert hook_reference.main(["--check", str(page)]) == 1
    assert hook_reference.main([str(page)]) == 0
    page.write_text(page.read_text() + "more\n")
    assert hook_reference.main(["--check", str(page)]) == 1


def test_every_specification_says_when_it_is_called_and_since_when() -> None:
    for hook in hook_reference.hooks():
        assert hook.summary.endswith("."), hook.name
        assert re.search(r"^Called ", hook.doc, re.M), hook.name
        assert f"Since API {hook.since}." in hook.doc, hook.name
        assert "Example\n-------\n>>> " in hook.doc, hook.name


def test_each_registering_hook_has_its_registry() -> None:
    registries = {hook.removeprefix("register_") for hook in hookspecs.HOOKS if hook.startswith("register_")}
    assert registries <= set(vars(Contributions([])))


@pytest.mark.subprocess
@pytest.mark.usefixtures("no_installed_plugins")
def test_the_command_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYMPHONY_HOME", str(tmp_path / "home"))
    assert main(["plugins", "hooks", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == list(hookspecs.HOOKS)
    assert {key for row in listed for key in row} == {"name", "since", "deprecated", "summary", "plugins"}
    assert main(["plugins", "hooks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["HOOK", "SINCE", "PLUGINS"]
    assert all(len(line) <= 80 for line in lines)
    assert main(["plugins", "hooks", "step_finished"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "step_finished(step: StepEvent) -> None\n\nObserve that a step has its outcome.\n"
    )
    assert "step: A symphony.StepEvent, with state completed," in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    completing = BashComplete(COMMAND_LINE, {}, "symphony", "_SYMPHONY_COMPLETE")
    near = [item.value for item in completing.get_completions(["plugins", "hooks"], "step_f")]
    assert near == ["step_finished"]
    assert main(["plugins", "hooks", "step_finish", "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["hint"].startswith("did you mean step_finished")
