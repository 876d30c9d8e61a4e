"""Symphony's own lines, beside plugins that do as they like with ``sys.stderr``."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from symphony.log_line import log_line

pytestmark = [pytest.mark.unit, pytest.mark.python]


class Broken:
    def write(self, _text: str) -> None:
        raise ZeroDivisionError

    def flush(self) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("stderr", [Broken(), None, "as it was"])
def test_a_line_is_written_whatever_a_plugin_made_of_stderr(
    stderr: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if stderr != "as it was":
        monkeypatch.setattr(sys, "stderr", stderr)
    log_line("a line")
    assert capfd.readouterr().err == "symphony: a line\n"
