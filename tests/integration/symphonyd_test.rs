//! The program `symphonyd` as its clients meet it: real processes, a real socket, real logs.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::needless_pass_by_value)] // `json!({})` reads better without & at every call

#[path = "../fixtures/run_log.rs"]
mod run_log;
#[path = "../fixtures/stand_in/mod.rs"]
mod stand_in;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symphony_dag_tracker::records::{Event, Finished, Outcome, RunControl, RunStatus};

use run_log::RunLog;
use stand_in::StandIn;

const PREFIX: &str = "/the/prefix";
const LIMIT: Duration = Duration::from_secs(15);
const RUN: &str = "01jd3k0000000000000000000a";

fn symphonyd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symphonyd"));
    command.env("PYTHONPATH", stand_in::module_path()).env_remove("SYMPHONY_HOME").stdin(Stdio::null());
    command
}

/// A `symphonyd` that was started; killed at the end of its test.
struct Daemon {
    process: Child,
    /// Its first line.
    line: Value,
}

impl Daemon {
    fn start(stand_in: &StandIn, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = symphonyd();
        command.arg("--home").arg(&stand_in.home).arg("--python").arg(stand_in::python());
        command
            .args(["--prefix", PREFIX])
            .env("XDG_RUNTIME_DIR", stand_in.folder.path())
            .stdout(Stdio::piped());
        change(&mut command);
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        stdout.read_to_string(&mut String::new()).expect("nothing follows the line");
        Self { process, line: serde_json::from_str(&line).unwrap_or(Value::Null) }
    }

    fn ready(stand_in: &StandIn) -> Self {
        let daemon = Self::start(stand_in, |_| ());
        assert_eq!(daemon.line["ready"], true, "{}", daemon.line);
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.line["socket"].as_str().unwrap().into()
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap().success()
        );
    }

    /// Its exit code, once it ends by itself.
    fn end(&mut self) -> Option<i32> {
        until("symphonyd ends", || self.process.try_wait().unwrap().is_some());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client {
    stream: BufReader<UnixStream>,
    next: u64,
    events: Vec<Value>,
}

impl Client {
    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { stream: BufReader::new(stream), next: 0, events: Vec::new() }
    }

    fn send(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> u64 {
        self.next += 1;
        self.send(
            &json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": parameters}).to_string(),
        );
        self.next
    }

    fn text(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    fn receive(&mut self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    fn answer(&mut self, id: u64) -> Value {
        loop {
            let document = self.receive();
            if document["id"] == id {
                return document;
            }
            assert_eq!(document["method"], "event", "{document}");
            self.events.push(document["params"].clone());
        }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.ask(method, &parameters);
        self.answer(id)
    }

    fn result(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.call(method, parameters);
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// Type, message and exit code of the error.
    fn error(&mut self, method: &str, parameters: Value) -> (String, String, u64) {
        let error = self.call(method, parameters)["error"].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&error["data"]["type"]), text(&error["message"]), error["data"]["exit"].as_u64().unwrap())
    }
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !happened() {
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn alive(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn finish(payload: &[u8]) -> Event<'_> {
    Event::RunFinished { status: RunStatus::Completed, payload }
}

fn started(key: &str) -> Event<'_> {
    Event::StepStarted { key, name: "step", attempt: 1, dependencies: vec![] }
}

fn finished(key: &str, outcome: Outcome) -> Event<'_> {
    Event::StepFinished { key, name: "step", fingerprint: b"", outcome, payload: b"=" }
}

#[test]
fn it_says_where_it_listens_and_stops_when_told() {
    let stand_in = StandIn::new();
    let mut daemon = Daemon::ready(&stand_in);
    let entry: Value = serde_json::from_slice(&fs::read(stand_in.home.join("host.json")).unwrap()).unwrap();
    assert_eq!((&entry["pid"], &entry["socket"]), (&daemon.line["pid"], &daemon.line["socket"]));
    assert_eq!((&entry["prefix"], &entry["version"]), (&json!(PREFIX), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(mode(&stand_in.home), 0o700);
    assert_eq!(mode(&stand_in.home.join("host.json")), 0o600);
    assert_eq!((mode(&daemon.socket()), mode(daemon.socket().parent().unwrap())), (0o600, 0o700));
    let mut client = daemon.client();
    let status = client.result("host.status", json!({}));
    assert_eq!((&status["running"], &status["pid"]), (&json!(true), &daemon.line["pid"]));
    assert_eq!((&status["interpreter"]["state"], &status["runs"]), (&json!("ready"), &json!(0)));
    let interpreter = status["interpreter"]["pid"].as_u64().unwrap();
    assert_eq!(client.result("host.stop", json!({})), json!({"stopped": true}));
    assert!(!alive(interpreter));
    assert_eq!(daemon.end(), Some(0));
    assert!(!stand_in.home.join("host.json").exists() && !daemon.socket().exists());
}

#[test]
fn a_second_host_names_the_first_and_another_environment_is_refused() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let mut second = Daemon::start(&stand_in, |_| ());
    assert_eq!(second.line, daemon.line);
    assert_eq!(second.end(), Some(0));
    let mut other = Daemon::start(&stand_in, |command| {
        command.args(["--prefix", "/other"]);
    });
    let error = &other.line["error"];
    assert_eq!((&error["type"], &error["exit"]), (&json!("Conflict"), &json!(6)));
    let message = error["message"].as_str().unwrap();
    let pid = daemon.line["pid"].to_string();
    assert!([PREFIX, "/other", &pid].iter().all(|part| message.contains(part)), "{message}");
    assert_eq!(other.end(), Some(6));
}

#[test]
fn malformed_input_gets_an_error_and_hurts_nobody() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let mut client = daemon.client();
    for (line, code) in [
        ("{", -32700),
        ("\u{0}\u{1}", -32700),
        ("[]", -32600),
        ("{\"id\": 1}", -32600),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "nothing"}"#, -32601),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "host.status", "params": 5}"#, -32602),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "runs.get", "params": {"run": 5}}"#, -32602),
    ] {
        client.send(line);
        let answer = client.receive();
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert!(answer["error"]["data"]["type"].is_string(), "{answer}");
    }
    client.stream.get_mut().write_all(&[0xff, 0xfe, b'\n']).unwrap();
    assert_eq!(client.receive()["error"]["code"], -32700);
    client.send(&" ".repeat(17 << 20));
    assert_eq!(client.receive()["error"]["code"], -32600);
    client.send(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    assert_eq!(client.receive()["error"]["code"], -32600);
    client.send(r#"{"jsonrpc": "2.0", "method": "host.status"}"#); // a notification: no answer
    assert_eq!(client.result("host.status", json!({}))["running"], true);
}

#[test]
fn a_client_that_only_stops_sending_still_gets_its_answers() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let mut client = daemon.client();
    client.ask("workflows.list", &json!({}));
    client.stream.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.receive()["result"]["method"], "workflows.list");
    assert_eq!(client.text(), "", "then the host closes");
}

#[test]
fn runs_are_shown_as_the_log_tells_them() {
    let stand_in = StandIn::new();
    stand_in.behave("");
    fs::create_dir(stand_in.home.join("pit")).unwrap();
    let (other, third) = ("01jd3k0000000000000000000b", "01zz000000000000000000000c");
    let document = br#"={"result": 1180591620717411303424, "error": null, "steps": {"executed": 1, "reused": 1, "failed": 0, "skipped": 0}}"#;
    {
        let log = RunLog::open(&stand_in.home);
        log.accept(RUN, "conductor.index", 1_700_000_000_000_000);
        log.write(RUN, 1_700_000_001_000_000, &started("k"));
        log.write(RUN, 1_700_000_002_500_000, &finished("k", Outcome::Completed));
        log.write(RUN, 1_700_000_003_000_000, &finish(document));
        log.accept(other, "conductor.search", 1_700_000_100_000_000);
        log.accept(third, "tools.report", 1_700_000_200_000_000);
        log.write(third, 1_700_000_201_000_000, &finish(b"@0123"));
    }
    let row = json!({
        "run": RUN, "workflow": "conductor.index", "status": "completed", "started": "2023-11-14T22:13:20.000Z",
        "seconds": 3.0, "steps": {"executed": 1, "reused": 1, "failed": 0, "skipped": 0},
    });
    let query = |arguments: &[&str]| -> (Value, Option<i32>) {
        let output =
            symphonyd().arg("query").arg("--home").arg(&stand_in.home).args(arguments).output().unwrap();
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
    };
    let (list, code) = query(&["runs.list"]);
    let statuses: Vec<&str> =
        list.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!((statuses, code), (vec!["completed", "pending", "completed"], Some(0)));
    assert_eq!(list[2], row);
    assert_eq!(query(&["runs.list", r#"{"workflow": "symphony-conductor:index"}"#]).0, json!([row]));
    assert_eq!(query(&["runs.list", r#"{"since": "2023-11-14T22:16:00Z"}"#]).0[0]["run"], third);
    assert_eq!(query(&["runs.list", r#"{"status": "pending"}"#]).0[0]["run"], other);
    assert_eq!(query(&["runs.get", r#"{"run": "01jd3k"}"#]).0["error"]["type"], "InvalidInput");
    assert_eq!(query(&["runs.list", r#"{"status": "done"}"#]).1, Some(2));

    let daemon = Daemon::start(&stand_in, |_| ());
    assert_eq!(daemon.line["ready"], true);
    let mut client = daemon.client();
    let shown = client.result("runs.get", json!({"run": RUN.to_uppercase()}));
    assert_eq!(
        shown["graph"],
        json!([{"key": "k", "name": "step", "state": "completed", "attempts": 1, "seconds": 1.5}])
    );
    assert_eq!(client.result("runs.get", json!({"run": "01jd3k0000000000000000000b"}))["status"], "running");
    let (kind, message, exit) = client.error("runs.get", json!({"run": "01jd3k"}));
    assert_eq!((kind.as_str(), exit), ("InvalidInput", 2));
    assert!(message.contains(RUN) && message.contains(other), "{message}");
    let answer = client.call("runs.get", json!({"run": "01zzz"}));
    assert_eq!(answer["error"]["data"]["exit"], 3);
    assert!(answer["error"]["data"]["hint"].as_str().unwrap().contains(third), "{answer}");
    let id = client.ask("runs.wait", &json!({"run": RUN}));
    let text = client.text();
    assert!(
        text.contains(r#""result":1180591620717411303424"#) && text.contains(&format!("\"id\":{id}")),
        "{text}"
    );
}

#[test]
fn a_large_result_comes_from_the_interpreter() {
    let stand_in = StandIn::new();
    stand_in.behave(r#"result {"result": "large", "error": null, "steps": {"executed": 7}}"#);
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    log.write(RUN, 2, &finish(b"@0123"));
    let end = daemon.client().result("runs.wait", json!({"run": "01jd"}));
    assert_eq!((&end["result"], &end["steps"]["executed"]), (&json!("large"), &json!(7)));
    assert_eq!(stand_in.seen().last().unwrap()[2], json!({"run": RUN, "artifact": "0123"}));
}

#[test]
fn the_interpreter_is_told_which_runs_it_may_forget_and_how_far_the_history_goes() {
    let stand_in = StandIn::new();
    let (other, live) = ("01jd3k0000000000000000000b", "01jd3k0000000000000000000c");
    stand_in.behave(&format!("finished {RUN} {other} {live} 01jd3kunheardof0000000000d"));
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    for run in [RUN, other, live] {
        log.accept(run, "w.w", 1);
    }
    log.write(RUN, 2, &finish(b"={}"));
    log.write(other, 3, &finish(b"={}"));
    let mut client = daemon.client();
    let told =
        || stand_in.seen().into_iter().filter(|seen| seen[1] == "runs.forget").map(|mut seen| seen[2].take());
    until("it is told", || told().count() > 1);
    let told: Vec<Value> = told().collect();
    assert_eq!(told[0]["runs"], json!([]));
    assert_eq!(told[1]["runs"], json!([RUN, other, "01jd3kunheardof0000000000d"]), "not the live one");
    assert!(told[1]["before"].as_u64().unwrap() > 0);
    assert_eq!(client.result("runs.list", json!({})).as_array().unwrap().len(), 3);
    assert_eq!(mode(&stand_in.home.join("history.db")), 0o600);
}

#[test]
fn who_waits_is_told_what_happens() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    log.write(RUN, 2, &started("a"));
    let (mut watching, mut quiet) = (daemon.client(), daemon.client());
    let id = watching.ask("runs.wait", &json!({"run": RUN, "events": true}));
    let quiet_id = quiet.ask("runs.wait", &json!({"run": RUN}));
    let progress = json!({"run": RUN, "key": "a", "name": "step", "done": 3, "total": 9, "message": "m"});
    daemon.client().result("pit.call", json!({"component": "c", "method": "progress", "args": [progress]}));
    log.write(RUN, 3, &Event::AttemptFailed { key: "a", attempt: 1, error: "boom", retry_at: 9 });
    log.write(RUN, 4, &finished("a", Outcome::Cached));
    log.write("other", 4, &started("x"));
    log.write(RUN, 5, &finish(b"={}"));
    let end = watching.answer(id);
    assert_eq!((&end["result"]["status"], &end["result"]["result"]), (&json!("completed"), &Value::Null));
    let told: Vec<_> =
        watching.events.iter().map(|event| [&event["kind"], &event["state"], &event["message"]]).collect();
    assert_eq!(
        json!(told),
        json!([
            ["step_started", "running", ""],
            ["progress", "", "m"],
            ["attempt_failed", "queued", "boom"],
            ["step_finished", "cached", ""],
            ["run_finished", "completed", ""],
        ])
    );
    assert!(
        watching.events[..4]
            .iter()
            .all(|event| event["run"] == RUN && event["name"] == "step" && event["key"] == "a")
    );
    assert_eq!((&watching.events[1]["done"], &watching.events[1]["total"]), (&json!(3), &json!(9)));
    assert_eq!(quiet.answer(quiet_id)["result"]["status"], "completed");
    assert!(quiet.events.is_empty());
}

#[test]
fn a_slow_subscriber_loses_events_and_is_told_but_never_an_answer() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    let mut slow = daemon.client();
    let id = slow.ask("runs.wait", &json!({"run": RUN, "events": true}));
    assert_eq!(slow.next, 1);
    let mut quick = daemon.client();
    until("the slow one is heard", || quick.result("host.status", json!({}))["runs"] == 1);
    std::thread::sleep(Duration::from_millis(50));
    let keys: Vec<String> = (0..30_000).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        log.write(RUN, 2, &started(key));
    }
    let quick_id = quick.ask("runs.wait", &json!({"run": RUN}));
    log.write(RUN, 3, &finish(b"={}"));
    assert_eq!(
        quick.answer(quick_id)["result"]["status"],
        "completed",
        "others do not wait for the slow one"
    );
    assert_eq!(slow.answer(id)["result"]["status"], "completed");
    let told = slow.events.iter().filter(|event| event["kind"] != "lost").count();
    let lost: u64 = slow.events.iter().filter_map(|event| event["lost"].as_u64()).sum();
    assert!(lost > 0 && told >= 8192, "{lost} lost, {told} told");
    assert_eq!(told as u64 + lost, 30_001, "the steps and the run's end");
}

#[test]
fn it_leaves_when_nobody_needs_it() {
    let stand_in = StandIn::new();
    let mut daemon = Daemon::start(&stand_in, |command| {
        command.env("SYMPHONY_LINGER", "0.3");
    });
    let mut client = daemon.client();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(client.result("host.status", json!({}))["running"], true, "a client keeps it");
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    drop(client);
    std::thread::sleep(Duration::from_millis(800));
    assert!(daemon.process.try_wait().unwrap().is_none(), "a live run keeps it");
    log.write(RUN, 2, &finish(b"={}"));
    assert_eq!(daemon.end(), Some(0));
}

/// Type, hint and exit code of an error.
fn shape(error: &Value) -> [&Value; 3] {
    ["type", "hint", "exit"].map(|name| &error["data"][name])
}

#[test]
fn who_waits_for_a_run_that_cannot_go_on_is_told_why_until_it_is_resumed() {
    let stand_in = StandIn::new();
    stand_in.behave("");
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    log.write(RUN, 2, &started("a"));
    let other = "01jd3k0000000000000000000b";
    log.accept(other, "w.w", 3);
    let (mut client, mut waiting) = (daemon.client(), daemon.client());
    let block = |client: &mut Client, kind: &str, hint: &str| {
        let reason = json!({"run": RUN, "type": kind, "message": "m", "hint": hint});
        client.result("pit.call", json!({"component": "c", "method": "blocked", "args": [reason]}));
    };
    let id = waiting.ask("runs.wait", &json!({"run": RUN, "events": true}));
    let other_id = waiting.ask("runs.wait", &json!({"run": other}));
    until("it waits", || waiting.text().contains("step_started"));
    block(&mut client, "WorkflowChanged", "h");
    let error = waiting.answer(id)["error"].clone();
    assert_eq!(shape(&error), [&json!("WorkflowChanged"), &json!("h"), &json!(1)]);
    assert_eq!((&error["message"], &error["data"]["run"]), (&json!("m"), &json!(RUN)));
    assert_eq!(client.call("runs.wait", json!({"run": RUN}))["error"], error, "a later one is told, too");
    let shown = client.result("runs.get", json!({"run": RUN}));
    assert_eq!(
        (&shown["status"], &shown["error"]),
        (
            &json!("pending"),
            &json!({"type": "WorkflowChanged", "message": "m", "step": null, "report": null})
        )
    );
    assert_eq!(client.result("runs.list", json!({"status": "pending"}))[0]["run"], RUN);
    let rest = client.result("runs.get", json!({"run": other}));
    assert_eq!((&rest["status"], rest.get("error")), (&json!("running"), None));

    // Resumed in vain: the new reason counts.
    let refusal =
        json!({"code": -32000, "message": "m2", "data": {"type": "PluginBroken", "hint": "h2", "exit": 4}});
    stand_in.behave(&format!("error:run.resume {refusal}"));
    let refused = client.call("runs.resume", json!({"run": RUN}))["error"].clone();
    assert_eq!(shape(&refused), [&json!("PluginBroken"), &json!("h2"), &json!(4)]);
    assert_eq!(client.call("runs.wait", json!({"run": RUN}))["error"], refused);

    stand_in.behave("");
    assert_eq!(client.result("runs.resume", json!({"run": RUN}))["run"], RUN);
    let shown = client.result("runs.get", json!({"run": RUN}));
    assert_eq!((&shown["status"], shown.get("error")), (&json!("running"), None));

    // A new interpreter has its own view.
    block(&mut client, "NotFound", "");
    let error = client.call("runs.wait", json!({"run": RUN}))["error"].clone();
    let resume = json!(format!("symphony runs resume {RUN}"));
    assert_eq!(shape(&error), [&json!("NotFound"), &resume, &json!(3)]);
    drop(log); // which the next one waits for
    client.call("pit.call", json!({"component": "c", "method": "kill 9"}));
    client.result("pit.list", json!({}));
    assert_eq!(client.result("runs.get", json!({"run": RUN}))["status"], "running");
    let log = RunLog::open(&stand_in.home);

    // Cancelled while it is blocked: what the log says counts.
    block(&mut client, "PluginBroken", "");
    assert_eq!(client.result("runs.cancel", json!({"run": RUN}))["applied"], true);
    log.write(RUN, 4, &Event::RunFinished { status: RunStatus::Cancelled, payload: b"={}" });
    assert_eq!(client.result("runs.wait", json!({"run": RUN}))["status"], "cancelled");
    block(&mut client, "PluginBroken", "");
    assert_eq!(client.result("runs.wait", json!({"run": RUN}))["status"], "cancelled");
    assert_eq!(client.result("runs.get", json!({"run": RUN})).get("error"), None);
    log.write(other, 5, &finish(b"={}"));
    assert_eq!(waiting.answer(other_id)["result"]["status"], "completed", "others go on");
}

#[test]
fn a_run_that_cannot_go_on_does_not_keep_the_host() {
    let stand_in = StandIn::new();
    let mut daemon = Daemon::start(&stand_in, |command| {
        command.env("SYMPHONY_LINGER", "0.3");
    });
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    std::thread::sleep(Duration::from_millis(800));
    assert!(daemon.process.try_wait().unwrap().is_none(), "it could go on");
    let reason = json!({"run": RUN, "type": "WorkflowChanged", "message": "m", "hint": "h"});
    let call = json!({"component": "c", "method": "blocked", "args": [reason]});
    daemon.client().result("pit.call", call);
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn a_run_whose_start_fails_after_it_was_recorded_is_kept_and_does_not_keep_the_host() {
    let stand_in = StandIn::new();
    let failure =
        json!({"code": -32000, "message": "m", "data": {"type": "HostUnavailable", "hint": "", "exit": 9}});
    stand_in.behave(&format!("pause run.start\nerror:run.start {failure}"));
    let mut daemon = Daemon::start(&stand_in, |command| {
        command.env("SYMPHONY_LINGER", "0.3");
    });
    let log = RunLog::open(&stand_in.home);
    let (mut client, mut leaving) = (daemon.client(), daemon.client());
    let starts = || {
        let seen = stand_in.seen().into_iter().filter(|seen| seen[1] == "run.start");
        seen.map(|seen| seen[2]["run"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let workflow = json!({"workflow": "w.w"});
    leaving.ask("workflows.run", &workflow);
    until("it is asked", || starts().len() == 1);
    log.accept(&starts()[0], "w.w", 1);
    drop(leaving);
    std::thread::sleep(Duration::from_millis(300)); // what it waited for is given up
    stand_in.go();
    let left = json!({"run": starts()[0]});
    assert_eq!(client.call("runs.wait", left.clone())["error"]["message"], "m");
    assert_eq!(client.result("runs.get", left)["status"], "pending");

    fs::remove_file(stand_in.home.join("go")).unwrap();
    let id = client.ask("workflows.run", &workflow);
    until("it is asked again", || starts().len() == 2);
    log.accept(&starts()[1], "w.w", 2);
    stand_in.go();
    let run = &starts()[1];
    let error = client.answer(id)["error"].clone();
    let resume = json!(format!("symphony runs resume {run}"));
    assert_eq!(shape(&error), [&json!("HostUnavailable"), &resume, &json!(9)]);
    assert_eq!(
        (&error["message"], &error["data"]["run"]),
        (&json!(format!("m; run {run} is kept")), &json!(run))
    );
    assert_eq!(client.call("runs.wait", json!({"run": run}))["error"]["message"], "m");
    assert_eq!(client.result("runs.get", json!({"run": run}))["status"], "pending");
    let error = client.call("workflows.run", workflow)["error"].clone();
    assert_eq!(
        (&error["message"], error["data"].get("run")),
        (&json!("m"), None),
        "this one was not recorded"
    );
    drop(client);
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn a_stopped_host_lets_steps_finish_and_the_next_one_takes_the_run_up() {
    let stand_in = StandIn::new();
    stand_in.behave("pause stop");
    let mut daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    log.write(RUN, 2, &started("a"));
    let (mut client, mut waiting, mut late) = (daemon.client(), daemon.client(), daemon.client());
    let waiting_id = waiting.ask("runs.wait", &json!({"run": RUN, "events": true}));
    let id = client.ask("host.stop", &json!({}));
    until("it is asked to stop", || stand_in.seen().last().unwrap()[1] == "stop");
    assert_eq!(stand_in.seen().last().unwrap()[2], json!({"drain": 10.0}));
    assert_eq!(late.error("workflows.run", json!({"workflow": "w.w"})).0, "HostUnavailable");
    std::thread::sleep(Duration::from_millis(300));
    log.write(RUN, 3, &finished("a", Outcome::Completed));
    until("the step's end is told", || waiting.text().contains("step_finished"));
    stand_in.go();
    assert_eq!(client.answer(id)["result"], json!({"stopped": true}));
    let error = waiting.answer(waiting_id)["error"].clone();
    assert_eq!(error["data"]["hint"], format!("symphony runs resume {RUN}"));
    assert_eq!(daemon.end(), Some(0));
    let text = fs::read_to_string(stand_in.home.join("logs/symphonyd.log")).unwrap();
    assert!(text.contains("was stopped: exit code 0"), "{text}");
    drop(log);
    let query = symphonyd()
        .arg("query")
        .arg("--home")
        .arg(&stand_in.home)
        .args(["runs.get", r#"{"run": "01jd"}"#])
        .output();
    let shown: Value = serde_json::from_slice(&query.unwrap().stdout).unwrap();
    assert_eq!((&shown["status"], &shown["graph"][0]["state"]), (&json!("pending"), &json!("completed")));

    let next = Daemon::ready(&stand_in);
    let mut client = next.client();
    assert_eq!(client.result("runs.get", json!({"run": RUN}))["status"], "running");
    RunLog::open(&stand_in.home).write(RUN, 4, &finish(b"={}"));
    assert_eq!(client.result("runs.wait", json!({"run": RUN}))["status"], "completed");
}

#[test]
fn a_full_home_is_refused_with_what_to_do() {
    let stand_in = StandIn::new();
    stand_in.behave("");
    std::os::unix::fs::symlink("/dev/full", stand_in.home.join("hash_seed.new")).unwrap();
    let mut daemon = Daemon::start(&stand_in, |_| ());
    let error = &daemon.line["error"];
    assert_eq!(error["hint"], "free space, or choose another home with --home DIR");
    assert!(error["message"].as_str().unwrap().ends_with("the disk is full"), "{error}");
    assert_eq!(daemon.end(), Some(9));
}

#[test]
fn a_run_that_kills_every_interpreter_is_given_up_with_a_way_on() {
    let stand_in = StandIn::new();
    stand_in.behave("pit.list kill 9");
    let mut daemon = Daemon::start(&stand_in, |command| {
        command.env("SYMPHONY_LINGER", "0.3");
    });
    {
        let log = RunLog::open(&stand_in.home);
        log.accept(RUN, "w.w", 1);
    }
    let mut client = daemon.client();
    let id = client.ask("runs.wait", &json!({"run": RUN, "events": true}));
    for _ in 0..5 {
        assert_eq!(daemon.client().error("pit.list", json!({})).0, "InterpreterDied");
    }
    let error = client.answer(id)["error"].clone();
    assert_eq!((&error["data"]["type"], &error["data"]["exit"]), (&json!("InterpreterDied"), &json!(4)));
    assert!(error["message"].as_str().unwrap().contains("signal 9 (SIGKILL)"), "{error}");
    let hint = error["data"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("interpreter.log") && hint.contains(&format!("symphony runs resume {RUN}")),
        "{hint}"
    );
    assert!(client.events.iter().any(|event| event["message"] == "is back, its runs go on"));
    assert_eq!(client.result("runs.get", json!({"run": RUN}))["status"], "pending");
    assert_eq!(client.result("host.status", json!({}))["interpreter"]["state"], "failed");
    assert_eq!(client.result("runs.resume", json!({"run": RUN})), json!({"run": RUN, "workflow": "w.w"}));
    assert_eq!(client.result("host.status", json!({}))["interpreter"]["state"], "ready");
    assert_eq!(client.result("runs.cancel", json!({"run": RUN}))["applied"], true);
    for _ in 0..5 {
        client.call("pit.list", json!({}));
    }
    drop(client);
    assert_eq!(daemon.end(), Some(0), "a run that nobody drives does not keep it");
}

#[test]
fn a_new_run_has_a_growing_id_and_passes_its_inputs_unchanged() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let mut client = daemon.client();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let line = r#"{"jsonrpc": "2.0", "id": 1, "method": "workflows.run",
            "params": {"workflow": "w.w", "inputs": {"n": 1180591620717411303424}, "text": {"a": "b"}, "cwd": "/", "plugins": []}}"#;
        client.send(&line.replace('\n', " "));
        let started = client.receive()["result"].clone();
        assert_eq!(started["workflow"], "w.w");
        ids.push(started["run"].as_str().unwrap().to_owned());
    }
    assert!(ids.is_sorted_by(|one, two| one < two) && ids.iter().all(|id| id.len() == 26));
    let text = fs::read_to_string(stand_in.home.join("seen")).unwrap();
    assert!(text.contains(
        r#""inputs": {"n": 1180591620717411303424}, "text": {"a": "b"}, "cwd": "/", "plugins": []}"#
    ));
    assert_eq!(client.error("workflows.run", json!({})).2, 2);
}

#[test]
fn a_broken_python_ends_a_host_that_was_started_for_a_run_but_not_one_that_stays() {
    let stand_in = StandIn::new();
    stand_in.behave("say ImportError: broken\nstart exit 1");
    let mut daemon = Daemon::start(&stand_in, |_| ());
    let error = &daemon.line["error"];
    assert!(error["message"].as_str().unwrap().ends_with("ImportError: broken"), "{error}");
    assert_eq!(daemon.end(), Some(9));
    let daemon = Daemon::start(&stand_in, |command| {
        command.arg("--linger");
    });
    assert_eq!((&daemon.line["ready"], &daemon.line["problem"]["exit"]), (&json!(true), &json!(9)));
    let mut client = daemon.client();
    assert_eq!(client.error("workflows.list", json!({})).2, 9);
    assert_eq!(client.result("runs.list", json!({})), json!([]), "history works");
    stand_in.behave("");
    assert_eq!(client.result("conductor.restart", json!({}))["state"], "ready");
}

#[test]
fn the_interpreter_dies_with_its_host_and_the_next_host_takes_over() {
    let stand_in = StandIn::new();
    let mut daemon = Daemon::ready(&stand_in);
    let status = daemon.client().result("host.status", json!({}));
    let interpreter = status["interpreter"]["pid"].as_u64().unwrap();
    daemon.process.kill().unwrap();
    daemon.process.wait().unwrap();
    until("the interpreter is gone", || !alive(interpreter));
    assert!(stand_in.home.join("host.json").exists(), "a killed host leaves its entry");
    let next = Daemon::ready(&stand_in);
    assert_ne!(next.line["pid"], daemon.line["pid"]);
}

#[test]
fn an_interpreter_that_outlived_its_host_is_killed_and_a_stranger_is_not() {
    let stand_in = StandIn::new();
    stand_in.behave("hold");
    fs::create_dir(stand_in.home.join("pit")).unwrap();
    let mut orphan = Command::new(stand_in::python())
        .args(["-P", "-m", "symphony.interpreter"])
        .env("PYTHONPATH", stand_in::module_path())
        .env("SYMPHONY_HOME", &stand_in.home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(orphan.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    stand_in.behave("");
    let before = Instant::now();
    let daemon = Daemon::ready(&stand_in);
    assert!(before.elapsed() >= Duration::from_secs(2), "it gets two seconds");
    until("the orphan is killed", || orphan.try_wait().unwrap().is_some());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&orphan.wait().unwrap()), Some(9));
    drop(daemon);

    let _stranger = RunLog::open(&stand_in.home);
    let mut refused = Daemon::start(&stand_in, |_| ());
    let message = refused.line["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    assert_eq!(refused.end(), Some(6));
}

#[test]
fn a_signal_stops_it_and_who_waits_learns_that_the_run_is_kept() {
    let stand_in = StandIn::new();
    let mut daemon = Daemon::ready(&stand_in);
    RunLog::open(&stand_in.home).accept(RUN, "w.w", 1);
    let mut client = daemon.client();
    let id = client.ask("runs.wait", &json!({"run": RUN}));
    until("it waits", || daemon.client().result("host.status", json!({}))["runs"] == 1);
    daemon.signal("-TERM");
    let error = client.answer(id)["error"].clone();
    assert_eq!(error["data"]["hint"], format!("symphony runs resume {RUN}"));
    assert_eq!(daemon.end(), Some(0));
    assert_eq!(stand_in.seen().last().unwrap()[1], "stop");
}

#[test]
fn a_second_signal_does_not_wait_for_a_deaf_interpreter() {
    let stand_in = StandIn::new();
    stand_in.behave("deaf");
    let mut daemon = Daemon::ready(&stand_in);
    daemon.signal("-INT");
    std::thread::sleep(Duration::from_millis(300));
    assert!(daemon.process.try_wait().unwrap().is_none());
    daemon.signal("-INT");
    let before = Instant::now();
    assert_eq!(daemon.end(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_home_that_cannot_be_used_is_refused_with_its_reason() {
    let refused = |home: &Path| -> (Value, Option<i32>) {
        let mut command = symphonyd();
        let Output { stdout, status, .. } = command
            .arg("--home")
            .arg(home)
            .args(["--python", "python3", "--prefix", PREFIX])
            .output()
            .unwrap();
        (serde_json::from_slice::<Value>(&stdout).unwrap()["error"].clone(), status.code())
    };
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::write(open.join("file"), "").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let (error, code) = refused(&open);
    assert_eq!(
        (&error["type"], &error["hint"], code),
        (&json!("Refused"), &json!(format!("chmod 700 {}", open.display())), Some(8))
    );
    let (error, code) = refused(&open.join("file"));
    assert_eq!((&error["type"], code), (&json!("HostUnavailable"), Some(9)));
    let (error, code) = refused(&open.join("file/home"));
    assert!(error["message"].as_str().unwrap().contains("a part of the path is a file"), "{error}");
    assert_eq!(code, Some(9));
    assert_eq!(refused(Path::new("/proc/symphony")).1, Some(9), "a file system that takes no folders");
}

#[test]
fn the_command_line_is_checked() {
    let run = |arguments: &[&str]| {
        let Output { stdout, status, .. } = symphonyd().args(arguments).output().unwrap();
        (String::from_utf8(stdout).unwrap(), status.code())
    };
    assert!(run(&["--help"]).0.contains("usage: symphonyd --home DIR"));
    assert_eq!(run(&["--version"]), (format!("symphonyd {}\n", env!("CARGO_PKG_VERSION")), Some(0)));
    for wrong in [&[][..], &["--home"], &["--hom", "x"], &["--home", "x", "y"], &["query", "--home", "x"]] {
        let (line, code) = run(wrong);
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&document["error"]["type"], code), (&json!("InvalidInput"), Some(2)), "{wrong:?}");
    }
}

/// The commands that reached an interpreter: position and command.
fn commands(stand_in: &StandIn) -> Vec<(u64, String)> {
    let seen = stand_in.seen().into_iter().filter(|row| row[1] == "run.command");
    seen.map(|row| (row[2]["position"].as_u64().unwrap(), row[2]["command"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn an_acknowledged_command_outlives_interpreter_and_host_and_is_given_until_one_takes_it() {
    let stand_in = StandIn::new();
    stand_in.behave("pause run.command");
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    let mut client = daemon.client();
    let acknowledged = client.result("runs.retry_step", json!({"run": RUN, "step": "a#0"}));
    assert_eq!(acknowledged, json!({"run": RUN, "command": "retry", "applied": false}));
    drop(log); // which the next one waits for
    daemon.signal("-KILL");
    drop(daemon);
    let first = commands(&stand_in);
    assert_eq!((first.len(), first[0].1.as_str()), (1, "retry"));

    // The next interpreter dies of it; the one after that takes it, which ends the matter.
    stand_in.behave("run.command once kill 9");
    let daemon = Daemon::ready(&stand_in);
    until("two more interpreters were given the command", || commands(&stand_in).len() == 3);
    assert!(commands(&stand_in).iter().all(|given| *given == first[0]), "{:?}", commands(&stand_in));
    until("it is done", || !pending(&stand_in, first[0].0));
    daemon.signal("-KILL");
    drop(daemon);
    let _daemon = Daemon::ready(&stand_in);
    assert_eq!(
        fs::read_to_string(stand_in.home.join("host.log")).unwrap(),
        "",
        "nothing is left to be given"
    );
}

/// Whether the host log says that a command is still to be given.
fn pending(stand_in: &StandIn, position: u64) -> bool {
    let log = fs::read_to_string(stand_in.home.join("host.log")).unwrap();
    log.contains(&format!("{{\"position\":{position},")) && !log.contains(&format!("{{\"done\":{position}}}"))
}

#[test]
fn a_command_is_refused_where_the_log_says_that_it_cannot_apply() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    let mut client = daemon.client();
    assert_eq!(client.error("runs.pause", json!({"run": "zz"})).2, 3);
    assert_eq!(client.error("runs.skip_step", json!({"run": RUN})).1, "step is missing");
    log.write(RUN, 2, &Event::RunFinished { status: RunStatus::Failed, payload: b"={}" });
    let refused = client.error("runs.pause", json!({"run": RUN}));
    assert_eq!((refused.0.as_str(), refused.2), ("Conflict", 6));
    assert_eq!(refused.1, format!("run {RUN} has ended: failed"));
    assert_eq!(client.result("runs.cancel", json!({"run": RUN}))["applied"], true, "it has come about");
    assert_eq!(commands(&stand_in), []);
}

#[test]
fn a_command_that_an_interpreter_refuses_is_not_given_again() {
    let stand_in = StandIn::new();
    stand_in
        .behave(r#"error:run.command {"code": 1, "message": "no", "data": {"type": "Conflict", "exit": 6}}"#);
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    let refused = daemon.client().error("runs.unpause", json!({"run": RUN}));
    assert_eq!(refused, ("Conflict".to_owned(), "no".to_owned(), 6));
    assert!(!pending(&stand_in, commands(&stand_in)[0].0));
}

#[test]
fn a_command_that_finds_no_interpreter_starts_one() {
    let stand_in = StandIn::new();
    stand_in.behave("start exit 3");
    let daemon = Daemon::start(&stand_in, |command| {
        command.arg("--linger");
    });
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    let mut client = daemon.client();
    let pause = |client: &mut Client| client.result("runs.pause", json!({"run": RUN}))["applied"].clone();
    drop(log);
    assert_eq!(pause(&mut client), false, "recorded, though no interpreter can be started");
    stand_in.behave("");
    assert_eq!(pause(&mut client), true);
    let given: Vec<String> = commands(&stand_in).into_iter().map(|(_, command)| command).collect();
    assert_eq!(given, ["pause", "pause"], "the first one, too");
}

#[test]
fn a_run_waits_for_a_person_is_shown_and_ends_a_wait_that_asks_for_it() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    log.write(RUN, 2, &Event::StepStarted { key: "a#0", name: "a", attempt: 1, dependencies: vec![] });
    let mut client = daemon.client();
    let mut whole = daemon.client();
    let to_the_end = whole.ask("runs.wait", &json!({"run": RUN}));
    let id = client.ask("runs.wait", &json!({"run": RUN, "waiting": true}));
    let ask = |key, text| Event::RunControlled { control: RunControl::Wait, key, text };
    log.write(RUN, 3, &ask("0:approve?0", "Deploy?"));
    let status = || daemon.client().result("runs.get", json!({"run": RUN}))["status"].clone();
    until("it waits", || status() == "waiting");
    let done = |key| Event::StepFinished {
        key,
        name: "a",
        fingerprint: b"",
        outcome: Outcome::Completed,
        payload: b"=",
    };
    log.write(RUN, 4, &done("a#0")); // only now it does nothing more by itself
    let document = client.answer(id)["result"].clone();
    let question = json!({"key": "0:approve?0", "name": "approve", "kind": "input", "prompt": "Deploy?"});
    assert_eq!((&document["status"], &document["questions"]), (&json!("waiting"), &json!([question])));
    assert_eq!(document["steps"]["executed"], 1);

    let commanded = |event| Event::Commanded { position: 7, event: Box::new(event) };
    let pause = Event::RunControlled { control: RunControl::Pause, key: "", text: "" };
    log.write(RUN, 5, &commanded(pause));
    assert_eq!(status(), "paused");
    let resume = Event::RunControlled { control: RunControl::Resume, key: "", text: "" };
    log.write(RUN, 6, &commanded(resume));
    log.write(RUN, 7, &commanded(Event::InputProvided { key: "0:approve?0", payload: b"=" }));
    assert_eq!(status(), "running");
    log.write(RUN, 8, &Event::RunFinished { status: RunStatus::Completed, payload: b"={}" });
    assert_eq!(whole.answer(to_the_end)["result"]["status"], "completed");
}

#[test]
fn an_interpreter_that_was_stopped_on_request_starts_on_request_only() {
    let stand_in = StandIn::new();
    let mut daemon = Daemon::start(&stand_in, |command| {
        command.arg("--linger").env("SYMPHONY_LINGER", "0.3");
    });
    let log = RunLog::open(&stand_in.home);
    log.accept(RUN, "w.w", 1);
    drop(log);
    let (mut client, mut waiting) = (daemon.client(), daemon.client());
    let id = waiting.ask("runs.wait", &json!({"run": RUN, "events": true}));
    let pid = client.result("conductor.status", json!({}))["pid"].as_u64().unwrap();
    let stopped = client.result("conductor.stop", json!({"drain": 1}));
    assert_eq!((&stopped["state"], &stopped["pid"]), (&json!("stopped"), &Value::Null));
    assert!(!alive(pid));
    assert_eq!(client.result("conductor.stop", json!({}))["state"], "stopped", "once is enough");
    for (method, parameters) in [
        ("pit.list", json!({})),
        ("workflows.run", json!({"workflow": "w.w"})),
        ("runs.resume", json!({"run": RUN})),
    ] {
        let (kind, message, exit) = client.error(method, parameters);
        assert_eq!((kind.as_str(), exit), ("HostUnavailable", 9), "{method}");
        assert_eq!(message, "the interpreter was stopped on request", "{method}");
    }
    assert_eq!(client.result("runs.get", json!({"run": RUN}))["status"], "pending");
    assert_eq!(client.result("host.status", json!({}))["interpreter"]["state"], "stopped");
    let seen = stand_in.seen().len();

    let started = client.result("conductor.start", json!({}));
    assert_eq!((&started["state"], &started["restarts"]), (&json!("ready"), &json!(0)));
    assert_eq!(client.result("conductor.start", json!({}))["pid"], started["pid"], "it is there");
    assert_eq!(stand_in.seen().len(), seen + 1, "one more was configured");
    let log = RunLog::open(&stand_in.home);
    log.write(RUN, 2, &finish(b"={}"));
    assert_eq!(waiting.answer(id)["result"]["status"], "completed", "who waited still waits");
    let told: Vec<_> = waiting.events.iter().map(|event| [&event["kind"], &event["state"]]).collect();
    assert_eq!(
        json!(told),
        json!([["interpreter", "stopped"], ["interpreter", "ready"], ["run_finished", "completed"]])
    );
    client.result("host.stop", json!({}));
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn a_subscriber_is_told_what_it_asked_for_and_nothing_else() {
    let stand_in = StandIn::new();
    let daemon = Daemon::ready(&stand_in);
    let log = RunLog::open(&stand_in.home);
    let other = "01jd3k0000000000000000000b";
    log.accept(RUN, "w.w", 1_700_000_000_000_000);
    let mut client = daemon.client();
    let mut subscribe = |what: Value| client.result("events.subscribe", what)["subscription"].clone();
    let all = subscribe(json!({}));
    let one = subscribe(json!({"run": "01jd3k"}));
    let named = subscribe(json!({"workflow": "symphony-v:v", "kinds": ["run_accepted", "run_finished"]}));
    let never = subscribe(json!({"kinds": ["progress"]}));
    log.accept(other, "v.v", 2);
    log.write(RUN, 1_700_000_001_500_000, &started("a"));
    log.write(other, 3, &started("b"));
    let batch = Event::StepsFinished {
        steps: vec![Finished {
            key: "a",
            name: "step",
            fingerprint: b"",
            outcome: Outcome::Skipped,
            payload: b"",
        }],
    };
    log.write(RUN, 4, &batch);
    log.write(other, 5, &Event::RunFinished { status: RunStatus::Failed, payload: b"={}" });
    let id = client.ask("runs.wait", &json!({"run": other}));
    client.answer(id);
    let told = |number: &Value| {
        let mine = client.events.iter().filter(|event| event["subscription"] == *number);
        json!(
            mine.map(|event| ["run", "kind", "key", "name", "state"].map(|name| event[name].clone()))
                .collect::<Vec<_>>()
        )
    };
    let accepted = json!([other, "run_accepted", "", "v.v", "running"]);
    let began = json!([RUN, "step_started", "a", "step", "running"]);
    let skipped = json!([RUN, "step_finished", "a", "step", "skipped"]);
    let failed = json!([other, "run_finished", "", "v.v", "failed"]);
    let stranger = json!([other, "step_started", "b", "step", "running"]);
    assert_eq!(told(&all), json!([accepted, began, stranger, skipped, failed]));
    assert_eq!(told(&one), json!([began, skipped]));
    assert_eq!(told(&named), json!([accepted, failed]));
    assert_eq!(told(&never), json!([]));
    assert!(client.events.iter().any(|event| event["time"] == "2023-11-14T22:13:21.500Z"));

    client.events.clear();
    client.result("events.unsubscribe", json!({"subscription": all}));
    client.result("events.unsubscribe", json!({"subscription": one}));
    let mut quick = daemon.client();
    assert_eq!(quick.error("events.unsubscribe", json!({"subscription": named})).2, 3, "it is another's");
    log.write(RUN, 6, &finish(b"={}"));
    client.call("runs.wait", json!({"run": RUN}));
    assert_eq!(client.events, Vec::<Value>::new());
}

/// What `symphonyd --stdio` writes for these lines before it ends, and its exit code.
fn spoken(stand_in: &StandIn, lines: &str) -> (Vec<Value>, Option<i32>) {
    spoken_with(stand_in, &["--python", stand_in::python().to_str().unwrap(), "--prefix", PREFIX], lines)
}

fn spoken_with(stand_in: &StandIn, options: &[&str], lines: &str) -> (Vec<Value>, Option<i32>) {
    let mut command = symphonyd();
    command.arg("--home").arg(&stand_in.home).args(options);
    command.arg("--stdio").env("XDG_RUNTIME_DIR", stand_in.folder.path());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let Output { stdout, status, .. } = process.wait_with_output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), status.code())
}

#[test]
fn a_sidecar_speaks_on_its_pipes_and_ends_with_them() {
    const STATUS: &str = r#"{"jsonrpc": "2.0", "id": 1, "method": "host.status"}"#;
    let stand_in = StandIn::new();
    let (answers, code) = spoken(&stand_in, &format!("{STATUS}\nnonsense\n"));
    assert_eq!((answers.len(), code), (2, Some(0)), "{answers:?}");
    assert_eq!(
        (&answers[0]["result"]["running"], &answers[1]["error"]["code"]),
        (&json!(true), &json!(-32700))
    );
    assert!(!stand_in.home.join("host.json").exists(), "it has ended");

    stand_in.behave("say ImportError: broken\nstart exit 1");
    let list = r#"{"jsonrpc": "2.0", "id": 1, "method": "runs.list"}"#;
    assert_eq!(spoken(&stand_in, list).0[0]["result"], json!([]), "history needs no interpreter");
    stand_in.behave("");

    // As the client of a host that runs: that one stays.
    let mut daemon = Daemon::start(&stand_in, |command| {
        command.arg("--linger");
    });
    let (answers, code) = spoken(&stand_in, STATUS);
    assert_eq!((&answers[0]["result"]["pid"], code), (&daemon.line["pid"], Some(0)));
    let (answers, code) =
        spoken(&stand_in, &format!("{}\n", r#"{"jsonrpc": "2.0", "id": "s", "method": "host.stop"}"#));
    assert_eq!((&answers[0]["result"]["stopped"], code), (&json!(true), Some(0)));
    assert_eq!(daemon.end(), Some(0));

    fs::set_permissions(&stand_in.home, fs::Permissions::from_mode(0o777)).unwrap();
    let (answers, code) = spoken(&stand_in, STATUS);
    assert_eq!((&answers[0]["id"], &answers[0]["error"]["data"]["type"]), (&Value::Null, &json!("Refused")));
    assert_eq!(code, Some(8));
}

#[test]
fn a_host_whose_home_was_deleted_ends_and_leaves_the_next_one_alone() {
    let stand_in = StandIn::new();
    let linger = |command: &mut Command| {
        command.arg("--linger");
    };
    let mut first = Daemon::start(&stand_in, linger);
    first.signal("-STOP"); // until the next one is there
    fs::remove_dir_all(&stand_in.home).unwrap();
    let second = Daemon::start(&stand_in, linger);
    first.signal("-CONT");
    assert_eq!(first.end(), Some(0));
    let entry: Value = serde_json::from_slice(&fs::read(stand_in.home.join("host.json")).unwrap()).unwrap();
    assert_eq!(entry["pid"], second.line["pid"]);
    assert_eq!(second.client().result("host.status", json!({}))["pid"], second.line["pid"]);
}

#[test]
fn without_a_python_a_sidecar_serves_the_history_and_says_what_is_missing() {
    let stand_in = StandIn::new();
    for python in ["/nowhere/bin/python", "/bin/false", "no-such-python"] {
        let request = |method: &str| json!({"jsonrpc": "2.0", "id": method, "method": method}).to_string();
        let lines = format!("{}\n{}\n", request("runs.list"), request("pit.list"));
        let (answers, code) = spoken_with(&stand_in, &["--python", python], &lines);
        let answer = |id: &str| answers.iter().find(|answer| answer["id"] == id).unwrap();
        assert_eq!((&answer("runs.list")["result"], code), (&json!([]), Some(0)));
        let error = &answer("pit.list")["error"];
        assert_eq!(error["data"]["type"], json!("HostUnavailable"), "{error}");
        assert!(error["message"].as_str().unwrap().contains(python), "{error}");
    }
}

#[test]
fn a_sidecar_whose_parent_stays_answers_until_it_is_told_to_stop() {
    let stand_in = StandIn::new();
    let mut command = symphonyd();
    command.arg("--home").arg(&stand_in.home).arg("--python").arg(stand_in::python());
    command.args(["--prefix", PREFIX, "--stdio"]).env("XDG_RUNTIME_DIR", stand_in.folder.path());
    command.env("SYMPHONY_LINGER", "0.1");
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut ask = |method: &str| -> Value {
        let line = json!({"jsonrpc": "2.0", "id": method, "method": method}).to_string() + "\n";
        input.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    };
    assert_eq!(ask("workflows.list")["result"]["method"], "workflows.list", "it waits for the interpreter");
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(ask("conductor.status")["result"]["state"], "ready", "its parent is a client");
    assert_eq!(ask("host.stop")["result"], json!({"stopped": true}));
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), process.wait().unwrap().code()), ("", Some(0)));
}
