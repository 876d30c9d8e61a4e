//! The history of a home, `history.db`: what is known of live runs, and the authority for finished ones.
//!
//! A thread of its own writes it, so that the host's loop never waits for the disk; reading is a matter of indexes. What is in
//! it once a commit has returned survives a power loss, since the log lets go of records that are here.

mod queries;
mod rows;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode};
use symphony_pit_journal::Covered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

pub use queries::Kept;
pub use rows::{Batch, Entry};
pub use schema::VERSION;
pub use writer::News;

use crate::failure::{Failure, Result};
use writer::Job;

/// The history, open for reading, and where this process keeps it, for writing.
pub struct History {
    path: PathBuf,
    reader: Arc<Mutex<Connection>>,
    writer: Mutex<Option<Writer>>,
}

struct Writer {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

/// What reading or writing failed with, in the words of a client.
fn failed(path: &Path, error: &rusqlite::Error) -> Failure {
    let path = path.display();
    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        return Failure::unavailable(format!("the history {path} is locked by another process"))
            .hint(format!("end its transaction; see who has the file open: fuser -v {path}"));
    }
    Failure::unavailable(format!("the history {path} cannot be used: {error}")).hint(
        "free space if the disk is full; if the file is damaged, the next start of the host makes it anew",
    )
}

impl History {
    /// Open the history at `path` and start its thread, whose news the receiver gets; made if new. One that is damaged is set
    /// aside and made anew, which `report` is told; one of a later version is refused.
    pub fn open(path: PathBuf, report: impl Fn(&str)) -> Result<(Self, UnboundedReceiver<News>)> {
        let connection = schema::open(&path, report)?;
        let reader = schema::reading(&path).map_err(|error| failed(&path, &error))?;
        let (jobs, queue) = channel();
        let (tell, news) = tokio::sync::mpsc::unbounded_channel();
        let reader = Arc::new(Mutex::new(reader));
        let (writing, shared) = (path.clone(), reader.clone());
        let thread = std::thread::Builder::new()
            .name("symphony-history".to_owned())
            .spawn(move || writer::serve(&writing, connection, &shared, &queue, &tell))
            .map_err(|error| Failure::unavailable(format!("no thread for the history: {error}")))?;
        Ok((Self { path, reader, writer: Mutex::new(Some(Writer { jobs, thread })) }, news))
    }

    /// Open the history at `path` for a single look at it, if there is one that can be read.
    pub fn look(path: PathBuf, report: impl Fn(&str)) -> Result<Option<Self>> {
        let reader = schema::open_to_look(&path, report)?;
        Ok(reader.map(|reader| Self { path, reader: Arc::new(Mutex::new(reader)), writer: Mutex::new(None) }))
    }

    fn give(&self, job: Job) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.as_ref() {
            let _ = writer.jobs.send(job); // a thread that ended is noticed by whoever waits for its answer
        }
    }

    /// Have runs written. The next batch is given only when news of this one came.
    pub fn take(&self, batch: Batch) {
        self.give(Job::Take(batch));
    }

    /// Forget finished runs, for good.
    pub async fn delete(&self, runs: Vec<String>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.give(Job::Delete(runs, reply));
        let gone = || Failure::unavailable("the history is closed");
        answer.await.map_err(|_| gone())?.map_err(|error| failed(&self.path, &error))
    }

    /// Write what was given so far, and write nothing any more.
    pub fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Writer { jobs, thread }) = writer {
            drop(jobs);
            let _ = thread.join(); // a panic was printed by the hook
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection: MutexGuard<'_, Connection> =
            self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let found = look(&connection);
        drop(connection);
        found.map_err(|error| {
            if schema::is_damage(&error) {
                self.give(Job::Damaged);
            }
            failed(&self.path, &error)
        })
    }

    /// The last record of the log that is in here.
    pub fn covered(&self) -> Result<Option<Covered>> {
        self.read(queries::covered)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
