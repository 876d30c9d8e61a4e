//! The runs as the log tells them, for showing: folded record by record, never written back.

use std::collections::BTreeMap;

use crate::records::{Event, Finished, Outcome, RunStatus, StepControl};
pub use crate::states::StepState;

/// An attempt that failed and is repeated. Times in µs since the epoch.
#[derive(Clone, Debug)]
pub struct FailedAttempt {
    pub attempt: u32,
    pub time: i64,
    pub message: String,
    pub retry_at: i64,
}

/// One step of a run. Times in µs since the epoch.
#[derive(Clone, Debug)]
pub struct StepRow {
    pub key: String,
    pub name: String,
    pub state: StepState,
    pub attempts: u32,
    pub started: Option<i64>,
    pub finished: Option<i64>,
    pub dependencies: Vec<String>,
    pub failures: Vec<FailedAttempt>,
}

/// One run. `steps` are in the order in which they were first seen.
#[derive(Clone, Debug)]
pub struct RunRow {
    pub run: String,
    /// The JSON object recorded with the run.
    pub info: Vec<u8>,
    pub accepted: i64,
    pub finished: Option<(RunStatus, i64)>,
    /// Payload of the end record: empty while the run lives.
    pub payload: Vec<u8>,
    pub steps: Vec<StepRow>,
    index: BTreeMap<String, usize>,
}

impl RunRow {
    /// A live run without steps.
    pub fn accepted(run: &str, info: &[u8], accepted: i64) -> Self {
        Self {
            run: run.to_owned(),
            info: info.to_vec(),
            accepted,
            finished: None,
            payload: Vec::new(),
            steps: Vec::new(),
            index: BTreeMap::new(),
        }
    }

    /// The same run with these steps.
    #[must_use]
    pub fn with_steps(mut self, steps: Vec<StepRow>) -> Self {
        self.index = steps.iter().enumerate().map(|(at, step)| (step.key.clone(), at)).collect();
        self.steps = steps;
        self
    }

    /// Where a step stands in `steps`.
    pub fn place(&self, key: &str) -> Option<usize> {
        self.index.get(key).copied()
    }

    fn step(&mut self, key: &str, name: &str) -> &mut StepRow {
        let next = self.steps.len();
        let at = *self.index.entry(key.to_owned()).or_insert(next);
        if at == next {
            self.steps.push(StepRow {
                key: key.to_owned(),
                name: name.to_owned(),
                state: StepState::Queued,
                attempts: 0,
                started: None,
                finished: None,
                dependencies: Vec::new(),
                failures: Vec::new(),
            });
        }
        &mut self.steps[at]
    }

    /// The step with this key.
    pub fn get(&self, key: &str) -> Option<&StepRow> {
        self.index.get(key).map(|at| &self.steps[*at])
    }

    fn finish(&mut self, key: &str, name: &str, outcome: Outcome, time: i64) {
        let step = self.step(key, name);
        step.finished = Some(time);
        step.state = outcome.state();
    }

    /// Nothing of a run goes on beyond its end: what had no outcome by then was given up.
    fn end(&mut self, status: RunStatus, time: i64, payload: &[u8]) {
        self.finished = Some((status, time));
        self.payload = payload.to_vec();
        for step in self.steps.iter_mut().filter(|step| !step.state.is_final()) {
            step.state = StepState::Cancelled;
            step.finished = Some(time);
        }
    }

    /// The step that the run's failure names, though it has no outcome of its own: it ended the interpreter too often.
    fn blame(&mut self, key: &str) {
        let Some((RunStatus::Failed, end)) = self.finished else { return };
        let given_up = |step: &&mut StepRow| {
            step.key == key && step.state == StepState::Cancelled && step.finished == Some(end)
        };
        if let Some(step) = self.steps.iter_mut().find(given_up) {
            step.state = StepState::Failed;
        }
    }
}

/// All runs of a log, by id; ids are ordered by time.
#[derive(Default, Debug)]
pub struct RunTable {
    runs: BTreeMap<String, RunRow>,
}

impl RunTable {
    /// Fold one record in; a record of an unknown run is ignored.
    pub fn apply(&mut self, run: &str, event: &Event<'_>, time: i64) {
        if let Event::RunAccepted { info, .. } = event {
            self.runs.entry(run.to_owned()).or_insert_with(|| RunRow::accepted(run, info, time));
            return;
        }
        let Some(row) = self.runs.get_mut(run) else {
            return;
        };
        match event {
            Event::StepStarted { key, name, attempt, dependencies } => {
                let step = row.step(key, name);
                step.state = StepState::Running;
                step.attempts = (*attempt).max(step.attempts);
                step.started.get_or_insert(time);
                step.dependencies = dependencies.iter().map(|key| (*key).to_owned()).collect();
            }
            Event::AttemptFailed { key, attempt, error, retry_at } => {
                let step = row.step(key, "");
                step.state = StepState::Queued;
                let (attempt, message, retry_at) = (*attempt, (*error).to_owned(), *retry_at);
                step.failures.push(FailedAttempt { attempt, time, message, retry_at });
            }
            Event::StepFinished { key, name, outcome, .. } => row.finish(key, name, *outcome, time),
            Event::StepsFinished { steps } => {
                for Finished { key, name, outcome, .. } in steps {
                    row.finish(key, name, *outcome, time);
                }
            }
            Event::StepControlled { key, control } => {
                let step = row.step(key, "");
                step.state = match control {
                    StepControl::Retry => StepState::Queued,
                    StepControl::Skip => StepState::Skipped,
                    StepControl::Cancel => StepState::Cancelled,
                };
                step.finished = (*control != StepControl::Retry).then_some(time);
            }
            Event::RunFinished { status, payload } => row.end(*status, time, payload),
            // Steps of a static graph have a row from their start on.
            Event::RunAccepted { .. }
            | Event::TimerFired { .. }
            | Event::Command { .. }
            | Event::StepsAdded { .. }
            | Event::RunControlled { .. }
            | Event::InputProvided { .. }
            | Event::RunsForgotten { .. } => {}
        }
    }

    /// The failure of a finished run names this step.
    pub fn blame(&mut self, run: &str, key: &str) {
        if let Some(row) = self.runs.get_mut(run) {
            row.blame(key);
        }
    }

    /// Let go of a run; further records of it are ignored.
    pub fn remove(&mut self, run: &str) {
        self.runs.remove(run);
    }

    pub fn get(&self, run: &str) -> Option<&RunRow> {
        self.runs.get(run)
    }

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &RunRow> {
        self.runs.values()
    }

    /// The runs whose id begins with `prefix`, to resolve what a user typed.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = &RunRow> {
        self.runs
            .range(prefix.to_owned()..)
            .map(|(_, row)| row)
            .take_while(move |row| row.run.starts_with(prefix))
    }

    pub fn live(&self) -> usize {
        self.runs.values().filter(|row| row.finished.is_none()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_folded_from_its_events() {
        let mut table = RunTable::default();
        table.apply("a1", &Event::RunAccepted { info: b"{}", inputs: b"" }, 10);
        table.apply("a1", &Event::StepStarted { key: "k", name: "n", attempt: 1, dependencies: vec![] }, 20);
        table.apply("a1", &Event::AttemptFailed { key: "k", attempt: 1, error: "e", retry_at: 25 }, 24);
        table.apply("a1", &Event::StepStarted { key: "k", name: "n", attempt: 2, dependencies: vec![] }, 25);
        assert_eq!(table.live(), 1);
        let done = Event::StepFinished {
            key: "k",
            name: "n",
            fingerprint: b"",
            outcome: Outcome::Completed,
            payload: b"",
        };
        table.apply("a1", &done, 30);
        table.apply("a1", &Event::RunFinished { status: RunStatus::Completed, payload: b"={}" }, 31);
        table.apply("unknown", &Event::TimerFired { key: "x" }, 32);
        let row =
            table.with_prefix("a").next().map(|row| (row.steps.len(), row.steps[0].clone(), row.finished));
        let Some((1, step, Some((RunStatus::Completed, 31)))) = row else { panic!("{row:?}") };
        assert_eq!(
            (step.state, step.attempts, step.started, step.finished),
            (StepState::Completed, 2, Some(20), Some(30))
        );
        let failure = step.failures.first().map(|it| (it.attempt, it.time, it.message.as_str(), it.retry_at));
        assert_eq!(failure, Some((1, 24, "e", 25)));
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn no_step_outlives_its_run() {
        let mut table = RunTable::default();
        table.apply("a", &Event::RunAccepted { info: b"{}", inputs: b"" }, 10);
        for (key, time) in [("blamed", 20), ("beside", 21), ("waits", 22)] {
            table.apply("a", &Event::StepStarted { key, name: "n", attempt: 1, dependencies: vec![] }, time);
        }
        table.apply("a", &Event::AttemptFailed { key: "waits", attempt: 1, error: "e", retry_at: 99 }, 23);
        table.blame("a", "beside"); // not before the end
        table.apply("a", &Event::RunFinished { status: RunStatus::Failed, payload: b"={}" }, 30);
        table.blame("a", "blamed");
        let steps: Vec<_> = table.get("a").unwrap().steps.iter().map(|s| (s.state, s.finished)).collect();
        assert_eq!(
            steps,
            [
                (StepState::Failed, Some(30)),
                (StepState::Cancelled, Some(30)),
                (StepState::Cancelled, Some(30))
            ]
        );
        table.remove("a");
        table.apply("a", &Event::TimerFired { key: "late" }, 31);
        assert_eq!(table.iter().count(), 0);
    }
}
