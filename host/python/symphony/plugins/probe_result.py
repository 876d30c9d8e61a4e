"""What a probe found out about a plugin; ``symphony.plugins.prober`` makes it, the cache keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from symphony.plugins.problem import Problem


@dataclass(frozen=True)
class ProbeResult:
    """What a plugin offers, or what is wrong with it. ``output`` is the start of what it printed."""

    hooks: list[str] = field(default_factory=list)
    contributions: list[dict[str, Any]] = field(default_factory=list)
    modules: int = 0
    ms: float = 0.0
    problem: Problem | None = None
    output: str = ""

    @property
    def ok(self) -> bool:
        return self.problem is None or self.problem.status == "active"

    def json(self) -> dict[str, Any]:
        return {
            "hooks": self.hooks,
            "contributions": self.contributions,
            "import": {"modules": self.modules, "ms": self.ms},
            "problem": self.problem.json() if self.problem else None,
            "output": self.output,
        }

    @classmethod
    def of(cls, data: dict[str, Any]) -> ProbeResult:
        """Rebuild one from its JSON form; raises KeyError or TypeError for anything else."""
        return cls(
            list(data["hooks"]),
            list(data["contributions"]),
            int(data["import"]["modules"]),
            float(data["import"]["ms"]),
            Problem.of(data["problem"]),
            str(data.get("output", "")),
        )
