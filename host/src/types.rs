//! Python <-> Pit values, for the length of one call.
//!
//! Arguments borrow what Python objects hold; what must be made for the call (cells of containers, copies) lies in an
//! [`Arena`]. No user code runs while a container is walked: only exact builtin shapes are read.
#![allow(unsafe_code)] // CPython's C API and the ABI's unions

use std::ffi::{c_char, c_int};
use std::fmt::Write;
use std::ptr;

use pyo3::ffi;
use symphony_pit_abi::{RawValue, Tag};

/// Containers nested deeper than this are refused; a cycle is found the same way.
const MAX_DEPTH: usize = 64;

/// Why a value cannot cross; `path` is innermost first.
pub(crate) struct Mismatch {
    path: Vec<String>,
    what: String,
}

impl Mismatch {
    fn new(what: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into() }
    }

    #[must_use]
    fn inside(mut self, place: String) -> Self {
        self.path.push(place);
        self
    }

    /// `model[3]: expected …`
    pub fn message(&self, parameter: &str) -> String {
        let mut text = parameter.to_owned();
        for place in self.path.iter().rev() {
            text.push_str(place);
        }
        let _ = write!(text, ": {}", self.what); // writing to a String cannot fail
        text
    }
}

/// What lives until the call has returned.
#[derive(Default)]
pub(crate) struct Arena {
    cells: Vec<Box<[RawValue]>>,
    copies: Vec<Box<[u8]>>,
    objects: Vec<*mut ffi::PyObject>,
}

impl Drop for Arena {
    fn drop(&mut self) {
        for object in self.objects.drain(..) {
            // SAFETY: owned references, dropped while attached to Python.
            unsafe { ffi::Py_DECREF(object) };
        }
    }
}

/// # Safety
/// `object` is a live Python object; the caller is attached to Python.
pub(crate) unsafe fn type_name(object: *mut ffi::PyObject) -> String {
    // SAFETY: promised by the caller; a type's name is text that lives as long as the type.
    unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(object)).tp_name) }.to_string_lossy().into_owned()
}

/// Text of a str object, cached by CPython in the object itself.
///
/// # Safety
/// `object` is a str that outlives `'a`; attached to Python.
#[inline]
unsafe fn utf8<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    let mut size = 0;
    // SAFETY: promised by the caller.
    unsafe {
        let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut size);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(std::slice::from_raw_parts(text.cast(), size.unsigned_abs()))
    }
}

/// What is converted without a look inside: None, or exactly a str, int of 64 bits, float, bool or bytes. None for the rest,
/// which [`to_raw`] converts or refuses. The fast path of calls: it cannot panic.
///
/// # Safety
/// `object` is live as long as the value; attached to Python.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a part of each entry of a method")]
pub(crate) unsafe fn scalar(object: *mut ffi::PyObject) -> Option<RawValue> {
    // SAFETY (whole function): promised by the caller.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyUnicode_Type {
            let text = utf8(object)?;
            return Some(RawValue::span(Tag::Str, text.as_ptr().cast(), text.len()));
        }
        if kind == &raw mut ffi::PyLong_Type {
            let mut overflow: c_int = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
            return (overflow == 0).then(|| RawValue::int(value));
        }
        if object == ffi::Py_None() {
            return Some(RawValue::NONE);
        }
        if kind == &raw mut ffi::PyFloat_Type {
            return Some(RawValue::float(ffi::PyFloat_AsDouble(object)));
        }
        if kind == &raw mut ffi::PyBool_Type {
            return Some(RawValue::bool(object == ffi::Py_True()));
        }
        if kind == &raw mut ffi::PyBytes_Type {
            let start = ffi::PyBytes_AsString(object);
            return Some(RawValue::span(Tag::Bytes, start.cast(), ffi::PyBytes_Size(object).unsigned_abs()));
        }
        None
    }
}

/// The object of a scalar that no one has to release: a new reference, or null with an exception. None for the rest, which
/// [`from_raw`] reads.
///
/// # Safety
/// As for [`from_raw`].
#[inline]
pub(crate) unsafe fn scalar_object(raw: &RawValue) -> Option<*mut ffi::PyObject> {
    // SAFETY: promised by the caller; the tag says which field is set.
    unsafe {
        Some(match raw.tag {
            0 => {
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                none
            }
            1 => ffi::PyBool_FromLong((raw.data.uint & 0xff).try_into().unwrap_or(1)),
            2 => ffi::PyLong_FromLongLong(raw.data.int),
            3 => ffi::PyLong_FromUnsignedLongLong(raw.data.uint),
            4 => ffi::PyFloat_FromDouble(raw.data.float),
            _ => return None,
        })
    }
}

/// Convert an argument. With `detached`, containers copy their text and bytes, since other threads may change them meanwhile.
///
/// # Safety
/// `object` is live for the call; attached to Python; the arena is dropped attached, after the call.
pub(crate) unsafe fn to_raw(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY (whole function): promised by the caller; every call is to CPython with objects that it gave us.
    unsafe {
        if object == ffi::Py_None() {
            return Ok(RawValue::NONE);
        }
        if object == ffi::Py_True() || object == ffi::Py_False() {
            return Ok(RawValue::bool(object == ffi::Py_True()));
        }
        if ffi::PyLong_Check(object) != 0 {
            return integer(object);
        }
        if ffi::PyUnicode_Check(object) != 0 {
            let text =
                utf8(object).ok_or_else(|| Mismatch::new("expected str, got a str with a lone surrogate"))?;
            return Ok(bytes_value(Tag::Str, text, arena, detached && depth > 0));
        }
        if ffi::PyFloat_Check(object) != 0 {
            return Ok(RawValue::float(ffi::PyFloat_AsDouble(object)));
        }
        if ffi::PyBytes_Check(object) != 0 {
            let start = ffi::PyBytes_AsString(object).cast::<u8>();
            let bytes = std::slice::from_raw_parts(start, ffi::PyBytes_Size(object).unsigned_abs());
            return Ok(bytes_value(Tag::Bytes, bytes, arena, detached && depth > 0));
        }
        if depth >= MAX_DEPTH {
            return Err(Mismatch::new(format!("nested deeper than {MAX_DEPTH}, or a cycle")));
        }
        if ffi::PyList_Check(object) != 0 || ffi::PyTuple_Check(object) != 0 {
            return sequence(object, arena, detached, depth);
        }
        if ffi::PyDict_Check(object) != 0 {
            return mapping(object, arena, detached, depth);
        }
        if ffi::PyObject_CheckBuffer(object) != 0 {
            let copy = ffi::PyBytes_FromObject(object);
            if copy.is_null() {
                ffi::PyErr_Clear();
                return Err(Mismatch::new(format!("expected a readable buffer, got {}", type_name(object))));
            }
            arena.objects.push(copy);
            return to_raw(copy, arena, false, depth);
        }
        if let Some(handle) = crate::owned::handle(object) {
            return Ok(handle);
        }
        Err(Mismatch::new(format!("expected a value that the Pit takes, got {}", type_name(object))))
    }
}

fn bytes_value(tag: Tag, bytes: &[u8], arena: &mut Arena, copy: bool) -> RawValue {
    if !copy {
        return RawValue::span(tag, bytes.as_ptr().cast(), bytes.len());
    }
    let own: Box<[u8]> = bytes.into();
    let value = RawValue::span(tag, own.as_ptr().cast(), own.len());
    arena.copies.push(own);
    value
}

/// # Safety
/// As [`to_raw`], with an int.
unsafe fn integer(object: *mut ffi::PyObject) -> Result<RawValue, Mismatch> {
    let mut overflow: c_int = 0;
    // SAFETY: promised by the caller; an int object needs no __index__.
    unsafe {
        let value = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
        if overflow == 0 {
            return Ok(RawValue::int(value));
        }
        let value = ffi::PyLong_AsUnsignedLongLong(object);
        if ffi::PyErr_Occurred().is_null() {
            return Ok(RawValue::uint(value));
        }
        ffi::PyErr_Clear();
    }
    Err(Mismatch::new("expected an int of at most 64 bits, got a larger one"))
}

/// # Safety
/// As [`to_raw`], with a list or tuple.
unsafe fn sequence(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY: promised by the caller; no Python code runs in between, so the size holds.
    unsafe {
        let is_list = ffi::PyList_Check(object) != 0;
        let len = if is_list { ffi::PyList_Size(object) } else { ffi::PyTuple_Size(object) };
        let mut cells = Vec::with_capacity(len.unsigned_abs());
        for index in 0..len {
            let item = if is_list {
                ffi::PyList_GetItem(object, index)
            } else {
                ffi::PyTuple_GetItem(object, index)
            };
            let cell = to_raw(item, arena, detached, depth + 1);
            cells.push(cell.map_err(|mismatch| mismatch.inside(format!("[{index}]")))?);
        }
        Ok(container(Tag::List, cells, 1, arena))
    }
}

/// # Safety
/// As [`to_raw`], with a dict.
unsafe fn mapping(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    let mut cells = Vec::new();
    // SAFETY: promised by the caller; no Python code runs in between.
    unsafe {
        while ffi::PyDict_Next(object, &raw mut position, &raw mut key, &raw mut value) != 0 {
            let name = if ffi::PyUnicode_Check(key) == 0 {
                type_name(key)
            } else {
                utf8(key).map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned())
            };
            for part in [key, value] {
                let cell = to_raw(part, arena, detached, depth + 1);
                cells.push(cell.map_err(|mismatch| mismatch.inside(format!("[{name:?}]")))?);
            }
        }
    }
    Ok(container(Tag::Map, cells, 2, arena))
}

fn container(tag: Tag, cells: Vec<RawValue>, per_item: usize, arena: &mut Arena) -> RawValue {
    let cells = cells.into_boxed_slice();
    let value = RawValue::span(tag, cells.as_ptr().cast(), cells.len() / per_item);
    arena.cells.push(cells);
    value
}

/// A new reference, or null with an exception set.
///
/// # Safety
/// `raw` is well formed; attached to Python.
pub(crate) unsafe fn from_raw(raw: &RawValue, depth: usize) -> *mut ffi::PyObject {
    if depth > MAX_DEPTH {
        // SAFETY: attached; a static message.
        unsafe { ffi::PyErr_SetString(ffi::PyExc_ValueError, c"a result is nested too deep".as_ptr()) };
        return ptr::null_mut();
    }
    // SAFETY (whole block): the tag says which field is set, spans hold what the component promised.
    unsafe {
        if let Some(object) = scalar_object(raw) {
            return object;
        }
        match raw.tag {
            5 => {
                let span = raw.data.span;
                ffi::PyUnicode_DecodeUTF8(span.ptr.cast::<c_char>(), span.len.cast_signed(), ptr::null())
            }
            6 | 9 => {
                let span = raw.data.span;
                ffi::PyBytes_FromStringAndSize(span.ptr.cast::<c_char>(), span.len.cast_signed())
            }
            7 | 10 => {
                let span = raw.data.span;
                let list = ffi::PyList_New(span.len.cast_signed());
                if list.is_null() {
                    return list;
                }
                for index in 0..span.len {
                    let item = from_raw(&*span.ptr.cast::<RawValue>().add(index), depth + 1);
                    if item.is_null() {
                        ffi::Py_DECREF(list);
                        return ptr::null_mut();
                    }
                    ffi::PyList_SetItem(list, index.cast_signed(), item);
                }
                list
            }
            8 => dict_from_raw(raw, depth),
            _ => {
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                none
            }
        }
    }
}

/// # Safety
/// As [`from_raw`], with a map.
unsafe fn dict_from_raw(raw: &RawValue, depth: usize) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller.
    unsafe {
        let span = raw.data.span;
        let dict = ffi::PyDict_New();
        for pair in 0..span.len {
            let key = from_raw(&*span.ptr.cast::<RawValue>().add(2 * pair), depth + 1);
            let value = if key.is_null() {
                ptr::null_mut()
            } else {
                from_raw(&*span.ptr.cast::<RawValue>().add(2 * pair + 1), depth + 1)
            };
            let failed = key.is_null() || value.is_null() || ffi::PyDict_SetItem(dict, key, value) != 0;
            ffi::Py_XDECREF(key);
            ffi::Py_XDECREF(value);
            if failed {
                ffi::Py_DECREF(dict);
                return ptr::null_mut();
            }
        }
        dict
    }
}
