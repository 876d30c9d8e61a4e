#![allow(clippy::float_cmp)] // small whole numbers

use symphony_pit::ErrorKind;
use symphony_pit::record::Writer;
use symphony_pit::testing::TestHost;

use super::*;
use crate::states::RunState;

mod random;

const SECOND: i64 = 1_000_000;

/// A tracker with the accepted run "r".
fn tracker() -> (TestHost, DagTracker) {
    let host = TestHost::new(std::path::Path::new(""));
    let tracker = DagTracker::create(host.host()).unwrap();
    tracker.accept_run("r", b"{}", b"=1").unwrap();
    (host, tracker)
}

/// A tracker with the steps added, each `key: needs`.
fn planned(steps: &[(&str, &[&str])]) -> (TestHost, DagTracker) {
    let (host, tracker) = tracker();
    let row = |(key, needs): &(&str, &[&str])| {
        let needs = needs.iter().map(|need| Value::from(*need)).collect();
        Value::List(vec![(*key).into(), Value::List(needs)])
    };
    add_many(&tracker, steps.iter().map(row).collect()).unwrap();
    (host, tracker)
}

fn add_many(tracker: &DagTracker, steps: Vec<Value>) -> Result<usize> {
    Value::List(steps).with_ref(|steps| tracker.add_many("r", steps))
}

fn add(tracker: &DagTracker, key: &str, needs: &Value, policy: &Value) -> Result<bool> {
    needs.with_ref(|needs| {
        policy.with_ref(|policy| {
            let policy = (!policy.is_none()).then_some(policy);
            tracker.add_step("r", key, "", Some(needs), 0, policy)
        })
    })
}

fn start(tracker: &DagTracker, key: &str) -> Result<()> {
    tracker.start_step("r", key, "", 1, Vec::new())
}

fn finish(tracker: &DagTracker, key: &str, state: u32) -> Result<i64> {
    tracker.finish_step("r", key, "", b"f", state, b"=1")
}

fn field(row: &Value, key: &str) -> Value {
    let Value::Map(pairs) = row else { panic!("no map") };
    pairs.iter().find(|(known, _)| *known == Value::from(key)).map_or(Value::None, |(_, value)| value.clone())
}

fn state(tracker: &DagTracker, key: &str) -> String {
    let Value::Str(state) = field(&tracker.states("r").unwrap(), key) else { panic!("no step {key}") };
    state
}

fn run_state(tracker: &DagTracker) -> String {
    let Value::Str(state) = field(&tracker.run_info("r").unwrap(), "state") else { panic!("no state") };
    state
}

fn replayed(host: &TestHost) -> DagTracker {
    let tracker = DagTracker::create(host.host()).unwrap();
    host.replay_into(&tracker).unwrap();
    tracker
}

fn saved(tracker: &DagTracker) -> Vec<u8> {
    tracker.snapshot().unwrap().unwrap()
}

/// What callers see of a run.
fn view(tracker: &DagTracker, run: &str) -> Vec<String> {
    let mut seen = vec![
        format!("{:?}", tracker.run_info(run)),
        format!("{:?}", tracker.recovered(run)),
        format!("{:?}", tracker.attempts(run)),
        format!("{:?}", tracker.live_runs()),
        format!("{:?}", tracker.durations()),
        format!("{:?}", tracker.stats().map(|stats| stats["records"])),
    ];
    if let Ok(states) = tracker.states(run) {
        seen.push(format!("{states:?}"));
        seen.push(format!("{:?}", tracker.ready(run, None)));
        seen.push(format!("{:?}", tracker.ranks(run, None)));
        seen.push(format!("{:?}", tracker.expired(run, Some(i64::MAX))));
        let problems: Vec<String> =
            tracker.validate(run).unwrap().into_iter().map(|problem| problem.message).collect();
        seen.push(format!("{problems:?}"));
    }
    seen
}

type Call = Box<dyn Fn(&DagTracker)>;
type Method = fn(&DagTracker) -> Result<()>;

/// A run with every kind of record, told one call after the other.
fn story() -> Vec<Call> {
    let edge = |key: &str, kind: &str| Value::List(vec![key.into(), kind.into()]);
    let needs = Value::List(vec!["a".into(), edge("b", "soft"), edge("never", "optional")]);
    let policy = || {
        Value::map([
            ("max_attempts", Value::Int(3)),
            ("backoff", "linear".into()),
            ("delay", Value::Float(5.0)),
            ("timeout", Value::Float(30.0)),
            ("on_error", "skip".into()),
            ("default", Value::Bytes(b"=0".to_vec())),
        ])
    };
    let many = move || {
        ["m1", "m2", "m3"].map(|key| {
            let needs = Value::List(vec!["a".into()]);
            Value::map([
                ("key", key.into()),
                ("name", "many".into()),
                ("dependencies", needs),
                ("priority", Value::Int(7)),
                ("policy", policy()),
            ])
        })
    };
    vec![
        Box::new(|tracker| tracker.accept_run("r", b"{}", b"=1").map(drop).unwrap()),
        Box::new(|tracker| assert!(add(tracker, "a", &Value::List(vec![]), &Value::None).unwrap())),
        Box::new(move |tracker| assert!(add(tracker, "j", &needs, &policy()).unwrap())),
        Box::new(move |tracker| assert_eq!(add_many(tracker, many().to_vec()), Ok(3))),
        Box::new(|tracker| assert!(add(tracker, "b", &Value::List(vec![]), &Value::None).unwrap())),
        Box::new(|tracker| start(tracker, "a").unwrap()),
        Box::new(|tracker| tracker.fail_attempt("r", "a", 1, "boom", 3 * SECOND).unwrap()),
        Box::new(|tracker| tracker.start_step("r", "a", "", 2, vec![]).unwrap()),
        Box::new(|tracker| finish(tracker, "a", 0).map(drop).unwrap()),
        Box::new(|tracker| tracker.fire_timer("r", "t~0", 20 * SECOND).map(drop).unwrap()),
        Box::new(|tracker| tracker.command("r", "note").map(drop).unwrap()),
        Box::new(|tracker| tracker.pause("r", "lunch").map(drop).unwrap()),
        Box::new(|tracker| tracker.wait_for_input("r", "q1", "Which?").map(drop).unwrap()),
        Box::new(|tracker| tracker.wait_for_input("r", "q2", "When?").map(drop).unwrap()),
        Box::new(|tracker| tracker.provide_input("r", "q1", b"=x").map(drop).unwrap()),
        Box::new(|tracker| tracker.resume("r").map(drop).unwrap()),
        Box::new(|tracker| tracker.provide_input("r", "q2", b"=y").map(drop).unwrap()),
        Box::new(|tracker| start(tracker, "b").unwrap()),
        Box::new(|tracker| tracker.cancel_step("r", "b").map(drop).unwrap()),
        Box::new(|tracker| tracker.retry_step("r", "b").map(drop).unwrap()),
        Box::new(|tracker| tracker.skip_step("r", "b").map(drop).unwrap()),
        Box::new(|tracker| assert!(obey(tracker, 7, "pause", "").unwrap().is_some())),
        Box::new(|tracker| assert!(obey(tracker, 8, "resume", "").unwrap().is_some())),
        Box::new(|tracker| tracker.wait_for_input("r", "q3", "Why?").map(drop).unwrap()),
        Box::new(|tracker| tracker.withdraw("r", "q3").map(drop).unwrap()),
        Box::new(|tracker| start(tracker, "j").unwrap()),
        Box::new(|tracker| tracker.decide_retry("r", "j", 1, "ValueError", None, "bad").map(drop).unwrap()),
        Box::new(|tracker| start(tracker, "m1").unwrap()),
        Box::new(|tracker| start(tracker, "m2").unwrap()),
        Box::new(|tracker| {
            let row = |key, state| (key, "many", b"f".as_slice(), state, b"=2".as_slice());
            tracker.finish_many("r", vec![row("m1", 0), row("m2", 1), row("cached", 2)]).map(drop).unwrap();
        }),
        Box::new(|tracker| tracker.start_step("r", "unfolded", "code", 1, vec!["m1", "m2"]).unwrap()),
        Box::new(|tracker| tracker.finish_step("r", "unfolded", "code", b"", 0, b"=3").map(drop).unwrap()),
        Box::new(|tracker| tracker.accept_run("other", b"{}", b"").map(drop).unwrap()),
        Box::new(|tracker| tracker.cancel("r").map(drop).unwrap()),
        Box::new(|tracker| tracker.finish_run("r", "cancelled", b"={}").map(drop).unwrap()),
        Box::new(|tracker| tracker.accept_run("past", b"{}", b"").map(drop).unwrap()),
        Box::new(|tracker| tracker.finish_run("past", "failed", b"={}").map(drop).unwrap()),
        Box::new(|tracker| assert_eq!(tracker.forget_runs(vec!["past", "other", "nowhere"]), Ok(1))),
    ]
}

#[test]
fn after_every_record_replay_and_snapshot_are_the_live_state() {
    let host = TestHost::new(std::path::Path::new(""));
    let live = DagTracker::create(host.host()).unwrap();
    for (number, told) in story().iter().enumerate() {
        host.advance(1.25);
        told(&live);
        let again = replayed(&host);
        let restored = DagTracker::create(host.host()).unwrap();
        restored.restore(&saved(&live)).unwrap();
        for run in ["r", "other"] {
            assert_eq!(view(&again, run), view(&live, run), "part {number}");
            assert_eq!(view(&restored, run), view(&live, run), "part {number}");
        }
        for other in [&again, &restored] {
            assert_eq!(saved(other), saved(&live), "part {number}");
        }
    }
    let mut kinds: Vec<u16> = host.records().iter().map(|record| record.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (1..=14).collect::<Vec<_>>(), "every kind of record was there");
    let info = live.run_info("r").unwrap();
    assert_eq!((field(&info, "status"), field(&info, "state")), ("cancelled".into(), "cancelled".into()));
    assert_eq!(live.live_runs().unwrap(), ["other"]);
}

#[test]
fn a_snapshot_and_the_records_behind_it_are_a_replay_of_all() {
    let host = TestHost::new(std::path::Path::new(""));
    let live = DagTracker::create(host.host()).unwrap();
    let mut snapshots = Vec::new();
    for told in story() {
        host.advance(1.25);
        told(&live);
        snapshots.push((host.records().len(), saved(&live)));
    }
    for (covered, snapshot) in snapshots {
        let restored = DagTracker::create(host.host()).unwrap();
        restored.restore(&snapshot).unwrap();
        for record in &host.records()[covered..] {
            let payload = &record.payload;
            let (time, kind, revision) = (record.time, record.kind, record.revision);
            restored.replay(&Record { position: 0, time, kind, revision, payload }).unwrap();
        }
        assert_eq!(saved(&restored), saved(&live), "snapshot behind {covered} records");
    }
}

#[test]
fn a_snapshot_that_ends_early_is_refused() {
    let (_, tracker) = planned(&[("a", &[]), ("b", &["a"])]);
    start(&tracker, "a").unwrap();
    let whole = saved(&tracker);
    for cut in 0..whole.len() {
        let restored = DagTracker::create(tracker.tracker.host()).unwrap();
        assert_eq!(restored.restore(&whole[..cut]).unwrap_err().kind, ErrorKind::Corrupt, "cut at {cut}");
    }
}

#[test]
fn records_of_revision_1_still_replay() {
    let record = || Writer::default().str("r");
    let records = [
        (1, record().bytes(b"{}").bytes(b"=1")),
        (2, record().str("r:a#0").str("a").u32(1).u32(0)),
        (3, record().str("r:a#0").u32(1).str("boom").i64(9 * SECOND)),
        (2, record().str("r:a#0").str("a").u32(2).u32(0)),
        (4, record().str("r:a#0").str("a").bytes(b"f").u8(0).bytes(b"=1")),
        (4, record().str("r:c#0").str("c").bytes(b"g").u8(2).bytes(b"=2")),
        (2, record().str("r:b#0").str("b").u32(1).u32(2).str("r:a#0").str("r:c#0")),
        (3, record().str("r:b#0").u32(1).str("late").i64(30 * SECOND)),
        (5, record().str("r~0")),
        (6, record().str("cancel")),
    ];
    let host = TestHost::new(std::path::Path::new(""));
    let tracker = DagTracker::create(host.host()).unwrap();
    let replay = |kind, time, payload: &[u8]| {
        tracker.replay(&Record { position: 0, time, kind, revision: 1, payload }).unwrap();
    };
    for (time, (kind, payload)) in (10..).zip(records) {
        replay(kind, time * SECOND, &payload.finish());
    }
    let delivered: Vec<(Value, Value, Value)> = tracker
        .recovered("r")
        .unwrap()
        .into_iter()
        .map(|row| {
            let Value::List(row) = row else { panic!("no list") };
            (row[0].clone(), row[1].clone(), row[5].clone())
        })
        .collect();
    let row = |kind, key: &str, time| (Value::Int(kind), Value::from(key), Value::Int(time * SECOND));
    assert_eq!(
        delivered,
        [row(1, "r:a#0", 14), row(1, "r:c#0", 15), row(2, "r~0", 18), row(3, "cancel", 19)]
    );
    assert_eq!(tracker.attempts("r").unwrap(), [("r:b#0".to_owned(), (1, 30 * SECOND))].into());
    assert_eq!(
        ["r:a#0", "r:c#0", "r:b#0"].map(|key| state(&tracker, key)),
        ["completed", "completed", "cancelled"]
    );
    assert_eq!(tracker.durations().unwrap(), [("a".to_owned(), (1, 1.0))].into());
    replay(7, 20 * SECOND, &record().u8(2).bytes(b"={}").finish());
    assert_eq!((run_state(&tracker).as_str(), tracker.live_runs().unwrap().len()), ("cancelled", 0));
}

#[test]
fn every_pair_of_run_state_and_method() {
    let letter = |name: &str| match name {
        "paused" => 'A',
        "cancelled" => 'D',
        other => other.to_ascii_uppercase().remove(0),
    };
    let methods: [(&str, Method); 8] = [
        ("start_step", |tracker| start(tracker, "s")),
        ("pause", |tracker| tracker.pause("r", "").map(drop)),
        ("resume", |tracker| tracker.resume("r").map(drop)),
        ("wait_for_input", |tracker| tracker.wait_for_input("r", "q2", "").map(drop)),
        ("provide_input", |tracker| tracker.provide_input("r", "q", b"").map(drop)),
        ("finish completed", |tracker| tracker.finish_run("r", "completed", b"").map(drop)),
        ("finish failed", |tracker| tracker.finish_run("r", "failed", b"").map(drop)),
        ("finish cancelled", |tracker| tracker.finish_run("r", "cancelled", b"").map(drop)),
    ];
    let enter = |tracker: &DagTracker, state: RunState, method: &str| match state {
        RunState::Pending => {}
        RunState::Running => start(tracker, "first").unwrap(),
        RunState::Paused => {
            if method == "provide_input" {
                tracker.wait_for_input("r", "q", "").unwrap();
            }
            tracker.pause("r", "").unwrap();
        }
        RunState::WaitingForInput => tracker.wait_for_input("r", "q", "").map(drop).unwrap(),
        RunState::Completed | RunState::Failed | RunState::Cancelled => {
            tracker.finish_run("r", state.name(), b"").unwrap();
        }
    };
    let mut table = Vec::new();
    for before in RunState::ALL {
        let mut row = String::new();
        for (name, method) in methods {
            let (host, tracker) = tracker();
            enter(&tracker, *before, name);
            assert_eq!(run_state(&tracker), before.name());
            let records = host.records().len();
            row.push(match method(&tracker) {
                Ok(()) => letter(&run_state(&tracker)),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::Conflict, "{name} of a run that is {before:?}");
                    assert_eq!(
                        (run_state(&tracker).as_str(), host.records().len()),
                        (before.name(), records)
                    );
                    '.'
                }
            });
        }
        table.push(row);
    }
    //  start pause resume wait provide complete fail cancel; pAused, cancelleD
    assert_eq!(table, ["RA.W.CFD", "RA.W.CFD", "..RAACFD", "WA.WRCFD", "........", "........", "........"]);
}

#[test]
fn every_pair_of_step_state_and_method() {
    let letter = |name: &str| if name == "cancelled" { 'D' } else { name.to_ascii_uppercase().remove(0) };
    let methods: [Method; 9] = [
        |tracker| start(tracker, "s"),
        |tracker| tracker.fail_attempt("r", "s", 1, "boom", 0),
        |tracker| finish(tracker, "s", 0).map(drop),
        |tracker| finish(tracker, "s", 2).map(drop),
        |tracker| finish(tracker, "s", 1).map(drop),
        |tracker| finish(tracker, "s", 3).map(drop),
        |tracker| tracker.skip_step("r", "s").map(drop),
        |tracker| tracker.cancel_step("r", "s").map(drop),
        |tracker| tracker.retry_step("r", "s").map(drop),
    ];
    let mut table = Vec::new();
    for before in StepState::ALL {
        let mut row = String::new();
        for (number, method) in methods.iter().enumerate() {
            let needs: &[&str] = if *before == StepState::Pending { &["d"] } else { &[] };
            let (host, tracker) = planned(&[("d", &[]), ("s", needs)]);
            match before {
                StepState::Pending | StepState::Queued => {}
                StepState::Running => start(&tracker, "s").unwrap(),
                StepState::Completed | StepState::Failed => {
                    start(&tracker, "s").unwrap();
                    finish(&tracker, "s", u32::from(*before == StepState::Failed)).unwrap();
                }
                StepState::Skipped => tracker.skip_step("r", "s").map(drop).unwrap(),
                StepState::Cancelled => tracker.cancel_step("r", "s").map(drop).unwrap(),
            }
            assert_eq!(state(&tracker, "s"), before.name());
            let records = host.records().len();
            row.push(match method(&tracker) {
                Ok(()) => letter(&state(&tracker, "s")),
                Err(error) => {
                    assert_eq!(
                        error.kind,
                        ErrorKind::Conflict,
                        "method {number} of a step that is {before:?}"
                    );
                    assert_eq!(
                        (state(&tracker, "s").as_str(), host.records().len()),
                        (before.name(), records)
                    );
                    '.'
                }
            });
        }
        table.push(row);
    }
    //  start fail_attempt finish: completed cached failed skipped; skip cancel retry; cancelleD
    assert_eq!(
        table,
        ["...C.SSD.", "R..CFSSD.", "RQC.FSSD.", ".........", "........Q", "........Q", "........Q"]
    );
}

#[test]
fn a_batch_with_one_refused_outcome_changes_nothing() {
    let (host, tracker) = planned(&[("a", &[]), ("b", &[])]);
    start(&tracker, "a").unwrap();
    let records = host.records().len();
    let row = |key, state| (key, "", b"".as_slice(), state, b"".as_slice());
    for (rows, kind) in [
        (vec![row("a", 0), row("b", 0)], ErrorKind::Conflict),
        (vec![row("a", 0), row("a", 0)], ErrorKind::InvalidArgument),
        (vec![row("a", 4)], ErrorKind::InvalidArgument),
    ] {
        assert_eq!(tracker.finish_many("r", rows).unwrap_err().kind, kind);
        assert_eq!((state(&tracker, "a").as_str(), host.records().len()), ("running", records));
    }
    assert!(tracker.finish_many("r", vec![]).is_ok());
}

#[test]
fn outcomes_larger_than_a_record_are_split_and_stay_in_order() {
    let (host, tracker) = tracker();
    let payload = vec![b'x'; 300_000];
    let keys: Vec<String> = (0..10).map(|number| format!("k{number}")).collect();
    let rows = keys.iter().map(|key| (key.as_str(), "n", b"".as_slice(), 2, payload.as_slice()));
    tracker.finish_many("r", rows.collect()).unwrap();
    assert_eq!(host.records().iter().filter(|record| record.kind == 9).count(), 4);
    let recovered = replayed(&host).recovered("r").unwrap();
    let told: Vec<&Value> =
        recovered.iter().map(|row| if let Value::List(row) = row { &row[1] } else { row }).collect();
    assert_eq!(
        told,
        keys.iter().map(|key| Value::from(key.as_str())).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
}

#[test]
fn a_full_disk_changes_nothing() {
    let (host, tracker) = planned(&[("a", &[])]);
    let before = saved(&tracker);
    host.set_full(true);
    assert_eq!(start(&tracker, "a").unwrap_err().kind, ErrorKind::Io);
    assert_eq!(add_many(&tracker, vec!["new".into()]).unwrap_err().kind, ErrorKind::Io);
    assert_eq!(tracker.pause("r", "").unwrap_err().kind, ErrorKind::Io);
    assert_eq!(saved(&tracker), before);
    host.set_full(false);
    assert_eq!(add_many(&tracker, vec!["newer".into(), "new".into()]), Ok(2));
    assert_eq!(saved(&replayed(&host)), saved(&tracker));
}

#[test]
fn what_is_wrong_with_a_graph_is_told_together_and_with_its_path() {
    let (_, tracker) = planned(&[("a", &["b"]), ("b", &["a"]), ("c", &["nowhere"])]);
    assert_eq!(add_many(&tracker, vec![Value::List(vec!["c".into(), Value::List(vec![])])]), Ok(0));
    let problems = tracker.validate("r").unwrap();
    let kinds: Vec<&str> = problems.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, ["duplicate", "unknown_dependency", "cycle"]);
    assert_eq!(problems[1].dependency.as_deref(), Some("nowhere"));
    assert_eq!(problems[2].path, ["a", "b", "a"]);
    for error in [tracker.order("r").unwrap_err(), tracker.critical_path("r", None).map(drop).unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Conflict);
        for part in ["c was added twice", "c needs nowhere", "cycle: a needs b needs a"] {
            assert!(error.message.contains(part), "{error}");
        }
    }
}

#[test]
fn a_step_is_added_once_and_never_as_something_else() {
    let (host, tracker) = planned(&[("a", &[])]);
    let none = Value::List(vec![]);
    let needs = Value::List(vec!["a".into()]);
    assert_eq!(add(&tracker, "b", &needs, &Value::None), Ok(true));
    let records = host.records().len();
    assert_eq!(add(&tracker, "b", &needs, &Value::None), Ok(false));
    assert_eq!(add(&tracker, "b", &none, &Value::None).unwrap_err().kind, ErrorKind::Conflict);
    let closes = add(&tracker, "z", &Value::List(vec!["z".into()]), &Value::None).unwrap_err();
    assert!(closes.message.ends_with("z needs z"), "{closes}");
    let wrong = Value::List(vec![Value::List(vec!["a".into(), "firm".into()])]);
    assert_eq!(add(&tracker, "y", &wrong, &Value::None).unwrap_err().kind, ErrorKind::InvalidArgument);
    let policy = Value::map([("delay", Value::Float(-1.0))]);
    assert_eq!(add(&tracker, "y", &none, &policy).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(host.records().len(), records, "what is refused or known is not recorded");
}

#[test]
fn a_step_that_is_there_already_leaves_no_name_that_a_replay_would_not_know() {
    let (host, tracker) = tracker();
    start(&tracker, "unfolded").unwrap();
    let needs = Value::List(vec!["nobody".into()]);
    assert_eq!(add(&tracker, "unfolded", &needs, &Value::None), Ok(false));
    start(&tracker, "next").unwrap();
    assert_eq!(add(&tracker, "last", &needs, &Value::None), Ok(true));
    assert_eq!(saved(&replayed(&host)), saved(&tracker));
}

#[test]
fn nothing_is_ready_while_a_run_is_paused() {
    let (_, tracker) = planned(&[("a", &[]), ("b", &["a"])]);
    tracker.pause("r", "").unwrap();
    assert_eq!(tracker.ready("r", None).unwrap(), [""; 0]);
    tracker.resume("r").unwrap();
    assert_eq!(tracker.ready("r", None).unwrap(), ["a"]);
}

#[test]
fn an_answer_is_taken_once_and_only_of_an_open_question() {
    let (_, tracker) = tracker();
    tracker.wait_for_input("r", "q", "Which?").unwrap();
    assert_eq!(tracker.wait_for_input("r", "q", "").unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tracker.provide_input("r", "other", b"").unwrap_err().kind, ErrorKind::NotFound);
    tracker.provide_input("r", "q", b"=1").unwrap();
    assert_eq!(run_state(&tracker), "running");
    assert_eq!(tracker.provide_input("r", "q", b"=1").unwrap_err().kind, ErrorKind::Conflict);
}

fn obey(tracker: &DagTracker, position: u64, command: &str, key: &str) -> Result<Option<i64>> {
    tracker.obey("r", position, command, key, "", None, Some(b"=1"))
}

#[test]
fn a_command_is_recorded_once_also_after_a_restart_and_from_a_snapshot() {
    let (host, tracker) = tracker();
    assert!(obey(&tracker, 5, "pause", "").unwrap().is_some());
    assert_eq!(obey(&tracker, 6, "pause", "").unwrap_err().kind, ErrorKind::Conflict);
    assert!(obey(&tracker, 7, "resume", "").unwrap().is_some());
    let records = host.records().len();
    let restored = DagTracker::create(host.host()).unwrap();
    restored.restore(&saved(&tracker)).unwrap();
    for tracker in [&tracker, &replayed(&host), &restored] {
        assert_eq!(obey(tracker, 5, "pause", "").unwrap(), None);
        assert_eq!((run_state(tracker), host.records().len()), ("running".to_owned(), records));
    }
    assert!(obey(&tracker, 6, "pause", "").unwrap().is_some(), "what was refused was not recorded");
}

#[test]
fn a_step_that_waits_for_a_person_goes_on_by_retry_or_skip() {
    for (command, then) in [("retry", "queued"), ("skip", "skipped")] {
        let (host, tracker) = tracker();
        tracker.start_step("r", "a", "name", 1, vec![]).unwrap();
        tracker.wait_for_input("r", "a", "it was interrupted").unwrap();
        assert!(obey(&tracker, 5, command, "a").unwrap().is_some());
        for tracker in [&tracker, &replayed(&host)] {
            assert_eq!((state(tracker, "a"), run_state(tracker)), (then.to_owned(), "running".to_owned()));
            assert_eq!(tracker.recovered("r").unwrap().len(), 1, "a replay takes it in its place");
        }
    }
}

#[test]
fn a_withdrawn_question_is_not_open() {
    let (_, tracker) = tracker();
    tracker.wait_for_input("r", "q", "Which?").unwrap();
    assert_eq!(tracker.withdraw("r", "other").unwrap_err().kind, ErrorKind::NotFound);
    tracker.withdraw("r", "q").unwrap();
    assert_eq!((run_state(&tracker), tracker.recovered("r").unwrap().len()), ("running".to_owned(), 0));
}

#[test]
fn what_steps_took_is_learned_by_name() {
    let (host, tracker) = tracker();
    for (key, seconds) in [("a", 1.0), ("b", 3.0)] {
        tracker.start_step("r", key, "n", 1, vec![]).unwrap();
        host.advance(seconds);
        finish(&tracker, key, 0).unwrap();
    }
    tracker.finish_step("r", "c", "n", b"", 2, b"").unwrap();
    assert_eq!(tracker.durations().unwrap(), [("n".to_owned(), (2, 2.0))].into());
    add_many(&tracker, vec!["x".into(), Value::List(vec!["y".into(), Value::List(vec!["x".into()])])])
        .unwrap();
    assert_eq!(tracker.remaining_time("r", 0, None, None).unwrap(), 4.0, "unknown names take the mean");
    let given = [("x".to_owned(), 10.0)].into();
    let way = tracker.critical_path("r", Some(given)).unwrap();
    assert_eq!((way.steps, way.seconds), (vec!["x".to_owned(), "y".to_owned()], 16.0));
    let wrong = tracker.ranks("r", Some([("x".to_owned(), f64::NAN)].into())).unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::InvalidArgument);
}

#[test]
fn time_never_goes_back_within_a_run() {
    let (host, tracker) = tracker();
    host.set_now(9 * SECOND);
    assert_eq!(tracker.command("r", "x").unwrap(), 9 * SECOND);
    host.set_now(4 * SECOND);
    assert_eq!(tracker.command("r", "y").unwrap(), 9 * SECOND);
    assert_eq!(tracker.fire_timer("r", "t", 12 * SECOND).unwrap(), 12 * SECOND);
    assert_eq!(tracker.command("r", "z").unwrap(), 12 * SECOND);
}

fn decide(tracker: &DagTracker, key: &str, attempt: u32, kind: &str) -> Decision {
    tracker.decide_retry("r", key, attempt, kind, None, "").unwrap()
}

#[test]
fn a_retry_has_a_deadline_that_outlives_the_process() {
    for (backoff, waits) in [("constant", [4, 4, 4]), ("linear", [4, 8, 12]), ("exponential", [4, 8, 15])] {
        let (host, tracker) = tracker();
        let policy = Value::map([
            ("max_attempts", Value::Int(4)),
            ("backoff", backoff.into()),
            ("delay", Value::Float(4.0)),
            ("max_delay", Value::Float(15.0)),
        ]);
        add(&tracker, "a", &Value::List(vec![]), &policy).unwrap();
        let mut now = SECOND;
        for (attempt, wait) in (1..).zip(waits) {
            tracker.start_step("r", "a", "", attempt, vec![]).unwrap();
            let decision = decide(&tracker, "a", attempt, "error");
            let until = now + wait * SECOND;
            assert_eq!((decision.action, decision.retry_at), ("retry", Some(until)), "{backoff} {attempt}");
            let again = replayed(&host);
            host.set_now(until - 1);
            assert_eq!(again.attempts("r").unwrap()["a"], (attempt, until));
            let repeated = decide(&again, "a", attempt, "error");
            assert_eq!(repeated.retry_at, Some(until), "asked again, the answer is the same");
            for tracker in [&tracker, &again] {
                assert_eq!(tracker.ready("r", None).unwrap(), [""; 0]);
            }
            host.set_now(until);
            for tracker in [&tracker, &again] {
                assert_eq!(tracker.ready("r", None).unwrap(), ["a"]);
            }
            now = until;
        }
        tracker.start_step("r", "a", "", 4, vec![]).unwrap();
        assert_eq!(decide(&tracker, "a", 4, "error").action, "fail");
        assert_eq!(host.records().iter().filter(|record| record.kind == 3).count(), 3);
    }
}

#[test]
fn jitter_spreads_the_deadline_the_same_way_in_every_process() {
    let (host, tracker) = tracker();
    let policy = Value::map([
        ("max_attempts", Value::Int(9)),
        ("delay", Value::Float(8.0)),
        ("jitter", Value::Float(0.5)),
    ]);
    let mut waits = Vec::new();
    for key in ["a", "b", "c", "d"] {
        add(&tracker, key, &Value::List(vec![]), &policy).unwrap();
        start(&tracker, key).unwrap();
        let before = replayed(&host);
        let wait = decide(&tracker, key, 1, "error").delay.unwrap();
        assert_eq!(decide(&before, key, 1, "error").delay, Some(wait));
        assert!((4.0..12.0).contains(&wait), "{wait}");
        waits.push(wait.to_bits());
        host.replay_into(&DagTracker::create(host.host()).unwrap()).unwrap();
    }
    waits.sort_unstable();
    waits.dedup();
    assert_eq!(waits.len(), 4);
}

#[test]
fn when_no_attempt_is_left_the_policy_says_what_follows() {
    let (host, tracker) = tracker();
    let skip = [("on_error", Value::from("skip")), ("default", Value::Bytes(b"=0".to_vec()))];
    let fallback = [("on_error", Value::from("fallback")), ("fallback", "plan_b".into())];
    let keys = Value::List(vec!["timeout".into()]);
    let picky = [("max_attempts", Value::Int(9)), ("retry_on", keys.clone())];
    let never = [("max_attempts", Value::Int(9)), ("give_up_on", keys)];
    for (key, policy) in [("skip", skip), ("fallback", fallback), ("picky", picky), ("never", never)] {
        add(&tracker, key, &Value::List(vec![]), &Value::map(policy)).unwrap();
        start(&tracker, key).unwrap();
    }
    let records = host.records().len();
    let skip = decide(&tracker, "skip", 1, "error");
    assert_eq!((skip.action, skip.default.as_deref()), ("skip", Some(b"=0".as_slice())));
    assert_eq!(decide(&tracker, "skip", 1, "cancelled").action, "fail");
    let fallback = decide(&tracker, "fallback", 1, "error");
    assert_eq!((fallback.action, fallback.fallback.as_deref()), ("fallback", Some("plan_b")));
    assert_eq!(decide(&tracker, "picky", 1, "error").action, "fail");
    assert_eq!(decide(&tracker, "never", 1, "timeout").action, "fail");
    assert_eq!(decide(&tracker, "unknown step", 1, "error").action, "fail", "one attempt without a policy");
    assert_eq!(host.records().len(), records, "only a retry is recorded");
    assert_eq!(decide(&tracker, "picky", 1, "timeout").action, "retry");
    assert_eq!(decide(&tracker, "never", 1, "error").action, "retry");
    let given = Value::map([("max_attempts", Value::Int(2))]);
    let given =
        given.with_ref(|policy| tracker.decide_retry("r", "skip", 1, "error", Some(policy), "")).unwrap();
    assert_eq!(given.action, "retry", "the policy of the call goes before the step's own");
}

#[test]
fn a_step_without_time_left_is_expired_until_it_ends() {
    let (host, tracker) = tracker();
    for (key, timeout) in [("slow", 10.0), ("quick", 2.0)] {
        add(&tracker, key, &Value::List(vec![]), &Value::map([("timeout", Value::Float(timeout))])).unwrap();
        start(&tracker, key).unwrap();
    }
    let deadline = |seconds| SECOND + seconds * SECOND;
    assert_eq!(tracker.expired("r", Some(deadline(2) - 1)).unwrap(), []);
    host.set_now(deadline(2));
    assert_eq!(tracker.expired("r", None).unwrap(), [("quick".to_owned(), deadline(2))]);
    let both = [("quick".to_owned(), deadline(2)), ("slow".to_owned(), deadline(10))];
    assert_eq!(replayed(&host).expired("r", Some(deadline(10))).unwrap(), both);
    finish(&tracker, "quick", 1).unwrap();
    assert_eq!(tracker.expired("r", None).unwrap(), []);
}

#[test]
fn cancel_ends_what_has_not_started_and_is_delivered() {
    let (_, tracker) = planned(&[("a", &[]), ("b", &["a"]), ("c", &[])]);
    start(&tracker, "a").unwrap();
    tracker.cancel("r").unwrap();
    assert_eq!(["a", "b", "c"].map(|key| state(&tracker, key)), ["running", "cancelled", "cancelled"]);
    finish(&tracker, "a", 0).unwrap();
    assert_eq!(tracker.ready("r", None).unwrap(), [""; 0]);
    assert_eq!(tracker.recovered("r").unwrap().len(), 2);
}

#[test]
fn a_finished_run_keeps_its_counts_and_refuses_everything() {
    let (host, tracker) = planned(&[("a", &[]), ("b", &["a"])]);
    start(&tracker, "a").unwrap();
    finish(&tracker, "a", 1).unwrap();
    tracker.finish_run("r", "failed", b"={}").unwrap();
    for tracker in [&tracker, &replayed(&host)] {
        let counts = field(&tracker.run_info("r").unwrap(), "steps");
        assert_eq!(counts, Value::map([("failed", Value::from(1_u32)), ("skipped", Value::from(1_u32))]));
        assert_eq!(tracker.stats().unwrap()["steps"], 0);
        assert_eq!(tracker.states("r").unwrap_err().kind, ErrorKind::Conflict);
        assert_eq!(start(tracker, "a").unwrap_err().kind, ErrorKind::Conflict);
        assert_eq!(tracker.ready("nobody", None).unwrap_err().kind, ErrorKind::NotFound);
    }
}

#[test]
fn what_is_forgotten_is_gone_for_good_and_no_live_run_is() {
    let host = TestHost::new(std::path::Path::new(""));
    let live = DagTracker::create(host.host()).unwrap();
    for run in ["c", "a", "b", "live"] {
        host.advance(1.0);
        live.accept_run(run, b"{}", b"").unwrap();
        if run != "live" {
            live.finish_run(run, "completed", b"={}").unwrap();
        }
    }
    assert_eq!(live.finished_runs(1000).unwrap(), ["c", "a", "b"]);
    assert_eq!(live.finished_runs(1).unwrap(), ["c"]);
    let records = host.records().len();
    assert_eq!(live.forget_runs(vec!["live", "nowhere"]), Ok(0));
    assert_eq!(host.records().len(), records, "then nothing is recorded");
    assert_eq!(live.forget_runs(vec!["c", "b", "c", "live"]), Ok(2));
    assert_eq!(host.records().len(), records + 1);
    for tracker in [&live, &replayed(&host)] {
        assert_eq!(tracker.finished_runs(1000).unwrap(), ["a"]);
        assert_eq!(tracker.live_runs().unwrap(), ["live"]);
        assert!(tracker.run_info("c").is_err());
    }
    let many: Vec<String> = (0..34_000).map(|number| format!("{number:026}")).collect();
    for run in &many {
        live.accept_run(run, b"", b"").unwrap();
        live.finish_run(run, "completed", b"").unwrap();
    }
    let before = saved(&live).len();
    let records = host.records().len();
    assert_eq!(live.forget_runs(many.iter().map(String::as_str).collect()), Ok(34_000));
    assert_eq!(host.records().len(), records + 2, "a record has its limit");
    assert!(saved(&live).len() < before / 500, "snapshots do not grow with the past");
    assert_eq!(saved(&replayed(&host)), saved(&live));
}
