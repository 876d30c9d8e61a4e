"""Installing and removing plugins for real: pip, wheels made by hand, an environment of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import symphony
from symphony.home import Home
from symphony.observing.place import Place, look
from symphony.plugins import lock
from tests.fixtures import json_schemas, wheel_writer
from tests.fixtures.plugin_environment import Environment
from tests.fixtures.wheel_writer import source_of, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]
LEAVES_A_MARK = "import pathlib\npathlib.Path('{mark}').touch()\n"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
from pathlib import Path
from wheel_writer import write_wheel

def build_wheel(folder, *_, **__):
    return write_wheel(Path(folder), "toy-folder", Path("toy_folder.py").read_text()).name
"""

NATIVE = """
from pathlib import Path
import symphony

@symphony.hookimpl
def register_components(registry):
    registry.add(Path(__file__).with_name("toy_libraries") / "libcounter_c.so")
"""
COUNTER = Path(__file__).parents[2] / "pit" / "examples" / "counter_c" / "counter.c"
NATIVE_TAG = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("installing"))


@pytest.fixture(params=["pip", "uv"])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    """An environment for each installer."""
    return Environment(tmp_path, installer=request.param)


@pytest.fixture
def environment(made: Environment) -> Iterator[Environment]:
    """The environment without the plugins of an earlier test."""
    yield made
    made.clear()


def test_a_wheel_is_installed_wished_probed_and_removed(each: Environment, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "toy-good", source_of("good"))
    code, document, _ = each("plugins", "install", str(wheel))
    assert code == 0
    assert json_schemas.problems(document, "plugins-install") == []
    assert [(p["name"], p["status"], p["hooks"]) for p in document["plugins"]] == [
        ("toy-good", "active", ["register_models", "register_workflows"])
    ]
    assert f'requirement = "toy-good @ {wheel.as_uri()}"' in (each.home / "plugins.toml").read_text()
    assert lock.read(Home(each.home))["toy-good"].version == "1.0"
    code, workflows, _ = each("workflows", "list")
    assert "toy-good.doubled" in [workflow["name"] for workflow in workflows]
    assert each("plugins", "disable", "Toy_Good")[1]["status"] == "disabled"
    assert each("plugins", "enable", "toy-good")[1]["status"] == "active"
    assert each("plugins", "info", "toy.good")[1]["version"] == "1.0"
    Place(Home(each.home), "toy-good", 0).close()
    code, document, _ = each("plugins", "uninstall", "toy-good")
    assert (code, document) == (0, {"removed": ["toy-good"]})
    assert json_schemas.problems(document, "plugins-uninstall") == []
    assert each.statuses() == {}
    assert look(Home(each.home), "toy-good") is None, "if it comes back, it begins anew"
    code, document, _ = each("plugins", "uninstall", "toy-good")
    assert (code, document["error"]["type"]) == (3, "NotFound")


def test_a_name_comes_from_the_index_options(each: Environment, tmp_path: Path) -> None:
    write_wheel(tmp_path / "index", "toy-named", source_of("good"), version="1.0")
    write_wheel(tmp_path / "index", "toy-named", source_of("good"), version="2.0")
    options = ["--no-index", "--find-links", str(tmp_path / "index")]
    assert each("plugins", "install", "toy-named==1.0", *options)[1]["plugins"][0]["version"] == "1.0"
    assert 'requirement = "toy-named==1.0"' in (each.home / "plugins.toml").read_text()
    code, document, _ = each("plugins", "install", "toy-nowhere", *options)
    assert (code, document["error"]["type"]) == (3, "NotFound")


def test_what_is_no_plugin_is_refused_and_nothing_of_it_runs(
    environment: Environment, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    wheel = write_wheel(tmp_path / "index", "toy-library", LEAVES_A_MARK.format(mark=mark), plugin=False)
    good = write_wheel(tmp_path, "toy-good", source_of("good"))
    for spec in ([str(good), str(wheel)], ["toy-library", "--no-index", "--find-links", str(wheel.parent)]):
        code, document, _ = environment("plugins", "install", *spec)
        assert (code, document["error"]["type"]) == (8, "Refused")
        assert "no entry point in the group 'symphony'" in document["error"]["message"]
    assert not mark.exists()
    assert environment.statuses() == {}


def test_what_does_not_fit_is_refused_before_it_runs(environment: Environment, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    source = LEAVES_A_MARK.format(mark=mark)
    for name, text, options in (
        ("toy-api", f"symphony_api = 3\n{source}", {}),
        ("toy-python", source, {"requires_python": ">=4"}),
        ("toy-host", source, {"requires": ["symphony-host>=99"]}),
    ):
        wheel = write_wheel(tmp_path, name, text, **options)
        code, document, _ = environment("plugins", "install", str(wheel))
        assert (code, document["error"]["type"]) == (5, "Incompatible")
        assert "needs" in document["error"]["message"]
    assert not mark.exists()
    assert environment.statuses() == {}


@pytest.mark.parametrize(
    ("module", "message"), [("os_exit", "called os._exit(0)"), ("segfaults", "crashed with SIGSEGV")]
)
def test_what_crashes_in_its_probe_is_removed_again(
    environment: Environment, tmp_path: Path, module: str, message: str
) -> None:
    wheel = write_wheel(tmp_path, "toy-bad", source_of(module))
    code, document, _ = environment("plugins", "install", str(wheel))
    assert (code, document["error"]["type"]) == (4, "PluginBroken")
    assert message in document["error"]["message"]
    assert "toy_bad.py:" in document["error"]["message"]
    assert document["error"]["message"].endswith("it was removed again")
    assert environment.statuses() == {}
    assert "toy-bad" not in (environment.home / "plugins.toml").read_text()
    assert lock.read(Home(environment.home)) == {}


def test_a_plugin_put_there_by_others_harms_nothing_and_can_be_removed(
    environment: Environment, tmp_path: Path
) -> None:
    for name, module in (("toy-bad", "os_exit"), ("toy-good", "good")):
        environment.place(write_wheel(tmp_path, name, source_of(module)))
    assert environment.statuses() == {"toy-bad": "broken", "toy-good": "active"}
    assert environment("plugins", "info", "toy-bad")[1]["problem"]["code"] == "os_exit"
    assert environment("plugins", "uninstall", "toy-bad")[0] == 0
    assert environment.statuses() == {"toy-good": "active"}


def test_a_newcomer_is_told_what_it_lacks_and_one_without_any_name_is_removed(
    environment: Environment, tmp_path: Path
) -> None:
    environment.place(write_wheel(tmp_path, "toy-good", source_of("good")))
    code, document, _ = environment(
        "plugins", "install", str(write_wheel(tmp_path, "toy-later", source_of("other")))
    )
    assert (code, document["plugins"][0]["problem"]["code"]) == (0, "name_taken")
    code, document, _ = environment(
        "plugins", "install", str(write_wheel(tmp_path, "symphony-toy-good", source_of("other")))
    )
    assert (code, document["error"]["type"]) == (6, "Conflict")
    assert "the names toy-good.* are those of toy-good" in document["error"]["message"]
    assert environment.statuses() == {"toy-good": "active", "toy-later": "active"}


def test_an_index_that_does_not_answer_has_its_own_exit_code(environment: Environment) -> None:
    code, document, _ = environment(
        "plugins", "install", "toy-far", "--index-url", "http://127.0.0.1:9/simple"
    )
    assert (code, document["error"]["type"]) == (7, "IndexUnreachable")


def test_a_folder_is_built_and_a_source_archive_only_when_allowed(
    environment: Environment, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND)
    shutil.copy(wheel_writer.__file__, folder)
    (folder / "toy_folder.py").write_text(source_of("good"))
    code, document, _ = environment("plugins", "install", str(folder), "--no-index")
    assert (code, document.get("error")) == (0, None)
    assert document["plugins"][0]["status"] == "active"
    (folder / "toy_folder.py").write_text(source_of("noisy"))
    archive = tmp_path / "toy_folder-1.0.tar.gz"
    subprocess.run(["tar", "-C", str(tmp_path), "-czf", str(archive), "project"], check=True)
    code, document, _ = environment("plugins", "install", str(archive), "--no-index")
    assert (code, document["error"]["hint"]) == (8, "--allow-build permits it")
    code, document, _ = environment("plugins", "install", str(archive), "--no-index", "--allow-build")
    assert [item["name"] for item in document["plugins"][0]["contributions"]] == ["toy-folder.hum"]


@pytest.mark.parametrize(
    ("spec", "code", "kind"),
    [
        ("./none.whl", 3, "NotFound"),
        ("torn.whl", 2, "InvalidInput"),
        ("empty", 2, "InvalidInput"),
        ("!", 2, "InvalidInput"),
    ],
)
def test_a_spec_that_is_nothing_is_told(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, code: int, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.whl").write_text("no zip")
    (tmp_path / "empty").mkdir()
    given = f"./{spec}" if spec == "empty" else spec
    exited, document, _ = environment("plugins", "install", given)
    assert (exited, document["error"]["type"]) == (code, kind)


def test_the_readable_list_is_what_the_documentation_shows(environment: Environment, tmp_path: Path) -> None:
    for name, module in (("toy-good", "good"), ("toy-needy", "missing_module")):
        environment.place(write_wheel(tmp_path, name, source_of(module)))
    done = environment.run("plugins", "list")
    rows = done.stdout.splitlines()
    assert [row.split(maxsplit=3) for row in rows] == [
        ["NAME", "VERSION", "STATUS", "ADDS"],
        ["toy-good", "1.0", "active", "1 workflow, 1 model"],
        ["toy-needy", "1.0", "broken", rows[2].split(maxsplit=3)[3]],
    ]
    assert rows[2].split(maxsplit=3)[3].startswith("ModuleNotFoundError: No module named 'cv")
    assert max(map(len, rows)) <= 80
    assert done.stderr.splitlines()[-1] == "2 plugins, 1 needs attention: symphony plugins doctor"


def test_two_installations_into_one_environment_go_one_after_the_other(
    environment: Environment, tmp_path: Path
) -> None:
    environment.place(write_wheel(tmp_path, "toy-good", source_of("good")))
    folder = os.open(environment.site, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    words = ["--home", str(tmp_path / "another"), "plugins", "uninstall", "toy-good"]
    command = [str(environment.python), "-m", "symphony", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as removing:
        assert removing.stderr is not None
        assert removing.stderr.readline() == "waiting for another installation into this environment\n"
        assert (environment.site / "toy_good.py").exists()
        os.close(folder)
    assert removing.returncode == 0
    assert not (environment.site / "toy_good.py").exists()


def test_a_running_host_takes_up_what_is_installed(environment: Environment, tmp_path: Path) -> None:
    assert environment("host", "start")[0] == 0
    try:
        wheel = write_wheel(tmp_path, "toy-good", source_of("good"))
        assert environment("plugins", "install", str(wheel))[0] == 0
        code, document, _ = environment("run", "toy-good.doubled", "number=4")
        assert (code, document["result"]) == (0, 8)
        # Of another size, too: Python tells its byte code's age by size and whole seconds.
        newer = source_of("good").replace("2 * number", "30 * number")
        write_wheel(tmp_path, "toy-good", newer)
        code, _, told = environment("plugins", "update", "toy-good")
        assert "the running host still has toy-good as it was before: symphony host restart" in told
        code, document, _ = environment("plugins", "doctor")
        remedies = [(fault["code"], fault["do"]) for fault in document["faults"]]
        assert (code, remedies) == (1, [("stale", "symphony host restart")])
        assert environment("run", "toy-good.doubled", "number=4")[1]["result"] == 8
        assert environment("host", "restart")[0] == 0
        assert environment("plugins", "doctor")[0] == 0
        assert environment("run", "toy-good.doubled", "number=4")[1]["result"] == 120
        assert environment("plugins", "disable", "toy-good")[0] == 0
        code, document, _ = environment("run", "toy-good.doubled")
        assert (code, document["error"]["type"]) == (8, "Refused")
    finally:
        environment("host", "stop")


def test_what_is_left_out_is_unknown_to_the_host_as_well(environment: Environment, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    environment.place(write_wheel(tmp_path, "toy-good", source_of("good")))
    environment.place(write_wheel(tmp_path, "toy-left", LEAVES_A_MARK.format(mark=mark)))
    for words in (["--no-plugins", "plugins", "list"], ["plugins", "list", "--no-plugins=Toy_Left,toy-good"]):
        assert environment(*words)[1]["plugins"] == []
    try:
        code, document, _ = environment("--no-plugins=toy-left", "run", "toy-good.doubled")
        assert (code, document["result"]) == (0, 42)
        assert not mark.exists(), "neither a probe nor the interpreter may import it"
        assert "setting      select=-toy-left" in environment.run("host", "status").stdout
        assert environment("run", "toy-good.doubled", env={"SYMPHONY_PLUGINS": "-toy-left"})[0] == 0
        for given in ({}, {"SYMPHONY_PLUGINS": "toy-good"}, {"SYMPHONY_PLUGINS": ""}):
            code, document, _ = environment("run", "toy-good.doubled", env=given)
            assert (code, document["error"]["type"]) == (6, "Conflict")
            assert "was started with select=-toy-left" in document["error"]["message"]
    finally:
        environment("host", "stop")
    code, document, _ = environment("run", "toy-left.any", env={"SYMPHONY_PLUGINS": "toy-good"})
    assert (code, document["error"]["type"]) == (3, "NotFound")
    assert "SYMPHONY_PLUGINS=toy-good" in document["error"]["hint"]


def counter(folder: Path, *, major: str = "SYMPHONY_PIT_ABI_MAJOR") -> bytes:
    """The example component in C, built with the header that Symphony brings, with ``major`` as its ABI."""
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(COUNTER.read_text().replace("SYMPHONY_PIT_ABI_MAJOR", major))
    build = ["cc", "-std=c11", "-O1", "-shared", "-fPIC", "-pthread", "-I", symphony.get_include()]
    subprocess.run([*build, "-o", str(library), str(source)], check=True)
    return library.read_bytes()


@pytest.mark.hook("register_components")
def test_a_wheel_brings_a_component_in_c_whose_records_outlive_the_host(
    environment: Environment, tmp_path: Path
) -> None:
    library = "toy_libraries/libcounter_c.so"
    wheel = write_wheel(tmp_path, "toy-counter", NATIVE, tag=NATIVE_TAG, beside={library: counter(tmp_path)})
    code, document, _ = environment("plugins", "install", str(wheel))
    assert (code, document["plugins"][0]["status"]) == (0, "active")
    code, about, _ = environment("plugins", "info", "toy-counter")
    assert [item["kind"] for item in about["contributions"]] == ["component"]
    assert about["hooks"] == ["register_components"]
    name = about["contributions"][0]["name"]
    code, components, _ = environment("pit", "list")
    (component,) = [item for item in components if item["name"] == name]
    site = next(environment.python.parents[1].glob("lib/python*/site-packages"))
    assert component["library"] == str(site / library)
    assert "add" in [method["name"] for method in component["methods"]]
    try:
        assert environment("pit", "call", f"{name}.add", "5")[1] == {"value": 5}
        assert environment("host", "stop")[0] == 0
        assert environment("pit", "call", f"{name}.add", "2")[1] == {"value": 7}
    finally:
        environment("host", "stop")


def test_a_component_of_another_abi_makes_its_plugin_incompatible_and_harms_nothing(
    environment: Environment, tmp_path: Path
) -> None:
    beside = {"toy_libraries/libcounter_c.so": counter(tmp_path, major="99")}
    wheel = write_wheel(tmp_path, "toy-counter", NATIVE, tag=NATIVE_TAG, beside=beside)
    environment.place(write_wheel(tmp_path, "toy-good", source_of("good")))
    code, document, _ = environment("plugins", "install", str(wheel))
    assert (code, document["error"]["type"]) == (5, "Incompatible")
    assert "found ABI 99." in document["error"]["message"]
    assert environment.statuses() == {"toy-good": "active"}, "it was removed again"
    environment.place(wheel)
    assert environment.statuses() == {"toy-counter": "incompatible", "toy-good": "active"}
    code, components, _ = environment("pit", "list")
    assert code == 0
    assert "dag_tracker" in [item["name"] for item in components]
    assert "counter_c" not in [item["name"] for item in components]
