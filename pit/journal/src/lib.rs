//! The Pit log: records in fixed-size segments, appended by one process, read by any.
//!
//! The writer copies into a shared mapping, so that a record outlives the process the moment it is published; the kernel owns
//! the pages. `format` is the layout, `claims` the protocol, `writer` and `segment` append, `flush` waits for the disk, `scan`
//! reads what bytes hold, `recovery` finds the end after a crash, `reader` follows the log from another process, `lease`
//! keeps the writer single, `fork` keeps children out, `notify` wakes the reader, `snapshot` and `mark` shorten and guard the replay, `inspect` tells
//! what is there, `retire` lets go of the oldest segments, `begin` is where the log begins then. This crate knows no component and no Python.
#![allow(unsafe_code)] // memory shared with other processes: mapping, atomics on it, locks of the kernel

mod backend;
mod begin;
mod claims;
mod clock;
mod error;
mod flush;
mod fork;
mod format;
mod inspect;
mod lease;
mod map;
mod mark;
mod notify;
mod reader;
mod recovery;
mod retire;
mod scan;
mod segment;
mod snapshot;
mod writer;

pub use backend::Backend;
pub use begin::dropped;
pub use error::{Error, Result};
pub use fork::forked;
pub use format::{MAX_PAYLOAD, RecordView};
pub use inspect::{Inspection, SegmentReport, examine, inspect};
pub use lease::{Lease, holder};
pub use mark::{Mark, Poison};
pub use notify::{Notifier, Watch};
pub use reader::Reader;
pub use recovery::Damage;
pub use retire::{Coverage, Retirement};
pub use snapshot::{Covered, Snapshot};
pub use writer::{DEFAULT_SEGMENT_BYTES, Durability, Log, Options};
