"""How well `conductor.search` finds: docstring to function, MRR@10, one JSON line per package.

Docstrings are cut out of a package's functions, what is left is cut, embedded and ranked by the very code of
the Conductor; each docstring's first line is asked, the function it came from is looked for.

    python tests/benchmarks/retrieval.py [PACKAGE ...]
"""

from __future__ import annotations

import ast
import importlib.util
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symphony_conductor.embedding import embed_passages, embed_question
from symphony_conductor.passages import Passage, cut, split_lines
from symphony_conductor.provider import load_wordllama
from symphony_conductor.ranking import Collection

PACKAGES = ("pluggy", "click", "rich", "tomlkit", "pathspec")
DEPTH = 10


@dataclass(frozen=True)
class Question:
    """A docstring's first line, and where its function stands once all docstrings are gone."""

    text: str
    path: str
    start: int
    end: int


def without_docstrings(source: str, path: str) -> tuple[str, list[Question]]:
    """Source without its docstrings (their lines are gone), and the questions that its functions give."""
    lines = split_lines(source)
    tree = ast.parse(source)
    gone: set[int] = set()
    asked: list[tuple[str, int, int]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            continue
        docstring = ast.get_docstring(node)
        if docstring is None:
            continue
        expression = node.body[0]
        assert expression.end_lineno is not None
        gone.update(range(expression.lineno, expression.end_lineno + 1))
        if len(node.body) == 1 and not isinstance(node, ast.Module):
            # Nothing else in the body: an ellipsis keeps the module parsing.
            lines[expression.lineno - 1] = " " * expression.col_offset + "..."
            gone.discard(expression.lineno)
        first = docstring.strip().splitlines()[0] if docstring.strip() else ""
        if not isinstance(node, ast.ClassDef | ast.Module) and len(first.split()) >= 3:
            assert node.end_lineno is not None
            asked.append((first, node.lineno, node.end_lineno))
    place = {0: 0}
    for number in range(1, len(lines) + 1):
        place[number] = place[number - 1] + (number not in gone)
    kept = [line for number, line in enumerate(lines, 1) if number not in gone]
    questions = [Question(text, path, place[start], place[end]) for text, start, end in asked]
    return "\n".join(kept) + "\n", questions


def holds(passage: Passage, question: Question) -> bool:
    """A passage counts when more than half of its lines are lines of the function."""
    common = min(passage.end, question.end) - max(passage.start, question.start) + 1
    return common * 2 > passage.end - passage.start + 1


def load(package: str) -> tuple[list[tuple[str, Passage]], list[Question]]:
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None, f"{package} is no package with files"
    root = Path(spec.origin).parent
    passages: list[tuple[str, Passage]] = []
    questions: list[Question] = []
    for file in sorted(root.rglob("*.py")):
        path = str(file.relative_to(root))
        source, asked = without_docstrings(file.read_text(), path)
        ast.parse(source)  # what is left must still be Python, or the cutter would be judged on rubble
        passages.extend((path, passage) for passage in cut(source, path))
        questions.extend(asked)
    return passages, questions


def judge(package: str, model: Any) -> dict[str, Any]:
    passages, questions = load(package)
    began = time.perf_counter()
    vectors = embed_passages(model, [passage for _, passage in passages])
    embedded = time.perf_counter()
    collection = Collection([passage for _, passage in passages], vectors)
    ready = time.perf_counter()
    reciprocal = []
    for question in questions:
        ranked = collection.rank(question.text, embed_question(model, question.text), DEPTH)
        found = (
            place
            for place, hit in enumerate(ranked, 1)
            if passages[hit.position][0] == question.path and holds(passages[hit.position][1], question)
        )
        reciprocal.append(1 / next(found, float("inf")))
    asked = time.perf_counter()
    return {
        "package": package,
        "passages": len(passages),
        "questions": len(questions),
        "mrr10": round(statistics.mean(reciprocal), 4),
        "embed_seconds": round(embedded - began, 3),
        "load_seconds": round(ready - embedded, 3),
        "search_ms": round((asked - ready) / max(1, len(questions)) * 1e3, 2),
    }


def main(packages: tuple[str, ...]) -> None:
    model = load_wordllama()
    results = [judge(package, model) for package in packages]
    for result in results:
        print(json.dumps(result))
    print(
        json.dumps({"package": "mean", "mrr10": round(statistics.mean(row["mrr10"] for row in results), 4)})
    )


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or PACKAGES)
