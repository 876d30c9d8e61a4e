"""Install and uninstall plugins: look first, then install, then probe, and leave nothing that crashes."""

from __future__ import annotations

import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from symphony.errors import SymphonyError
from symphony.observing import place
from symphony.plugins import cache, catalog, discovery, environment, lock, lookup, policy, quarantine, wish
from symphony.plugins.backup import Backup
from symphony.plugins.catalog import PluginState
from symphony.plugins.credentials import without_credentials
from symphony.plugins.installer import IndexOptions, Installer
from symphony.plugins.look import Looked, bound, look
from symphony.plugins.names import canonical

if TYPE_CHECKING:
    from symphony.home import Home
    from symphony.plugins.discovery import Candidate

Note = Callable[[str], None]


def install(
    home: Home,
    specs: Sequence[str],
    options: IndexOptions,
    *,
    allow_build: bool = False,
    note: Note = lambda text: None,
) -> list[PluginState]:
    """Install plugins and return their states.

    All are looked at before the first is installed. One that is no plugin, does not fit, or fails its probe
    is not there afterwards; an earlier release of it is.

    Raises
    ------
    Refused
        It is no Symphony plugin, a source distribution without ``allow_build``, or the policy or the
        environment forbids it.
    Incompatible
        It needs another plugin API, host or Python.
    PluginBroken
        It failed its probe and was removed again.
    Conflict
        It gives what another plugin gives, and was removed again.
    IndexUnreachable, NotFound
        The index did not answer, or knows no such name.
    """
    home.ensure_writable()
    wish.read(home)
    lock.read(home)
    rules = policy.read(home)
    installer = Installer(options, bound(rules, options))
    with environment.held(note), tempfile.TemporaryDirectory(prefix="symphony-install-") as scratch:
        looked = []
        for number, spec in enumerate(specs):
            note(f"looking at {without_credentials(spec)}")
            folder = Path(scratch) / str(number)
            folder.mkdir()
            looked.append(look(installer, rules, spec, folder, allow_build=allow_build))
        return [install_one(home, installer, item, allow_build=allow_build, note=note) for item in looked]


def install_one(
    home: Home, installer: Installer, item: Looked, *, allow_build: bool, fresh: bool = False, note: Note
) -> PluginState:
    """Install what passed its look and probe it; without success all is as it was before.

    ``fresh`` replaces the files of the same version, as a file or address to install always does.
    """
    name, version = item.facts.name, item.facts.version
    before = discovery.installed().get(name)
    wished, locked = wish.read(home).get(name), lock.read(home).get(name)
    same = before is not None and before.version == version
    with tempfile.TemporaryDirectory(prefix="symphony-backup-") as folder:
        backup = Backup(name, Path(folder))
        note(f"installing {name} {version}")
        again, alone = same and (fresh or item.direct), not item.facts.requires
        installer.install(item.install, allow_build=allow_build, fresh=again, alone=alone)
        taken = _taken_up(home, name)
        wish.change(home, name, requirement=item.requirement, enabled=True)
        state = lookup.plugin(name, catalog.survey(home, retry=[name], selected=discovery.ALL, note=note))
        if taken and not state.needs_attention:
            return state
        lock.put(home, name, locked)
        if wished:
            wish.change(home, name, requirement=wished.requirement, enabled=wished.enabled)
        else:
            wish.remove(home, name)
        if taken is None:
            raise SymphonyError(
                f"the installer says that {name} {version} is there, but no such plugin is found",
                hint=f"remove what is left of it: ls {sysconfig.get_path('purelib')}",
            )
        try:
            installer.uninstall(name)
        finally:
            backup.put_back()
    raise _removed(home, state, before if backup else None)


def _taken_up(home: Home, name: str) -> Candidate | None:
    """Lock the files that were installed, and forget what was known of others."""
    cache.forget(home, name)
    quarantine.lift(home, name)
    candidate = discovery.installed().get(name)
    if candidate is not None:
        lock.keep(home, candidate)
    return candidate


def _removed(home: Home, state: PluginState, earlier: Candidate | None) -> SymphonyError:
    error = lookup.error_of(state)
    report = _keep_report(home, state)
    hints = [error.hint] if error.hint else []
    if report:
        hints.append(f"what it printed is in {report}")
    back = f", {earlier.version} is there as before" if earlier else ""
    return type(error)(f"{error}; it was removed again{back}", hint="; ".join(hints))


def _keep_report(home: Home, state: PluginState) -> Path | None:
    output = state.result.output if state.result else ""
    if not output.strip():
        return None
    path = home.reports / f"plugin-{state.name}-{state.version}.txt"
    try:
        home.reports.mkdir(mode=0o700, exist_ok=True)
        path.write_text(output, encoding="utf-8")
        path.chmod(0o600)
    except OSError:
        return None
    return path


def uninstall(home: Home, names: Sequence[str], note: Note = lambda text: None) -> list[str]:
    """Remove distributions and their wishes; returns the names.

    Works on a broken plugin as well, since it imports none. Raises ``NotFound`` before anything is removed.
    """
    home.check()
    lock.read(home)  # what is damaged is told before anything is removed
    wishes, found = wish.read(home), discovery.installed()
    known = [
        PluginState(name, found[name].version if name in found else "", "active", True, found.get(name))
        for name in sorted(wishes.keys() | found.keys())
    ]
    states = list({state.name: state for state in (lookup.plugin(name, known) for name in names)}.values())
    there = [state.name for state in states if state.candidate]
    if there:
        installer = Installer(IndexOptions())
        with environment.held(note):
            note(f"removing {', '.join(there)}")
            installer.uninstall(*there)
    for state in states:
        if state.name in wishes:
            wish.remove(home, state.name)
        lock.put(home, state.name, None)
        quarantine.lift(home, state.name)
        place.forget(home, state.name)
    cache.forget(home, *(state.name for state in states))
    return [state.name for state in states]


def set_enabled(home: Home, name: str, *, enabled: bool, note: Note = lambda text: None) -> PluginState:
    """Enable one plugin or disable it; gives its state.

    Enabling takes it out of quarantine, and its files, where they changed, as they are. Raises ``NotFound``,
    and ``Refused`` where the policy forbids it.
    """
    home.check()
    wishes, found, banned = wish.read(home), discovery.installed(), quarantine.problems(home)
    names = sorted(wishes.keys() | found.keys() | banned.keys())
    known = [PluginState(each, "", "active", True) for each in names]
    chosen = canonical(lookup.plugin(name, known).name)
    if enabled:
        policy.read(home).check(chosen)
    if enabled and quarantine.lift(home, chosen) and chosen not in found:  # a file: nobody wishes for it
        return PluginState(chosen, "", "active", True)
    if enabled and chosen in found and chosen in lock.read(home):
        lock.keep(home, found[chosen])
    wish.change(home, chosen, enabled=enabled)
    states = catalog.survey(home, retry=[chosen] if enabled else [], selected=discovery.ALL, note=note)
    return lookup.plugin(chosen, states)
