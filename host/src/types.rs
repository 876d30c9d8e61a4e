//! Python <-> Pit values, for the length of one call.
//!
//! Arguments borrow what Python objects hold; what must be made for the call lies in an [`Arena`]. Only exact builtin types
//! are read by their layout; everything else is first turned into those (`crate::extensions`), which may run any Python code.
//! So whatever lies in a container is held by a reference of the arena's own, and sizes are read anew wherever other code may
//! have run.
//!
//! Public for `tests/benchmarks/ffi_bench.rs`.

mod arena;
mod buffers;
mod from_pit;
mod keys;
mod to_pit;

pub use arena::Arena;
pub use from_pit::from_raw;
pub(crate) use from_pit::scalar_object;
pub(crate) use to_pit::scalar;
pub use to_pit::to_raw;

/// Values nested deeper than this are refused; a cycle is found the same way.
pub(crate) const MAX_DEPTH: usize = 100;

/// One call or record takes this many values in containers: lists that hold each other can be small and yet never end.
pub(crate) const MAX_VALUES: usize = 1 << 24;

/// Said of what is nested deeper than [`MAX_DEPTH`].
pub(crate) fn too_deep() -> crate::mismatch::Mismatch {
    crate::mismatch::Mismatch::new(format!("nested deeper than {MAX_DEPTH}, or a cycle"))
}

/// Said of what holds more than [`MAX_VALUES`].
pub(crate) fn too_many() -> crate::mismatch::Mismatch {
    crate::mismatch::Mismatch::new(format!("more than {MAX_VALUES} values"))
}
