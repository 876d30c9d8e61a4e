//! From Python objects to Pit values.
#![allow(unsafe_code)] // CPython's C API and the ABI's unions

use std::ffi::c_int;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use symphony_pit_abi::{ListKind, RawValue, Tag};

use super::arena::Arena;
use super::{MAX_DEPTH, buffers, too_deep};
use crate::ending::attached;
use crate::extensions::{self, Reduced};
use crate::mismatch::{Mismatch, changed, key_place, unknown_type};

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
            return text(object);
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
            return Some(bytes(object));
        }
        None
    }
}

/// The text of a str, cached by CPython in the object itself; None where it holds a lone surrogate.
///
/// # Safety
/// As [`scalar`], with a str.
#[inline]
unsafe fn text(object: *mut ffi::PyObject) -> Option<RawValue> {
    let mut size = 0;
    // SAFETY: promised by the caller.
    unsafe {
        let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut size);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(RawValue::span(Tag::Str, text.cast(), size.unsigned_abs()))
    }
}

/// # Safety
/// As [`scalar`], with bytes.
#[inline]
unsafe fn bytes(object: *mut ffi::PyObject) -> RawValue {
    // SAFETY: promised by the caller.
    unsafe {
        let start = ffi::PyBytes_AsString(object).cast_const().cast();
        RawValue::span(Tag::Bytes, start, ffi::PyBytes_Size(object).unsigned_abs())
    }
}

/// Convert an argument. With `detached`, what other threads may write to meanwhile is copied.
///
/// # Safety
/// `object` is live for the call; attached to Python; the arena is dropped attached, after the call.
#[inline]
pub unsafe fn to_raw(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY (whole function): promised by the caller; every call is to CPython with objects that it gave us.
    unsafe {
        match scalar(object) {
            Some(value) => Ok(value),
            None => rest(object, arena, detached, depth),
        }
    }
}

/// # Safety
/// As [`to_raw`], with what [`scalar`] does not convert.
unsafe fn rest(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY (whole function): promised by the caller.
    unsafe {
        if ffi::PyLong_CheckExact(object) != 0 {
            return large(object, arena);
        }
        if ffi::PyUnicode_CheckExact(object) != 0 {
            return Err(Mismatch::new("expected str, got a str with a lone surrogate"));
        }
        compound(object, arena, detached, depth)
    }
}

/// # Safety
/// As [`to_raw`], with an exact int beyond 63 bits.
#[cold]
unsafe fn large(object: *mut ffi::PyObject, arena: &mut Arena) -> Result<RawValue, Mismatch> {
    // SAFETY: promised by the caller.
    unsafe {
        let value = ffi::PyLong_AsUnsignedLongLong(object);
        if ffi::PyErr_Occurred().is_null() {
            return Ok(RawValue::uint(value));
        }
        ffi::PyErr_Clear();
    }
    // SAFETY: promised by the caller; the bytes are held by the arena.
    unsafe {
        attached(|py| {
            let value = Bound::from_borrowed_ptr(py, object);
            let bytes =
                extensions::big_to_bytes(&value).map_err(|error| Mismatch::raised(py, "int", error))?;
            let raw = item(bytes.as_ptr(), arena, false, 0)?;
            Ok(RawValue { tag: Tag::Big as u32, ..raw })
        })
    }
}

/// # Safety
/// As [`to_raw`], with what is no scalar. Other code may run meanwhile and take it out of its container: it is held.
unsafe fn compound(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY: promised by the caller.
    unsafe {
        ffi::Py_INCREF(object);
        let value = held(object, arena, detached, depth);
        ffi::Py_DECREF(object);
        value
    }
}

/// # Safety
/// As [`compound`].
unsafe fn held(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    if depth >= MAX_DEPTH {
        return Err(too_deep());
    }
    // SAFETY: promised by the caller.
    unsafe {
        if ffi::PyList_CheckExact(object) != 0 || ffi::PyTuple_CheckExact(object) != 0 {
            return sequence(object, arena, detached, depth);
        }
        if ffi::PyDict_CheckExact(object) != 0 {
            return mapping(object, arena, detached, depth);
        }
        if ffi::PyAnySet_CheckExact(object) != 0 {
            return set(object, arena, detached, depth);
        }
    }
    // SAFETY: promised by the caller.
    unsafe {
        attached(|py| {
            let value = Bound::from_borrowed_ptr(py, object);
            if ffi::PyByteArray_CheckExact(object) != 0 || ffi::PyMemoryView_Check(object) != 0 {
                return buffers::buffer(py, object, arena, detached);
            }
            if let Some(handle) = crate::owned::handle(object) {
                return Ok(handle);
            }
            match extensions::reduce(&value)? {
                Some(reduced) => extension(&reduced, arena, detached, depth),
                None if ffi::PyObject_CheckBuffer(object) != 0 => {
                    buffers::buffer(py, object, arena, detached)
                }
                None => Err(unknown_type(&value)),
            }
        })
    }
}

/// An item of a container that is a [`scalar`]; what it borrows from is held by the arena. A text is held before it is read,
/// since a lone surrogate makes an exception, which may let other code run; nothing else does.
///
/// # Safety
/// As [`to_raw`].
#[inline]
unsafe fn scalar_item(object: *mut ffi::PyObject, arena: &mut Arena) -> Option<RawValue> {
    // SAFETY: promised by the caller.
    unsafe {
        if ffi::Py_TYPE(object) == &raw mut ffi::PyUnicode_Type {
            arena.keep(object);
            return text(object);
        }
        let value = scalar(object)?;
        if value.tag == Tag::Bytes as u32 {
            arena.keep(object);
        }
        Some(value)
    }
}

/// Any item of a container.
///
/// # Safety
/// As [`to_raw`].
unsafe fn item(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY: promised by the caller.
    unsafe {
        match scalar_item(object, arena) {
            Some(value) => Ok(value),
            None => rest(object, arena, detached, depth + 1),
        }
    }
}

/// # Safety
/// As [`to_raw`], with an exact list or tuple.
unsafe fn sequence(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY: promised by the caller. Cells are written below the length that they were taken for; the size of a list, which
    // other code may change, is read anew wherever such code may have run.
    unsafe {
        let tuple = ffi::PyTuple_CheckExact(object) != 0;
        let len = if tuple { ffi::PyTuple_Size(object) } else { ffi::PyList_Size(object) };
        let cells = arena.cells(len.unsigned_abs())?;
        for index in 0..len {
            let member =
                if tuple { ffi::PyTuple_GetItem(object, index) } else { ffi::PyList_GetItem(object, index) };
            let value = if let Some(value) = scalar_item(member, arena) {
                value
            } else {
                let value = rest(member, arena, detached, depth + 1)
                    .map_err(|mismatch| mismatch.at(index.unsigned_abs()))?;
                if !tuple && ffi::PyList_Size(object) != len {
                    return Err(changed());
                }
                value
            };
            cells.add(index.unsigned_abs()).write(value);
        }
        let list = RawValue::span(Tag::List, cells.cast_const().cast(), len.unsigned_abs());
        let kind = if tuple { ListKind::Tuple } else { ListKind::List };
        Ok(RawValue { kind: kind as u32, ..list })
    }
}

/// # Safety
/// As [`to_raw`], with an exact set or frozenset.
unsafe fn set(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY: promised by the caller. The iterator owns what it gives, and raises where the set changes its size; cells are
    // written below the length that they were taken for.
    unsafe {
        attached(|py| {
            let len = ffi::PySet_Size(object).unsigned_abs();
            let cells = arena.cells(len)?;
            let mut filled = 0;
            let items = Bound::from_borrowed_ptr(py, object).try_iter();
            for member in items.map_err(|error| Mismatch::raised(py, "set", error))? {
                let member = member.map_err(|_| changed())?;
                if filled == len {
                    return Err(changed());
                }
                let value = item(member.as_ptr(), arena, detached, depth);
                let value = value.map_err(|mismatch| mismatch.inside("{…}".to_owned()))?;
                cells.add(filled).write(value);
                filled += 1;
            }
            let frozen = ffi::PyFrozenSet_CheckExact(object) != 0;
            let kind = if frozen { ListKind::FrozenSet } else { ListKind::Set };
            let list = RawValue::span(Tag::List, cells.cast_const().cast(), filled);
            Ok(RawValue { kind: kind as u32, ..list })
        })
    }
}

/// # Safety
/// As [`to_raw`], with an exact dict.
unsafe fn mapping(
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    // SAFETY: promised by the caller. `PyDict_Next` checks its position against the dict as it is; the value is held while
    // the key is read; a dict that changes its size is refused at the next step. Cells are written below the length that they
    // were taken for.
    unsafe {
        let len = ffi::PyDict_Size(object).unsigned_abs();
        let cells = arena.cells(2 * len)?;
        let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        let mut filled = 0;
        while ffi::PyDict_Next(object, &raw mut position, &raw mut key, &raw mut value) != 0 {
            if filled == len {
                return Err(changed());
            }
            ffi::Py_INCREF(value);
            let name = scalar_item(key, arena);
            let part = if name.is_some() { scalar_item(value, arena) } else { None };
            let pair = if let (Some(name), Some(part)) = (name, part) {
                Ok((name, part))
            } else {
                pair(key, name, value, arena, detached, depth)
            };
            ffi::Py_DECREF(value);
            let (name, part) = pair?;
            if ffi::PyDict_Size(object).unsigned_abs() != len {
                return Err(changed());
            }
            cells.add(2 * filled).write(name);
            cells.add(2 * filled + 1).write(part);
            filled += 1;
        }
        if filled != len {
            return Err(changed());
        }
        Ok(RawValue::span(Tag::Map, cells.cast_const().cast(), len))
    }
}

/// A pair of a dict whose key, if it has no name yet, or value is no scalar. Other code may run meanwhile: the key is held.
///
/// # Safety
/// As [`to_raw`]; the value is held by the caller.
unsafe fn pair(
    key: *mut ffi::PyObject,
    name: Option<RawValue>,
    value: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<(RawValue, RawValue), Mismatch> {
    // SAFETY: promised by the caller.
    unsafe {
        ffi::Py_INCREF(key);
        let name = name.map_or_else(|| rest(key, arena, detached, depth + 1), Ok);
        let pair = name.and_then(|name| Ok((name, item(value, arena, detached, depth)?)));
        let pair = pair.map_err(|mismatch| {
            attached(|py| mismatch.inside(key_place(&Bound::from_borrowed_ptr(py, key))))
        });
        ffi::Py_DECREF(key);
        pair
    }
}

/// # Safety
/// As [`to_raw`].
unsafe fn extension(
    reduced: &Reduced<'_>,
    arena: &mut Arena,
    detached: bool,
    depth: usize,
) -> Result<RawValue, Mismatch> {
    let Reduced { name, plain, base } = reduced;
    let extension = name.to_str().unwrap_or_default();
    // SAFETY: promised by the caller; all three are live, and what is borrowed from them is held by the arena.
    unsafe {
        let through = |mismatch: Mismatch| mismatch.through(extension);
        let cells = arena.cells(3)?;
        let name = item(name.as_ptr(), arena, detached, depth)?;
        let stands_for = item(plain.as_ptr(), arena, detached, depth).map_err(through)?;
        // Mostly the base is a part of what stands for the value: it is converted once.
        let part = plain
            .cast::<pyo3::types::PyTuple>()
            .ok()
            .and_then(|parts| parts.iter().position(|part| part.is(base)));
        let base = match part {
            Some(at) if stands_for.tag == Tag::List as u32 => {
                *stands_for.data.span.ptr.cast::<RawValue>().add(at)
            }
            _ => item(base.as_ptr(), arena, detached, depth).map_err(through)?,
        };
        cells.cast::<[RawValue; 3]>().write([name, stands_for, base]);
        Ok(RawValue::span(Tag::Extension, cells.cast_const().cast(), 3))
    }
}
