"""The workflow ``conductor.search``: answer a question from an index.

Steps find the index and ask it; a few collections stay in memory, since loading is dearer than asking. The
ranking itself is pure and lies in ``ranking``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import symphony
from symphony.errors import NotFound


@symphony.step
def find_index(folder: str) -> dict[str, str]:
    """The index of ``folder``; without one named, that of the working folder, else the newest.

    Returns
    -------
    ``index``: the manifest's artifact id; ``root``: the folder it covers; ``within``: ``folder`` relative to
    it, if only hits from there are wanted.

    Raises
    ------
    NotFound
        There is no such index; the message says how to make it.
    """
    from symphony_conductor.choice import choose
    from symphony_conductor.manifest import NAME_PREFIX

    rows = symphony.pit.artifact_store.list(NAME_PREFIX)
    roots = [row["name"].removeprefix(NAME_PREFIX) for row in sorted(rows, key=lambda row: row["created"])]
    wanted = Path(folder or symphony.current().cwd).resolve()
    root = choose(roots, str(wanted), else_newest=not folder)
    found = symphony.pit.artifact_store.find(NAME_PREFIX + root) if root is not None else None
    if root is None or found is None:
        what = f"there is no index of {wanted}" if folder else "there is no index yet"
        raise NotFound(f"{what}; make one with: symphony run conductor.index path={wanted}")
    within = wanted.relative_to(root).as_posix() if folder and str(wanted) != root else ""
    return {"index": found, "root": root, "within": within}


@symphony.step(model="wordllama")
def ask(query: str, index: str, within: str, top: int, *, model: Any) -> list[dict[str, Any]]:
    """The ``top`` passages of an index that answer ``query`` best, best first."""
    from symphony_conductor.embedding import embed_question
    from symphony_conductor.library import LIBRARY

    book = LIBRARY.open(index, symphony.pit.artifact_store.get)
    return book.ask(query, embed_question(model, query), top, within)


@symphony.workflow
async def search(query: str, path: Path | None = None, top: int = 10) -> dict[str, Any]:
    """Find the passages of an indexed folder that answer a question, by meaning and by words.

    Parameters
    ----------
    query:
        A question, or any words.
    path:
        The indexed folder, or a folder in it; without one, the index that contains the working folder, else
        the newest.
    top:
        How many hits at most.

    Returns
    -------
    ``{"hits": [{"path", "start", "end", "score", "text"}], "index", "root"}``: paths relative to the indexed
    folder ``root``, lines counted from 1; ``index`` is the artifact id of the index that answered.

    Example
    -------
    ``symphony run conductor.search query="where are retries counted"``
    """
    if not query.strip():
        raise symphony.InvalidInput("query: expected a question, got an empty string")
    if top < 1:
        raise symphony.InvalidInput(f"top: expected 1 or more, got {top}")
    found = await find_index(str(path) if path is not None else "")
    hits = await ask(query, found["index"], found["within"], top)
    return {"hits": hits, "index": found["index"], "root": found["root"]}
