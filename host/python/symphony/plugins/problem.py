"""What is wrong with a plugin, as data, from the probe's report through the cache to the screen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

INCOMPATIBLE: Final = frozenset({"api", "python", "host", "metadata", "abi"})
# What leaves the plugin in use: it talks, another has its short name, or the host goes on with the files it
# has loaded.
NOTES: Final = frozenset({"name_taken", "noise", "stale"})
# What keeps it out on purpose.
DISABLED: Final = frozenset({"policy", "unprobed", "untrusted"})


@dataclass(frozen=True)
class Problem:
    """``code`` names the state, ``at`` is file:line of the plugin's own frame, ``hint`` what to type next."""

    code: str
    message: str
    at: str | None = None
    hint: str = ""

    @property
    def status(self) -> str:
        """The plugin's status that follows from it."""
        if self.code in NOTES:
            return "active"
        if self.code in INCOMPATIBLE:
            return "incompatible"
        if self.code in DISABLED:
            return "disabled"
        return self.code if self.code in ("changed", "conflict", "missing", "quarantined") else "broken"

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> Problem | None:
        """Rebuild one from its JSON form."""
        return (
            None
            if data is None
            else cls(data["code"], data["message"], data.get("at"), data.get("hint") or "")
        )
