"""The host's requests ``artifacts.*``: what a person or another program asks of the Artifact Store.

Answers are plain JSON; times are ISO 8601 in UTC, content comes in parts. Used by ``symphony.interpreter``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import InvalidInput, NotFound
from symphony.plugins.names import did_you_mean
from symphony.values import json_value

if TYPE_CHECKING:
    from symphony.pit_types import CorePit

Requests = dict[str, Callable[..., Awaitable[Any]]]

# Base64 makes it a third more, and a line has at most 16 MiB.
PART: Final = 8 << 20
# What a search costs grows with the square of its words, and one search waits for another.
LONGEST_QUERY: Final = 4096
# Names that an unknown one is compared with: among a million that would take seconds.
COMPARED: Final = 10_000
_ID: Final = re.compile(r"[0-9a-f]{64}\Z")
_ID_PREFIX: Final = re.compile(r"[0-9a-f]{4,63}\Z")
_TIMES: Final = ("created", "last_access", "now", "since", "started", "finished")


class ArtifactRequests:
    """The requests about artifacts, over an open Pit."""

    def __init__(self, pit: CorePit) -> None:
        self._store = pit.artifact_store
        self._stale = pit.stale_manager
        self._fetched: tuple[str, memoryview] | None = None  # the artifact that is being fetched part by part

    def methods(self) -> Requests:
        """The requests by their names."""
        return {
            "artifacts.list": self._list,
            "artifacts.show": self._show,
            "artifacts.get": self._get,
            "artifacts.search": self._search,
            "artifacts.verify": self._verify,
            "artifacts.cool": self._cool,
            "artifacts.warm": self._warm,
            "artifacts.plan": self._plan,
            "artifacts.sweep": self._sweep,
            "artifacts.sweep_step": self._sweep_step,
            "artifacts.sweep_end": self._sweep_end,
        }

    async def _list(self, prefix: str = "", tag: str = "", limit: int = 0, after: str = "") -> Any:
        return shown(self._store.list(prefix, tag, limit, after))

    async def _show(self, artifact: str) -> Any:
        found = self._resolve(artifact)
        info, lineage = self._store.info(found), self._store.lineage(found)
        del lineage["id"]
        names = sorted({version["name"] for version in info["versions"]})
        history = [version for name in names for version in self._store.versions(name)]
        return shown({**info, "versions": history, "lineage": lineage})

    async def _get(self, artifact: str, offset: int = 0, limit: int = PART) -> Any:
        found = self._resolve(artifact)
        held = self._fetched
        content = held[1] if held and held[0] == found and offset else await self._store.read_async(found)
        end = min(offset + max(1, min(limit, PART)), len(content))
        # The next part is of the same bytes, which a cold artifact would have to be decompressed for again.
        self._fetched = (found, content) if end < len(content) else None
        return {
            "id": found,
            "size": len(content),
            "content": base64.b64encode(content[offset:end]).decode("ascii"),
            "next": end if end < len(content) else None,
        }

    async def _search(
        self,
        query: str = "",
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        media_type: str = "",
        limit: int = 20,
    ) -> Any:
        if len(query) > LONGEST_QUERY:
            raise InvalidInput(f"query: {len(query):,} characters, at most {LONGEST_QUERY:,} are taken")
        return shown(await self._store.search_async(query, tags, metadata, media_type, limit))

    async def _verify(self, artifact: str = "", after: str = "", limit: int = 1000) -> Any:
        """One artifact, or a page of all: how many were checked, which are damaged, where to go on."""
        if not artifact:
            return await self._store.verify_all_async(after, limit)
        found = self._resolve(artifact)
        good = await self._store.verify_async(found)
        return {"checked": 1, "damaged": [] if good else [found], "next": None}

    async def _cool(
        self, artifact: str = "", idle: float = 0.0, after: str = "", limit: int = 1000
    ) -> dict[str, Any]:
        """One artifact, or of a page of all those idle for so many seconds: kept compressed from now on."""
        if not artifact:
            return {**await self._store.cool_all_async(idle, after, limit), "artifacts": []}
        found = self._resolve(artifact)
        row = await self._store.cool_async(found)
        cooled = not row["reason"]
        return {
            "checked": 1,
            "cooled": int(cooled),
            "saved": row["size"] - row["bytes"] if cooled else 0,
            "damaged": [],
            "next": None,
            "artifacts": [{"id": found, **row}],
        }

    async def _warm(self, artifact: str) -> dict[str, Any]:
        """Kept as it was put again."""
        found = self._resolve(artifact)
        info = self._store.info(found)
        await self._store.warm_async(found)
        return {"id": found, "size": info["size"], "warmed": info["cold"] is not None}

    # Retention.

    async def _plan(self, limit: int = 1000, decision: str = "") -> Any:
        """What a sweep would do and why; nothing is changed."""
        plan = await self._stale.plan_async(None, limit, decision)
        pending = self._stale.pending_sweep()
        return {**shown(plan), "policies": self._stale.policies(), "pending": shown(pending)}

    async def _sweep(self) -> Any:
        return shown(await self._stale.begin_sweep_async())

    async def _sweep_step(self, sweep: int, batch: int = 1000) -> Any:
        return shown(await self._stale.step_async(sweep, batch))

    async def _sweep_end(self, sweep: int, commit: bool) -> Any:
        """Delete for good what the sweep put into the trash, or bring everything back."""
        if commit:
            return await self._stale.commit_async(sweep)
        return shown(await self._stale.abort_async(sweep))

    def _resolve(self, what: str) -> str:
        """The id that is meant by an id, the unambiguous beginning of one, NAME, or NAME@VERSION.

        Raises ``NotFound`` with the closest names, ``InvalidInput`` for an ambiguous beginning.
        """
        if _ID.match(what):
            return what
        found = self._store.find(what)
        name, at, version = what.rpartition("@")
        if found is None and at and version.isdecimal():
            found = self._store.find(name, int(version))
            known = [str(row["version"]) for row in self._store.versions(name)]
            if found is None and known:
                raise NotFound(
                    f"artifact {name} has no version {version}", hint=f"versions: {', '.join(known)}"
                )
        if found is not None:
            return found
        if _ID_PREFIX.match(what):
            rows = self._store.inventory(what.ljust(64, "0"), 2)
            ids = [row["id"] for row in rows if row["id"].startswith(what)]
            if len(ids) > 1:
                raise InvalidInput(f"{what} is the beginning of several ids", hint=f"{ids[0]}, {ids[1]}")
            if ids:
                return str(ids[0])
        names = [row["name"] for row in self._store.list(limit=COMPARED)]
        hint = did_you_mean(what, names, "symphony artifacts list")
        raise NotFound(f"there is no artifact {what!r}", hint=hint)


def shown(value: Any) -> Any:
    """Plain JSON with ISO times, from what a component answers."""
    if isinstance(value, list):
        return [shown(item) for item in value]
    if not isinstance(value, dict):
        return json_value(value, "value")
    return {key: _field(key, item) for key, item in value.items()}


def _field(key: str, item: Any) -> Any:
    if key == "metadata":  # a user's own, whatever its keys mean
        return json_value(item, key)
    return moment(item) if key in _TIMES and isinstance(item, int) else shown(item)


def moment(microseconds: int) -> str | None:
    """ISO 8601 in UTC; None for a time that never was."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat() if microseconds else None
