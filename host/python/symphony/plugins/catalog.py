"""The state of every plugin: what is wished, what is installed, what the probes found, put together.

``symphony plugins list``, name look-up and the managed interpreter read the same catalog.
It imports no plugin.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from symphony.plugins import (
    cache,
    commands,
    conflicts,
    discovery,
    lock,
    policy,
    quarantine,
    selection,
    trust,
    wish,
)
from symphony.plugins.compatibility import judge
from symphony.plugins.names import OBSERVING
from symphony.plugins.namespace import KINDS, UNORDERED, Offer, Rank
from symphony.plugins.problem import Problem
from symphony.plugins.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from symphony.home import Home
    from symphony.plugins.discovery import Candidate
    from symphony.plugins.lock import Locked
    from symphony.plugins.policy import Policy
    from symphony.plugins.probe_result import ProbeResult
    from symphony.plugins.selection import Selection


UNPLACED: Final = Rank()


@dataclass(frozen=True)
class Rules:
    """All that is judged before anything of a plugin runs."""

    wishes: dict[str, Wish]
    locks: dict[str, Locked]
    policy: Policy
    banned: dict[str, Problem]
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PluginState:
    """One plugin as the user sees it.

    ``order`` is its place among all, from 1; ``short`` are the short names that mean its contributions, by
    kind and name; ``notes`` say which ones others have.
    """

    name: str
    version: str
    status: str
    enabled: bool
    candidate: Candidate | None = None
    result: ProbeResult | None = None
    problem: Problem | None = None
    requirement: str | None = None
    rank: Rank = UNPLACED
    order: int = 0
    short: frozenset[tuple[str, str]] = frozenset()
    notes: tuple[Problem, ...] = ()

    @property
    def offers(self) -> list[Offer]:
        """What it contributes under a name, while it is active."""
        given = self.contributions if self.status == "active" else []
        return [Offer.of(self.name, item) for item in given if item["kind"] in KINDS]

    @property
    def contributions(self) -> list[dict[str, Any]]:
        return self.result.contributions if self.result else []

    def short_name(self, item: dict[str, Any]) -> str | None:
        """The short name that means one of its contributions; None where that means another's, or nothing."""
        offer = Offer.of(self.name, item)
        return offer.name if (offer.kind, offer.name) in self.short else None

    @property
    def needs_attention(self) -> bool:
        return self.status not in ("active", "disabled")

    def adds(self) -> str:
        """The last column of the table: what it adds, or what is wrong."""
        if self.problem and self.status != "active":
            return self.problem.message
        counts = Counter(item["kind"] for item in self.contributions)
        parts = [
            f"{counts[kind]} {kind}{'s' if counts[kind] > 1 else ''}"
            for kind in ("workflow", "model", "component", "type", "executor", "command")
            if counts[kind]
        ]
        parts += ["conductor"] if counts["conductor"] else []
        parts += ["observers"] if self.result and not OBSERVING.isdisjoint(self.result.hooks) else []
        return ", ".join(parts)

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
            "order": self.order,
            "hooks": self.result.hooks if self.result else [],
            "contributions": [
                {**{key: item[key] for key in ("kind", "name", "id")}, "short": self.short_name(item)}
                for item in self.contributions
            ],
            "import": measured,
            "problem": next((problem.json() for problem in (self.problem, *self.notes) if problem), None),
        }


def survey(
    home: Home,
    *,
    retry: Iterable[str] = (),
    probe: bool = True,
    selected: Selection | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> list[PluginState]:
    """Every plugin in its order (see ``Rank``); probes what was never probed.

    ``retry`` names plugins whose failed probe is to be repeated; without ``probe`` nothing is executed.
    ``selected`` takes the place of what ``SYMPHONY_PLUGINS`` says.
    """
    home.check()
    chosen = selection.current() if selected is None else selected
    found, locks = discovery.installed(chosen), lock.read(home)
    rules = Rules(
        wish.read(home),
        locks,
        policy.read(home),
        quarantine.problems(home),
        cache.files_digests(home, [found[name] for name in sorted(found.keys() & locks.keys())]),
    )
    prefer = wish.preferences(home)
    wished = {name for name, wanted in rules.wishes.items() if wanted.requirement}
    names = {name for name in found.keys() | rules.banned.keys() | wished if chosen.takes(name)}
    states = [_before_probe(home, name, found.get(name), rules) for name in names]
    states = conflicts.one_per_prefix(sorted(states, key=lambda state: state.rank), prefer)
    runnable = [state.candidate for state in states if state.status == "active" and state.candidate]
    again = set(retry)
    first = cache.results(home, [c for c in runnable if c.name in again], retry=True, probe=probe, note=note)
    rest = cache.results(home, [c for c in runnable if c.name not in again], probe=probe, note=note)
    probed = first | rest
    judged = conflicts.judged([_after_probe(state, probed) for state in states], prefer)
    if chosen.everything:
        commands.keep(home, judged)
    return judged


def file_state(
    home: Home, path: Path, note: Callable[[str], None] = lambda text: None, *, probe: bool = True
) -> PluginState:
    """The state of one file plugin; ``probe`` probes it where it is new or changed."""
    candidate = discovery.file_candidate(path)
    rules = Rules({}, {}, policy.read(home), quarantine.problems(home))
    state = _before_probe(home, candidate.name, candidate, rules)
    if state.status != "active":
        return state
    return _after_probe(state, cache.results(home, [candidate], probe=probe, note=note))


def _rank(name: str, candidate: Candidate | None, rules: Rules) -> Rank:
    order = rules.wishes.get(name, Wish()).order
    locked = rules.locks.get(name)
    if locked is not None:
        since = datetime.fromisoformat(locked.installed).timestamp()
    else:
        since = candidate.installed if candidate else math.inf
    return Rank(UNORDERED if order is None else order, since, name)


def _before_probe(home: Home, name: str, candidate: Candidate | None, rules: Rules) -> PluginState:
    wanted, banned = rules.wishes.get(name, Wish()), rules.banned.get(name)
    rank = _rank(name, candidate, rules)
    if candidate is None and banned is not None and not wanted.requirement:  # a file
        return PluginState(name, "", banned.status, wanted.enabled, problem=banned, rank=rank)
    forbidden = rules.policy.judge(name, file=candidate is not None and candidate.file is not None)
    if candidate is None:
        missing = Problem(
            "missing",
            "wished for in plugins.toml, but not installed",
            hint="symphony plugins sync" if name in rules.locks else f"symphony plugins install {name}",
        )
        problem = forbidden or missing
        return PluginState(
            name,
            "",
            problem.status,
            wanted.enabled,
            problem=problem,
            requirement=wanted.requirement,
            rank=rank,
        )
    forbidden = forbidden or trust.problem(home, candidate)
    state = PluginState(
        name,
        candidate.version,
        "active",
        wanted.enabled,
        candidate,
        requirement=wanted.requirement,
        rank=rank,
    )
    if not wanted.enabled or forbidden is not None:
        return replace(state, status="disabled", problem=forbidden, result=cache.peek(home, candidate))
    if banned is not None:
        result = cache.peek(home, candidate)
        return replace(state, status=banned.status, problem=banned, result=result)
    problem_found = _changed(candidate, rules) or judge(candidate)
    if problem_found:
        return replace(state, status=problem_found.status, problem=problem_found)
    return state


def _changed(candidate: Candidate, rules: Rules) -> Problem | None:
    """What the lock has to say against the files that are there."""
    locked = rules.locks.get(candidate.name)
    if locked is None or locked.record is None:
        return None
    name, record = candidate.name, candidate.record
    hint = f"symphony plugins update {name}, or to use it as it is: symphony plugins enable {name}"
    if record is None:
        told = f"an editable install took the place of {locked.version}, which plugins.lock has"
    elif candidate.version != locked.version:
        told = f"version {candidate.version} took the place of {locked.version}, which plugins.lock has"
    elif rules.digests[name] != locked.record:
        differing = record.differing(record.actual())
        at = str(record.root / differing[0]) if differing else None
        return Problem("changed", "its files are not those in plugins.lock", at, hint)
    else:
        return None
    return Problem("changed", told, hint=hint)


def _after_probe(state: PluginState, probed: dict[str, ProbeResult]) -> PluginState:
    if state.status != "active" or state.candidate is None:
        return state
    result = probed.get(state.candidate.target)
    if result is None:
        unprobed = Problem("unprobed", "not probed yet", hint=f"symphony plugins info {state.name}")
        return replace(state, status=unprobed.status, problem=unprobed)
    return replace(
        state,
        result=result,
        problem=result.problem,
        status=result.problem.status if result.problem else "active",
    )


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
