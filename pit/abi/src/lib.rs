//! The C ABI between the Symphony host and a Pit component.
//!
//! A component is a shared library with one exported **data** symbol, [`ENTRY_SYMBOL`]: an [`Entry`]. Its first bytes are
//! magic, size and version, compared before anything else is touched. Structs only grow at the end and carry their size.
//! This crate holds the layout (`layout`), safe views of what crosses it (`value`, `error`) and the glue that turns a Rust
//! type into an entry (`glue`). It must not know any component, nor Python.
#![allow(unsafe_code)] // pointers from the other side of the ABI are read here, and only here

mod error;
mod glue;
mod layout;
mod operation;
mod value;

pub use error::{Error, ErrorKind, Result};
pub use glue::{Component, Host, Record, call, create, destroy, replay, start};
pub use layout::{
    ABI_MAJOR, ABI_MINOR, Data, ENTRY_SYMBOL, Entry, FLAG_ASYNC, FLAG_BLOCKING, FLAG_FAST, HostTable, MAGIC,
    Method, Operation, Param, RawRecord, RawValue, RawWaker, Returned, STATUS_OK, STATUS_PENDING, Span, Str,
    Tag,
};
pub use operation::{Boxed, operation};
pub use value::{Args, Returning, Value, ValueRef};
