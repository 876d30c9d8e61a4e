"""Turns text into search terms: split identifiers, stop words dropped, lightly stemmed.

Used alike for passages and for questions; whatever is changed here needs no new index, since terms are made
when an index is loaded.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

_WORD = re.compile(r"[^\W\d_][\w]*|_+[^\W\d_]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+")

# English function words, and words that every program is full of.
_STOP_WORDS = """
a about after all also an and any are as at be because been before being between both but by can could did
do does doing done each either etc for from get gets had has have having he her here hers him his how i if
in into is it its itself just let me more most must my no nor not of off on once one only or other our out
over own same she should so some such than that the their them then there these they this those through to
too under until up us use used uses using very via was we were what when where whether which while who whom
why will with would you your self cls def return returns none true false import elif else fn func function
const var int str bool void public private static
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


# Endings and what takes their place; the first that fits counts.
_ENDINGS_TEXT = """
ational:at ization:iz iveness:iv fulness:ful ations:at ation:at ators:at ator:at ating:at ated:at ements:
ement: ments: ment: ingly: sses:ss ies:i ied:i ings: ing: ions: ion: ers: ables: able: ible: ness: ally: ly:
ed: er: or: es: ss:ss us:us is:is s:
"""
_ENDINGS = tuple(tuple(pair.split(":")) for pair in _ENDINGS_TEXT.split())


def words(text: str) -> list[str]:
    """The identifiers and words of a text, as they stand.

    Example
    -------
    >>> words("parseURL(self.max_size)")
    ['parseURL', 'self', 'max_size']
    """
    return _WORD.findall(text)


@lru_cache(maxsize=65_536)
def parts(word: str) -> tuple[str, ...]:
    """An identifier's parts, lower case: camelCase, snake_case, digits dropped.

    Example
    -------
    >>> parts("parseURLList_v2")
    ('parse', 'url', 'list', 'v')
    """
    return tuple(part.lower() for part in _PART.findall(word) if not part.isdigit())


@lru_cache(maxsize=65_536)
def terms(word: str) -> tuple[str, ...]:
    """The terms of one word or identifier.

    Example
    -------
    >>> terms("get_matching_Files")
    ('match', 'fil')
    """
    return tuple(stem(part) for part in parts(word) if len(part) > 1 and part not in STOP_WORDS)


def count(text: str, weight: float = 1.0, into: Counter[str] | None = None) -> Counter[str]:
    """How often each term occurs in a text, times ``weight``, added to ``into`` if given."""
    counts: Counter[str] = Counter() if into is None else into
    for word, times in Counter(_WORD.findall(text)).items():
        for term in terms(word):
            counts[term] += times * weight  # type: ignore[assignment]  # Counter is typed for int alone
    return counts


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Cut the endings that English puts on one and the same word.

    Example
    -------
    >>> [stem(word) for word in ("parsing", "parsed", "parses", "parser", "entries", "pass")]
    ['pars', 'pars', 'pars', 'pars', 'entri', 'pass']
    """
    for ending, rest in _ENDINGS:
        if word.endswith(ending) and (len(word) - len(ending) >= 3 or ending == rest):
            word = word[: len(word) - len(ending)] + rest
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiousl":
        word = word[:-1]
    if len(word) > 3 and word[-1] in "ey":
        word = word[:-1] + ("i" if word[-1] == "y" else "")
    return word
