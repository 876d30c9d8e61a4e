//! One run: its state, its delivered records, its graph; and what an event may do to it.

use std::collections::BTreeMap;

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Result};

use crate::graph::Graph;
use crate::records::{Event, Outcome, RunControl, RunStatus, StepControl};
use crate::states::{RunEvent, RunState, StepEvent, StepState};

/// A record that a replay's cursor takes.
pub(crate) struct Delivered {
    pub kind: u8,
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub state: u8,
    pub payload: Vec<u8>,
    pub time: i64,
}

const OUTCOME: u8 = 1;
const TIMER: u8 = 2;
const COMMAND: u8 = 3;
const ANSWER: u8 = 4;

pub(crate) struct Run {
    pub info: Vec<u8>,
    pub inputs: Vec<u8>,
    pub accepted: i64,
    /// Time of the newest record: time never goes back within a run.
    pub last: i64,
    pub state: RunState,
    pub delivered: Vec<Delivered>,
    /// Failed attempts of steps without an outcome: how many, and when the next may start (µs).
    pub attempts: BTreeMap<String, (u32, i64)>,
    /// Open questions and their prompts.
    pub questions: BTreeMap<String, String>,
    pub graph: Graph,
    /// Steps by state: what is left of the graph when the run has finished.
    pub counts: [u32; StepState::ALL.len()],
    pub finished: Option<(RunStatus, i64, Vec<u8>)>,
}

impl Run {
    pub fn new(info: &[u8], inputs: &[u8], time: i64) -> Self {
        Self {
            info: info.to_vec(),
            inputs: inputs.to_vec(),
            accepted: time,
            last: time,
            state: RunState::Pending,
            delivered: Vec::new(),
            attempts: BTreeMap::new(),
            questions: BTreeMap::new(),
            graph: Graph::default(),
            counts: [0; StepState::ALL.len()],
            finished: None,
        }
    }

    /// Whether the event may happen now. What it refuses was never recorded, so that a replay need not ask.
    pub fn check(&self, run: &str, event: &Event<'_>) -> Result<()> {
        let step = |key: &str, event: StepEvent| match self.graph.find(key) {
            Some(number) => self.graph.check(number, event),
            None => Ok(()),
        };
        match event {
            Event::StepStarted { key, .. } => {
                self.state.checked(run, RunEvent::Start)?;
                step(key, StepEvent::Start)
            }
            Event::AttemptFailed { key, .. } => step(key, StepEvent::Retry),
            Event::StepFinished { key, outcome, .. } => step(key, outcome.event()),
            Event::StepsFinished { steps } => {
                let mut keys: Vec<&str> = steps.iter().map(|step| step.key).collect();
                keys.sort_unstable();
                if let Some([twice, _]) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(Error::invalid(format!("step {twice} ends twice in one batch")));
                }
                steps.iter().try_for_each(|finished| step(finished.key, finished.outcome.event()))
            }
            Event::StepControlled { key, control } => {
                self.graph.known(key).and_then(|number| self.graph.check(number, control.event()))
            }
            Event::RunControlled { control: RunControl::Wait, key, .. }
                if self.questions.contains_key(*key) =>
            {
                Err(Error::conflict(format!("question {key} is open already")))
            }
            Event::RunControlled { control, .. } => self.state.checked(run, control.event()).map(drop),
            Event::InputProvided { key, .. } => {
                self.state.checked(run, RunEvent::Provide)?;
                let open = self.questions.contains_key(*key);
                open.then_some(())
                    .ok_or_else(|| Error::not_found(format!("no open question {key} in run {run}")))
            }
            Event::RunFinished { status, .. } => self.state.checked(run, status.event()).map(drop),
            Event::RunAccepted { .. }
            | Event::TimerFired { .. }
            | Event::Command { .. }
            | Event::StepsAdded { .. }
            | Event::RunsForgotten { .. } => Ok(()),
        }
    }

    fn deliver(&mut self, kind: u8, key: &str, fingerprint: &[u8], state: u8, payload: &[u8]) {
        self.delivered.push(Delivered {
            kind,
            key: key.to_owned(),
            fingerprint: fingerprint.to_vec(),
            state,
            payload: payload.to_vec(),
            time: self.last,
        });
    }

    fn enter(&mut self, event: RunEvent) {
        self.state = self.state.after(event).unwrap_or(self.state);
    }

    /// Apply a recorded event, live and in replay alike. `took` learns what completed steps took.
    pub fn apply(&mut self, event: &Event<'_>, time: i64, took: &mut dyn FnMut(&str, i64)) -> Result<()> {
        self.last = self.last.max(time);
        match event {
            Event::RunAccepted { .. } | Event::RunsForgotten { .. } => {}
            Event::StepStarted { key, name, dependencies, .. } => {
                self.enter(RunEvent::Start);
                match self.graph.find(key) {
                    Some(number) => drop(self.graph.happen(number, StepEvent::Start, time)),
                    None => self.graph.unfold(key, name, dependencies, time)?,
                }
            }
            Event::AttemptFailed { key, attempt, retry_at, .. } => {
                self.attempts.insert((*key).to_owned(), (*attempt, *retry_at));
                if let Some(number) = self.graph.find(key) {
                    self.graph.retry(number, *retry_at);
                }
            }
            Event::StepFinished { key, name, fingerprint, outcome, payload } => {
                self.finish(key, name, fingerprint, *outcome, payload, took)?;
            }
            Event::StepsFinished { steps } => {
                for step in steps {
                    self.finish(step.key, step.name, step.fingerprint, step.outcome, step.payload, took)?;
                }
            }
            Event::StepControlled { key, control } => {
                let number = self.graph.known(key)?;
                self.graph.happen(number, control.event(), time);
                self.attempts.remove(*key);
            }
            Event::TimerFired { key } => self.deliver(TIMER, key, b"", 0, b""),
            Event::Command { command } => {
                self.deliver(COMMAND, command, b"", 0, b"");
                if *command == "cancel" {
                    self.graph.cancel_waiting();
                }
            }
            Event::RunControlled { control, key, text } => {
                if *control == RunControl::Wait {
                    self.questions.insert((*key).to_owned(), (*text).to_owned());
                }
                self.enter(control.event());
                if *control == RunControl::Resume && !self.questions.is_empty() {
                    self.enter(RunEvent::Wait);
                }
            }
            Event::InputProvided { key, payload } => {
                self.deliver(ANSWER, key, b"", 0, payload);
                self.questions.remove(*key);
                if self.questions.is_empty() {
                    self.enter(RunEvent::Provide);
                }
            }
            Event::StepsAdded { steps } => self.graph.apply(steps)?,
            Event::RunFinished { status, payload } => {
                self.state = status.state();
                self.finished = Some((*status, time, payload.to_vec()));
                // A finished run is not replayed any more; the log keeps its history.
                self.counts = self.graph.counts();
                self.graph = Graph::default();
                self.delivered = Vec::new();
                self.attempts = BTreeMap::new();
                self.questions = BTreeMap::new();
                self.inputs = Vec::new();
            }
        }
        Ok(())
    }

    fn finish(
        &mut self,
        key: &str,
        name: &str,
        fingerprint: &[u8],
        outcome: Outcome,
        payload: &[u8],
        took: &mut dyn FnMut(&str, i64),
    ) -> Result<()> {
        self.deliver(OUTCOME, key, fingerprint, outcome as u8, payload);
        if !self.attempts.is_empty() {
            self.attempts.remove(key);
        }
        let time = self.last;
        let Some(number) = self.graph.find(key) else {
            // It ends without a start: a result from the cache.
            self.graph.unfold(key, name, &[], time)?;
            let number = self.graph.known(key)?;
            self.graph.happen(number, outcome.event(), time);
            return Ok(());
        };
        if let (Some(started), Outcome::Completed) =
            (self.graph.happen(number, outcome.event(), time), outcome)
        {
            took(self.graph.name(number), time - started);
        }
        Ok(())
    }

    /// Steps by state.
    pub fn counts(&self) -> [u32; StepState::ALL.len()] {
        if self.finished.is_some() { self.counts } else { self.graph.counts() }
    }

    pub fn save(&self, writer: Writer) -> Writer {
        let writer = writer.bytes(&self.info).bytes(&self.inputs).i64(self.accepted).i64(self.last);
        let writer = writer.u8(self.state as u8);
        let writer = writer.each(self.delivered.iter(), |writer, record| {
            let writer = writer.u8(record.kind).str(&record.key).bytes(&record.fingerprint);
            writer.u8(record.state).bytes(&record.payload).i64(record.time)
        });
        let writer = writer.each(self.attempts.iter(), |writer, (key, (attempts, at))| {
            writer.str(key).u32(*attempts).i64(*at)
        });
        let writer = writer.each(self.questions.iter(), |writer, (key, prompt)| writer.str(key).str(prompt));
        let writer = writer.each(self.counts.iter(), |writer, count| writer.u32(*count));
        let writer = writer.option(self.finished.as_ref(), |writer, (status, time, payload)| {
            writer.u8(*status as u8).i64(*time).bytes(payload)
        });
        self.graph.save(writer)
    }

    pub fn load(reader: &mut Reader<'_>) -> Result<Self> {
        let mut run = Self::new(reader.bytes()?, reader.bytes()?, reader.i64()?);
        run.last = reader.i64()?;
        run.state = RunState::from_code(reader.u8()?)?;
        run.delivered = reader.each(|reader| {
            Ok(Delivered {
                kind: reader.u8()?,
                key: reader.str()?.to_owned(),
                fingerprint: reader.bytes()?.to_vec(),
                state: reader.u8()?,
                payload: reader.bytes()?.to_vec(),
                time: reader.i64()?,
            })
        })?;
        let attempts =
            reader.each(|reader| Ok((reader.str()?.to_owned(), (reader.u32()?, reader.i64()?))))?;
        run.attempts = attempts.into_iter().collect();
        let questions = reader.each(|reader| Ok((reader.str()?.to_owned(), reader.str()?.to_owned())))?;
        run.questions = questions.into_iter().collect();
        let counts = reader.each(Reader::u32)?;
        run.counts = counts.try_into().map_err(|_| Error::corrupt("a snapshot counts other states"))?;
        run.finished = reader.option(|reader| {
            Ok((RunStatus::from_code(reader.u8()?)?, reader.i64()?, reader.bytes()?.to_vec()))
        })?;
        run.graph = Graph::load(reader)?;
        Ok(run)
    }
}

impl StepControl {
    pub const fn event(self) -> StepEvent {
        match self {
            Self::Retry => StepEvent::Reset,
            Self::Skip => StepEvent::Skip,
            Self::Cancel => StepEvent::Cancel,
        }
    }
}

impl RunControl {
    pub const fn event(self) -> RunEvent {
        match self {
            Self::Pause => RunEvent::Pause,
            Self::Resume => RunEvent::Resume,
            Self::Wait => RunEvent::Wait,
        }
    }
}
