"""The control protocol of the real host against its schema, by plain sockets."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fixtures.counted_runs import until
from tests.fixtures.wire import DOCUMENT, METHODS, ROOT, TOY, Wire, check_answer, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

COMMANDED = TOY.with_name("commanded.py")
NO_DEPENDENCY = "it depends on no step: the workflow came to it"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("host") / "home") as address:
        yield address


@pytest.fixture
def wire(address: str) -> Iterator[Wire]:
    with Wire(address) as wire:
        yield wire


class Spoken(Wire):
    """Notes which methods were answered with a result."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.methods: set[str] = set()

    def result(self, method: str, /, **params: Any) -> Any:
        self.methods.add(method)
        return super().result(method, **params)


def runs(wire: Spoken, plugin: Path) -> None:
    def start(name: str, **inputs: Any) -> str:
        order = {"workflow": f"toy.{name}", "inputs": inputs, "cwd": "/", "plugins": [str(plugin)]}
        return str(wire.result("workflows.run", **order)["run"])

    assert len(wire.result("runs.wait", run=start("keeping", texts=["abc", "def"]))["result"]) == 2
    run = start("doubled", number=3)
    assert wire.result("runs.wait", run=run, events=True)["result"] == 12
    failed = wire.result("runs.wait", run=start("failing"))
    assert (failed["status"], failed["error"]["type"]) == ("failed", "ValueError")
    assert wire.result("runs.graph", run=run)["edges"] == [{"from": "double#0", "to": "double#1"}]
    first, second = wire.result("runs.explain", run=run)["steps"]
    assert (first["because"], second["dependencies"][0]["key"]) == (NO_DEPENDENCY, "double#0")
    subscription = wire.result("events.subscribe", workflow="toy.sleeping")["subscription"]
    sleeping = start("sleeping")
    number = wire.request("runs.wait", {"run": sleeping, "events": True})
    with Wire(wire.socket.getpeername()) as other:
        assert other.result("runs.get", run=sleeping)["status"] == "running"
    with Spoken(wire.socket.getpeername()) as other:
        other.result("runs.cancel", run=sleeping)
        wire.methods |= other.methods
    answer = wire.receive()
    check_answer(answer, "runs.wait")
    assert (answer["id"], answer["result"]["status"]) == (number, "cancelled")
    wire.result("events.unsubscribe", subscription=subscription)
    told = [event for event in wire.events if event.get("subscription") == subscription]
    assert [event["kind"] for event in (told[0], told[-1])] == ["run_accepted", "run_finished"]
    assert {event["run"] for event in told} == {sleeping}
    assert wire.result("runs.resume", run=run[:16]) == {"run": run, "workflow": "toy.doubled"}
    for row in wire.result("runs.list"):
        assert wire.result("runs.get", run=row["run"])["status"] == row["status"]
    assert [row["run"] for row in wire.result("runs.list", status="failed")] == [failed["run"]]
    assert {row["name"] for row in wire.result("workflows.list")} == {
        "toy.doubled",
        "toy.failing",
        "toy.keeping",
        "toy.napping",
        "toy.noted",
        "toy.sleeping",
    }
    assert wire.result("runs.delete", runs=[failed["run"]])["deleted"] == [failed["run"]]
    assert wire.result("runs.prune", before="2000-01-01", dry_run=True)["deleted"] == []
    assert wire.error("runs.get", run="zzzz")["data"]["type"] == "NotFound"
    no_plugin = wire.error("workflows.run", workflow="toy.ok", plugins=["/etc/passwd"])
    assert no_plugin["message"] == "/etc/passwd is no plugin file: its name does not end with .py"
    assert wire.error("workflows.run", workflow="toy.dubled")["data"]["exit"] == 3


def commands(wire: Spoken, folder: Path) -> None:
    def start(name: str) -> str:
        order = {"workflow": f"commanded.{name}", "inputs": {"folder": str(folder)}, "cwd": "/"}
        return str(wire.result("workflows.run", **order, plugins=[str(COMMANDED)])["run"])

    def waits(run: str) -> None:
        until(lambda: wire.result("runs.get", run=run)["status"] == "waiting", "the run to wait")

    folder.mkdir()
    for name in ("one", "beside"):
        (folder / f"go-{name}").touch()
    released = start("release")
    executed = folder / "executed"
    until(lambda: executed.exists() and "deploy" in executed.read_text().split(), "the step to begin")
    os.kill(wire.result("conductor.status")["pid"], signal.SIGKILL)
    waits(released)
    (folder / "go-deploy").touch()
    assert wire.result("runs.retry_step", run=released, step="deploy#0")["applied"] is True
    assert wire.result("runs.wait", run=released)["result"] == ["deploy", "beside"]
    asked = start("asks")
    assert wire.result("runs.pause", run=asked)["command"] == "pause"
    assert wire.result("runs.unpause", run=asked)["applied"] is True
    waits(asked)
    assert wire.result("runs.wait", run=asked, waiting=True)["questions"][0]["prompt"] == "Deploy?"
    assert wire.result("runs.provide_input", run=asked, name="approve", value=True)["applied"] is True
    until(lambda: len(wire.result("runs.get", run=asked)["graph"]) == 2, "the step behind the answer")
    assert wire.result("runs.skip_step", run=asked, step="work#1")["applied"] is True
    assert wire.result("runs.wait", run=asked)["result"] == ["one", True, None]
    assert wire.error("runs.pause", run=asked)["data"]["exit"] == 6


def pit(wire: Spoken) -> None:
    names = [component["name"] for component in wire.result("pit.list")]
    assert "pool_manager" in names
    stats = wire.result("pit.call", component="pool_manager", method="stats")
    assert stats["value"]["models"] == 1
    assert wire.error("pit.call", component="pool_manager", method="stast")["data"]["hint"]


def models(wire: Spoken) -> None:
    assert [row["name"] for row in wire.result("models.list")] == ["toy-small"]
    assert wire.result("models.load", model="toy-small")["state"] == "hot"
    assert wire.result("models.prewarm", model="toy-small")["started"] is False
    assert wire.result("models.unload", model="toy-small")["state"] == "cold"
    assert wire.error("models.load", model="toy-smal")["data"]["hint"]


def artifacts(wire: Spoken) -> None:
    rows = wire.result("artifacts.list", prefix="note/")
    assert len(rows) == 2
    chosen = rows[0]["id"]
    assert wire.result("artifacts.show", artifact=rows[0]["name"])["id"] == chosen
    part = wire.result("artifacts.get", artifact=chosen, limit=2)
    assert part["next"] == 2
    assert wire.result("artifacts.get", artifact=chosen, offset=2)["next"] is None
    assert [row["id"] for row in wire.result("artifacts.search", query=rows[0]["name"], limit=1)] == [chosen]
    assert "at most 4,096" in wire.error("artifacts.search", query="a " * 4096)["message"]
    assert wire.result("artifacts.verify")["damaged"] == []
    assert wire.result("artifacts.cool", artifact=chosen)["cooled"] == 0
    assert wire.result("artifacts.warm", artifact=chosen)["warmed"] is False
    assert wire.result("artifacts.plan")["totals"]["total"] >= 2
    rules = {"max_age": 0, "unnamed": True}
    policy = {"component": "stale_manager", "method": "set_policy", "args": ["drafts", rules]}
    wire.result("pit.call", **policy)
    sweep = wire.result("artifacts.sweep")
    assert wire.result("artifacts.plan", limit=1)["pending"]["sweep"] == sweep["sweep"]
    wire.result("artifacts.sweep_step", sweep=sweep["sweep"], batch=1)
    wire.result("artifacts.sweep_end", sweep=sweep["sweep"], commit=False)
    assert wire.error("artifacts.show", artifact="nothing")["data"]["exit"] == 3


def plugins(wire: Spoken) -> None:
    known = {plugin["name"] for plugin in wire.result("plugins.list")["plugins"]}
    assert "symphony-conductor" in known
    assert wire.result("plugins.disable", name="symphony-conductor")["status"] == "disabled"
    assert wire.result("plugins.info", name="symphony-conductor")["enabled"] is False
    assert wire.result("plugins.enable", name="symphony-conductor")["enabled"] is True
    # What they do right is shown where there is an environment to spare: test_plugin_install.py.
    assert wire.error("plugins.install", specs=["./no/such/wheel.whl"])["data"]["exit"] == 3
    assert wire.error("plugins.uninstall", names=["no-such-plugin"])["data"]["exit"] == 3
    wire.methods |= {"plugins.install", "plugins.uninstall"}
    assert wire.error("plugins.update", names=["no-such-plugin"])["data"]["exit"] == 3
    assert wire.result("plugins.update") == wire.result("plugins.sync", no_index=True) == {"plugins": []}
    assert wire.error("plugins.update", names=["a\0b"])["code"] == -32602
    found = wire.result("plugins.doctor", no_probe=True)
    assert found["environment"].startswith(sys.prefix)
    wire.result("plugins.reload")


def conductor(wire: Spoken) -> None:
    subscription = wire.result("events.subscribe", kinds=["interpreter"])["subscription"]
    before = wire.result("conductor.status")
    assert wire.result("conductor.stop", drain=0)["state"] == "stopped"
    assert wire.error("pit.list")["data"]["type"] == "HostUnavailable"
    assert wire.result("host.status")["interpreter"]["pid"] is None
    assert wire.result("runs.list") != []
    after = wire.result("conductor.start")
    assert (after["state"], after["restarts"]) == ("ready", before["restarts"])
    assert wire.result("conductor.restart")["pid"] != after["pid"]
    wire.result("events.unsubscribe", subscription=subscription)
    assert wire.error("events.unsubscribe", subscription=subscription)["data"]["exit"] == 3
    mine = [event for event in wire.events if event.get("subscription") == subscription]
    assert [event["state"] for event in mine] == ["stopped", "ready", "ready"]


def test_every_method_answers_as_the_schema_says(tmp_path: Path) -> None:
    with running(tmp_path / "home") as address, Spoken(address) as wire:
        assert wire.result("rpc.discover") == DOCUMENT
        assert wire.result("host.status")["interpreter"]["state"] == "ready"
        wire.result("host.linger")
        runs(wire, TOY)
        pit(wire)
        models(wire)
        artifacts(wire)
        commands(wire, tmp_path / "steps")
        plugins(wire)
        conductor(wire)
        wire.result("host.stop", drain=0)
    assert wire.methods == set(METHODS)


def test_what_is_no_request_gets_the_code_of_the_protocol(wire: Wire) -> None:
    def code(line: bytes | str) -> tuple[object, int]:
        answer = wire.exchange(line)
        check_answer(answer)
        return answer["id"], answer["error"]["code"]

    deep = '{"jsonrpc":"2.0","id":1,"method":"pit.call","params":{"args":' + "[" * 300 + "]" * 300 + "}}"
    assert code("{") == (None, -32700)
    assert code(b"\xff\xfe") == (None, -32700)
    assert code('{"jsonrpc": "2.0", "id": 1, "method": "host.status"} {}') == (None, -32700)
    for line in ("[]", "5", '"a"', "null", "[" * 100_000, deep):
        assert code(line) == (None, -32600)
    assert code("[1") == (None, -32700)
    assert code('{"jsonrpc": "1.0", "id": "a", "method": "host.status"}') == ("a", -32600)
    assert code('{"id": 7, "method": "host.status"}') == (7, -32600)
    assert code('{"jsonrpc": "2.0", "id": {}, "method": "host.status"}') == (None, -32600)
    assert code('{"jsonrpc": "2.0", "id": 7, "method": 5}') == (7, -32600)
    assert code('{"jsonrpc": "2.0", "id": 7, "method": "host.status", "params": [1]}') == (7, -32602)
    assert code('{"jsonrpc": "2.0", "id": 7, "method": "host.stats"}') == (7, -32601)
    assert code(b" " * ((16 << 20) + 1)) == (None, -32600)
    wire.send("")  # an empty line is nothing
    assert wire.result("host.status")["running"]


@pytest.mark.parametrize("id", [0, -1, 7.5, 2**70, "", "ä", None, "x" * 10_000])
def test_an_id_comes_back_as_it_was(wire: Wire, id: object) -> None:
    line = json.dumps({"jsonrpc": "2.0", "id": id, "method": "host.status"})
    answer = wire.exchange(line)
    check_answer(answer, "host.status")
    assert answer["id"] == id


@pytest.mark.parametrize(
    ("method", "params", "message", "hint"),
    [
        ("runs.lst", {}, "no method", "did you mean runs.list?"),
        ("runs.get", {"rum": "a"}, "no parameter", "did you mean run?"),
        ("runs.get", {}, "run is missing", ""),
        ("runs.get", {"run": 5}, "run must be a string, got 5", ""),
        ("runs.list", {"status": "done"}, "must be one of pending, running, ", ""),
        ("host.stop", {"drain": -1}, "drain must be a number from 0 to 86400, got -1", ""),
        ("runs.wait", {"run": "a", "events": "yes"}, 'events must be true or false, got "yes"', ""),
        ("workflows.run", {"workflow": "a.b", "inputs": []}, "inputs must be an object, got []", ""),
        ("workflows.run", {"workflow": "a.b", "plugins": [1]}, "plugins must be a list of strings", ""),
        ("artifacts.list", {"limit": 1.5}, "limit must be a whole number from 0 on, got 1.5", ""),
        ("models.load", {"model": ["a"]}, 'model must be a string, got ["a"]', ""),
    ],
)
def test_a_wrong_name_or_type_is_named(
    wire: Wire, method: str, params: dict[str, Any], message: str, hint: str
) -> None:
    answer = wire.exchange(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    check_answer(answer)
    error = answer["error"]
    assert error["code"] == (-32601 if method == "runs.lst" else -32602)
    assert message in error["message"]
    assert hint in error["data"]["hint"]
    assert error["data"]["exit"] == (3 if method == "runs.lst" else 2)


def test_a_batch_is_answered_as_one_document_without_its_notifications(wire: Wire) -> None:
    status: dict[str, Any] = {"jsonrpc": "2.0", "method": "host.status"}
    answers = wire.exchange(
        json.dumps([{**status, "id": 1}, 5, status, {**status, "id": "b", "method": "x"}])
    )
    for answer in answers:
        check_answer(answer)
    found = {answer["id"]: answer.get("error", {}).get("code") for answer in answers}
    assert found == {1: None, None: -32600, "b": -32601}
    wire.send(json.dumps([status, status]))  # nothing but notifications: no answer
    wire.send(json.dumps({**status, "method": "nothing"}))
    assert wire.exchange(json.dumps([{**status, "id": n} for n in range(257)]))["error"]["code"] == -32600
    assert len(wire.exchange(json.dumps([{**status, "id": n} for n in range(256)]))) == 256


def test_half_a_request_gets_an_answer_and_no_harm_is_done(wire: Wire, address: str) -> None:
    with Wire(address) as half:
        half.socket.sendall(b'{"jsonrpc": "2.0", "id": 1, "meth')
        assert wire.result("host.status")["running"]
        half.socket.shutdown(socket.SHUT_WR)
        assert half.receive()["error"]["code"] == -32700
    with Wire(address) as parts:
        for part in (b'{"jsonrpc": "2.0", "id": 1, ', b'"method": "host.st', b'atus"}\n'):
            parts.socket.sendall(part)
            assert wire.result("host.status")["running"]
        check_answer(parts.receive(), "host.status")


def test_a_client_that_reads_nothing_holds_up_nobody(wire: Wire, address: str) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(address)
        deaf.setblocking(False)
        request = b'{"jsonrpc": "2.0", "id": 1, "method": "host.status"}\n' * 1000
        sent = 0
        while True:
            try:
                sent += deaf.send(request)
            except BlockingIOError:
                if wire.result("host.status")["running"] and sent:
                    break
        assert sent < 100 << 20, "the host stops reading when its answers are not taken"


def test_a_hundred_clients_are_served_at_once(address: str) -> None:
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(address)) for _ in range(100)]
        for number, wire in enumerate(wires):
            wire.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": "host.status"}))
        for number, wire in reversed(list(enumerate(wires))):
            answer = wire.receive()
            check_answer(answer)
            assert answer["id"] == number


def test_the_example_of_the_page_asks_the_host(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "control.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    home = Path(address).parent.parent / "home"
    exec(compile(example, "control.md", "exec"), {"home": home})
    assert capsys.readouterr().out == "ready\n"


def test_what_the_interpreter_cannot_read_or_find_keeps_nobody_waiting(wire: Wire) -> None:
    order = {"workflow": "toy.doubled", "plugins": [str(TOY)], "cwd": "/"}
    digits = "9" * 5000
    line = {"jsonrpc": "2.0", "id": 1, "method": "workflows.run"}
    text = json.dumps({**line, "params": {**order, "inputs": {"number": 12345}}}).replace("12345", digits)
    refused = wire.exchange(text)
    check_answer(refused)
    assert "4300 digits" in refused["error"]["message"]
    half = wire.exchange(json.dumps({**line, "params": {**order, "inputs": {"nubmer\ud800": 1}}}))
    assert "\\ud800" in half["error"]["message"]
    long = wire.error("workflows.run", workflow="x" * (4 << 20))
    assert long["data"]["type"] == "NotFound"
    run = wire.result("workflows.run", **order)["run"]
    assert wire.result("runs.wait", run=run)["status"] == "completed"


def test_clients_that_only_stay_take_nothing_from_the_interpreter(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))  # which the host inherits
    try:
        with running(tmp_path / "home") as address, contextlib.ExitStack() as stack:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            wires = [stack.enter_context(Wire(address)) for _ in range(60)]
            assert wires[0].result("conductor.restart")["state"] == "ready"
            refused = wires[-1].receive()
            check_answer(refused)
            assert refused["error"]["message"] == "this host serves 36 clients already"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_socket_that_was_taken_away_comes_back(address: str) -> None:
    entry = Path(address).parent.parent / "home" / "host.json"
    assert json.loads(entry.read_text())["socket"] == address
    entry.unlink()
    Path(address).unlink()
    until(lambda: Path(address).exists() and entry.exists(), "the socket")
    with Wire(address) as wire:
        assert wire.result("host.status")["running"]
    assert stat.S_IMODE(Path(address).stat().st_mode) == 0o600


def test_the_socket_is_the_users_own(address: str) -> None:
    path = Path(address)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
