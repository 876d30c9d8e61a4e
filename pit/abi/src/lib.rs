//! The C ABI between the Symphony host and a Pit component.
//!
//! A component is a shared library with one exported **data** symbol, [`ENTRY_SYMBOL`]: an [`Entry`]. Its first bytes are
//! magic, size and version, compared before anything else is touched. Structs only grow at the end and carry their size.
//! This crate holds the layout (`layout`), safe views of what crosses it (`value`, `view`, `error`) and the glue that turns a Rust
//! type into an entry (`glue`). It must not know any component, nor Python.
#![allow(unsafe_code)] // pointers from the other side of the ABI are read here, and only here

mod ask;
mod buffer;
mod copied;
mod error;
mod glue;
mod host;
mod layout;
mod operation;
mod panic;
mod returned;
mod room;
mod value;
mod view;

pub use buffer::Buffer;
pub use copied::Copied;
pub use error::{Error, ErrorKind, Result};
pub use glue::{Component, Instance, Record, call, create, destroy, replay, restore, snapshot, start, stop};
pub use host::{Host, Sleep};
pub use layout::{
    ABI_MAJOR, ABI_MINOR, ASK_EXTENSION, ASYNC_EXTENSION, AskTable, AsyncTable, CALLOUT_EXTENSION,
    CALLS_EXTENSION, CalloutTable, CallsTable, Data, ENTRY_SYMBOL, Entry, FLAG_ASYNC, FLAG_BLOCKING,
    FLAG_FAST, FLAG_STREAM, FLAG_WAITING, HostTable, Level, ListKind, MAGIC, Method, Operation, Param,
    RawRecord, RawValue, RawWaker, Returned, STATUS_END, STATUS_OK, STATUS_PENDING, Span, Str, Tag,
};
pub use operation::{PolledItem, operation, raw_waker, stream, waker};
pub use panic::watch as watch_panics;
pub use returned::with_raw;
pub use value::{Extension, Returning, Value};
pub use view::{Args, ValueRef, quoted};
