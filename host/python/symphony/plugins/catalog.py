"""The state of every plugin: what is wished, what is installed, what the probes found, put together.

``symphony plugins list``, name look-up and the managed interpreter read the same catalog.
It imports no plugin.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from symphony.plugins import cache, commands, discovery, quarantine, wish
from symphony.plugins.compatibility import judge
from symphony.plugins.problem import Problem
from symphony.plugins.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from symphony.home import Home
    from symphony.plugins.discovery import Candidate
    from symphony.plugins.probe_result import ProbeResult

LAST = 1 << 30


@dataclass(frozen=True)
class PluginState:
    """One plugin as the user sees it."""

    name: str
    version: str
    status: str
    enabled: bool
    candidate: Candidate | None = None
    result: ProbeResult | None = None
    problem: Problem | None = None
    requirement: str | None = None

    @property
    def contributions(self) -> list[dict[str, Any]]:
        return self.result.contributions if self.result else []

    @property
    def needs_attention(self) -> bool:
        return self.status not in ("active", "disabled")

    def adds(self) -> str:
        """The last column of the table: what it adds, or what is wrong."""
        if self.problem and self.needs_attention:
            return self.problem.message
        counts = Counter(item["kind"] for item in self.contributions)
        parts = [
            f"{counts[kind]} {kind}{'s' if counts[kind] > 1 else ''}"
            for kind in ("workflow", "model", "component", "command")
            if counts[kind]
        ]
        return ", ".join([*parts, *(["conductor"] if counts["conductor"] else [])])

    def json(self) -> dict[str, Any]:
        """One element of ``plugins list``."""
        measured = (
            {"modules": self.result.modules, "ms": self.result.ms}
            if self.result
            else {"modules": 0, "ms": 0.0}
        )
        return {
            "name": self.name,
            "version": self.version,
            "status": self.status,
            "enabled": self.enabled,
            "hooks": self.result.hooks if self.result else [],
            "contributions": [
                {key: item[key] for key in ("kind", "name", "id")} for item in self.contributions
            ],
            "import": measured,
            "problem": self.problem.json() if self.problem else None,
        }


def survey(
    home: Home, *, retry: Iterable[str] = (), note: Callable[[str], None] = lambda text: None
) -> list[PluginState]:
    """Every plugin in its order (the wished order first, then by name); probes what was never probed.

    ``retry`` names plugins whose failed probe is to be repeated.
    """
    home.check()
    wishes, found, banned = wish.read(home), discovery.installed(), quarantine.problems(home)
    names = sorted(
        found.keys() | banned.keys() | {name for name, wanted in wishes.items() if wanted.requirement},
        key=lambda name: (_order(wishes.get(name)), name),
    )
    states = [
        _before_probe(home, name, found.get(name), wishes.get(name, Wish()), banned.get(name))
        for name in names
    ]
    runnable = [state.candidate for state in states if state.status == "active" and state.candidate]
    again = set(retry)
    first = cache.results(home, [c for c in runnable if c.name in again], retry=True, note=note)
    rest = cache.results(home, [c for c in runnable if c.name not in again], note=note)
    probed = first | rest
    judged = conflicts([_after_probe(state, probed) for state in states])
    commands.keep(home, judged)
    return judged


def file_state(home: Home, path: Path, note: Callable[[str], None] = lambda text: None) -> PluginState:
    """The state of one file plugin, probed where it is new or changed."""
    candidate = discovery.file_candidate(path)
    banned = quarantine.problems(home).get(candidate.name)
    state = _before_probe(home, candidate.name, candidate, Wish(), banned)
    if state.status != "active":
        return state
    return _after_probe(state, cache.results(home, [candidate], note=note))


def _order(wanted: Wish | None) -> int:
    return wanted.order if wanted and wanted.order is not None else LAST


def _before_probe(
    home: Home, name: str, candidate: Candidate | None, wanted: Wish, banned: Problem | None
) -> PluginState:
    if candidate is None and banned is not None and not wanted.requirement:  # a file
        return PluginState(name, "", banned.status, wanted.enabled, problem=banned)
    if candidate is None:
        problem = Problem(
            "missing",
            "wished for in plugins.toml, but not installed",
            hint=f"symphony plugins install {name}",
        )
        return PluginState(name, "", "missing", wanted.enabled, None, None, problem, wanted.requirement)
    state = PluginState(
        name, candidate.version, "active", wanted.enabled, candidate, requirement=wanted.requirement
    )
    if not wanted.enabled:
        return replace(state, status="disabled", result=cache.peek(home, candidate))
    if banned is not None:
        result = cache.peek(home, candidate)
        return replace(state, status=banned.status, problem=banned, result=result)
    problem_found = judge(candidate)
    if problem_found:
        return replace(state, status=problem_found.status, problem=problem_found)
    return state


def _after_probe(state: PluginState, probed: dict[str, ProbeResult]) -> PluginState:
    if state.status != "active" or state.candidate is None:
        return state
    result = probed[state.candidate.target]
    return replace(
        state,
        result=result,
        problem=result.problem,
        status=result.problem.status if result.problem else "active",
    )


def conflicts(states: list[PluginState]) -> list[PluginState]:
    """Mark each active plugin that gives a name an earlier one gives already."""
    owners: dict[tuple[str, str], str] = {}
    judged = []
    for state in states:
        if state.status == "active":
            given = [
                (i["kind"], i["name"]) for i in state.contributions if i["kind"] in ("workflow", "model")
            ]
            taken = next((key for key in given if key in owners), None)
            if taken:
                kind, name = taken
                problem = Problem(
                    "conflict",
                    f"{kind} {name} is already given by {owners[taken]}",
                    hint=f"symphony plugins disable {owners[taken]}, or disable {state.name}",
                )
                state = replace(state, status="conflict", problem=problem)
            else:
                owners.update(dict.fromkeys(given, state.name))
        judged.append(state)
    return judged


def workflows(states: Iterable[PluginState]) -> list[dict[str, Any]]:
    """The elements of ``workflows list``, sorted by name."""
    rows = [
        {
            "name": item["name"],
            "id": item["id"],
            "plugin": state.name,
            "summary": item["summary"],
            "inputs": item["inputs"],
        }
        for state in states
        if state.status == "active"
        for item in state.contributions
        if item["kind"] == "workflow"
    ]
    return sorted(rows, key=lambda row: row["name"])
