"""The state of every plugin: what is wished, what is installed, what the probes found, put together.

``symphony plugins list``, name look-up and the managed interpreter read the same catalog.
It imports no plugin.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from symphony.plugins import cache, discovery, quarantine, trust, wish
from symphony.plugins.compatibility import judge
from symphony.plugins.discovery import LOCAL_FILE
from symphony.plugins.names import canonical, prefix
from symphony.plugins.namespace import (
    CORE,
    KINDS,
    NONE,
    RESERVED,
    UNORDERED,
    Namespace,
    Offer,
    Rank,
    core_names,
    prefix_holder,
)
from symphony.plugins.problem import Problem
from symphony.plugins.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from symphony.home import Home
    from symphony.plugins.discovery import Candidate
    from symphony.plugins.probe_result import ProbeResult

UNPLACED: Final = Rank()


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
        if self.problem and self.needs_attention:
            return self.problem.message
        counts = Counter(item["kind"] for item in self.contributions)
        parts = [
            f"{counts[kind]} {kind}{'s' if counts[kind] > 1 else ''}"
            for kind in ("workflow", "model", "component")
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
    home: Home, *, retry: Iterable[str] = (), note: Callable[[str], None] = lambda text: None
) -> list[PluginState]:
    """Every plugin in its order (see ``Rank``); probes what was never probed.

    ``retry`` names plugins whose failed probe is to be repeated.
    """
    home.check()
    wishes, found, banned = wish.read(home), discovery.installed(), quarantine.problems(home)
    prefer = wish.preferences(home)
    names = found.keys() | banned.keys() | {name for name, wanted in wishes.items() if wanted.requirement}
    states = [
        _before_probe(home, name, found.get(name), wishes.get(name, Wish()), banned.get(name))
        for name in names
    ]
    states = _one_per_prefix(sorted(states, key=lambda state: state.rank), prefer)
    runnable = [state.candidate for state in states if state.status == "active" and state.candidate]
    again = set(retry)
    first = cache.results(home, [c for c in runnable if c.name in again], retry=True, note=note)
    rest = cache.results(home, [c for c in runnable if c.name not in again], note=note)
    probed = first | rest
    return judged([_after_probe(state, probed) for state in states], prefer)


def file_state(home: Home, path: Path, note: Callable[[str], None] = lambda text: None) -> PluginState:
    """The state of one file plugin, probed where it is new or changed."""
    candidate = discovery.file_candidate(path)
    untrusted = trust.problem(home, candidate)
    if untrusted:
        return PluginState(candidate.name, "", untrusted.status, True, candidate, problem=untrusted)
    banned = quarantine.problems(home).get(candidate.name)
    state = _before_probe(home, candidate.name, candidate, Wish(), banned)
    if state.status != "active":
        return state
    return _after_probe(state, cache.results(home, [candidate], note=note))


def with_files(
    states: Sequence[PluginState], files: Sequence[PluginState], prefer: Mapping[str, str] = NONE
) -> list[PluginState]:
    """Installed plugins and, last in order, files; one with an installed plugin's names is in conflict."""
    checked = []
    for file in files:
        problem = file_conflict(file, states)
        checked.append(replace(file, status="conflict", problem=problem) if problem else file)
    return judged([*states, *checked], prefer)


def file_conflict(file: PluginState, states: Iterable[PluginState]) -> Problem | None:
    """Why a file plugin cannot have the names ``stem.*``; the working folder's has those it has."""
    if file.candidate and file.candidate.file and file.candidate.file.name == LOCAL_FILE:
        return None
    holder = prefix_holder([s.name for s in states if _holds(s)], canonical(prefix(file.name)))
    if holder is None or file.status != "active":
        return None
    whose = "Symphony's own" if holder == CORE else f"those of the plugin {holder}"
    return Problem("conflict", f"its names {prefix(file.name)}.* are {whose}", hint="rename the file")


def _before_probe(
    home: Home, name: str, candidate: Candidate | None, wanted: Wish, banned: Problem | None
) -> PluginState:
    order = wanted.order if wanted.order is not None else UNORDERED
    rank = Rank(order, candidate.installed if candidate else UNPLACED.installed, name)
    if candidate is None and banned is not None and not wanted.requirement:  # a file
        return PluginState(name, "", banned.status, wanted.enabled, problem=banned, rank=rank)
    if candidate is None:
        problem = Problem(
            "missing",
            "wished for in plugins.toml, but not installed",
            hint=f"symphony plugins install {name}",
        )
        return PluginState(name, "", "missing", wanted.enabled, None, None, problem, wanted.requirement, rank)
    state = PluginState(
        name,
        candidate.version,
        "active",
        wanted.enabled,
        candidate,
        requirement=wanted.requirement,
        rank=rank,
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


def _holds(state: PluginState) -> bool:
    """Whether the plugin keeps its names from others: also while it is broken, or they would change hands."""
    return state.candidate is not None and state.enabled and state.status != "conflict"


def _one_per_prefix(states: list[PluginState], prefer: Mapping[str, str]) -> list[PluginState]:
    """Mark who cannot have its full names, before any code of it runs."""
    holding = {state.name: state for state in states if _holds(state)}
    checked = []
    for state in states:
        wanted = prefix(state.name)
        holder = prefix_holder(holding, wanted, prefer)
        if state.status == "active" and (wanted in RESERVED or holder not in (None, state.name)):
            rival = None if holder is None or wanted in RESERVED else holding[holder]
            problem = _prefix_problem(state, wanted, rival, prefer)
            state = replace(state, status="conflict", problem=problem)
        checked.append(state)
    return checked


def _prefix_problem(
    state: PluginState, wanted: str, holder: PluginState | None, prefer: Mapping[str, str]
) -> Problem:
    if holder is None:
        message = f"the name {wanted!r} is Symphony's own"
        return Problem("conflict", message, hint=f"symphony plugins uninstall {state.name}")
    preferred = canonical(holder.name) in (prefer.get(f"plugin:{wanted}"), prefer.get(wanted))
    why = "which plugins.toml prefers" if preferred else holder.rank.why_before(state.rank)
    return Problem(
        "conflict",
        f"the names {wanted}.* are those of {holder.name}, {why}",
        hint=f"symphony plugins prefer plugin:{wanted} {state.name}, or disable {holder.name}",
    )


def judged(states: Sequence[PluginState], prefer: Mapping[str, str] = NONE) -> list[PluginState]:
    """Mark who gives a component that is there already; tell the others which short names are not theirs."""
    ids = {f"{CORE}.{name}": "Symphony" for name in core_names("component")} if _native(states) else {}
    alone = []
    for state in states:
        given = [offer.id for offer in state.offers if offer.kind == "component"]
        taken = next((one for one in given if one in ids), None)
        if taken:
            whose = ids[taken]
            hint = f"symphony plugins disable {state.name if whose == 'Symphony' else whose}"
            message = f"the component {taken} is given by {whose} already"
            state = replace(state, status="conflict", problem=Problem("conflict", message, hint=hint))
        else:
            ids.update(dict.fromkeys(given, state.name))
        alone.append(state)
    names = namespace(alone, prefer)
    ranks = {state.name: state.rank for state in alone}
    return [
        replace(
            state,
            order=place,
            short=frozenset((o.kind, o.name) for o in state.offers if names.shortest(o) == o.name),
            notes=tuple(_taken(state, names, ranks)),
        )
        for place, state in enumerate(alone, 1)
    ]


def _native(states: Iterable[PluginState]) -> bool:
    return any(offer.kind == "component" for state in states for offer in state.offers)


def _taken(state: PluginState, names: Namespace, ranks: Mapping[str, Rank]) -> Iterable[Problem]:
    for offer in state.offers:
        found = names.find(offer.kind, offer.name)
        if found is None or found.full == offer.full:
            continue
        what = f"the short name {offer.kind} {offer.name}"
        if found.plugin == CORE:
            yield Problem("name_taken", f"{what} is Symphony's own", hint=f"use {offer.full}")
            continue
        preferred = names.preferred(offer.kind, offer.name)
        why = "which plugins.toml prefers" if preferred else ranks[found.plugin].why_before(state.rank)
        hint = f"use {offer.full}, or: symphony plugins prefer {offer.kind}:{offer.name} {state.name}"
        yield Problem("name_taken", f"{what} is that of {found.plugin}, {why}", hint=hint)


def namespace(states: Iterable[PluginState], prefer: Mapping[str, str] = NONE) -> Namespace:
    """The names of what active plugins contribute."""
    return Namespace([offer for state in states for offer in state.offers], prefer)


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
