//! From a Python value to its durable form.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyComplexMethods, PyDict, PyFloat, PyFrozenSet, PyInt, PyList,
    PyMemoryView, PySet, PyString, PyTuple,
};

use crate::extensions;
use crate::mismatch::{Mismatch, changed, key_place, type_name};
use crate::types::{MAX_DEPTH, MAX_VALUES, too_deep, too_many};

pub(super) fn write(value: &Bound<'_, PyAny>) -> Result<Vec<u8>, Mismatch> {
    let mut writer = Writer { out: Vec::with_capacity(64), values: 0 };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
    values: usize,
}

impl Writer {
    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn number(&mut self, mut count: u64) {
        while count >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "the low seven bits")]
            self.out.push(count as u8 | 0x80);
            count >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        self.out.push(count as u8);
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn float(&mut self, number: f64) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Mismatch> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(too_many());
        }
        if value.is_none() {
            self.out.push(b'N');
        } else if let Ok(truth) = value.cast_exact::<PyBool>() {
            self.out.push(if truth.is_true() { b'T' } else { b'F' });
        } else if value.is_exact_instance_of::<PyInt>() {
            self.int(value)?;
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            let text = text.to_str();
            let text = text.map_err(|_| Mismatch::new("expected str, got a str with a lone surrogate"))?;
            self.bytes(b's', text.as_bytes());
        } else if let Ok(number) = value.cast_exact::<PyFloat>() {
            self.out.push(b'f');
            self.float(number.value());
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.bytes(b'b', bytes.as_bytes());
        } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
            self.bytes(b'B', &bytes.to_vec());
        } else if let Ok(number) = value.cast_exact::<PyComplex>() {
            self.out.push(b'c');
            self.float(number.real());
            self.float(number.imag());
        } else if depth >= MAX_DEPTH {
            return Err(too_deep());
        } else {
            self.compound(value, depth)?;
        }
        Ok(())
    }

    /// What stands for an item may come from an author's code, which can change the container: sizes are compared at each step,
    /// and a set, whose iterator would panic, is read before its first item is written.
    fn compound(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Mismatch> {
        if let Ok(list) = value.cast_exact::<PyList>() {
            let len = list.len();
            self.items(b'l', len, list.iter(), depth)?;
            if list.len() == len { Ok(()) } else { Err(changed()) }
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.items(b't', tuple.len(), tuple.iter(), depth)
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.pairs(dict, depth)
        } else if let Ok(set) = value.cast_exact::<PySet>() {
            self.sorted(b'S', &set.iter().collect::<Vec<_>>(), depth)
        } else if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
            self.sorted(b'Z', &set.iter().collect::<Vec<_>>(), depth)
        } else if value.is_exact_instance_of::<PyMemoryView>() {
            let bytes = value.call_method0("tobytes");
            let bytes = bytes.and_then(|bytes| Ok(bytes.cast_into::<PyBytes>()?));
            let bytes = bytes.map_err(|error| Mismatch::raised(value.py(), &type_name(value), error))?;
            self.bytes(b'b', bytes.as_bytes());
            Ok(())
        } else {
            self.extension(value, depth)
        }
    }

    fn int(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Mismatch> {
        if let Ok(number) = value.extract::<i64>() {
            self.out.push(b'i');
            let zigzag = ((number << 1) ^ (number >> 63)).cast_unsigned();
            self.number(zigzag);
            return Ok(());
        }
        let raised = |error| Mismatch::raised(value.py(), "int", error);
        let bytes = extensions::big_to_bytes(value).map_err(raised)?;
        let bytes = bytes.cast::<PyBytes>().map_err(|error| raised(error.into()))?;
        self.bytes(b'I', bytes.as_bytes());
        Ok(())
    }

    fn items<'py>(
        &mut self,
        tag: u8,
        len: usize,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<(), Mismatch> {
        self.out.push(tag);
        self.count(len);
        for (index, item) in items.enumerate() {
            self.value(&item, depth + 1).map_err(|mismatch| mismatch.at(index))?;
        }
        Ok(())
    }

    /// PyO3's iterator panics at a dict that has changed its size or its keys: it is not asked again once that can be seen.
    fn pairs(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> Result<(), Mismatch> {
        let len = dict.len();
        self.out.push(b'd');
        self.count(len);
        let mut pairs = dict.iter();
        for _ in 0..len {
            let (key, item) = pairs.next().ok_or_else(changed)?;
            let pair = self.value(&key, depth + 1).and_then(|()| self.value(&item, depth + 1));
            pair.map_err(|mismatch| mismatch.inside(key_place(&key)))?;
            if dict.len() != len {
                return Err(changed());
            }
        }
        Ok(())
    }

    fn sorted(&mut self, tag: u8, items: &[Bound<'_, PyAny>], depth: usize) -> Result<(), Mismatch> {
        self.out.push(tag);
        self.count(items.len());
        let mut parts = Vec::with_capacity(items.len());
        for item in items {
            let whole = std::mem::take(&mut self.out);
            let written = self.value(item, depth + 1);
            parts.push(std::mem::replace(&mut self.out, whole));
            written.map_err(|mismatch| mismatch.inside("{…}".to_owned()))?;
        }
        parts.sort_unstable();
        for part in &parts {
            self.out.extend_from_slice(part);
        }
        Ok(())
    }

    fn extension(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Mismatch> {
        let reduced = extensions::must_reduce(value)?;
        let name = reduced.name.to_str().unwrap_or_default();
        self.bytes(b'x', name.as_bytes());
        self.value(&reduced.plain, depth + 1).map_err(|mismatch| mismatch.through(name))
    }
}
