//! Rust values as Pit values, and back, with the path to what does not fit: `steps[3].timeout: expected float, got str`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use symphony_pit_abi::{Args, Buffer, Copied, Error, ErrorKind, Result, Returned, Value, ValueRef, quoted};

/// What a method can return.
pub trait ToPit {
    /// The Python type expression that `help()` and the stubs show.
    const NAME: &'static str;

    fn to_pit(self) -> Value;

    /// The value as the result of a call.
    #[inline]
    fn to_returned(self) -> Returned
    where
        Self: Sized,
    {
        Returned::from_value(self.to_pit())
    }
}

/// What a method can take. Borrowed types live as long as the call.
pub trait FromPit<'a>: Sized {
    /// The Python type expression that `help()` and the stubs show.
    const NAME: &'static str;

    /// The value, or an error made by [`unexpected`], to which callers add the path.
    fn from_pit(value: ValueRef<'a>) -> Result<Self>;
}

/// A type expression that is put together while compiling.
struct Name {
    bytes: [u8; 128],
    len: usize,
}

impl Name {
    const fn join(parts: &[&str]) -> Self {
        let (mut bytes, mut len, mut part) = ([0; 128], 0, 0);
        while part < parts.len() {
            let (text, mut at) = (parts[part].as_bytes(), 0);
            while at < text.len() {
                bytes[len] = text[at];
                len += 1;
                at += 1;
            }
            part += 1;
        }
        Self { bytes, len }
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "object", // joined from whole texts, so never
        }
    }
}

/// An error about a value, to which its place is added on the way out.
#[cold]
pub fn unexpected(wanted: &str, value: ValueRef<'_>) -> Error {
    Error::new(ErrorKind::WrongType, format!(": expected {wanted}, got {}", value.shown()))
}

/// An error about a value that is none of the names of an enum: a text of the wrong type it is not.
pub fn unknown_name(known: &str, value: ValueRef<'_>) -> Error {
    let error = unexpected(&format!("one of {known}"), value);
    if value.as_str().is_some() { Error { kind: ErrorKind::InvalidArgument, ..error } } else { error }
}

#[cold]
fn inside(place: &str, mut error: Error) -> Error {
    let joint = if error.message.starts_with([':', '[', '.']) { "" } else { ": " };
    error.message.insert_str(0, &format!("{place}{joint}"));
    error
}

#[inline]
fn read<'a, T>(value: ValueRef<'a>, wanted: &str, read: impl FnOnce(ValueRef<'a>) -> Option<T>) -> Result<T> {
    read(value).ok_or_else(|| unexpected(wanted, value))
}

/// One argument of a call.
#[inline]
pub fn argument<'a, T: FromPit<'a>>(args: &Args<'a>, index: usize, name: &str) -> Result<T> {
    T::from_pit(args.get(index)?).map_err(|error| inside(name, error))
}

/// What a method gives: a result whose value can cross.
pub trait Outcome {
    const NAME: &'static str;
}

impl<T: ToPit> Outcome for Result<T> {
    const NAME: &'static str = T::NAME;
}

pub fn owned<T: ToPit>(result: Result<T>) -> Result<Value> {
    result.map(ToPit::to_pit)
}

#[inline]
pub fn returned<T: ToPit>(result: Result<T>) -> Result<Returned> {
    result.map(ToPit::to_returned)
}

/// The fields of a dict, for derived structs.
pub struct Fields<'a> {
    pairs: Vec<(&'a str, ValueRef<'a>)>,
}

impl<'a> Fields<'a> {
    /// The pairs of a dict whose keys are all known.
    pub fn of(value: ValueRef<'a>, known: &[&str]) -> Result<Self> {
        let pairs = read(value, "dict", ValueRef::as_map)?;
        let pairs = pairs.map(|(key, value)| {
            let key = read(key, "a str as key", ValueRef::as_str)?;
            if known.contains(&key) {
                return Ok((key, value));
            }
            Err(Error::invalid(format!(": unknown key {}", quoted(key))).with("known keys", known.join(", ")))
        });
        Ok(Self { pairs: pairs.collect::<Result<_>>()? })
    }

    /// The field of this name; one that is not there is None.
    pub fn get<T: FromPit<'a>>(&self, name: &str) -> Result<T> {
        let found = self.pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let value = found.unwrap_or_else(ValueRef::none);
        T::from_pit(value).map_err(|error| match found {
            Some(_) => inside(&format!(".{name}"), error),
            None => Error::invalid(format!(".{name}: missing")),
        })
    }
}

macro_rules! to_pit {
    ($($type:ty, $name:literal, |$x:ident| $value:expr);+ $(;)?) => {$(
        impl ToPit for $type {
            const NAME: &'static str = $name;
            #[inline]
            fn to_pit(self) -> Value { let $x = self; $value }
        }
    )+};
}
to_pit! {
    (), "None", |_x| Value::None;
    bool, "bool", |x| Value::Bool(x);
    i32, "int", |x| Value::Int(x.into());
    i64, "int", |x| Value::Int(x);
    u16, "int", |x| Value::Int(x.into());
    u32, "int", |x| Value::Int(x.into());
    u64, "int", |x| Value::UInt(x);
    usize, "int", |x| Value::UInt(x as u64);
    f64, "float", |x| Value::Float(x);
    &str, "str", |x| Value::Str(x.to_owned());
    String, "str", |x| Value::Str(x);
    Vec<u8>, "bytes", |x| Value::Bytes(x);
    Buffer, "memoryview", |x| Value::Buffer(x);
    Value, "object", |x| x;
}

impl ToPit for Copied {
    const NAME: &'static str = "object";

    fn to_pit(self) -> Value {
        self.view().to_owned()
    }

    fn to_returned(self) -> Returned {
        Returned::from_copied(self)
    }
}

impl<T: ToPit> ToPit for Option<T> {
    const NAME: &'static str = const { &Name::join(&[T::NAME, " | None"]) }.as_str();

    fn to_pit(self) -> Value {
        self.map_or(Value::None, ToPit::to_pit)
    }

    #[inline]
    fn to_returned(self) -> Returned {
        self.map_or(Returned::EMPTY, ToPit::to_returned)
    }
}

impl<T: ToPit> ToPit for Box<T> {
    const NAME: &'static str = T::NAME;

    fn to_pit(self) -> Value {
        (*self).to_pit()
    }
}

impl<T: ToPit> ToPit for Vec<T> {
    const NAME: &'static str = const { &Name::join(&["list[", T::NAME, "]"]) }.as_str();

    fn to_pit(self) -> Value {
        Value::List(self.into_iter().map(ToPit::to_pit).collect())
    }
}

macro_rules! collections_to_pit {
    ($($type:ty, [$($bound:tt)*], $prefix:literal, |$x:ident| $value:expr);+ $(;)?) => {$(
        impl<$($bound)*> ToPit for $type {
            const NAME: &'static str = const { &Name::join(&[$prefix, T::NAME, "]"]) }.as_str();

            fn to_pit(self) -> Value { let $x = self; $value }
        }
    )+};
}
collections_to_pit! {
    BTreeSet<T>, [T: ToPit], "set[", |x| Value::Set(x.into_iter().map(ToPit::to_pit).collect());
    HashSet<T, S>, [T: ToPit, S: BuildHasher], "set[", |x| Value::Set(x.into_iter().map(ToPit::to_pit).collect());
    BTreeMap<K, T>, [K: Into<String>, T: ToPit], "dict[str, ", |x| map(x);
    HashMap<K, T, S>, [K: Into<String>, T: ToPit, S: BuildHasher], "dict[str, ", |x| map(x);
}

fn map<K: Into<String>, T: ToPit>(pairs: impl IntoIterator<Item = (K, T)>) -> Value {
    Value::map(pairs.into_iter().map(|(key, value)| (key, value.to_pit())))
}

macro_rules! from_pit {
    ($($type:ty, $name:literal, $wanted:literal, |$x:ident| $value:expr);+ $(;)?) => {$(
        impl<'a> FromPit<'a> for $type {
            const NAME: &'static str = $name;
            #[inline]
            fn from_pit(value: ValueRef<'a>) -> Result<Self> { read(value, $wanted, |$x| $value) }
        }
    )+};
}
from_pit! {
    bool, "bool", "bool", |x| x.as_bool();
    f64, "float", "float", |x| x.as_f64();
    &'a str, "str", "str", |x| x.as_str();
    String, "str", "str", |x| x.as_str().map(str::to_owned);
    &'a [u8], "bytes", "bytes", |x| x.as_bytes();
    Vec<u8>, "bytes", "bytes", |x| x.as_bytes().map(<[u8]>::to_vec);
    Value, "object", "a value", |x| Some(x.to_owned());
    ValueRef<'a>, "object", "a value", |x| Some(x);
}

macro_rules! integers {
    ($($type:ty, $least:literal),+) => {$(
        impl<'a> FromPit<'a> for $type {
            const NAME: &'static str = "int";

            #[inline]
            fn from_pit(value: ValueRef<'a>) -> Result<Self> {
                if let Some(number) = value.as_u64() {
                    return number.try_into().map_err(|_| out_of_range(number, $least));
                }
                let number = read(value, "int", ValueRef::as_i64)?;
                number.try_into().map_err(|_| out_of_range(number, $least))
            }
        }
    )+};
}
integers!(
    i32,
    "",
    i64,
    "",
    u16,
    " of at least 0",
    u32,
    " of at least 0",
    u64,
    " of at least 0",
    usize,
    " of at least 0"
);

#[cold]
fn out_of_range(number: impl std::fmt::Display, least: &str) -> Error {
    let wanted = if least.is_empty() { " in range" } else { least };
    Error::invalid(format!(": expected int{wanted}, got {number}"))
}

impl<'a, T: FromPit<'a>> FromPit<'a> for Box<T> {
    const NAME: &'static str = T::NAME;

    fn from_pit(value: ValueRef<'a>) -> Result<Self> {
        T::from_pit(value).map(Self::new)
    }
}

impl<'a, T: FromPit<'a>> FromPit<'a> for Option<T> {
    const NAME: &'static str = const { &Name::join(&[T::NAME, " | None"]) }.as_str();

    fn from_pit(value: ValueRef<'a>) -> Result<Self> {
        if value.is_none() { Ok(None) } else { T::from_pit(value).map(Some) }
    }
}

/// Each item of a list, tuple, set or frozenset, or an error with the place of the one that does not fit.
fn items<'a, T: FromPit<'a>, C: FromIterator<T>>(value: ValueRef<'a>, wanted: &str) -> Result<C> {
    let items = read(value, wanted, ValueRef::as_list)?.enumerate();
    items
        .map(|(index, item)| T::from_pit(item).map_err(|error| inside(&format!("[{index}]"), error)))
        .collect()
}

/// Each pair of a dict with text as keys, or an error with the place of the one that does not fit.
fn pairs<'a, T: FromPit<'a>, C: FromIterator<(String, T)>>(value: ValueRef<'a>) -> Result<C> {
    let pairs = read(value, "dict", ValueRef::as_map)?.map(|(key, value)| {
        let key = read(key, "a str as key", ValueRef::as_str)?;
        let value = T::from_pit(value).map_err(|error| inside(&format!("[{}]", quoted(key)), error))?;
        Ok((key.to_owned(), value))
    });
    pairs.collect()
}

macro_rules! collections_from_pit {
    ($($type:ty, [$($bound:tt)*], $prefix:literal, $read:expr);+ $(;)?) => {$(
        impl<'a, $($bound)*> FromPit<'a> for $type {
            const NAME: &'static str = const { &Name::join(&[$prefix, T::NAME, "]"]) }.as_str();

            fn from_pit(value: ValueRef<'a>) -> Result<Self> {
                $read(value)
            }
        }
    )+};
}
collections_from_pit! {
    Vec<T>, [T: FromPit<'a>], "list[", |value| items(value, "list");
    BTreeSet<T>, [T: FromPit<'a> + Ord], "set[", |value| items(value, "set");
    HashSet<T, S>, [T: FromPit<'a> + Eq + Hash, S: BuildHasher + Default], "set[", |value| items(value, "set");
    BTreeMap<String, T>, [T: FromPit<'a>], "dict[str, ", pairs;
    HashMap<String, T, S>, [T: FromPit<'a>, S: BuildHasher + Default], "dict[str, ", pairs;
}

macro_rules! tuples {
    ($(($count:literal, $($type:ident $index:tt),+)),+) => {$(
        impl<$($type: ToPit),+> ToPit for ($($type,)+) {
            const NAME: &'static str = "list[Any]";

            fn to_pit(self) -> Value {
                Value::List(vec![$(self.$index.to_pit()),+])
            }
        }

        impl<'a, $($type: FromPit<'a>),+> FromPit<'a> for ($($type,)+) {
            const NAME: &'static str = "list[Any]";

            fn from_pit(value: ValueRef<'a>) -> Result<Self> {
                let items: Vec<_> = read(value, "list", ValueRef::as_list)?.collect();
                if items.len() != $count {
                    return Err(Error::invalid(format!(": expected {} items, got {}", $count, items.len())));
                }
                Ok(($($type::from_pit(items[$index])
                    .map_err(|error| inside(&format!("[{}]", $index), error))?,)+))
            }
        }
    )+};
}
tuples!((1, A 0), (2, A 0, B 1), (3, A 0, B 1, C 2), (4, A 0, B 1, C 2, D 3), (5, A 0, B 1, C 2, D 3, E 4));
