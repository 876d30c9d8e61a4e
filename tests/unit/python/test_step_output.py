"""Who wrote which line."""

from __future__ import annotations

import contextvars
import os
from typing import TYPE_CHECKING

import pytest

from symphony.engine.step_context import StepContext, current_step
from symphony.step_output import StepOutput

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.python]


def write(output: StepOutput, key: str, *texts: str) -> None:
    """As the step of this key; empty: as nobody."""

    def body() -> None:
        if key:
            current_step.set(StepContext("run", f"run/{key}", "name", 1, "/", lambda *_: None))
        for text in texts:
            print(text, end="", file=output)

    contextvars.Context().run(body)


@pytest.mark.parametrize(
    ("writes", "shown"),
    [
        ([("a#0", "one\ntwo\n")], "run/a#0: one\nrun/a#0: two\n"),
        ([("", "of nobody\n"), ("a#0", "one\n")], "of nobody\nrun/a#0: one\n"),
        ([("a#0", "o", "ne", "\n", "\n")], "run/a#0: one\nrun/a#0: \n"),
        ([("a#0", "half"), ("b#0", "other\n"), ("", "end")], "run/a#0: half\nrun/b#0: other\nend"),
        ([("a#0", "10 %\r20 %\r")], "run/a#0: 10 %\r20 %\r"),
        ([("a#0", "\udc80\n")], "run/a#0: \\udc80\n"),
    ],
)
def test_each_line_begins_with_its_step_and_is_written_at_once(
    tmp_path: Path, writes: list[tuple[str, ...]], shown: str
) -> None:
    path = tmp_path / "written"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    output = StepOutput(descriptor)
    for key, *texts in writes:
        write(output, key, *texts)
    written = path.read_bytes().decode()
    output.close()
    os.close(descriptor)  # it was left open
    assert written == shown
