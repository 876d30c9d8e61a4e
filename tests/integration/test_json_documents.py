"""What ``--json`` prints is what ``host/schemas`` says, and names mean in a host what they mean outside."""

from __future__ import annotations

import contextlib
import io
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from symphony.cli import main
from tests.fixtures import json_schemas
from tests.fixtures.wheel_writer import unpack, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

PLUGIN = """
import os
import symphony

class Provider:
    def load(self):
        return "{name}'s"

@symphony.step(model="small")
async def short(*, model: str) -> str:
    return model

@symphony.step(model="{other}.small")
async def full(*, model: str) -> str:
    return model

@symphony.step
async def fail() -> None:
    raise ValueError("as it should")

@symphony.workflow
async def models() -> list[str]:
    return [await short(), await full()]

@symphony.workflow
async def failing(number: int = 1) -> None:
    await fail()

@symphony.step
async def die_once(mark: str) -> None:
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.abort()

@symphony.workflow
async def dying(mark: str) -> None:
    await die_once(mark)

@symphony.workflow
async def asking() -> bool:
    return await symphony.ask("go", bool, prompt="Go?")

@symphony.hookimpl
def register_workflows(registry):
    for workflow in (models, failing, dying, asking):
        registry.add(workflow)

@symphony.hookimpl
def register_models(registry):
    registry.add("small", Provider(), memory=1)
"""


class Shell:
    """Command lines in a working folder, and the schemas that their documents were held against."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.seen: set[str] = set()

    def __call__(self, *arguments: str) -> tuple[int, Any, str]:
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            code = main(["--home", str(self.home), *arguments, "--json"])
        return code, json.loads(out.getvalue()), err.getvalue()

    def check(self, name: str, *arguments: str, code: int = 0) -> Any:
        """The document of a command, which is as its schema says, and would not be with a key more."""
        exited, document, err = self(*arguments)
        assert exited == code, (arguments, document, err)
        assert json_schemas.problems(document, name) == []
        other = [*document, 1] if isinstance(document, list) else {**document, "surprise": 1}
        assert json_schemas.problems(other, name) != []
        self.seen.add(name)
        return document


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("documents")
    site, work = folder / "site", folder / "work"
    work.mkdir()
    for name, other in (("geo", "zoo"), ("zoo", "geo")):
        unpack(
            write_wheel(folder / "wheels", f"symphony-{name}", PLUGIN.format(name=name, other=other)), site
        )
        os.utime(site / f"symphony_{name}-1.0.dist-info", (len(name), 10 if name == "zoo" else 20))
    path = f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", path)
        patch.setenv("SYMPHONY_PLUGINS", "geo,zoo,local")
        patch.chdir(work)
        shell = Shell(folder)
        yield shell
        shell("host", "stop")


def test_every_document_is_as_its_schema_says(shell: Shell) -> None:
    check = shell.check
    for name in json_schemas.NAMES:
        Draft202012Validator.check_schema(json.loads((json_schemas.FOLDER / f"{name}.json").read_text()))
    assert check("host-status", "host", "status")["running"] is False
    check("plugins-list", "plugins", "list")
    assert check("plugins-info", "plugins", "info", "geo")["problem"]["code"] == "name_taken"
    check("plugins-info", "plugins", "disable", "symphony-geo")
    check("plugins-info", "plugins", "enable", "symphony-geo")
    check("plugins-hooks", "plugins", "hooks")
    check("plugins-hooks-show", "plugins", "hooks", "register_models")
    assert check("plugins-prefer", "plugins", "prefer")["names"][0]["others"] == ["symphony-geo"]
    check("plugins-sync", "plugins", "sync")
    check("plugins-update", "plugins", "update")
    check("plugins-doctor", "plugins", "doctor")
    check("plugins-new", "plugins", "new", "symphony-made")
    check("plugins-check", "plugins", "check", "./symphony-made")
    check("plugins-check", "plugins", "check", "symphony-geo")
    (shell.folder / "work" / "late.py").write_text(PLUGIN.replace("    await fail()", "    os.getcwd()"))
    assert check("plugins-check", "plugins", "check", "./late.py", code=1)["error"]["exit"] == 1
    check("workflows-list", "workflows", "list")
    check("workflows-show", "workflows", "show", "failing")
    check("pit-list", "pit", "list")
    check("pit-show", "pit", "show", "symphony.pool_manager")
    assert check("host-status", "host", "start")["running"] is True
    check("pit-call", "pit", "call", "symphony.pool_manager.stats")
    check("run", "run", "geo.models")
    check("run", "run", "geo.failing", code=1)
    waiting = check("run", "run", "geo.asking", code=10)
    check("run", "run", "geo.asking", "--detach")
    died = check("run", "run", "geo.dying", f"mark={shell.folder / 'died'}")
    assert len(check("runs-show", "runs", "show", died["run"])["crashes"]) == 1
    check("runs-list", "runs", "list")
    check("runs-show", "runs", "show", waiting["run"])
    (shell.folder / "work" / "symphony_plugins.py").write_text(PLUGIN.format(name="local", other="geo"))
    for arguments, code in (
        (("runs", "list", "--nope"), 2),
        (("run", "geo.failing", "number=x"), 2),
        (("plugins", "info", "goe"), 3),
        (("run", "geo.modls"), 3),
        (("workflows", "show", "modls"), 3),
        (("plugins", "prefer", "plugin:geo", "zoo"), 3),
        (("run", "local.models"), 8),
        (("host", "start", "--set", "hang_after=99"), 6),
        ((), 2),
    ):
        assert check("error", *arguments, code=code)["error"]["exit"] == code
    check("plugins-trust", "plugins", "trust", ".")
    check("plugins-trust-list", "plugins", "trust", "--list")
    check("plugins-trust", "plugins", "trust", "--revoke", ".")
    (shell.folder / "work" / "symphony_plugins.py").unlink()
    check("host-status", "host", "stop")
    elsewhere = {"plugins-install", "plugins-uninstall"}  # where an environment is changed
    assert sorted(shell.seen | elsewhere) == json_schemas.NAMES


def test_a_model_is_known_by_its_full_name_and_a_short_one_is_the_users_to_give(shell: Shell) -> None:
    def models(plugin: str) -> list[str]:
        return list(shell("run", f"{plugin}.models")[1]["result"])

    assert (models("geo"), models("zoo")) == (["geo's", "zoo's"], ["zoo's", "geo's"])
    assert {row["name"]: row["provider"] for row in shell("models", "list")[1]} == {
        "geo.small": "symphony-geo",
        "small": "symphony-zoo",
    }
    assert shell("models", "load", "zoo.small")[1]["name"] == "small"
    assert shell("models", "unload", "symphony-geo:small")[1]["state"] == "cold"
    code, document, _ = shell("run", "models")
    assert (code, document["workflow"]) == (0, "zoo.models")

    assert shell("plugins", "prefer", "model:small", "geo")[0] == 0
    assert (models("geo"), models("zoo")) == (["geo's", "zoo's"], ["geo's", "geo's"])
    assert {row["name"]: row["provider"] for row in shell("models", "list")[1]} == {
        "small": "symphony-geo",
        "zoo.small": "symphony-zoo",
    }
    assert shell("plugins", "prefer", "model:small", "--unset")[0] == 0
    assert models("zoo") == ["zoo's", "geo's"]


def test_a_trusted_file_serves_the_runs_of_its_folder_alone(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shell.folder / "work" / "symphony_plugins.py"
    file.write_text(PLUGIN.format(name="local", other="geo"))
    assert shell("run", "local.models")[0] == 8
    shell("plugins", "trust", ".")
    assert shell("run", "local.models")[1]["result"] == ["local's", "geo's"]
    monkeypatch.chdir(tmp_path)
    code, document, _ = shell("run", "local.models")
    assert (code, document["error"]["message"]) == (3, "there is no workflow 'local.models'")
    monkeypatch.chdir(file.parent)
    run = shell("run", "local.asking")[1]["run"]
    file.write_text(file.read_text() + "\nprint('changed')\n")
    assert shell("host", "restart")[0] == 0
    code, document, _ = shell("runs", "resume", run)
    assert (code, document["error"]["type"]) == (8, "Refused")
    assert "it changed since it was trusted" in document["error"]["message"]
    shell("plugins", "trust", ".")
    shell("runs", "input", run, "go=true")
    assert shell.check("run", "runs", "resume", run)["result"] is True
