//! While an interpreter is ready: its beats are looked at, what blocks it is reported, one that hangs is ended.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{interval, sleep};

use super::Supervisor;
use super::vigil::{Liveness, Seen, Vigil};
use crate::pulse::{BEAT, Pulse, Step};
use crate::system;

/// Between ABRT, upon which an interpreter writes its stacks and ends, and KILL.
const ABORT_LIMIT: Duration = Duration::from_secs(5);
/// After the time limit of a step, for what the engine does about it.
const STEP_MARGIN: Duration = Duration::from_secs(5);

/// How the present interpreter is, as far as it can be seen from outside.
#[derive(Default)]
pub(super) struct Condition {
    pub pid: u32,
    liveness: Liveness,
    since: Option<Instant>,
    /// What it is blocked in, if that is certain.
    step: Option<Step>,
    pub stacks: String,
    /// Why the host ended it.
    pub hang: Option<Hang>,
    /// Its memory when it was last looked at, in bytes.
    pub resident: u64,
}

/// An interpreter that the host gave up.
#[derive(Clone)]
pub(super) struct Hang {
    pub seconds: f64,
    pub liveness: Liveness,
    pub step: Option<Step>,
    /// The step that started the thread that keeps the loop from going round.
    pub starter: Option<Step>,
}

impl Hang {
    /// Completes "signal 6 (SIGABRT) from the host, since …".
    pub fn reason(&self) -> String {
        let place = self.step.as_ref().map_or_else(String::new, |step| format!(" in {}", step.describe()));
        format!("it was {} for {:.1} s{place}", self.liveness.name(), self.seconds)
    }
}

impl Condition {
    pub fn of(pid: u32) -> Self {
        Self { pid, ..Self::default() }
    }

    /// Completes "it is …", where its beats show more than that it runs.
    pub fn describe(&self) -> Option<String> {
        let place = self.step.as_ref().map_or_else(String::new, |step| format!(" in {}", step.describe()));
        (self.liveness != Liveness::default()).then(|| format!("{}{place}", self.liveness.name()))
    }

    /// The fields of `host status`.
    pub fn document(&self) -> [(&'static str, Value); 4] {
        let step = self.step.as_ref().map(
            |step| json!({"run": step.run, "key": step.key, "name": step.name, "workflow": step.workflow}),
        );
        [
            ("liveness", json!(self.liveness.name())),
            ("silent", json!(self.since.map(|since| since.elapsed().as_secs_f64()))),
            ("step", json!(step)),
            ("stacks", json!(Some(&self.stacks).filter(|stacks| !stacks.is_empty()))),
        ]
    }
}

fn limit_of(step: Option<&Step>) -> Option<Duration> {
    let timeout = step.map(|step| step.timeout).filter(|timeout| *timeout > 0.0)?;
    Duration::try_from_secs_f64(timeout).ok().map(|timeout| timeout + STEP_MARGIN)
}

impl Supervisor {
    /// Look at the beats of an interpreter until the caller has enough.
    pub(super) async fn keep_vigil(&self, pid: u32, pulse: &Pulse) -> Infallible {
        let mut vigil = Vigil::new(system::monotonic(), self.patience.get());
        let mut look = interval(BEAT);
        loop {
            look.tick().await;
            let (now, beats) = (system::monotonic(), pulse.beats());
            let resident = system::resident_bytes(pid);
            if resident > 0 {
                self.condition.borrow_mut().resident = resident;
            }
            let limit = match vigil.liveness() {
                Liveness::Running => None,
                _ => limit_of(pulse.loop_step().as_ref()),
            };
            match vigil.look(now, beats, limit) {
                Seen::Nothing => {}
                Seen::Changed(liveness) => self.report_change(pid, pulse, liveness).await,
                Seen::Hung(silence) => self.end_hung(pid, pulse, vigil.liveness(), silence).await,
            }
        }
    }

    /// Whether the Python lock could be had while the loop was silent.
    fn lock_is_free(pulse: &Pulse) -> bool {
        let beats = pulse.beats();
        Duration::from_nanos(beats.lock.saturating_sub(beats.event_loop)) > BEAT
    }

    async fn report_change(&self, pid: u32, pulse: &Pulse, liveness: Liveness) {
        let resident = self.condition.borrow().resident;
        let mut found = Condition { pid, liveness, resident, ..Condition::default() };
        let message = match liveness {
            Liveness::Running => "goes on".to_owned(),
            Liveness::Stopped => "is stopped: nothing of it runs (a debugger, SIGSTOP, no memory)".to_owned(),
            Liveness::Blocked => {
                found.step = pulse.blocking(Self::lock_is_free(pulse)).0;
                found.stacks = pulse.dump(pid).await;
                let place =
                    found.step.as_ref().map_or_else(String::new, |step| format!(" in {}", step.describe()));
                format!("is blocked{place}: its event loop does not go round")
            }
        };
        if liveness != Liveness::Running {
            found.since = Some(Instant::now());
        }
        self.log.line(&format!("interpreter {pid} {message}"));
        if !found.stacks.is_empty() {
            self.log.line(&format!("its Python stacks:\n{}", found.stacks));
        }
        let state = match liveness {
            Liveness::Running => "ready",
            Liveness::Blocked => "blocked",
            Liveness::Stopped => "suspended",
        };
        self.observer.interpreter(state, &message);
        self.condition.replace(found);
    }

    async fn end_hung(&self, pid: u32, pulse: &Pulse, liveness: Liveness, silence: Duration) {
        let lock_is_free = Self::lock_is_free(pulse);
        if liveness != Liveness::Stopped && !lock_is_free {
            pulse.ask_for_lock(pid).await;
        }
        let (step, starter) = match liveness {
            Liveness::Stopped => (None, None),
            _ => pulse.blocking(lock_is_free),
        };
        let hang = Hang { seconds: silence.as_secs_f64(), liveness, step, starter };
        self.log.line(&format!("interpreter {pid} is ended, since {}", hang.reason()));
        self.condition.borrow_mut().hang = Some(hang);
        if liveness != Liveness::Stopped {
            let stacks = pulse.dump(pid).await;
            self.condition.borrow_mut().stacks = stacks;
            system::signal_process(pid, libc::SIGABRT);
            sleep(ABORT_LIMIT).await;
        }
        system::signal_group(pid, libc::SIGKILL);
        std::future::pending::<()>().await;
    }
}
