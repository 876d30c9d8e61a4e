"""Times as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from symphony.errors import InvalidInput

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(option: str, text: str, now: datetime | None = None) -> str:
    """A date, a time or an age as ISO 8601 in UTC.

    Parameters
    ----------
    option:
        Where the text comes from, for the error.
    text:
        Such as ``2026-01-31``, ``2026-01-31T12:00`` (local time, unless it has an offset), ``30m``, ``7d``.
    now:
        What ages are counted from; the present unless given.

    Raises
    ------
    InvalidInput
        It is no time.

    Example
    -------
    >>> parse_time("--since", "2h", datetime(2026, 1, 1, 12, tzinfo=UTC))
    '2026-01-01T10:00:00+00:00'
    """
    wrong = InvalidInput(f"{option}: {text!r} is no time", hint="2026-01-31, 2026-01-31T12:00, 30m, 2h, 7d")
    age = re.fullmatch(r"(\d+)\s*([smhdw])", text.strip())
    if age:
        try:
            moment = (now or datetime.now(UTC)) - timedelta(**{UNITS[age[2]]: int(age[1])})
        except OverflowError:
            raise wrong from None
        return moment.isoformat()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise wrong from error
    return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC).isoformat()
