//! Why a Pit cannot be opened, with the file or the component it is about.

use std::fmt;
use std::path::PathBuf;

use symphony_pit_abi as abi;

/// Why a component cannot be used.
#[derive(Debug)]
pub enum LoadError {
    /// The file is no component of this ABI.
    Library {
        path: PathBuf,
        expected: String,
        found: String,
    },
    /// Two libraries claim one id.
    Twice {
        id: String,
        first: PathBuf,
        second: PathBuf,
    },
    /// A component calls one that is not there, or that calls it back.
    Edges {
        id: String,
        problem: String,
    },
    /// The component refused to start, or to read its own records.
    Component {
        id: String,
        action: &'static str,
        error: abi::Error,
    },
    /// Replaying one of Symphony's own components ends the process.
    Poisoned {
        id: String,
        reason: String,
    },
    /// Records of a component are in no file any more, and neither is the snapshot that had them.
    Incomplete {
        id: String,
        position: u64,
    },
    Log(symphony_pit_journal::Error),
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library { path, expected, found } => {
                write!(f, "{} is no Pit component: expected {expected}, found {found}", path.display())
            }
            Self::Twice { id, first, second } => {
                write!(f, "component {id} is given twice: by {} and by {}", first.display(), second.display())
            }
            Self::Edges { id, problem } => write!(f, "component {id} {problem}"),
            Self::Component { id, action, error } => write!(f, "component {id} failed to {action}: {error}"),
            Self::Poisoned { id, reason } => write!(f, "component {id} cannot be brought back: {reason}"),
            Self::Incomplete { id, position } => write!(
                f,
                "component {id} cannot be brought back: its records up to position {position} were retired, and the \
                 snapshot that had them is missing or damaged"
            ),
            Self::Log(error) => error.fmt(f),
            Self::Io { path, source } => write!(f, "cannot use {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<symphony_pit_journal::Error> for LoadError {
    fn from(error: symphony_pit_journal::Error) -> Self {
        Self::Log(error)
    }
}
