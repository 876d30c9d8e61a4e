//! [`Value`]: a value that owns everything, as methods return it and components keep it.

use crate::buffer::Buffer;

/// An owned value. Names and order of the variants are those of the ABI's tags and kinds.
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
    Tuple(Vec<Self>),
    Set(Vec<Self>),
    FrozenSet(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// Only as the whole result of a method; inside containers it is copied.
    Buffer(Buffer),
    /// An int beyond 64 bits: its bytes in two's complement, the lowest first.
    Big(Vec<u8>),
    /// A value of a type that the ABI has no tag for, such as a datetime.
    Extension(Box<Extension>),
}

/// The name of a type and what stands for its value, as the Python side wrote it.
#[derive(Clone, PartialEq, Debug)]
pub struct Extension {
    pub name: String,
    pub plain: Value,
    /// The nearest value with a tag of its own (the fields of a record, the bytes of an array), or None.
    pub base: Value,
}

impl Value {
    /// A map with text keys.
    pub fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (Self::Str(key.into()), value)).collect())
    }

    /// The value, or of an extension the nearest value with a tag of its own.
    pub fn base(&self) -> &Self {
        match self {
            Self::Extension(extension) => &extension.base,
            value => value,
        }
    }

    /// The items of a list, tuple, set or frozenset, and of an extension that is based on one.
    pub fn items(&self) -> Option<&[Self]> {
        match self.base() {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) | Self::FrozenSet(items) => Some(items),
            _ => None,
        }
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
