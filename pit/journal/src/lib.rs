//! The Pit log: records in fixed-size segments, appended by one process, read by any.
//!
//! The writer maps the segment shared and copies into it, so that a record outlives the process the moment it is published;
//! the kernel owns the pages. `format` is the layout, `writer` appends, `recovery` finds the end after a crash, `reader`
//! follows the log from another process with pread and trusts nothing, `lease` keeps the writer single, `notify` wakes the
//! reader. This crate knows no component and no Python.
#![allow(unsafe_code)] // memory shared with other processes: mapping, atomics on it, locks of the kernel

mod error;
mod format;
mod lease;
mod map;
mod notify;
mod reader;
mod recovery;
mod writer;

pub use error::{Error, Result};
pub use format::{MAX_PAYLOAD, RecordView};
pub use lease::{Lease, holder};
pub use notify::{Notifier, Watch};
pub use reader::Reader;
pub use recovery::Damage;
pub use writer::{DEFAULT_SEGMENT_BYTES, Log, Options};
