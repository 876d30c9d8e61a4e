//! After a death: what it was, who is to blame, and the report.

use std::fmt::Write as _;
use std::time::Duration;

use super::Supervisor;
use super::death::Death;
use super::ledger::{SUSPICION, Verdict};
use super::plugins::Case;
use crate::clock;
use crate::pulse::{Pulse, Step};
use crate::system;

impl Supervisor {
    /// Take what the dead one left.
    pub(super) fn examine(&self, cause: String, signal: Option<i32>, ready_for: Duration) -> Death {
        let condition = self.condition.take();
        let pulse = self.pulse.take();
        let pulse = pulse.as_deref();
        let crash = pulse.and_then(|pulse| pulse.crash().filter(|crash| Some(crash.signal) == signal));
        let (mut blamed, mut suspect) = match condition.hang {
            Some(hang) => (hang.step, hang.starter),
            None => crash.map_or((None, None), |crash| (crash.step, crash.starter)),
        };
        let in_flight = pulse.map(Pulse::in_flight).unwrap_or_default();
        if blamed.is_none() && suspect.is_none() && in_flight.is_empty() {
            // Only the process itself can exit; a signal may come from anywhere, but not at this moment again and again.
            match pulse.and_then(Pulse::importing) {
                Some(import) if signal.is_none() || self.imports.get() >= SUSPICION => blamed = Some(import),
                import => suspect = import,
            }
        }
        let at_start = ready_for.is_zero() && blamed.iter().chain(&suspect).any(Step::is_import);
        self.imports.set(if at_start { self.imports.get() + 1 } else { 0 });
        let stacks = pulse.map(Pulse::new_stacks).filter(|stacks| !stacks.is_empty());
        let versions = match &*self.python_version.borrow() {
            python if python.is_empty() => format!("symphony {}", self.settings.version),
            python => format!("symphony {}, Python {python}", self.settings.version),
        };
        Death {
            pid: condition.pid,
            cause,
            ready_for,
            blamed,
            suspect,
            in_flight,
            alone: pulse.is_some_and(Pulse::alone),
            calls: pulse.map(Pulse::recent_calls).unwrap_or_default(),
            stacks: stacks.unwrap_or(condition.stacks),
            output: self.output.everything(),
            resident: condition.resident,
            starved: system::starved().saturating_sub(self.starved.get()),
            limits: self.limits.borrow().clone(),
            versions,
        }
    }

    /// Count the death, and write the report.
    pub(super) fn judge(&self, death: &Death) -> Verdict {
        let mut ledger = self.ledger.borrow_mut();
        let mut verdict = ledger.judge(death, |run| self.observer.is_live(run));
        let plugins = self.settings.home.plugin_deaths();
        let case = verdict.guilty.as_ref().map(|step| Case::open(plugins, clock::now(), step, &death.cause));
        if let (Some(guilty), true) = (&verdict.guilty, case.as_ref().is_some_and(|case| case.quarantined)) {
            let _ =
                write!(verdict.text, "; plugin {} is quarantined, it is not loaded any more", guilty.plugin);
        }
        self.log.line(&format!("the interpreter died: {}", death.summary()));
        if !verdict.text.is_empty() {
            self.log.line(&verdict.text);
        }
        let report = match death.report(&self.settings.home.reports(), &verdict.text) {
            Ok(path) => path.display().to_string(),
            Err(error) => {
                self.log.line(&format!("its report cannot be written: {error}"));
                String::new()
            }
        };
        let kept = ledger.keep(death, &report).and_then(|()| case.map_or(Ok(()), |case| case.close(&report)));
        if let Err(error) = kept {
            self.log.line(&format!("its death is only remembered until the host ends: {error}"));
        }
        verdict
    }
}
