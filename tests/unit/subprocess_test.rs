//! The managed interpreter's life, with real child processes that do as they are told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../fixtures/stand_in/mod.rs"]
mod stand_in;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symphony_host::failure::Failure;
use symphony_host::home::Home;
use symphony_host::json::Json;
use symphony_host::log_file::LogFile;
use symphony_host::subprocess::{Observer, Phase, Settings, Supervisor};
use symphony_pit_abi::{ABI_MAJOR, ABI_MINOR};
use symphony_pit_journal::Watch;
use tokio::task::{LocalSet, spawn_local};

use stand_in::StandIn;

#[derive(Default)]
struct Notes {
    steps: Cell<u64>,
    lives: Cell<u32>,
    told: RefCell<Vec<String>>,
}

impl Observer for Notes {
    fn is_live(&self, _run: &str) -> bool {
        true
    }

    fn steps_completed(&self) -> u64 {
        self.steps.get()
    }

    fn interpreter(&self, _state: &str, message: &str) {
        self.told.borrow_mut().push(message.to_owned());
    }

    fn progress(&self, notification: &Json) {
        self.told.borrow_mut().push(notification.text().to_owned());
    }

    fn begins(&self) {
        self.lives.update(|lives| lives + 1);
    }

    fn unblocked(&self, _notification: &Json) {}

    fn blocked(&self, notification: &Json) {
        self.told.borrow_mut().push(format!("blocked in life {}: {}", self.lives.get(), notification.text()));
    }
}

struct Supervised {
    supervisor: Rc<Supervisor>,
    notes: Rc<Notes>,
}

impl Supervised {
    async fn call(&self, what: &str) -> Result<Value, Failure> {
        let parameters = json!({"component": "c", "method": what, "args": [{"done": 1}]});
        self.supervisor.call("pit.call", &parameters.into()).await.map(|answer| answer.value())
    }

    /// The failure by which the interpreter was given up.
    async fn given_up(&self) -> Failure {
        let mut phase = self.supervisor.phase();
        match &*phase.wait_for(|phase| matches!(phase, Phase::Failed(_))).await.unwrap() {
            Phase::Failed(failure) => failure.clone(),
            _ => unreachable!(),
        }
    }

    fn state(&self, name: &str) -> Value {
        self.supervisor.status()[name].clone()
    }
}

/// Run a test on one thread, as the host does, with the stand-in's modules in place of the real ones.
fn supervise<T: Future<Output = ()>>(stand_in: &StandIn, test: impl FnOnce(Supervised) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let home = Home::new(&stand_in.home);
    home.ensure().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let settings = Settings {
            python: wrapper(stand_in.folder.path()),
            prefix: "prefix".to_owned(),
            version: "0.1.0".to_owned(),
            no_plugins: false,
            settings: Vec::new(),
            hash_seed: 42,
            start_limit: Duration::from_millis(1500),
            home: home.clone(),
        };
        let notes = Rc::new(Notes::default());
        let log = Rc::new(LogFile::open(home.host_log()).unwrap());
        let supervisor =
            Supervisor::new(settings, notes.clone(), log, Rc::new(Watch::new().unwrap())).unwrap();
        let running = spawn_local(supervisor.clone().run());
        tokio::time::timeout(
            Duration::from_secs(20),
            test(Supervised { supervisor: supervisor.clone(), notes }),
        )
        .await
        .expect("the test takes too long");
        supervisor.stop(Duration::ZERO).await;
        running.await.unwrap();
        assert_eq!(supervisor.status()["state"], "stopped");
    });
}

/// A Python that finds the stand-in, whatever the environment of this process.
fn wrapper(folder: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("python");
    let (modules, python) = (stand_in::module_path(), stand_in::python());
    let script = format!("#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n", modules.display(), python.display());
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn alive(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

#[test]
fn it_gets_exactly_what_it_is_meant_to_inherit() {
    let stand_in = StandIn::new();
    supervise(&stand_in, |it| async move {
        let given = it.call("environment").await.unwrap();
        assert_eq!(given["pid"], it.state("pid"));
        assert_eq!(given["session"], given["pid"], "leader of a session of its own");
        assert_eq!((&given["hash_seed"], &given["stdin"]), (&json!("42"), &json!("/dev/null")));
        let target = |name: &str| given["descriptors"][name].as_str().unwrap().to_owned();
        assert!(target("3").starts_with("socket:"), "{given}");
        assert!(target("4").contains("eventfd") && target("5").contains("memfd:symphony-log"), "{given}");
        assert!(target("6").contains("memfd:symphony-pulse"), "{given}");
        assert!(target("7").contains("memfd:symphony-stacks"), "{given}");
        assert!(target("8").starts_with("socket:"), "{given}");
        assert_eq!(given["others"].as_array().unwrap().len(), 1, "only the one that lists them: {given}");
        assert!(it.state("rss").as_u64().unwrap() > 1 << 20 && it.state("uptime").as_f64().unwrap() > 0.0);
        assert_eq!((it.state("state"), it.state("restarts")), (json!("ready"), json!(0)));
    });
    assert_eq!(stand_in.seen().last().unwrap()[1], "stop", "an intended stop asks first");
}

#[test]
fn a_death_is_named_and_the_next_life_begins_at_once() {
    supervise(&StandIn::new(), |it| async move {
        let failure = it.call("kill 11").await.unwrap_err();
        assert_eq!((&*failure.kind, failure.exit), ("InterpreterDied", 4));
        let before = Instant::now();
        assert!(it.call("environment").await.is_ok());
        assert!(before.elapsed() < Duration::from_secs(1));
        assert_eq!((it.state("restarts"), it.state("last_death")), (json!(1), json!("signal 11 (SIGSEGV)")));
        assert_eq!(
            *it.notes.told.borrow(),
            ["is ready", "died by signal 11 (SIGSEGV) and is being restarted", "is back, its runs go on"]
        );
        it.call("exit 3").await.unwrap_err();
        it.call("environment").await.unwrap();
        assert_eq!(it.state("last_death"), "exit code 3");
    });
}

/// Take the exit status of a dead child, so that nobody else can have it.
#[allow(unsafe_code)] // std waits only for children that it has started itself
fn reap(pid: i32) {
    // SAFETY: a system call that writes nothing.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
}

#[test]
fn one_that_somebody_else_has_reaped_is_dead_all_the_same() {
    supervise(&StandIn::new(), |it| async move {
        let pid = it.call("environment").await.unwrap()["pid"].as_i64().unwrap();
        let pid = i32::try_from(pid).unwrap();
        let kill = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(kill.unwrap().success());
        reap(pid); // and the supervisor, which is on this thread, had no turn yet
        let _ = it.call("environment").await; // with the dead one's channel it may fail
        assert_ne!(it.call("environment").await.unwrap()["pid"], pid);
        assert_eq!((it.state("restarts"), it.state("last_death")), (json!(1), json!("an unknown cause")));
    });
}

#[test]
fn orders_are_given_again_in_their_order_until_one_life_answers() {
    let stand_in = StandIn::new();
    stand_in.behave("run.start once kill 9");
    supervise(&stand_in, |it| async move {
        let order = |run: &str| {
            let parameters = json!({"run": run, "workflow": "w"});
            spawn_local(it.supervisor.order("run.start", parameters.into()))
        };
        let answers = [order("a"), order("b"), order("c")];
        for answer in answers {
            assert_eq!(answer.await.unwrap().unwrap().value()["accepted"], true);
        }
        assert!(!it.supervisor.has_orders());
    });
    let starts: Vec<Value> = stand_in.seen().into_iter().filter(|seen| seen[1] == "run.start").collect();
    let runs: Vec<&str> = starts.iter().map(|seen| seen[2]["run"].as_str().unwrap()).collect();
    assert_eq!(runs, ["a", "a", "b", "c"]);
}

#[test]
fn an_exit_before_ready_is_reported_with_its_last_words_and_not_repeated() {
    let stand_in = StandIn::new();
    stand_in.behave("say ModuleNotFoundError: No module named 'x'\nstart exit 1");
    supervise(&stand_in, |it| async move {
        let failure = it.given_up().await;
        assert_eq!((&*failure.kind, failure.exit), ("HostUnavailable", 9));
        assert!(
            failure.message.ends_with("(exit code 1): ModuleNotFoundError: No module named 'x'"),
            "{failure}"
        );
        assert!(failure.hint.contains("logs/interpreter.log"));
        assert_eq!(failure.rpc()["data"]["stderr"], "ModuleNotFoundError: No module named 'x'");
        assert_eq!((it.state("state"), it.state("restarts")), (json!("failed"), json!(0)));
        assert!(it.supervisor.channel().await.is_err());
    });
}

#[test]
fn a_refusal_keeps_its_type_and_exit_code() {
    let stand_in = StandIn::new();
    stand_in.behave(
        r#"refuse {"code": -32000, "message": "m", "data": {"type": "Conflict", "hint": "h", "exit": 6}}"#,
    );
    supervise(&stand_in, |it| async move {
        let failure = it.given_up().await;
        assert_eq!(
            (&*failure.kind, &*failure.message, &*failure.hint, failure.exit),
            ("Conflict", "m", "h", 6)
        );
    });
}

#[test]
fn another_version_or_abi_is_refused_with_both_named() {
    let stand_in = StandIn::new();
    stand_in.behave("version 9.9.9");
    supervise(&stand_in, |it| async move {
        let failure = it.given_up().await;
        assert!(failure.message.contains("0.1.0") && failure.message.contains("9.9.9"), "{failure}");
        assert_eq!(failure.exit, 5);
    });
    let stand_in = StandIn::new();
    stand_in.behave("abi 2");
    supervise(&stand_in, |it| async move {
        let failure = it.given_up().await;
        assert!(
            failure.message.contains(&format!("ABI {ABI_MAJOR}.{ABI_MINOR}"))
                && failure.message.contains("2.9"),
            "{failure}"
        );
    });
}

#[test]
fn one_that_is_never_ready_is_killed() {
    let stand_in = StandIn::new();
    stand_in.behave("silent");
    supervise(&stand_in, |it| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let pid = it.state("pid");
        let failure = it.given_up().await;
        assert!(failure.message.contains("not ready within 1.5 s"), "{failure}");
        assert!(!alive(&pid));
    });
}

#[test]
fn five_deaths_without_progress_break_the_circuit_and_an_order_closes_it() {
    let stand_in = StandIn::new();
    stand_in.behave("start kill 9");
    let behaviour = stand_in.home.join("behaviour");
    supervise(&stand_in, |it| async move {
        let order = it.supervisor.order("run.start", json!({"run": "a", "workflow": "w"}).into());
        let failure = order.await.unwrap_err();
        assert_eq!((&*failure.kind, failure.exit), ("InterpreterDied", 4));
        assert!(
            failure.message.contains("5 times") && failure.message.contains("signal 9 (SIGKILL)"),
            "{failure}"
        );
        assert_eq!((it.state("state"), it.state("restarts")), (json!("failed"), json!(4)));
        assert!(!it.supervisor.drives());
        std::fs::remove_file(behaviour).unwrap();
        let order = it.supervisor.order("run.start", json!({"run": "b", "workflow": "w"}).into());
        assert!(order.await.is_ok());
        assert!(it.supervisor.drives());
    });
}

#[test]
fn a_stop_that_is_wanted_while_the_next_start_waits_is_one() {
    let stand_in = StandIn::new();
    stand_in.behave("start kill 9");
    let log = stand_in.home.join("logs/symphonyd.log");
    let starts = || std::fs::read_to_string(&log).unwrap().matches(" started: ").count();
    supervise(&stand_in, |it| async move {
        while it.state("restarts") != 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(it.state("state"), "restarting", "for 0.4 s");
    });
    assert_eq!(starts(), 4);
}

#[test]
fn progress_between_deaths_keeps_it_going() {
    supervise(&StandIn::new(), |it| async move {
        for round in 0..5 {
            it.notes.steps.set(round);
            it.call("kill 9").await.unwrap_err();
            assert!(it.supervisor.channel().await.is_ok());
        }
        assert_eq!(it.state("restarts"), 5);
    });
}

#[test]
fn a_wish_for_a_fresh_one_is_no_death() {
    supervise(&StandIn::new(), |it| async move {
        let first = it.call("environment").await.unwrap()["pid"].clone();
        it.supervisor.restart();
        let second = it.call("environment").await.unwrap()["pid"].clone();
        assert_ne!(first, second);
        assert!(!alive(&first));
        assert_eq!((it.state("restarts"), it.state("last_death")), (json!(0), Value::Null));
    });
}

#[test]
fn one_that_does_not_listen_is_killed_with_all_it_started() {
    let stand_in = StandIn::new();
    stand_in.behave("deaf");
    let child = Rc::new(RefCell::new(Value::Null));
    let seen = child.clone();
    supervise(&stand_in, |it| async move {
        *seen.borrow_mut() = it.call("child").await.unwrap();
        assert!(alive(&seen.borrow()));
        let stopping = it.supervisor.clone();
        let stopped = spawn_local(async move { stopping.stop(Duration::from_secs(5)).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(it.state("state"), "stopping");
        assert!(it.supervisor.call("pit.list", &json!({}).into()).await.is_err());
        let before = Instant::now();
        it.supervisor.hurry();
        stopped.await.unwrap();
        assert!(before.elapsed() < Duration::from_secs(1));
    });
    let deadline = Instant::now() + Duration::from_secs(2);
    while alive(&child.borrow()) {
        assert!(Instant::now() < deadline, "its child lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_later_wish_does_not_cut_the_time_for_running_steps_short() {
    let stand_in = StandIn::new();
    stand_in.behave("pause stop");
    let pauses = &stand_in;
    supervise(&stand_in, |it| async move {
        let first = it.call("environment").await.unwrap()["pid"].clone();
        it.supervisor.restart();
        while pauses.seen().last().unwrap()[1] != "stop" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        it.supervisor.restart();
        let stopping = it.supervisor.clone();
        let stopped = spawn_local(async move { stopping.stop(Duration::from_secs(5)).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(alive(&first) && !stopped.is_finished());
        pauses.go();
        stopped.await.unwrap();
        assert!(!alive(&first));
    });
    let log = std::fs::read_to_string(stand_in.home.join("logs/symphonyd.log")).unwrap();
    assert!(log.contains("was stopped: exit code 0"), "{log}");
}

#[test]
fn what_blocks_a_run_is_told_to_whom_it_concerns() {
    supervise(&StandIn::new(), |it| async move {
        it.call("blocked").await.unwrap();
        it.call("kill 9").await.unwrap_err();
        it.call("blocked").await.unwrap();
        let told = it.notes.told.borrow();
        let blocked: Vec<&String> = told.iter().filter(|text| text.starts_with("blocked")).collect();
        assert_eq!(blocked, [r#"blocked in life 1: {"done": 1}"#, r#"blocked in life 2: {"done": 1}"#]);
    });
}

#[test]
fn one_that_closes_its_socket_is_replaced() {
    supervise(&StandIn::new(), |it| async move {
        it.call("close").await.unwrap_err();
        assert!(it.call("environment").await.is_ok());
        assert_eq!(it.state("restarts"), 1);
    });
}

#[test]
fn what_is_no_json_fails_only_its_own_request() {
    supervise(&StandIn::new(), |it| async move {
        let failure = it.call("nan").await.unwrap_err();
        assert!(failure.message.contains("JSON"), "{failure}");
        let parameters = json!({"component": "c", "method": "big"});
        let big = it.supervisor.call("pit.call", &parameters.into()).await.unwrap();
        assert_eq!(big.text(), r#"{"value": 1180591620717411303424}"#);
        it.call("progress").await.unwrap();
        assert_eq!(*it.notes.told.borrow(), ["is ready", r#"{"done": 1}"#]);
        assert_eq!(it.state("restarts"), 0);
    });
}

#[test]
fn a_python_that_is_not_there_is_named() {
    let stand_in = StandIn::new();
    let python = stand_in.folder.path().join("python");
    supervise(&stand_in, |it| async move {
        it.call("environment").await.unwrap();
        std::fs::remove_file(python).unwrap();
        it.supervisor.restart();
        let failure = it.given_up().await;
        assert!(failure.message.contains("/python cannot be started"), "{failure}");
        assert_eq!(failure.exit, 9);
    });
}
