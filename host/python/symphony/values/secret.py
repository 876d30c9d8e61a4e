"""``symphony.Secret``: a value that is recorded as where it comes from, and never as what it is.

Keeps what was read in this process, so that it can be taken out of errors, progress and output.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from symphony.errors import ConversionError, InvalidInput, WorkflowEffect

Tell = Callable[[str, list[str]], None]

SHORTEST: Final = 4
"""Characters of a value: shorter ones stand in too many places by chance."""
_ENVIRONMENT, _FILE = "env:", "file:"


class Secret:
    """A workflow input or step argument that is recorded as its source and read when it is needed.

    In code ``Secret("env:API_KEY")`` or ``Secret("file:/run/keys/api")``, on the command line
    ``key=env:API_KEY``. Two secrets are equal when their sources are.

    Parameters
    ----------
    source:
        ``env:NAME``, a variable in the environment of the host, or ``file:PATH``, whose last line end does
        not count.

    Raises
    ------
    InvalidInput
        It is no such source. The message does not repeat it, since it may be the value itself.

    Example
    -------
    >>> @symphony.step
    ... def ask(question: str, key: symphony.Secret) -> str:
    ...     return requests.post(URL, auth=key.reveal(), data=question).text
    """

    __slots__ = ("source",)

    def __init__(self, source: str) -> None:
        kind = next((kind for kind in (_ENVIRONMENT, _FILE) if source.startswith(kind)), None)
        if kind is None or source == kind or "\0" in source:
            raise InvalidInput("expected env:NAME or file:PATH", hint="a secret is never given as its value")
        self.source: Final = source

    def reveal(self) -> str:
        """The value. Only for steps: workflow code is replayed, and what it passes on is recorded.

        Raises
        ------
        InvalidInput
            The variable is not set, or the file cannot be read; the message names it.
        WorkflowEffect
            Called by workflow code.
        """
        from symphony.engine.run_loop import running_run_loop

        if running_run_loop() is not None:
            raise WorkflowEffect(
                f"workflow code revealed the secret {self.source}",
                hint="pass the Secret on, and reveal it in a step",
            )
        return _vault.read(self.source)

    def within(self, folder: Path) -> Secret:
        """The same secret, a relative file path taken from ``folder``."""
        if not self.source.startswith(_FILE):
            return self
        return Secret(_FILE + str(folder / Path(self.source.removeprefix(_FILE)).expanduser()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"<Secret {self.source}>"

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.source,)


class _Vault:
    """The values that this process has read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, str] = {}
        self._forms: dict[str, str] = {}
        self._tell: Tell | None = None
        self._ask: Callable[[str], str] | None = None

    def ask(self, ask: Callable[[str], str]) -> None:
        """From now on values are not read here: another process has them."""
        self._ask = ask

    def own_process(self, tell: Tell) -> None:
        """This process is Symphony's: a value that is read leaves its environment, ``tell`` gets it."""
        self._tell = tell

    def read(self, source: str) -> str:
        with self._lock:
            value = self._found(source)
            if len(value) < SHORTEST:
                raise InvalidInput(f"the secret {source} has less than {SHORTEST} characters")
            new = [form for form in _forms(value) if form not in self._forms]
            if new:
                if self._tell is not None:
                    self._tell(source, [*new, *_lines(value)])
                self._forms |= dict.fromkeys(new, source)
                # The longest first: one value may be a part of another.
                self._forms = dict(sorted(self._forms.items(), key=lambda form: -len(form[0])))
            return value

    def _found(self, source: str) -> str:
        if self._ask is not None:
            return self._ask(source)
        if source.startswith(_FILE):
            path = source.removeprefix(_FILE)
            try:
                return Path(path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
                raise InvalidInput(f"the secret {source} cannot be read: {reason}") from None
        name = source.removeprefix(_ENVIRONMENT)
        value = os.environ.get(name)
        if value is not None and self._tell is not None:
            self._kept[source] = value
            del os.environ[name]  # it is not for the programs that steps start
        value = self._kept.get(source, value)
        if value is None:
            raise InvalidInput(
                f"the secret {source} is missing: the host's environment has no variable {name}",
                hint=f"symphony host stop, then start it anew with {name} set; or use file:PATH",
            )
        return value

    def redact(self, text: str) -> str:
        for form, source in self._forms.items():
            text = text.replace(form, shown(source))
        return text

    def source_in(self, encoded: bytes) -> str | None:
        return next((source for form, source in self._forms.items() if form.encode() in encoded), None)


_vault: Final = _Vault()
own_process = _vault.own_process
ask_for_secrets = _vault.ask
redact = _vault.redact


def shown(source: str) -> str:
    """What stands in the place of a value."""
    return f"[secret {source}]"


def refuse_values(encoded: bytes, what: str) -> bytes:
    """``encoded``, which is about to be recorded. Raises ``ConversionError`` where a value is in it."""
    source = _vault.source_in(encoded)
    if source is not None:
        raise ConversionError(
            f"{what}: holds the value of the secret {source}, which must not be recorded",
            hint="return what was made of it, or the Secret itself",
        )
    return encoded


def holds_value(encoded: bytes) -> bool:
    """Whether one of the values is in there."""
    return _vault.source_in(encoded) is not None


def require_secrets(value: Any) -> None:
    """Read every secret in some inputs, so that a missing one is known now. Raises ``InvalidInput``."""
    if isinstance(value, Secret):
        _vault.read(value.source)
    elif isinstance(value, dict):
        for item in value.values():
            require_secrets(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            require_secrets(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            require_secrets(getattr(value, field.name))


def _forms(value: str) -> list[str]:
    """The value as it is, and as JSON and Python write it."""
    written = [json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)]
    return list(dict.fromkeys([value, *(text[1:-1] for text in written)]))


def _lines(value: str) -> list[str]:
    """The lines of a value of several: what is written of them may not stand together."""
    lines = value.split("\n")
    return [line for line in lines if len(line) >= SHORTEST] if len(lines) > 1 else []


def teller(descriptor: int) -> Tell:
    """Tells the host, over its socket, before anything can be written: see ``subprocess/secrets.rs``."""

    def tell(source: str, forms: list[str]) -> None:
        for form in forms:
            parts = [shown(source).encode(), form.encode()]
            left = memoryview(b"".join(len(part).to_bytes(4, "little") + part for part in parts))
            while left:
                left = left[os.write(descriptor, left) :]

    os.set_inheritable(descriptor, False)
    return tell
