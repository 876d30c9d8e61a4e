//! Views of what came in: [`ValueRef`] borrows one value, [`Args`] those of a call.

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{ListKind, RawValue, Tag};
use crate::value::{Extension, Value};

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

    /// The Python name of the type; of an extension its own, of a record its class.
    pub fn type_name(self) -> &'a str {
        const NAMES: [&str; 13] = [
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
            "int beyond 64 bits",
        ];
        if let Some((name, plain)) = self.as_extension() {
            // What stands for a record or a value of a registered type begins with the name of its class.
            let class = plain.as_list().and_then(|mut parts| parts.next()).and_then(Self::as_str);
            return if matches!(name, "record" | "typed") { class.unwrap_or(name) } else { name };
        }
        match self.list_kind() {
            Some(ListKind::Tuple) => "tuple",
            Some(ListKind::Set) => "set",
            Some(ListKind::FrozenSet) => "frozenset",
            _ => NAMES.get(self.raw.tag as usize).copied().unwrap_or("unknown"),
        }
    }

    /// What an error says was given: the type, and of a short text also the text, which is often a typo.
    pub fn shown(self) -> String {
        match self.as_str() {
            Some(text) if text.len() <= 60 => format!("{} ({})", self.type_name(), quoted(text)),
            _ => self.type_name().to_owned(),
        }
    }

    #[inline]
    fn is(self, tag: Tag) -> bool {
        self.raw.tag == tag as u32
    }

    /// Of an extension the nearest value with a tag of its own. Looked at last, so that plain values pay nothing.
    fn base(self) -> Option<Self> {
        match self.values(Tag::Extension, 1)? {
            [_, _, base, ..] => Some(Self { raw: base }),
            _ => None,
        }
    }

    /// What the base of an extension is read as. Apart, so that the way of plain values is short enough to be inlined.
    #[cold]
    #[inline(never)]
    fn based<T>(self, read: fn(Self) -> Option<T>) -> Option<T> {
        read(self.base()?)
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
        // SAFETY: the tag says which field is set.
        unsafe {
            if self.is(Tag::Int) {
                return Some(self.raw.data.int);
            }
            if self.is(Tag::UInt) {
                return self.raw.data.uint.try_into().ok();
            }
        }
        self.based(Self::as_i64)
    }

    #[inline]
    pub fn as_f64(self) -> Option<f64> {
        if self.is(Tag::Float) {
            // SAFETY: the tag says which field is set.
            return Some(unsafe { self.raw.data.float });
        }
        #[expect(clippy::cast_precision_loss, reason = "Python's own int → float does the same")]
        self.as_i64().map(|value| value as f64).or_else(|| self.base()?.as_f64())
    }

    #[inline]
    fn bytes_of(self) -> &'a [u8] {
        // SAFETY: only called for str, bytes and big ints, whose span is set.
        let span = unsafe { self.raw.data.span };
        if span.len == 0 {
            return &[];
        }
        // SAFETY: promised by `new`.
        unsafe { std::slice::from_raw_parts(span.ptr.cast(), span.len) }
    }

    #[inline]
    pub fn as_str(self) -> Option<&'a str> {
        if self.is(Tag::Str) {
            return text(self.bytes_of());
        }
        self.based(Self::as_str)
    }

    #[inline]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        if self.is(Tag::Bytes) || self.is(Tag::Buffer) {
            return Some(self.bytes_of());
        }
        self.based(Self::as_bytes)
    }

    /// The bytes of an int beyond 64 bits, in two's complement, the lowest first.
    pub fn as_big(self) -> Option<&'a [u8]> {
        self.is(Tag::Big).then(|| self.bytes_of())
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

    /// The items of a list, tuple, set or frozenset, and of an extension that is based on one.
    pub fn as_list(self) -> Option<impl ExactSizeIterator<Item = ValueRef<'a>>> {
        let values = self.values(Tag::List, 1).or_else(|| self.base()?.values(Tag::List, 1))?;
        Some(values.iter().map(|raw| Self { raw }))
    }

    /// Which of them it is, of a list, tuple, set or frozenset.
    pub fn list_kind(self) -> Option<ListKind> {
        self.is(Tag::List).then_some(match self.raw.kind {
            1 => ListKind::Tuple,
            2 => ListKind::Set,
            3 => ListKind::FrozenSet,
            _ => ListKind::List,
        })
    }

    /// The pairs of a dict, and of a record its fields.
    pub fn as_map(self) -> Option<impl ExactSizeIterator<Item = (ValueRef<'a>, ValueRef<'a>)>> {
        let values = self.values(Tag::Map, 2).or_else(|| self.base()?.values(Tag::Map, 2))?;
        Some(values.chunks_exact(2).map(|pair| (Self { raw: &pair[0] }, Self { raw: &pair[1] })))
    }

    pub(crate) const fn raw(self) -> &'a RawValue {
        self.raw
    }

    /// The bytes of a value that is a text, bytes or a big int.
    pub(crate) fn content(self) -> Option<&'a [u8]> {
        matches!(self.raw.tag, 5 | 6 | 9 | 12).then(|| self.bytes_of())
    }

    /// The cells of a container: items, keys and values in turn, or the parts of an extension.
    pub(crate) fn cells(self) -> Option<&'a [RawValue]> {
        match self.raw.tag {
            7 => self.values(Tag::List, 1),
            8 => self.values(Tag::Map, 2),
            13 => self.values(Tag::Extension, 1),
            _ => None,
        }
    }

    /// The name of an extension, and what stands for its value.
    pub fn as_extension(self) -> Option<(&'a str, Self)> {
        match self.values(Tag::Extension, 1)? {
            [name, plain, ..] => Some((Self { raw: name }.as_str()?, Self { raw: plain })),
            _ => None,
        }
    }

    /// Message, context and causes of an error value.
    pub(crate) fn error_parts(self) -> Option<&'a [RawValue]> {
        self.values(Tag::Error, 1)
    }

    /// A copy that owns everything.
    #[inline]
    pub fn to_owned(self) -> Value {
        // SAFETY (whole block): the tag says which field is set.
        unsafe {
            match self.raw.tag {
                1 => Value::Bool(self.raw.data.uint & 0xff != 0),
                2 => Value::Int(self.raw.data.int),
                3 => Value::UInt(self.raw.data.uint),
                4 => Value::Float(self.raw.data.float),
                5 => text(self.bytes_of()).map_or(Value::None, |text| Value::Str(text.to_owned())),
                6 | 9 => Value::Bytes(self.bytes_of().to_vec()),
                7 | 8 | 13 => self.owned_container(),
                12 => Value::Big(self.bytes_of().to_vec()),
                _ => Value::None,
            }
        }
    }

    fn owned_container(self) -> Value {
        if self.is(Tag::Extension) {
            return self.owned_extension();
        }
        if let Some(pairs) = self.as_map() {
            return Value::Map(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
        }
        let items = self.as_list().map_or_else(Vec::new, |items| items.map(Self::to_owned).collect());
        match self.list_kind() {
            Some(ListKind::Tuple) => Value::Tuple(items),
            Some(ListKind::Set) => Value::Set(items),
            Some(ListKind::FrozenSet) => Value::FrozenSet(items),
            _ => Value::List(items),
        }
    }

    #[cold]
    fn owned_extension(self) -> Value {
        let base = self.base().map_or(Value::None, Self::to_owned);
        match self.as_extension() {
            Some((name, plain)) => {
                let (name, plain) = (name.to_owned(), plain.to_owned());
                Value::Extension(Box::new(Extension { name, plain, base }))
            }
            None => base,
        }
    }
}

/// A text as Python's own `repr` shows it, nearly always.
///
/// ```
/// assert_eq!(symphony_pit_abi::quoted("it's"), r#""it's""#);
/// assert_eq!(symphony_pit_abi::quoted("soon"), "'soon'");
/// ```
pub fn quoted(text: &str) -> String {
    let plain = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    match (plain.contains('\''), plain.contains('"')) {
        (true, false) => format!("\"{plain}\""),
        (true, true) => format!("'{}'", plain.replace('\'', "\\'")),
        (false, _) => format!("'{plain}'"),
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

#[cold]
fn missing(index: usize) -> Error {
    Error::invalid(format!("argument {index} is missing"))
}

/// The arguments of a call, one per parameter of the method table.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    values: &'a [RawValue],
    names: &'a [crate::layout::Param],
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
            Error::new(ErrorKind::WrongType, format!("{name}: expected {wanted}, got {}", value.shown()))
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
