"""Settings of plugins: read from ``config.toml`` and KEY=VALUE words, checked against a class."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest

import symphony
from symphony.errors import InvalidInput
from symphony.plugins.configuration import Configuration, PluginConfig
from symphony.settings import HostSettings, load_settings, parse_settings, setting_words

pytestmark = [pytest.mark.unit, pytest.mark.python]


@dataclass
class Server:
    port: int = 80


@dataclass
class Settings:
    url: str
    timeout: float = 5.0
    data: Path = Path("data")
    key: symphony.Secret | None = None
    server: Server = field(default_factory=Server)

    def __post_init__(self) -> None:
        if self.timeout < 0:
            raise ValueError("timeout is negative")


def config(home: Path, text: str = "", *words: str, plugin: str = "symphony-geo") -> PluginConfig:
    (home / "config.toml").write_text(text)
    return Configuration(home, words).of(plugin)


TABLE = """
[host]
hang_after = 20
[plugins.geo]
url = "https://example.org"
timeout = 2
data = "tiles"
key = "env:GEO_KEY"
server = {port = 8080}
[plugins.other]
url = 1
"""


@pytest.mark.hook("configure")
def test_a_table_is_read_into_a_class(tmp_path: Path) -> None:
    settings = config(tmp_path, TABLE).read(Settings)
    assert settings == Settings(
        "https://example.org", 2.0, tmp_path / "tiles", symphony.Secret("env:GEO_KEY"), Server(8080)
    )
    assert load_settings(tmp_path) == HostSettings(hang_after=20)


def test_words_come_before_the_file_and_are_read_as_the_hints_say(tmp_path: Path) -> None:
    given = config(
        tmp_path, TABLE, "plugins.geo.url=5", "hang_after=7", "plugins.symphony_geo.server.port=9", "x=y"
    )
    settings = given.read(Settings)
    assert (settings.url, settings.timeout, settings.server) == ("5", 2.0, Server(9))
    assert dict(config(tmp_path, "", "plugins.geo.a=[1]", "plugins.geo.b=text")) == {"a": [1], "b": "text"}


def test_settings_in_code_are_the_same_words(tmp_path: Path) -> None:
    given = {"hang_after": 7, "plugins": {"geo": {"url": "u", "server": {"port": 3}, "limits": 1}}}
    words = setting_words(given)
    assert dict(config(tmp_path, "", *words)) == {"url": "u", "server": {"port": 3}, "limits": 1}
    assert load_settings(tmp_path, words) == HostSettings(hang_after=7)


@pytest.mark.parametrize(
    ("text", "words", "message", "hint"),
    [
        ('[plugins.geo]\nulr = "u"', (), "{table}.ulr: no such setting", "did you mean url?"),
        ("", (), "{table}.url: missing, expected str", "[plugins.symphony-geo] in that file, or --set"),
        ('[plugins.geo]\nurl = "u"\ntimeout = "2"', (), "{table}.timeout: expected float, got str ('2')", ""),
        (
            '[plugins.geo]\nurl = "u"\nserver.port = "2"',
            (),
            "{table}.server.port: expected int, got str ('2')",
            "",
        ),
        ('[plugins.geo]\nurl = "u"\ntimeout = -1', (), "{table}: timeout is negative", ""),
        (
            "",
            ("plugins.geo.url=u", "plugins.geo.timeout=soon"),
            "{word}.timeout: expected float, got str ('soon')",
            "",
        ),
        (
            "",
            ("plugins.geo.url=u", "plugins.geo.tmeout=1"),
            "{word}.tmeout: no such setting",
            "did you mean timeout?",
        ),
        ("plugins = 1", (), "{file}: plugins: expected a table", ""),
        ("[plugins]\ngeo = 1", (), "{file}: plugins.geo: expected a table", ""),
        (
            "[plugins.geo]\n[plugins.symphony_geo]",
            (),
            "{file}: symphony-geo and geo in plugins are one plugin",
            "",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(
    tmp_path: Path, text: str, words: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        config(tmp_path, text, *words).read(Settings)
    file, word = tmp_path / "config.toml", "setting plugins.symphony-geo"
    assert str(error.value) == message.format(file=file, table=f"{file}: plugins.symphony-geo", word=word)
    assert error.value.hint == hint


def test_a_typed_dict_is_read_too(tmp_path: Path) -> None:
    class Shape(TypedDict):
        url: str
        depth: NotRequired[int]

    read: Any = config(tmp_path, '[plugins.geo]\nurl = "u"').read(Shape)
    assert read == {"url": "u"}
    with pytest.raises(InvalidInput, match="depth: expected int"):
        config(tmp_path, '[plugins.geo]\nurl = "u"\ndepth = "x"').read(Shape)
    with pytest.raises(InvalidInput, match="int has no fields"):
        config(tmp_path).read(int)


@pytest.mark.parametrize("word", ["plugins.geo=1", "plugins=1", "plugins..x=1", "plugins.geo.=1"])
def test_a_word_that_names_no_setting_is_refused(word: str) -> None:
    with pytest.raises(InvalidInput, match="plugins"):
        parse_settings([word])
