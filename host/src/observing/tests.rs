#![allow(clippy::unwrap_used)] // here it is an assertion

use symphony_dag_tracker::records::Finished;

use super::*;
use crate::run_log::RunLog;

type Told = (&'static str, String, &'static str, Option<i64>);

fn started(key: &str, attempt: u32) -> Event<'_> {
    Event::StepStarted { key, name: "n", attempt, dependencies: vec![] }
}

fn outcome(key: &str, outcome: Outcome) -> Event<'_> {
    Event::StepFinished { key, name: "n", fingerprint: b"", outcome, payload: b"=p" }
}

fn ended(status: RunStatus) -> Event<'static> {
    Event::RunFinished { status, payload: b"={}" }
}

fn told(following: &mut Following) -> Vec<Told> {
    let (told, lost) = following.take(100).unwrap();
    assert_eq!(lost, 0);
    let shown = |it: &Happening| {
        let step =
            if it.key.is_empty() { String::new() } else { format!(" {} {} {}", it.key, it.name, it.attempt) };
        (it.hook, format!("{} {}{step}", it.run, it.workflow), it.state, it.since)
    };
    told.iter().map(shown).collect()
}

#[test]
fn what_happens_to_runs_and_steps_is_told_in_the_order_of_the_log() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    let mut following = Following::new(&home.path().join("pit"), 0);
    log.accept("a", "w.x", 10);
    log.write("a", 20, &started("k", 1));
    log.write("a", 21, &Event::AttemptFailed { key: "k", attempt: 1, error: "e", retry_at: 30 });
    log.write("a", 30, &started("k", 2));
    log.write("a", 35, &outcome("k", Outcome::Failed));
    log.write("a", 36, &outcome("c", Outcome::Cached));
    let tell = |what: &str| what.to_owned();
    assert_eq!(
        told(&mut following),
        [
            ("run_started", tell("a w.x"), "running", None),
            ("step_started", tell("a w.x k n 1"), "running", None),
            ("step_started", tell("a w.x k n 2"), "running", None),
            ("step_finished", tell("a w.x k n 2"), "failed", Some(30)),
            ("step_finished", tell("a w.x c n 0"), "cached", None),
        ]
    );
    assert_eq!(told(&mut following), []);
    let skip = outcome("s", Outcome::Skipped);
    log.write("a", 39, &started("d", 1));
    log.write("a", 40, &Event::Commanded { position: 9, event: Box::new(skip) });
    log.write("a", 41, &Event::StepControlled { key: "d", control: StepControl::Cancel });
    let batch =
        |key| Finished { key, name: "n", fingerprint: b"", outcome: Outcome::Completed, payload: b"=" };
    log.write("a", 42, &Event::StepsFinished { steps: vec![batch("x"), batch("y")] });
    log.write("a", 50, &ended(RunStatus::Failed));
    log.write("a", 51, &started("late", 1));
    assert_eq!(
        told(&mut following),
        [
            ("step_started", tell("a w.x d n 1"), "running", None),
            ("step_finished", tell("a w.x s n 0"), "skipped", None),
            ("step_finished", tell("a w.x d n 1"), "cancelled", Some(39)),
            ("step_finished", tell("a w.x x n 0"), "completed", None),
            ("step_finished", tell("a w.x y n 0"), "completed", None),
            ("run_finished", tell("a w.x"), "failed", Some(10)),
        ]
    );
}

#[test]
fn it_goes_on_at_a_position_with_what_was_before_known_and_failures_as_recorded() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    log.accept("a", "w.x", 10);
    log.write("a", 20, &started("k", 1));
    let pit = home.path().join("pit");
    let (seen, _) = Following::new(&pit, 0).take(100).unwrap();
    log.write("a", 30, &outcome("k", Outcome::Failed));
    log.write("a", 40, &ended(RunStatus::Failed));
    let (told, _) = Following::new(&pit, seen[1].position + 1).take(100).unwrap();
    let shown: Vec<_> = told.iter().map(|it| (it.hook, it.since, &*it.failure)).collect();
    assert_eq!(shown, [("step_finished", Some(20), &b"=p"[..]), ("run_finished", Some(10), b"={}")]);
    assert_eq!((&*told[0].workflow, &*told[0].name, told[0].attempt), ("w.x", "n", 1));
    assert!(told[0].position < told[1].position);
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let home = tempfile::tempdir().unwrap();
    let log = RunLog::open(home.path());
    log.accept("a", "w.x", 10);
    let keys: Vec<String> = (0..MOST + 9).map(|number| number.to_string()).collect();
    for some in keys.chunks(1000) {
        let outcome =
            |key| Finished { key, name: "n", fingerprint: b"", outcome: Outcome::Completed, payload: b"" };
        log.write("a", 20, &Event::StepsFinished { steps: some.iter().map(|key| outcome(key)).collect() });
    }
    let mut following = Following::new(&home.path().join("pit"), 0);
    let (first, lost) = following.take(1).unwrap();
    assert_eq!((first.len(), lost), (1, 10));
    assert_eq!(following.take(1).unwrap().0.len(), 1000, "what is of one record stays together");
    assert_eq!(following.take(MOST).unwrap().0.len(), MOST - 1001);
    log.write("a", 40, &ended(RunStatus::Completed));
    let (told, lost) = following.take(MOST).unwrap();
    assert_eq!((told.len(), lost), (1, 0));
}
