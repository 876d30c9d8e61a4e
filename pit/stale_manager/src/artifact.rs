//! One content as the Artifact Store's inventory describes it.

use std::fmt::{self, Write};

use symphony_pit::{Error, Result, Value};

/// The hash that names a content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Id(pub [u8; 32]);

impl Id {
    pub fn parse(text: &str) -> Result<Self> {
        let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut id = Self::default();
        let pairs = text.as_bytes().chunks_exact(2);
        let bytes: Option<Vec<u8>> =
            pairs.map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?)).collect();
        match bytes {
            Some(bytes) if text.len() == 64 => id.0.copy_from_slice(&bytes),
            _ => return Err(Error::invalid(format!("id: expected 64 hexadecimal digits, got {text:?}"))),
        }
        Ok(id)
    }

    /// The greatest id below this one, as the inventory's `after`; empty stands before all.
    pub fn before(self) -> String {
        let mut id = self;
        for byte in id.0.iter_mut().rev() {
            let borrowed;
            (*byte, borrowed) = byte.overflowing_sub(1);
            if !borrowed {
                return id.to_string();
            }
        }
        String::new()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.write_str(&text)
    }
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Artifact {
    pub id: Id,
    pub size: u64,
    /// µs since the epoch, as all times.
    pub created: i64,
    pub last_access: i64,
    pub accesses: u64,
    pub names: Vec<String>,
    pub tags: Vec<String>,
    /// Something that is still there needs it: a run, or a version that others were made from.
    pub referenced: bool,
    /// What its user says it is worth, in [0, 1].
    pub mark: Option<f64>,
    pub archived: bool,
}

impl Artifact {
    pub fn from_value(row: Value) -> Result<Self> {
        let strange = |what: &str| Error::corrupt(format!("the artifact store's inventory has a row {what}"));
        let Value::Map(pairs) = row else { return Err(strange("that is no dict")) };
        let mut this = Self::default();
        let mut last_access = None;
        for (key, value) in pairs {
            let Value::Str(key) = key else { return Err(strange("with a key that is no text")) };
            match (key.as_str(), value) {
                ("id", Value::Str(id)) => this.id = Id::parse(&id)?,
                ("names", Value::List(names)) => this.names = texts(names),
                ("tags", Value::List(tags)) => this.tags = texts(tags),
                ("referenced", Value::Bool(referenced)) => this.referenced = referenced,
                ("archived", Value::Bool(archived)) => this.archived = archived,
                ("mark", mark) => this.mark = float(&mark).map(|mark| mark.clamp(0.0, 1.0)),
                ("last_access", time) => last_access = int(&time),
                ("created", time) => this.created = int(&time).ok_or_else(|| strange("without a time"))?,
                ("size", size) => this.size = unsigned(&size).ok_or_else(|| strange("without a size"))?,
                ("accesses", count) => this.accesses = unsigned(&count).unwrap_or(0),
                ("id" | "names" | "tags" | "referenced" | "archived", _) => {
                    return Err(strange(&format!("with a strange {key}")));
                }
                _ => {} // a newer store may say more
            }
        }
        if this.id == Id::default() {
            return Err(strange("without an id"));
        }
        this.last_access = last_access.unwrap_or(this.created).max(this.created);
        this.names.sort_unstable();
        Ok(this)
    }
}

fn texts(values: Vec<Value>) -> Vec<String> {
    values
        .into_iter()
        .filter_map(|value| if let Value::Str(text) = value { Some(text) } else { None })
        .collect()
}

pub(crate) fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::UInt(value) => i64::try_from(*value).ok(),
        _ => None,
    }
}

pub(crate) fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Int(value) => u64::try_from(*value).ok(),
        Value::UInt(value) => Some(*value),
        _ => None,
    }
}

/// A number that is not NaN.
pub(crate) fn float(value: &Value) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "Python's own int → float does the same")]
    match value {
        Value::Float(value) if !value.is_nan() => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::UInt(value) => Some(*value as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_their_text_and_nothing_else_does() {
        let id = Id([0xa7; 32]);
        assert_eq!(Id::parse(&id.to_string()), Ok(id));
        for text in ["", "a7", &"g".repeat(64), &"a".repeat(63), &"ä".repeat(32)] {
            assert!(Id::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn before_an_id_nothing_lies_between() {
        let mut id = Id::default();
        assert_eq!(id.before(), "");
        id.0[30] = 1;
        assert_eq!(id.before(), format!("{}ff", "0".repeat(62)));
        id.0[31] = 1;
        assert_eq!(id.before(), format!("{}0100", "0".repeat(60)));
    }

    #[test]
    fn a_row_without_what_decides_is_refused() {
        let id = Value::from("ab".repeat(32));
        let row = |pairs: Vec<(&str, Value)>| Artifact::from_value(Value::map(pairs));
        assert!(row(vec![("size", Value::Int(1))]).is_err());
        assert!(row(vec![("id", id.clone()), ("size", Value::Int(-1))]).is_err());
        assert!(row(vec![("id", id.clone()), ("referenced", Value::None)]).is_err());
        let never_read = row(vec![("id", id), ("created", Value::Int(9)), ("last_access", Value::None)]);
        assert_eq!(never_read.unwrap().last_access, 9);
    }
}
