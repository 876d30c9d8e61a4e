//! Questions to the history. Of live runs it tells nothing: for those the log is the authority.

use rusqlite::types::{ToSql, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use symphony_dag_tracker::records::RunStatus;
use symphony_dag_tracker::table::{RunRow, StepRow, StepState};
use symphony_pit_journal::Covered;

use super::History;
use super::rows::failures;
use crate::failure::Result;
use crate::runs::Filter;

/// A finished run as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub run: String,
    pub workflow: String,
    pub status: String,
    pub accepted: i64,
    pub finished: i64,
    /// Executed, reused, failed, skipped.
    pub counts: [i64; 4],
}

const KEPT: &str = "run, workflow, status, accepted, finished, executed, reused, failed, skipped";

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        run: row.get(0)?,
        workflow: row.get(1)?,
        status: row.get(2)?,
        accepted: row.get(3)?,
        finished: row.get(4)?,
        counts: [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?],
    })
}

pub(super) fn covered(connection: &Connection) -> rusqlite::Result<Option<Covered>> {
    let read = |row: &Row<'_>| {
        Ok(Covered { position: row.get::<_, i64>(0)?.cast_unsigned(), checksum: row.get(1)? })
    };
    connection.query_row("SELECT position, checksum FROM progress", [], read).optional()
}

impl History {
    /// Runs that had not ended when they were written.
    pub fn live(&self) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT run FROM runs WHERE status = 'running'")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Finished runs that `filter` takes, newest first, at most `limit`.
    pub fn list(&self, filter: &Filter, limit: usize) -> Result<Vec<Kept>> {
        let mut conditions = vec!["finished IS NOT NULL"];
        let mut values: Vec<&dyn ToSql> = Vec::new();
        if let Some(status) = &filter.status {
            conditions.push("status = ?");
            values.push(status);
        }
        if let Some(workflow) = &filter.workflow {
            conditions.push(if workflow.contains(':') { "id = ?" } else { "workflow = ?" });
            values.push(workflow);
        }
        if let Some(since) = &filter.since {
            conditions.push("accepted >= ?");
            values.push(since);
        }
        if let Some((accepted, run)) = &filter.older {
            conditions.push("(accepted, run) < (?, ?)");
            values.extend([accepted as &dyn ToSql, run]);
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        values.push(&limit);
        let question = format!(
            "SELECT {KEPT} FROM runs WHERE {} ORDER BY accepted DESC, run DESC LIMIT ?",
            conditions.join(" AND ")
        );
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&question)?;
            statement.query_map(params_from_iter(values), kept)?.collect()
        })
    }

    /// A finished run with its steps.
    pub fn get(&self, run: &str) -> Result<Option<RunRow>> {
        self.read(|connection| {
            let Some(row) = Self::head(connection, run)? else { return Ok(None) };
            let mut statement = connection.prepare_cached(
                "SELECT key, name, state, attempts, started, finished, dependencies, failures FROM steps
                 WHERE run = ? ORDER BY number",
            )?;
            let steps = statement.query_map([run], step)?.collect::<rusqlite::Result<_>>()?;
            Ok(Some(row.with_steps(steps)))
        })
    }

    fn head(connection: &Connection, run: &str) -> rusqlite::Result<Option<RunRow>> {
        let read = |row: &Row<'_>| {
            let mut found = RunRow::accepted(run, row.get::<_, String>(0)?.as_bytes(), row.get(1)?);
            let status = RunStatus::from_name(&row.get::<_, String>(2)?).unwrap_or(RunStatus::Failed);
            found.finished = Some((status, row.get(3)?));
            found.payload = match (row.get_ref(4)?, row.get_ref(5)?) {
                (ValueRef::Text(artifact), _) => [b"@", artifact].concat(),
                (_, ValueRef::Text(report)) => [b"=", report].concat(),
                _ => Vec::new(),
            };
            Ok(found)
        };
        let question = "SELECT info, accepted, status, finished, artifact, report FROM runs
                        WHERE run = ? AND finished IS NOT NULL";
        connection.prepare_cached(question)?.query_row([run], read).optional()
    }

    /// When a finished run was accepted.
    pub fn accepted(&self, run: &str) -> Result<Option<i64>> {
        let question = "SELECT accepted FROM runs WHERE run = ? AND finished IS NOT NULL";
        self.read(|connection| {
            connection.prepare_cached(question)?.query_row([run], |row| row.get(0)).optional()
        })
    }

    /// Finished runs whose id begins with `prefix`, at most so many.
    pub fn with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let behind = format!("{prefix}\u{10ffff}");
        let question = "SELECT run FROM runs WHERE run >= ? AND run < ? AND finished IS NOT NULL
                        ORDER BY run LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(question)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement.query_map(params![prefix, behind, limit], |row| row.get(0))?.collect()
        })
    }

    /// The finished runs on both sides of an id in their order, and the newest one.
    pub fn around(&self, id: &str) -> Result<Vec<String>> {
        let questions = [
            "SELECT run FROM runs WHERE finished IS NOT NULL AND run <= ?1 ORDER BY run DESC LIMIT 1",
            "SELECT run FROM runs WHERE finished IS NOT NULL AND run >= ?1 ORDER BY run LIMIT 1",
            "SELECT run FROM runs WHERE finished IS NOT NULL AND ?1 = ?1 ORDER BY accepted DESC, run DESC LIMIT 1",
        ];
        self.read(|connection| {
            let ask =
                |question| connection.prepare_cached(question)?.query_row([id], |row| row.get(0)).optional();
            Ok(questions
                .map(ask)
                .into_iter()
                .collect::<rusqlite::Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect())
        })
    }

    /// Runs that ended before a time (µs), in this state if one is given.
    pub fn ended_before(&self, time: i64, status: Option<&str>) -> Result<Vec<String>> {
        let question = "SELECT run FROM runs WHERE finished < ? AND (?2 IS NULL OR status = ?2)
                        ORDER BY accepted, run";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(question)?;
            statement.query_map(params![time, status], |row| row.get(0))?.collect()
        })
    }
}

fn step(row: &Row<'_>) -> rusqlite::Result<StepRow> {
    let state = row.get::<_, String>(2)?;
    Ok(StepRow {
        key: row.get(0)?,
        name: row.get(1)?,
        state: StepState::from_name("state", &state).unwrap_or(StepState::Failed),
        attempts: row.get(3)?,
        started: row.get(4)?,
        finished: row.get(5)?,
        dependencies: serde_json::from_str(&row.get::<_, String>(6)?).unwrap_or_default(),
        failures: failures(&row.get::<_, String>(7)?),
    })
}
