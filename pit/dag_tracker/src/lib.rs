//! The DAG Tracker: owner of every run and step record.
//!
//! `records` is what stands in the log, `tracker` the component that writes it, `table` the view of it that the host shows.
//! Records are *delivered* (outcome, timer, command: a replay's cursor takes them one by one) or *bookkeeping*.

mod export;
pub mod records;
pub mod table;
mod tracker;

pub use tracker::DagTracker;

/// Id of the component, under which its records stand in the log.
pub const ID: &str = "symphony.dag_tracker";
