//! All runs under one lock: decide, append, apply.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Host, Result};

use crate::graph::{FULL, Graph, Invalid, Plan, Weights};
use crate::records::{Event, Finished};
use crate::retry::{Decision, Policy};
use crate::run::Run;

/// What steps of one name took so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Durations {
    pub count: u64,
    pub total: i64,
}

impl Durations {
    #[expect(clippy::cast_precision_loss, reason = "microseconds and counts far below 2^53")]
    pub fn mean(self) -> f64 {
        self.total as f64 / 1e6 / self.count as f64
    }
}

/// Names of which durations are kept: the engine's steps have few, keys of nameless steps may be many.
const MOST_NAMES: usize = 10_000;

#[derive(Default)]
pub(crate) struct State {
    pub runs: HashMap<String, Run>,
    pub totals: Totals,
    /// Memory for the next record, and for what is decided before it.
    buffer: Vec<u8>,
    plan: Plan,
}

/// What all runs together come to.
#[derive(Default)]
pub(crate) struct Totals {
    pub durations: BTreeMap<String, Durations>,
    pub records: u64,
}

impl Totals {
    /// Apply a record of a run.
    fn apply(&mut self, run: &mut Run, event: &Event<'_>, time: i64) -> Result<()> {
        self.records += 1;
        let durations = &mut self.durations;
        run.apply(event, time, &mut |name, micros| {
            if let Some(known) = durations.get_mut(name) {
                *known = Durations { count: known.count + 1, total: known.total + micros };
            } else if durations.len() < MOST_NAMES {
                durations.insert(name.to_owned(), Durations { count: 1, total: micros });
            }
        })
    }
}

/// See the module documentation of the crate.
pub(crate) struct Tracker {
    host: Host,
    state: Mutex<State>,
}

fn unknown(run: &str) -> Error {
    Error::not_found(format!("no run {run}"))
}

fn live<'a>(runs: &'a mut HashMap<String, Run>, run: &str) -> Result<&'a mut Run> {
    match runs.get_mut(run) {
        None => Err(unknown(run)),
        Some(known) if known.finished.is_some() => {
            Err(Error::conflict(format!("run {run} is finished")).with("state", known.state.name()))
        }
        Some(known) => Ok(known),
    }
}

impl State {
    pub fn run(&self, run: &str) -> Result<&Run> {
        self.runs.get(run).ok_or_else(|| unknown(run))
    }

    pub fn apply(&mut self, run: &str, event: &Event<'_>, time: i64) -> Result<()> {
        if let Event::RunAccepted { info, inputs } = event {
            self.totals.records += 1;
            self.runs.entry(run.to_owned()).or_insert_with(|| Run::new(info, inputs, time));
            return Ok(());
        }
        if let Event::RunsForgotten { runs } = event {
            self.totals.records += 1;
            for run in runs {
                self.runs.remove(*run);
            }
            return Ok(());
        }
        let known = self.runs.get_mut(run).ok_or_else(|| unknown(run))?;
        self.totals.apply(known, event, time)
    }

    /// Mean seconds by step name, with `given` in front of them.
    pub fn seconds(&self, given: Option<BTreeMap<String, f64>>) -> (BTreeMap<String, f64>, f64) {
        let mut known: BTreeMap<String, f64> =
            self.totals.durations.iter().map(|(name, took)| (name.clone(), took.mean())).collect();
        known.extend(given.unwrap_or_default());
        #[expect(clippy::cast_precision_loss, reason = "few names")]
        let count = known.len() as f64;
        let otherwise = if known.is_empty() { 1.0 } else { known.values().sum::<f64>() / count };
        (known, otherwise)
    }

    pub fn save(&self) -> Vec<u8> {
        let runs: BTreeMap<_, _> = self.runs.iter().collect();
        let writer = Writer::default().u64(self.totals.records);
        let writer = writer.each(self.totals.durations.iter(), |writer, (name, took)| {
            writer.str(name).u64(took.count).i64(took.total)
        });
        writer.each(runs.into_iter(), |writer, (id, run)| run.save(writer.str(id))).finish()
    }

    pub fn load(snapshot: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(snapshot);
        let records = reader.u64()?;
        let durations = reader.each(|reader| {
            Ok((reader.str()?.to_owned(), Durations { count: reader.u64()?, total: reader.i64()? }))
        })?;
        let runs = reader.each(|reader| Ok((reader.str()?.to_owned(), Run::load(reader)?)))?;
        let totals = Totals { durations: durations.into_iter().collect(), records };
        Ok(Self { runs: runs.into_iter().collect(), totals, ..Self::default() })
    }
}

/// All that is wrong with a graph, as one error.
fn refused(run: &str, errors: &[Invalid]) -> Error {
    let messages: Vec<String> = errors.iter().map(Invalid::message).collect();
    Error::conflict(format!("the graph of run {run} is not valid: {}", messages.join("; ")))
}

impl Tracker {
    pub fn new(host: Host) -> Self {
        Self { host, state: Mutex::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub const fn host(&self) -> Host {
        self.host
    }

    pub fn now(&self) -> i64 {
        self.host.now()
    }

    /// Record that a run was accepted, unless it is known. Gives the time.
    pub fn accept(&self, run: &str, info: &[u8], inputs: &[u8]) -> Result<i64> {
        let mut state = self.state();
        if let Some(known) = state.runs.get(run) {
            return Ok(known.accepted);
        }
        let (event, time) = (Event::RunAccepted { info, inputs }, self.host.now());
        self.append(&mut state.buffer, run, &event, time)?;
        state.apply(run, &event, time)?;
        Ok(time)
    }

    /// Append the event under the lock that orders it, then apply it. Gives its time: never before the run's newest record.
    pub fn record(&self, run: &str, event: &Event<'_>, not_before: i64) -> Result<i64> {
        let State { runs, totals, buffer, .. } = &mut *self.state();
        let known = live(runs, run)?;
        known.check(run, event)?;
        let time = self.host.now().max(known.last).max(not_before);
        self.append(buffer, run, event, time)?;
        totals.apply(known, event, time)?;
        Ok(time)
    }

    /// Let go of those of the runs that have finished, in as many records as it takes. Gives how many there were.
    pub fn forget(&self, runs: &[&str]) -> Result<usize> {
        let mut state = self.state();
        let finished = |run: &&&str| state.runs.get(**run).is_some_and(|run| run.finished.is_some());
        let mut finished: Vec<&str> = runs.iter().filter(finished).copied().collect();
        finished.sort_unstable();
        finished.dedup();
        let time = self.host.now();
        let mut rest = finished.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|run| {
                bytes += run.len() + 4;
                bytes <= FULL
            });
            let (record, later) = rest.split_at(fits.count().max(1));
            let event = Event::RunsForgotten { runs: record.to_vec() };
            self.append(&mut state.buffer, "", &event, time)?;
            state.apply("", &event, time)?;
            rest = later;
        }
        Ok(finished.len())
    }

    fn append(&self, buffer: &mut Vec<u8>, run: &str, event: &Event<'_>, time: i64) -> Result<()> {
        const KEPT: usize = 1 << 16;
        *buffer = event.encode(run, std::mem::take(buffer));
        let appended = self.host.append(event.kind(), event.revision(), time, buffer);
        if buffer.capacity() > KEPT {
            *buffer = Vec::new();
        }
        appended.map(drop)
    }

    /// Record outcomes, as many to a record as it takes. Gives their time.
    pub fn finish(&self, run: &str, steps: Vec<Finished<'_>>) -> Result<i64> {
        let State { runs, totals, buffer, .. } = &mut *self.state();
        let known = live(runs, run)?;
        let time = self.host.now().max(known.last);
        let whole = Event::StepsFinished { steps };
        known.check(run, &whole)?;
        let Event::StepsFinished { steps } = whole else { return Ok(time) };
        let size = |step: &Finished<'_>| {
            step.key.len() + step.name.len() + step.fingerprint.len() + step.payload.len() + 17
        };
        let mut rest = steps.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|step| {
                bytes += size(step);
                bytes <= FULL
            });
            let (record, later) = rest.split_at(fits.count().max(1));
            let event = Event::StepsFinished { steps: record.to_vec() };
            self.append(buffer, run, &event, time)?;
            totals.apply(known, &event, time)?;
            rest = later;
        }
        Ok(time)
    }

    /// Decide records of steps on the run's graph, append and apply them. Gives how many steps are new.
    pub fn add(&self, run: &str, decide: impl FnOnce(&mut Graph, &mut Plan) -> Result<()>) -> Result<usize> {
        let State { runs, totals, buffer, plan } = &mut *self.state();
        let known = live(runs, run)?;
        let (before, time) = (known.graph.len(), self.host.now().max(known.last));
        let added = decide(&mut known.graph, plan).and_then(|()| {
            plan.payloads().try_for_each(|steps| {
                let event = Event::StepsAdded { steps };
                self.append(buffer, run, &event, time)?;
                totals.apply(known, &event, time)
            })
        });
        plan.clear();
        // Also what was there already may have named texts that no record holds: a replay would number the next ones otherwise.
        known.graph.undo();
        let count = known.graph.len() - before;
        added.map(|()| count).map_err(|mut error| {
            if count > 0 {
                error.message = format!("{}; {count} steps were added before that", error.message);
            }
            error
        })
    }

    /// The decision on a failed attempt. A repetition is recorded with its deadline, once: asked again, after a restart too,
    /// it is the same.
    pub fn decide(
        &self,
        run: &str,
        key: &str,
        attempt: u32,
        kind: &str,
        policy: Option<Policy>,
        error: &str,
    ) -> Result<Decision> {
        let State { runs, totals, buffer, .. } = &mut *self.state();
        let known = live(runs, run)?;
        let own = || known.graph.find(key).and_then(|number| known.graph.policy(number)).cloned();
        let policy = policy.or_else(own).unwrap_or_default();
        let time = self.host.now().max(known.last);
        let mut decision = policy.decide(run, key, attempt, kind, time);
        let Some(retry_at) = decision.retry_at else {
            return Ok(decision);
        };
        if let Some((_, kept)) = known.attempts.get(key).filter(|(failed, _)| *failed == attempt) {
            decision.retry_at = Some(*kept);
            return Ok(decision);
        }
        let error = if error.is_empty() { kind } else { error };
        let event = Event::AttemptFailed { key, attempt, error, retry_at };
        known.check(run, &event)?;
        self.append(buffer, run, &event, time)?;
        totals.apply(known, &event, time)?;
        Ok(decision)
    }

    pub fn read<T>(&self, run: &str, view: impl FnOnce(&Run) -> T) -> Result<T> {
        self.state().run(run).map(view)
    }

    /// A look at a live run's graph as a whole, with the seconds that its steps take.
    pub fn analyse<T>(
        &self,
        run: &str,
        seconds: Option<BTreeMap<String, f64>>,
        view: impl FnOnce(&Graph, &Weights<'_>) -> std::result::Result<T, Vec<Invalid>>,
    ) -> Result<T> {
        if let Some(wrong) = seconds.iter().flatten().find(|(_, seconds)| !(0.0..1e12).contains(*seconds)) {
            return Err(Error::invalid(format!("durations[{:?}]: expected a number of at least 0", wrong.0)));
        }
        let mut state = self.state();
        live(&mut state.runs, run)?;
        let (known, otherwise) = state.seconds(seconds);
        let graph = &state.run(run)?.graph;
        view(graph, &Weights { known: &known, otherwise }).map_err(|errors| refused(run, &errors))
    }

    pub fn live<T>(&self, run: &str, view: impl FnOnce(&mut Run) -> Result<T>) -> Result<T> {
        view(live(&mut self.state().runs, run)?)
    }
}
