//! The safe Rust side of the Pit ABI.
//!
//! A component is a type that implements [`Component`], and an impl block marked [`pit_component`], whose methods marked
//! `#[pit_method]` are what Python calls. The table, the conversions and the panic guard are generated; a component contains
//! no `unsafe`. [`record`] writes and reads the payloads of log records. This crate must not know any component.
//!
//! ```
//! use std::sync::Mutex;
//! use symphony_pit::{Component, Host, Record, Result, pit_component, record::{Reader, Writer}};
//!
//! struct Counter { host: Host, value: Mutex<i64> }
//!
//! #[pit_component(id = "acme.counter", description = "Counts", revision = 1)]
//! impl Counter {
//!     /// Add to the counter; gives the new value.
//!     #[pit_method]
//!     fn add(&self, #[default(1)] amount: i64) -> Result<i64> {
//!         let mut value = self.value.lock().unwrap();
//!         self.host.append(1, 1, self.host.now(), &Writer::default().i64(amount).finish())?;
//!         *value += amount;
//!         Ok(*value)
//!     }
//! }
//!
//! impl Component for Counter {
//!     fn create(host: Host) -> Result<Self> {
//!         Ok(Self { host, value: Mutex::default() })
//!     }
//!
//!     fn replay(&self, record: &Record<'_>) -> Result<()> {
//!         *self.value.lock().unwrap() += Reader::new(record.payload).i64()?;
//!         Ok(())
//!     }
//! }
//! # fn main() {}
//! ```

pub mod convert;
mod names;
pub mod record;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod waiting;

extern crate self as symphony_pit; // the macros' names, also within this crate's tests

pub use convert::{FromPit, ToPit};
pub use stream::{Sender, Stream, channel};
pub use symphony_pit_abi as abi;
pub use symphony_pit_abi::{
    Args, Buffer, Component, Copied, Error, ErrorKind, Extension, Host, Level, ListKind, Record, Result,
    Sleep, Value, ValueRef,
};
pub use symphony_pit_macros::{FromPit, ToPit, pit_component};
pub use waiting::block_on;
