"""The example components, built as a stranger would build them; what they count outlives a killed process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from symphony import _host
from tests.fixtures.rust_component import build

pytestmark = [pytest.mark.integration, pytest.mark.python, pytest.mark.subprocess]

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "pit" / "examples"

COUNT_AND_WAIT = """
import sys, time
from symphony import _host
pit = _host.open_pit(sys.argv[1], [sys.argv[2]])
for amount in range(1, 101):
    value = pit.call(sys.argv[3], "add", [amount])
print(value, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="session")
def counter_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in plain C, with nothing but the header."""
    target = tmp_path_factory.mktemp("components") / "counter_c.so"
    source = EXAMPLES / "counter_c" / "counter.c"
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    headers = ["-I", str(ROOT / "pit" / "include")]
    subprocess.run(
        ["cc", *strict, "-shared", "-fPIC", "-pthread", *headers, "-o", target, source], check=True
    )
    return target


@pytest.fixture(scope="session")
def counter_rust() -> Path:
    """The example in Rust, with nothing but the SDK."""
    return build("acme-counter")


@pytest.mark.parametrize(
    ("fixture", "component"), [("counter_c", "counter_c"), ("counter_rust", "counter_rust")]
)
def test_a_counter_outlives_its_killed_process(
    request: pytest.FixtureRequest, tmp_path: Path, fixture: str, component: str
) -> None:
    library = str(request.getfixturevalue(fixture))
    home = str(tmp_path / "home")
    command = [sys.executable, "-c", COUNT_AND_WAIT, home, library, component]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "5050"
        process.send_signal(signal.SIGKILL)
    opened = _host.open_pit(home, [library])
    assert opened.call(component, "value", []) == 5050
    assert opened.call(component, "add", []) == 5051
    assert opened.call(component, "stats", []) == {"value": 5051}
    opened.close()


def test_the_example_in_c_answers_as_python_expects(tmp_path: Path, counter_c: Path) -> None:
    from symphony.errors import PitExhausted, PitInvalidArgument

    opened = _host.open_pit(str(tmp_path / "home"), [str(counter_c)])
    counter = opened.counter_c
    assert counter.add.__doc__ is not None
    assert "Add to the counter" in counter.add.__doc__
    with pytest.raises(PitInvalidArgument, match="amount: expected int"):
        counter.add("much")
    counter.add(2**62)
    with pytest.raises(PitExhausted, match="overflow"):
        counter.add(2**62)
    assert counter.value() == 2**62
    opened.close()
