"""The table ``[host]`` of a home's ``config.toml``.

Reads and checks; what a setting means belongs to the module that uses it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from symphony.errors import InvalidInput
from symphony.values.signatures import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How a host keeps what it is told, and looks after its models.

    Parameters
    ----------
    durability:
        What a record survives: ``"process"`` (the death of any process), or ``"machine"`` (power loss too; a
        step's outcome then waits for the disk, which many share).
    flush_interval:
        Seconds of records that a power loss may take in the mode ``"process"``; 0 leaves it to the kernel.
    log_backend:
        ``"mmap"`` or ``"pwrite"``, where the file system should not be asked; ``symphony doctor`` shows
        the choice.
    health_interval:
        Seconds between the health checks of loaded models; 0 = none.
    hang_after:
        Seconds of silence of the event loop after which the interpreter is ended and started anew; 0 = never.
        For a step with a time limit of its own, that and 5 s more count instead.
    kill_stopped:
        Whether that holds for a process of which nothing runs at all (a debugger, SIGSTOP), too.
    core_dumps:
        Whether a crash may leave a core file.

    Example
    -------
    >>> HostSettings().durability
    'process'
    """

    durability: Literal["process", "machine"] = "process"
    flush_interval: float = 1.0
    log_backend: Literal["mmap", "pwrite"] | None = None
    health_interval: float = 30.0
    hang_after: float = 60.0
    kill_stopped: bool = False
    core_dumps: bool = False

    @property
    def flush_every(self) -> timedelta:
        return timedelta(seconds=self.flush_interval)


_SWITCHES = ("kill_stopped", "core_dumps")
_CHOICES = {"durability": ("process", "machine"), "log_backend": ("mmap", "pwrite")}


def load_settings(home: Path) -> HostSettings:
    """Read the settings of a home; without a file, the defaults.

    Raises
    ------
    InvalidInput
        The file is no TOML, or a key or value is not known; the closest key is named.
    """
    path = home / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("host", {})
    except FileNotFoundError:
        return HostSettings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error
    if not isinstance(table, dict):
        raise InvalidInput(f"{path}: host: expected a table")
    known = [field.name for field in fields(HostSettings)]
    for key, value in table.items():
        if key not in known:
            raise InvalidInput(f"{path}: host.{key}: no such setting", hint=did_you_mean(key, known))
        _check(path, key, value)
    return HostSettings(**table)


def _check(path: Path, key: str, value: Any) -> None:
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise InvalidInput(f"{path}: host.{key}: expected {' or '.join(_CHOICES[key])}, got {value!r}")
    elif key in _SWITCHES:
        if not isinstance(value, bool):
            raise InvalidInput(f"{path}: host.{key}: expected true or false, got {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3600:
        raise InvalidInput(f"{path}: host.{key}: expected seconds from 0 to 3600, got {value!r}")
