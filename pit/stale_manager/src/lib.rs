//! The Stale Manager: what is kept.
//!
//! `policy` holds the rules, `score` the value of an artifact, `plan` decides by both without changing anything, `sweep` is the
//! state machine of carrying a plan out, `ledger` everything that lasts, `records` how
//! it is written, `manager` the component, `component` its method table.
//! The contents belong to the Artifact Store; `store` is how this component asks for them. It never touches a file itself.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by a panic"))]

mod artifact;
mod component;
mod ledger;
mod manager;
mod plan;
mod policy;
mod records;
mod score;
mod store;
mod sweep;

#[cfg(test)]
mod manager_test;
#[cfg(test)]
mod retention_test;
#[cfg(test)]
mod sample;
