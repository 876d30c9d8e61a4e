#![allow(clippy::float_cmp)] // small whole numbers

use std::collections::BTreeMap;

use symphony_pit::Value;
use symphony_pit::record::{Reader, Writer};

use super::*;

/// A step that needs others: `-` before a key makes the edge soft, `?` optional.
fn step(key: &str, needs: &[&str], priority: i64) -> Value {
    let edge = |need: &&str| {
        let kind = if need.starts_with('-') { "soft" } else { "optional" };
        match need.strip_prefix(['-', '?']) {
            Some(key) => Value::List(vec![key.into(), kind.into()]),
            None => (*need).into(),
        }
    };
    let needs = Value::List(needs.iter().map(edge).collect());
    Value::map([("key", key.into()), ("dependencies", needs), ("priority", Value::Int(priority))])
}

fn add(graph: &mut Graph, steps: &[(&str, &[&str])]) {
    let steps = steps.iter().map(|(key, needs)| step(key, needs, 0)).collect();
    add_values(graph, steps);
}

fn add_values(graph: &mut Graph, steps: Vec<Value>) {
    let mut plan = Plan::default();
    Value::List(steps).with_ref(|steps| graph.plan_many(steps, &mut plan)).unwrap();
    for payload in plan.payloads() {
        graph.apply(payload).unwrap();
    }
}

fn graph(steps: &[(&str, &[&str])]) -> Graph {
    let mut graph = Graph::default();
    add(&mut graph, steps);
    graph
}

fn happen(graph: &mut Graph, events: &[(&str, StepEvent)]) {
    for (key, event) in events {
        let number = graph.known(key).unwrap();
        graph.check(number, *event).unwrap();
        graph.happen(number, *event, 0);
    }
}

fn ready(graph: &Graph) -> Vec<String> {
    let ready = graph.ready(usize::MAX, 0);
    ready.into_iter().map(|number| graph.key(number).to_owned()).collect()
}

fn states(graph: &Graph) -> Vec<String> {
    graph.states().map(|(key, state)| format!("{key} {}", state.name())).collect()
}

fn messages(graph: &Graph) -> Vec<String> {
    graph.validate().iter().map(Invalid::message).collect()
}

impl Graph {
    /// What is counted as things happen is what a count of all gives.
    pub(crate) fn check_counters(&self, place: &str) {
        let mut counts = [0; StepState::ALL.len()];
        for number in &self.added {
            let node = self.node(*number);
            counts[node.state as usize] += 1;
            if node.state == StepState::Pending {
                let (unmet, end) = self.outlook(*number);
                let key = self.key(*number);
                assert_eq!((node.unmet, end), (unmet, None), "{place}: what {key} waits for");
                assert!(unmet > 0, "{place}: {key} waits for nothing");
            }
        }
        assert_eq!(self.counts(), counts, "{place}");
    }
}

use StepEvent::{Cancel, Complete, Fail, Reset, Skip, Start};

#[test]
fn a_cycle_is_told_with_its_path_and_with_everything_else_that_is_wrong() {
    let mut graph = graph(&[
        ("a", &["c"]),
        ("b", &["a"]),
        ("c", &["b", "nowhere"]),
        ("own", &["own"]),
        ("x", &["?not there"]),
        ("y", &["-missing"]),
    ]);
    assert_eq!(
        messages(&graph),
        [
            "step c needs nowhere, which is not there",
            "step y needs missing, which is not there",
            "cycle: a needs c needs b needs a",
            "cycle: own needs own",
        ]
    );
    assert_eq!(graph.order().unwrap_err(), graph.validate());
    add(&mut graph, &[("x", &["y"])]);
    assert_eq!(messages(&graph)[0], "step x was added twice, with different terms");
    assert_eq!(messages(&graph).len(), 5);
}

#[test]
fn two_cycles_that_share_a_step_tell_at_least_one_and_separate_ones_each() {
    let graph = graph(&[
        ("a", &["b", "c"]),
        ("b", &["a"]),
        ("c", &["a"]),
        ("d", &["e"]),
        ("e", &["d"]),
        ("free", &["a"]),
    ]);
    assert_eq!(messages(&graph), ["cycle: a needs b needs a", "cycle: d needs e needs d"]);
}

#[test]
fn a_single_step_that_would_close_a_cycle_is_refused_and_leaves_nothing_behind() {
    let mut graph = graph(&[("a", &["b"]), ("b", &["c"])]);
    let needs = Value::List(vec!["a".into(), "new".into()]);
    let refused = needs.with_ref(|needs| {
        let step = Step { key: "c", dependencies: Some(needs), name: "", priority: 0, policy: None };
        graph.plan_one(&step, &mut Plan::default())
    });
    assert!(refused.unwrap_err().message.ends_with("step c would close a cycle: c needs a needs b needs c"));
    graph.undo();
    assert_eq!((graph.len(), graph.keys.find("new"), messages(&graph).len()), (2, None, 1));
    add(&mut graph, &[("new", &[]), ("c", &["new"])]);
    assert_eq!(messages(&graph), [""; 0]);
}

#[test]
fn the_order_has_every_step_behind_its_dependencies_also_where_they_come_later() {
    let graph = graph(&[("d", &["b", "c"]), ("c", &["a"]), ("b", &["a"]), ("a", &[]), ("e", &[])]);
    let order: Vec<&str> = graph.order().unwrap().into_iter().map(|number| graph.key(number)).collect();
    let place = |key: &str| order.iter().position(|known| *known == key).unwrap();
    assert_eq!(order.len(), 5);
    assert!(place("a") < place("b") && place("a") < place("c"));
    assert!(place("b") < place("d") && place("c") < place("d"));
}

#[test]
fn ready_is_by_priority_then_by_order_of_adding() {
    let mut graph = Graph::default();
    let steps = [("low", -5), ("one", 0), ("two", 0), ("high", 1000)].map(|(key, prio)| step(key, &[], prio));
    add_values(&mut graph, steps.to_vec());
    assert_eq!(ready(&graph), ["high", "one", "two", "low"]);
    assert_eq!(graph.ready(1, 0).len(), 1);
    happen(&mut graph, &[("high", Start), ("one", Start)]);
    let number = graph.known("one").unwrap();
    graph.retry(number, 500);
    assert_eq!(ready(&graph), ["two", "low"]);
    assert_eq!(graph.ready(9, 499).len(), 2);
    assert_eq!(graph.ready(1, 500), [number], "back in its place when its backoff is over");
    assert_eq!(graph.ready(9, 499).len(), 2, "to look changes nothing");
}

#[test]
fn hard_edges_pass_an_end_on_and_the_others_go_on() {
    let steps: &[(&str, &[&str])] = &[
        ("a", &[]),
        ("hard", &["a"]),
        ("far", &["hard"]),
        ("soft", &["-a"]),
        ("optional", &["?a", "?never"]),
        ("behind", &["-hard"]),
    ];
    for (event, end, passed) in
        [(Fail, "failed", "skipped"), (Cancel, "cancelled", "cancelled"), (Skip, "skipped", "queued")]
    {
        let mut graph = graph(steps);
        assert_eq!(ready(&graph), ["a"]);
        happen(&mut graph, &[("a", Start), ("a", event)]);
        let rest = if event == Skip { "pending" } else { passed };
        let last = if event == Skip { "pending" } else { "queued" };
        assert_eq!(
            states(&graph),
            [
                format!("a {end}"),
                format!("hard {passed}"),
                format!("far {rest}"),
                "soft queued".to_owned(),
                "optional queued".to_owned(),
                format!("behind {last}"),
            ]
        );
    }
}

#[test]
fn a_step_waits_for_all_and_for_an_optional_one_that_comes_later() {
    let mut graph = graph(&[("late", &["?o", "a", "b"]), ("a", &[]), ("b", &[]), ("free", &["?o"])]);
    assert_eq!(ready(&graph), ["a", "b", "free"]);
    add(&mut graph, &[("o", &[])]);
    assert_eq!(ready(&graph), ["a", "b", "o"], "free waits from now on");
    happen(&mut graph, &[("a", Start), ("a", Complete), ("b", Start), ("b", Complete)]);
    assert_eq!(ready(&graph), ["o"]);
    happen(&mut graph, &[("o", Start), ("o", Fail)]);
    assert_eq!(ready(&graph), ["late", "free"]);
}

#[test]
fn a_step_added_behind_what_has_ended_is_what_it_would_have_become() {
    let mut graph = graph(&[("good", &[]), ("bad", &[])]);
    happen(&mut graph, &[("good", Start), ("good", Complete), ("bad", Start), ("bad", Fail)]);
    add(&mut graph, &[("a", &["good"]), ("b", &["bad"]), ("c", &["-bad"]), ("d", &["b"])]);
    assert_eq!(states(&graph)[2..], ["a queued", "b skipped", "c queued", "d skipped"]);
}

#[test]
fn a_retried_step_is_waited_for_again_by_those_who_ended_with_it_or_wait() {
    let mut graph =
        graph(&[("a", &[]), ("b", &[]), ("hard", &["a"]), ("far", &["hard", "-b"]), ("both", &["-a", "b"])]);
    happen(&mut graph, &[("b", Start), ("a", Start), ("a", Fail)]);
    assert_eq!(states(&graph)[2..], ["hard skipped", "far skipped", "both pending"]);
    happen(&mut graph, &[("a", Reset)]);
    assert_eq!(states(&graph), ["a queued", "b running", "hard pending", "far pending", "both pending"]);
    happen(&mut graph, &[("a", Start), ("a", Complete)]);
    assert_eq!(states(&graph)[2..], ["hard queued", "far pending", "both pending"], "b has not ended");
    happen(&mut graph, &[("b", Complete), ("hard", Start), ("hard", Complete)]);
    assert_eq!(states(&graph)[3..], ["far queued", "both queued"]);
}

#[test]
fn a_step_whose_other_dependency_failed_too_stays_skipped_until_both_are_retried() {
    let mut graph = graph(&[("a", &[]), ("b", &[]), ("join", &["a", "b"])]);
    happen(&mut graph, &[("a", Start), ("a", Fail), ("b", Start), ("b", Fail), ("a", Reset)]);
    assert_eq!(states(&graph), ["a queued", "b failed", "join skipped"]);
    happen(&mut graph, &[("b", Reset)]);
    assert_eq!(states(&graph), ["a queued", "b queued", "join pending"]);
}

#[test]
fn a_graph_unfolds_as_the_code_starts_steps() {
    let mut graph = Graph::default();
    graph.unfold("b", "named", &["a"], 1).unwrap();
    assert_eq!(messages(&graph), ["step b needs a, which is not there"]);
    graph.unfold("a", "", &[], 2).unwrap();
    assert_eq!(messages(&graph), [""; 0]);
    assert_eq!((graph.len(), graph.edge_count(), graph.name(graph.known("b").unwrap())), (2, 1, "named"));
    add(&mut graph, &[("planned", &["a", "b"])]);
    happen(&mut graph, &[("a", Complete), ("a", Complete), ("b", Complete)]);
    assert_eq!(ready(&graph), ["planned"]);
}

#[test]
fn an_unfolded_step_that_ends_once_more_is_what_was_said_last() {
    let mut graph = Graph::default();
    graph.unfold("a", "", &[], 1).unwrap();
    happen(&mut graph, &[("a", Fail), ("a", Complete)]);
    add(&mut graph, &[("next", &["a"])]);
    assert_eq!(states(&graph), ["a completed", "next queued"]);
}

#[test]
fn a_result_that_was_lost_is_waited_for_again() {
    let mut graph = Graph::default();
    graph.unfold("a", "", &[], 1).unwrap();
    add(&mut graph, &[("b", &[]), ("both", &["a", "b"])]);
    happen(&mut graph, &[("a", Complete), ("a", Start), ("b", Start), ("b", Complete)]);
    assert_eq!(states(&graph)[2], "both pending");
    happen(&mut graph, &[("a", Complete)]);
    assert_eq!(states(&graph)[2], "both queued");
}

#[test]
fn an_unfolded_step_that_is_to_be_repeated_is_waited_for_once() {
    let mut graph = Graph::default();
    graph.unfold("a", "", &[], 1).unwrap();
    add(&mut graph, &[("b", &[]), ("both", &["a", "b"])]);
    happen(&mut graph, &[("a", Complete)]);
    let a = graph.known("a").unwrap();
    graph.retry(a, 0);
    happen(&mut graph, &[("a", Start), ("a", Complete)]);
    assert_eq!(states(&graph)[1..], ["b queued", "both pending"]);
}

#[test]
fn who_still_waits_takes_the_last_word_of_an_unfolded_step_too() {
    let mut graph = Graph::default();
    graph.unfold("a", "", &[], 1).unwrap();
    add(&mut graph, &[("b", &[]), ("both", &["a", "b"]), ("first", &["a"])]);
    happen(&mut graph, &[("a", Complete), ("a", Fail)]);
    assert_eq!(states(&graph)[1..], ["b queued", "both skipped", "first queued"]);
}

/// a(2) → b(3) → d(1), a → c(5) → d, e(4) alone.
fn diamond() -> (Graph, BTreeMap<String, f64>) {
    let graph = graph(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"]), ("e", &[])]);
    let seconds = [("a", 2.0), ("b", 3.0), ("c", 5.0), ("d", 1.0), ("e", 4.0)];
    (graph, seconds.map(|(key, seconds)| (key.to_owned(), seconds)).into())
}

#[test]
fn longest_way_ranks_and_remaining_time_of_a_diamond() {
    let (mut graph, known) = diamond();
    let weights = Weights { known: &known, otherwise: 1.0 };
    let ranks: Vec<f64> = graph.ranks(&weights).unwrap().into_iter().map(|(_, rank)| rank).collect();
    assert_eq!(ranks, [8.0, 4.0, 6.0, 1.0, 4.0]);
    let (way, seconds) = graph.critical_path(&weights).unwrap();
    let way: Vec<&str> = way.into_iter().map(|number| graph.key(number)).collect();
    assert_eq!((way, seconds), (vec!["a", "c", "d"], 8.0));
    let left = |graph: &Graph, slots, now| graph.remaining(&weights, slots, now).unwrap();
    assert_eq!([0, 1, 2].map(|slots| left(&graph, slots, 0)), [8.0, 15.0, 8.0]);
    let a = graph.known("a").unwrap();
    graph.happen(a, Start, 1_000_000);
    assert_eq!([0, 1].map(|slots| left(&graph, slots, 2_500_000)), [6.5, 13.5]);
    assert_eq!(left(&graph, 0, 60_000_000), 6.0, "a step that takes longer than ever is as good as done");
    assert_eq!(graph.happen(a, Complete, 4_000_000), Some(1_000_000));
    assert_eq!(left(&graph, 0, 4_000_000), 6.0);
    happen(&mut graph, &[("c", Start), ("c", Fail), ("e", Skip)]);
    assert_eq!(left(&graph, 0, 4_000_000), 3.0, "d ended with c");
}

#[test]
fn of_equal_ways_the_one_added_first_is_told() {
    let (graph, _) = diamond();
    let (known, otherwise) = (BTreeMap::new(), 1.0);
    let (way, _) = graph.critical_path(&Weights { known: &known, otherwise }).unwrap();
    assert_eq!(way.into_iter().map(|number| graph.key(number)).collect::<Vec<_>>(), ["a", "b", "d"]);
    let (way, seconds) = Graph::default().critical_path(&Weights { known: &known, otherwise }).unwrap();
    assert_eq!((way.len(), seconds), (0, 0.0));
}

#[test]
fn a_saved_graph_goes_on_as_the_one_it_was_saved_from() {
    let (mut whole, _) = diamond();
    add(&mut whole, &[("late", &["?f", "-e"]), ("cut", &["nowhere"])]);
    happen(&mut whole, &[("a", Start), ("e", Start), ("e", Fail)]);
    let a = whole.known("a").unwrap();
    whole.retry(a, 700);
    let bytes = whole.save(Writer::default()).finish();
    let mut loaded = Graph::load(&mut Reader::new(&bytes)).unwrap();
    assert_eq!(loaded.save(Writer::default()).finish(), bytes);
    for graph in [&mut whole, &mut loaded] {
        add(graph, &[("f", &[]), ("nowhere", &["f"])]);
        happen(graph, &[("f", Start), ("f", Complete)]);
    }
    assert_eq!(states(&loaded), states(&whole));
    assert_eq!(loaded.ready(9, 700), whole.ready(9, 700));
    for cut in 0..bytes.len() {
        assert!(Graph::load(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
    }
}

#[test]
fn ten_thousand_steps_and_fifty_thousand_edges_are_ordinary() {
    let key = |number: usize| format!("step-{number}");
    let steps = (0..10_000).map(|number: usize| {
        let needs =
            (1..=5).filter_map(|back| number.checked_sub(back * 7)).map(|place| Value::from(place as u64));
        Value::List(vec![key(number).as_str().into(), Value::List(needs.collect())])
    });
    let mut graph = Graph::default();
    add_values(&mut graph, steps.collect());
    assert_eq!((graph.len(), graph.edge_count()), (10_000, 50_000 - 7 * (1 + 2 + 3 + 4 + 5)));
    assert_eq!(messages(&graph), [""; 0]);
    let mut done = 0;
    loop {
        let batch = graph.ready(usize::MAX, 0);
        if batch.is_empty() {
            break;
        }
        done += batch.len();
        for number in batch {
            graph.happen(number, Start, 0);
            graph.happen(number, Complete, 1);
        }
    }
    assert_eq!(done, 10_000);
}
