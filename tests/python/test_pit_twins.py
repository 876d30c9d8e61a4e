"""What may block has a twin for event loops, which takes the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

pytestmark = [pytest.mark.unit, pytest.mark.python]


def test_every_twin_takes_the_same_parameters(pit: Any) -> None:
    twins = []
    for row in pit.components():
        component = pit[row["id"]]
        for name in dir(component):
            if (twin := getattr(component, f"{name}_async", None)) is not None:
                assert inspect.signature(getattr(component, name)) == inspect.signature(twin), name
                twins.append(f"{row['id']}.{name}")
    assert {"symphony.artifact_store.put", "symphony.stale_manager.plan"} <= set(twins)


def test_every_method_that_may_block_has_a_twin(pit: Any) -> None:
    for row in pit.components():
        methods = {method["name"]: method for method in row["methods"]}
        blocking = [name for name, method in methods.items() if "BLOCKING" in method["flags"]]
        assert [name for name in blocking if f"{name}_async" not in methods] == [], row["id"]
