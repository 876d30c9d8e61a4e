"""Credentials in the addresses of package indexes: they go to the installer, and nowhere else.

Whatever is stored, logged or shown passes through here first.
"""

from __future__ import annotations

import re
from typing import Final

_USER: Final = re.compile(r"(?<=://)[^/\s@'\"]+(?:@[^/\s@'\"]+)*@(?=[^/\s])")
_SECRETS: Final = "(?:access_?|auth_?|api_?)?(?:token|key|password|secret)"
_QUERY: Final = re.compile(rf"(?i)(?<=[?&])({_SECRETS})=[^&\s'\"#]+")


def without_credentials(text: str) -> str:
    """The text, its addresses without user, password and token.

    Example
    -------
    >>> without_credentials("https://me:secret@packages.example/simple?token=x")
    'https://packages.example/simple?token=****'
    """
    return _QUERY.sub(r"\1=****", _USER.sub("", text))
