//! What the history has yet to get of the runs in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use symphony_dag_tracker::records::{Event, Finished};
use symphony_dag_tracker::table::{RunRow, RunTable};
use symphony_pit_journal::{Covered, RecordView};

use super::documents::counted;
use crate::history::{Batch, Entry};

/// Changes are collected for so long: a run that ends meanwhile is written once.
const INTERVAL: Duration = Duration::from_millis(500);
/// Runs of one batch.
const MOST: usize = 2_000;
/// How far the log may go on without a change of a run before the history is told of it.
const STRIDE: u64 = 4 << 20;

/// Steps to write, by their place in the run.
enum Changed {
    Some(BTreeSet<usize>),
    All,
}

#[derive(Default)]
pub(super) struct Keeping {
    changed: BTreeMap<String, Changed>,
    gone: Vec<String>,
    /// The last record that was read.
    read: Option<Covered>,
    /// Up to where the history is complete.
    complete: u64,
    /// Where the records of each run in memory begin.
    begins: BTreeMap<String, u64>,
    /// Position that the history was told of last.
    told: u64,
    /// A batch was given, and no news of it came.
    given: bool,
    /// Runs that have ended and are written; they stay in the table until the history is complete up to their end.
    written: Vec<String>,
    last: Option<Instant>,
}

impl Keeping {
    /// The history is complete up to `covered`.
    pub fn from(covered: Option<Covered>) -> Self {
        let position = covered.map_or(0, |covered| covered.position);
        Self { told: position, complete: position, ..Self::default() }
    }

    /// The log does not know these live runs of the history any more.
    pub fn forget(&mut self, gone: Vec<String>) {
        self.gone = gone;
    }

    #[cfg(test)]
    pub const fn is_under_way(&self) -> bool {
        self.given
    }

    pub fn read(&mut self, record: &RecordView<'_>) {
        self.read = Some(Covered { position: record.position, checksum: record.checksum });
    }

    /// The event, at this position, is in the history.
    pub fn recall(&mut self, row: &RunRow, event: &Event<'_>, position: u64) {
        if matches!(event, Event::RunAccepted { .. }) {
            self.begins.entry(row.run.clone()).or_insert(position);
        }
    }

    /// The event, at this position, changed the run to what `row` shows.
    pub fn note(&mut self, row: &RunRow, event: &Event<'_>, position: u64) {
        if let Event::Commanded { event, .. } = event {
            return self.note(row, event, position);
        }
        self.recall(row, event, position);
        let empty = || Changed::Some(BTreeSet::new());
        let steps = match event {
            Event::StepStarted { key, .. }
            | Event::AttemptFailed { key, .. }
            | Event::StepFinished { key, .. }
            | Event::StepControlled { key, .. } => vec![*key],
            Event::StepsFinished { steps } => steps.iter().map(|Finished { key, .. }| *key).collect(),
            Event::RunFinished { .. } => {
                self.changed.insert(row.run.clone(), Changed::All); // its end is that of its steps
                return;
            }
            _ => Vec::new(),
        };
        if let Changed::Some(places) = self.changed.entry(row.run.clone()).or_insert_with(empty) {
            places.extend(steps.into_iter().filter_map(|key| row.place(key)));
        }
    }

    /// What is to be written now, if anything. `at_once`: though it is early.
    pub fn batch(&mut self, table: &RunTable, at_once: bool) -> Option<Batch> {
        let position = self.read.map_or(0, |read| read.position);
        let due = at_once || self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        let news = !self.changed.is_empty() || !self.gone.is_empty() || position >= self.told + STRIDE;
        if self.given || !due || !news {
            return None;
        }
        let mut entries = Vec::new();
        while entries.len() < MOST
            && let Some((run, changed)) = self.changed.pop_first()
        {
            entries.extend(table.get(&run).map(|row| entry(row, &changed)));
        }
        let whole = self.changed.is_empty();
        if whole {
            self.last = Some(Instant::now()); // what did not fit goes without a pause
            self.told = position;
        }
        self.given = true;
        Some(Batch { entries, gone: std::mem::take(&mut self.gone), covered: self.read.filter(|_| whole) })
    }

    /// The batch is written: what has ended may leave the table, once nothing before its end is missing in the history.
    pub fn taken(&mut self, finished: Vec<String>, complete: Option<Covered>, table: &mut RunTable) {
        self.given = false;
        self.written.extend(finished);
        if let Some(covered) = complete {
            self.complete = covered.position;
            for run in self.written.drain(..) {
                table.remove(&run);
                self.begins.remove(&run);
            }
        }
    }

    /// Position of the last record up to which the history is complete.
    pub const fn complete(&self) -> u64 {
        self.complete
    }

    /// Before this position the log has nothing that is not in the history, and nothing of a run in memory.
    pub fn retirable(&self) -> u64 {
        self.begins.values().copied().min().unwrap_or(u64::MAX).min(self.complete)
    }
}

fn entry(row: &RunRow, changed: &Changed) -> Entry {
    let steps = row.steps.iter().enumerate();
    let steps = match changed {
        Changed::All => steps.map(|(place, step)| (place, step.clone())).collect(),
        Changed::Some(places) => {
            places.iter().filter_map(|place| Some((*place, row.steps.get(*place)?.clone()))).collect()
        }
    };
    let mut head = RunRow::accepted(&row.run, &row.info, row.accepted);
    head.finished = row.finished;
    head.payload.clone_from(&row.payload);
    Entry { row: head, counts: counted(row), steps }
}
