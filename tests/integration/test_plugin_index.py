"""Where plugins come from, and into which environments they may go."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from symphony.home import Home
from symphony.plugins import lock
from tests.fixtures.plugin_environment import Environment
from tests.fixtures.wheel_writer import source_of, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

SECRET: Final = "s3cr3t-t0ken"
UV: Final = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    write_wheel(folder, "toy-named", source_of("good"))
    write_wheel(folder, "toy-library", "", plugin=False)
    write_wheel(folder, "toy-bad", source_of("segfaults"))
    return folder


@pytest.fixture(scope="module")
def private_index(wheels: Path) -> Iterator[str]:
    """The address of a package index (PEP 503) that wants a user and a password."""
    expected = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").split("/")[-1]
            found = sorted(wheels.glob(f"{name.replace('-', '_')}-*.whl"))
            if self.headers.get("Authorization") != expected:
                self.answer(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="private"'})
            elif self.path.startswith("/simple/") and found:
                links = "".join(f'<a href="/files/{wheel.name}">{wheel.name}</a>' for wheel in found)
                self.answer(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
            elif self.path.startswith("/files/") and (wheels / name).is_file():
                self.answer(200, (wheels / name).read_bytes(), {"Content-Type": "application/zip"})
            else:
                self.answer(404, b"nothing")

        do_HEAD = do_GET  # noqa: N815 - uv asks so first

        def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            given = {"Content-Type": "text/html", **(headers or {}), "Content-Length": str(len(body))}
            for key, value in given.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("indexes"))


@pytest.fixture
def environment(made: Environment) -> Iterator[Environment]:
    yield made
    made.clear()


def everything_written(home: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_private_index_serves_and_its_credentials_stay_with_it(
    tmp_path: Path, private_index: str, installer: str
) -> None:
    environment = Environment(tmp_path, installer=installer)
    index = f"http://me:{SECRET}@{private_index}"
    done = environment.run("plugins", "install", "toy-named", "--index-url", index)
    assert (done.returncode, done.stdout) == (0, "installed toy-named 1.0: 1 workflow, 1 model\n"), (
        done.stderr
    )
    direct = f"toy-named @ http://me:{SECRET}@{private_index.replace('/simple', '/files')}"
    told = done.stderr
    for words, code in (
        (["toy-named>9", "--index-url", f"http://me:wrong-{SECRET}@{private_index}"], 7),
        ([f"{direct}/toy_named-9.0-py3-none-any.whl"], 3),
    ):
        failed = environment.run("plugins", "install", *words)
        assert failed.returncode == code, failed.stderr
        told += failed.stdout + failed.stderr
    done = environment.run("plugins", "install", f"{direct}/toy_named-1.0-py3-none-any.whl")
    assert done.returncode == 0, done.stderr
    assert "toy-named @ http://127.0.0.1" in (environment.home / "plugins.toml").read_text()
    assert SECRET not in told + done.stdout + done.stderr
    assert SECRET not in everything_written(environment.home)
    assert SECRET not in (environment.site / "toy_named-1.0.dist-info" / "direct_url.json").read_text()


def test_a_policy_binds_installs_to_its_indexes(
    environment: Environment, wheels: Path, private_index: str
) -> None:
    environment.home.mkdir(mode=0o700)
    policy = environment.home / "policy.toml"
    policy.write_text(f'[sources]\nindexes = ["http://{private_index}"]\nfiles = false\n')
    for words in (
        ["toy-named", "--find-links", str(wheels)],
        ["toy-named", "--extra-index-url", "http://127.0.0.1:9/simple"],
        ["toy-named @ http://127.0.0.1:9/toy_named-1.0-py3-none-any.whl"],
        [str(wheels / "toy_named-1.0-py3-none-any.whl")],
    ):
        code, document, _ = environment("plugins", "install", *words)
        assert (code, document["error"]["type"]) == (8, "Refused"), words
        assert str(policy) in document["error"]["message"]
    # What pip and uv are configured to does not count: this folder has the plugin, and is not asked.
    elsewhere = {"PIP_FIND_LINKS": str(wheels), "UV_FIND_LINKS": str(wheels)}
    code, document, _ = environment("plugins", "install", "toy-named", env=elsewhere)
    assert (code, document["error"]["message"].count("other credentials")) == (7, 1)
    index = f"http://me:{SECRET}@{private_index}"
    assert environment("plugins", "install", "toy-named", "--index-url", index)[0] == 0
    policy.write_text('[plugins]\nallow = ["symphony-*"]\n')
    for spec in ("Toy_Named", str(wheels / "toy_named-1.0-py3-none-any.whl")):
        code, document, told = environment("plugins", "install", spec, "--no-index")
        assert (code, document["error"]["type"]) == (8, "Refused")
        assert f"{policy} allows symphony-* only" in document["error"]["message"]
        assert "installing" not in told
    assert environment.rows()["toy-named"]["problem"]["code"] == "policy"
    code, document, _ = environment("run", "toy-named.doubled")
    assert (code, document["error"]["type"]) == (8, "Refused")
    assert environment("plugins", "enable", "toy-named")[0] == 8


def test_an_environment_of_uvs_is_served_by_uv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: Path
) -> None:
    monkeypatch.setenv("PATH", str(UV.parent), prepend=os.pathsep)
    environment = Environment(tmp_path, installer="uv")
    options = ["--no-index", "--find-links", str(wheels)]
    assert environment("plugins", "install", "toy-named", *options)[0] == 0
    by_uv = lock.read(Home(environment.home))["toy-named"].record
    for spec, code in (
        (["toy-library", *options], 8),
        (["toy-nowhere", *options], 3),
        ([str(wheels / "toy_bad-1.0-py3-none-any.whl")], 4),
        (["toy-far", "--index-url", "http://127.0.0.1:9/simple"], 7),
    ):
        assert environment("plugins", "install", *spec)[0] == code, spec
    assert environment.statuses() == {"toy-named": "active"}
    environment.rebuild()
    environment.place(wheels / "toy_named-1.0-py3-none-any.whl")
    assert environment.statuses() == {"toy-named": "active"}, "the same files by another installer"
    assert environment("plugins", "sync", *options)[0] == 0
    assert lock.read(Home(environment.home))["toy-named"].record == by_uv
    assert environment("plugins", "uninstall", "toy-named")[0] == 0
    assert environment.statuses() == {}


def test_an_environment_without_pip_is_served_from_outside_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: Path
) -> None:
    environment = Environment(tmp_path, installer=None)
    words = ["plugins", "install", "toy-named", "--no-index", "--find-links", str(wheels)]
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    code, document, _ = environment(*words)
    assert (code, document["error"]["type"]) == (8, "Refused")
    assert "neither pip nor uv is on PATH" in document["error"]["message"]
    code, document, _ = environment("plugins", "doctor")
    assert (code, document["faults"][0]["do"]) == (1, f"{environment.python} -m ensurepip")
    (tools / "pip").symlink_to(Path(sys.executable).with_name("pip"))
    assert environment(*words)[0] == 0
    assert environment("plugins", "uninstall", "toy-named")[0] == 0
    (tools / "pip").unlink()
    (tools / "uv").symlink_to(UV)
    assert environment(*words)[0] == 0
    assert environment.statuses() == {"toy-named": "active"}


def test_an_externally_managed_python_is_refused_with_its_keepers_words(
    tmp_path: Path, wheels: Path, made: Environment
) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = tmp_path / "prefix" / "lib" / version
    library.mkdir(parents=True)
    for entry in Path(os.__file__).parent.iterdir():
        if entry.name != "site-packages":
            (library / entry.name).symlink_to(entry)
    marker = library / "EXTERNALLY-MANAGED"
    marker.write_text("[externally-managed]\nError=To install Python packages, try apt.\n more of it\n")
    given = {**os.environ, "PYTHONHOME": str(tmp_path / "prefix"), "PYTHONNOUSERSITE": "1"}
    given |= {
        "PYTHONPATH": os.pathsep.join([str(made.site), str(Path(__file__).parents[2] / "host" / "python")])
    }
    base = Path(sys.base_prefix) / "bin" / version
    words = ["plugins", "install", str(wheels / "toy_named-1.0-py3-none-any.whl")]
    command = [str(base), "-m", "symphony", "--home", str(tmp_path / "home"), *words]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 8, done.stderr
    assert "is externally managed (To install Python packages, try apt.)" in done.stderr
    assert "Hint: make an environment of your own: python3 -m venv" in done.stderr


UNPRIVILEGED: Final = """
import ctypes, os, sys
for capability in (1, 2, 3):  # to write, read and own what is not permitted; root has them, and drops them
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_read_only_environment_is_refused_with_the_reason(tmp_path: Path, wheels: Path) -> None:
    environment = Environment(tmp_path)
    wheel = wheels / "toy_named-1.0-py3-none-any.whl"
    environment.place(wheel)
    environment.site.chmod(0o555)
    command = [str(environment.python), "-m", "symphony", "--home", str(environment.home), "plugins"]
    start = [sys.executable, "-c", UNPRIVILEGED, *command]
    try:
        for words in (["install", str(wheel)], ["uninstall", "toy-named"]):
            done = subprocess.run([*start, *words], capture_output=True, text=True, check=False)
            assert done.returncode == 8, done.stderr
            assert f"nothing can be installed into {environment.site}: you may not write to it" in done.stderr
            assert "python3 -m venv" in done.stderr
        done = subprocess.run([*start, "list"], capture_output=True, text=True, check=True)
        assert done.stdout.split()[4:7] == ["toy-named", "1.0", "active"]
    finally:
        environment.site.chmod(0o755)
