"""Wish and lock at work: a rebuilt environment, newer releases, changed files, and what the doctor says."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from symphony.home import Home
from symphony.plugins import lock
from tests.fixtures.plugin_environment import Environment
from tests.fixtures.wheel_writer import source_of, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("restoring"))


@pytest.fixture
def environment(made: Environment) -> Iterator[Environment]:
    made.home.mkdir(mode=0o700)
    yield made
    made.clear()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def from_(index: Path) -> list[str]:
    return ["--no-index", "--find-links", str(index)]


def wish(environment: Environment, **requirements: str) -> None:
    """Edit plugins.toml by hand."""
    tables = [
        f'[plugins.{name.replace("_", "-")}]\nrequirement = "{text}"\n' for name, text in requirements.items()
    ]
    (environment.home / "plugins.toml").write_text("".join(tables))


def locked(environment: Environment) -> dict[str, str]:
    return {name: entry.version for name, entry in lock.read(Home(environment.home)).items()}


def actions(document: dict[str, list[dict[str, str]]]) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["action"], row["version"]) for row in document["plugins"]}


def test_the_wish_survives_a_rebuilt_environment(environment: Environment, index: Path) -> None:
    write_wheel(index, "toy-good", source_of("good"))
    write_wheel(index, "toy-loud", source_of("noisy"))
    wish(environment, toy_good="toy-good", toy_loud="toy_loud>=1")
    code, document, _ = environment("plugins", "sync", *from_(index))
    assert (code, actions(document)) == (
        0,
        {"toy-good": ("install", "1.0"), "toy-loud": ("install", "1.0")},
    )
    assert locked(environment) == {"toy-good": "1.0", "toy-loud": "1.0"}
    before = (environment.home / "plugins.lock").read_bytes()

    write_wheel(index, "toy-good", source_of("good"), version="1.1")  # newer, but not what is locked
    environment.rebuild()
    assert environment.statuses() == {"toy-good": "missing", "toy-loud": "missing"}
    code, document, _ = environment("plugins", "sync", "--dry-run", *from_(index))
    assert actions(document)["toy-good"] == ("install", "1.0")
    assert environment.statuses()["toy-good"] == "missing"
    assert environment("plugins", "sync", *from_(index))[0] == 0
    assert {name: row["version"] for name, row in environment.rows().items()} == {
        "toy-good": "1.0",
        "toy-loud": "1.0",
    }
    assert (environment.home / "plugins.lock").read_bytes() == before
    done = environment.run("plugins", "sync", *from_(index))
    assert done.stdout.splitlines() == ["kept toy-good 1.0: it is there", "kept toy-loud 1.0: it is there"]


def test_what_cannot_be_had_is_told_and_keeps_nobody_else_back(environment: Environment, index: Path) -> None:
    for name in ("toy-good", "toy-gone", "toy-forged"):
        environment.place(write_wheel(index, name, source_of("noisy")))
    wish(environment, toy_good="toy-good", toy_gone="toy-gone", toy_forged="toy-forged")
    code, document, _ = environment("plugins", "sync")
    assert set(actions(document).values()) == {("lock", "1.0")}  # they are there: no index is asked
    (index / "toy_good-1.0-py3-none-any.whl").unlink()
    write_wheel(index, "toy-good", source_of("noisy"), version="1.1")
    (index / "toy_gone-1.0-py3-none-any.whl").unlink()
    write_wheel(index, "toy-forged", "raise SystemExit('never executed')\n")
    environment.rebuild()
    code, document, told = environment("plugins", "sync", *from_(index))
    assert (code, document["error"]["exit"]) in ((3, 3), (8, 8))
    assert "2 plugins could not be restored" in document["error"]["message"]
    assert "toy-forged 1.0 came with other files than those in plugins.lock" in document["error"]["message"]
    assert "toy-good 1.0 of plugins.lock cannot be had: 1.1 is installed" in told
    assert environment.statuses() == {"toy-good": "active", "toy-gone": "missing", "toy-forged": "changed"}
    assert locked(environment) == {"toy-good": "1.1", "toy-gone": "1.0", "toy-forged": "1.0"}


def test_newer_releases_are_taken_up_and_bad_ones_taken_back(environment: Environment, index: Path) -> None:
    names = {"toy-fine": "good", "toy-bad": "noisy", "toy-future": "raises_in_hook"}
    for name, module in names.items():
        environment.place(write_wheel(index, name, source_of(module)))
    write_wheel(index, "toy-fine", source_of("good"), version="1.1")
    write_wheel(index, "toy-bad", source_of("raises"), version="1.1")
    write_wheel(index, "toy-future", source_of("needs_api_3"), version="2.0")
    write_wheel(index, "toy-fine", "raise SystemExit('not wished for')", version="2.0")
    wish(environment, toy_fine="toy-fine<2", toy_bad="toy-bad", toy_future="toy-future")
    assert environment("plugins", "sync")[0] == 0
    bad = environment.site / "toy_bad.py"
    before = bad.read_bytes()
    done = environment.run("plugins", "update", *from_(index))
    assert done.returncode == 4
    assert done.stdout.splitlines() == ["updated toy-fine 1.0 to 1.1"]
    assert "toy-future 2.0 needs plugin API 3" in done.stderr
    assert "RuntimeError: no such luck" in done.stderr
    assert "it was removed again, 1.0 is there as before" in done.stderr
    assert environment.statuses()["toy-bad"] == "active"
    assert bad.read_bytes() == before
    assert locked(environment) == {"toy-fine": "1.1", "toy-bad": "1.0", "toy-future": "1.0"}
    assert 'requirement = "toy-bad"' in (environment.home / "plugins.toml").read_text()


class TestChanged:
    @pytest.fixture
    def module(self, environment: Environment, index: Path, tmp_path: Path) -> Path:
        """The module of a locked plugin; whatever is done to it leaves a mark when it is imported."""
        environment.place(write_wheel(index, "toy-good", source_of("good")))
        wish(environment, toy_good="toy-good")
        environment("plugins", "sync")
        assert environment.statuses() == {"toy-good": "active"}
        module = environment.site / "toy_good.py"
        with module.open("a") as file:
            file.write(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
        return module

    def test_it_is_not_executed_until_somebody_accepts_it(
        self, environment: Environment, module: Path, tmp_path: Path
    ) -> None:
        row = environment.rows()["toy-good"]
        assert (row["status"], row["problem"]["at"]) == ("changed", str(module))
        code, document, _ = environment("run", "toy-good.doubled")
        assert (code, document["error"]["type"]) == (8, "Refused")
        assert "symphony plugins enable toy-good" in document["error"]["hint"]
        assert not (tmp_path / "ran").exists()
        assert environment("plugins", "enable", "toy-good")[1]["status"] == "active"
        assert (tmp_path / "ran").exists()
        assert environment.statuses() == {"toy-good": "active"}

    def test_update_puts_the_files_back(self, environment: Environment, index: Path, module: Path) -> None:
        code, document, _ = environment("plugins", "update", *from_(index))
        assert (code, actions(document)) == (0, {"toy-good": ("reinstalled", "1.0")})
        assert environment.statuses() == {"toy-good": "active"}
        assert module.read_text() == source_of("good")

    def test_the_doctor_reads_files_whose_times_tell_nothing(
        self, environment: Environment, module: Path
    ) -> None:
        environment("plugins", "enable", "toy-good")
        seen = module.stat()
        content = module.read_bytes()
        module.write_bytes(content.replace(b"Double a number", b"Halve a number!"))
        os.utime(module, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        assert environment.statuses() == {"toy-good": "active"}
        code, document, _ = environment("plugins", "doctor")
        assert (code, [fault["code"] for fault in document["faults"]]) == (1, ["changed"])
        assert environment.statuses() == {"toy-good": "changed"}

    def test_a_release_that_others_installed_is_seen(self, environment: Environment, index: Path) -> None:
        environment.place(write_wheel(index, "toy-good", source_of("good")))
        wish(environment, toy_good="toy-good")
        environment("plugins", "sync")
        info = environment.site / "toy_good-1.0.dist-info"
        environment.place(write_wheel(index, "toy-good", source_of("good"), version="1.1"))
        for file in info.iterdir():
            file.unlink()
        info.rmdir()
        row = environment.rows()["toy-good"]
        assert row["status"] == "changed"
        assert row["problem"]["message"] == "version 1.1 took the place of 1.0, which plugins.lock has"


def test_the_doctor_names_each_fault_with_its_remedy_and_mends_what_is_safe(
    environment: Environment, index: Path
) -> None:
    for name, module in (("toy-good", "good"), ("toy-needy", "missing_module"), ("toy-spare", "noisy")):
        environment.place(write_wheel(index, name, source_of(module)))
    write_wheel(index, "toy-lost", source_of("noisy"))
    assert set(environment.statuses().values()) == {"active", "broken"}  # which fills the cache
    (environment.site / "toy_spare-1.0.dist-info" / "entry_points.txt").write_text("")
    wish(environment, toy_good="toy-good", toy_lost="toy-lost")
    entry = {"version": "1.0", "record": None, "installed": "2026-01-01T00:00:00+00:00"}
    lock_file = {"schema": 1, "plugins": {"toy-forgotten": entry}}
    (environment.home / "plugins.lock").write_text(json.dumps(lock_file))
    (environment.home / "policy.toml").write_text('[plugins]\nblock = ["evil-*"]\n')
    code, document, _ = environment("plugins", "doctor")
    told = {(fault["where"], fault["code"]): fault["do"] for fault in document["faults"]}
    assert (code, told) == (
        1,
        {
            ("toy-lost", "missing"): "symphony plugins install toy-lost",
            ("toy-needy", "broken"): told["toy-needy", "broken"],
            ("toy-forgotten", "lock"): "symphony plugins doctor --fix",
            ("toy-good", "lock"): "symphony plugins sync",
            ("toy-spare", "cache"): "symphony plugins doctor --fix",
        },
    )
    assert "install what provides the module 'cv2_that_is_not_installed'" in told["toy-needy", "broken"]
    assert document["policies"] == [f"{environment.home / 'policy.toml'}: block evil-*"]
    done = environment.run("plugins", "doctor", "--fix", *from_(index))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "1 fault"
    assert "toy-needy: broken: ModuleNotFoundError" in done.stdout
    assert locked(environment) == {"toy-good": "1.0", "toy-lost": "1.0"}
    assert environment.statuses() == {"toy-good": "active", "toy-lost": "active", "toy-needy": "broken"}
    environment("plugins", "disable", "toy-needy")
    assert environment("plugins", "doctor")[0] == 0


def test_damaged_files_are_told_by_the_doctor(environment: Environment, index: Path) -> None:
    environment.place(write_wheel(index, "toy-good", source_of("good")))
    wish(environment, toy_good="toy-good")
    for name in ("plugins.lock", "plugins.cache"):
        (environment.home / name).write_text("{")
    for words in (
        ["list"],
        ["install", str(index / "toy_good-1.0-py3-none-any.whl")],
        ["uninstall", "toy-good"],
    ):
        code, document, _ = environment("plugins", *words)
        assert (code, document["error"]["type"]) == (2, "InvalidInput")
        assert "doctor --fix" in document["error"]["hint"]
    assert (environment.site / "toy_good.py").exists()
    assert environment("plugins", "doctor")[0] == 1
    assert environment("plugins", "doctor", "--fix")[0] == 0
    assert locked(environment) == {"toy-good": "1.0"}
    (environment.home / "policy.toml").write_text("[plugins]\nblok = []\n")
    code, document, _ = environment("plugins", "doctor")
    assert (code, document["faults"][0]["do"]) == (1, "did you mean block?")
