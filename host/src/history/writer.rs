//! The thread that writes: one transaction a batch, repeated until the disk takes it.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use symphony_pit_journal::Covered;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::rows::{Batch, Columns, Entry, dependencies, failures_text};
use super::schema;

/// A batch that was refused is tried again after so long.
const RETRY: Duration = Duration::from_secs(2);
/// Pages given back to the file system after a deletion, so that it takes no long lock.
const PAGES_GIVEN_BACK: u32 = 4096;

pub(super) enum Job {
    Take(Batch),
    Delete(Vec<String>, oneshot::Sender<rusqlite::Result<()>>),
    /// A reader found the file damaged.
    Damaged,
}

/// What the thread tells.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// A batch is written and will last: its finished runs, and up to which record the history is complete.
    Taken { finished: Vec<String>, covered: Option<Covered> },
    /// Writing failed, and is tried again.
    Problem(String),
    /// The file was damaged or is gone, and an empty one took its place: all that the log has must be given again.
    Anew(String),
}

pub(super) fn serve(
    path: &Path,
    mut connection: Connection,
    reader: &Mutex<Connection>,
    jobs: &Receiver<Job>,
    news: &UnboundedSender<News>,
) {
    let mut held: Option<Batch> = None;
    let mut identity = schema::identity(path);
    loop {
        let patience = if held.is_some() { RETRY } else { Duration::MAX };
        let job = match jobs.recv_timeout(patience) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut asked = None;
        let mut damaged = false;
        match job {
            Some(Job::Take(batch)) => held = Some(batch),
            Some(Job::Delete(runs, reply)) => {
                if let Some(batch) = &mut held {
                    batch.entries.retain(|entry| !runs.contains(&entry.row.run)); // or they would come back
                }
                asked = Some((runs, reply));
            }
            Some(Job::Damaged) => damaged = true,
            None => {}
        }
        // What is written to a file that was deleted, or has another one in its place, is in no history.
        damaged |= schema::identity(path) != identity;
        if let Some(batch) = held.take_if(|_| !damaged) {
            match take(&mut connection, &batch) {
                Ok(()) => {
                    let ended = |entry: Entry| entry.row.finished.is_some().then_some(entry.row.run);
                    let finished = batch.entries.into_iter().filter_map(ended).collect();
                    let _ = news.send(News::Taken { finished, covered: batch.covered }); // nobody listens at the end
                }
                Err(error) if schema::is_damage(&error) => damaged = true,
                Err(error) => {
                    let _ = news.send(News::Problem(error.to_string())); // as above
                    held = Some(batch);
                }
            }
        }
        if let Some((runs, reply)) = asked {
            let deleted = delete(&mut connection, &runs);
            damaged |= deleted.as_ref().is_err_and(schema::is_damage);
            let _ = reply.send(deleted); // whoever asked may have gone
        }
        if damaged {
            held = None;
            if let Some(new) = begin_anew(path, reader, news) {
                connection = new;
                identity = schema::identity(path);
            }
        }
    }
}

/// None where the file is still what it was: it is tried again with the next batch.
fn begin_anew(path: &Path, reader: &Mutex<Connection>, news: &UnboundedSender<News>) -> Option<Connection> {
    let made = schema::set_aside(path).and_then(|aside| {
        let connection = schema::open(path, |_| ())?;
        let looking = schema::reading(path).map_err(|error| super::failed(path, &error))?;
        *reader.lock().unwrap_or_else(PoisonError::into_inner) = looking;
        Ok((connection, aside))
    });
    match made {
        Ok((connection, aside)) => {
            let _ = news.send(News::Anew(aside.display().to_string())); // nobody listens at the end
            Some(connection)
        }
        Err(failure) => {
            let _ = news.send(News::Problem(failure.message)); // as above
            None
        }
    }
}

fn take(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for run in &batch.gone {
        let live = "SELECT run FROM runs WHERE run = ? AND finished IS NULL";
        if transaction.query_row(live, [run], |_| Ok(())).optional()?.is_some() {
            forget(&transaction, run)?;
        }
    }
    for entry in &batch.entries {
        put(&transaction, entry)?;
    }
    if let Some(Covered { position, checksum }) = batch.covered {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO progress VALUES (1, ?, ?)")?
            .execute(params![position.cast_signed(), checksum])?;
    }
    transaction.commit()
}

fn put(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let (row, columns) = (&entry.row, Columns::of(entry));
    let [executed, reused, failed, skipped] = columns.counts;
    let [error_type, error_message, error_step] = &columns.error;
    // What is in an artifact is not here.
    let report = row.payload.get(1..).filter(|report| columns.artifact.is_none() && !report.is_empty());
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            row.run,
            columns.workflow,
            columns.id,
            columns.plugin,
            columns.status,
            row.accepted,
            row.finished.map(|(_, time)| time),
            executed,
            reused,
            failed,
            skipped,
            error_type,
            error_message,
            error_step,
            columns.artifact,
            String::from_utf8_lossy(&row.info),
            report.map(String::from_utf8_lossy),
        ])?;
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (number, step) in &entry.steps {
        insert.execute(params![
            row.run,
            i64::try_from(*number).unwrap_or(i64::MAX),
            step.key,
            step.name,
            step.state.name(),
            step.attempts,
            step.started,
            step.finished,
            dependencies(step),
            failures_text(step),
        ])?;
    }
    Ok(())
}

fn forget(connection: &Connection, run: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM steps WHERE run = ?")?.execute([run])?;
    connection.prepare_cached("DELETE FROM runs WHERE run = ?")?.execute([run])?;
    Ok(())
}

fn delete(connection: &mut Connection, runs: &[String]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for run in runs {
        forget(&transaction, run)?;
    }
    transaction.commit()?;
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"))
}
