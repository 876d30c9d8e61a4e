"""``docs/control.md`` and ``host/control.openrpc.json`` tell the same."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.fixtures.wire import DOCUMENT, METHODS, ROOT

pytestmark = [pytest.mark.unit, pytest.mark.python]

PAGE = (ROOT / "docs" / "control.md").read_text()


def row(method: dict[str, Any]) -> str:
    names = [f"**{it['name']}**" if it.get("required") else it["name"] for it in method["params"]]
    return f"| `{method['name']}` | {', '.join(names)} | {method['summary']} |"


def test_the_page_lists_every_method_as_the_schema_describes_it() -> None:
    listed = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert listed == [row(method) for method in METHODS.values()]


def test_the_page_lists_every_error() -> None:
    listed = [line for line in PAGE.splitlines() if line.startswith("| -3")]
    errors = DOCUMENT["components"]["errors"].values()
    assert listed == [f"| {error['code']} | {error['message']} |" for error in errors]


def test_every_schema_is_one_and_is_used() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    used = str(DOCUMENT)
    unused = [name for name in schemas if f"'#/components/schemas/{name}'" not in used]
    assert unused == ["Error"]  # which every method may answer
    assert len(METHODS) == len(DOCUMENT["methods"])
