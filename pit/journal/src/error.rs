//! What can go wrong with the log, with the file it is about.

use std::fmt;
use std::io;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug)]
pub enum Error {
    /// The system refused: path, what was tried, why.
    Io { path: PathBuf, action: &'static str, source: io::Error },
    /// Another process writes to this log.
    Held { path: PathBuf, pid: i32 },
    /// The payload is larger than a segment takes.
    TooLarge { bytes: usize, limit: usize },
    /// A file of the log is not one, or is damaged before its first record.
    Foreign { path: PathBuf, found: String },
    /// The file that says where the log begins.
    Begin { path: PathBuf },
    /// A snapshot that cannot be read.
    Snapshot { path: PathBuf, found: String },
    /// This process is a forked child of the writer.
    Forked,
    /// The log was closed.
    Closed,
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.into(), action, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, action, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Self::Held { path, pid } => {
                write!(f, "the Pit {} is in use by process {pid}", path.display())
            }
            Self::TooLarge { bytes, limit } => {
                write!(f, "a record of {bytes} bytes is larger than the log takes ({limit})")
            }
            Self::Foreign { path, found } => {
                write!(
                    f,
                    "{} is no segment of a Pit log: expected SYMPLOG version 1, found {found}",
                    path.display()
                )
            }
            Self::Snapshot { path, found } => {
                write!(f, "{} is no snapshot: expected SYMSNAP version 1, found {found}", path.display())
            }
            Self::Begin { path } => {
                write!(f, "{} is damaged: it says where the log begins, and in which numbers", path.display())
            }
            Self::Closed => f.write_str("the Pit is closed"),
            Self::Forked => {
                f.write_str("the Pit cannot be used in a forked child: it belongs to the parent process")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
