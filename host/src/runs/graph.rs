//! A run as a graph, and why each of its steps started when it did, as far as the records tell.

use serde_json::{Value, json};
use symphony_dag_tracker::table::{RunRow, StepRow, StepState};

use super::documents::{seconds, status, step_document, workflow};
use crate::clock;

/// What `explain` cannot tell, in its own words.
const NOT_RECORDED: [&str; 2] = [
    "when the workflow asked for a step: it may have come to it after the dependencies were done",
    "how much of a wait was for a limit, a model or a resource",
];

pub(super) fn graph(row: &RunRow, driven: bool) -> Value {
    let nodes: Vec<Value> = row.steps.iter().map(|step| step_document(step, driven)).collect();
    let edges = row.steps.iter().flat_map(|step| {
        step.dependencies.iter().map(|dependency| json!({"from": dependency, "to": step.key}))
    });
    json!({"run": row.run, "workflow": workflow(row), "status": status(row, driven), "nodes": nodes,
           "edges": edges.collect::<Vec<_>>()})
}

pub(super) fn explain(row: &RunRow, driven: bool) -> Value {
    let steps: Vec<Value> = row.steps.iter().map(|step| explain_step(row, step)).collect();
    json!({"run": row.run, "workflow": workflow(row), "status": status(row, driven), "steps": steps,
           "not_recorded": NOT_RECORDED})
}

fn explain_step(row: &RunRow, step: &StepRow) -> Value {
    let dependencies: Vec<_> = step
        .dependencies
        .iter()
        .map(|key| (key.as_str(), row.get(key).and_then(|step| step.finished)))
        .collect();
    let ready = match dependencies.iter().map(|(_, finished)| *finished).collect::<Option<Vec<i64>>>() {
        Some(times) => times.into_iter().max().or(Some(row.accepted)),
        None => None, // not all are done
    };
    let waited = ready.zip(step.started).map(|(ready, started)| seconds(ready, started));
    let iso = |time: Option<i64>| time.map(clock::iso);
    json!({
        "key": step.key, "name": step.name, "state": step.state.name(), "attempts": step.attempts,
        "dependencies": dependencies.iter().map(|(key, finished)| json!({"key": key, "finished": iso(*finished)}))
            .collect::<Vec<_>>(),
        "ready": iso(ready), "started": iso(step.started), "finished": iso(step.finished), "waited": waited,
        "because": because(step, &dependencies),
        "failures": step.failures.iter().map(|failure| json!({
            "attempt": failure.attempt, "time": clock::iso(failure.time), "message": failure.message,
            "retry_at": (failure.retry_at > 0).then(|| clock::iso(failure.retry_at)),
        })).collect::<Vec<_>>(),
    })
}

/// Why it started when it did, or has not.
fn because(step: &StepRow, dependencies: &[(&str, Option<i64>)]) -> String {
    let last = dependencies.iter().max_by_key(|(_, finished)| *finished);
    let open: Vec<&str> =
        dependencies.iter().filter(|(_, finished)| finished.is_none()).map(|(key, _)| *key).collect();
    match (step.started, step.state) {
        (None, StepState::Completed) => "it was not executed: its result was in the cache".to_owned(),
        (None, StepState::Skipped | StepState::Cancelled) => format!("it was {}", step.state.name()),
        (None, _) if !open.is_empty() => format!("it waits for {}", open.join(", ")),
        (None, _) => "it has not started".to_owned(),
        (Some(_), StepState::Queued) => match step.failures.last() {
            Some(failure) => format!("attempt {} failed, it is tried again", failure.attempt),
            None => "it is tried again".to_owned(),
        },
        (Some(_), _) => match last {
            Some((key, Some(_))) => format!("{key} was the last of its dependencies to be done"),
            _ => "it depends on no step: the workflow came to it".to_owned(),
        },
    }
}
