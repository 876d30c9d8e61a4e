"""What the component remembers, also when the interpreter dies, with Symphony's fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
from symphony.testing import OpenPit, RunWorkflow

from symphony_acme.workflows import words


def test_numbers_are_remembered_by_name(pit: OpenPit) -> None:
    tally = pit["acme.tally"]
    tally.set("pit", 2)
    assert (tally.total("pit"), tally.total("other")) == (2, 0)
    with pytest.raises(ValueError, match="at least one letter"):
        tally.set("", 1)


def test_a_workflow_leaves_its_counts(
    run_workflow: RunWorkflow, pit: OpenPit, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one two three")
    run_workflow(words, paths=[str(tmp_path / "a.txt")])
    assert pit["acme.tally"].total("a.txt") == 3
