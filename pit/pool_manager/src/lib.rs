//! The Pool Manager: the life of every model.
//!
//! `model` is one model with its state machine, `leases` who has it, `waiting` who wants it, `state` all of them, `memory`
//! the cap, `pool` what is done under the one lock, `records` what lasts, `component` the method table. The pool never loads a model itself: it asks the engine by a
//! callout, and whoever gets `true` from `warm` or `cool` does it and answers with `warmed`, `cooled` or `failed`.

mod component;
mod leases;
mod memory;
mod model;
mod pool;
mod records;
mod state;
mod waiting;
