//! Which plugin's code ended the interpreter, and when: one that does so again and again is not loaded any more.
//!
//! Kept in the home, where the interpreter reads it, and from where `symphony plugins enable` takes a plugin out: so it is read
//! anew at each death. A step that dies again counts once, since it is quarantined by itself.

use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::home;
use crate::pulse::Step;

/// So many of its steps, or so many of its imports, within `WINDOW`.
const QUARANTINE: usize = 3;
const WINDOW: i64 = 10 * 60 * 1_000_000;

/// The deaths of one plugin, each with its time in microseconds, and the verdict.
#[derive(Debug, Default)]
struct Row {
    deaths: Vec<(i64, String, String)>,
    quarantined: Value,
}

impl Row {
    fn read(row: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let deaths = row["deaths"].as_array().into_iter().flatten();
        let deaths = deaths.filter_map(|death| Some((death[0].as_i64()?, text(&death[1]), text(&death[2]))));
        Self { deaths: deaths.collect(), quarantined: row["quarantined"].clone() }
    }

    /// Whether that was one too many.
    fn add(&mut self, now: i64, step: &Step) -> bool {
        self.deaths.retain(|(time, run, key)| {
            now - time <= WINDOW && (step.is_import() || *run != step.run || *key != step.key)
        });
        self.deaths.push((now, step.run.clone(), step.key.clone()));
        self.deaths.len() >= QUARANTINE
    }
}

/// The deaths of all plugins, with one more that is not written down yet.
pub(super) struct Case {
    path: PathBuf,
    rows: Map<String, Value>,
    plugin: String,
    /// The plugin is not loaded any more.
    pub quarantined: bool,
}

impl Case {
    /// Count a death against the plugin of the guilty step. What cannot be read counts as nothing.
    pub fn open(path: PathBuf, now: i64, guilty: &Step, cause: &str) -> Self {
        let text = std::fs::read(&path).unwrap_or_default();
        let document: Value = serde_json::from_slice(&text).unwrap_or_default();
        let mut rows = document["plugins"].as_object().cloned().unwrap_or_default();
        let plugin = guilty.plugin.clone();
        let mut row = Row::read(rows.get(&plugin).unwrap_or(&Value::Null));
        if row.add(now, guilty) && row.quarantined.is_null() {
            row.quarantined = json!({"time": now, "cause": cause, "report": ""});
        }
        let quarantined = !row.quarantined.is_null();
        rows.insert(plugin.clone(), json!({"deaths": row.deaths, "quarantined": row.quarantined}));
        Self { path, rows, plugin, quarantined }
    }

    /// Write all down, with the place of the report.
    pub fn close(mut self, report: &str) -> io::Result<()> {
        if self.quarantined {
            self.rows[&self.plugin]["quarantined"]["report"] = json!(report);
        }
        home::replace(&self.path, format!("{}\n", json!({"plugins": self.rows})).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn step(run: &str, plugin: &str) -> Step {
        Step { run: run.into(), key: "x#0".into(), plugin: plugin.into(), ..Step::default() }
    }

    /// The minutes at which a death of such a step made the plugin one to be quarantined.
    fn judged(deaths: &[(i64, &str, &str)]) -> Vec<(i64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin_deaths.json");
        let mut found = Vec::new();
        for (minute, run, plugin) in deaths {
            let case = Case::open(path.clone(), minute * MINUTE, &step(run, plugin), "signal 11");
            if case.quarantined {
                found.push((*minute, (*plugin).to_owned()));
            }
            case.close("/report").unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.contains(r#""report":"/report""#), !found.is_empty(), "{text}");
        found
    }

    #[test]
    fn three_steps_of_a_plugin_within_ten_minutes_are_too_many() {
        let deaths = [(0, "a", "p"), (1, "a", "q"), (4, "b", "p"), (10, "c", "p"), (99, "d", "p")];
        assert_eq!(judged(&deaths), [(10, "p".to_owned()), (99, "p".to_owned())]);
        assert_eq!(judged(&[(0, "a", "p"), (4, "b", "p"), (11, "c", "p")]), []);
    }

    #[test]
    fn one_step_that_dies_again_is_one_but_each_import_counts() {
        assert_eq!(judged(&[(0, "a", "p"), (1, "a", "p"), (2, "a", "p"), (3, "b", "p")]), []);
        assert_eq!(judged(&[(0, "", "p"), (1, "", "p"), (2, "", "p")]), [(2, "p".to_owned())]);
    }
}
