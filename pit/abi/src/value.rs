//! Safe views of values: [`ValueRef`] borrows what came in, [`Value`] owns what goes out.

use std::ffi::c_void;

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::layout::{RawValue, Returned, Tag};

/// An owned value.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Value {
    #[default]
    None,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// Only as the whole result of a method; inside containers it is copied.
    Buffer(Buffer),
}

impl Value {
    /// A map with text keys.
    pub fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (Self::Str(key.into()), value)).collect())
    }
}

macro_rules! value_from {
    ($($type:ty => |$x:ident| $value:expr),+ $(,)?) => {$(
        impl From<$type> for Value { fn from($x: $type) -> Self { $value } }
    )+};
}
value_from! {
    () => |_x| Self::None,
    bool => |x| Self::Bool(x),
    i64 => |x| Self::Int(x),
    u64 => |x| Self::UInt(x),
    u32 => |x| Self::Int(i64::from(x)),
    usize => |x| Self::UInt(x as u64),
    f64 => |x| Self::Float(x),
    &str => |x| Self::Str(x.to_owned()),
    String => |x| Self::Str(x),
    Vec<u8> => |x| Self::Bytes(x),
    Vec<Value> => |x| Self::List(x),
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// What a method gives back: a [`Value`] or anything that becomes one.
pub type Returning = Value;

/// A borrowed value.
#[derive(Clone, Copy)]
pub struct ValueRef<'a> {
    raw: &'a RawValue,
}

impl<'a> ValueRef<'a> {
    /// # Safety
    /// `raw` and all that it points to are well formed and live as long as `'a`.
    pub const unsafe fn new(raw: &'a RawValue) -> Self {
        Self { raw }
    }

    /// The value None.
    pub const fn none() -> Self {
        Self { raw: &RawValue::NONE }
    }

    #[inline]
    pub fn is_none(self) -> bool {
        self.raw.tag == Tag::None as u32
    }

    pub fn type_name(self) -> &'static str {
        const NAMES: [&str; 12] = [
            "None",
            "bool",
            "int",
            "int",
            "float",
            "str",
            "bytes",
            "list",
            "dict",
            "memoryview",
            "error",
            "handle",
        ];
        NAMES.get(self.raw.tag as usize).copied().unwrap_or("unknown")
    }

    #[inline]
    fn is(self, tag: Tag) -> bool {
        self.raw.tag == tag as u32
    }

    #[inline]
    pub fn as_bool(self) -> Option<bool> {
        // SAFETY: the tag says which field is set; as an integer, since the other side may have set any bits.
        self.is(Tag::Bool).then_some(unsafe { self.raw.data.uint } & 0xff != 0)
    }

    /// An int of either sign, or a handle's number.
    #[inline]
    pub fn as_u64(self) -> Option<u64> {
        if self.is(Tag::UInt) || self.is(Tag::Handle) {
            // SAFETY: the tag says which field is set.
            return Some(unsafe { self.raw.data.uint });
        }
        self.as_i64().and_then(|value| value.try_into().ok())
    }

    #[inline]
    pub fn as_i64(self) -> Option<i64> {
        if self.is(Tag::Int) {
            // SAFETY: the tag says which field is set.
            return Some(unsafe { self.raw.data.int });
        }
        // SAFETY: as above.
        self.is(Tag::UInt).then_some(unsafe { self.raw.data.uint }).and_then(|value| value.try_into().ok())
    }

    #[inline]
    pub fn as_f64(self) -> Option<f64> {
        if self.is(Tag::Float) {
            // SAFETY: the tag says which field is set.
            return Some(unsafe { self.raw.data.float });
        }
        #[expect(clippy::cast_precision_loss, reason = "Python's own int → float does the same")]
        self.as_i64().map(|value| value as f64)
    }

    #[inline]
    fn bytes_of(self) -> &'a [u8] {
        // SAFETY: only called for str and bytes, whose span is set.
        let span = unsafe { self.raw.data.span };
        if span.len == 0 {
            return &[];
        }
        // SAFETY: promised by `new`.
        unsafe { std::slice::from_raw_parts(span.ptr.cast(), span.len) }
    }

    #[inline]
    pub fn as_str(self) -> Option<&'a str> {
        self.is(Tag::Str).then(|| text(self.bytes_of())).flatten()
    }

    #[inline]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        (self.is(Tag::Bytes) || self.is(Tag::Buffer)).then(|| self.bytes_of())
    }

    fn values(self, tag: Tag, per_item: usize) -> Option<&'a [RawValue]> {
        if !self.is(tag) {
            return None;
        }
        // SAFETY: the tag says that the span is set.
        let span = unsafe { self.raw.data.span };
        if span.len == 0 {
            return Some(&[]);
        }
        // SAFETY: promised by `new`.
        Some(unsafe { std::slice::from_raw_parts(span.ptr.cast(), span.len * per_item) })
    }

    pub fn as_list(self) -> Option<impl ExactSizeIterator<Item = ValueRef<'a>>> {
        self.values(Tag::List, 1).map(|values| values.iter().map(|raw| Self { raw }))
    }

    pub fn as_map(self) -> Option<impl ExactSizeIterator<Item = (ValueRef<'a>, ValueRef<'a>)>> {
        let values = self.values(Tag::Map, 2)?;
        Some(values.chunks_exact(2).map(|pair| (Self { raw: &pair[0] }, Self { raw: &pair[1] })))
    }

    /// Message and context of an error value.
    fn error_parts(self) -> Option<&'a [RawValue]> {
        self.values(Tag::Error, 1)
    }

    /// A copy that owns everything.
    pub fn to_owned(self) -> Value {
        if let Some(value) = self.as_str() {
            return Value::Str(value.to_owned());
        }
        if let Some(value) = self.as_bytes() {
            return Value::Bytes(value.to_vec());
        }
        if let Some(list) = self.as_list() {
            return Value::List(list.map(ValueRef::to_owned).collect());
        }
        if let Some(map) = self.as_map() {
            return Value::Map(map.map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
        }
        // SAFETY: the tag says which field is set.
        unsafe {
            match self.raw.tag {
                1 => Value::Bool(self.raw.data.uint & 0xff != 0),
                2 => Value::Int(self.raw.data.int),
                3 => Value::UInt(self.raw.data.uint),
                4 => Value::Float(self.raw.data.float),
                _ => Value::None,
            }
        }
    }
}

/// The other side may be wrong, so that its text is checked; most is ASCII, and known as that with less work.
#[inline]
fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}

/// The arguments of a call, one per parameter of the method table.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    values: &'a [RawValue],
    names: &'a [crate::layout::Param],
}

#[cold]
fn missing(index: usize) -> Error {
    Error::invalid(format!("argument {index} is missing"))
}

impl<'a> Args<'a> {
    pub(crate) const fn new(values: &'a [RawValue], names: &'a [crate::layout::Param]) -> Self {
        Self { values, names }
    }

    #[inline]
    pub fn get(&self, index: usize) -> Result<ValueRef<'a>> {
        self.values.get(index).map(|raw| ValueRef { raw }).ok_or_else(|| missing(index))
    }

    fn expect<T>(
        &self,
        index: usize,
        wanted: &str,
        read: impl FnOnce(ValueRef<'a>) -> Option<T>,
    ) -> Result<T> {
        let value = self.get(index)?;
        read(value).ok_or_else(|| {
            // SAFETY: names are statics of this component's method table.
            let name = self.names.get(index).map_or("argument", |param| unsafe { param.name.as_str() });
            Error::invalid(format!("{name}: expected {wanted}, got {}", value.type_name()))
        })
    }

    pub fn str(&self, index: usize) -> Result<&'a str> {
        self.expect(index, "str", ValueRef::as_str)
    }

    pub fn bytes(&self, index: usize) -> Result<&'a [u8]> {
        self.expect(index, "bytes", ValueRef::as_bytes)
    }

    pub fn int(&self, index: usize) -> Result<i64> {
        self.expect(index, "int", ValueRef::as_i64)
    }

    /// An int of at least 0 that fits the wanted type.
    pub fn unsigned<T: TryFrom<i64>>(&self, index: usize) -> Result<T> {
        self.expect(index, "int in range", |value| value.as_i64().and_then(|value| T::try_from(value).ok()))
    }

    pub fn float(&self, index: usize) -> Result<f64> {
        self.expect(index, "float", ValueRef::as_f64)
    }

    pub fn list(&self, index: usize) -> Result<impl ExactSizeIterator<Item = ValueRef<'a>>> {
        self.expect(index, "list", ValueRef::as_list)
    }
}

/// A value and the arena of its containers, kept alive until the caller has read them.
struct Owned {
    _value: Value,
    _arena: Vec<RawValue>,
}

unsafe extern "C" fn release_owned(owner: *mut c_void) {
    // SAFETY: `owner` is the box made in `Returned::from_value`, released once.
    drop(unsafe { Box::from_raw(owner.cast::<Owned>()) });
}

fn cells(value: &Value) -> usize {
    match value {
        Value::List(items) => items.len() + items.iter().map(cells).sum::<usize>(),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| 2 + cells(key) + cells(value)).sum(),
        _ => 0,
    }
}

/// `arena` has room for every cell, so that no push moves it.
fn flatten(value: &Value, arena: &mut Vec<RawValue>) -> RawValue {
    match value {
        Value::None => RawValue::NONE,
        Value::Bool(value) => RawValue::bool(*value),
        Value::Int(value) => RawValue::int(*value),
        Value::UInt(value) => RawValue::uint(*value),
        Value::Float(value) => RawValue::float(*value),
        Value::Str(text) => RawValue::span(Tag::Str, text.as_ptr().cast(), text.len()),
        Value::Bytes(bytes) => RawValue::span(Tag::Bytes, bytes.as_ptr().cast(), bytes.len()),
        Value::Buffer(buffer) => {
            RawValue::span(Tag::Bytes, buffer.as_ref().as_ptr().cast(), buffer.as_ref().len())
        }
        Value::List(items) => {
            let start = arena.len();
            arena.resize(start + items.len(), RawValue::NONE);
            for (index, item) in items.iter().enumerate() {
                arena[start + index] = flatten(item, arena);
            }
            RawValue::span(Tag::List, arena[start..].as_ptr().cast(), items.len())
        }
        Value::Map(pairs) => {
            let start = arena.len();
            arena.resize(start + 2 * pairs.len(), RawValue::NONE);
            for (index, (key, value)) in pairs.iter().enumerate() {
                arena[start + 2 * index] = flatten(key, arena);
                arena[start + 2 * index + 1] = flatten(value, arena);
            }
            RawValue::span(Tag::Map, arena[start..].as_ptr().cast(), pairs.len())
        }
    }
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
    let mut arena = Vec::with_capacity(values.iter().map(cells).sum());
    let raw: Vec<RawValue> = values.iter().map(|value| flatten(value, &mut arena)).collect();
    body(&raw)
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
        let mut owned = Box::new(Owned { _arena: Vec::with_capacity(cells(&value)), _value: value });
        let Owned { _value: value, _arena: arena } = &mut *owned;
        let mut raw = flatten(value, arena);
        if matches!(value, Value::Buffer(_)) {
            raw.tag = Tag::Buffer as u32;
        }
        Self { value: raw, owner: Box::into_raw(owned).cast(), release: Some(release_owned) }
    }

    /// An error as message and context; its kind is the status of the call.
    pub fn from_error(error: Error) -> Self {
        let kind = error.kind;
        let context = error.context.into_iter().map(|(key, value)| (key, Value::Str(value)));
        let mut returned =
            Self::from_value(Value::List(vec![Value::Str(error.message), Value::map(context)]));
        returned.value.tag = Tag::Error as u32;
        returned.value.reserved = kind as u32;
        returned
    }

    /// Read an error that [`Returned::from_error`] made, possibly in another library.
    ///
    /// # Safety
    /// The value is well formed.
    pub unsafe fn to_error(&self, status: u32) -> Error {
        // SAFETY: promised by the caller.
        let view = unsafe { ValueRef::new(&self.value) };
        let status = if self.value.tag == Tag::Error as u32 && self.value.reserved != 0 {
            self.value.reserved
        } else {
            status
        };
        let mut error = Error::new(crate::ErrorKind::from_status(status), "the component gave no message");
        if let Some([message, context]) = view.error_parts() {
            if let Some(message) = (ValueRef { raw: message }).as_str() {
                message.clone_into(&mut error.message);
            }
            for (key, value) in (ValueRef { raw: context }).as_map().into_iter().flatten() {
                if let (Some(key), Some(value)) = (key.as_str(), value.as_str()) {
                    error.context.push((key.to_owned(), value.to_owned()));
                }
            }
        }
        error
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
