"""The workflow ``conductor.index``: bring the index of a folder up to date.

Steps pass ids and counts; texts, passages and vectors go through the Artifact Store. What is pure lies in
``tree``, ``passages``, ``bundle`` and ``manifest``; numpy and pathspec are imported by the steps alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import symphony


@symphony.step
def list_files(folder: str, max_file_size: int) -> dict[str, Any]:
    """List and hash the files of a folder, and compare them with its index.

    Returns
    -------
    ``root``: the folder without symbolic links; ``kept``: artifact of the manifest of all unchanged files;
    ``changed``: pairs of a path and the artifact of its previous passages (or ``""``); ``removed``: how many
    passages the files had that are gone.
    """
    from symphony_conductor.manifest import MEDIA_TYPE, NAME_PREFIX, plan
    from symphony_conductor.tree import list_folder

    store = symphony.pit.artifact_store
    root = os.path.realpath(folder)
    listing = list_folder(Path(root), max_file_size)
    planned = plan(root, listing, _previous(store.find(NAME_PREFIX + root)), _exists)
    return {
        "root": root,
        "kept": store.put(planned.kept.to_json(), media_type=MEDIA_TYPE),
        "changed": [list(pair) for pair in planned.changed.items()],
        "removed": planned.removed,
    }


@symphony.step(model="wordllama")
def embed_file(root: str, path: str, previous: str, max_file_size: int, *, model: Any) -> dict[str, Any]:
    """Cut one file into passages, embed those that its previous version did not have, store them.

    Returns
    -------
    ``path``, ``fingerprint``, ``artifact``, the counts ``passages``, ``embedded``, ``reused``, ``removed``,
    or ``path``, ``reason`` and ``removed`` when the file has become unusable since it was listed.
    """
    import numpy as np

    from symphony_conductor import bundle
    from symphony_conductor.embedding import DIMENSIONS, embed_passages
    from symphony_conductor.passages import cut
    from symphony_conductor.tree import Unusable, fingerprint, read

    store = symphony.pit.artifact_store
    old = _bundle(previous)
    try:
        text = read(Path(root, path), max_file_size)
    except Unusable as reason:
        return {"path": path, "reason": str(reason), "removed": len(old.passages) if old else 0}
    passages = cut(text, path)
    kept, removed = bundle.reuse(passages, old)
    fresh = [position for position in range(len(passages)) if position not in kept]
    vectors = np.zeros((len(passages), DIMENSIONS), dtype=np.float32)
    if old is not None and kept:
        vectors[list(kept)] = old.vectors[list(kept.values())]
    if fresh:
        vectors[fresh] = embed_passages(model, [passages[position] for position in fresh])
    return {
        "path": path,
        "fingerprint": fingerprint(path, text),
        "artifact": store.put(bundle.pack(passages, vectors), media_type=bundle.MEDIA_TYPE),
        "passages": len(passages),
        "embedded": len(fresh),
        "reused": len(kept),
        "removed": removed,
    }


@symphony.step
def write_index(kept: str, embedded: list[dict[str, Any]], removed: int) -> dict[str, Any]:
    """Store the manifest of the kept and the embedded files under the folder's name, and count.

    Returns
    -------
    The result of ``conductor.index``.
    """
    from symphony_conductor.manifest import MEDIA_TYPE, NAME_PREFIX, Entry, Manifest

    store = symphony.pit.artifact_store
    manifest = Manifest.from_json(store.get(kept))
    reused = manifest.passages
    for file in embedded:
        if "reason" in file:
            manifest.skipped[file["path"]] = file["reason"]
        else:
            manifest.files[file["path"]] = Entry(file["fingerprint"], file["artifact"], file["passages"])
    index = store.put(manifest.to_json(), name=NAME_PREFIX + manifest.root, media_type=MEDIA_TYPE)
    return {
        "files": len(manifest.files),
        "passages": manifest.passages,
        "embedded": sum(file.get("embedded", 0) for file in embedded),
        "reused": reused + sum(file.get("reused", 0) for file in embedded),
        "removed": removed + sum(file["removed"] for file in embedded),
        "skipped": [{"path": path, "reason": reason} for path, reason in sorted(manifest.skipped.items())],
        "index": index,
    }


@symphony.workflow
async def index(path: symphony.DirectoryPath, max_file_size: int = 1_048_576) -> dict[str, Any]:
    """Index a folder of code or text by meaning, so that conductor.search answers from it.

    Respects .gitignore; .env files, keys and version control folders are never read. A second run embeds only
    what changed.

    Parameters
    ----------
    path:
        The folder.
    max_file_size:
        In bytes; larger files are skipped.

    Returns
    -------
    ``{"files", "passages", "embedded", "reused", "removed", "skipped": [{"path", "reason"}], "index"}``:
    ``files`` counts files, the next four count passages, ``index`` is the artifact id of the manifest.

    Example
    -------
    ``symphony run conductor.index path=.``
    """
    listed = await list_files(str(path), max_file_size)
    embedded = await symphony.gather(
        [embed_file(listed["root"], file, previous, max_file_size) for file, previous in listed["changed"]]
    )
    return await write_index(listed["kept"], list(embedded), listed["removed"])


def _previous(artifact: str | None) -> Any:
    """The manifest so far; none if there is none or it cannot be read, which only costs embedding anew."""
    from symphony_conductor.manifest import Manifest

    if artifact is None:
        return None
    try:
        return Manifest.from_json(symphony.pit.artifact_store.get(artifact))
    except (symphony.SymphonyError, ValueError):
        return None


def _bundle(artifact: str) -> Any:
    from symphony_conductor.bundle import unpack

    if not artifact:
        return None
    try:
        return unpack(symphony.pit.artifact_store.get(artifact))
    except (symphony.SymphonyError, ValueError):
        return None


def _exists(artifact: str) -> bool:
    try:
        symphony.pit.artifact_store.info(artifact)
    except symphony.SymphonyError:
        return False
    return True
