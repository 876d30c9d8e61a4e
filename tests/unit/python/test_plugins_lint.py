"""The lint finds effects in workflow code, and in nothing else."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from symphony.plugins.effects import BY_PREFIX, CODES, FUNCTIONS
from symphony.plugins.lint import findings

pytestmark = [pytest.mark.python, pytest.mark.unit]
HEAD = """
import asyncio, os, random, subprocess, threading, time as clock, uuid
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from uuid import uuid4 as fresh

import requests
import symphony
from symphony import step, workflow

SEEN = []
COUNT = 0

async def one(number): return number

@step
async def fetch(url: str) -> str:
    SEEN.append(clock.time())
    return requests.get(url).text

def reads(path): return open(path).read()
"""


def found(body: str, head: str = "async def flow(root: Path, url: str = ''):") -> list[tuple[str, str]]:
    """Code and name of what is found in a workflow of this body."""
    source = f"{HEAD}\n@workflow\n{head}\n{textwrap.indent(textwrap.dedent(body), '    ')}"
    return [(finding.code, finding.what) for finding in findings(Path("flow.py"), source)]


@pytest.mark.parametrize(
    ("body", "code", "what"),
    [
        ("clock.time()", "clock", "time.time"),
        ("datetime.now().date()", "clock", "datetime.datetime.now"),
        ("dt.date.today()", "clock", "datetime.date.today"),
        ("key = clock.monotonic", "clock", "time.monotonic"),
        ("clock.sleep(1)", "sleep", "time.sleep"),
        ("random.choice([1, 2])", "chance", "random.choice()"),
        ("random.Random()", "chance", "random.Random()"),
        ("fresh()", "chance", "uuid.uuid4"),
        ("import secrets; secrets.token_hex()", "chance", "secrets.token_hex()"),
        ("if 'HOME' in os.environ: pass", "environ", "os.environ"),
        ("os.environ.get('HOME')", "environ", "os.environ"),
        ("with open('x') as file: pass", "file", "open"),
        ("Path('x').read_text()", "file", "Path.read_text()"),
        ("root.exists()", "file", "Path.exists()"),
        ("part = root / 'part'; part.iterdir()", "file", "Path.iterdir()"),
        ("url.read_text()", "file", ".read_text()"),
        ("requests.get(url)", "network", "requests.get()"),
        ("subprocess.run(['true'])", "process", "subprocess.run()"),
        ("threading.Thread(target=one).start()", "process", "threading.Thread()"),
        ("ThreadPoolExecutor(2)", "process", "concurrent.futures.ThreadPoolExecutor()"),
        ("await asyncio.to_thread(one, 1)", "process", "asyncio.to_thread"),
        ("symphony.pit.artifact_store.find('x')", "pit", "symphony.pit.artifact_store.find()"),
        ("asyncio.as_completed([one(n) for n in (1, 2)])", "order", "asyncio.as_completed() of coroutines"),
        ("ones = [one(1)]; asyncio.as_completed(ones)", "order", "asyncio.as_completed() of coroutines"),
        ("global COUNT; COUNT += 1", "global", "a change of the global COUNT"),
        ("SEEN.append(url)", "global", "a change of the global SEEN"),
        ("SEEN[0] = url", "global", "a change of the global SEEN"),
        ("reads('x')", "file", "open"),
        ("list(map(reads, ['x']))", "file", "open"),
        ("await fetch.fn(url)", "network", "requests.get()"),
        ("async def inner():\n    return clock.time()\nawait inner()", "clock", "time.time"),
    ],
)
def test_an_effect_is_found(body: str, code: str, what: str) -> None:
    assert (code, what) in found(body)


@pytest.mark.parametrize(
    "body",
    [
        "await fetch(url)",
        "fetch.map([url]); os.path.join('a', 'b')",
        "symphony.now(); symphony.random.choice([1]); symphony.uuid(); await symphony.sleep(1)",
        "random.Random(7).random()",
        "clock = url; clock.time()",
        "def open(path): return path\nopen('x')",
        "asyncio.as_completed([fetch(url), fetch('b')])",
        "asyncio.as_completed([asyncio.create_task(one(1))])",
        "seen = []; seen.append(1); seen[0] = 2",
        "lock: threading.Lock | None = None",
        "try:\n    await fetch(url)\nexcept requests.HTTPError: pass",
        "@step\nasync def inner() -> float:\n    return clock.time()\nawait inner()",
        "str(root / 'x'); root.name; root.parent.with_suffix('.py')",
    ],
)
def test_what_a_replay_repeats_is_left_alone(body: str) -> None:
    assert found(body) == []


def test_functions_that_no_workflow_uses_are_left_alone() -> None:
    assert findings(Path("flow.py"), HEAD) == []


def test_a_place_and_advice_are_told_and_a_line_can_be_allowed() -> None:
    source = f"{HEAD}\n@workflow\nasync def flow():\n    clock.time()\n"
    [finding] = findings(Path("flow.py"), source)
    assert finding.at == f"flow.py:{len(source.splitlines())}"
    assert finding.message == "time.time in workflow 'flow': a replay gets another time"
    assert finding.hint == "use symphony.now()"
    assert findings(Path("flow.py"), f"{source.rstrip()}  # symphony: allow[clock]\n") == []
    assert findings(Path("flow.py"), f"{source.rstrip()}  # symphony: allow[file, clock]\n") == []
    assert findings(Path("flow.py"), f"{source.rstrip()}  # symphony: allow[file]\n") == [finding]


def test_a_function_of_two_workflows_is_told_once_and_a_broken_file_not_at_all() -> None:
    both = "".join(f"\n@workflow\nasync def {name}():\n    reads('x')\n" for name in ("a", "b"))
    assert len(findings(Path("flow.py"), HEAD + both)) == 1
    assert findings(Path("flow.py"), "def half(") == []


def test_every_code_has_a_reason() -> None:
    used = {*FUNCTIONS, *BY_PREFIX.values(), "order", "global"}
    assert used == set(CODES)


def test_the_conductor_has_no_effects_in_its_workflows() -> None:
    package = Path(__file__).parents[3] / "conductor_plugin" / "symphony_conductor"
    files = list(package.glob("*.py"))
    assert len(files) > 5
    assert [finding for file in files for finding in findings(file, file.read_text())] == []
