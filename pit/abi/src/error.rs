//! Errors as they cross the ABI: a kind, a message, context pairs, causes. Nothing is flattened on its way to Python.

use std::any::Any;
use std::fmt;

use crate::panic;

/// A chain of sources is followed this far: one that leads back to itself must end.
const MAX_CAUSES: usize = 32;

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
    /// An argument is of another type than the method takes: a `TypeError` in Python.
    WrongType = 12,
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
            12 => Self::WrongType,
            _ => Self::Internal,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    pub context: Vec<(String, String)>,
    /// What led to it: `__cause__` in Python.
    pub source: Option<Box<Self>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), context: Vec::new(), source: None }
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
        Self::new(ErrorKind::Io, format!("{what}: {error}")).caused_by(error)
    }

    /// What a caught panic said, and where it happened.
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let error = Self::new(ErrorKind::Panic, text.unwrap_or("unknown panic"));
        match panic::place() {
            Some(place) => error.with("location", place),
            None => error,
        }
    }

    /// Add what led to this error, with its own sources: a chain of `__cause__` in Python.
    ///
    /// ```
    /// # use symphony_pit_abi::{Error, ErrorKind};
    /// let parse = "soon".parse::<u32>().unwrap_err();
    /// let error = Error::corrupt("the index cannot be read").caused_by(&parse);
    /// assert_eq!(error.source.unwrap().message, "invalid digit found in string");
    /// ```
    #[must_use]
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        self.source = Some(Box::new(Self::link(cause, MAX_CAUSES)));
        self
    }

    fn link(cause: &(dyn std::error::Error + 'static), left: usize) -> Self {
        if let Some(own) = cause.downcast_ref::<Self>() {
            return own.clone();
        }
        let io = cause.downcast_ref::<std::io::Error>();
        let kind = if io.is_some() { ErrorKind::Io } else { ErrorKind::Internal };
        let mut error = Self::new(kind, cause.to_string());
        if let Some(code) = io.and_then(std::io::Error::raw_os_error) {
            error = error.with("errno", code);
        }
        let source = cause.source().filter(|_| left > 0);
        error.source = source.map(|source| Box::new(Self::link(source, left - 1)));
        error
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

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
