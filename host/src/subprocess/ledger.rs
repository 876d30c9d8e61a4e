//! Which step how many deaths are counted against: kept in the host log, so that neither a new interpreter nor a new host
//! forgets.
//!
//! Only what is certain counts: the step whose code the crashing thread was in, or one that died alone. A step that merely
//! was there at two deaths is a suspect; suspects are executed with nothing beside them until one dies alone. One that was just
//! the last in flight did not: those that ended before may have left something behind.

use std::io;
use std::rc::Rc;

use serde_json::{Value, json};

use super::death::Death;
use crate::host_log::HostLog;
use crate::pulse::Step;

/// Under this name the host log has the rows.
const FACT: &str = "step_deaths";

/// So many counted deaths, and the step is not executed any more.
pub(super) const QUARANTINE: u64 = 3;
/// So many deaths of others nearby, and it is a suspect.
pub(super) const SUSPICION: u64 = 2;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    run: String,
    key: String,
    workflow: String,
    plugin: String,
    /// Deaths at which it was in flight, with nobody to blame.
    nearby: u64,
    /// Deaths that are its own.
    counted: u64,
    /// How the last of them came, and where its report is.
    cause: String,
    report: String,
}

impl Row {
    fn is(&self, step: &Step) -> bool {
        self.run == step.run && self.key == step.key
    }

    fn document(&self) -> Value {
        json!({
            "run": self.run, "key": self.key, "workflow": self.workflow, "plugin": self.plugin,
            "nearby": self.nearby, "counted": self.counted, "cause": self.cause, "report": self.report,
        })
    }

    fn read(row: &Value) -> Self {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| row[name].as_u64().unwrap_or(0);
        Self {
            run: text("run"),
            key: text("key"),
            workflow: text("workflow"),
            plugin: text("plugin"),
            nearby: number("nearby"),
            counted: number("counted"),
            cause: text("cause"),
            report: text("report"),
        }
    }
}

/// What follows from a death.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// The step, or the import, that it counts against; then it says nothing about the interpreter.
    pub guilty: Option<Step>,
    /// For the report; empty: nothing follows.
    pub text: String,
}

/// The deaths of unfinished runs.
pub(super) struct Ledger {
    log: Rc<HostLog>,
    rows: Vec<Row>,
}

impl Ledger {
    pub fn open(log: Rc<HostLog>) -> Self {
        let rows = log.fact(FACT).unwrap_or_default();
        let rows = rows.as_array().into_iter().flatten().map(Row::read).collect();
        Self { log, rows }
    }

    fn save(&self) -> io::Result<()> {
        let rows: Value = self.rows.iter().map(Row::document).collect();
        if self.log.fact(FACT).unwrap_or_else(|| json!([])) == rows {
            Ok(())
        } else {
            self.log.state(FACT, rows)
        }
    }

    fn row(&mut self, step: &Step) -> &mut Row {
        let at = self.rows.iter().position(|row| row.is(step)).unwrap_or(self.rows.len());
        if at == self.rows.len() {
            self.rows.push(Row {
                run: step.run.clone(),
                key: step.key.clone(),
                workflow: step.workflow.clone(),
                plugin: step.plugin.clone(),
                nearby: 0,
                counted: 0,
                cause: String::new(),
                report: String::new(),
            });
        }
        &mut self.rows[at]
    }

    /// Judge a death. Runs that are not `live` any more are forgotten.
    pub fn judge(&mut self, death: &Death, live: impl Fn(&str) -> bool) -> Verdict {
        self.rows.retain(|row| live(&row.run));
        let guilty = death.blamed.as_ref().or_else(|| match &death.in_flight[..] {
            [step] if death.alone => Some(step),
            _ => None,
        });
        let Some(guilty) = guilty else {
            match &death.suspect {
                Some(step) if step.is_import() => {}
                // Its own thread did it, for whomever: to be alone will tell.
                Some(step) => {
                    let row = self.row(step);
                    row.nearby = (row.nearby + 1).max(SUSPICION);
                }
                None => death.in_flight.iter().for_each(|step| self.row(step).nearby += 1),
            }
            let suspects = death.in_flight.iter().filter(|step| self.is_suspect(step)).count();
            let text = match suspects {
                0 => String::new(),
                _ => format!("suspects: {suspects}; each is executed with nothing beside it"),
            };
            return Verdict { guilty: None, text };
        };
        if guilty.is_import() {
            return Verdict {
                guilty: Some(guilty.clone()),
                text: format!("a death of {}", guilty.describe()),
            };
        }
        let row = self.row(guilty);
        row.counted += 1;
        row.cause.clone_from(&death.cause);
        let what = if row.counted >= QUARANTINE { ": quarantined, its run fails" } else { "" };
        let text = format!("death {} of {QUARANTINE} of {}{what}", row.counted, guilty.describe());
        Verdict { guilty: Some(guilty.clone()), text }
    }

    /// Where the report of the death judged last is; then all is written down.
    pub fn keep(&mut self, death: &Death, report: &str) -> io::Result<()> {
        let guilty = death.blamed.iter().chain(&death.in_flight).cloned().collect::<Vec<_>>();
        for row in self.rows.iter_mut().filter(|row| guilty.iter().any(|step| row.is(step))) {
            report.clone_into(&mut row.report);
        }
        self.save()
    }

    fn is_suspect(&self, step: &Step) -> bool {
        self.rows.iter().any(|row| row.is(step) && row.nearby >= SUSPICION)
    }

    /// What a new interpreter is to know: steps whose runs have failed, and steps to be executed alone.
    pub fn orders(&self) -> (Value, Value) {
        let quarantined = self.rows.iter().filter(|row| row.counted >= QUARANTINE).map(Row::document);
        let suspects = self.rows.iter().filter(|row| row.nearby >= SUSPICION && row.counted < QUARANTINE);
        (quarantined.collect(), suspects.map(|row| json!([row.run, row.key, row.nearby])).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use std::path::Path;

    use super::*;
    use crate::log_file::LogFile;

    fn step(run: &str, key: &str) -> Step {
        Step { run: run.into(), key: key.into(), workflow: "w".into(), ..Step::default() }
    }

    fn death(blamed: Option<&Step>, in_flight: &[&Step]) -> Death {
        let in_flight = in_flight.iter().map(|step| (*step).clone()).collect();
        Death { cause: "signal 9".into(), blamed: blamed.cloned(), in_flight, ..Death::default() }
    }

    fn lonely(step: &Step) -> Death {
        Death { alone: true, ..death(None, &[step]) }
    }

    fn empty() -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = opened(folder.path());
        (folder, ledger)
    }

    fn opened(folder: &Path) -> Ledger {
        let complaints = LogFile::open(folder.join("text.log")).unwrap();
        Ledger::open(Rc::new(HostLog::open(folder.join("host.log"), Rc::new(complaints)).unwrap()))
    }

    #[test]
    fn a_blamed_step_is_quarantined_at_the_third_death_and_the_count_outlives_the_host() {
        let (folder, mut ledger) = empty();
        let (guilty, other) = (step("a", "crash#0"), step("b", "wait#0"));
        for count in 1..=3 {
            assert_eq!(ledger.orders().0, json!([]), "before death {count}");
            let death = death(Some(&guilty), &[&guilty, &other]);
            assert!(ledger.judge(&death, |_| true).guilty.is_some());
            ledger.keep(&death, "/r").unwrap();
            ledger = opened(folder.path());
        }
        let (quarantined, suspects) = ledger.orders();
        assert_eq!((&quarantined[0]["key"], &quarantined[0]["report"]), (&json!("crash#0"), &json!("/r")));
        assert_eq!((quarantined.as_array().unwrap().len(), suspects), (1, json!([])));
    }

    #[test]
    fn nobody_is_counted_for_what_is_not_certain_until_it_dies_alone() {
        let (_folder, mut ledger) = empty();
        let (one, two) = (step("a", "x#0"), step("b", "x#0"));
        assert_eq!(ledger.judge(&death(None, &[&one, &two]), |_| true), Verdict::default());
        assert!(ledger.judge(&death(None, &[&one]), |_| true).guilty.is_none(), "the last in flight");
        assert_eq!(ledger.orders(), (json!([]), json!([["a", "x#0", 2]])));
        for _ in 0..2 {
            assert!(ledger.judge(&death(None, &[&one, &two]), |_| true).guilty.is_none(), "not alone");
        }
        assert!(
            ledger.judge(&death(None, &[&one]), |_| true).guilty.is_none(),
            "a suspect, and the last in flight"
        );
        for _ in 0..3 {
            assert!(ledger.judge(&lonely(&two), |_| true).guilty.is_some());
        }
        let (quarantined, suspects) = ledger.orders();
        assert_eq!((&quarantined[0]["run"], suspects), (&json!("b"), json!([["a", "x#0", 5]])));
    }

    #[test]
    fn who_started_the_thread_that_crashed_is_suspected_at_once_and_alone() {
        let (_folder, mut ledger) = empty();
        let (one, two) = (step("a", "x#0"), step("b", "x#0"));
        let crash = Death { suspect: Some(one.clone()), ..death(None, &[&one, &two]) };
        let verdict = ledger.judge(&crash, |_| true);
        assert!(verdict.guilty.is_none() && verdict.text.starts_with("suspects: 1;"), "{}", verdict.text);
        assert_eq!(ledger.orders().1, json!([["a", "x#0", 2]]));
        assert!(ledger.judge(&lonely(&one), |_| true).guilty.is_some(), "it died alone");
    }

    #[test]
    fn runs_that_have_ended_are_forgotten() {
        let (_folder, mut ledger) = empty();
        let (one, two) = (step("a", "x#0"), step("b", "x#0"));
        for _ in 0..3 {
            ledger.judge(&death(Some(&one), &[]), |_| true);
        }
        ledger.judge(&death(None, &[&two]), |run| run != "a");
        assert_eq!(ledger.orders().0, json!([]));
    }
}
