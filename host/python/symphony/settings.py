"""The table ``[host]`` of a home's ``config.toml``, and what is said instead on the command line or in code.

Reads and checks; what a setting means belongs to the module that uses it.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from symphony.errors import InvalidInput
from symphony.plugins.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What the managed interpreter may use; None: as much as there is.

    Parameters
    ----------
    memory:
        Bytes of the interpreter's own data; where a control group can be made, also of it and all that it
        starts together.
    cpus:
        Processors' worth of time for it and all that it starts, such as 1.5; needs a control group.
    cpu_time:
        Seconds of CPU time after which it is ended and started anew.
    """

    memory: int | None = None
    cpus: float | None = None
    cpu_time: int | None = None


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
    limits:
        What the interpreter may use.
    select:
        The installed plugins that the host knows of, as ``SYMPHONY_PLUGINS`` has them; None: all.

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
    limits: Limits = field(default_factory=Limits)
    select: str | None = None

    @property
    def flush_every(self) -> timedelta:
        return timedelta(seconds=self.flush_interval)


_SWITCHES: Final = ("kill_stopped", "core_dumps")
_CHOICES: Final = {"durability": ("process", "machine"), "log_backend": ("mmap", "pwrite")}
_LIMITS: Final = [known.name for known in fields(Limits)]
_SETTINGS: Final = [
    name
    for known in fields(HostSettings)
    for name in ([f"limits.{limit}" for limit in _LIMITS] if known.name == "limits" else [known.name])
]
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)


def load_settings(home: Path, instead: Iterable[str] = ()) -> HostSettings:
    """Read the settings of a home; without a file, the defaults. KEY=VALUE words in ``instead`` come first.

    Raises
    ------
    InvalidInput
        The file is no TOML, or a key or value is not known; the closest key is named.
    """
    path = home / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("host", {})
    except FileNotFoundError:
        table = {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error
    given = _flat(table, f"{path}: host")
    if "select" in given:
        raise InvalidInput(
            f"{path}: host.select: this holds for one start of a host only",
            hint="for good: symphony plugins disable NAME",
        )
    for name, value in given.items():
        given[name] = _checked(name, value, f"{path}: host.{name}")
    given |= parse_settings(instead)
    limits = {name.partition(".")[2]: given.pop(name) for name in list(given) if name.startswith("limits.")}
    return HostSettings(**given, limits=Limits(**limits))


def parse_settings(words: Iterable[str]) -> dict[str, Any]:
    """Settings of KEY=VALUE words, checked: ``limits.memory=2GiB``, ``hang_after=10``.

    Raises
    ------
    InvalidInput
        One is no such word, or its key or value is not known; the closest key is named.
    """
    given = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InvalidInput(f"{word!r} is not KEY=VALUE", hint="--set hang_after=10")
        try:
            value = text if name == "select" else json.loads(text)
        except ValueError:
            value = text
        given[name] = _checked(name, value, f"setting {name}")
    return given


def setting_words(settings: Mapping[str, Any]) -> list[str]:
    """The words of ``parse_settings`` for settings given in code, checked; ``limits`` may be a dictionary."""
    words = [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in _flat(settings, "settings").items()
    ]
    parse_settings(words)
    return words


def _flat(table: Any, place: str) -> dict[str, Any]:
    if not hasattr(table, "items"):
        raise InvalidInput(f"{place}: expected a table")
    flat = {}
    for name, value in table.items():
        if name != "limits":
            flat[name] = value
        else:
            flat |= {f"limits.{limit}": item for limit, item in _flat(value, f"{place}.limits").items()}
    return flat


def _checked(name: str, value: Any, place: str) -> Any:
    """The value of a known setting, as the settings hold it."""
    if name not in _SETTINGS:
        raise InvalidInput(
            f"{place}: no such setting", hint=did_you_mean(name, _SETTINGS, f"known: {', '.join(_SETTINGS)}")
        )
    if name == "limits.memory":
        return _bytes(value, place)
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if name in _CHOICES:
        right, wanted = value in _CHOICES[name], " or ".join(_CHOICES[name])
    elif name == "select":
        right, wanted = isinstance(value, str), "names, such as a,b or -a,-b"
    elif name in _SWITCHES:
        right, wanted = isinstance(value, bool), "true or false"
    elif name == "limits.cpus":
        right, wanted = number and 0.01 <= value <= 1024, "a number of processors, such as 1.5"
    elif name == "limits.cpu_time":
        right, wanted = number and value == int(value) >= 1, "whole seconds"
    else:
        right, wanted = number and 0 <= value <= 3600, "seconds from 0 to 3600"
    if not right:
        raise InvalidInput(f"{place}: expected {wanted}, got {value!r}")
    return value


def _bytes(value: Any, place: str) -> int:
    """Bytes, of a number or of text such as ``1.5 GiB``."""
    found = _SIZE.fullmatch(str(value).strip()) if isinstance(value, int | str) else None
    if found is None or isinstance(value, bool):
        raise InvalidInput(f"{place}: expected bytes, such as 2147483648 or 2GiB, got {value!r}")
    return int(float(found[1]) * (1 << 10 * " KMGT".index(found[2].upper() or " ")))
