"""Chooses the index that a search means. Pure: folders in, one of them out."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def choose(roots: Sequence[str], wanted: str, *, else_newest: bool) -> str | None:
    """The innermost indexed folder that is or contains ``wanted``.

    Parameters
    ----------
    roots:
        Indexed folders, oldest index first.
    wanted:
        An absolute path.
    else_newest:
        Without one that contains ``wanted``, take the newest.

    Example
    -------
    >>> choose(["/a", "/a/b", "/c"], "/a/b/x", else_newest=True), choose(["/a", "/c"], "/d", else_newest=True)
    ('/a/b', '/c')
    """
    around = [root for root in roots if PurePath(wanted).is_relative_to(root)]
    if around:
        return max(around, key=len)
    return roots[-1] if roots and else_newest else None
