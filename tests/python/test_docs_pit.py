"""The examples of docs/pit.md, run in their order in one Pit."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.unit, pytest.mark.python]

PAGE = Path(__file__).parent.parent.parent / "docs" / "pit.md"


def test_every_example_of_the_page_does_what_it_shows(pit: Any) -> None:
    examples = doctest.DocTestParser().get_doctest(PAGE.read_text(), {"pit": pit}, PAGE.name, str(PAGE), 0)
    assert len(examples.examples) > 20
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(examples, out=report.append)
    assert result.failed == 0, "".join(report)


def test_every_method_of_the_stale_manager_is_on_the_page_or_a_twin(pit: Any) -> None:
    page = PAGE.read_text()
    methods = {name for name in dir(pit.stale_manager) if not name.startswith("_")}
    shown = {name for name in methods if name.removesuffix("_async") in page}
    assert methods - shown <= {"stats", "remove_policy", "weights"}
