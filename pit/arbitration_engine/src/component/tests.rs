#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small whole numbers"
)]

use symphony_pit::ErrorKind;
use symphony_pit::testing::TestHost;

use super::*;

mod fairness;
mod waits;

fn engine() -> (TestHost, Arc<ArbitrationEngine>) {
    let host = TestHost::new(std::path::Path::new(""));
    (host, Arc::new(ArbitrationEngine::create(host.host()).unwrap()))
}

fn cpu(capacity: f64) -> (TestHost, Arc<ArbitrationEngine>) {
    let (host, engine) = engine();
    engine.define("cpu", capacity, "cpu", "priority", 0).unwrap();
    (host, engine)
}

fn get<'a>(row: &'a Value, wanted: &str) -> &'a Value {
    let Value::Map(pairs) = row else { panic!("{row:?} is no map") };
    &pairs.iter().find(|(key, _)| *key == Value::from(wanted)).unwrap().1
}

fn text<'a>(row: &'a Value, wanted: &str) -> &'a str {
    let Value::Str(text) = get(row, wanted) else { panic!("{wanted} of {row:?} is no text") };
    text
}

fn number(row: &Value, wanted: &str) -> f64 {
    match get(row, wanted) {
        Value::Float(number) => *number,
        Value::Int(number) => *number as f64,
        Value::UInt(number) => *number as f64,
        other => panic!("{wanted} is {other:?}"),
    }
}

fn texts(rows: &[Value], wanted: &str) -> Vec<String> {
    rows.iter().map(|row| text(row, wanted).to_owned()).collect()
}

fn ask(engine: &ArbitrationEngine, resource: &str, owner: &str, amount: f64, priority: i64) -> Value {
    engine.request(resource, owner, amount, Priority(priority), "", None).unwrap()
}

/// A ticket that waits or is granted.
fn ticket(answer: &Value) -> u64 {
    let Value::UInt(ticket) = get(answer, "ticket") else { panic!("denied: {}", text(answer, "reason")) };
    *ticket
}

fn state(engine: &ArbitrationEngine, ticket: u64) -> String {
    text(&engine.status(ticket).unwrap(), "state").to_owned()
}

/// Serve a queue to its end, one after the other, each held for a second: the order of the owners.
fn served(host: &TestHost, engine: &ArbitrationEngine, mut held: u64) -> Vec<String> {
    let mut owners = Vec::new();
    loop {
        let next = engine.queue("cpu").unwrap();
        host.advance(1.0);
        engine.release(held, None).unwrap();
        let Some(first) = next.first() else { return owners };
        held = ticket(first);
        assert_eq!(state(engine, held), "granted", "the first of the queue is next");
        owners.push(text(first, "owner").to_owned());
    }
}

#[test]
fn what_is_free_is_granted_and_the_rest_waits_its_turn() {
    let (host, engine) = cpu(4.0);
    let first = ask(&engine, "cpu", "a", 3.0, 0);
    assert_eq!((text(&first, "decision"), text(&first, "reason")), ("granted", "enough is free"));
    let second = ask(&engine, "cpu", "b", 2.0, 0);
    assert_eq!((text(&second, "decision"), text(&second, "reason")), ("deferred", "not enough is free"));
    assert_eq!(get(&second, "wait_estimate"), &Value::None, "nothing was given back yet");
    let third = ask(&engine, "cpu", "c", 1.0, 0);
    assert_eq!((text(&third, "decision"), text(&third, "reason")), ("deferred", "others come first"));
    host.advance(2.0);
    engine.release(ticket(&first), None).unwrap();
    assert_eq!(
        (state(&engine, ticket(&second)), state(&engine, ticket(&third))),
        ("granted".into(), "granted".into())
    );
    assert_eq!(number(&engine.resources().unwrap()[0], "held_average"), 2.0);
    let fourth = ask(&engine, "cpu", "d", 4.0, 0);
    assert_eq!(number(&fourth, "wait_estimate"), 1.5, "3 of 4 are missing, and 2 s are the average");
    let stats = engine.stats().unwrap();
    let shown = ["granted", "deferred", "denied", "held", "waiting", "resources", "decisions"]
        .map(|name| stats[name]);
    assert_eq!(shown, [3, 3, 0, 2, 1, 1, 6]);
}

#[test]
fn what_cannot_be_is_denied_with_the_reason() {
    let (_, engine) = cpu(4.0);
    let answer = ask(&engine, "cpu", "a", 5.0, 0);
    assert_eq!(
        (text(&answer, "decision"), text(&answer, "reason")),
        ("denied", "more than there is: 5 of 4")
    );
    assert_eq!(get(&answer, "ticket"), &Value::None);
    let refused = |resource: &str, owner: &str, amount| {
        engine.request(resource, owner, amount, Priority(0), "", None).unwrap_err().kind
    };
    assert_eq!(refused("gpu", "a", 1.0), ErrorKind::NotFound);
    for (owner, amount) in [("", 1.0), ("a", 0.0), ("a", -1.0), ("a", f64::NAN), ("a", f64::INFINITY)] {
        assert_eq!(refused("cpu", owner, amount), ErrorKind::InvalidArgument, "{owner} {amount}");
    }
    for (name, capacity, kind, strategy) in [
        ("", 1.0, "cpu", "priority"),
        ("x", 0.0, "cpu", "priority"),
        ("x", f64::NAN, "cpu", "priority"),
        ("x", 1.0, "disk", "priority"),
        ("x", 1.0, "cpu", "luck"),
    ] {
        let kind = engine.define(name, capacity, kind, strategy, 0).unwrap_err().kind;
        assert_eq!(kind, ErrorKind::InvalidArgument);
    }
    assert_eq!(
        engine.set_policy("cpu", "priority", -1.0, 0, 1.0).unwrap_err().kind,
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        engine.set_policy("cpu", "priority", 1.0, 0, 0.0).unwrap_err().kind,
        ErrorKind::InvalidArgument
    );
    assert_eq!(engine.set_share("a", 0.0).unwrap_err().kind, ErrorKind::InvalidArgument);
}

#[test]
fn a_ticket_lives_by_its_state_machine() {
    type Event = fn(&ArbitrationEngine, u64) -> Result<()>;
    let events: [(&str, Event); 2] = [
        ("release", |engine, ticket| engine.release(ticket, None)),
        ("cancel", |engine, ticket| engine.cancel(ticket)),
    ];
    let table = [
        ("waiting", "release", None),
        ("waiting", "cancel", Some("cancelled")),
        ("granted", "release", Some("released")),
        ("granted", "cancel", None),
        ("released", "release", None),
        ("released", "cancel", None),
        ("cancelled", "release", None),
        ("cancelled", "cancel", None),
        ("denied", "release", None),
        ("denied", "cancel", None),
        ("expired", "release", None),
        ("expired", "cancel", None),
    ];
    for (from, event, to) in table {
        let (host, engine) = cpu(2.0);
        let held = ticket(&ask(&engine, "cpu", "a", 2.0, 0));
        let waits = ticket(&engine.request("cpu", "b", 2.0, Priority(0), "", Some(9.0)).unwrap());
        let it = match from {
            "granted" => held,
            "released" => {
                engine.release(held, None).unwrap();
                held
            }
            "cancelled" => {
                engine.cancel(waits).unwrap();
                waits
            }
            "denied" => {
                engine.define("cpu", 1.0, "cpu", "priority", 0).unwrap();
                waits
            }
            "expired" => {
                host.advance(9.0);
                waits
            }
            _ => waits,
        };
        assert_eq!(state(&engine, it), from);
        let action = events.iter().find(|(name, _)| *name == event).unwrap().1;
        let result = action(&engine, it);
        match to {
            Some(_) => result.unwrap(),
            None => assert_eq!(result.unwrap_err().kind, ErrorKind::Conflict, "{from} {event}"),
        }
        assert_eq!(state(&engine, it), to.unwrap_or(from), "{from} {event}");
    }
    let (_, engine) = cpu(1.0);
    assert_eq!(engine.release(7, None).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(engine.status(0).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn higher_priorities_come_first_and_one_who_comes_first_is_not_held_up_by_one_who_does_not_fit() {
    let (host, engine) = cpu(2.0);
    let held = ticket(&ask(&engine, "cpu", "x", 1.0, 0));
    for (owner, priority) in [("low", -100), ("normal", 0), ("back", -1000), ("high", 100), ("odd", 5)] {
        assert_eq!(text(&ask(&engine, "cpu", owner, 2.0, priority), "decision"), "deferred");
    }
    let critical = ask(&engine, "cpu", "critical", 1.0, 1000);
    assert_eq!(text(&critical, "decision"), "granted", "it fits, and it is first");
    engine.release(ticket(&critical), None).unwrap();
    assert_eq!(served(&host, &engine, held), ["high", "odd", "normal", "low", "back"]);
}

#[test]
fn ageing_lets_background_overtake_in_bounded_time() {
    for (priority, rate, wait) in [(0, 1.0, 1000.0), (1000, 1.0, 2000.0), (0, 10.0, 100.0)] {
        let (host, engine) = cpu(1.0);
        engine.set_policy("cpu", "priority", rate, 0, 1.0).unwrap();
        let mut held = ticket(&ask(&engine, "cpu", "x", 1.0, 0));
        let background = ticket(&ask(&engine, "cpu", "patient", 1.0, -1000));
        let mut waited = 0.0;
        while state(&engine, background) == "waiting" {
            let next = ticket(&ask(&engine, "cpu", &format!("pushy {waited}"), 1.0, priority));
            host.advance(1.0);
            waited += 1.0;
            engine.release(held, None).unwrap();
            held = next;
            assert!(waited < 5000.0, "starved");
        }
        assert_eq!(
            waited,
            wait + 1.0,
            "the first turn at which the pushy one's priority is no longer higher"
        );
    }
}

#[test]
fn without_ageing_priority_is_all() {
    let (host, engine) = cpu(1.0);
    engine.set_policy("cpu", "priority", 0.0, 0, 1.0).unwrap();
    let held = ticket(&ask(&engine, "cpu", "x", 1.0, 0));
    ask(&engine, "cpu", "patient", 1.0, -1000);
    host.advance(1e6);
    ask(&engine, "cpu", "pushy", 1.0, 0);
    assert_eq!(served(&host, &engine, held), ["pushy", "patient"]);
}

#[test]
fn cost_is_consumed_and_the_budget_ends() {
    let (_, engine) = engine();
    engine.define("euro", 10.0, "cost", "priority", 0).unwrap();
    let first = ticket(&ask(&engine, "euro", "a", 6.0, 0));
    let second = ask(&engine, "euro", "b", 5.0, 0);
    assert_eq!(text(&second, "decision"), "deferred", "a may use less than it was granted");
    engine.release(first, Some(4.0)).unwrap();
    assert_eq!(state(&engine, ticket(&second)), "granted");
    let third = ticket(&ask(&engine, "euro", "c", 6.0, 0));
    assert_eq!(state(&engine, third), "waiting");
    assert_eq!(engine.release(ticket(&second), Some(-1.0)).unwrap_err().kind, ErrorKind::InvalidArgument);
    engine.release(ticket(&second), None).unwrap();
    assert_eq!(state(&engine, third), "denied", "only 1 is left for ever");
    let reason = text(&engine.status(third).unwrap(), "reason").to_owned();
    assert_eq!(reason, "the budget is used up: 9 of 10 spent, 6 asked for");
    assert_eq!(text(&ask(&engine, "euro", "d", 2.0, 0), "decision"), "denied");
    engine.reset_budget("euro").unwrap();
    assert_eq!(text(&ask(&engine, "euro", "d", 10.0, 0), "decision"), "granted");
    engine.define("cpu", 1.0, "cpu", "priority", 0).unwrap();
    let cpu = ticket(&ask(&engine, "cpu", "a", 1.0, 0));
    assert_eq!(engine.release(cpu, Some(1.0)).unwrap_err().kind, ErrorKind::InvalidArgument);
}

#[test]
fn a_model_without_a_capacity_has_as_many_as_the_pool_has_instances() {
    let (host, engine) = engine();
    let models = |instances: u32| {
        let row = Value::map([("name", Value::from("llm")), ("instances", Value::from(instances))]);
        move |_: &[Value]| Ok(Value::List(vec![row.clone()]))
    };
    host.on_call("symphony.pool_manager", "models", models(2));
    engine.define("llm", 0.0, "model", "priority", 0).unwrap();
    engine.define("other", 0.0, "model", "priority", 0).unwrap();
    for decision in ["granted", "granted", "deferred"] {
        assert_eq!(text(&ask(&engine, "llm", "a", 1.0, 0), "decision"), decision);
    }
    let error = engine.request("other", "a", 1.0, Priority(0), "", None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let conflicts = engine.conflicts().unwrap();
    assert_eq!(texts(&conflicts, "conflict"), ["model contention"]);
    assert_eq!((number(&conflicts[0], "demand"), number(&conflicts[0], "capacity")), (3.0, 2.0));
    host.on_call("symphony.pool_manager", "models", models(3));
    assert_eq!(engine.conflicts().unwrap(), [], "the third one was served");
}

#[test]
fn conflicts_are_named_by_the_kind_of_the_resource() {
    let (_, engine) = engine();
    for kind in ["model", "memory", "cpu", "cost"] {
        engine.define(kind, 2.0, kind, "priority", 0).unwrap();
        ask(&engine, kind, "a", 2.0, 0);
    }
    assert_eq!(engine.conflicts().unwrap(), []);
    for kind in ["model", "memory", "cpu", "cost"] {
        ask(&engine, kind, "b", 1.0, 0);
    }
    let conflicts = engine.conflicts().unwrap();
    let names = ["cost limit", "CPU saturation", "memory pressure", "model contention"];
    assert_eq!(texts(&conflicts, "conflict"), names, "in the order of the resources' names");
    assert_eq!(get(&conflicts[0], "holders"), &Value::List(vec![Value::from("a")]));
    assert_eq!(get(&conflicts[0], "waiters"), &Value::List(vec![Value::from("b")]));
}

#[test]
fn a_wait_that_is_too_long_is_denied_or_expires() {
    let (host, engine) = cpu(1.0);
    let first = ticket(&ask(&engine, "cpu", "a", 1.0, 0));
    let unknown = engine.request("cpu", "b", 1.0, Priority(0), "", Some(5.0)).unwrap();
    assert_eq!(text(&unknown, "decision"), "deferred", "nothing is known yet");
    let never = engine.request("cpu", "b", 1.0, Priority(0), "", Some(0.0)).unwrap();
    assert_eq!(text(&never, "decision"), "denied");
    host.advance(10.0);
    assert_eq!(state(&engine, ticket(&unknown)), "expired");
    engine.release(first, None).unwrap();
    ask(&engine, "cpu", "a", 1.0, 0);
    let slow = engine.request("cpu", "b", 1.0, Priority(0), "", Some(5.0)).unwrap();
    assert_eq!(text(&slow, "decision"), "denied");
    assert!(text(&slow, "reason").contains("10.000 s, and 5 s are wanted"), "{slow:?}");
    assert_eq!(engine.stats().unwrap()["expired"], 1);
    assert_eq!(texts(&engine.audit("cpu", "b", "expired", 9, 0).unwrap(), "reason"), ["it waited too long"]);
}

#[test]
fn every_decision_is_audited_with_its_reason() {
    let (_, engine) = cpu(1.0);
    let first = ticket(&ask(&engine, "cpu", "a", 1.0, 0));
    let second = ticket(&ask(&engine, "cpu", "b", 1.0, 100));
    ask(&engine, "cpu", "b", 2.0, 0);
    engine.release(first, None).unwrap();
    let rows = engine.audit("", "", "", 100, 0).unwrap();
    let wanted = [
        "granted: its turn came",
        "denied: more than there is: 2 of 1",
        "deferred: not enough is free",
        "granted: enough is free",
    ];
    let shown: Vec<_> =
        rows.iter().map(|row| format!("{}: {}", text(row, "decision"), text(row, "reason"))).collect();
    assert_eq!(shown, wanted);
    assert_eq!(rows.iter().map(|row| number(row, "number")).collect::<Vec<_>>(), [4.0, 3.0, 2.0, 1.0]);
    assert_eq!(get(&rows[0], "ticket"), &Value::UInt(second));
    assert_eq!(engine.audit("", "b", "", 100, 0).unwrap().len(), 3);
    assert_eq!(engine.audit("", "", "granted", 100, 1).unwrap().len(), 1);
    assert_eq!(engine.audit("", "", "", 2, 0).unwrap().len(), 2);
    assert_eq!(engine.audit("gpu", "", "", 100, 0).unwrap(), []);
    assert_eq!(engine.audit("", "", "lost", 100, 0).unwrap_err().kind, ErrorKind::InvalidArgument);
    for _ in 0..10_000 {
        ask(&engine, "cpu", "c", 2.0, 0);
    }
    assert_eq!(engine.audit("", "", "", 20_000, 0).unwrap().len(), 10_000);
}

#[test]
fn everything_of_an_owner_is_given_back_at_once() {
    let (_, engine) = cpu(2.0);
    ask(&engine, "cpu", "a", 1.0, 0);
    ask(&engine, "cpu", "a", 1.0, 0);
    let other = ticket(&ask(&engine, "cpu", "b", 2.0, 0));
    ask(&engine, "cpu", "a", 1.0, 0);
    assert_eq!(engine.undefine("cpu").unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(engine.define("cpu", 2.0, "memory", "priority", 0).unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(engine.release_all("a").unwrap(), 3);
    assert_eq!(state(&engine, other), "granted");
    assert_eq!(engine.release_all("b").unwrap(), 1);
    engine.undefine("cpu").unwrap();
    assert_eq!(engine.resources().unwrap(), []);
}

#[test]
fn definitions_weights_cost_and_audit_last_and_tickets_do_not() {
    let (host, engine) = cpu(2.0);
    engine.define("gone", 1.0, "cpu", "priority", 0).unwrap();
    engine.undefine("gone").unwrap();
    engine.define("euro", 9.0, "cost", "weighted_random", 7).unwrap();
    engine.set_policy("cpu", "collaborative", 2.5, 3, 0.5).unwrap();
    engine.set_share("a", 3.0).unwrap();
    engine.set_share("b", 2.0).unwrap();
    engine.set_share("b", 1.0).unwrap();
    let euro = ticket(&ask(&engine, "euro", "a", 2.0, 0));
    engine.release(euro, Some(1.5)).unwrap();
    ask(&engine, "cpu", "a", 2.0, 0);
    ask(&engine, "cpu", "b", 3.0, -5);
    ask(&engine, "cpu", "b", 2.0, 5);
    let shown = |engine: &ArbitrationEngine| {
        let state = engine.engine.lock();
        let terms: Vec<_> =
            state.resources.values().map(|one| (one.name.clone(), one.terms, one.consumed)).collect();
        (terms, state.weights.clone(), state.audit.rows.clone(), state.audit.tally, state.audit.last)
    };
    let replayed = ArbitrationEngine::create(host.host()).unwrap();
    host.replay_into(&replayed).unwrap();
    let restored = ArbitrationEngine::create(host.host()).unwrap();
    restored.restore(&replayed.snapshot().unwrap().unwrap()).unwrap();
    for other in [&replayed, &restored] {
        assert_eq!(shown(other), shown(&engine));
        assert_eq!((other.stats().unwrap()["held"], other.stats().unwrap()["waiting"]), (0, 0));
        assert_eq!(other.snapshot().unwrap(), engine.snapshot().unwrap());
    }
    assert_eq!(engine.shares().unwrap(), BTreeMap::from([("a".to_owned(), 3.0)]));
    assert_eq!(shown(&engine).0[1].2, 1.5);
    let next = ticket(&ask(&restored, "cpu", "c", 1.0, 0));
    assert_eq!(next, shown(&engine).4 + 1, "numbers are never given twice");
}

#[test]
fn a_record_of_a_newer_version_is_refused() {
    let (_, engine) = engine();
    let record = Record { position: 0, time: 0, kind: 99, revision: 3, payload: &[] };
    assert_eq!(engine.replay(&record).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn on_a_full_disk_requests_fail_and_what_is_given_back_is_served_still() {
    let (host, engine) = cpu(1.0);
    let first = ticket(&ask(&engine, "cpu", "a", 1.0, 0));
    let second = ticket(&ask(&engine, "cpu", "b", 1.0, 0));
    host.set_full(true);
    let error = engine.request("cpu", "c", 1.0, Priority(0), "", None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert_eq!(engine.queue("cpu").unwrap().len(), 1, "c left no trace");
    assert_eq!(engine.define("cpu", 2.0, "cpu", "priority", 0).unwrap_err().kind, ErrorKind::Io);
    engine.release(first, None).unwrap();
    assert_eq!(state(&engine, second), "granted");
    host.set_full(false);
    engine.release(second, None).unwrap();
    assert_eq!(text(&ask(&engine, "cpu", "c", 1.0, 0), "decision"), "granted");
}
