//! The shapes in which clients and scripts see runs.

use serde_json::{Value, json};
use symphony_dag_tracker::table::{RunRow, RunTable, StepRow, StepState};

use crate::clock;
use crate::failure::{Failure, Result};
use crate::json::{Fields, Json, Object};

/// Ids shown where one was not enough, or was not found.
const CANDIDATES: usize = 5;
/// First byte of an end record's payload: the document itself, or the id of the artifact that holds it.
const INLINE: u8 = b'=';

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<String>,
    pub workflow: Option<String>,
    /// Accepted at this time or later, µs.
    pub since: Option<i64>,
}

impl Filter {
    pub fn from_fields(fields: &Fields) -> Result<Self> {
        const STATUSES: [&str; 7] =
            ["pending", "running", "paused", "waiting", "completed", "failed", "cancelled"];
        let status = fields.optional_str("status")?;
        if let Some(status) = status.as_deref().filter(|status| !STATUSES.contains(status)) {
            return Err(Failure::invalid(format!("there is no status {status:?}"))
                .hint(format!("one of {}", STATUSES.join(", "))));
        }
        let since = fields.optional_str("since")?.map(|text| {
            clock::parse(&text).ok_or_else(|| {
                Failure::invalid(format!("since: {text:?} is no time"))
                    .hint("a date (2026-01-31), a time (2026-01-31T12:00:00Z) or an age (30m, 2h, 7d)")
            })
        });
        Ok(Self { status, workflow: fields.optional_str("workflow")?, since: since.transpose()? })
    }

    fn takes(&self, row: &RunRow, info: &Value, driven: bool) -> bool {
        self.status.as_deref().is_none_or(|wanted| wanted == status(row, driven))
            && self.workflow.as_ref().is_none_or(|workflow| is_named(info, workflow))
            && self.since.is_none_or(|since| row.accepted >= since)
    }
}

fn is_named(info: &Value, workflow: &str) -> bool {
    info["workflow"] == workflow || info["id"] == workflow
}

/// Whether it is a run of the workflow with this name or id.
pub(super) fn is_of(row: &RunRow, workflow: &str) -> bool {
    is_named(&info(row), workflow)
}

fn info(row: &RunRow) -> Value {
    serde_json::from_slice(&row.info).unwrap_or(Value::Null)
}

pub(super) fn workflow(row: &RunRow) -> String {
    info(row)["workflow"].as_str().unwrap_or_default().to_owned()
}

/// An unfinished run that no interpreter works on is pending, unless it waits for a person anyway.
pub(super) fn status(row: &RunRow, driven: bool) -> &'static str {
    match row.finished {
        Some((status, _)) => status.name(),
        None if row.paused => "paused",
        None if !row.questions.is_empty() => "waiting",
        None if driven => "running",
        None => "pending",
    }
}

#[expect(clippy::cast_precision_loss, reason = "differences of times, far below 2^52 µs")]
pub(super) fn seconds(from: i64, to: i64) -> f64 {
    (to - from).max(0) as f64 / 1e6
}

/// A run that nobody works on lasted until its last record.
fn duration(row: &RunRow, driven: bool) -> f64 {
    let last = || row.steps.iter().flat_map(|step| [step.started, step.finished]).flatten().max();
    let end = match row.finished {
        Some((_, time)) => time,
        None if driven => clock::now(),
        None => last().unwrap_or(row.accepted),
    };
    seconds(row.accepted, end)
}

/// The counts that the interpreter recorded at the end, or what can be counted so far.
fn steps(row: &RunRow) -> Json {
    /// A larger result is not read through for the sake of four numbers.
    const READ: usize = 64 << 10;
    match End::of(row) {
        Some(End { fields: Some(fields), .. })
            if row.payload.len() <= READ && fields.raw("steps").is_some() =>
        {
            fields.json("steps").unwrap_or_else(|| counted(row))
        }
        _ => counted(row),
    }
}

fn counted(row: &RunRow) -> Json {
    let count = |state: StepState| row.steps.iter().filter(|step| step.state == state).count();
    let failed = count(StepState::Failed);
    json!({"executed": count(StepState::Completed) + failed, "reused": 0, "failed": failed,
           "skipped": count(StepState::Skipped)})
    .into()
}

fn summary(row: &RunRow, info: &Value, driven: bool) -> Value {
    json!({
        "run": row.run,
        "workflow": info["workflow"].as_str().unwrap_or_default(),
        "status": status(row, driven),
        "started": clock::iso(row.accepted),
        "seconds": duration(row, driven),
        "steps": steps(row).value(),
    })
}

/// `driven`: whether an interpreter works on a run that is unfinished.
pub(super) fn list(table: &RunTable, filter: &Filter, driven: impl Fn(&RunRow) -> bool) -> Value {
    let shown = table.iter().rev().filter_map(|row| {
        let (info, driven) = (info(row), driven(row));
        filter.takes(row, &info, driven).then(|| summary(row, &info, driven))
    });
    Value::Array(shown.collect())
}

/// With an `error` where the run failed, or where `obstacle` says why it cannot go on.
pub(super) fn detail(row: &RunRow, driven: bool, obstacle: Option<&Failure>) -> Value {
    let driven = driven && obstacle.is_none();
    let mut document = summary(row, &info(row), driven);
    document["questions"] = questions(row);
    document["graph"] = row.steps.iter().map(|step| step_document(step, driven)).collect();
    if let Some(Failure { kind, message, .. }) = obstacle {
        document["error"] = json!({"type": kind, "message": message, "step": null, "report": null});
    } else if let Some(error) = End::of(row).and_then(|end| end.fields?.json("error")) {
        document["error"] = error.value();
    }
    document
}

/// What a person is asked. A step that was interrupted is retried or skipped, all else is answered.
fn questions(row: &RunRow) -> Value {
    let asked = row.questions.iter().map(|(key, prompt)| {
        let own = key.rsplit(':').next().unwrap_or_default();
        let (kind, name) = match own.rsplit_once('?') {
            Some((name, _)) => ("input", name),
            None => ("step", key.as_str()),
        };
        json!({"key": key, "name": name, "kind": kind, "prompt": prompt})
    });
    asked.collect()
}

/// What `run` and `runs resume` show of a run that does nothing before a person answers.
pub(super) fn waiting(row: &RunRow) -> Option<Value> {
    let idle = row.steps.iter().all(|step| step.state != StepState::Running);
    let waits = row.finished.is_none() && !row.paused && !row.questions.is_empty() && idle;
    waits.then(|| {
        let last = |step: &StepRow| step.finished.or(step.started);
        let last = row.steps.iter().filter_map(last).max().unwrap_or(row.accepted);
        json!({
            "run": row.run, "workflow": workflow(row), "status": "waiting", "result": null, "error": null,
            "steps": counted(row).value(), "seconds": seconds(row.accepted, last), "questions": questions(row),
        })
    })
}

pub(super) fn step_document(step: &StepRow, driven: bool) -> Value {
    let end = step.finished.or_else(|| driven.then(clock::now));
    let seconds = match (step.started.or(step.finished), end) {
        (Some(start), Some(end)) => json!(seconds(start, end)),
        _ => Value::Null,
    };
    json!({"key": step.key, "name": step.name, "state": step.state.name(), "attempts": step.attempts, "seconds": seconds})
}

pub(super) fn resolve(table: &RunTable, given: &str) -> Result<String> {
    let given = given.to_ascii_lowercase();
    if let Some(row) = table.get(&given) {
        return Ok(row.run.clone());
    }
    let hint = "symphony runs list";
    if given.is_empty() {
        return Err(Failure::invalid("the run's id is empty").hint(hint));
    }
    let found: Vec<&str> =
        table.with_prefix(&given).take(CANDIDATES + 1).map(|row| row.run.as_str()).collect();
    match found[..] {
        [run] => Ok(run.to_owned()),
        [] => Err(Failure::not_found(format!("there is no run {given:?}")).hint(closest(table, &given))),
        _ => {
            let more = if found.len() > CANDIDATES { ", …" } else { "" };
            let listed = found[..found.len().min(CANDIDATES)].join(", ");
            Err(Failure::invalid(format!("{given:?} is the beginning of several runs: {listed}{more}"))
                .hint(hint))
        }
    }
}

/// The runs that share the longest beginning with what was typed; the newest where all share nothing.
fn closest(table: &RunTable, given: &str) -> String {
    let shared = |run: &str| run.bytes().zip(given.bytes()).take_while(|(one, two)| one == two).count();
    let Some(best) = table.iter().rev().max_by_key(|row| (shared(&row.run), row.accepted)) else {
        return "this home has no runs yet: symphony run WORKFLOW".to_owned();
    };
    format!("the closest one is {}; symphony runs list", best.run)
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct End {
    head: [(&'static str, Value); 3],
    seconds: f64,
    counted: Json,
    /// `result`, `error` and `steps`; None where the interpreter keeps them as an artifact.
    pub fields: Option<Fields>,
}

impl End {
    pub(super) fn of(row: &RunRow) -> Option<Self> {
        let (status, time) = row.finished?;
        let fields = match row.payload.split_first() {
            Some((&INLINE, document)) => Fields::parse(document),
            None => Some(Fields::default()),
            Some(_) => None,
        };
        let head =
            [("run", json!(row.run)), ("workflow", json!(workflow(row))), ("status", json!(status.name()))];
        Some(Self { head, seconds: seconds(row.accepted, time), counted: counted(row), fields })
    }

    pub fn status(&self) -> &str {
        self.head[2].1.as_str().unwrap_or_default()
    }

    /// What `run` and `runs resume` show at the end.
    pub fn document(&self, fields: &Fields) -> Json {
        let null = || Json::from(Value::Null);
        let begun = self
            .head
            .iter()
            .fold(Object::default(), |object, (name, value)| object.field(name, value.clone()));
        begun
            .raw("result", &fields.json("result").unwrap_or_else(null))
            .raw("error", &fields.json("error").unwrap_or_else(null))
            .raw("steps", &fields.json("steps").unwrap_or_else(|| self.counted.clone()))
            .field("seconds", self.seconds)
            .finish()
    }
}
