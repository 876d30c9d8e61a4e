//! A run as it goes into the history.

use serde_json::{Value, json};
use symphony_dag_tracker::table::{FailedAttempt, RunRow, StepRow};
use symphony_pit_journal::Covered;

use crate::runs::Report;

/// A run, whole or with the steps that changed; each step with its place among the run's.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Without steps.
    pub row: RunRow,
    /// Executed, reused, failed, skipped.
    pub counts: [i64; 4],
    pub steps: Vec<(usize, StepRow)>,
}

/// What is written in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    pub entries: Vec<Entry>,
    /// Live runs that the log does not know any more.
    pub gone: Vec<String>,
    /// The last record that all this comes from, once the history is complete up to it.
    pub covered: Option<Covered>,
}

/// The columns of a run that people search by.
pub(super) struct Columns {
    pub workflow: String,
    pub id: String,
    pub plugin: String,
    pub status: &'static str,
    pub counts: [i64; 4],
    /// Type, message, step.
    pub error: [Option<String>; 3],
    pub artifact: Option<String>,
}

impl Columns {
    pub fn of(entry: &Entry) -> Self {
        let row = &entry.row;
        let info: Value = serde_json::from_slice(&row.info).unwrap_or(Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let report = Report::of(row);
        let error = report.error();
        let optional = |name: &str| error[name].as_str().map(str::to_owned);
        Self {
            workflow: text(&info["workflow"]),
            id: text(&info["id"]),
            plugin: text(&info["plugin"]["name"]),
            status: row.finished.map_or("running", |(status, _)| status.name()),
            counts: report.counts().unwrap_or(entry.counts),
            error: ["type", "message", "step"].map(optional),
            artifact: report.artifact().map(str::to_owned),
        }
    }
}

/// The keys as people read them.
pub(super) fn dependencies(step: &StepRow) -> String {
    json!(step.dependencies).to_string()
}

/// Each attempt that was repeated, as a list: attempt, time, message, when the next one might start.
pub(super) fn failures_text(step: &StepRow) -> String {
    let rows = step.failures.iter();
    rows.map(|failed| json!([failed.attempt, failed.time, failed.message, failed.retry_at]))
        .collect::<Value>()
        .to_string()
}

/// As `failures_text` wrote them.
pub(super) fn failures(text: &str) -> Vec<FailedAttempt> {
    let rows: Vec<(u32, i64, String, i64)> = serde_json::from_str(text).unwrap_or_default();
    let read = |(attempt, time, message, retry_at)| FailedAttempt { attempt, time, message, retry_at };
    rows.into_iter().map(read).collect()
}
