"""``symphony.Secret``: used, printed and failed with in a real host, whose home never holds the value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.errors import ConversionError, InvalidInput
from symphony.home import Home
from symphony.host import Host, RunFailed
from symphony.in_process import InProcessHost
from symphony.values import coerce
from symphony.values.coercion import Mode
from symphony.values.secret import Secret
from tests.fixtures import counted_runs as counted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

# With what JSON and Python write otherwise, and in two lines.
VALUE = 'tr0ub4dor "and" \\3\nnot a sëcond line'
FILED = "correct horse battery staple"

PLUGIN = """
import os, subprocess, sys
from pathlib import Path
import symphony

@symphony.step
def use(key: symphony.Secret, file: symphony.Secret, told: str) -> list:
    print("the key is", key.reveal(), "or", repr(key.reveal()))
    for line in key.reveal().split("\\n"):
        print("a line of it is", line)
    print(key, file=sys.stderr, flush=True)
    os.write(1, b"in the file is " + file.reveal().encode() + b"\\n")
    subprocess.run(["sh", "-c", "env; cat"], input=key.reveal().encode(), check=True)
    symphony.progress(1, 2, key.reveal())
    Path(told).write_text(f"{len(key.reveal())} {os.environ.get('PROOF_OF_SECRET')}")
    return [key, "done"]

@symphony.step(retries=1, backoff=0.0)
def fail(key: symphony.Secret) -> None:
    raise ValueError(f"wrong key: {key.reveal()}")

@symphony.step
async def leak(key: symphony.Secret) -> str:
    return "it is " + key.reveal()

@symphony.step
def crash(key: symphony.Secret, mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        os.write(2, b"dying with " + key.reveal().encode())
        os.abort()
    return "lived"

@symphony.step
async def nap(seconds: float) -> None:
    import asyncio
    await asyncio.sleep(seconds)

@symphony.workflow
async def uses(key: symphony.Secret, file: symphony.Secret, told: str, mark: str) -> list:
    try:
        await leak(key)
    except symphony.SymphonyError as error:
        refused = str(error)
    return [*await use(key, file, told), refused, await crash(key, mark)]

@symphony.workflow
async def fails(key: symphony.Secret) -> None:
    await fail(key)

@symphony.workflow
async def reveals(key: symphony.Secret) -> str:
    return key.reveal()

@symphony.workflow
async def naps(key: symphony.Secret) -> str:
    await nap(0.0)
    await symphony.sleep(0.5)  # which nobody waits for when a host is closed
    return repr(key)

@symphony.hookimpl
def register_workflows(registry):
    for workflow in (uses, fails, reveals, naps):
        registry.add(workflow)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "vault.py").write_text(PLUGIN)
    (folder / "key").write_text(FILED + "\n")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("home"))
    os.environ["PROOF_OF_SECRET"] = VALUE
    yield home
    counted.symphony(home, "host", "stop")
    del os.environ["PROOF_OF_SECRET"]


def run(home: Home, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "symphony", "run", *words]
    return subprocess.run(
        [*command, "--plugin", str(folder / "vault.py"), "--home", str(home.path)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
    )


def files_with_a_value(home: Home) -> list[Path]:
    """Every file of the home, and the host's socket folder, in which some form of a value stands."""
    forms = [VALUE.encode(), FILED.encode(), *VALUE.encode().split(b"\n"), repr(VALUE)[1:-1].encode()]
    contents = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    assert len(contents) > 10
    return [path for path, content in contents.items() if any(form in content for form in forms)]


def test_a_secret_that_is_used_printed_and_failed_with_is_nowhere(home: Home, folder: Path) -> None:
    told = folder / "told"
    words = ["key=env:PROOF_OF_SECRET", "file=file:key", f"told={told}", f"mark={folder / 'mark'}"]
    used = run(home, folder, "vault.uses", *words)
    assert used.returncode == 0, used.stderr
    assert "step 'leak': holds the value of the secret env:PROOF_OF_SECRET" in used.stdout
    assert told.read_text() == f"{len(VALUE)} None"  # known to the step, and not in its environment
    failed = run(home, folder, "vault.fails", "key=env:PROOF_OF_SECRET")
    assert failed.returncode == 1
    assert "wrong key: [secret env:PROOF_OF_SECRET]" in failed.stderr
    log = (home.path / "logs" / "interpreter.log").read_text()
    assert "the key is [secret env:PROOF_OF_SECRET] or '[secret env:PROOF_OF_SECRET]'" in log
    assert "<Secret env:PROOF_OF_SECRET>" in log
    assert f"in the file is [secret file:{folder / 'key'}]" in log
    [report] = (home.path / "reports").glob("*")
    assert "dying with [secret env:PROOF_OF_SECRET]" in report.read_text()
    for output in (used.stdout, used.stderr, failed.stdout, failed.stderr):
        assert VALUE not in output
        assert "tr0ub4dor" not in output
    assert files_with_a_value(home) == []


def test_workflow_code_cannot_reveal_it(home: Home, folder: Path) -> None:
    with (
        Host(home.path, plugins=[folder / "vault.py"]) as host,
        pytest.raises(RunFailed, match="workflow code revealed the secret env:PROOF_OF_SECRET"),
    ):
        host.run("vault.reveals", key=Secret("env:PROOF_OF_SECRET"))


def test_one_that_is_missing_or_no_source_is_refused_and_not_repeated(home: Home, folder: Path) -> None:
    for word, message in (
        ("key=env:NOT_SET_ANYWHERE", "the secret env:NOT_SET_ANYWHERE is missing"),
        ("key=file:nowhere", f"the secret file:{folder / 'nowhere'} cannot be read"),
        ("key=hunter2hunter2", "key: expected env:NAME or file:PATH"),
    ):
        refused = run(home, folder, "vault.fails", word)
        assert (refused.returncode, message in refused.stderr) == (2, True), refused.stderr
        assert "hunter2" not in refused.stderr
    assert [path for path in home.path.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()] == []


def test_a_run_whose_secret_is_gone_waits_for_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_A_NAP", "a value of its own")
    host = InProcessHost(Home(tmp_path))
    host.open()
    order = {"workflow": "vault.naps", "inputs": {"key": "env:SECRET_OF_A_NAP"}}
    run = host.request("workflows.run", {**order, "plugins": [str(folder / "vault.py")]})["run"]
    host.close()
    monkeypatch.delenv("SECRET_OF_A_NAP")
    host.open()
    with pytest.raises(InvalidInput, match="SECRET_OF_A_NAP is missing"):
        host.request("runs.wait", {"run": run})
    monkeypatch.setenv("SECRET_OF_A_NAP", "another value of its own")
    host.request("run.resume", {"run": run})
    assert host.request("runs.wait", {"run": run})["result"] == "<Secret env:SECRET_OF_A_NAP>"
    host.close()


@pytest.mark.parametrize("source", ["hunter2", "env:", "file:", "", "env:A\0B"])
def test_only_sources_make_a_secret(source: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Secret(source)
    assert "hunter2" not in str(raised.value)


def test_it_is_known_by_its_source() -> None:
    from symphony import _host

    secret = symphony.Secret("env:API_KEY")
    assert repr(secret) == str(secret) == f"{secret}" == "<Secret env:API_KEY>"
    assert _host.decode(_host.encode([secret])) == [secret]
    assert {secret, Secret("env:API_KEY")} == {secret}
    assert secret != Secret("env:OTHER")
    read: Any = coerce("file:a/key", Secret, "key", Mode(json=True, cwd=Path("/folder")))
    assert read == Secret("file:/folder/a/key")
    with pytest.raises(ConversionError) as raised:
        coerce(12345678, Secret, "key", Mode(json=True))
    assert "12345678" not in str(raised.value)


def test_a_value_that_is_too_short_to_be_found_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT_SECRET", "abc")
    with pytest.raises(InvalidInput, match="less than 4 characters"):
        Secret("env:SHORT_SECRET").reveal()
