"""Put limits on this process: by a control group (v1 or v2) where one can be made, by resource limits anyway.

A process that goes beyond its own memory gets MemoryError, or its native code aborts; where all that it
started goes beyond it together, the kernel kills one of them.
"""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from symphony.errors import Refused

if TYPE_CHECKING:
    from symphony.settings import Limits

GROUPS: Final = Path("/sys/fs/cgroup")
_PERIOD: Final = 100_000  # microseconds, in which a control group may use its share of the processors
_LAST_SECONDS: Final = 5  # between SIGXCPU and SIGKILL


@dataclass
class Limited:
    """Limits in force: what they are, in words, and the control groups made for them."""

    text: str = ""
    groups: tuple[Path, ...] = ()

    def leave(self) -> None:
        """Leave the control groups and remove them."""
        for group in self.groups:
            with contextlib.suppress(OSError):  # a program that a step started may still be in it
                (group.parent / "cgroup.procs").write_text(str(os.getpid()))
                group.rmdir()


def impose(limits: Limits, *, groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> Limited:
    """Put the limits on this process, and on all that it starts from now on.

    Parameters
    ----------
    groups, own:
        Where control groups are mounted, and the file that names those of this process.

    Raises
    ------
    Refused
        One cannot be put into force here; the message names it.

    Example
    -------
    >>> impose(Limits(memory=1 << 30)).text
    'memory 1024 MiB each, and together by cgroup v2'
    """
    made: list[Path] = []
    said: list[str] = []
    if limits.memory is not None:
        group = _limited_group(groups, own, "memory", str(limits.memory), made)
        _lower(resource.RLIMIT_DATA, limits.memory, limits.memory, "memory")
        together = f", and together by {group}" if group else ""
        said.append(f"memory {limits.memory / (1 << 20):.0f} MiB each{together}")
    if limits.cpus is not None:
        group = _limited_group(groups, own, "cpu", str(int(limits.cpus * _PERIOD)), made)
        if group is None:
            raise Refused(
                "limits.cpus needs a control group, and none can be made here",
                hint=f"let this user write to its group below {groups}, or leave the setting out",
            )
        said.append(f"{limits.cpus:g} processors by {group}")
    if limits.cpu_time is not None:
        _lower(resource.RLIMIT_CPU, limits.cpu_time, limits.cpu_time + _LAST_SECONDS, "cpu_time")
        said.append(f"{limits.cpu_time} s of CPU time each")
    return Limited("; ".join(said), tuple(made))


def _lower(kind: int, soft: int, hard: int, name: str) -> None:
    try:
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))
    except (OSError, ValueError) as error:
        raise Refused(f"limits.{name} cannot be put into force: {error}") from error


def _limited_group(groups: Path, own: Path, controller: str, amount: str, made: list[Path]) -> str | None:
    """Join a new group with this limit; its kind, or None where no group can be made."""
    for version, parent in _parents(groups, own, controller):
        group = parent / f"symphony-{os.getpid()}"
        fresh = group not in made
        try:
            if fresh:
                _sweep(parent)
                group.mkdir()
            for file, text in _settings(version, controller, amount):
                if "sw" not in file or (group / file).exists():  # a kernel may do without counting swap
                    (group / file).write_text(text)
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:  # not ours to write, or a group that may not have groups in it
            with contextlib.suppress(OSError):
                if fresh:
                    group.rmdir()
            continue
        if fresh:
            made.append(group)
        return f"cgroup v{version}"
    return None


def _parents(groups: Path, own: Path, controller: str) -> list[tuple[int, Path]]:
    """Groups in which one with this controller might be made, the likeliest first."""
    found: list[tuple[int, Path]] = []
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            found.append((1, groups / controllers / path.lstrip("/")))
        elif not controllers:
            # In v2 a group that has processes has no groups with limits in it: beside it there may be room.
            place = groups / path.lstrip("/")
            found += [(2, near) for near in (place, place.parent) if _hands_on(near, controller)]
    return found


def _hands_on(group: Path, controller: str) -> bool:
    try:
        return controller in (group / "cgroup.subtree_control").read_text(encoding="utf-8").split()
    except OSError:
        return False


def _settings(version: int, controller: str, amount: str) -> list[tuple[str, str]]:
    """Files of a group and what is written into them."""
    if controller == "memory":
        if version == 1:
            return [("memory.limit_in_bytes", amount), ("memory.memsw.limit_in_bytes", amount)]
        return [("memory.max", amount), ("memory.swap.max", "0")]
    if version == 1:
        return [("cpu.cfs_period_us", str(_PERIOD)), ("cpu.cfs_quota_us", amount)]
    return [("cpu.max", f"{amount} {_PERIOD}")]


def _sweep(parent: Path) -> None:
    """Remove the groups of interpreters that died; one with a process in it stays by itself."""
    for left in parent.glob("symphony-*"):
        with contextlib.suppress(OSError):
            left.rmdir()
