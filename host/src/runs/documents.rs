//! The shapes in which clients and scripts see runs.

use std::collections::HashSet;

use serde_json::{Value, json};
use symphony_dag_tracker::table::{RunRow, RunTable, StepRow, StepState};

use crate::clock;
use crate::failure::{Failure, Result};
use crate::history::Kept;
use crate::json::{Fields, Json, Object};

/// First byte of an end record's payload: the document itself, or the id of the artifact that holds it.
const INLINE: u8 = b'=';
/// Runs of one answer, which has to fit into a frame; the rest is asked for with `before`.
pub const MOST: usize = 10_000;

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<String>,
    pub workflow: Option<String>,
    /// Accepted at this time or later, µs.
    pub since: Option<i64>,
    /// Runs older than this one.
    pub before: Option<String>,
    /// As `before`: when that one was accepted, and its id.
    pub older: Option<(i64, String)>,
    /// At most so many; [`MOST`] at the most.
    pub limit: Option<usize>,
}

impl Filter {
    pub fn from_fields(fields: &Fields) -> Result<Self> {
        Ok(Self {
            status: fields.optional_str("status")?,
            workflow: fields.optional_str("workflow")?,
            since: time(fields, "since")?,
            before: fields.optional_str("before")?,
            older: None,
            limit: fields.count("limit")?,
        })
    }

    /// Whether it takes a run that has ended.
    pub(super) fn takes_ended(&self) -> bool {
        self.status.as_deref().is_none_or(|status| ENDED.contains(&status))
    }

    fn takes(&self, row: &RunRow, info: &Value, driven: bool) -> bool {
        self.status.as_deref().is_none_or(|wanted| wanted == status(row, driven))
            && self.workflow.as_ref().is_none_or(|workflow| is_named(info, workflow))
            && self.since.is_none_or(|since| row.accepted >= since)
            && self.older.as_ref().is_none_or(|(time, run)| (row.accepted, &row.run) < (*time, run))
    }
}

/// How a run may have ended.
const ENDED: [&str; 3] = ["completed", "failed", "cancelled"];

fn time(fields: &Fields, name: &str) -> Result<Option<i64>> {
    let time = fields.optional_str(name)?.map(|text| {
        clock::parse(&text).ok_or_else(|| {
            Failure::invalid(format!("{name}: {text:?} is no time"))
                .hint("a date (2026-01-31), a time (2026-01-31T12:00:00Z) or an age (30m, 2h, 7d)")
        })
    });
    time.transpose()
}

/// The time (µs) that a field gives as a date, a time or an age.
pub fn required_time(fields: &Fields, name: &str) -> Result<i64> {
    time(fields, name)?.ok_or_else(|| Failure::invalid(format!("{name} is missing")))
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

/// An unfinished run that no interpreter works on is pending.
pub(super) fn status(row: &RunRow, driven: bool) -> &'static str {
    match row.finished {
        Some((status, _)) => status.name(),
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
fn steps(row: &RunRow) -> Value {
    /// A larger result is not read through for the sake of four numbers.
    const READ: usize = 64 << 10;
    let recorded = (row.payload.len() <= READ).then(|| Report::of(row).counts()).flatten();
    counts_document(recorded.unwrap_or_else(|| counted(row)))
}

/// Steps executed, reused, failed, skipped, as far as their states tell.
pub(super) fn counted(row: &RunRow) -> [i64; 4] {
    let count = |state: StepState| {
        let steps = row.steps.iter().filter(|step| step.state == state).count();
        i64::try_from(steps).unwrap_or(i64::MAX)
    };
    let failed = count(StepState::Failed);
    [count(StepState::Completed) + failed, 0, failed, count(StepState::Skipped)]
}

fn counts_document([executed, reused, failed, skipped]: [i64; 4]) -> Value {
    json!({"executed": executed, "reused": reused, "failed": failed, "skipped": skipped})
}

fn summary(row: &RunRow, info: &Value, driven: bool) -> Value {
    json!({
        "run": row.run,
        "workflow": info["workflow"].as_str().unwrap_or_default(),
        "status": status(row, driven),
        "started": clock::iso(row.accepted),
        "seconds": duration(row, driven),
        "steps": steps(row),
    })
}

/// A run as lists show it, with what they are ordered by.
pub(super) struct Listed {
    accepted: i64,
    run: String,
    document: Value,
}

impl From<Kept> for Listed {
    fn from(kept: Kept) -> Self {
        let document = json!({
            "run": kept.run,
            "workflow": kept.workflow,
            "status": kept.status,
            "started": clock::iso(kept.accepted),
            "seconds": seconds(kept.accepted, kept.finished),
            "steps": counts_document(kept.counts),
        });
        Self { accepted: kept.accepted, run: kept.run, document }
    }
}

/// `driven`: whether an interpreter works on a run that is unfinished.
pub(super) fn list(table: &RunTable, filter: &Filter, driven: impl Fn(&RunRow) -> bool) -> Vec<Listed> {
    let shown = table.iter().filter_map(|row| {
        let (info, driven) = (info(row), driven(row));
        filter.takes(row, &info, driven).then(|| Listed {
            accepted: row.accepted,
            run: row.run.clone(),
            document: summary(row, &info, driven),
        })
    });
    shown.collect()
}

/// The rows of memory and history as one list, newest first. A run in both is shown as it is in memory.
pub(super) fn merged(memory: Vec<Listed>, history: Vec<Kept>, limit: usize) -> Value {
    let known: HashSet<String> = memory.iter().map(|listed| listed.run.clone()).collect();
    let kept = history.into_iter().filter(|kept| !known.contains(&kept.run)).map(Listed::from);
    let mut rows: Vec<Listed> = memory.into_iter().chain(kept).collect();
    rows.sort_unstable_by(|one, other| (other.accepted, &other.run).cmp(&(one.accepted, &one.run)));
    rows.into_iter().take(limit).map(|listed| listed.document).collect()
}

/// With an `error` where the run failed, or where `obstacle` says why it cannot go on.
pub(super) fn detail(row: &RunRow, driven: bool, obstacle: Option<&Failure>) -> Value {
    let driven = driven && obstacle.is_none();
    let mut document = summary(row, &info(row), driven);
    document["graph"] = row.steps.iter().map(|step| step_document(step, driven)).collect();
    if let Some(Failure { kind, message, .. }) = obstacle {
        document["error"] = json!({"type": kind, "message": message, "step": null, "report": null});
    } else if let error @ Value::Object(_) = Report::of(row).error() {
        document["error"] = error;
    }
    document
}

pub(super) fn step_document(step: &StepRow, driven: bool) -> Value {
    let end = step.finished.or_else(|| driven.then(clock::now));
    let seconds = match (step.started.or(step.finished), end) {
        (Some(start), Some(end)) => json!(seconds(start, end)),
        _ => Value::Null,
    };
    json!({"key": step.key, "name": step.name, "state": step.state.name(), "attempts": step.attempts, "seconds": seconds})
}

/// What was recorded at the end of a run: `result`, `error` and `steps`.
#[derive(Clone, Debug)]
pub enum Report {
    /// The run lives.
    Missing,
    Here(Fields),
    /// In an artifact, since it is large.
    Stored(String),
}

impl Report {
    pub fn of(row: &RunRow) -> Self {
        match row.payload.split_first() {
            None => Self::Missing,
            Some((&INLINE, document)) => Self::Here(Fields::parse(document).unwrap_or_default()),
            Some((_, artifact)) => Self::Stored(String::from_utf8_lossy(artifact).into_owned()),
        }
    }

    /// Null where there is none.
    pub fn error(&self) -> Value {
        match self {
            Self::Here(fields) => fields.json("error").map_or(Value::Null, |error| error.value()),
            _ => Value::Null,
        }
    }

    /// Steps executed, reused, failed, skipped.
    pub fn counts(&self) -> Option<[i64; 4]> {
        let Self::Here(fields) = self else { return None };
        let counts = fields.json("steps")?.value();
        let count = |name: &str| counts[name].as_i64();
        Some([count("executed")?, count("reused")?, count("failed")?, count("skipped")?])
    }

    pub fn artifact(&self) -> Option<&str> {
        match self {
            Self::Stored(artifact) => Some(artifact),
            _ => None,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct End {
    head: [(&'static str, Value); 3],
    seconds: f64,
    counted: Json,
    pub report: Report,
}

impl End {
    pub(super) fn of(row: &RunRow) -> Option<Self> {
        let (status, time) = row.finished?;
        let head =
            [("run", json!(row.run)), ("workflow", json!(workflow(row))), ("status", json!(status.name()))];
        let counted = counts_document(counted(row)).into();
        Some(Self { head, seconds: seconds(row.accepted, time), counted, report: Report::of(row) })
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
