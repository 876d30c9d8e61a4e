"""What a waiting run asks, as its user is told."""

from __future__ import annotations

from typing import Any


def how_to_go_on(run: str, questions: list[dict[str, Any]]) -> list[str]:
    """One line for each question: what is asked, and what to type."""
    lines = []
    for question in questions:
        if question["kind"] == "step":
            what = (
                f"symphony runs retry {run} {question['key']}, or symphony runs skip {run} {question['key']}"
            )
        else:
            what = f"symphony runs input {run} {question['name']}=VALUE"
        lines.append(f"{question['prompt']}: {what}")
    return lines
