"""The host's program, symphonyd: where it lies, starting it, and its read-only queries.

It is a Rust binary in this package; talking to it while it runs is ``symphony.client``'s part.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from symphony.errors import HostUnavailable, NotFound
from symphony.home import absolute
from symphony.remote_errors import error_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from symphony.home import Home

START_LIMIT: Final = 45.0


def binary() -> Path:
    """The host's program, shipped in this package. Raises ``HostUnavailable`` where it is missing."""
    path = Path(__file__).with_name("_bin") / "symphonyd"
    if not path.is_file():
        raise HostUnavailable(
            f"there is no {path}", hint="install symphony-host from its wheel, or run make build"
        )
    return path


def start(home: Home, *, linger: bool = False, settings: Sequence[str] = ()) -> dict[str, Any]:
    """Start symphonyd and wait until it is ready: ``{"ready", "pid", "socket"}``."""
    program = binary()
    home.ensure_writable()
    command = [str(program), "--home", str(home.path), "--python", sys.executable, "--prefix", sys.prefix]
    if linger:
        command.append("--linger")
    for setting in settings:
        command += ["--set", setting]
    with tempfile.TemporaryFile() as complaints:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd="/",  # a host that lingers must not pin the folder it was started from
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise HostUnavailable(f"{program} cannot be started: {error.strerror}") from error
        assert child.stdout is not None
        with child.stdout:
            line = _first_line(child.stdout, START_LIMIT)
        answer = _document(line)
        if "error" in answer:
            child.wait()
            raise error_from(answer["error"])
        if answer.get("ready"):
            child.returncode = 0  # it outlives this process on purpose: no ResourceWarning, no wait
            return answer
        if not line and child.poll() is None and not _ended(child):
            child.kill()
            raise HostUnavailable(f"the host was not ready within {START_LIMIT:g} s", hint=logs_hint(home))
        complaints.seek(0)
        tail = complaints.read()[-500:].decode("utf-8", "replace").strip().splitlines()
        reason = tail[-1] if tail else f"exit code {child.wait()}"
        raise HostUnavailable(f"the host could not be started: {reason}", hint=logs_hint(home))


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(1.0)
    except subprocess.TimeoutExpired:
        return False
    return True


def _first_line(pipe: IO[bytes], limit: float) -> bytes:
    """One line, or what came before the pipe was closed or the time was up."""
    deadline, line = time.monotonic() + limit, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
        chunk = os.read(pipe.fileno(), 4096) if ready else b""
        if not chunk:
            break
        line += chunk
    return line


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def environment() -> dict[str, str]:
    """The environment for a child that runs in another folder: relative module paths made absolute."""
    given = dict(os.environ)
    if given.get("PYTHONPATH"):
        given["PYTHONPATH"] = os.pathsep.join(
            str(absolute(folder)) for folder in given["PYTHONPATH"].split(os.pathsep) if folder
        )
    return given


def query(home: Home, method: str, params: dict[str, Any] | None = None) -> Any:
    """Answer a read-only question (``runs.list``, ``runs.get``) from the home's logs, without a host."""
    home.check()
    if not home.path.exists():
        if method == "runs.list":
            return []
        raise NotFound(f"there is no run {(params or {}).get('run')!r}", hint="symphony runs list")
    command = [str(binary()), "query", "--home", str(home.path), method, json.dumps(params or {})]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        reason = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise HostUnavailable(f"symphonyd query {method}: {reason[-500:]}", hint=logs_hint(home)) from None
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict) and done.returncode != 0:
        raise error_from(answer["error"])
    return answer


def logs_hint(home: Home) -> str:
    """Where to look when the host itself fails."""
    return f"see {home.host_log}"
