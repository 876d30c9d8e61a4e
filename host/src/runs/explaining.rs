//! Why each step of a run started when it did, as far as the records tell, and what those that have not ended wait for now.

use std::collections::HashMap;

use serde_json::{Value, json};
use symphony_dag_tracker::table::{RunRow, StepRow, StepState};

use super::documents::{seconds, status, workflow};
use crate::clock;

/// What no record tells, in its own words.
const NOT_RECORDED: [&str; 2] = [
    "when the workflow asked for a step: it may have come to it after the dependencies were done",
    "how much of a wait was for a limit, a model or a resource",
];

/// What a live run waits for now; the records do not have it.
#[derive(Default)]
pub struct Waits {
    /// Why nothing of the run goes on, which is then the reason for each of its steps.
    held: Option<String>,
    /// Why the run as a whole does not go on, though an interpreter works on it.
    because: Option<String>,
    /// In the order in which the workflow made them.
    steps: Vec<Wait>,
    index: HashMap<String, usize>,
}

/// A step that waits.
struct Wait {
    row: StepRow,
    because: String,
    /// When it was ready, in µs, where the interpreter has seen that.
    since: Option<i64>,
}

impl Waits {
    pub fn held(reason: String) -> Self {
        Self { held: Some(reason), ..Self::default() }
    }

    /// From what the interpreter answers.
    pub fn read(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let steps = answer["steps"].as_array().into_iter().flatten().filter_map(|step| {
            let dependencies = step["dependencies"].as_array()?.iter().filter_map(text).collect();
            Some(Wait {
                row: waiting(text(&step["key"])?, text(&step["name"])?, dependencies),
                because: text(&step["because"])?,
                since: step["since"].as_i64(),
            })
        });
        let steps: Vec<Wait> = steps.collect();
        let index = steps.iter().enumerate().map(|(at, wait)| (wait.row.key.clone(), at)).collect();
        Self { held: None, because: text(&answer["because"]), steps, index }
    }

    fn of(&self, step: &StepRow) -> Option<&Wait> {
        self.index.get(&step.key).map(|at| &self.steps[*at])
    }
}

/// As the records show a step that has not started.
fn waiting(key: String, name: String, dependencies: Vec<String>) -> StepRow {
    StepRow {
        key,
        name,
        state: StepState::Queued,
        attempts: 0,
        started: None,
        finished: None,
        dependencies,
        failures: Vec::new(),
    }
}

pub(super) fn explain(row: &RunRow, driven: bool, waits: &Waits) -> Value {
    let recorded = row.steps.iter().map(|step| explain_step(row, step, waits));
    let further = waits.steps.iter().filter(|wait| row.get(&wait.row.key).is_none());
    let steps = recorded.chain(further.map(|wait| explain_step(row, &wait.row, waits)));
    json!({"run": row.run, "workflow": workflow(row), "status": status(row, driven),
           "because": waits.held.as_ref().or(waits.because.as_ref()), "steps": steps.collect::<Vec<_>>(),
           "not_recorded": NOT_RECORDED})
}

fn explain_step(row: &RunRow, step: &StepRow, waits: &Waits) -> Value {
    let dependencies: Vec<_> = step
        .dependencies
        .iter()
        .map(|key| (key.as_str(), row.get(key).and_then(|step| step.finished)))
        .collect();
    let open = matches!(step.state, StepState::Queued | StepState::Running) && row.finished.is_none();
    let wait = waits.of(step).filter(|_| open);
    let ready = match dependencies.iter().map(|(_, finished)| *finished).collect::<Option<Vec<i64>>>() {
        Some(times) => {
            wait.and_then(|wait| wait.since).or_else(|| times.into_iter().max().or(Some(row.accepted)))
        }
        None => None, // not all are done
    };
    let until = wait.map(|_| clock::now()).or(step.started);
    let waited = ready.zip(until).map(|(ready, until)| seconds(ready, until));
    let iso = |time: Option<i64>| time.map(clock::iso);
    let now = waits.held.as_ref().filter(|_| open).or_else(|| wait.map(|wait| &wait.because));
    json!({
        "key": step.key, "name": step.name, "state": step.state.name(), "attempts": step.attempts,
        "dependencies": dependencies.iter().map(|(key, finished)| json!({"key": key, "finished": iso(*finished)}))
            .collect::<Vec<_>>(),
        "ready": iso(ready), "started": iso(step.started), "finished": iso(step.finished), "waited": waited,
        "because": now.cloned().unwrap_or_else(|| because(step, &dependencies)),
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
            Some(failure) if failure.retry_at > clock::now() => {
                let time = clock::iso(failure.retry_at);
                format!("attempt {} failed, it is tried again at {time}", failure.attempt)
            }
            Some(failure) => format!("attempt {} failed, it is tried again", failure.attempt),
            None => "it is tried again".to_owned(),
        },
        (Some(_), _) => match last {
            Some((key, Some(_))) => format!("{key} was the last of its dependencies to be done"),
            _ => "it depends on no step: the workflow came to it".to_owned(),
        },
    }
}
