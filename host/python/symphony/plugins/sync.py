"""Bring the environment back to what ``plugins.toml`` wishes for, with the files that ``plugins.lock`` names.

For an environment that was made anew, and for plugins whose files changed. It removes nothing: a plugin that
nobody wishes for stays.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import NotFound, Refused, SymphonyError
from symphony.plugins import cache, catalog, discovery, environment, lock, policy, wish
from symphony.plugins.credentials import without_credentials
from symphony.plugins.installer import IndexOptions, Installer
from symphony.plugins.look import DIRECT, bound, look

if TYPE_CHECKING:
    from symphony.home import Home
    from symphony.plugins.catalog import PluginState
    from symphony.plugins.lock import Locked
    from symphony.plugins.policy import Policy

Note = Callable[[str], None]
ALL: Final = frozenset({"install", "reinstall", "lock", "keep", "refuse"})
CHANGES: Final = frozenset({"install", "reinstall"})


@dataclass(frozen=True)
class Step:
    """What is done about one wish: ``action`` is install, reinstall, lock, keep or refuse."""

    name: str
    action: str
    requirement: str
    version: str | None
    reason: str

    @property
    def direct(self) -> str | None:
        """The address or file that the requirement names, if it does."""
        found = DIRECT.match(self.requirement)
        return found[1] if found else None

    @property
    def spec(self) -> str:
        """What to ask the installer for: the locked version, else what is wished."""
        return f"{self.name}=={self.version}" if self.version and not self.direct else self.requirement

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "action": self.action,
            "version": self.version,
            "requirement": self.requirement,
            "reason": self.reason,
        }


@dataclass
class Synced:
    """What was done: the steps, the states afterwards, and what could not be done, by plugin."""

    steps: list[Step]
    states: list[PluginState]
    errors: dict[str, SymphonyError]


def plan(home: Home) -> list[Step]:
    """What ``sync`` would do, one step for each wish, sorted by name. Installs and executes nothing."""
    home.check()
    rules, locks, found = policy.read(home), lock.read(home), discovery.installed()
    digests = cache.files_digests(home, [found[name] for name in sorted(found.keys() & locks.keys())])
    steps = []
    for name, wanted in sorted(wish.read(home).items()):
        if wanted.requirement is None:
            continue
        problem, candidate, locked = rules.judge(name), found.get(name), locks.get(name)
        version = _locked_version(wanted.requirement, locked)
        if problem is not None:
            action, reason = "refuse", problem.message
        elif candidate is None:
            action, reason = "install", "it is missing"
        elif locked is None:
            action, reason = "lock", "it is not in plugins.lock yet"
            version = candidate.version
        elif _differs(candidate, locked, digests.get(name)):
            action, reason = "reinstall", "its files are not those in plugins.lock"
        elif version is None:
            action, reason = "reinstall", f"{locked.version} is not what is wished for any more"
        else:
            action, reason = "keep", "it is there"
        steps.append(Step(name, action, wanted.requirement, version, reason))
    return steps


def _locked_version(requirement: str, locked: Locked | None) -> str | None:
    """The locked version, where it is one that is wished for."""
    if locked is None or DIRECT.match(requirement):
        return locked.version if locked else None
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        fits = Requirement(requirement).specifier.contains(locked.version, prereleases=True)
    except InvalidRequirement:
        return None  # the installer says what is wrong with it
    return locked.version if fits else None


def _differs(candidate: discovery.Candidate, locked: Locked, digest: str | None) -> bool:
    if locked.record is None:
        return False
    return candidate.version != locked.version or digest != locked.record


def sync(
    home: Home,
    options: IndexOptions,
    *,
    allow_build: bool = False,
    actions: frozenset[str] = ALL,
    note: Note = lambda text: None,
) -> Synced:
    """Carry the plan out: the locked version where it can be had, else the newest that is wished for.

    One plugin that cannot be had keeps no other from being restored; ``Synced.errors`` names it.
    ``actions`` are those of the plan to carry out.

    Raises
    ------
    Refused
        The environment may not be changed, or the policy allows none of the indexes.
    """
    steps = [step for step in plan(home) if step.action in actions]
    errors: dict[str, SymphonyError] = {
        step.name: Refused(f"{step.name}: {step.reason}") for step in steps if step.action == "refuse"
    }
    wanted = [step for step in steps if step.action in CHANGES]
    if wanted:
        rules = policy.read(home)
        home.ensure_writable()
        installer = Installer(options, bound(rules, options))
        with environment.held(note):
            _Restoring(home, rules, installer, allow_build, note).restore(wanted, errors)
    locks, found = lock.read(home), discovery.installed()
    for step in steps:
        if step.action == "lock" and step.name in found:
            lock.keep(home, found[step.name])
        elif step.action in CHANGES and step.name not in errors:
            _accept(home, step, found.get(step.name), locks.get(step.name), errors, note)
    for name in errors.keys() & {step.name for step in wanted}:
        cache.forget(home, name)
    return Synced(steps, catalog.survey(home, selected=discovery.ALL, note=note), errors)


@dataclass
class _Restoring:
    """Installs what is missing: all at once, and one by one where that does not go."""

    home: Home
    policy: Policy
    installer: Installer
    allow_build: bool
    note: Note

    def restore(self, steps: list[Step], errors: dict[str, SymphonyError]) -> None:
        with tempfile.TemporaryDirectory(prefix="symphony-sync-") as scratch:
            specs: dict[str, str] = {}
            for step in steps:
                self.note(f"installing {without_credentials(step.spec)}: {step.reason}")
                try:
                    specs[step.name] = self._spec(step, Path(scratch))
                except SymphonyError as error:
                    errors[step.name] = error
            there = discovery.installed()
            fresh = [step for step in steps if step.name in specs and step.name in there]
            others = [step for step in steps if step.name in specs and step.name not in there]
            for group, again in ((fresh, True), (others, False)):
                self._install(group, specs, errors, fresh=again)

    def _spec(self, step: Step, scratch: Path) -> str:
        direct = step.direct
        if direct is None:
            return step.spec
        if not direct.startswith("file:"):
            self.policy.indexes([direct])
            return step.spec
        from urllib.parse import unquote, urlsplit

        path = unquote(urlsplit(direct).path)
        if not Path(path).exists():
            raise NotFound(
                f"{step.name}: {path}, which it was installed from, is gone",
                hint=f"symphony plugins install {step.name}, or a wheel of it",
            )
        folder = scratch / step.name
        folder.mkdir()
        looked = look(self.installer, self.policy, path, folder, allow_build=self.allow_build)
        return looked.install

    def _install(
        self, steps: list[Step], specs: dict[str, str], errors: dict[str, SymphonyError], *, fresh: bool
    ) -> None:
        if not steps:
            return
        try:
            self.installer.install(
                *(specs[step.name] for step in steps), allow_build=self.allow_build, fresh=fresh
            )
        except SymphonyError as error:
            if len(steps) == 1:
                self._instead(steps[0], specs[steps[0].name], error, errors, fresh=fresh)
                return
            for step in steps:
                self._install([step], specs, errors, fresh=fresh)

    def _instead(
        self, step: Step, spec: str, error: SymphonyError, errors: dict[str, SymphonyError], *, fresh: bool
    ) -> None:
        """What to do where the locked version cannot be had: take what is wished for."""
        if step.direct or spec == step.requirement or not isinstance(error, NotFound):
            errors[step.name] = error
            return
        try:
            self.installer.install(step.requirement, allow_build=self.allow_build, fresh=fresh)
        except SymphonyError:
            errors[step.name] = error


def _accept(
    home: Home,
    step: Step,
    candidate: discovery.Candidate | None,
    locked: Locked | None,
    errors: dict[str, SymphonyError],
    note: Note,
) -> None:
    """Take what was installed into the lock, unless it claims to be what is locked and is not."""
    if candidate is None:
        errors[step.name] = Refused(
            f"{step.name}: {step.requirement} is installed now, but it is no Symphony plugin",
            hint=f"take it out of {home.plugins_toml}",
        )
        return
    record = candidate.record.actual().digest() if candidate.record else None
    if locked is not None and locked.version == candidate.version and locked.record not in (None, record):
        errors[step.name] = Refused(
            f"{step.name} {candidate.version} came with other files than those in plugins.lock",
            hint=f"if that is meant: symphony plugins enable {step.name}",
        )
        return
    if step.version is not None and candidate.version != step.version:
        note(f"{step.name} {step.version} of plugins.lock cannot be had: {candidate.version} is installed")
    cache.forget(home, step.name)
    lock.keep(home, candidate)
