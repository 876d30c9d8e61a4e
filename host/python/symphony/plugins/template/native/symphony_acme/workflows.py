"""The steps, which do things, and the workflows, which say what is done in which order."""

from __future__ import annotations

from pathlib import Path

import symphony


@symphony.step(retries=2)
def count(path: Path) -> int:
    """How many words a file has."""
    return len(path.read_text(encoding="utf-8").split())


@symphony.step
def remember(name: str, number: int) -> None:
    """Have the component remember a number."""
    symphony.pit["acme.tally"].set(name, number)


@symphony.workflow
async def words(paths: list[symphony.FilePath]) -> dict[str, int]:
    """Count the words of some files, and of all together, and remember them."""
    counts = await symphony.gather(count.map(paths))
    found = {path.name: number for path, number in zip(paths, counts, strict=True)}
    await symphony.gather(remember(name, number) for name, number in found.items())
    return {**found, "all": sum(counts)}
