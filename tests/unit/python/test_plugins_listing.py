"""``symphony plugins list`` from what was kept: the same as looking, for as long as nothing has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from symphony.home import Home
from symphony.plugins import listing
from tests.fixtures.wheel_writer import source_of, unpack, write_wheel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.subprocess]

LIST = """
import sys
from symphony import cli
from symphony.plugins import listing
listing._SETTLED = 0.0  # the files of a test are new
code = cli.main(["plugins", "list", *sys.argv[1:]])
dear = {"click", "importlib.metadata", "pluggy", "symphony.plugins.catalog", "symphony._host"}
print(sorted(dear & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


class Place:
    """A home and a folder of plugins, listed by processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.site = folder, Home(folder / "home").ensure(), folder / "site"
        self.work = folder / "work"
        self.site.mkdir()
        self.work.mkdir()

    def add(self, name: str, source: str) -> None:
        unpack(write_wheel(self.folder / "wheels", name, source), self.site)

    def list(self, *words: str, **environment: str) -> tuple[str, str, bool]:
        """What is printed on both streams, and whether it was quick."""
        given = {**os.environ, "PYTHONPATH": str(self.site), "SYMPHONY_HOME": str(self.home.path)}
        command = [sys.executable, "-P", "-c", LIST, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=given | environment, cwd=self.work
        )
        *notes, dear = done.stderr.splitlines()
        return done.stdout, "\n".join(notes), dear == "[]"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.add("toy-good", source_of("good"))
    return place


def test_it_shows_what_a_look_shows_and_imports_little(place: Place) -> None:
    place.add("toy-broken", source_of("missing_module"))
    table, notes, _ = place.list()
    assert notes.startswith("probing ")
    looked = json.loads(place.list("--no-probe", "--json")[0])
    again, told, quick = place.list()
    assert (again, told, quick) == (table, notes.partition("\n")[2], True)
    document, _, quick = place.list("--json")
    assert (json.loads(document), quick) == (looked, True)
    assert {row["name"]: row["status"] for row in looked["plugins"]}["toy-broken"] == "broken"


def install(place: Place) -> None:
    place.add("toy-other", source_of("good"))


def edit(place: Place) -> None:
    module = next(place.site.glob("toy_good*.py"))
    module.write_text(module.read_text() + "\n# edited\n")


def disable(place: Place) -> None:
    place.home.plugins_toml.write_text("[plugins.toy-good]\nenabled = false\n")


def forbid(place: Place) -> None:
    place.home.policy.write_text('[plugins]\nblock = ["toy-good"]\n')


def forget(place: Place) -> None:
    place.home.plugins_cache.unlink()


def damage(place: Place) -> None:
    place.home.plugins_listing.write_text("{")


def test_whatever_it_follows_from_makes_it_look_again(place: Place) -> None:
    place.list()
    for change in (install, edit, disable, forbid, forget, damage):
        assert place.list()[2], "what was found is kept"
        change(place)
        assert not place.list()[2], change.__name__


def test_a_selection_and_a_file_of_the_working_folder_are_looked_at_each_time(place: Place) -> None:
    place.list()
    table, _, quick = place.list(SYMPHONY_PLUGINS="")
    assert ("toy-good" in table, quick) == (False, False)
    (place.work / "symphony_plugins.py").write_text("")
    _, notes, quick = place.list()
    assert ("was seen and not run" in notes, quick) == (True, False)


def test_a_file_that_changed_only_now_is_no_ground_to_keep_anything(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = listing.Listing({}, [], [])
    place.home.plugins_toml.write_text("")
    listing.keep(place.home, found, [])
    assert listing.kept(place.home) is None
    monkeypatch.setattr(listing, "_SETTLED", 0.0)
    listing.keep(place.home, found, [])
    assert listing.kept(place.home) == found
