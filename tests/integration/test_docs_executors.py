"""docs/executors.md: its table is what the core has, and its executor runs steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import symphony
from symphony.engine.core_executors import SLOTS

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "executors.md").read_text()

STEPS = """
import os

@symphony.step
def crunch(table: list[float]) -> list:
    return [sum(table), os.getpid()]

@symphony.workflow
async def crunched() -> list:
    return [await crunch([1.0, 2.5]), os.getpid()]

@symphony.hookimpl
def register_workflows(registry):
    registry.add(crunched)
"""


def test_the_core_has_the_executors_of_the_table() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(SLOTS)


def test_the_example_runs_steps_in_its_pool(tmp_path: Path) -> None:
    example = re.search(r"```python\n(# pools\.py\n.*?)```", PAGE, re.DOTALL)
    assert example is not None
    file = tmp_path / "pools.py"
    file.write_text(example[1] + STEPS.replace("@symphony.step\n", '@symphony.step(executor="pool")\n'))
    with symphony.Host(tmp_path / "home", isolated=False, plugins=[file]) as host:
        (total, there), here = host.run("pools.crunched").value
    assert total == 3.5
    assert there != here
