"""Whether a plugin fits this host, judged from its metadata and its source as text, before any of it runs."""

from __future__ import annotations

import platform
import re
import sys
import tokenize
from typing import TYPE_CHECKING

from symphony.api import SYMPHONY_API
from symphony.plugins.discovery import Candidate, declared_api, entry_sources
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def judge(candidate: Candidate) -> Problem | None:
    """The first thing that does not fit: Python, host version, plugin API; None when all do."""
    return judge_metadata(candidate.requires_python, candidate.requires) or judge_api(
        (file, read_source(file)) for file in entry_sources(candidate)
    )


def judge_metadata(requires_python: str, requires: Iterable[str]) -> Problem | None:
    """Judge ``Requires-Python`` and the requirement on ``symphony-host``."""
    problem = _judge_python(requires_python) if requires_python else None
    if problem is not None:
        return problem
    # Most plugins name the host without a version: they cost no parser.
    versioned = [text for text in requires if re.match(r"symphony[-_.]+host\s*[^\s;]", text, re.IGNORECASE)]
    return _judge_host(versioned) if versioned else None


def _judge_python(requires: str) -> Problem | None:
    least = re.fullmatch(r">=\s*(\d+)\.(\d+)", requires)
    if least is not None and sys.version_info >= (int(least[1]), int(least[2])):
        return None  # what most plugins say costs no parser, either
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    python = platform.python_version()
    try:
        if not SpecifierSet(requires).contains(python, prereleases=True):
            return Problem("python", f"needs Python {requires}, this is {python}")
    except InvalidSpecifier as error:
        return Problem("metadata", f"its metadata cannot be read: {error}")
    return None


def _judge_host(requires: Iterable[str]) -> Problem | None:
    from packaging.requirements import InvalidRequirement, Requirement

    from symphony import __version__

    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            return Problem("metadata", f"its metadata cannot be read: {error}")
        fits = wanted.specifier.contains(__version__, prereleases=True)
        if not fits and not (wanted.marker and not wanted.marker.evaluate()):
            return Problem("host", f"needs symphony-host {wanted.specifier}, this is {__version__}")
    return None


def judge_api(sources: Iterable[tuple[Path, str]]) -> Problem | None:
    """Judge the ``symphony_api`` a module declares; one that declares none is taken to fit."""
    for file, source in sources:
        api = declared_api(source)
        if api is not None and api != SYMPHONY_API:
            return Problem(
                "api",
                f"needs plugin API {api}, this host has {SYMPHONY_API}",
                at=str(file),
                hint="install the release of the plugin that fits this host",
            )
    return None


def read_source(file: Path) -> str:
    """The text of a source file, or nothing where it cannot be decoded (importing it will say so)."""
    try:
        with tokenize.open(file) as source:
            return source.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""
