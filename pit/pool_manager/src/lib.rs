//! The Pool Manager: the life of every model.
//!
//! `model` is the state machine of one model, `waiting` the queue for its leases, `pool` the component. The Pool Manager never
//! loads a model itself: whoever gets `true` from `warm` loads it and answers with `warmed` or `failed`.

mod export;
mod model;
mod pool;
mod waiting;
