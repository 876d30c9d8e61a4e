//! Sweeps over a store in memory: every state against every call, what happens in between, and what a restart leaves.

use std::collections::BTreeMap;

use symphony_pit::{Component, ErrorKind, Record, Result, Value};

use crate::artifact::{Artifact, Id};
use crate::manager::StaleManager;
use crate::plan::Decision;
use crate::policy::{Action, Policy};
use crate::sample::{DAY, FakeStore, NOW, Random, manager};
use crate::score::Weights;
use crate::sweep::Phase;

fn old(number: u8) -> Artifact {
    let created = NOW - 50 * DAY;
    Artifact { id: Id([number; 32]), size: 10, created, last_access: created, ..Artifact::default() }
}

fn set(manager: &StaleManager, name: &str, rules: &[(&str, Value)], action: Action) {
    let rules: BTreeMap<_, _> = rules.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    manager.put_policy(Policy::new(name, rules, 0, action, "").unwrap()).unwrap();
}

fn pending(manager: &StaleManager) -> Option<Phase> {
    manager.ledger(|ledger| ledger.pending().map(|sweep| sweep.phase))
}

/// A sweep over four old contents, brought into this state.
fn at(phase: Phase) -> (FakeStore, StaleManager) {
    let store = FakeStore::new((1..=4).map(old));
    let (_, manager) = manager(&store);
    assert_eq!(manager.begin(None).unwrap().0.total, 4);
    match phase {
        Phase::Running => drop(manager.do_step(1, 3).unwrap()),
        Phase::Stepped => drop(manager.do_step(1, 4).unwrap()),
        Phase::Interrupted => {
            manager.do_step(1, 3).unwrap();
            manager.start().unwrap();
        }
        Phase::Committed => drop(manager.do_commit(1).unwrap()),
        Phase::Aborted => drop(manager.do_abort(1).unwrap()),
    }
    (store, manager)
}

#[test]
fn every_state_takes_only_its_calls() {
    type Call = fn(&StaleManager) -> Result<()>;
    let calls: [(&str, Call); 4] = [
        ("begin", |manager| manager.begin(None).map(drop)),
        ("step", |manager| manager.do_step(1, 1).map(drop)),
        ("commit", |manager| manager.do_commit(1).map(drop)),
        ("abort", |manager| manager.do_abort(1).map(drop)),
    ];
    let table = [
        (Phase::Running, [None, Some(Phase::Stepped), Some(Phase::Committed), Some(Phase::Aborted)]),
        (Phase::Stepped, [None, None, Some(Phase::Committed), Some(Phase::Aborted)]),
        (Phase::Interrupted, [None, None, Some(Phase::Committed), Some(Phase::Aborted)]),
        (Phase::Committed, [Some(Phase::Committed), None, None, None]),
        (Phase::Aborted, [Some(Phase::Aborted), None, None, None]),
    ];
    for (phase, row) in table {
        for ((name, call), after) in calls.iter().zip(row) {
            let (_, manager) = at(phase);
            let now = |manager: &StaleManager| manager.ledger(|ledger| ledger.sweeps[&1].phase);
            assert_eq!(now(&manager), phase);
            match (call(&manager), after) {
                (Ok(()), Some(after)) => assert_eq!(now(&manager), after, "{phase:?} {name}"),
                (Err(error), None) => {
                    assert_eq!(error.kind, ErrorKind::Conflict, "{phase:?} {name}");
                    assert_eq!(now(&manager), phase, "{phase:?} {name}");
                }
                (result, _) => panic!("{phase:?} {name}: {result:?}"),
            }
        }
    }
}

#[test]
fn deleted_content_rests_in_the_trash_until_the_commit() {
    let (store, manager) = at(Phase::Running);
    assert_eq!(store.lock().trash.len(), 3);
    assert_eq!(store.lock().artifacts.len(), 4);
    let row = manager.do_step(1, 100).unwrap();
    assert_eq!((row.state, row.done, row.deleted, row.kept, row.bytes), (Phase::Stepped, 4, 4, 0, 40));
    assert_eq!(store.lock().artifacts.len(), 4);
    assert_eq!(store.lock().reasons, ["built-in: older than 30 days"; 2]);
    assert_eq!(manager.do_commit(1), Ok((4, 40)));
    assert!(store.lock().artifacts.is_empty());
    assert_eq!(pending(&manager), None);
}

#[test]
fn a_commit_leaves_what_others_put_into_the_trash() {
    let (store, manager) = at(Phase::Running);
    store.lock().trash.insert(Id([4; 32]));
    assert_eq!(manager.do_commit(1), Ok((3, 30)));
    assert_eq!(store.lock().trash.len(), 1);
}

#[test]
fn an_abort_brings_everything_back() {
    let store = FakeStore::new((1..=6).map(|number| Artifact {
        names: if number > 3 { vec![format!("log/{number}")] } else { Vec::new() },
        ..old(number)
    }));
    let (_, manager) = manager(&store);
    set(&manager, "logs", &[("prefix", "log/".into()), ("max_age", Value::Int(1))], Action::Archive);
    set(&manager, "rest", &[("max_age", Value::Int(1))], Action::Delete);
    let (begun, plan) = manager.begin(None).unwrap();
    assert_eq!((plan.totals.archived, plan.totals.deleted), (3, 3));
    let row = manager.do_step(begun.sweep, 100).unwrap();
    assert_eq!((row.archived, row.deleted), (3, 3));
    assert!(store.lock().artifacts.values().filter(|one| one.archived).count() == 3);
    assert_eq!(manager.do_abort(begun.sweep).unwrap().state, Phase::Aborted);
    assert!(store.lock().artifacts.values().all(|one| !one.archived));
    assert!(store.lock().trash.is_empty());
}

#[test]
fn what_changed_since_the_plan_stays() {
    let (host, manager, store) = {
        let store = FakeStore::new((1..=6).map(old));
        let (host, manager) = manager(&store);
        (host, manager, store)
    };
    set(
        &manager,
        "all",
        &[("max_age", Value::Int(1)), ("keep_tagged", Value::List(vec!["gold".into()]))],
        Action::Delete,
    );
    manager.begin(None).unwrap();
    {
        let mut contents = store.lock();
        let mut change = |number, change: fn(&mut Artifact)| {
            change(contents.artifacts.get_mut(&Id([number; 32])).unwrap());
        };
        change(1, |one| one.referenced = true);
        change(2, |one| one.tags.push("gold".into()));
        change(3, |one| one.last_access = NOW + 1);
        change(4, |one| one.mark = Some(1.0));
        contents.artifacts.remove(&Id([5; 32]));
    }
    host.advance(60.0);
    let row = manager.do_step(1, 100).unwrap();
    assert_eq!((row.state, row.deleted, row.kept), (Phase::Stepped, 1, 5));
    assert_eq!(store.lock().trash.iter().copied().collect::<Vec<_>>(), [Id([6; 32])]);
    let reasons =
        manager.ledger(|ledger| ledger.history.iter().map(|item| item.reason.clone()).collect::<Vec<_>>());
    let wanted = [
        "a rule keeps it now",
        "a rule keeps it now",
        "used since the plan",
        "a rule keeps it now",
        "gone since the plan",
        "older than 1 seconds",
    ];
    assert_eq!(reasons, wanted);
}

#[test]
fn a_policy_that_comes_during_a_sweep_is_obeyed() {
    let store = FakeStore::new((1..=2).map(old));
    let (_, manager) = manager(&store);
    manager.begin(None).unwrap();
    set(&manager, "keep all", &[], Action::Delete);
    assert_eq!(manager.do_step(1, 10).unwrap().kept, 2);
    assert!(store.lock().trash.is_empty());
}

#[test]
fn a_step_that_fails_can_be_repeated() {
    let store = FakeStore::new((1..=2).map(old));
    let (_, manager) = manager(&store);
    manager.begin(None).unwrap();
    store.lock().broken = true;
    assert_eq!(manager.do_step(1, 10).unwrap_err().message, "broken on purpose");
    store.lock().broken = false;
    let row = manager.do_step(1, 10).unwrap();
    assert_eq!((row.state, row.deleted), (Phase::Stepped, 2));
}

#[test]
fn a_killed_sweep_is_found_and_its_trash_restored() {
    let store = FakeStore::new((1..=4).map(old));
    let (host, before) = manager(&store);
    before.begin(None).unwrap();
    before.do_step(1, 2).unwrap();
    store.lock().broken = true; // killed while the store is asked: the record is there, the answer is not
    before.do_step(1, 1).unwrap_err();
    store.lock().broken = false;
    store.lock().trash.insert(Id([3; 32]));
    let (_, after) = manager(&store);
    host.replay_into(&after).unwrap();
    after.start().unwrap();
    assert_eq!(pending(&after), Some(Phase::Interrupted));
    assert_eq!(after.do_step(1, 1).unwrap_err().kind, ErrorKind::Conflict);
    store.lock().artifacts.remove(&Id([1; 32])); // someone deleted it for good: no reason to keep the others
    after.do_abort(1).unwrap();
    assert!(!store.lock().trash.contains(&Id([2; 32])));
    assert!(!store.lock().trash.contains(&Id([3; 32])));
    assert_eq!(pending(&after), None);
}

#[test]
fn policies_weights_and_history_outlive_a_restart_by_records_and_by_snapshot() {
    let store = FakeStore::new((1..=4).map(old));
    let (host, before) = manager(&store);
    let mut random = Random(5);
    for number in 0..20 {
        before.put_policy(random.policy(&format!("p{number}"))).unwrap();
    }
    before.drop_policy("p3").unwrap();
    assert_eq!(before.drop_policy("p3").unwrap_err().kind, ErrorKind::NotFound);
    for number in 0..20 {
        let _ = before.drop_policy(&format!("p{number}"));
    }
    set(&before, "half", &[("max_total_size", Value::Int(15))], Action::Delete);
    before.weigh(Weights { recency: 3.0, high_value: 0.9, ..Weights::default() }).unwrap();
    before.begin(None).unwrap();
    before.do_step(1, 3).unwrap();
    before.do_commit(1).unwrap();
    before.begin(None).unwrap();
    let (_, replayed) = manager(&store);
    host.replay_into(&replayed).unwrap();
    let (_, restored) = manager(&store);
    restored.restore(&replayed.snapshot().unwrap().unwrap()).unwrap();
    for after in [&replayed, &restored] {
        assert_eq!(after.snapshot(), before.snapshot());
        assert_eq!(after.policy_rows(), before.policy_rows());
        assert_eq!(
            after.ledger(|ledger| ledger.history.clone()),
            before.ledger(|ledger| ledger.history.clone())
        );
        assert_eq!(
            after.ledger(|ledger| ledger.sweeps.clone()),
            before.ledger(|ledger| ledger.sweeps.clone())
        );
    }
}

#[test]
fn damaged_records_are_errors_not_panics() {
    let store = FakeStore::new((1..=4).map(old));
    let (host, before) = manager(&store);
    set(&before, "half", &[("max_age", Value::Int(15))], Action::Archive);
    before.begin(None).unwrap();
    before.do_step(1, 3).unwrap();
    before.do_commit(1).unwrap();
    for recorded in host.records() {
        for cut in 0..recorded.payload.len() {
            let (_, after) = manager(&store);
            let payload = &recorded.payload[..cut];
            let record = Record { position: 0, time: 0, kind: recorded.kind, revision: 1, payload };
            assert!(after.replay(&record).is_err(), "kind {} cut at {cut}", recorded.kind);
        }
    }
    let snapshot = before.snapshot().unwrap().unwrap();
    for cut in 0..snapshot.len() {
        assert!(before.restore(&snapshot[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn without_a_policy_only_old_unnamed_unreferenced_contents_go() {
    let store = FakeStore::new([
        old(1),
        Artifact { names: vec!["report".into()], ..old(2) },
        Artifact { referenced: true, ..old(3) },
        Artifact { created: NOW - 29 * DAY, last_access: NOW - 29 * DAY, ..old(4) },
        Artifact { mark: Some(1.0), ..old(5) },
    ]);
    let (_, manager) = manager(&store);
    let plan = manager.make_plan(None).unwrap();
    let deleted: Vec<Id> =
        plan.decided.iter().filter(|one| one.decision == Decision::Delete).map(|one| one.id).collect();
    assert_eq!(deleted, [Id([1; 32])]);
    let later = manager.make_plan(Some(NOW + 2 * DAY)).unwrap();
    assert_eq!(later.totals.deleted, 2);
    assert!(manager.policy_rows()[0].built_in);
}

#[test]
fn an_inventory_of_many_pages_is_planned_and_swept() {
    let mut random = Random(11);
    let store = FakeStore::new((0..25_000).map(|number| random.artifact(number)));
    let (_, manager) = manager(&store);
    set(&manager, "all", &[("max_age", Value::Int(10 * 86_400))], Action::Delete);
    let (begun, plan) = manager.begin(None).unwrap();
    assert_eq!(plan.totals.total, 25_000);
    assert!(begun.total > 10_000);
    let mut row = begun;
    while row.done < row.total {
        row = manager.do_step(row.sweep, 4_000).unwrap();
    }
    assert_eq!((row.state, row.deleted, row.kept), (Phase::Stepped, row.total, 0));
    assert_eq!(manager.ledger(|ledger| ledger.history.len()), 10_000);
    assert_eq!(manager.do_commit(1).unwrap().0, row.total);
}
