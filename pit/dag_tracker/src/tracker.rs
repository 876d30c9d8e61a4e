//! The component: live runs with their delivered records, finished runs with their result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use symphony_pit::{Args, Component, Error, Host, Record, Result, Value};

use crate::records::{Event, Outcome, REVISION, RunStatus};

/// A record that a replay's cursor takes.
struct Delivered {
    kind: DeliveredKind,
    key: String,
    fingerprint: Vec<u8>,
    state: u8,
    payload: Vec<u8>,
    time: i64,
}

#[derive(Clone, Copy)]
enum DeliveredKind {
    Outcome = 1,
    Timer = 2,
    Command = 3,
}

struct Run {
    info: Vec<u8>,
    inputs: Vec<u8>,
    accepted: i64,
    /// Time of the newest record: time never goes back within a run.
    last: i64,
    delivered: Vec<Delivered>,
    /// Failed attempts of steps without an outcome: how many, and when the next may start (µs).
    attempts: BTreeMap<String, (u32, i64)>,
    finished: Option<(RunStatus, i64, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    runs: HashMap<String, Run>,
    records: u64,
}

/// See the module documentation of the crate.
pub struct DagTracker {
    host: Host,
    state: Mutex<State>,
}

impl State {
    fn apply(&mut self, run: &str, event: &Event<'_>, time: i64) -> Result<()> {
        self.records += 1;
        if let Event::RunAccepted { info, inputs } = event {
            self.runs.entry(run.to_owned()).or_insert_with(|| Run {
                info: info.to_vec(),
                inputs: inputs.to_vec(),
                accepted: time,
                last: time,
                delivered: Vec::new(),
                attempts: BTreeMap::new(),
                finished: None,
            });
            return Ok(());
        }
        let run = self.runs.get_mut(run).ok_or_else(|| Error::not_found(format!("no run {run}")))?;
        run.last = run.last.max(time);
        let mut deliver = |kind, key: &str, fingerprint: &[u8], state, payload: &[u8]| {
            run.delivered.push(Delivered {
                kind,
                key: key.to_owned(),
                fingerprint: fingerprint.to_vec(),
                state,
                payload: payload.to_vec(),
                time,
            });
        };
        match event {
            Event::RunAccepted { .. } | Event::StepStarted { .. } => {}
            Event::AttemptFailed { key, attempt, retry_at, .. } => {
                run.attempts.insert((*key).to_owned(), (*attempt, *retry_at));
            }
            Event::StepFinished { key, fingerprint, outcome, payload, .. } => {
                deliver(DeliveredKind::Outcome, key, fingerprint, *outcome as u8, payload);
                run.attempts.remove(*key);
            }
            Event::TimerFired { key } => deliver(DeliveredKind::Timer, key, b"", 0, b""),
            Event::Command { command } => deliver(DeliveredKind::Command, command, b"", 0, b""),
            Event::RunFinished { status, payload } => {
                run.finished = Some((*status, time, payload.to_vec()));
                // A finished run is not replayed any more; the log keeps its history.
                run.delivered = Vec::new();
                run.attempts = BTreeMap::new();
                run.inputs = Vec::new();
            }
        }
        Ok(())
    }
}

impl DagTracker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Append the event under the lock that orders it, then apply it. Gives its time: never before the run's newest record.
    fn record(&self, run: &str, event: &Event<'_>, not_before: i64) -> Result<Value> {
        let mut state = self.state();
        let last = match (state.runs.get(run), event) {
            (None, Event::RunAccepted { .. }) => 0,
            (None, _) => return Err(Error::not_found(format!("no run {run}"))),
            (Some(known), Event::RunAccepted { .. }) => return Ok(Value::Int(known.accepted)),
            (Some(known), _) if known.finished.is_some() => {
                return Err(Error::conflict(format!("run {run} is finished")));
            }
            (Some(known), _) => known.last,
        };
        let time = self.host.now().max(last).max(not_before);
        self.host.append(event.kind(), REVISION, time, &event.encode(run))?;
        state.apply(run, event, time)?;
        Ok(Value::Int(time))
    }

    fn read<T>(&self, run: &str, view: impl FnOnce(&Run) -> T) -> Result<T> {
        self.state().runs.get(run).map(view).ok_or_else(|| Error::not_found(format!("no run {run}")))
    }

    pub(crate) fn accept_run(&self, args: &Args<'_>) -> Result<Value> {
        self.record(args.str(0)?, &Event::RunAccepted { info: args.bytes(1)?, inputs: args.bytes(2)? }, 0)
    }

    pub(crate) fn start_step(&self, args: &Args<'_>) -> Result<Value> {
        let dependencies = args
            .list(4)?
            .map(|key| key.as_str().ok_or_else(|| Error::invalid("dependencies: expected a list of str")))
            .collect::<Result<_>>()?;
        let (key, name, attempt) = (args.str(1)?, args.str(2)?, args.unsigned(3)?);
        self.record(args.str(0)?, &Event::StepStarted { key, name, attempt, dependencies }, 0)
            .map(|_| Value::None)
    }

    pub(crate) fn fail_attempt(&self, args: &Args<'_>) -> Result<Value> {
        let (key, attempt, error, retry_at) = (args.str(1)?, args.unsigned(2)?, args.str(3)?, args.int(4)?);
        self.record(args.str(0)?, &Event::AttemptFailed { key, attempt, error, retry_at }, 0)
            .map(|_| Value::None)
    }

    pub(crate) fn finish_step(&self, args: &Args<'_>) -> Result<Value> {
        let event = Event::StepFinished {
            key: args.str(1)?,
            name: args.str(2)?,
            fingerprint: args.bytes(3)?,
            outcome: Outcome::from_code(args.unsigned(4)?)?,
            payload: args.bytes(5)?,
        };
        self.record(args.str(0)?, &event, 0)
    }

    pub(crate) fn fire_timer(&self, args: &Args<'_>) -> Result<Value> {
        self.record(args.str(0)?, &Event::TimerFired { key: args.str(1)? }, args.int(2)?)
    }

    pub(crate) fn command(&self, args: &Args<'_>) -> Result<Value> {
        self.record(args.str(0)?, &Event::Command { command: args.str(1)? }, 0)
    }

    pub(crate) fn finish_run(&self, args: &Args<'_>) -> Result<Value> {
        let status = RunStatus::from_name(args.str(1)?)?;
        self.record(args.str(0)?, &Event::RunFinished { status, payload: args.bytes(2)? }, 0)
    }

    pub(crate) fn live_runs(&self, _args: &Args<'_>) -> Result<Value> {
        let state = self.state();
        let mut live: Vec<_> = state.runs.iter().filter(|(_, run)| run.finished.is_none()).collect();
        live.sort_by_key(|(id, run)| (run.accepted, *id));
        Ok(Value::List(live.into_iter().map(|(id, _)| Value::from(id.as_str())).collect()))
    }

    pub(crate) fn run_info(&self, args: &Args<'_>) -> Result<Value> {
        self.read(args.str(0)?, |run| {
            let (status, finished, payload) = match &run.finished {
                Some((status, time, payload)) => (status.name(), Value::Int(*time), payload.clone()),
                None => ("running", Value::None, Vec::new()),
            };
            Value::map([
                ("info", Value::Bytes(run.info.clone())),
                ("inputs", Value::Bytes(run.inputs.clone())),
                ("accepted", Value::Int(run.accepted)),
                ("status", Value::from(status)),
                ("finished", finished),
                ("payload", Value::Bytes(payload)),
            ])
        })
    }

    pub(crate) fn recovered(&self, args: &Args<'_>) -> Result<Value> {
        self.read(args.str(0)?, |run| {
            let row = |record: &Delivered| {
                Value::List(vec![
                    Value::Int(record.kind as i64),
                    Value::from(record.key.as_str()),
                    Value::Bytes(record.fingerprint.clone()),
                    Value::Int(i64::from(record.state)),
                    Value::Bytes(record.payload.clone()),
                    Value::Int(record.time),
                ])
            };
            Value::List(run.delivered.iter().map(row).collect())
        })
    }

    pub(crate) fn attempts(&self, args: &Args<'_>) -> Result<Value> {
        self.read(args.str(0)?, |run| {
            let row = |(key, (attempts, retry_at)): (&String, &(u32, i64))| {
                (key.clone(), Value::List(vec![Value::from(*attempts), Value::Int(*retry_at)]))
            };
            Value::map(run.attempts.iter().map(row))
        })
    }

    #[expect(clippy::unused_self, reason = "every component answers ping, and does nothing")]
    pub(crate) fn ping(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::None)
    }

    pub(crate) fn stats(&self, _args: &Args<'_>) -> Result<Value> {
        let state = self.state();
        let live = state.runs.values().filter(|run| run.finished.is_none()).count();
        Ok(Value::map([
            ("runs", Value::from(state.runs.len())),
            ("live", Value::from(live)),
            ("records", Value::from(state.records)),
        ]))
    }
}

impl Component for DagTracker {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { host, state: Mutex::default() })
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        let (run, event) = Event::decode(record.kind, record.payload)?;
        self.state().apply(run, &event, record.time)
    }
}
