//! Full-text search: an `SQLite` FTS5 index beside the content, filled by a thread of its own.
//!
//! The index is derived: it keeps the number of the last change that it has seen, and what changed since is given to it again
//! at the next start. A damaged or foreign index file is made anew.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use symphony_pit::{Error, ErrorKind, Result};

use crate::hash::Hash;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF; -- it can always be made anew
    CREATE TABLE IF NOT EXISTS seen (one INTEGER PRIMARY KEY CHECK (one = 1), change INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS ids (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
    CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
        names, tags, metadata, body, content = '', contentless_delete = 1, tokenize = 'unicode61'
    );";
/// What a word is worth in names, tags, metadata and body.
const RANK: &str = "bm25(words, 4.0, 3.0, 2.0, 1.0)";
/// Documents of one transaction.
const BATCH: usize = 1_000;

/// A change for the index: what is now to be found under an id, or nothing any more.
pub(crate) struct Document {
    pub id: Hash,
    pub text: Option<Text>,
}

pub(crate) struct Text {
    pub names: String,
    pub tags: String,
    pub metadata: String,
    pub body: String,
}

#[derive(Default)]
struct State {
    /// Ids whose document is to be looked up and written, with the number of their change.
    queue: VecDeque<(u64, Hash)>,
    /// Newest change that was queued.
    noted: u64,
    /// Change that the index has seen.
    seen: u64,
    stopped: bool,
    problem: Option<String>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct Index {
    path: PathBuf,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    reader: Mutex<Option<Connection>>,
}

fn failed(error: &rusqlite::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the search index cannot be used: {error}"))
}

fn open(path: &Path) -> rusqlite::Result<(Connection, u64)> {
    let connection = Connection::open(path)?;
    connection.execute_batch(SCHEMA)?;
    let seen = connection.query_row("SELECT change FROM seen", [], |row| row.get::<_, i64>(0)).optional()?;
    Ok((connection, seen.unwrap_or(0).unsigned_abs()))
}

impl Index {
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("index.db"),
            shared: Arc::default(),
            writer: Mutex::default(),
            reader: Mutex::default(),
        }
    }

    /// Open the index and start its thread, which asks `document` for what became of an id. Gives the change it has seen;
    /// one that has seen more than `changes` belongs to another log and is made anew.
    pub fn start(&self, changes: u64, document: impl Fn(Hash) -> Document + Send + 'static) -> Result<u64> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::io(format!("cannot create {}", folder.display()), &error))?;
        }
        let opened = match open(&self.path) {
            Ok((connection, seen)) if seen <= changes => Ok((connection, seen)),
            _ => {
                for suffix in ["", "-wal", "-shm"] {
                    let mut path = self.path.clone().into_os_string();
                    path.push(suffix);
                    let _ = std::fs::remove_file(path); // what cannot be removed fails to open below
                }
                open(&self.path)
            }
        };
        let (connection, seen) = opened.map_err(|error| failed(&error))?;
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).seen = seen;
        let shared = Arc::clone(&self.shared);
        let writer = std::thread::Builder::new()
            .name("symphony-index".to_owned())
            .spawn(move || serve(&shared, connection, document))
            .map_err(|error| Error::io("no thread for the search index", &error))?;
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(seen)
    }

    /// Have an id looked up again. Never blocks for long: the thread does the work.
    pub fn note(&self, change: u64, id: Hash) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.queue.push_back((change, id));
        state.noted = change;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// End the thread, and wait for it: who opens the index next must find it closed.
    pub fn stop(&self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.shared.changed.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join(); // a panic in it was printed, and the index is made anew from the log
        }
    }

    /// The ids that match all words, best first; waits until the index has seen everything that was noted so far.
    pub fn search(&self, query: &str, limit: usize) -> Result<Vec<(Hash, f64)>> {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let target = state.noted;
        let state = self
            .shared
            .changed
            .wait_while(state, |state| state.seen < target && state.problem.is_none() && !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = &state.problem {
            return Err(Error::new(ErrorKind::Io, format!("the search index cannot be used: {problem}")));
        }
        drop(state);
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.is_none() {
            *reader = Some(Connection::open(&self.path).map_err(|error| failed(&error))?);
        }
        let Some(connection) = reader.as_ref() else { return Ok(Vec::new()) };
        let find = || -> rusqlite::Result<Vec<(Hash, f64)>> {
            let sql = format!(
                "SELECT ids.id, {RANK} AS rank FROM words JOIN ids ON ids.number = words.rowid
                 WHERE words MATCH ?1 ORDER BY rank, ids.id LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![expression(query), limit], |row| {
                Ok((row.get::<_, Hash>(0)?, -row.get::<_, f64>(1)?))
            })?;
            rows.collect()
        };
        find().map_err(|error| failed(&error))
    }
}

/// All words, each as it stands; a word that ends with `*` is the beginning of one.
fn expression(query: &str) -> String {
    let term = |word: &str| {
        let (word, star) = word.strip_suffix('*').map_or((word, ""), |word| (word, "*"));
        format!("\"{}\"{star}", word.replace('"', "\"\""))
    };
    query.replace('\0', " ").split_whitespace().map(term).collect::<Vec<_>>().join(" ")
}

fn serve(shared: &Shared, mut connection: Connection, document: impl Fn(Hash) -> Document) {
    loop {
        let batch: Vec<(u64, Hash)> = {
            let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut state = shared
                .changed
                .wait_while(state, |state| state.queue.is_empty() && !state.stopped)
                .unwrap_or_else(PoisonError::into_inner);
            if state.stopped {
                return;
            }
            let count = state.queue.len().min(BATCH);
            let batch = state.queue.drain(..count).collect();
            if state.queue.is_empty() {
                state.queue.shrink_to(BATCH);
            }
            batch
        };
        let newest = batch.last().map_or(0, |(change, _)| *change);
        let written = write(&mut connection, batch.into_iter().map(|(_, id)| document(id)), newest);
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Ok(()) => state.seen = state.seen.max(newest),
            Err(error) => state.problem = Some(error.to_string()),
        }
        drop(state);
        shared.changed.notify_all();
    }
}

fn write(
    connection: &mut Connection,
    documents: impl Iterator<Item = Document>,
    newest: u64,
) -> rusqlite::Result<()> {
    // Immediate: a transaction that reads first and writes then is refused when the file changed in between.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for Document { id, text, .. } in documents {
        let known: Option<i64> = transaction
            .prepare_cached("SELECT number FROM ids WHERE id = ?1")?
            .query_row(params![id], |row| row.get(0))
            .optional()?;
        if let Some(number) = known {
            transaction.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([number])?;
        }
        match (text, known) {
            (Some(text), known) => {
                let number = if let Some(number) = known {
                    number
                } else {
                    transaction.prepare_cached("INSERT INTO ids (id) VALUES (?1)")?.execute(params![id])?;
                    transaction.last_insert_rowid()
                };
                transaction
                    .prepare_cached(
                        "INSERT INTO words (rowid, names, tags, metadata, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![number, text.names, text.tags, text.metadata, text.body])?;
            }
            (None, Some(number)) => {
                transaction.prepare_cached("DELETE FROM ids WHERE number = ?1")?.execute([number])?;
            }
            (None, None) => {}
        }
    }
    let newest = i64::try_from(newest).unwrap_or(i64::MAX);
    transaction.execute(
        "INSERT INTO seen VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET change = max(change, ?1)",
        [newest],
    )?;
    transaction.commit()
}
