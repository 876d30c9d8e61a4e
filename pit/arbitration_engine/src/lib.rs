//! The Arbitration Engine: who gets a contended resource.
//!
//! `resource` is what is shared out, `ticket` someone's wish for a part of it with its state machine, `queue` the order of
//! those who wait and `share` what each owner had so far, `strategy` by what that is measured, `deadlock` who waits for
//! whom, `audit` every decision with its reason, `state` all of it, `serving` and `ending` what happens to tickets, `engine` the
//! lock around it, `waiting` those who wait for a ticket, `records` what lasts, `component` the method table. It decides only: what a ticket stands for is its owner's affair.

mod audit;
mod component;
mod deadlock;
mod ending;
mod engine;
mod priority;
mod queue;
mod records;
mod resource;
mod rows;
mod serving;
mod share;
mod state;
mod strategy;
mod ticket;
mod waiting;
