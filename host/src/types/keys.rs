//! Keys of the maps of one result: mostly the same few, of which one object each is made.
#![allow(unsafe_code)] // references of CPython's, counted by hand

use pyo3::ffi;
use symphony_pit_abi::Span;

use super::from_pit::text;

/// How many keys are remembered; a power of two.
const SLOTS: usize = 32;

/// A longer key is made anew each time.
const LONGEST: usize = 32;

/// A text of the result, and the object that was made of it.
#[derive(Clone, Copy)]
struct Known {
    span: Span,
    object: *mut ffi::PyObject,
}

/// Of each slot the last key. Holds its objects, since code that runs meanwhile may let go of the dicts that they are in.
/// Dropped attached to Python, while the result is still there.
#[derive(Default)]
pub(super) struct Keys(Vec<Option<Known>>);

impl Keys {
    /// A new reference to the str of this text, or null with an exception set.
    ///
    /// # Safety
    /// The span of a text in the result that these keys belong to; attached to Python.
    pub unsafe fn key(&mut self, span: Span) -> *mut ffi::PyObject {
        // SAFETY (whole function): promised by the caller; a known text is of the same result, and its object is held.
        unsafe {
            if span.len == 0 || span.len > LONGEST {
                return text(span);
            }
            let bytes = std::slice::from_raw_parts(span.ptr.cast::<u8>(), span.len);
            if self.0.is_empty() {
                self.0.resize(SLOTS, None);
            }
            let slot = &mut self.0[slot(bytes)];
            if let Some(known) = slot
                && bytes == std::slice::from_raw_parts(known.span.ptr.cast::<u8>(), known.span.len)
            {
                ffi::Py_INCREF(known.object);
                return known.object;
            }
            let object = text(span);
            if !object.is_null() {
                ffi::Py_INCREF(object);
                if let Some(known) = slot.replace(Known { span, object }) {
                    ffi::Py_DECREF(known.object);
                }
            }
            object
        }
    }
}

/// By length and three letters: what tells the fields of a record apart, and costs next to nothing.
fn slot(bytes: &[u8]) -> usize {
    let len = bytes.len();
    let letters = [bytes[0], bytes[len / 2], bytes[len - 1]].map(usize::from);
    (len + letters[0] + 5 * letters[1] + 11 * letters[2]) % SLOTS
}

impl Drop for Keys {
    fn drop(&mut self) {
        for known in self.0.drain(..).flatten() {
            // SAFETY: an owned reference, given back once, attached to Python.
            unsafe { ffi::Py_DECREF(known.object) };
        }
    }
}
