//! Owned values and errors in the form that crosses the ABI, and errors back from it.

use std::ffi::c_void;

use crate::error::{Error, ErrorKind};
use crate::layout::{ListKind, RawValue, Returned, Tag};
use crate::room::Room;
use crate::value::Value;
use crate::view::ValueRef;

/// A value and the arena of its containers, kept alive until the caller has read them.
struct Owned {
    _value: Value,
    _arena: Vec<RawValue>,
}

unsafe extern "C" fn release_owned(owner: *mut c_void) {
    // SAFETY: `owner` is the box made in `Returned::from_value`, released once.
    drop(unsafe { Box::from_raw(owner.cast::<Owned>()) });
}

/// Cells of all containers in a value. Most values are none, and are counted without a call.
#[inline]
fn cells(value: &Value) -> usize {
    match value {
        Value::List(_)
        | Value::Tuple(_)
        | Value::Set(_)
        | Value::FrozenSet(_)
        | Value::Map(_)
        | Value::Extension(_) => container_cells(value),
        _ => 0,
    }
}

fn container_cells(value: &Value) -> usize {
    match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
            items.len() + items.iter().map(cells).sum::<usize>()
        }
        Value::Map(pairs) => pairs.iter().map(|(key, value)| 2 + cells(key) + cells(value)).sum(),
        Value::Extension(extension) => 3 + cells(&extension.plain) + cells(&extension.base),
        _ => 0,
    }
}

/// `left` has a cell for every value in a container.
#[inline]
fn flatten(value: &Value, left: &mut Room<'_, RawValue>) -> RawValue {
    match value {
        Value::None => RawValue::NONE,
        Value::Bool(value) => RawValue::bool(*value),
        Value::Int(value) => RawValue::int(*value),
        Value::UInt(value) => RawValue::uint(*value),
        Value::Float(value) => RawValue::float(*value),
        Value::Str(text) => RawValue::span(Tag::Str, text.as_ptr().cast(), text.len()),
        Value::Bytes(bytes) => RawValue::span(Tag::Bytes, bytes.as_ptr().cast(), bytes.len()),
        Value::Big(bytes) => RawValue::span(Tag::Big, bytes.as_ptr().cast(), bytes.len()),
        Value::Buffer(buffer) => {
            RawValue::span(Tag::Bytes, buffer.as_ref().as_ptr().cast(), buffer.as_ref().len())
        }
        _ => flatten_container(value, left),
    }
}

fn flatten_container(value: &Value, left: &mut Room<'_, RawValue>) -> RawValue {
    match value {
        Value::List(items) => flatten_list(items, ListKind::List, left),
        Value::Tuple(items) => flatten_list(items, ListKind::Tuple, left),
        Value::Set(items) => flatten_list(items, ListKind::Set, left),
        Value::FrozenSet(items) => flatten_list(items, ListKind::FrozenSet, left),
        Value::Map(pairs) => {
            let cells = left.take(2 * pairs.len());
            for (cells, (key, value)) in cells.chunks_exact_mut(2).zip(pairs) {
                cells[0] = flatten(key, left);
                cells[1] = flatten(value, left);
            }
            RawValue::span(Tag::Map, cells.as_ptr().cast(), pairs.len())
        }
        Value::Extension(extension) => {
            let cells = left.take(3);
            let name = &extension.name;
            cells[0] = RawValue::span(Tag::Str, name.as_ptr().cast(), name.len());
            cells[1] = flatten(&extension.plain, left);
            cells[2] = flatten(&extension.base, left);
            RawValue::span(Tag::Extension, cells.as_ptr().cast(), 3)
        }
        _ => RawValue::NONE,
    }
}

fn flatten_list(items: &[Value], kind: ListKind, left: &mut Room<'_, RawValue>) -> RawValue {
    let cells = left.take(items.len());
    for (cell, item) in cells.iter_mut().zip(items) {
        *cell = flatten(item, left);
    }
    let list = RawValue::span(Tag::List, cells.as_ptr().cast(), items.len());
    RawValue { kind: kind as u32, ..list }
}

impl Value {
    /// Lend the value in the form that crosses the ABI.
    pub fn with_ref<T>(&self, body: impl FnOnce(ValueRef<'_>) -> T) -> T {
        with_raw(std::slice::from_ref(self), |raw| {
            // SAFETY: made from a value of ours just now, lent for the call.
            body(unsafe { ValueRef::new(&raw[0]) })
        })
    }
}

/// Lend values as the arguments of one call.
pub fn with_raw<T>(values: &[Value], body: impl FnOnce(&[RawValue]) -> T) -> T {
    let mut arena = vec![RawValue::NONE; values.iter().map(cells).sum()];
    let mut left = Room(&mut arena);
    let raw: Vec<RawValue> = values.iter().map(|value| flatten(value, &mut left)).collect();
    body(&raw)
}

fn context(pairs: Vec<(String, String)>) -> Value {
    Value::map(pairs.into_iter().map(|(key, value)| (key, Value::Str(value))))
}

/// The causes of an error, nearest first.
fn causes(source: Option<Box<Error>>) -> Vec<Value> {
    let (mut causes, mut next) = (Vec::new(), source);
    while let Some(cause) = next {
        let Error { kind, message, context: pairs, source } = *cause;
        causes.push(Value::List(vec![Value::Int(kind as i64), Value::Str(message), context(pairs)]));
        next = source;
    }
    causes
}

fn read_error(kind: u32, message: ValueRef<'_>, context: ValueRef<'_>) -> Error {
    let mut error = Error::new(ErrorKind::from_status(kind), "the component gave no message");
    if let Some(message) = message.as_str() {
        message.clone_into(&mut error.message);
    }
    for (key, value) in context.as_map().into_iter().flatten() {
        if let (Some(key), Some(value)) = (key.as_str(), value.as_str()) {
            error.context.push((key.to_owned(), value.to_owned()));
        }
    }
    error
}

fn read_causes(causes: ValueRef<'_>) -> Option<Box<Error>> {
    let causes: Vec<_> = causes.as_list()?.filter_map(ValueRef::as_list).map(Iterator::collect).collect();
    causes.into_iter().rev().fold(None, |source, parts: Vec<ValueRef<'_>>| {
        let [kind, message, context] = parts[..] else { return source };
        let kind = kind.as_u64().and_then(|kind| kind.try_into().ok()).unwrap_or(0);
        Some(Box::new(Error { source, ..read_error(kind, message, context) }))
    })
}

impl Returned {
    /// Scalars need no owner; the rest is boxed until it is released.
    #[inline]
    pub fn from_value(value: Value) -> Self {
        let scalar = match &value {
            Value::None => RawValue::NONE,
            Value::Bool(value) => RawValue::bool(*value),
            Value::Int(value) => RawValue::int(*value),
            Value::UInt(value) => RawValue::uint(*value),
            Value::Float(value) => RawValue::float(*value),
            _ => return Self::owning(value),
        };
        std::mem::forget(value); // it owns nothing, which the compiler does not see
        Self { value: scalar, ..Self::EMPTY }
    }

    fn owning(value: Value) -> Self {
        let mut owned = Box::new(Owned { _arena: vec![RawValue::NONE; cells(&value)], _value: value });
        let Owned { _value: value, _arena: arena } = &mut *owned;
        let mut raw = flatten(value, &mut Room(arena));
        if matches!(value, Value::Buffer(_)) {
            raw.tag = Tag::Buffer as u32;
        }
        Self { value: raw, owner: Box::into_raw(owned).cast(), release: Some(release_owned) }
    }

    /// An error as message, context and causes; its kind is the status of the call.
    pub fn from_error(error: Error) -> Self {
        let kind = error.kind;
        let mut parts = vec![Value::Str(error.message), context(error.context)];
        if error.source.is_some() {
            parts.push(Value::List(causes(error.source)));
        }
        let mut returned = Self::from_value(Value::List(parts));
        returned.value.tag = Tag::Error as u32;
        returned.value.kind = kind as u32;
        returned
    }

    /// Read an error that [`Returned::from_error`] made, possibly in another library.
    ///
    /// # Safety
    /// The value is well formed.
    pub unsafe fn to_error(&self, status: u32) -> Error {
        // SAFETY: promised by the caller.
        let view = unsafe { ValueRef::new(&self.value) };
        let own = self.value.tag == Tag::Error as u32 && self.value.kind != 0;
        let status = if own { self.value.kind } else { status };
        // SAFETY: parts of a well-formed value.
        let part = |raw| unsafe { ValueRef::new(raw) };
        match view.error_parts() {
            Some([message, context, rest @ ..]) => {
                let source = rest.first().and_then(|causes| read_causes(part(causes)));
                Error { source, ..read_error(status, part(message), part(context)) }
            }
            _ => read_error(status, ValueRef::none(), ValueRef::none()),
        }
    }

    /// Give the memory back to the library that made it.
    ///
    /// # Safety
    /// `value` is not read afterwards, and this is called once.
    pub unsafe fn release(&mut self) {
        if let Some(release) = self.release.take() {
            // SAFETY: promised by the caller.
            unsafe { release(self.owner) };
        }
    }
}
