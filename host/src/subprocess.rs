//! The managed interpreter's life: started, watched, restarted, stopped.
//!
//! Knows nothing of clients or of the log's content. Everything runs on one thread, that of the `LocalSet`; it has to live as
//! long as the process, because the kernel kills an interpreter whose spawning thread ends.

mod channel;
mod death;
mod launch;
mod lease;
mod ledger;
mod life;
mod mourning;
mod orders;
mod output;
mod phase;
mod plugins;
mod restart;
mod secrets;
mod vigil;
mod watching;
mod wishes;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symphony_pit_journal::Watch;
use tokio::sync::{oneshot, watch};

pub use channel::{Answer, Channel};
pub use phase::Phase;
pub use restart::{Life, RestartPolicy};
pub use vigil::Liveness;

use crate::failure::{Failure, Result};
use crate::home::Home;
use crate::host_log::{HostLog, Kept};
use crate::json::Json;
use crate::log_file::LogFile;
use crate::pulse::Pulse;
use crate::system;
use death::Death;
use ledger::Ledger;
use life::Ending;
use orders::Orders;
use output::Output;
use phase::Wanted;
use vigil::Patience;
use watching::Condition;

/// What is started, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    pub home: Home,
    pub python: PathBuf,
    pub prefix: String,
    pub version: String,
    pub no_plugins: bool,
    /// KEY=VALUE words that come before `config.toml`.
    pub settings: Vec<String>,
    pub hash_seed: u32,
    /// How long an interpreter may take until it is ready.
    pub start_limit: Duration,
}

/// Is told what happens in and to the interpreter.
pub trait Observer {
    /// Steps that were completed so far, in any life: deaths with progress between them do not break the circuit.
    fn steps_completed(&self) -> u64;
    /// Whether a run has not ended: deaths are counted against steps of such ones only.
    fn is_live(&self, run: &str) -> bool;
    /// `state`: the name of a phase, or "blocked" or "suspended" of one that is ready; `message` completes the sentence
    /// "the interpreter …".
    fn interpreter(&self, state: &str, message: &str);
    /// A progress notification of the interpreter.
    fn progress(&self, notification: &Json);
    /// A new interpreter is started; what the last one said of runs that cannot go on does not hold for it.
    fn begins(&self);
    /// The interpreter's notification that a run cannot go on, though it has not ended.
    fn blocked(&self, notification: &Json);
    /// And that it does go on.
    fn unblocked(&self, notification: &Json);
}

/// Steps are given this long when an interpreter is stopped to be started anew.
const RESTART_DRAIN: Duration = Duration::from_secs(10);

/// Keeps one interpreter alive.
pub struct Supervisor {
    settings: Settings,
    observer: Rc<dyn Observer>,
    log: Rc<LogFile>,
    output: Rc<Output>,
    watch: Rc<Watch>,
    phase: watch::Sender<Phase>,
    wanted: watch::Sender<Wanted>,
    host_log: Rc<HostLog>,
    orders: Orders,
    /// Of the process that lives now: its pid and when it was started.
    process: Cell<Option<(u32, Instant)>>,
    restarts: Cell<u32>,
    /// Whether one was ready since the host started.
    was_ready: Cell<bool>,
    last_death: RefCell<String>,
    patience: Cell<Patience>,
    condition: RefCell<Condition>,
    ledger: RefCell<Ledger>,
    /// The shared memory of the one that was started last.
    pulse: RefCell<Option<Rc<Pulse>>>,
    /// The Python of the one that was ready last.
    python_version: RefCell<String>,
    /// So many in a row were killed while a plugin was imported, before they were ready.
    imports: Cell<u64>,
    /// The limits that it has put on itself, in words.
    limits: RefCell<String>,
    /// Processes that the kernel had killed for lack of memory when it was started.
    starved: Cell<u64>,
}

impl Supervisor {
    /// Nothing is started before `run`.
    pub fn new(
        settings: Settings,
        observer: Rc<dyn Observer>,
        log: Rc<LogFile>,
        watch: Rc<Watch>,
    ) -> Result<Rc<Self>> {
        let output = Output::open(settings.home.interpreter_log())
            .map_err(|error| Failure::unusable(&settings.home.interpreter_log(), &error))?;
        let host_log = HostLog::open(settings.home.host_log(), log.clone())
            .map_err(|error| Failure::unusable(&settings.home.host_log(), &error))?;
        let host_log = Rc::new(host_log);
        let ledger = Ledger::open(host_log.clone());
        Ok(Rc::new(Self {
            settings,
            observer,
            log,
            output: Rc::new(output),
            watch,
            phase: watch::Sender::new(Phase::Starting),
            wanted: watch::Sender::new(Wanted { generation: 0, stop: None, rest: None }),
            orders: Orders::new(host_log.clone()),
            host_log,
            process: Cell::new(None),
            restarts: Cell::new(0),
            was_ready: Cell::new(false),
            last_death: RefCell::default(),
            patience: Cell::default(),
            condition: RefCell::default(),
            ledger: RefCell::new(ledger),
            pulse: RefCell::default(),
            python_version: RefCell::default(),
            imports: Cell::new(0),
            limits: RefCell::default(),
            starved: Cell::new(0),
        }))
    }

    /// Keep an interpreter running until `stop`.
    pub async fn run(self: Rc<Self>) {
        let mut policy = RestartPolicy::default();
        let mut wanted = self.wanted.subscribe();
        loop {
            let generation = wanted.borrow_and_update().generation;
            let live = wanted.borrow().ending().is_none();
            let ending = if live { self.live(wanted.clone()).await } else { Ending::Stopped };
            self.process.set(None);
            match ending {
                Ending::Stopped => {}
                Ending::Refused(failure) => self.fail(failure),
                Ending::Early(what) => self.fail(Failure::unavailable(what)),
                Ending::Died { cause, signal, ready_for } => {
                    let death = self.examine(cause, signal, ready_for);
                    self.mourn(&death, &mut policy, &mut wanted).await;
                }
            }
            if matches!(*self.phase.borrow(), Phase::Failed(_)) {
                let _ = wanted
                    .wait_for(|wanted| wanted.ending().is_some() || wanted.generation > generation)
                    .await;
            }
            if wanted.borrow().ending().is_some() && !self.stop_wanted() {
                self.rest_until(&mut wanted).await;
            }
            if self.stop_wanted() {
                self.orders.refuse(&Self::stopping());
                self.phase.send_replace(Phase::Stopped);
                return;
            }
            if wanted.borrow().generation > generation {
                policy = RestartPolicy::default();
                self.phase.send_replace(Phase::Starting);
            }
        }
    }

    fn stop_wanted(&self) -> bool {
        self.wanted.borrow().stop.is_some()
    }

    /// After a death: wait for the right moment to start again, or give up.
    async fn mourn(&self, death: &Death, policy: &mut RestartPolicy, wanted: &mut watch::Receiver<Wanted>) {
        let tail = self.output.tail();
        let (cause, steps) = (&death.cause, self.observer.steps_completed());
        let verdict = self.judge(death);
        cause.clone_into(&mut self.last_death.borrow_mut());
        let life = Life { ready_for: death.ready_for, steps, idle: death.in_flight.is_empty() };
        match policy.died(Instant::now(), life, verdict.guilty.is_some()) {
            Some(delay) => {
                self.phase.send_replace(Phase::Restarting);
                self.restarts.set(self.restarts.get() + 1);
                let when = match delay.as_secs() {
                    0 => String::new(),
                    _ => format!(
                        " after {:.1} s, as it died {} times in a row",
                        delay.as_secs_f64(),
                        policy.in_a_row()
                    ),
                };
                let message = format!("died by {} and is being restarted{when}", death.summary());
                self.observer.interpreter("restarting", &message);
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    _ = wanted.changed() => {}
                }
            }
            None => self.fail(
                Failure::died(format!(
                    "the interpreter died {} times in a row without completing a step, last by {cause}",
                    restart::BREAKER_DEATHS
                ))
                .hint(self.logs_hint("then: symphony host restart"))
                .with("stderr", tail),
            ),
        }
    }

    fn fail(&self, failure: Failure) {
        self.log.line(&format!("the interpreter is not started again: {failure}"));
        self.orders.refuse(&failure);
        self.observer.interpreter("failed", &format!("is not started again: {}", failure.message));
        self.phase.send_replace(Phase::Failed(failure));
    }

    fn logs_hint(&self, then: &str) -> String {
        format!("see {}; {then}", self.settings.home.interpreter_log().display())
    }

    /// The present phase, and every later one.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whether unfinished runs make progress, now or as soon as it is up again.
    pub fn drives(&self) -> bool {
        !matches!(*self.phase.borrow(), Phase::Failed(_) | Phase::Resting | Phase::Stopped)
    }

    /// Whether an interpreter is there to be asked, now.
    pub fn is_ready(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Ready(channel) if channel.is_open())
    }

    /// Why no interpreter works on anything now; None: one does.
    pub fn absence(&self) -> Option<String> {
        self.phase.borrow().absence()
    }

    /// How an interpreter is that does not answer.
    pub fn silence(&self) -> String {
        let seen = self.condition.borrow().describe().map(|seen| format!(": it is {seen}"));
        format!("the interpreter does not answer{}", seen.unwrap_or_default())
    }

    /// The channel of an interpreter that is ready; waits for one that is being started.
    pub async fn channel(&self) -> Result<Rc<Channel>> {
        let mut phase = self.phase.subscribe();
        loop {
            match &*phase.borrow_and_update() {
                Phase::Ready(channel) if channel.is_open() => return Ok(channel.clone()),
                Phase::Failed(failure) => return Err(failure.clone()),
                Phase::Resting | Phase::Stopped | Phase::Stopping => {
                    if let Some(failure) = self.unwanted() {
                        return Err(failure);
                    }
                }
                // One that closed its end is about to be replaced.
                Phase::Ready(_) | Phase::Starting | Phase::Restarting => {}
            }
            if phase.changed().await.is_err() {
                return Err(Self::stopping());
            }
        }
    }

    /// Ask the interpreter once. A death on the way is an error, since nobody knows how far it came.
    pub async fn call(&self, method: &str, parameters: &Json) -> Result<Json> {
        let channel = self.channel().await?;
        match channel.call(method, parameters).await {
            Ok(answer) => answer,
            Err(_gone) => Err(Failure::died(format!("the interpreter died while it answered {method}"))
                .hint(self.logs_hint("it is being restarted"))),
        }
    }

    /// Give an order that may be given again, after each death until it is answered, in the order of the calls.
    /// An interpreter that is not restarted by itself is started for it.
    pub fn order(
        &self,
        method: &'static str,
        parameters: Json,
    ) -> impl Future<Output = Result<Json>> + use<> {
        let answer = self.give(method, parameters, None);
        async move { answer.await.unwrap_or_else(|_| Err(Self::stopping())) }
    }

    fn give(
        &self,
        method: &'static str,
        parameters: Json,
        position: Option<u64>,
    ) -> oneshot::Receiver<Answer> {
        let refused = self.unwanted();
        if refused.is_none() {
            self.revive();
        }
        let answer = self.orders.add(method, parameters, position);
        if let Some(failure) = refused {
            self.orders.refuse(&failure);
        } else if let Phase::Ready(channel) = &*self.phase.borrow() {
            self.orders.send(channel);
        }
        answer
    }

    /// Record an order in the host log, then give it as `order` does. `make` gets its position. The receiver ends without an
    /// answer where a recorded command has to wait for another interpreter.
    pub async fn keep(
        &self,
        method: &'static str,
        make: impl FnOnce(u64) -> Json,
    ) -> Result<oneshot::Receiver<Answer>> {
        let position = self.host_log.next();
        let parameters = make(position);
        let kept = Kept { method, parameters: parameters.clone() };
        self.host_log
            .keep(position, kept)
            .await
            .map_err(|error| Failure::unusable(self.host_log.path(), &error))?;
        Ok(self.give(method, parameters, Some(position)))
    }

    /// Start an interpreter again where it was given up.
    fn revive(&self) {
        if matches!(*self.phase.borrow(), Phase::Failed(_)) {
            self.restart();
        }
    }

    /// Whether orders wait for an interpreter that is, or soon will be there.
    pub fn has_orders(&self) -> bool {
        self.drives() && !self.orders.is_empty()
    }

    /// Whether an order about a run waits for an answer.
    pub fn has_order_for(&self, run: &str) -> bool {
        self.orders.concern(run)
    }

    /// Of the process that lives now.
    pub fn pid(&self) -> Option<u32> {
        self.process.get().map(|(pid, _)| pid)
    }

    /// The settings that come before `config.toml`.
    pub fn settings(&self) -> &[String] {
        &self.settings.settings
    }

    /// The `interpreter` part of `host status`.
    pub fn status(&self) -> Value {
        let process = self.process.get();
        let phase = self.phase.borrow();
        let problem = match &*phase {
            Phase::Failed(failure) => failure.document(),
            _ => Value::Null,
        };
        let mut status = json!({
            "pid": process.map(|(pid, _)| pid),
            "state": phase.name(),
            "restarts": self.restarts.get(),
            "uptime": process.map_or(0.0, |(_, started)| started.elapsed().as_secs_f64()),
            "rss": process.map_or(0, |(pid, _)| system::resident_bytes(pid)),
            "last_death": Some(self.last_death.borrow().clone()).filter(|cause| !cause.is_empty()),
            "problem": problem,
        });
        if matches!(&*phase, Phase::Ready(_)) {
            for (name, value) in self.condition.borrow().document() {
                status[name] = value;
            }
        }
        status
    }
}
