//! The Symphony host.
//!
//! `client` is what Rust programs use; `subprocess`, `control` and `runs` are the supervisor behind `symphonyd`; `pit_api` loads
//! components; with the feature
//! `python`, `bindings`, `types` and `async_support` are the module `symphony._host`. This file only registers.

pub mod client;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod failure;
pub mod frames;
pub mod history;
pub mod home;
pub mod host_log;
pub mod json;
pub mod log_file;
pub mod observing;
pub mod options;
pub mod pit_api;
pub mod pulse;
pub mod query;
pub mod retirement;
pub mod run_id;
pub mod runs;
pub mod stdio;
pub mod subprocess;
pub mod system;

pub use client::Host;

mod shared_object;

#[cfg(test)]
#[allow(clippy::unwrap_used)] // here it is an assertion
#[path = "../../tests/fixtures/run_log.rs"]
mod run_log;

#[cfg(feature = "python")]
mod async_support;
#[cfg(feature = "python")]
mod bindings;
#[cfg(feature = "python")]
mod codec;
#[cfg(feature = "python")]
mod ending;
#[cfg(feature = "python")]
mod errors;
#[cfg(feature = "python")]
mod extensions;
#[cfg(feature = "python")]
mod gate;
#[cfg(feature = "python")]
mod interrupt;
#[cfg(feature = "python")]
mod mismatch;
#[cfg(feature = "python")]
mod module;
#[cfg(feature = "python")]
mod owned;
#[cfg(feature = "python")]
mod passing;
#[cfg(feature = "python")]
mod recent_calls;
#[cfg(feature = "python")]
mod run_events;
#[cfg(feature = "python")]
pub mod types;
#[cfg(feature = "python")]
mod vitals;

/// `symphony._host`
#[cfg(feature = "python")]
#[pyo3::pymodule(gil_used = true)]
fn _host(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
    module::register(module)
}
