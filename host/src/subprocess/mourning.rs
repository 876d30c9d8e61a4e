//! After a death: what it was, who is to blame, and the report.

use std::time::Duration;

use super::Supervisor;
use super::death::Death;
use super::ledger::Verdict;
use crate::pulse::Pulse;
use crate::system;

impl Supervisor {
    /// Take what the dead one left.
    pub(super) fn examine(&self, cause: String, signal: Option<i32>, ready_for: Duration) -> Death {
        let condition = self.condition.take();
        let pulse = self.pulse.take();
        let pulse = pulse.as_deref();
        let crash = pulse.and_then(|pulse| pulse.crash().filter(|crash| Some(crash.signal) == signal));
        let blamed = match condition.hang {
            Some(hang) => hang.step,
            None => crash.and_then(|crash| crash.step),
        };
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
            in_flight: pulse.map(Pulse::in_flight).unwrap_or_default(),
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
        let verdict = ledger.judge(death, |run| self.observer.is_live(run));
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
        if let Err(error) = ledger.keep(death, &report) {
            self.log.line(&format!("its death is only remembered until the host ends: {error}"));
        }
        verdict
    }
}
