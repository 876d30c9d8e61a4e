//! The DAG Tracker: owner of every run and step record.
//!
//! `records` is what stands in the log, `table` the view of it that the host shows, `run` one run with its `graph`, `states`
//! what may follow on what, `retry` what follows on a failure, `tracker` all runs under one lock, `component` the methods.
//! Records are *delivered* (outcome, timer, command, answer: a replay's cursor takes them one by one) or *bookkeeping*.

mod component;
mod graph;
mod interner;
pub mod records;
mod retry;
mod run;
pub mod states;
pub mod table;
mod tracker;

/// Id of the component, under which its records stand in the log.
pub const ID: &str = "symphony.dag_tracker";
