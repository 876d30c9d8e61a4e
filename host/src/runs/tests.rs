#![allow(clippy::unwrap_used)] // here it is an assertion

use std::fs;

use serde_json::{Value, json};
use symphony_dag_tracker::records::RunStatus;
use tempfile::TempDir;

use super::*;
use crate::run_log::RunLog;

const SECOND: i64 = 1_000_000;

/// The runs of a home as a host sees them, with the log open beside it.
struct Host {
    runs: Runs,
    written: UnboundedReceiver<Written>,
    complaints: Rc<RefCell<Vec<String>>>,
}

impl Host {
    async fn start(home: &TempDir) -> Self {
        let complaints = Rc::new(RefCell::new(Vec::new()));
        let (told, more) = (complaints.clone(), complaints.clone());
        let opened =
            History::open(home.path().join("history.db"), |text| told.borrow_mut().push(text.into()));
        let (history, written) = opened.unwrap();
        let runs = Runs::new(move |text| more.borrow_mut().push(text.to_owned()));
        runs.load(home.path().join("pit"), Arc::new(history)).await;
        Self { runs, written, complaints }
    }

    /// Take in what is in the log, and wait until the history has it.
    async fn keep(&mut self) {
        self.runs.poll();
        self.runs.keep(true);
        while self.runs.log.borrow().as_ref().unwrap().keeping.is_under_way() {
            let news = self.written.recv().await.unwrap();
            assert!(self.runs.heed(news));
            self.runs.keep(true);
        }
    }

    fn in_memory(&self) -> Vec<String> {
        self.runs.with(|table| table.iter().map(|row| row.run.clone()).collect()).unwrap()
    }

    fn listed(&self) -> Vec<(String, String)> {
        let list = self.runs.list_now(Filter::default(), true).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|row| (text(&row["run"]), text(&row["status"]))).collect()
    }
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(run, status)| ((*run).to_owned(), (*status).to_owned())).collect()
}

fn start(log: &RunLog, run: &str, at: i64) {
    log.accept(run, "tools.count", at * SECOND);
    let event = Event::StepStarted { key: "k", name: "n", attempt: 1, dependencies: vec![] };
    log.write(run, (at + 1) * SECOND, &event);
}

fn finish(log: &RunLog, run: &str, at: i64) {
    let event = Event::StepFinished {
        key: "k",
        name: "n",
        fingerprint: b"",
        outcome: Outcome::Completed,
        payload: b"=",
    };
    log.write(run, at * SECOND, &event);
    let payload = br#"={"result": 7, "steps": {"executed": 1, "reused": 0, "failed": 0, "skipped": 0}}"#;
    log.write(run, (at + 1) * SECOND, &Event::RunFinished { status: RunStatus::Completed, payload });
}

#[tokio::test]
async fn what_has_ended_moves_from_memory_to_history_and_looks_the_same() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    start(&log, "a1", 1);
    start(&log, "b1", 2);
    let mut host = Host::start(&home).await;
    host.keep().await;
    finish(&log, "a1", 5);
    host.runs.poll();
    assert_eq!(host.in_memory(), ["a1", "b1"]);
    let look = |host: &Host| {
        let ended = Filter { status: Some("completed".to_owned()), ..Filter::default() };
        let end = host.runs.end("a1").unwrap().unwrap();
        let Report::Here(fields) = &end.report else { panic!("{end:?}") };
        (
            host.runs.list_now(ended, true).unwrap(),
            host.runs.get("a1", true).unwrap(),
            end.document(fields),
            host.runs.workflow("a1").unwrap(),
            host.runs.resolve("A").unwrap(),
        )
    };
    let before = look(&host);
    host.keep().await;
    assert_eq!(host.in_memory(), ["b1"]);
    assert_eq!(look(&host), before);
    assert_eq!(before.1["graph"][0]["seconds"], 3.0);
    assert_eq!(host.listed(), pairs(&[("b1", "running"), ("a1", "completed")]));
    host.runs.close();

    let host = Host::start(&home).await;
    assert_eq!(host.in_memory(), ["b1"], "the next host takes only live runs into memory");
    assert_eq!(look(&host), before);
    assert_eq!(host.runs.get("b1", true).unwrap()["graph"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_host_that_was_killed_before_it_wrote_leaves_the_log_to_the_next() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    start(&log, "a1", 1);
    let mut host = Host::start(&home).await;
    host.keep().await;
    finish(&log, "a1", 5);
    start(&log, "b1", 6);
    host.runs.poll(); // seen, not written
    drop(host);
    let offline = Runs::new(|text| panic!("{text}"));
    offline
        .load_now(&home.path().join("pit"), History::look(home.path().join("history.db"), |_| ()).unwrap());
    assert_eq!(offline.list_now(Filter::default(), false).unwrap().as_array().unwrap().len(), 2);
    let mut host = Host::start(&home).await;
    assert_eq!(host.listed(), pairs(&[("b1", "running"), ("a1", "completed")]));
    host.keep().await;
    assert_eq!(host.in_memory(), ["b1"]);
}

#[tokio::test]
async fn a_lost_history_is_made_anew_from_the_log() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    for (at, run) in ["a1", "b1", "c1"].into_iter().enumerate() {
        start(&log, run, at.try_into().unwrap());
        finish(&log, run, 10);
    }
    let mut host = Host::start(&home).await;
    host.keep().await;
    assert_eq!(host.in_memory(), [""; 0]);
    let before = host.listed();
    drop(host);
    fs::write(home.path().join("history.db"), b"no database, but long enough to be taken for one").unwrap();
    let mut host = Host::start(&home).await;
    assert!(host.complaints.borrow()[0].contains("is damaged"), "{:?}", host.complaints);
    assert_eq!(host.listed(), before);
    host.keep().await;
    assert_eq!((host.in_memory(), host.listed()), (vec![], before));
}

#[tokio::test]
async fn a_log_that_is_not_the_one_the_history_knows_is_read_whole() {
    let home = tempfile::tempdir().unwrap();
    {
        let log = RunLog::open(home.path());
        start(&log, "a1", 1);
        finish(&log, "a1", 3);
        start(&log, "b1", 4);
        let mut host = Host::start(&home).await;
        host.keep().await;
    }
    fs::remove_dir_all(home.path().join("pit/log")).unwrap();
    let log = RunLog::open(home.path());
    start(&log, "c1", 1);
    finish(&log, "c1", 2);
    let mut host = Host::start(&home).await;
    host.keep().await;
    assert_eq!(host.listed(), pairs(&[("c1", "completed"), ("a1", "completed")]), "no live b1");
    let history = host.runs.history().unwrap();
    assert_eq!(history.live().unwrap(), [""; 0]);
}

#[tokio::test]
async fn lists_are_cut_and_go_on_behind_a_run_wherever_it_is() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    for at in 0..6 {
        start(&log, &format!("r{at}"), at);
        if at < 4 {
            finish(&log, &format!("r{at}"), 10);
        }
    }
    let mut host = Host::start(&home).await;
    host.keep().await;
    let list = |filter: Filter| -> Vec<String> {
        let list = host.runs.list_now(filter, true).unwrap();
        list.as_array().unwrap().iter().map(|row| row["run"].as_str().unwrap().to_owned()).collect()
    };
    let page = |before: Option<&str>| Filter {
        before: before.map(str::to_owned),
        limit: Some(3),
        ..Filter::default()
    };
    assert_eq!(list(page(None)), ["r5", "r4", "r3"]);
    assert_eq!(list(page(Some("r5"))), ["r4", "r3", "r2"]);
    assert_eq!(list(page(Some("r3"))), ["r2", "r1", "r0"]);
    assert_eq!(list(page(Some("r0"))), [""; 0]);
    let status = |status: &str| Filter { status: Some(status.to_owned()), ..Filter::default() };
    assert_eq!((list(status("running")).len(), list(status("completed")).len()), (2, 4));
    assert!(host.runs.list_now(page(Some("x")), true).is_err());
}

#[tokio::test]
async fn a_deleted_run_does_not_come_back_and_a_live_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    for (at, run) in [(1, "a1"), (3, "b1"), (5, "c1")] {
        start(&log, run, at);
        finish(&log, run, at + 1);
    }
    start(&log, "d1", 7);
    let Host { runs, mut written, .. } = Host::start(&home).await;
    let refused = runs.delete(vec!["a1".to_owned(), "d1".to_owned()]).await.unwrap_err();
    assert_eq!((refused.exit, refused.hint.as_str()), (6, "symphony runs cancel d1"));
    let keeping = async {
        loop {
            assert!(runs.heed(written.recv().await.unwrap()));
        }
    };
    let deleting = async {
        runs.delete(vec!["a1".to_owned()]).await.unwrap(); // though the history has not got it yet
        let pruned = runs.prune(6 * SECOND, Some("completed"), true).await.unwrap();
        assert_eq!(
            (pruned, runs.list_now(Filter::default(), true).unwrap().as_array().unwrap().len()),
            (vec!["b1".to_owned()], 3)
        );
        assert_eq!(runs.prune(6 * SECOND, Some("failed"), false).await.unwrap(), [""; 0]);
        assert_eq!(runs.prune(6 * SECOND, None, false).await.unwrap(), ["b1"]);
    };
    tokio::select! {
        () = keeping => {}
        () = deleting => {}
    }
    assert!(runs.resolve("a1").is_err());
    drop(runs); // as by SIGKILL
    let host = Host::start(&home).await;
    assert_eq!(host.listed(), pairs(&[("d1", "running"), ("c1", "completed")]));
}

/// A record that fills half of a segment.
fn fill(log: &RunLog, run: &str, at: i64) {
    log.write(run, at * SECOND, &Event::Command { command: &"x".repeat(1_000_000) });
}

#[tokio::test]
async fn the_log_may_go_as_far_as_the_history_goes_and_no_live_run_begins() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    let segment = 2 << 20;
    start(&log, "a1", 1);
    fill(&log, "a1", 2);
    fill(&log, "a1", 3);
    fill(&log, "a1", 3);
    start(&log, "b1", 4);
    let mut host = Host::start(&home).await;
    assert_eq!(host.runs.retirable(), 0, "nothing is written yet");
    host.keep().await;
    assert!(host.runs.retirable() < segment, "a1 lives");
    finish(&log, "a1", 5);
    host.runs.poll();
    assert!(host.runs.retirable() < segment, "the end of a1 is not written yet");
    host.keep().await;
    let before = host.runs.retirable();
    assert!((segment..2 * segment).contains(&before), "b1 begins there: {before}");
    assert_eq!(log.retire(before), 1);
    fill(&log, "b1", 6);
    fill(&log, "b1", 7);
    let listed = host.listed();
    host.keep().await;
    assert_eq!((host.listed(), host.runs.retirable()), (listed.clone(), before), "b1 lives");
    host.runs.close();

    let mut host = Host::start(&home).await;
    assert_eq!((host.listed(), host.in_memory()), (listed, vec!["b1".to_owned()]));
    assert_eq!(host.runs.retirable(), before);
    finish(&log, "b1", 8);
    start(&log, "c1", 9);
    host.keep().await;
    assert_eq!(log.retire(host.runs.retirable()), 1);
    host.runs.close();

    // What the log has forgotten, a history that is made anew does not know; what is live it does.
    fs::remove_file(home.path().join("history.db")).unwrap();
    let mut host = Host::start(&home).await;
    host.keep().await;
    assert_eq!(host.listed(), pairs(&[("c1", "running")]));
    assert!(host.complaints.borrow().is_empty());
}

#[tokio::test]
async fn a_name_is_looked_for_in_memory_and_history_alike() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    start(&log, "01aa1", 1);
    finish(&log, "01aa1", 2);
    start(&log, "01ab1", 3);
    let mut host = Host::start(&home).await;
    host.keep().await;
    let resolve = |given: &str| host.runs.resolve(given).map_err(|failure| (failure.exit, failure.hint));
    assert_eq!(resolve("01aa").unwrap(), "01aa1");
    assert_eq!(resolve("01ab").unwrap(), "01ab1");
    assert_eq!(resolve("01a").unwrap_err().0, 2);
    let (exit, hint) = resolve("01aaz").unwrap_err();
    assert_eq!((exit, hint.contains("01aa1")), (3, true), "{hint}");
    assert!(resolve("01abz").unwrap_err().1.contains("01ab1"));
    assert!(resolve("zz").unwrap_err().1.contains("01ab1"), "the newest");
}

#[tokio::test]
async fn no_step_of_a_failed_run_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    start(&log, "a1", 1);
    let beside = Event::StepStarted { key: "beside", name: "n", attempt: 1, dependencies: vec![] };
    log.write("a1", 3 * SECOND, &beside);
    let payload = br#"={"error": {"type": "Quarantined", "message": "thrice", "step": "k", "report": null}}"#;
    log.write("a1", 7 * SECOND, &Event::RunFinished { status: RunStatus::Failed, payload });
    let mut host = Host::start(&home).await;
    let graph = |host: &Host| host.runs.get("a1", true).unwrap()["graph"].clone();
    let step = |key: &str, state: &str, seconds: f64| json!({"key": key, "name": "n", "state": state, "attempts": 1, "seconds": seconds});
    let expected = json!([step("k", "failed", 5.0), step("beside", "cancelled", 4.0)]);
    assert_eq!(graph(&host), expected);
    host.keep().await;
    assert_eq!((host.in_memory(), graph(&host)), (vec![], expected));
}

#[tokio::test]
async fn what_a_command_did_to_a_live_run_is_in_the_history() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    start(&log, "a1", 1);
    let mut host = Host::start(&home).await;
    host.keep().await;
    let database = rusqlite::Connection::open(home.path().join("history.db")).unwrap();
    let state = || database.query_row("SELECT state FROM steps", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(state(), "running");
    let (outcome, payload) = (Outcome::Skipped, b"=".as_slice());
    let skip = Event::StepFinished { key: "k", name: "n", fingerprint: b"", outcome, payload };
    log.write("a1", 3 * SECOND, &Event::Commanded { position: 1, event: Box::new(skip) });
    host.keep().await;
    assert_eq!(state(), "skipped");
}
