"""``symphony plugins check``: everything that is wrong with a plugin, installed or not, for its author.

What is a matter of metadata and source is read; what only running shows is tried in the probe's process.
"""

from __future__ import annotations

import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.plugins import cache, compatibility, discovery, lint, prober, trust
from symphony.plugins.lookup import error_for
from symphony.plugins.names import canonical, prefix
from symphony.plugins.namespace import KINDS, RESERVED, Offer, core_names
from symphony.plugins.probe_result import ProbeResult
from symphony.plugins.problem import NOTES, Problem
from symphony.plugins.subject import Subject, subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from symphony.home import Home

SLOW: Final = 1000.0
"""Milliseconds of an import that are told to the author: each interpreter and each probe pays them."""
NOT_FREE: Final = RESERVED | {"under-test"}
"""What no plugin can be called; ``under-test`` is who gives the workflows of ``symphony.testing``."""
EXITS: Final = {"broken": 4, "incompatible": 5, "conflict": 6, "effect": 1}
"""The worst first: the exit code of a check is that of the first level that there is a fault of."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong; ``level`` is broken, incompatible, conflict, effect or note."""

    level: str
    problem: Problem

    def json(self) -> dict[str, Any]:
        return {"level": self.level, **self.problem.json()}


@dataclass(frozen=True)
class Checked:
    """All that a check found; ``kind`` says what was checked: installed, file, project or wheel."""

    name: str
    version: str
    kind: str
    faults: list[Fault] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    contributions: list[dict[str, Any]] = field(default_factory=list)
    modules: int = 0
    ms: float = 0.0

    @property
    def exit(self) -> int:
        levels = {fault.level for fault in self.faults}
        return next((code for level, code in EXITS.items() if level in levels), 0)

    def json(self) -> dict[str, Any]:
        """The document of the command, but for its ``error``."""
        return {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "hooks": self.hooks,
            "contributions": [
                {key: item[key] for key in ("kind", "name", "id")} for item in self.contributions
            ],
            "import": {"modules": self.modules, "ms": self.ms},
            "faults": [fault.json() for fault in self.faults],
        }


def check(home: Home, target: str) -> Checked:
    """Check a plugin: the name of an installed one, a file, a project's folder, or a wheel.

    Raises
    ------
    NotFound
        There is no such file, and no such plugin is installed.
    InvalidInput
        It is none of these things.
    Refused
        It is a ``symphony_plugins.py`` that is not trusted: to check it would run it.
    """
    with _unpacked(subject_of(target)) as subject:
        if subject.file:
            refused = trust.problem(home, discovery.file_candidate(subject.file))
            if refused:
                raise error_for(f"plugin file {subject.file}", refused)
        problems = [*subject.problems, *_unfitting(subject), *_taken(home, subject)]
        result = ProbeResult()
        if subject.file or subject.modules:
            result, found = prober.examine(
                str(subject.file or subject.name), subject.modules, subject.path, subject.own
            )
            problems += found
        if result.ms > SLOW:
            problems.append(
                Problem(
                    "slow",
                    f"importing it takes {result.ms / 1000:.1f} s ({result.modules} modules)",
                    hint="import what is heavy inside the steps that use it",
                )
            )
        problems += _given_already(home, subject, result)
        faults = [Fault(_level(problem), problem) for problem in problems]
        for file in subject.sources():
            found_effects = lint.findings(file, compatibility.read_source(file))
            faults += [Fault("effect", Problem(f.code, f.message, f.at, f.hint)) for f in found_effects]
        shown = [replace(fault, problem=subject.shown(fault.problem)) for fault in _once(faults)]
    return Checked(
        subject.name,
        subject.version,
        subject.kind,
        shown,
        result.hooks,
        result.contributions,
        result.modules,
        result.ms,
    )


@contextmanager
def _unpacked(subject: Subject) -> Iterator[Subject]:
    """A wheel's files where they can be imported; everything else as it is."""
    if subject.wheel is None:
        yield subject
        return
    with tempfile.TemporaryDirectory(prefix="symphony-check-") as folder:
        with zipfile.ZipFile(subject.wheel) as archive:
            archive.extractall(folder)
        yield replace(subject, root=Path(folder).resolve())


def _unfitting(subject: Subject) -> Iterator[Problem]:
    """Each thing that does not fit this host, one by one."""
    for requires_python, requires in ((subject.requires_python, ()), ("", subject.requires)):
        problem = compatibility.judge_metadata(requires_python, requires)
        if problem is not None:
            yield problem
    problem = compatibility.judge_api(
        (file, compatibility.read_source(file)) for file in subject.entry_sources()
    )
    if problem is not None:
        yield problem


def _taken(home: Home, subject: Subject) -> Iterator[Problem]:
    """Whether its name is free."""
    name = canonical(subject.name)
    if subject.kind in ("project", "wheel") and subject.name != name:
        yield Problem(
            "name", f"the name {subject.name!r} is shown as {name!r} everywhere", hint=f"name it {name}"
        )
    if prefix(name) in NOT_FREE and not _local(subject):
        yield Problem(
            "conflict", f"the name {subject.name!r} belongs to Symphony", hint="choose another name"
        )
    for other in discovery.installed():
        if prefix(other) == prefix(name) and (other != name or subject.kind == "file"):
            yield Problem(
                "conflict",
                f"{other}, which is installed, has the prefix {prefix(name)!r}, too",
                hint="choose another name",
            )


def _local(subject: Subject) -> bool:
    return subject.file is not None and subject.file.name == discovery.LOCAL_FILE


def _given_already(home: Home, subject: Subject, result: ProbeResult) -> Iterator[Problem]:
    """Short names that something else has already: where both are, one needs its full name."""
    offers = [Offer.of(subject.name, item) for item in result.contributions if item["kind"] in KINDS]
    mine = {(offer.kind, offer.name): offer for offer in offers}
    for offer in offers:
        if offer.name in core_names(offer.kind):
            what = f"the short name {offer.kind} {offer.name}"
            yield Problem("name_taken", f"{what} is Symphony's own", hint=f"use {offer.full}")
    for candidate in discovery.installed().values() if mine else ():
        known = cache.peek(home, candidate) if candidate.name != canonical(subject.name) else None
        for item in known.contributions if known else ():
            theirs = Offer.of(candidate.name, item)
            own = mine.get((theirs.kind, theirs.name))
            if own is None:
                continue
            if own.kind == "component" and own.id == theirs.id:
                yield Problem("conflict", f"the component {own.id} is given by {candidate.name} already")
            else:
                what = f"the short name {own.kind} {own.name}"
                yield Problem(
                    "name_taken", f"{what} is given by {candidate.name}, too", hint=f"use {own.full}"
                )


def _level(problem: Problem) -> str:
    return "note" if problem.code in (*NOTES, "name", "slow", "dependency") else problem.status


def _once(faults: Sequence[Fault]) -> list[Fault]:
    """Each fault once, those of one place together, the worst levels first."""
    order = [*EXITS, "note"]
    unique = dict.fromkeys(faults)
    return sorted(unique, key=lambda fault: order.index(fault.level))
