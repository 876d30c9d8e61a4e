//! Payloads of log records: fields in a fixed order, little-endian, text and bytes with their length in front.
//! Reading checks every bound, since the bytes may come from a damaged file or another version.

use crate::{Error, Extension, Result, Value};

/// Values nested deeper than this are refused while reading: more than the bridge lets in, so that all that is written can be.
const MAX_DEPTH: u32 = 256;

/// Builds a payload.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Write into memory that was used before, in place of what is there.
    pub fn over(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer }
    }

    #[must_use]
    pub fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    #[must_use]
    pub fn i64(mut self, value: i64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    #[must_use]
    pub fn f64(self, value: f64) -> Self {
        self.u64(value.to_bits())
    }

    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        // A record is far smaller than 4 GiB: the log refuses larger ones.
        let mut this = self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        this.bytes.extend_from_slice(value);
        this
    }

    #[must_use]
    pub fn str(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// A count, then each item as `write` writes it.
    #[must_use]
    pub fn each<T>(
        self,
        items: impl ExactSizeIterator<Item = T>,
        write: impl FnMut(Self, T) -> Self,
    ) -> Self {
        let writer = self.count(items.len());
        items.fold(writer, write)
    }

    /// A value that may be missing.
    #[must_use]
    pub fn option<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self.u8(1), value),
            None => self.u8(0),
        }
    }

    /// Any value, with its tag in front.
    #[must_use]
    pub fn value(self, value: &Value) -> Self {
        match value {
            Value::None => self.u8(0),
            Value::Bool(value) => self.u8(1).u8(u8::from(*value)),
            Value::Int(value) => self.u8(2).i64(*value),
            Value::UInt(value) => self.u8(3).u64(*value),
            Value::Float(value) => self.u8(4).u64(value.to_bits()),
            Value::Str(value) => self.u8(5).str(value),
            Value::Bytes(value) => self.u8(6).bytes(value),
            Value::Buffer(value) => self.u8(6).bytes(value.as_ref()),
            Value::List(items) => self.items(7, items),
            Value::Tuple(items) => self.items(9, items),
            Value::Set(items) => self.items(10, items),
            Value::FrozenSet(items) => self.items(11, items),
            Value::Big(bytes) => self.u8(12).bytes(bytes),
            Value::Extension(extension) => {
                self.u8(13).str(&extension.name).value(&extension.plain).value(&extension.base)
            }
            Value::Map(pairs) => {
                let writer = self.u8(8).count(pairs.len());
                pairs.iter().fold(writer, |writer, (key, value)| writer.value(key).value(value))
            }
        }
    }

    fn items(self, tag: u8, items: &[Value]) -> Self {
        items.iter().fold(self.u8(tag).count(items.len()), Self::value)
    }

    fn count(self, count: usize) -> Self {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX)) // as for `bytes`
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a payload in the order in which it was written.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| Error::corrupt(format!("a record ends {} bytes early", len - self.rest.len())))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn f64(&mut self) -> Result<f64> {
        self.u64().map(f64::from_bits)
    }

    /// What [`Writer::each`] wrote. A count that the payload cannot hold fails at its end, not in memory.
    pub fn each<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    /// Numbers that [`Writer::each`] wrote with [`Writer::u32`], read where they lie.
    pub fn words(&mut self) -> Result<impl ExactSizeIterator<Item = u32> + Clone + use<'a>> {
        let count = self.u32()?;
        let bytes = self.take((count as usize).saturating_mul(4))?;
        Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)))
    }

    /// What [`Writer::option`] wrote.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.u8()? == 0 { Ok(None) } else { read(self).map(Some) }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub fn str(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| Error::corrupt("a record holds text that is not UTF-8"))
    }

    pub fn value(&mut self) -> Result<Value> {
        self.nested_value(MAX_DEPTH)
    }

    fn nested_value(&mut self, depth: u32) -> Result<Value> {
        let depth =
            depth.checked_sub(1).ok_or_else(|| Error::corrupt("a record holds a value nested too deep"))?;
        Ok(match self.u8()? {
            0 => Value::None,
            1 => Value::Bool(self.u8()? != 0),
            2 => Value::Int(self.i64()?),
            3 => Value::UInt(self.u64()?),
            4 => Value::Float(f64::from_bits(self.u64()?)),
            5 => Value::Str(self.str()?.to_owned()),
            6 => Value::Bytes(self.bytes()?.to_vec()),
            7 => Value::List(self.items(depth)?),
            8 => {
                let count = self.u32()?;
                let pair = |_| Ok((self.nested_value(depth)?, self.nested_value(depth)?));
                Value::Map((0..count).map(pair).collect::<Result<_>>()?)
            }
            9 => Value::Tuple(self.items(depth)?),
            10 => Value::Set(self.items(depth)?),
            11 => Value::FrozenSet(self.items(depth)?),
            12 => Value::Big(self.bytes()?.to_vec()),
            13 => Value::Extension(Box::new(Extension {
                name: self.str()?.to_owned(),
                plain: self.nested_value(depth)?,
                base: self.nested_value(depth)?,
            })),
            tag => return Err(Error::corrupt(format!("a record holds a value of unknown tag {tag}"))),
        })
    }

    fn items(&mut self, depth: u32) -> Result<Vec<Value>> {
        let count = self.u32()?;
        (0..count).map(|_| self.nested_value(depth)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order() {
        let payload = Writer::default().u8(7).str("ä").i64(-1).bytes(&[0, 255]).u64(9).u32(3).finish();
        let mut reader = Reader::new(&payload);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.str(), Ok("ä"));
        assert_eq!(reader.i64(), Ok(-1));
        assert_eq!(reader.bytes(), Ok(&[0, 255][..]));
        assert_eq!(reader.u64(), Ok(9));
        assert_eq!(reader.u32(), Ok(3));
    }

    #[test]
    fn values_come_back() {
        let value = Value::map([
            (
                "list",
                Value::List(vec![Value::None, Value::Bool(true), Value::Int(-3), Value::UInt(u64::MAX)]),
            ),
            ("float", Value::Float(1.5)),
            ("bytes", Value::Bytes(vec![0, 1])),
            ("tuple", Value::Tuple(vec![Value::Set(vec![Value::Int(1)]), Value::FrozenSet(vec![])])),
            ("big", Value::Big(vec![1; 9])),
            (
                "day",
                Value::Extension(Box::new(Extension {
                    name: "date".to_owned(),
                    plain: Value::from("2026-01-02"),
                    base: Value::None,
                })),
            ),
        ]);
        let payload = Writer::default().value(&value).finish();
        assert_eq!(Reader::new(&payload).value(), Ok(value));
    }

    #[test]
    fn words_are_read_where_they_lie_and_memory_is_used_again() {
        let words = [7, u32::MAX, 0];
        let write =
            |writer: Writer| writer.each(words.iter(), |writer, word| writer.u32(*word)).u8(9).finish();
        let payload = write(Writer::default());
        let used = write(Writer::over(vec![1; 100]));
        assert_eq!((&used, used.capacity() >= 100), (&payload, true));
        let mut reader = Reader::new(&payload);
        assert!(reader.words().unwrap().eq(words));
        assert_eq!((reader.u8(), reader.is_empty()), (Ok(9), true));
        for cut in 0..payload.len() - 1 {
            assert!(Reader::new(&payload[..cut]).words().is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn every_truncation_is_an_error_not_a_panic() {
        let payload = Writer::default().str("text").u64(9).finish();
        for cut in 0..payload.len() {
            let mut reader = Reader::new(&payload[..cut]);
            assert!(reader.str().and_then(|_| reader.u64()).is_err(), "cut at {cut}");
        }
    }
}
