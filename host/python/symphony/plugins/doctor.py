"""What is wrong with the plugins of a home and environment, and for each fault the command that mends it.

Looks at everything and executes only what was never probed. ``mend`` does what takes nothing from anybody.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import InvalidInput, SymphonyError
from symphony.plugins import (
    SELECTION,
    cache,
    catalog,
    discovery,
    environment,
    lock,
    policy,
    selection,
    sync,
    wish,
)
from symphony.plugins.namespace import LOCAL

if TYPE_CHECKING:
    from symphony.home import Home
    from symphony.plugins.catalog import PluginState
    from symphony.plugins.installer import IndexOptions

Note = Callable[[str], None]
FIX: Final = "symphony plugins doctor --fix"


@dataclass(frozen=True)
class Fault:
    """``where`` it is, ``what`` is wrong, ``do``: what to type; ``safe``: ``mend`` does it."""

    where: str
    what: str
    do: str
    code: str
    safe: bool = False

    def json(self) -> dict[str, Any]:
        return {"where": self.where, "what": self.what, "do": self.do, "code": self.code, "safe": self.safe}


@dataclass(frozen=True)
class Examination:
    """What is there, and what is wrong with it."""

    plugins: list[PluginState]
    faults: list[Fault]
    environment: str
    policies: list[str]
    selection: str | None


def examine(home: Home, *, probe: bool = True, note: Note = lambda text: None) -> Examination:
    """Look at wish, lock, cache, policy, environment, and at every plugin that is selected."""
    home.check()
    faults = _files(home)
    states: list[PluginState] = []
    if not faults:
        cache.forget_files(home)  # so that files are read, and not only their times
        states = catalog.survey(home, probe=probe, note=note)
        faults += [_of_plugin(state) for state in states if state.needs_attention]
        faults += _lock_faults(home)
        faults += _cache_faults(home)
        faults += _wish_faults(home)
    kept, place = _environment()
    chosen = selection.current()
    return Examination(
        states,
        faults + kept,
        place,
        [f"{rules.path}: {rules.summary()}" for rules in _policy(home).rules],
        None if chosen.everything else chosen.text() or "none",
    )


def _files(home: Home) -> list[Fault]:
    """Files that people or programs wrote and nobody can read: without them nothing else can be judged."""
    faults = []
    for path, read in ((home.plugins_toml, wish.read), (home.plugins_lock, lock.read), (None, policy.read)):
        try:
            read(home)
        except InvalidInput as error:
            where, _, what = str(error).partition(": ")
            broken_lock = path == home.plugins_lock
            do = f"mv {where} {where}.damaged" if broken_lock else error.hint or "mend the file"
            faults.append(Fault(where, what, do, "lock" if broken_lock else "file", safe=broken_lock))
    return faults


def _policy(home: Home) -> policy.Policy:
    try:
        return policy.read(home)
    except InvalidInput:
        return policy.Policy()


def _of_plugin(state: PluginState) -> Fault:
    assert state.problem is not None
    problem = state.problem
    commands = {
        "missing": "symphony plugins sync",
        "changed": f"symphony plugins update {state.name}",
        "quarantined": f"symphony plugins enable {state.name}",
        "incompatible": f"symphony plugins update {state.name}",
        "conflict": f"symphony plugins disable {state.name}",
    }
    do = commands.get(state.status, f"symphony plugins disable {state.name}")
    at = f" (at {problem.at})" if problem.at else ""
    if problem.hint.startswith("symphony "):
        do = problem.hint
    elif problem.hint:
        do = f"{problem.hint}; or: {do}"
    what = f"{state.status}: {problem.message}{at}"
    return Fault(state.name, what, do, state.status, safe=state.status == "missing")


def _lock_faults(home: Home) -> list[Fault]:
    """Entries without a plugin, and plugins without an entry."""
    wishes, locks, found = wish.read(home), lock.read(home), discovery.installed()
    wished = {name for name, wanted in wishes.items() if wanted.requirement}
    faults = [
        Fault(name, "in plugins.lock, but neither wished for nor installed", FIX, "lock", safe=True)
        for name in sorted(locks.keys() - wished - found.keys())
    ]
    return faults + [
        Fault(name, "wished for and installed, but not locked", "symphony plugins sync", "lock", safe=True)
        for name in sorted((wished & found.keys()) - locks.keys())
    ]


def _cache_faults(home: Home) -> list[Fault]:
    if cache.damaged(home):
        return [Fault(str(home.plugins_cache), "it cannot be read", FIX, "cache", safe=True)]
    return [
        Fault(target, "in plugins.cache, but not there any more", FIX, "cache", safe=True)
        for target in sorted(_gone(home))
    ]


def _gone(home: Home) -> set[str]:
    found = discovery.installed()
    return {
        target
        for target in cache.targets(home)
        if target not in found and not (target.startswith("/") and Path(target).is_file())
    }


def _wish_faults(home: Home) -> list[Fault]:
    """Tables of plugins.toml, and names of SYMPHONY_PLUGINS, that mean no plugin."""
    wishes, found = wish.read(home), discovery.installed()
    faults = [
        Fault(
            name,
            f"in {home.plugins_toml} without a requirement, and not installed",
            f"symphony plugins uninstall {name}",
            "wish",
        )
        for name, wanted in sorted(wishes.items())
        if wanted.requirement is None and name not in found
    ]
    unknown = selection.current().unknown([*found, *wishes, LOCAL])
    return faults + [
        Fault(SELECTION, f"there is no plugin {name!r}", "symphony plugins list", "selection")
        for name in unknown
    ]


def _environment() -> tuple[list[Fault], str]:
    """Whether plugins can be installed, and with what."""
    try:
        environment.check()
        command = environment.installer()
    except SymphonyError as error:
        return [Fault(sys.prefix, str(error), error.hint, "environment")], sys.prefix
    name = "uv" if command[1:] == ["pip"] else "pip"
    return [], f"{sys.prefix} ({name})"


def mend(
    home: Home, options: IndexOptions, *, allow_build: bool = False, note: Note = lambda text: None
) -> dict[str, SymphonyError]:
    """Do what is safe: restore what is missing, complete and tidy the lock, drop what is left in the cache.

    It replaces no files, removes and enables no plugin. Gives what could not be restored.
    """
    home.check()
    try:
        lock.read(home)
    except InvalidInput:
        aside = home.plugins_lock.with_name("plugins.lock.damaged")
        home.plugins_lock.replace(aside)
        note(f"the damaged lock is {aside} now; what is installed is locked as it is")
    found = discovery.installed()
    wished = {name for name, wanted in wish.read(home).items() if wanted.requirement}
    for name in sorted(lock.read(home).keys() - wished - found.keys()):
        lock.put(home, name, None)
        note(f"{name}: taken out of plugins.lock")
    if cache.damaged(home):
        home.plugins_cache.unlink()
        note("the damaged plugins.cache is removed")
    gone = _gone(home)
    if gone:
        cache.forget(home, *gone)
        note(f"plugins.cache: dropped {', '.join(sorted(gone))}")
    steps = sync.plan(home)
    errors: dict[str, SymphonyError] = {}
    if any(step.action in ("install", "lock") for step in steps):
        actions = frozenset({"install", "lock"})
        errors = sync.sync(home, options, allow_build=allow_build, actions=actions, note=note).errors
    return errors
