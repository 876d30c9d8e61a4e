//! The file: its tables, its version, and what is done about one that cannot be read.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failed;
use crate::clock;
use crate::failure::{Failure, Result};

/// Kept as `user_version`.
pub const VERSION: i64 = 1;

/// Times in µs since the epoch. `docs/operations.md` shows the tables to people.
const TABLES: &str = "
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        workflow TEXT NOT NULL,
        id TEXT NOT NULL,
        plugin TEXT NOT NULL,
        status TEXT NOT NULL,
        accepted INTEGER NOT NULL,
        finished INTEGER,
        executed INTEGER NOT NULL,
        reused INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        skipped INTEGER NOT NULL,
        error_type TEXT,
        error_message TEXT,
        error_step TEXT,
        artifact TEXT,
        info TEXT NOT NULL,
        report TEXT
    );
    CREATE TABLE steps (
        run TEXT NOT NULL,
        number INTEGER NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        started INTEGER,
        finished INTEGER,
        dependencies TEXT NOT NULL,
        failures TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
    CREATE TABLE progress (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        position INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    );
    CREATE INDEX runs_by_time ON runs (accepted, run);
    CREATE INDEX runs_by_status ON runs (status, accepted, run);
    CREATE INDEX runs_by_workflow ON runs (workflow, accepted, run);
    CREATE INDEX runs_by_id ON runs (id, accepted, run);";
/// Reads a column of each table that only this file has.
const PROOF: &str = "SELECT report, dependencies, checksum FROM runs, steps, progress LIMIT 1";
/// Another process that looks is waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found instead of a history.
enum Unfit {
    /// Bytes that are no such database, or tables that are not ours.
    Damaged(String),
    Newer(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) { Self::Damaged(error.to_string()) } else { Self::Sqlite(error) }
    }
}

/// Whether the file is not what was written to it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn newer(path: &Path, found: i64) -> Failure {
    Failure::incompatible(format!(
        "the history {} was written by a later Symphony: it has version {found}, this one reads {VERSION}",
        path.display()
    ))
    .hint("update Symphony, or choose another home with --home DIR")
}

/// Refuse what is not ours; true if there is nothing yet.
fn check(connection: &Connection) -> std::result::Result<bool, Unfit> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(Unfit::Newer(version));
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables == 0 {
        return Ok(true);
    }
    match connection.prepare(PROOF).and_then(|mut proof| proof.exists([])) {
        Ok(_) if version == VERSION => Ok(false),
        Ok(_) => Err(Unfit::Damaged(format!("version {version}"))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
            Err(Unfit::Damaged(error.to_string())) // no such table, no such column
        }
        Err(error) => Err(error.into()),
    }
}

fn attempt(path: &Path) -> std::result::Result<Connection, Unfit> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?; // heeded as long as there is no table
    let new = check(&connection)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    if new {
        connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT"))?;
    }
    Ok(connection)
}

/// Open for writing; made if new, set aside and made anew if damaged.
pub(super) fn open(path: &Path, report: impl Fn(&str)) -> Result<Connection> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|error| Failure::unusable(path, &error))?; // SQLite gives its own files the mode of this one
    let refused = |unfit| match unfit {
        Unfit::Newer(version) => newer(path, version),
        Unfit::Damaged(what) => Failure::unavailable(format!("the history {}: {what}", path.display())),
        Unfit::Sqlite(error) => failed(path, &error),
    };
    match attempt(path) {
        Err(Unfit::Damaged(what)) => {
            let aside = set_aside(path)?;
            report(&format!(
                "the history is damaged ({what}): it was set aside as {}, and is made anew from the log as far as that goes",
                aside.display()
            ));
            open_new(path).map_err(refused)
        }
        opened => opened.map_err(refused),
    }
}

fn open_new(path: &Path) -> std::result::Result<Connection, Unfit> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| Unfit::Damaged(error.to_string()))?;
    attempt(path)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Device and inode of the file that has this name, if one has.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Move the file and what belongs to it out of the way; one that is gone already is fine.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf> {
    let aside = beside(path, &format!(".damaged-{}", clock::now()));
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::unusable(path, &error)),
        _ => {}
    }
    for suffix in ["-wal", "-shm"] {
        let _ = fs::rename(beside(path, suffix), beside(&aside, suffix)); // there may be none
    }
    Ok(aside)
}

/// Open for reading alone. Not as the file system means it, since the last one to leave has to tidy up.
pub(super) fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    Ok(connection)
}

/// As `reading`, of a file that nobody may have open and that may lie where nothing can be written.
pub(super) fn open_to_look(path: &Path, report: impl Fn(&str)) -> Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let opened = reading(path)
        .map_err(Unfit::from)
        .and_then(|connection| check(&connection).map(|new| (!new).then_some(connection)));
    let opened = match opened {
        Err(Unfit::Sqlite(_)) => unchanging(path),
        opened => opened,
    };
    match opened {
        Ok(found) => Ok(found),
        Err(Unfit::Newer(version)) => Err(newer(path, version)),
        Err(Unfit::Damaged(what)) => {
            report(&format!("the history is damaged ({what}): runs are shown as far as the log goes"));
            Ok(None)
        }
        Err(Unfit::Sqlite(error)) => Err(failed(path, &error)),
    }
}

/// `SQLite` wants to write beside a file even to read it, unless it is told that nobody changes it.
fn unchanging(path: &Path) -> std::result::Result<Option<Connection>, Unfit> {
    let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)?;
    Ok((!check(&connection)?).then_some(connection))
}
