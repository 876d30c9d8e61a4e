//! Errors as they cross the ABI: a kind, a message, context pairs. Nothing is flattened on its way to Python.

use std::any::Any;
use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    InvalidArgument = 1,
    NotFound = 2,
    Exhausted = 3,
    Conflict = 4,
    WouldBlock = 5,
    Cancelled = 6,
    TimedOut = 7,
    Io = 8,
    Corrupt = 9,
    Internal = 10,
    Panic = 11,
}

impl ErrorKind {
    pub const fn from_status(status: u32) -> Self {
        match status {
            1 => Self::InvalidArgument,
            2 => Self::NotFound,
            3 => Self::Exhausted,
            4 => Self::Conflict,
            5 => Self::WouldBlock,
            6 => Self::Cancelled,
            7 => Self::TimedOut,
            8 => Self::Io,
            9 => Self::Corrupt,
            11 => Self::Panic,
            _ => Self::Internal,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    pub context: Vec<(String, String)>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), context: Vec::new() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{what}: {error}"))
    }

    /// What a caught panic said.
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self::new(ErrorKind::Panic, text.unwrap_or("unknown panic"))
    }

    /// Add a context pair, shown as a note in Python.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.context.push((key.into(), value.to_string()));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (key, value) in &self.context {
            write!(f, " ({key}: {value})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
