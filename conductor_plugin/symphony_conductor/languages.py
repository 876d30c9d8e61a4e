"""How definitions look in languages other than Python: line patterns, by language and by file suffix.

Tables only. A pattern that misses or misreads a definition moves a cut between passages; it loses no line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """How definitions look.

    ``container`` opens a block whose inner definitions are sections too (class, impl, namespace),
    ``function`` one whose inside is left whole; the group that matched is the name. ``comment`` begins
    lines that belong to the definition below them.
    """

    container: re.Pattern[str]
    function: re.Pattern[str]
    comment: re.Pattern[str]


_SLASHES = r"\s*(//|/\*|\*|\*/)"
_C_COMMENT = re.compile(_SLASHES + r"|\s*(@\w|\[\w|template\b)")
_NAME = r"(?P<name>[A-Za-z_$][\w$]*)"
_MODIFIERS = (
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|open|override|virtual|async|export|default|"
    r"declare|inline|partial|readonly|data|suspend|extern|unsafe|const|constexpr|synchronized|native|mutating|get|set|"
    r"lazy|implicit|case|fileprivate|pub|companion|annotation|external|actual|expect)\s+)*"
)
_NO_CALL = (
    r"(?!(?:if|for|while|switch|catch|return|else|do|try|new|throw|await|yield|case|sizeof|typeof|assert)\b)"
)

_RUST = Language(
    container=re.compile(
        r"\s*(?:pub(?:\([^)]*\))?\s+)?(?:default\s+|unsafe\s+)*"
        r"(?:impl(?:<[^{]*?>)?\s+(?:[^{]*?\bfor\s+)?|trait\s+|mod\s+|struct\s+|enum\s+|union\s+)"
        r"(?P<name>[A-Za-z_]\w*)(?!.*;\s*$)"
    ),
    function=re.compile(
        r"\s*(?:pub(?:\([^)]*\))?\s+)?(?:default\s+|const\s+|async\s+|unsafe\s+|extern\s+(?:\"[^\"]*\"\s+)?)*"
        r"(?:fn\s+|macro_rules!\s*)(?P<name>[A-Za-z_]\w*)"
    ),
    comment=re.compile(_SLASHES + r"|\s*#!?\["),
)
_GO = Language(
    container=re.compile(r"type\s+(?P<name>\w+)\s+(?:struct|interface)\b"),
    function=re.compile(r"func\s+(?:\([^)]*\)\s*)?(?P<name>\w+)|type\s+(?P<other>\w+)\b"),
    comment=re.compile(_SLASHES),
)
_SCRIPT = Language(  # JavaScript, TypeScript
    container=re.compile(rf"\s*{_MODIFIERS}(?:class|interface|namespace|module|enum)\s+{_NAME}"),
    function=re.compile(
        rf"\s*{_MODIFIERS}function\s*\*?\s*{_NAME}"
        rf"|\s*{_MODIFIERS}(?:const|let|var)\s+(?P<other>[\w$]+)[^=]*=\s*(?:async\s*)?(?:function\b|\([^)]*\)?[^;]*=>|\w+\s*=>|\($)"
        rf"|\s+{_MODIFIERS}\*?#?{_NO_CALL}(?P<third>[A-Za-z_$][\w$]*)\s*(?:<[^>]*>)?\([^;]*\)?\s*(?::[^;=]*)?\{{\s*$"
        rf"|\s*{_MODIFIERS}type\s+(?P<fourth>\w+)\b[^=]*="
    ),
    comment=_C_COMMENT,
)
_BRACES = Language(  # C, C++, Java, C#, Kotlin, Swift, Scala, PHP, Dart, Zig and their like
    container=re.compile(
        rf"\s*{_MODIFIERS}(?:typedef\s+)?(?:class|interface|struct|enum(?:\s+class)?|trait|record|object|namespace|"
        rf"protocol|extension|union|@interface|mixin|actor)\s+{_NAME}(?!.*;\s*$)(?![^{{]*\()"
    ),
    function=re.compile(
        rf"\s*{_MODIFIERS}(?:fun|func|function|def|fn)\s+(?:<[^>]*>\s*)?(?:[\w.]+\.)?{_NAME}"
        rf"|(?!\s*(?:#|return\b|else\b|case\b|throw\b|new\b|using\b|typedef\b))\s*{_NO_CALL}"
        rf"[\w:<>,*&\[\]?~ .]*?(?P<other>~?[A-Za-z_]\w*)\s*\([^;={{}}]*(?:\)[^;=]*)?(?:\{{.*)?$"
    ),
    comment=_C_COMMENT,
)
_HASH = r"\s*#"
_KEYWORDS = Language(  # Ruby, Elixir, Crystal, Julia, Python that does not parse
    container=re.compile(
        r"\s*(?:class|module|defmodule|struct|mutable struct)\s+(?P<name>[A-Za-z_]\w*(?:(?:\.|::)\w+)*)"
    ),
    function=re.compile(
        r"\s*(?:private\s+|async\s+)*(?:def|defp|defmacro|function|macro)\s+(?:self\.)?(?P<name>[A-Za-z_][\w.]*[?!]?)"
    ),
    comment=re.compile(_HASH + r"|\s*@\w"),
)
_SHELL = Language(
    container=re.compile(r"(?P<name>(?!))"),
    function=re.compile(
        r"\s*(?:function\s+)?(?P<name>[A-Za-z_][\w:.-]*)\s*\(\s*\)|\s*function\s+(?P<other>[\w:.-]+)"
    ),
    comment=re.compile(_HASH),
)
_LUA = Language(
    container=re.compile(r"(?P<name>(?!))"),
    function=re.compile(
        r"\s*(?:local\s+)?function\s+(?P<name>[\w.:]+)|(?:local\s+)?(?P<other>[\w.]+)\s*=\s*function\b"
    ),
    comment=re.compile(r"\s*--"),
)
_PERL = Language(
    container=re.compile(r"(?:package|class)\s+(?P<name>[\w:]+)"),
    function=re.compile(r"\s*(?:sub|method)\s+(?P<name>\w+)"),
    comment=re.compile(_HASH),
)
_SQL = Language(
    container=re.compile(r"(?P<name>(?!))"),
    function=re.compile(
        r"(?i)create\s+(?:or\s+replace\s+)?(?:\w+\s+)*?(?:table|view|function|procedure|index|trigger)\s+"
        r"(?:if\s+not\s+exists\s+)?[\"`\[]?(?P<name>[\w.]+)"
    ),
    comment=re.compile(r"\s*(--|/\*)"),
)
_CONFIG = Language(  # TOML, INI: a table is a section
    container=re.compile(r"(?P<name>(?!))"),
    function=re.compile(r"\[{1,2}(?P<name>[^\]]+)\]{1,2}"),
    comment=re.compile(r"\s*[#;]"),
)

LANGUAGES = {
    "rust": _RUST,
    "go": _GO,
    "script": _SCRIPT,
    "braces": _BRACES,
    "keywords": _KEYWORDS,
    "python2": _KEYWORDS,
    "shell": _SHELL,
    "lua": _LUA,
    "perl": _PERL,
    "sql": _SQL,
    "config": _CONFIG,
}

_SUFFIXES = {
    "rust": ".rs",
    "go": ".go",
    "script": ".js .jsx .mjs .cjs .ts .tsx .mts .cts .vue .svelte",
    "braces": ".c .h .cc .cpp .cxx .hh .hpp .hxx .m .mm .java .cs .kt .kts .swift .scala .php .dart .zig .cu "
    ".groovy .proto .glsl .d",
    "keywords": ".rb .rake .ex .exs .cr .jl",
    "shell": ".sh .bash .zsh .ksh .fish",
    "lua": ".lua",
    "perl": ".pl .pm",
    "sql": ".sql",
    "config": ".toml .ini .cfg",
}
LANGUAGE_OF_SUFFIX = {suffix: language for language, listed in _SUFFIXES.items() for suffix in listed.split()}
