//! What lives until a call has returned.
#![allow(unsafe_code)] // references of CPython's, counted by hand

use pyo3::ffi;
use symphony_pit_abi::{RawValue, Tag};

use super::{MAX_VALUES, too_many};
use crate::mismatch::Mismatch;

/// Cells of containers, references to what they borrow from, and buffers that are pinned. Dropped attached to Python.
#[derive(Default)]
pub(crate) struct Arena {
    cells: Vec<Box<[RawValue]>>,
    objects: Vec<*mut ffi::PyObject>,
    #[expect(clippy::vec_box, reason = "a view may point into itself, so it must not move")]
    buffers: Vec<Box<ffi::Py_buffer>>,
    values: usize,
}

impl Arena {
    /// Hold an object until the call is over.
    ///
    /// # Safety
    /// `object` is live; attached to Python.
    pub unsafe fn keep(&mut self, object: *mut ffi::PyObject) {
        // SAFETY: promised by the caller.
        unsafe { ffi::Py_INCREF(object) };
        self.objects.push(object);
    }

    /// Take over a reference that the caller owns.
    pub fn adopt(&mut self, object: *mut ffi::PyObject) {
        self.objects.push(object);
    }

    /// Keep a buffer pinned until the call is over.
    pub fn pin(&mut self, buffer: Box<ffi::Py_buffer>) {
        self.buffers.push(buffer);
    }

    /// One more value in a container.
    pub fn count(&mut self) -> Result<(), Mismatch> {
        self.values += 1;
        if self.values <= MAX_VALUES { Ok(()) } else { Err(too_many()) }
    }

    /// A container of these cells.
    pub fn container(&mut self, tag: Tag, cells: Vec<RawValue>, per_item: usize) -> RawValue {
        let cells = cells.into_boxed_slice();
        let value = RawValue::span(tag, cells.as_ptr().cast(), cells.len() / per_item);
        self.cells.push(cells);
        value
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: owned references and buffers, given back once, attached to Python.
        unsafe {
            for mut buffer in self.buffers.drain(..) {
                ffi::PyBuffer_Release(&raw mut *buffer);
            }
            for object in self.objects.drain(..) {
                ffi::Py_DECREF(object);
            }
        }
    }
}
