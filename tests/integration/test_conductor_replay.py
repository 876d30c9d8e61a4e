"""The Conductor's workflows, with its real model: what authors are asked for holds for them, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.testing import AssertReplayable

pytestmark = [pytest.mark.python, pytest.mark.integration]


def test_index_and_search_replay_after_every_record(
    assert_replayable: AssertReplayable, tmp_path: Path
) -> None:
    for number, what in enumerate(("counts retries", "opens a socket", "writes the log")):
        (tmp_path / f"{number}.py").write_text(f'def part{number}():\n    """It {what}."""\n')
    indexed = assert_replayable("conductor.index", path=str(tmp_path)).value
    assert (indexed["files"], indexed["embedded"], indexed["reused"]) == (3, 3, 0)
    assert assert_replayable("conductor.index", path=str(tmp_path)).value["reused"] == 3
    found = assert_replayable("conductor.search", query="who opens a socket", path=str(tmp_path), top=1).value
    assert [hit["path"] for hit in found["hits"]] == ["1.py"]
