//! What lives until a call has returned.
#![allow(unsafe_code)] // references of CPython's, counted by hand

use std::mem::MaybeUninit;
use std::ptr;

use pyo3::ffi;
use symphony_pit_abi::RawValue;

use super::{MAX_VALUES, too_many};
use crate::mismatch::Mismatch;

/// Cells of the first chunk: an ordinary list or dict of a few values takes one.
const FIRST: usize = 32;

/// Each further chunk is twice as large, up to this.
const LARGEST: usize = 1 << 12;

/// Cells of containers, references to what they borrow from, and buffers that are pinned. Dropped attached to Python.
pub struct Arena {
    /// Never grown, so that cells stay where they are; `left` of them are free, from `next` on.
    chunk: Vec<MaybeUninit<RawValue>>,
    full: Vec<Vec<MaybeUninit<RawValue>>>,
    next: *mut RawValue,
    left: usize,
    objects: Vec<*mut ffi::PyObject>,
    #[expect(clippy::vec_box, reason = "a view may point into itself, so it must not move")]
    buffers: Vec<Box<ffi::Py_buffer>>,
    values: usize,
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            chunk: Vec::new(),
            full: Vec::new(),
            next: ptr::dangling_mut(),
            left: 0,
            objects: Vec::new(),
            buffers: Vec::new(),
            values: 0,
        }
    }
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

    /// So many cells of one container, to be written before they are read. Refuses more values than a call takes.
    #[inline]
    pub fn cells(&mut self, count: usize) -> Result<*mut RawValue, Mismatch> {
        self.values = self.values.saturating_add(count);
        if self.values > MAX_VALUES {
            return Err(too_many());
        }
        if count > self.left {
            self.grow(count);
        }
        let start = self.next;
        self.next = start.wrapping_add(count);
        self.left -= count;
        Ok(start)
    }

    fn grow(&mut self, count: usize) {
        let size = (2 * self.chunk.capacity()).clamp(FIRST, LARGEST).max(count);
        let old = std::mem::replace(&mut self.chunk, Vec::with_capacity(size));
        if old.capacity() > 0 {
            self.full.push(old);
        }
        self.next = self.chunk.as_mut_ptr().cast();
        self.left = size;
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
