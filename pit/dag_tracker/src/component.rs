//! The component: its method table, and what of it lasts.

use std::collections::BTreeMap;
use std::sync::Arc;

use symphony_pit::{Component, FromPit, Host, Record, Result, ToPit, Value, ValueRef, pit_component};

use crate::graph::{Invalid, Step};
use crate::records::{Event, Finished, Outcome, RunControl, RunStatus, StepControl};
use crate::retry::{Decision, Policy, Terms};
use crate::states::StepState;
use crate::tracker::{State, Tracker};

/// See the module documentation of the crate.
pub(crate) struct DagTracker {
    tracker: Tracker,
}

/// One thing that is wrong with a graph.
#[derive(ToPit)]
struct Problem {
    /// duplicate, `unknown_dependency` or cycle.
    kind: &'static str,
    message: String,
    /// The step; of a cycle the first.
    key: String,
    dependency: Option<String>,
    /// Of a cycle: each step needs the next, the last is the first again.
    path: Vec<String>,
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let message = invalid.message();
        let (kind, key, dependency, path) = match invalid {
            Invalid::Duplicate { key } => ("duplicate", key, None, Vec::new()),
            Invalid::Unknown { key, dependency, .. } => {
                ("unknown_dependency", key, Some(dependency), Vec::new())
            }
            Invalid::Cycle { path } => ("cycle", path.first().cloned().unwrap_or_default(), None, path),
        };
        Self { kind, message, key, dependency, path }
    }
}

#[derive(ToPit)]
struct Way {
    steps: Vec<String>,
    seconds: f64,
}

#[derive(ToPit)]
struct Size {
    steps: usize,
    edges: usize,
    bytes: usize,
}

#[pit_component(
    id = "symphony.dag_tracker",
    description = "Owner of every run and step record",
    revision = 3
)]
impl DagTracker {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: runs, live (not finished), records (appended or replayed), steps and edges of live runs, their bytes.
    #[pit_method]
    fn stats(&self) -> Result<BTreeMap<String, usize>> {
        let state = self.tracker.state();
        let live = || state.runs.values().filter(|run| run.finished.is_none());
        let counters = [
            ("runs", state.runs.len()),
            ("live", live().count()),
            ("records", usize::try_from(state.totals.records).unwrap_or(usize::MAX)),
            ("steps", live().map(|run| run.graph.len()).sum()),
            ("edges", live().map(|run| run.graph.edge_count()).sum()),
            ("graph_bytes", live().map(|run| run.graph.bytes()).sum()),
        ];
        Ok(counters.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Record that a run was accepted; a known run is left as it is. info is a JSON object, inputs codec bytes. Returns the
    /// time (µs).
    #[pit_method]
    fn accept_run(&self, run: &str, info: &[u8], inputs: &[u8]) -> Result<i64> {
        self.tracker.accept(run, info, inputs)
    }

    /// Ids of the runs that are not finished, oldest first.
    #[pit_method]
    fn live_runs(&self) -> Result<Vec<String>> {
        let state = self.tracker.state();
        let mut live: Vec<_> = state.runs.iter().filter(|(_, run)| run.finished.is_none()).collect();
        live.sort_by_key(|(id, run)| (run.accepted, *id));
        Ok(live.into_iter().map(|(id, _)| id.clone()).collect())
    }

    /// Ids of runs that have finished and were not forgotten, oldest first, at most limit.
    #[pit_method]
    fn finished_runs(&self, #[default(1000)] limit: usize) -> Result<Vec<String>> {
        let state = self.tracker.state();
        let mut finished: Vec<_> = state.runs.iter().filter(|(_, run)| run.finished.is_some()).collect();
        finished.sort_by_key(|(id, run)| (run.accepted, *id));
        Ok(finished.into_iter().take(limit).map(|(id, _)| id.clone()).collect())
    }

    /// Let go of finished runs, which then are in the history alone; runs that are live or unknown are left as they are.
    /// Returns how many there were.
    #[pit_method]
    fn forget_runs(&self, runs: Vec<&str>) -> Result<usize> {
        self.tracker.forget(&runs)
    }

    /// What is known of a run: info, inputs, accepted (µs), status (running until it has finished), state, finished (µs or
    /// None), payload, steps (how many by state), questions (open ones: key -> prompt).
    #[pit_method]
    fn run_info(&self, run: &str) -> Result<Value> {
        self.tracker.read(run, |run| {
            let (status, finished, payload) = match &run.finished {
                Some((status, time, payload)) => (status.name(), Value::Int(*time), payload.clone()),
                None => ("running", Value::None, Vec::new()),
            };
            let counts = StepState::ALL.iter().zip(run.counts()).filter(|(_, count)| *count > 0);
            let questions =
                run.questions.iter().map(|(key, prompt)| (key.clone(), Value::from(prompt.as_str())));
            Value::map([
                ("info", Value::Bytes(run.info.clone())),
                ("inputs", Value::Bytes(run.inputs.clone())),
                ("accepted", Value::Int(run.accepted)),
                ("status", Value::from(status)),
                ("state", Value::from(run.state.name())),
                ("finished", finished),
                ("payload", Value::Bytes(payload)),
                ("steps", Value::map(counts.map(|(state, count)| (state.name(), Value::from(count))))),
                ("questions", Value::map(questions)),
            ])
        })
    }

    /// The delivered records of a live run in log order, each [kind, key, fingerprint, state, payload, time (µs)]; kind 1
    /// outcome, 2 timer, 3 command, 4 answer.
    #[pit_method]
    fn recovered(&self, run: &str) -> Result<Vec<Value>> {
        self.tracker.read(run, |run| {
            let rows = run.delivered.iter().map(|record| {
                Value::List(vec![
                    Value::Int(record.kind.into()),
                    Value::from(record.key.as_str()),
                    Value::Bytes(record.fingerprint.clone()),
                    Value::Int(record.state.into()),
                    Value::Bytes(record.payload.clone()),
                    Value::Int(record.time),
                ])
            });
            rows.collect()
        })
    }

    /// Failed attempts of steps without an outcome: key -> [attempts, `retry_at` (µs)].
    #[pit_method]
    fn attempts(&self, run: &str) -> Result<BTreeMap<String, (u32, i64)>> {
        self.tracker.read(run, |run| run.attempts.clone())
    }

    /// Record that an attempt of a step begins; dependencies are the keys of the steps whose results it takes. A step that
    /// was not added becomes part of the graph.
    #[pit_method]
    fn start_step(
        &self,
        run: &str,
        key: &str,
        name: &str,
        attempt: u32,
        dependencies: Vec<&str>,
    ) -> Result<()> {
        self.tracker.record(run, &Event::StepStarted { key, name, attempt, dependencies }, 0).map(drop)
    }

    /// Record that an attempt failed and will be repeated at `retry_at` (µs).
    #[pit_method]
    fn fail_attempt(&self, run: &str, key: &str, attempt: u32, error: &str, retry_at: i64) -> Result<()> {
        self.tracker.record(run, &Event::AttemptFailed { key, attempt, error, retry_at }, 0).map(drop)
    }

    /// Record the outcome of a step; state 0 completed, 1 failed, 2 cached, 3 skipped. Returns the time (µs).
    #[pit_method]
    fn finish_step(
        &self,
        run: &str,
        key: &str,
        name: &str,
        fingerprint: &[u8],
        state: u32,
        payload: &[u8],
    ) -> Result<i64> {
        let outcome = outcome(state)?;
        self.tracker.record(run, &Event::StepFinished { key, name, fingerprint, outcome, payload }, 0)
    }

    /// Record the outcomes of steps, each [key, name, fingerprint, state, payload], in records of up to
    /// 1 MiB; one that is refused refuses all. Returns the time (µs).
    #[pit_method]
    #[expect(clippy::type_complexity, reason = "the rows as they come, each a list")]
    fn finish_many(&self, run: &str, steps: Vec<(&str, &str, &[u8], u32, &[u8])>) -> Result<i64> {
        let finished = |(key, name, fingerprint, state, payload)| {
            Ok(Finished { key, name, fingerprint, outcome: outcome(state)?, payload })
        };
        self.tracker.finish(run, steps.into_iter().map(finished).collect::<Result<_>>()?)
    }

    /// Record that a timer due at when (µs) fired. Returns the time (µs).
    #[pit_method]
    fn fire_timer(&self, run: &str, key: &str, when: i64) -> Result<i64> {
        self.tracker.record(run, &Event::TimerFired { key }, when)
    }

    /// Record a command for a run, such as cancel, which also ends the steps that have not started. Returns the time (µs).
    #[pit_method]
    fn command(&self, run: &str, command: &str) -> Result<i64> {
        self.tracker.record(run, &Event::Command { command }, 0)
    }

    /// Record the end of a run; status is completed, failed or cancelled. Its graph is dropped. Returns the time (µs).
    #[pit_method]
    fn finish_run(&self, run: &str, status: &str, payload: &[u8]) -> Result<i64> {
        self.tracker.record(run, &Event::RunFinished { status: RunStatus::from_name(status)?, payload }, 0)
    }

    /// Ask for the end of a run: delivered as the command cancel; steps that have not started are cancelled. Returns the
    /// time (µs).
    #[pit_method]
    fn cancel(&self, run: &str) -> Result<i64> {
        self.command(run, "cancel")
    }

    /// No step of the run starts any more; running ones finish. Returns the time (µs).
    #[pit_method]
    fn pause(&self, run: &str, #[default("")] reason: &str) -> Result<i64> {
        let event = Event::RunControlled { control: RunControl::Pause, key: "", text: reason };
        self.tracker.record(run, &event, 0)
    }

    /// Steps of a paused run may start again. Returns the time (µs).
    #[pit_method]
    fn resume(&self, run: &str) -> Result<i64> {
        let event = Event::RunControlled { control: RunControl::Resume, key: "", text: "" };
        self.tracker.record(run, &event, 0)
    }

    /// The run asks a person; the question is open until it is answered. Returns the time (µs).
    #[pit_method]
    fn wait_for_input(&self, run: &str, key: &str, #[default("")] prompt: &str) -> Result<i64> {
        let event = Event::RunControlled { control: RunControl::Wait, key, text: prompt };
        self.tracker.record(run, &event, 0)
    }

    /// The answer of an open question, as codec bytes; delivered. Returns the time (µs).
    #[pit_method]
    fn provide_input(&self, run: &str, key: &str, payload: &[u8]) -> Result<i64> {
        self.tracker.record(run, &Event::InputProvided { key, payload }, 0)
    }

    /// Let a failed, skipped or cancelled step wait again, with all steps that ended because of it. Returns the time (µs).
    #[pit_method]
    fn retry_step(&self, run: &str, key: &str) -> Result<i64> {
        self.tracker.record(run, &Event::StepControlled { key, control: StepControl::Retry }, 0)
    }

    /// Skip a step that has not ended; those who need it go on. Returns the time (µs).
    #[pit_method]
    fn skip_step(&self, run: &str, key: &str) -> Result<i64> {
        self.tracker.record(run, &Event::StepControlled { key, control: StepControl::Skip }, 0)
    }

    /// Cancel a step that has not ended, and those that cannot do without it. Returns the time (µs).
    #[pit_method]
    fn cancel_step(&self, run: &str, key: &str) -> Result<i64> {
        self.tracker.record(run, &Event::StepControlled { key, control: StepControl::Cancel }, 0)
    }

    /// Add a step to the run's graph; False: it is there already, just like this. dependencies are keys or [key, kind]; kind
    /// hard (its failure ends this step), soft (waits, goes on after a failure), optional (waits only if it is there).
    /// policy: `max_attempts`, backoff (constant, linear, exponential), delay, `max_delay`, jitter, `retry_on`, `give_up_on`,
    /// `on_error` (fail, skip, fallback), fallback, default, timeout. Raises `PitConflict` for a key with other terms, and for a
    /// cycle, with its path.
    #[pit_method]
    fn add_step(
        &self,
        run: &str,
        key: &str,
        #[default("")] name: &str,
        #[default(None)] dependencies: Option<ValueRef<'_>>,
        #[default(0)] priority: i32,
        #[default(None)] policy: Option<ValueRef<'_>>,
    ) -> Result<bool> {
        let policy = policy.map(read_policy).transpose()?;
        let step = Step { key, dependencies, name, priority, policy };
        self.tracker.add(run, |graph, plan| graph.plan_one(&step, plan)).map(|added| added > 0)
    }

    /// Add steps, each a key, [key, dependencies, name, priority, policy] or a dict of these, in records of up to 1 MiB; in
    /// dependencies an int is a place in this list. Returns how many are new. Duplicates, unknown dependencies and cycles
    /// are what validate tells, all together. Adding the same steps again adds nothing.
    #[pit_method(blocking)]
    fn add_many(&self, run: &str, steps: ValueRef<'_>) -> Result<usize> {
        self.tracker.add(run, |graph, plan| graph.plan_many(steps, plan))
    }

    /// As `add_many`, on a thread that may block.
    #[pit_method]
    async fn add_many_async(self: Arc<Self>, run: String, steps: Value) -> Result<usize> {
        self.elsewhere(move |this| steps.with_ref(|steps| this.add_many(&run, steps))).await
    }

    /// All that is wrong with the graph: duplicates, unknown dependencies, cycles with their path. Empty: it is valid.
    #[pit_method(blocking)]
    fn validate(&self, run: &str) -> Result<Vec<Problem>> {
        let errors = self.tracker.live(run, |run| Ok(run.graph.validate()))?;
        Ok(errors.into_iter().map(Problem::from).collect())
    }

    /// As `validate`, on a thread that may block.
    #[pit_method]
    async fn validate_async(self: Arc<Self>, run: String) -> Result<Vec<Problem>> {
        self.elsewhere(move |this| this.validate(&run)).await
    }

    /// All steps, each after its dependencies. Raises `PitConflict` with all that is wrong if there is a cycle.
    #[pit_method(blocking)]
    fn order(&self, run: &str) -> Result<Vec<String>> {
        self.tracker.analyse(run, None, |graph, _| Ok(keys(graph, graph.order()?)))
    }

    /// As `order`, on a thread that may block.
    #[pit_method]
    async fn order_async(self: Arc<Self>, run: String) -> Result<Vec<String>> {
        self.elsewhere(move |this| this.order(&run)).await
    }

    /// Steps that may start now: higher priority first, then in the order of adding. None of a paused run.
    #[pit_method]
    fn ready(&self, run: &str, #[default(None)] limit: Option<usize>) -> Result<Vec<String>> {
        let now = self.tracker.now();
        self.tracker.live(run, |run| {
            if run.state == crate::states::RunState::Paused {
                return Ok(Vec::new());
            }
            let ready = run.graph.ready(limit.unwrap_or(usize::MAX), now);
            Ok(keys(&run.graph, ready))
        })
    }

    /// Key -> state of every step, in the order of adding.
    #[pit_method]
    fn states(&self, run: &str) -> Result<Value> {
        self.tracker.live(run, |run| {
            Ok(Value::map(run.graph.states().map(|(key, state)| (key, Value::from(state.name())))))
        })
    }

    /// Running steps whose timeout is over at now (µs; the clock's, if left out): [key, deadline], earliest first.
    #[pit_method]
    fn expired(&self, run: &str, #[default(None)] now: Option<i64>) -> Result<Vec<(String, i64)>> {
        let now = now.unwrap_or_else(|| self.tracker.now());
        self.tracker.live(run, |run| {
            let expired = run.graph.expired(now).into_iter();
            Ok(expired.map(|(deadline, number)| (run.graph.key(number).to_owned(), deadline)).collect())
        })
    }

    /// The longest way through the graph: steps, seconds. Seconds per step are the means of recorded durations by name,
    /// with durations in front; of unknown names the mean of the known, of none a second.
    #[pit_method(blocking)]
    fn critical_path(
        &self,
        run: &str,
        #[default(None)] durations: Option<BTreeMap<String, f64>>,
    ) -> Result<Way> {
        self.tracker.analyse(run, durations, |graph, weights| {
            let (steps, seconds) = graph.critical_path(weights)?;
            Ok(Way { steps: keys(graph, steps), seconds })
        })
    }

    /// As `critical_path`, on a thread that may block.
    #[pit_method]
    async fn critical_path_async(
        self: Arc<Self>,
        run: String,
        #[default(None)] durations: Option<BTreeMap<String, f64>>,
    ) -> Result<Way> {
        self.elsewhere(move |this| this.critical_path(&run, durations)).await
    }

    /// Upward rank of every step: seconds from its start to the end of the run, at best. Durations as for `critical_path`.
    #[pit_method(blocking)]
    fn ranks(&self, run: &str, #[default(None)] durations: Option<BTreeMap<String, f64>>) -> Result<Value> {
        self.tracker.analyse(run, durations, |graph, weights| {
            let ranks = graph.ranks(weights)?;
            Ok(Value::map(ranks.into_iter().map(|(number, rank)| (graph.key(number), Value::Float(rank)))))
        })
    }

    /// As `ranks`, on a thread that may block.
    #[pit_method]
    async fn ranks_async(
        self: Arc<Self>,
        run: String,
        #[default(None)] durations: Option<BTreeMap<String, f64>>,
    ) -> Result<Value> {
        self.elsewhere(move |this| this.ranks(&run, durations)).await
    }

    /// Seconds until the run ends, at best: the longest way through what is not done, or the work shared by so many slots
    /// (0 = as many as it takes) if that is more. Durations as for `critical_path`.
    #[pit_method(blocking)]
    fn remaining_time(
        &self,
        run: &str,
        #[default(0)] slots: u32,
        #[default(None)] now: Option<i64>,
        #[default(None)] durations: Option<BTreeMap<String, f64>>,
    ) -> Result<f64> {
        let now = now.unwrap_or_else(|| self.tracker.now());
        self.tracker.analyse(run, durations, |graph, weights| graph.remaining(weights, slots, now))
    }

    /// As `remaining_time`, on a thread that may block.
    #[pit_method]
    async fn remaining_time_async(
        self: Arc<Self>,
        run: String,
        #[default(0)] slots: u32,
        #[default(None)] now: Option<i64>,
        #[default(None)] durations: Option<BTreeMap<String, f64>>,
    ) -> Result<f64> {
        self.elsewhere(move |this| this.remaining_time(&run, slots, now, durations)).await
    }

    /// What completed steps took, over all runs: name -> [how many, mean seconds].
    #[pit_method]
    fn durations(&self) -> Result<BTreeMap<String, (u64, f64)>> {
        let state = self.tracker.state();
        Ok(state
            .totals
            .durations
            .iter()
            .map(|(name, took)| (name.clone(), (took.count, took.mean())))
            .collect())
    }

    /// What follows on a failed attempt (counted from 1): action retry (not before `retry_at`, µs), fallback, skip or fail,
    /// with the reason. The policy is the step's own, if none is given. A retry is recorded as `fail_attempt` does, so that
    /// its deadline holds after a restart; asked again for the same attempt, the answer is the same.
    #[pit_method]
    fn decide_retry(
        &self,
        run: &str,
        key: &str,
        attempt: u32,
        error_kind: &str,
        #[default(None)] policy: Option<ValueRef<'_>>,
        #[default("")] error: &str,
    ) -> Result<Decision> {
        let policy = policy.map(read_policy).transpose()?;
        self.tracker.decide(run, key, attempt, error_kind, policy, error)
    }

    /// Size of a live run's graph: steps, edges, bytes.
    #[pit_method]
    fn graph_size(&self, run: &str) -> Result<Size> {
        self.tracker.live(run, |run| {
            let graph = &run.graph;
            Ok(Size { steps: graph.len(), edges: graph.edge_count(), bytes: graph.bytes() })
        })
    }
}

fn outcome(state: u32) -> Result<Outcome> {
    Outcome::from_code(u8::try_from(state).unwrap_or(u8::MAX))
}

fn read_policy(value: ValueRef<'_>) -> Result<Policy> {
    let terms = Terms::from_pit(value).map_err(|mut error| {
        error.message.insert_str(0, "policy");
        error
    })?;
    Policy::try_from(terms)
}

fn keys(graph: &crate::graph::Graph, numbers: Vec<u32>) -> Vec<String> {
    numbers.into_iter().map(|number| graph.key(number).to_owned()).collect()
}

impl DagTracker {
    /// Do work that may take long on a thread of its own.
    async fn elsewhere<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let host = self.tracker.host();
        host.run_blocking(move || work(&self)).await
    }
}

impl Component for DagTracker {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { tracker: Tracker::new(host) })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        *self.tracker.state() = State::load(snapshot)?;
        Ok(())
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        let (run, event) = Event::decode(record.kind, record.payload)?;
        self.tracker.state().apply(run, &event, record.time)
    }

    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.tracker.state().save()))
    }
}

#[cfg(test)]
mod tests;
