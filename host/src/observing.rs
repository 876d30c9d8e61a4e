//! What the log tells of runs and steps from a position on, for the observers of plugins.
//!
//! It reads the files of the log, as the host does: nothing that records waits for it.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use symphony_dag_tracker::ID;
use symphony_dag_tracker::records::{Event, Outcome, RunStatus, StepControl};
use symphony_pit_journal::{Reader, RecordView, Result};

/// So many wait to be taken; what comes then is counted as lost.
pub const MOST: usize = 65_536;

/// One thing that happened. Times in µs since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub hook: &'static str,
    /// Of its record in the log; the outcomes of a batch have one record.
    pub position: u64,
    pub time: i64,
    pub run: Arc<str>,
    pub workflow: Arc<str>,
    /// Of a step; empty for a run.
    pub key: String,
    pub name: String,
    pub attempt: u32,
    pub state: &'static str,
    /// When that began which ends here.
    pub since: Option<i64>,
    /// The recorded failure, of what failed.
    pub failure: Vec<u8>,
}

struct Step {
    name: String,
    attempt: u32,
    started: i64,
}

/// A run that has not ended, with its steps that have not.
struct Live {
    run: Arc<str>,
    workflow: Arc<str>,
    accepted: i64,
    steps: HashMap<String, Step>,
}

/// A place in the log, which moves on with every [`Following::take`].
pub struct Following {
    reader: Reader,
    from: u64,
    known: Known,
}

#[derive(Default)]
struct Known {
    runs: HashMap<Arc<str>, Live>,
    told: VecDeque<Happening>,
    lost: u64,
}

impl Following {
    /// Tell what is recorded at `from` and behind it in the log of the Pit at `pit`. What was before is read too: a step's
    /// record does not say of which workflow it is.
    pub fn new(pit: &Path, from: u64) -> Self {
        Self { reader: Reader::new(pit), from, known: Known::default() }
    }

    /// What happened since the last call, about so much at most, and how much was left out for lack of room. What is of one
    /// record stays together.
    pub fn take(&mut self, most: usize) -> Result<(Vec<Happening>, u64)> {
        if self.known.told.is_empty() {
            let (known, from) = (&mut self.known, self.from);
            self.reader.poll(|record| known.read(&record, from))?;
        }
        let waiting = &self.known.told;
        let mut count = most.min(waiting.len());
        while count > 0 && waiting.get(count).is_some_and(|next| next.position == waiting[count - 1].position)
        {
            count += 1;
        }
        let told = self.known.told.drain(..count).collect();
        Ok((told, std::mem::take(&mut self.known.lost)))
    }
}

impl Known {
    fn read(&mut self, record: &RecordView<'_>, from: u64) {
        if record.component == ID
            && let Ok((run, event)) = Event::decode(record.kind, record.payload)
        {
            let mut told = |happening| {
                if record.position < from {
                } else if self.told.len() < MOST {
                    self.told.push_back(happening);
                } else {
                    self.lost += 1;
                }
            };
            fold(&mut self.runs, run, &event, record.position, record.time, &mut told);
        }
    }
}

fn fold(
    runs: &mut HashMap<Arc<str>, Live>,
    run: &str,
    event: &Event<'_>,
    position: u64,
    time: i64,
    tell: &mut impl FnMut(Happening),
) {
    if let Event::RunAccepted { info, .. } = event
        && !runs.contains_key(run)
    {
        let live = Live::accepted(run, info, time);
        tell(live.happening("run_started", "running", position, time));
        runs.insert(live.run.clone(), live);
        return;
    }
    let Some(live) = runs.get_mut(run) else { return };
    match event {
        Event::Commanded { event, .. } => fold(runs, run, event, position, time, tell),
        Event::StepStarted { key, name, attempt, .. } => {
            let step = Step { name: (*name).to_owned(), attempt: *attempt, started: time };
            let begun = live.happening("step_started", "running", position, time);
            tell(Happening {
                key: (*key).to_owned(),
                name: step.name.clone(),
                attempt: step.attempt,
                ..begun
            });
            live.steps.insert((*key).to_owned(), step);
        }
        Event::StepFinished { key, name, outcome, payload, .. } => {
            tell(live.finish(key, name, word(*outcome), payload, position, time));
        }
        Event::StepsFinished { steps } => {
            for step in steps {
                tell(live.finish(step.key, step.name, word(step.outcome), step.payload, position, time));
            }
        }
        Event::StepControlled { key, control } => match control {
            StepControl::Retry => {}
            StepControl::Skip => tell(live.finish(key, "", "skipped", b"", position, time)),
            StepControl::Cancel => tell(live.finish(key, "", "cancelled", b"", position, time)),
        },
        Event::RunFinished { status, payload } => {
            let ended = live.happening("run_finished", status.name(), position, time);
            let failure = if *status == RunStatus::Failed { payload.to_vec() } else { Vec::new() };
            tell(Happening { since: Some(live.accepted), failure, ..ended });
            runs.remove(run);
        }
        _ => {}
    }
}

impl Live {
    fn accepted(run: &str, info: &[u8], accepted: i64) -> Self {
        let info: Value = serde_json::from_slice(info).unwrap_or_default();
        let workflow = info["workflow"].as_str().unwrap_or_default().into();
        Self { run: run.into(), workflow, accepted, steps: HashMap::new() }
    }

    fn happening(&self, hook: &'static str, state: &'static str, position: u64, time: i64) -> Happening {
        let (run, workflow) = (self.run.clone(), self.workflow.clone());
        let (key, name, attempt, since, failure) = (String::new(), String::new(), 0, None, Vec::new());
        Happening { hook, position, time, run, workflow, key, name, attempt, state, since, failure }
    }

    fn finish(
        &mut self,
        key: &str,
        name: &str,
        state: &'static str,
        payload: &[u8],
        position: u64,
        time: i64,
    ) -> Happening {
        let begun = self.steps.remove(key);
        let (attempt, since) = begun.as_ref().map_or((0, None), |step| (step.attempt, Some(step.started)));
        let known = begun.map(|step| step.name).filter(|_| name.is_empty());
        let failure = if state == "failed" { payload.to_vec() } else { Vec::new() };
        let ended = self.happening("step_finished", state, position, time);
        let (key, name) = (key.to_owned(), known.unwrap_or_else(|| name.to_owned()));
        Happening { key, name, attempt, since, failure, ..ended }
    }
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Cached => "cached",
        Outcome::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests;
