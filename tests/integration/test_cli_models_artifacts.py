"""``symphony models``, ``artifacts`` and ``pit check|stubs`` as processes of their own, with a real host."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony.cli.output import size
from tests.fixtures.command_line import command
from tests.fixtures.counted_runs import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

ROOT = Path(__file__).parent.parent.parent
HEADERS = ROOT / "pit" / "include"
AWKWARD = ROOT / "tests" / "fixtures" / "components" / "awkward.c"

PLUGIN = """
from itertools import pairwise
from pathlib import Path
import symphony

class Provider:
    cost = 0.5
    def __init__(self, log): self.log = Path(log)
    def note(self, text):
        with self.log.open("a") as file: file.write(text + "\\n")
    async def load(self):
        self.note("load")
        return "the model"
    async def unload(self, model): self.note("unload")
    async def health(self, model): return True

class Broken:
    def load(self): raise OSError("the weights are missing")

@symphony.step(model="toy-small")
async def use(*, model: str) -> str:
    return model

@symphony.workflow
async def using() -> str:
    return await use()

@symphony.hookimpl
def register_workflows(registry): registry.add(using)

@symphony.hookimpl
def register_models(registry):
    log = Path(__file__).with_name("log")
    registry.add("toy-small", Provider(log), memory=3 << 20, instances=2)
    registry.add("toy-broken", Broken(), memory=1)
"""

FILL = """
import sys
import symphony
with symphony.open_pit(sys.argv[1]) as pit:
    store = pit.artifact_store
    store.put(b"a draft of the walnut report", "report/main", "text/plain", message="draft", author="ada")
    source = store.put(b"figures", "figures", tags=["final"])
    report = b"the final walnut report"
    store.put(report, "report/main", "text/plain", {"pages": 3}, "run/step", ["final"], [source])
    store.put(bytes(range(256)) * 40_000, "big")
    for number in range(3):
        store.put(b"loose %d" % number)
"""


class Real:
    """A home with artifacts, and command lines run in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"

    def __call__(self, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        words = ["--home", str(self.home), *arguments]
        if not how:
            return command(*words, cwd=self.folder)
        given = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 120, **how}
        program = [sys.executable, "-m", "symphony", *words]
        return subprocess.run(program, cwd=self.folder, check=False, **given)

    def json(self, *arguments: str) -> tuple[int, Any]:
        done = self(*arguments, "--json")
        return done.returncode, json.loads(done.stdout)

    def error(self, *arguments: str) -> tuple[int, str, str]:
        code, document = self.json(*arguments)
        error = document["error"]
        assert error["exit"] == code
        return code, error["type"], error["message"] + " | " + error["hint"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    real = Real(tmp_path_factory.mktemp("real"))
    subprocess.run([sys.executable, "-c", FILL, str(real.home)], check=True)
    assert real("host", "start").returncode == 0
    yield real
    assert real("host", "stop").returncode == 0


@pytest.fixture(scope="module")
def toy(real: Real) -> Path:
    """The log of a file plugin's model; running its workflow makes the host load the plugin."""
    plugin = real.folder / "toy.py"
    plugin.write_text(PLUGIN)
    code, document = real.json("run", "toy.using", "--plugin", str(plugin))
    assert (code, document["result"]) == (0, "the model")
    return real.folder / "log"


@pytest.fixture(scope="class")
def policy(real: Real) -> Iterator[None]:
    """One that deletes what has no name, however young."""
    rules = '{"max_age": 0, "unnamed": true}'
    assert real("pit", "call", "stale_manager.set_policy", "loose", rules).returncode == 0
    yield
    assert real("pit", "call", "stale_manager.remove_policy", "loose").returncode == 0


class TestModels:
    def test_a_model_is_unloaded_loaded_and_used_again(self, real: Real, toy: Path) -> None:
        code, row = real.json("models", "unload", "toy-small")
        assert (code, row["state"], row["calls"], row["cost"]) == (0, "cold", 1, 0.5)
        code, row = real.json("models", "load", "toy-small")
        assert (code, row["state"], row["calls"]) == (0, "hot", 1)
        assert real("models", "load", "toy-small").stdout == "toy-small is hot\n"
        assert toy.read_text().split() == ["load", "unload", "load"]

    def test_the_table_says_what_is_loaded_and_what_failed(self, real: Real, toy: Path) -> None:
        assert "the weights are missing" in real.error("models", "load", "toy-broken")[2]
        code, rows = real.json("models", "list")
        assert code == 0
        states = {row["name"]: row["state"] for row in rows}
        assert (states["toy-broken"], states["toy-small"]) == ("failed", "hot")
        done = real("models", "list")
        lines = [line.split() for line in done.stdout.splitlines()]
        assert lines[0] == ["NAME", "STATE", "IN", "USE", "MEMORY", "CALLS", "PLUGIN"]
        assert ["toy-small", "hot", "0/2", "3.0", "MiB", "1", "toy"] in lines
        assert "toy-broken failed: OSError: the weights are missing" in done.stderr

    def test_a_prewarmed_model_is_loaded_in_the_background(self, real: Real, toy: Path) -> None:
        real("models", "unload", "toy-small")
        code, row = real.json("models", "prewarm", "toy-small")
        assert (code, row["started"]) == (0, True)
        deadline = time.monotonic() + 30
        while real.json("models", "prewarm", "toy-small")[1]["state"] != "hot":
            assert time.monotonic() < deadline
        assert real("models", "prewarm", "toy-small").stdout == "toy-small is hot already\n"

    @pytest.mark.parametrize("verb", ["load", "unload", "prewarm"])
    def test_an_unknown_model_is_named_with_the_closest(self, real: Real, toy: Path, verb: str) -> None:
        code, kind, text = real.error("models", verb, "toy-smal")
        assert (code, kind, text) == (3, "NotFound", "no model 'toy-smal' | did you mean 'toy-small'?")

    def test_a_model_in_use_is_not_unloaded(self, real: Real, toy: Path) -> None:
        real("models", "load", "toy-small")
        lease = real.json("pit", "call", "pool_manager.try_acquire", "toy-small")[1]["value"]
        code, kind, text = real.error("models", "unload", "toy-small")
        assert (code, kind) == (6, "Conflict")
        assert "in use (1 leased)" in text
        assert real("pit", "call", "pool_manager.release", str(lease)).returncode == 0


class TestArtifacts:
    def test_a_list_goes_by_prefix_and_tag(self, real: Real) -> None:
        code, rows = real.json("artifacts", "list")
        assert code == 0
        assert [row["name"] for row in rows] == ["big", "figures", "report/main"]
        assert rows[2]["version"] == 2
        assert rows[2]["created"].endswith("+00:00")
        found = real.json("artifacts", "list", "--prefix", "report/", "--tag", "final")[1]
        assert [row["name"] for row in found] == ["report/main"]
        done = real("artifacts", "list", "--limit", "2")
        assert [line.split()[-1] for line in done.stdout.splitlines()] == ["NAME", "big", "figures"]
        assert "there may be more" in done.stderr
        assert real.json("artifacts", "list", "--prefix", "none/")[1] == []

    def test_an_artifact_is_meant_by_name_version_id_or_its_beginning(self, real: Real) -> None:
        row = real.json("artifacts", "show", "report/main")[1]
        assert (row["tags"], row["lineage"]["steps"]) == (["final"], ["run/step"])
        assert [version["version"] for version in row["versions"]] == [1, 2]
        first = real.json("artifacts", "show", "report/main@1")[1]
        assert first["id"] == row["versions"][0]["id"] != row["id"]
        for what in (row["id"], row["id"][:10]):
            assert real.json("artifacts", "show", what)[1]["id"] == row["id"]
        shown = real("artifacts", "show", "report/main").stdout
        assert "23 (23 B)" in shown
        assert [line.split()[0] for line in shown.splitlines()[-2:]] == ["1", "2"]

    @pytest.mark.parametrize("verb", ["show", "get", "verify", "cool", "warm"])
    def test_an_unknown_artifact_is_named_with_the_closest(self, real: Real, verb: str) -> None:
        code, kind, text = real.error("artifacts", verb, "report/mian")
        assert (code, kind) == (3, "NotFound")
        assert text == "there is no artifact 'report/mian' | did you mean report/main?"
        assert real.error("artifacts", verb, "report/main@7")[2].endswith("versions: 1, 2")
        assert real.error("artifacts", verb, "0" * 64)[0] == 3

    def test_content_comes_to_stdout_to_a_file_or_as_json(self, real: Real, tmp_path: Path) -> None:
        assert real("artifacts", "get", "report/main").stdout == "the final walnut report"
        code, document = real.json("artifacts", "get", "report/main@1")
        assert base64.b64decode(document["content"]) == b"a draft of the walnut report"
        assert (code, document["size"]) == (0, 28)
        target = tmp_path / "big"
        code, document = real.json("artifacts", "get", "big", "-o", str(target))
        assert (code, document["path"], document["size"]) == (0, str(target), 10_240_000)
        assert target.read_bytes() == bytes(range(256)) * 40_000
        assert [path.name for path in tmp_path.iterdir()] == ["big"]
        with (tmp_path / "piped").open("wb") as piped:
            real("artifacts", "get", "big", capture_output=False, stdout=piped)
        assert (tmp_path / "piped").read_bytes() == target.read_bytes()

    def test_a_target_that_cannot_be_written_is_named(self, real: Real, tmp_path: Path) -> None:
        code, _, text = real.error("artifacts", "get", "big", "-o", str(tmp_path / "no" / "big"))
        assert (code, text) == (2, f"there is no folder {tmp_path / 'no'} | mkdir -p {tmp_path / 'no'}")
        target = tmp_path / "kept"
        target.write_text("mine")
        code, kind, text = real.error("artifacts", "get", "report/main", "-o", str(target))
        assert (code, kind, text) == (6, "Conflict", f"{target} is there already | --force replaces it")
        assert target.read_text() == "mine"
        assert real("artifacts", "get", "report/main", "-o", str(target), "--force").returncode == 0
        assert target.read_text() == "the final walnut report"
        for special in (str(tmp_path), "/dev/null"):
            assert real.error("artifacts", "get", "big", "-o", special)[0] == 2
        assert not Path("/dev/null").is_file()

    def test_an_ambiguous_beginning_names_those_that_it_could_be(self, real: Real) -> None:
        store = "import sys, symphony\nwith symphony.open_pit(sys.argv[1]) as pit:\n"
        fill = store + " for number in range(2000): pit.artifact_store.put(b'%d' % number)"
        other = Real(real.folder / "many")
        other.folder.mkdir()
        subprocess.run([sys.executable, "-c", fill, str(other.home)], check=True)
        rows = other.json("pit", "call", "artifact_store.inventory")[1]["value"]
        ids = sorted(row["id"] for row in rows)
        first, second = next((a, b) for a, b in pairwise(ids) if a[:4] == b[:4])
        code, kind, text = other.error("artifacts", "show", first[:4])
        assert (code, kind) == (2, "InvalidInput")
        assert text == f"{first[:4]} is the beginning of several ids | {first}, {second}"
        assert other.json("artifacts", "show", first[:12])[1]["id"] == first
        other("host", "stop")

    def test_search_ranks_what_it_finds(self, real: Real) -> None:
        code, rows = real.json("artifacts", "search", "walnut", "report")
        assert code == 0
        assert {row["name"] for row in rows} == {"report/main"}
        assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
        assert len(real.json("artifacts", "search", "waln*", "--tag", "final")[1]) == 1
        assert len(real.json("artifacts", "search", "walnut", "--limit", "1")[1]) == 1
        assert len(real.json("artifacts", "search", "--type", "text/")[1]) == 2
        done = real("artifacts", "search", "hazelnut")
        assert (done.returncode, done.stderr) == (0, "nothing found\n")

    def test_everything_is_verified_and_damage_ends_with_code_1(self, real: Real) -> None:
        whole = {"checked": 7, "damaged": []}
        assert real.json("artifacts", "verify") == (0, whole)
        place = real.json("pit", "call", "artifact_store.locate", self._id(real, "big"))[1]["value"]
        path = Path(place["path"])
        mode = path.stat().st_mode
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.write(b"\xff")
        try:
            assert real.json("artifacts", "verify") == (1, {"checked": 7, "damaged": [self._id(real, "big")]})
            done = real("artifacts", "verify", "big", "figures")
            assert done.returncode == 1
            assert done.stdout == f"damaged  {self._id(real, 'big')}\n"
            assert "2 artifacts verified, 1 damaged" in done.stderr
        finally:
            with path.open("r+b") as file:
                file.write(b"\x00")
            path.chmod(mode)
        assert real.json("artifacts", "verify", "big")[0] == 0

    def test_named_artifacts_are_cooled_and_warmed(self, real: Real) -> None:
        code, document = real.json("artifacts", "cool", "big", "figures")
        assert code == 0
        big, figures = document["artifacts"]
        assert (big["id"], big["cold"], big["reason"]) == (self._id(real, "big"), True, "")
        assert (figures["cold"], figures["reason"]) == (False, "smaller than 4 KiB")
        assert (document["checked"], document["cooled"]) == (2, 1)
        assert document["saved"] == big["size"] - big["bytes"] > 9_000_000
        assert real.json("artifacts", "show", "big")[1]["cold"] == big["bytes"]
        with (real.folder / "cold").open("wb") as piped:
            real("artifacts", "get", "big", capture_output=False, stdout=piped)
        assert (real.folder / "cold").read_bytes() == bytes(range(256)) * 40_000
        assert real.json("artifacts", "verify", "big")[0] == 0
        done = real("artifacts", "cool", "figures")
        assert done.stdout.endswith("stays as it is: smaller than 4 KiB\n")
        assert "1 artifact looked at, 0 cooled, 0 B saved" in done.stderr
        done = real("artifacts", "warm", "big", "figures")
        assert [line.split("  ")[1] for line in done.stdout.splitlines()] == ["warm, 9.8 MiB", "was not cold"]
        assert real.json("artifacts", "warm", "big")[1][0]["warmed"] is False

    def test_idle_artifacts_are_cooled_together(self, real: Real) -> None:
        assert real.json("artifacts", "cool", "--idle", "1")[1]["checked"] == 0
        code, document = real.json("artifacts", "cool", "--idle", "0")
        assert (code, document["checked"], document["cooled"], document["damaged"]) == (0, 7, 1, [])
        assert "7 artifacts looked at, 0 cooled" in real("artifacts", "cool", "--idle", "0").stderr
        assert real("artifacts", "warm", "big").returncode == 0

    @pytest.mark.parametrize("arguments", [(), ("big", "--idle", "1"), ("--idle", "-1"), ("--idle", "x")])
    def test_what_is_to_be_cooled_must_be_said(self, real: Real, arguments: tuple[str, ...]) -> None:
        code, _, text = real.error("artifacts", "cool", *arguments)
        assert code == 2
        assert "--idle" in text or "--help" in text

    def _id(self, real: Real, name: str) -> str:
        return str(real.json("artifacts", "show", name)[1]["id"])


class TestRetention:
    """In the order of the tests: the last one really deletes."""

    def test_a_dry_run_explains_each_decision_and_changes_nothing(self, real: Real, policy: None) -> None:
        code, plan = real.json("artifacts", "gc", "--dry-run")
        assert code == 0
        decided = {(row["name"] or "loose", row["decision"]) for row in plan["decisions"]}
        assert decided == {
            ("big", "keep"),
            ("figures", "keep"),
            ("report/main", "keep"),
            ("loose", "delete"),
        }
        assert all(row["reason"] and row["score"] >= 0 for row in plan["decisions"])
        assert (plan["totals"]["deleted"], plan["policies"][0]["name"]) == (3, "loose")
        assert plan["now"].endswith("+00:00")
        only = real.json("artifacts", "gc", "--dry-run", "--decision", "delete", "--limit", "2")[1]
        assert [row["decision"] for row in only["decisions"]] == ["delete", "delete"]
        done = real("artifacts", "gc", "--dry-run")
        assert done.stdout.split("\n")[0].split() == ["DECISION", "SIZE", "SCORE", "ARTIFACT"]
        for row in plan["decisions"]:
            assert row["reason"] in " ".join(done.stdout.split()), "the whole reason is shown"
        assert "7 artifacts: 3 (21 B) to delete, 0 (0 B) to archive, 4 (" in done.stderr
        assert "policy loose, priority 0" in done.stderr
        assert len(real.json("artifacts", "gc", "--dry-run")[1]["decisions"]) == 7

    @pytest.mark.parametrize("arguments", [(), ("--json",)])
    def test_nothing_is_deleted_when_nobody_can_be_asked(
        self, real: Real, policy: None, arguments: tuple[str, ...]
    ) -> None:
        done = real("artifacts", "gc", *arguments)
        assert done.returncode == 2
        assert "--yes" in done.stdout + done.stderr

    def test_an_interrupted_sweep_is_undone_by_hand(self, real: Real, policy: None) -> None:
        begun = real.json("pit", "call", "stale_manager.begin_sweep")[1]["value"]
        real("pit", "call", "stale_manager.step", str(begun["sweep"]), "2")
        code, kind, text = real.error("artifacts", "gc", "--yes")
        assert (code, kind) == (6, "Conflict")
        assert text.endswith("symphony artifacts gc --undo")
        assert "is not over" in real("artifacts", "gc", "--dry-run").stderr
        code, row = real.json("artifacts", "gc", "--undo")
        assert (code, row["state"]) == (0, "aborted")
        assert real.json("artifacts", "gc", "--dry-run")[1]["totals"]["deleted"] == 3
        assert real.error("artifacts", "gc", "--undo")[0] == 2

    def test_on_a_terminal_it_asks_and_takes_no_for_an_answer(self, real: Real, policy: None) -> None:
        outside, inside = os.openpty()
        os.write(outside, b"n\n")
        done = real("artifacts", "gc", stdin=inside)
        os.close(outside)
        os.close(inside)
        assert done.returncode == 130
        assert "Delete 3 (21 B) and archive 0 (0 B) of 7 artifacts?" in done.stderr
        assert real.json("artifacts", "gc", "--dry-run")[1]["totals"]["deleted"] == 3

    def test_a_sweep_goes_in_batches_and_is_committed(self, real: Real, policy: None) -> None:
        code, document = real.json("artifacts", "gc", "--yes", "--batch", "1")
        assert (code, document.pop("sweep") > 0) == (0, True)
        assert document == {"deleted": 3, "archived": 0, "kept": 0, "bytes": 21}
        assert real.json("artifacts", "verify")[1]["checked"] == 4
        assert real.json("pit", "call", "artifact_store.list_trash")[1]["value"] == []
        assert real("artifacts", "gc", "--yes").stdout == "nothing to delete or archive\n"


def test_a_sweep_whose_host_is_killed_is_reported_and_can_be_undone(tmp_path: Path) -> None:
    real = Real(tmp_path)
    subprocess.run([sys.executable, "-c", FILL, str(real.home)], check=True)
    rules = '{"max_age": 0, "unnamed": true}'
    assert real("pit", "call", "stale_manager.set_policy", "loose", rules).returncode == 0
    sweep = real.json("pit", "call", "stale_manager.begin_sweep")[1]["value"]["sweep"]
    assert real.json("pit", "call", "stale_manager.step", str(sweep), "1")[0] == 0
    interpreter = real.json("host", "status")[1]["interpreter"]["pid"]
    os.kill(interpreter, signal.SIGKILL)
    until(
        lambda: real.json("host", "status")[1]["interpreter"]["pid"] not in (None, interpreter),
        "the next interpreter",
    )
    assert real.error("artifacts", "gc", "--yes")[2].endswith("symphony artifacts gc --undo")
    assert real.json("artifacts", "gc", "--undo")[0] == 0
    assert real.json("artifacts", "gc", "--yes")[1]["deleted"] == 3
    assert real("host", "stop").returncode == 0


class TestPit:
    @pytest.fixture
    def real(self, tmp_path: Path) -> Real:
        return Real(tmp_path)

    def library(self, folder: Path, **defines: str) -> str:
        target = folder / "libawkward.so"
        command = ["cc", "-shared", "-fPIC", "-o", str(target), *self.awkward(**defines)]
        subprocess.run(command, check=True)
        return str(target)

    def awkward(self, **defines: str) -> list[str]:
        options = ['-DID="test.awkward"', *(f"-D{name}={value}" for name, value in defines.items())]
        return ["-I", str(HEADERS), *options, str(AWKWARD)]

    def test_a_good_library_is_created_called_and_brought_back(
        self, real: Real, tmp_path: Path, libraries: dict[str, Path]
    ) -> None:
        code, found = real.json("pit", "check", str(libraries["stale_manager"]))
        assert (code, found["problem"], found["component"]["id"]) == (0, None, "symphony.stale_manager")
        life = ["ping()", "stats()", "closed"]
        assert found["checks"] == [
            "described",
            "created",
            *life,
            "brought back from its records",
            *life,
        ]
        done = real("pit", "check", str(libraries["pool_manager"]))
        assert "try_acquire" in done.stdout
        assert done.stderr.startswith("ok: described, created")
        assert not real.home.exists()

    @pytest.mark.parametrize(
        ("create", "code", "message"),
        [
            ("FAILS", 4, "the model file is missing"),
            ("FAILS_SILENTLY", 4, "gave no message"),
        ],
    )
    def test_a_library_that_does_not_start_is_named_with_its_reason(
        self, real: Real, tmp_path: Path, create: str, code: int, message: str
    ) -> None:
        exited, _, text = real.error("pit", "check", self.library(tmp_path, CREATE=create))
        assert exited == code
        assert message in text
        assert "libawkward.so" in text

    def test_a_library_that_crashes_harms_nobody_else(self, real: Real, tmp_path: Path) -> None:
        source, target = tmp_path / "boom.c", tmp_path / "boom.so"
        source.write_text(
            "#include <stdlib.h>\n__attribute__((constructor)) static void boom(void) { abort(); }"
        )
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", str(target), str(source), *self.awkward()], check=True
        )
        code, kind, text = real.error("pit", "check", str(target))
        assert (code, kind) == (4, "PluginBroken")
        assert "component boom.so crashed with SIGABRT while it was being described" in text

    def test_what_is_no_component_is_incompatible(self, real: Real, tmp_path: Path) -> None:
        (tmp_path / "text.so").write_text("no library")
        code, kind, text = real.error("pit", "check", "text.so")
        assert (code, kind) == (5, "Incompatible")
        assert "a file of 10 bytes" in text
        code, kind, text = real.error("pit", "check", "tex.so")
        assert (code, kind) == (3, "NotFound")
        assert text.endswith("did you mean text.so?")
        assert real.error("pit", "stubs", "text.so")[0] == 5

    def test_stubs_are_written_for_any_component(
        self, real: Real, tmp_path: Path, libraries: dict[str, Path]
    ) -> None:
        text = real("pit", "stubs", str(libraries["pool_manager"])).stdout
        assert text == real("pit", "stubs", "pool_manager").stdout
        assert "class PoolManager(Protocol):" in text
        done = real("pit", "stubs", self.library(tmp_path), "-o", "typings")
        assert done.returncode == 0
        assert "class Awkward(Protocol):" in (tmp_path / "typings" / "awkward.pyi").read_text()
        assert real.error("pit", "stubs")[0] == 2
        code, document = real.json("pit", "stubs", "-o", "all")
        assert code == 0
        assert {Path(path).stem for path in document["written"]} >= set(libraries)
        assert real.error("pit", "stubs", "pool_maneger")[2].endswith("did you mean pool_manager?")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 20, "3.0 MiB"), (5 << 40, "5.0 TiB"), (None, "")],
)
def test_sizes_are_written_as_people_do(number: int | None, text: str) -> None:
    assert size(number) == text
