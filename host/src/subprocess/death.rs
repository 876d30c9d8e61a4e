//! What is known of an interpreter's death: who is to blame, and a report for people.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::pulse::Step;

/// So many reports are kept, the newest.
const KEPT: usize = 50;
/// Steps in flight beyond this are only counted.
const LISTED: usize = 100;

/// One death, as it was seen from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Death {
    pub pid: u32,
    /// Completes "died by …".
    pub cause: String,
    pub ready_for: Duration,
    /// The step that did it, if that is certain.
    pub blamed: Option<Step>,
    /// The step that started the thread that did it.
    pub suspect: Option<Step>,
    pub in_flight: Vec<Step>,
    /// The step in flight was executed with nothing beside it.
    pub alone: bool,
    pub stacks: String,
    /// The last Pit calls: how many in a row, and which.
    pub calls: Vec<(usize, String)>,
    /// The last that it and all it started wrote.
    pub output: String,
    /// Bytes, when it was last looked at.
    pub resident: u64,
    /// Processes that the kernel killed for lack of memory meanwhile.
    pub starved: u64,
    /// In words; empty: none.
    pub limits: String,
    pub versions: String,
}

impl Death {
    /// What it died by, and in which step.
    pub fn summary(&self) -> String {
        match &self.blamed {
            Some(step) if step.is_import() || !self.cause.contains(&step.run) => {
                format!("{} in {}", self.cause, step.describe())
            }
            _ => self.cause.clone(),
        }
    }

    /// The head of the report: at most ten lines, without an empty one.
    fn gist(&self, now: i64, verdict: &str) -> String {
        let named = |step: &Step| format!("{}, plugin {}", step.describe(), step.plugin);
        let blamed = match (&self.blamed, self.in_flight.len()) {
            (Some(step), _) if step.is_import() => step.describe(),
            (Some(step), _) => named(step),
            (None, 0) => "nobody; no step was in flight".to_owned(),
            (None, 1) => "nobody; one step was in flight".to_owned(),
            (None, count) => format!("nobody; {count} steps were in flight"),
        };
        let suspect = match &self.suspect {
            Some(step) if step.is_import() => step.describe(),
            Some(step) => format!("{}, which started the thread", named(step)),
            None => String::new(),
        };
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let memory = self.resident as f64 / f64::from(1 << 20);
        let starved = match self.starved {
            0 => String::new(),
            count => format!("; the kernel killed {count} processes for lack of memory meanwhile"),
        };
        let lines = [
            ("death", self.cause.clone()),
            ("time", clock::iso(now)),
            ("process", format!("{}, ready for {:.1} s", self.pid, self.ready_for.as_secs_f64())),
            ("memory", format!("{memory:.1} MiB when last looked at{starved}{}", self.shortage())),
            ("limits", self.limits.clone()),
            ("blamed", blamed),
            ("suspect", suspect),
            ("verdict", verdict.to_owned()),
            ("versions", self.versions.clone()),
        ];
        let shown = lines.iter().filter(|(_, text)| !text.is_empty());
        shown.fold(String::new(), |mut all, (name, text)| {
            let _ = writeln!(all, "{name:<10}{}", text.replace('\n', " "));
            all
        })
    }

    /// What it wrote of memory that it could not have: Python's exception, or the abort of an allocation in Rust.
    fn shortage(&self) -> String {
        let told = |line: &&str| line.starts_with("MemoryError") || line.starts_with("memory allocation of ");
        self.output.lines().rev().find(told).map_or_else(String::new, |line| format!("; it wrote: {line}"))
    }

    fn text(&self, now: i64, verdict: &str) -> String {
        let mut text = self.gist(now, verdict);
        text.push_str("\nSteps in flight:\n");
        for step in self.in_flight.iter().take(LISTED) {
            let _ = writeln!(text, "  {}, plugin {}, attempt {}", step.describe(), step.plugin, step.attempt);
        }
        let _ = writeln!(text, "\nPython stacks:\n{}", self.stacks);
        text.push_str("\nLast Pit calls, the newest last:\n");
        for (repeats, name) in &self.calls {
            let times = if *repeats > 1 { format!(", {repeats} times") } else { String::new() };
            let _ = writeln!(text, "  {name}{times}");
        }
        let _ = writeln!(text, "\nLast output:\n{}", self.output);
        text
    }

    /// Write the report, readable by this user alone; old ones make room. Gives its path.
    pub fn report(&self, folder: &Path, verdict: &str) -> io::Result<PathBuf> {
        let now = clock::now();
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(format!("{}-{}.txt", clock::iso(now).replace(':', "."), self.pid));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(self.text(now, verdict).as_bytes())?;
        let mut all: Vec<PathBuf> = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
            .collect();
        all.sort_unstable();
        for old in all.iter().rev().skip(KEPT) {
            let _ = fs::remove_file(old); // the next report tries again
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn step() -> Step {
        Step {
            run: "01jd".into(),
            workflow: "tools.wait".into(),
            plugin: "tools".into(),
            key: "wait#0".into(),
            attempt: 1,
            ..Step::default()
        }
    }

    #[test]
    fn a_report_begins_with_its_gist_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let death = Death {
            cause: "signal 11 (SIGSEGV)".into(),
            blamed: Some(step()),
            in_flight: vec![step()],
            stacks: "Thread 0x1:\n\n  File x".into(),
            calls: vec![(1, "dag_tracker.start_step".into()), (3, "pool_manager.acquire".into())],
            ..Death::default()
        };
        let path = death.report(&folder.path().join("reports"), "counted 1 of 3").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(path).unwrap();
        let (gist, rest) = text.split_once("\n\n").unwrap();
        assert!(gist.lines().count() <= 10 && gist.starts_with("death     signal 11 (SIGSEGV)\n"), "{gist}");
        assert!(gist.contains("step wait#0 of run 01jd (tools.wait), plugin tools"), "{gist}");
        assert!(rest.contains("Thread 0x1"), "{rest}");
        assert!(rest.contains("  dag_tracker.start_step\n  pool_manager.acquire, 3 times\n"), "{rest}");
        assert_eq!(death.summary(), "signal 11 (SIGSEGV) in step wait#0 of run 01jd (tools.wait)");
    }

    #[test]
    fn the_newest_reports_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 3 {
            fs::write(folder.path().join(format!("2020-01-{number:03}.txt")), "").unwrap();
        }
        let path = Death::default().report(folder.path(), "").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT);
        assert!(path.exists() && !folder.path().join("2020-01-003.txt").exists());
        assert!(folder.path().join("2020-01-004.txt").exists());
    }
}
