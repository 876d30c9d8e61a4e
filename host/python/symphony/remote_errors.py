"""Turn an error that came as JSON from a host into the exception its type names."""

from __future__ import annotations

from typing import Any

from symphony import errors
from symphony.errors import SymphonyError


def error_from(error: dict[str, Any]) -> SymphonyError:
    """The exception for an error that came from a host: its class by name, with the host's exit code."""
    data = error.get("data") or {}
    name = str(error.get("type") or data.get("type") or "SymphonyError")
    found = getattr(errors, name, None)
    hint = str(error.get("hint") or data.get("hint") or "")
    code = error.get("exit", data.get("exit"))
    kind: type[SymphonyError] = (
        found
        if isinstance(found, type) and issubclass(found, SymphonyError)
        else type(name, (SymphonyError,), {})
    )
    if isinstance(code, int) and code != kind.exit_code:
        kind = type(kind.__name__, (kind,), {"exit_code": code})
    raised = kind(str(error.get("message", "the host gave no reason")))
    raised.hint = hint
    return raised
