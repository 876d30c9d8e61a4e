"""The options of a step, checked when it is decorated: a wrong one is never ignored."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from symphony.errors import InvalidInput
from symphony.values.signatures import did_you_mean

_LONGEST_BACKOFF: Final = 300.0
_MOST_ATTEMPTS: Final = 2**32 - 1  # the DAG Tracker counts so far


@dataclass(frozen=True)
class StepOptions:
    """How a step is executed; see ``step``."""

    retries: int = 0
    timeout: float | None = None
    cache: bool = False
    model: str | None = None
    version: str | None = None
    backoff: float = 1.0
    idempotent: bool = True
    executor: str | None = None

    @property
    def retry_policy(self) -> dict[str, Any]:
        """What the DAG Tracker decides by when an attempt has failed."""
        return {
            "max_attempts": min(self.retries + 1, _MOST_ATTEMPTS),
            "delay": min(float(self.backoff), _LONGEST_BACKOFF),
            "max_delay": _LONGEST_BACKOFF,
            # A value that cannot be recorded will not be recordable the next time.
            "give_up_on": ["ConversionError"],
        }

    @classmethod
    def checked(cls, step: str, options: dict[str, Any]) -> StepOptions:
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise InvalidInput(f"step {step!r}: unknown option {name!r}", hint=did_you_mean(name, known))
        made = cls(**options)
        _check_number(step, "retries", made.retries, whole=True)
        _check_number(step, "backoff", made.backoff)
        if made.timeout is not None:
            _check_number(step, "timeout", made.timeout, positive=True)
        kinds = {"cache": bool, "idempotent": bool, "model": str, "version": str, "executor": str}
        for name, kind in kinds.items():
            value = getattr(made, name)
            if value is not None and not isinstance(value, kind):
                raise InvalidInput(
                    f"step {step!r}: {name} must be {kind.__name__}, got {type(value).__name__}"
                )
        return made


def _check_number(step: str, name: str, value: Any, *, whole: bool = False, positive: bool = False) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or value < 0 or (positive and value == 0):
        kind = "a whole number" if whole else "a number of seconds"
        above = "above 0" if positive else "of 0 or more"
        raise InvalidInput(f"step {step!r}: {name} must be {kind} {above}, got {value!r}")
