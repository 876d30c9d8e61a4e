//! The durable form of Python values: a tag byte, then the content; numbers as LEB128, containers with their count in front.
//!
//! `decode(encode(x))` has the type and value of `x`. Equal values give equal bytes, also for sets, since the bytes serve as
//! fingerprints. What is no builtin goes through `symphony.values.codec_extensions`; nothing is imported while decoding.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple,
};

use crate::errors;

const MAX_DEPTH: usize = 100;

/// Why a value has no durable form; `path` is innermost first.
struct Refusal {
    path: Vec<String>,
    what: String,
}

impl Refusal {
    fn new(what: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into() }
    }

    fn inside(mut self, place: String) -> Self {
        self.path.push(place);
        self
    }
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Self::new(error.to_string())
    }
}

fn put_count(out: &mut Vec<u8>, mut count: u64) {
    while count >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits")]
        out.push(count as u8 | 0x80);
        count >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 128")]
    out.push(count as u8);
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_count(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn extensions<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || {
        py.import("symphony.values.codec_extensions").map(|module| module.into_any().unbind())
    })?;
    module.bind(py).getattr(name)
}

fn put(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Result<(), Refusal> {
    if depth > MAX_DEPTH {
        return Err(Refusal::new(format!("nested deeper than {MAX_DEPTH}, or a cycle")));
    }
    if value.is_none() {
        out.push(b'N');
    } else if value.is_exact_instance_of::<PyBool>() {
        out.push(if value.is_truthy()? { b'T' } else { b'F' });
    } else if value.is_exact_instance_of::<PyInt>() {
        put_int(value, out)?;
    } else if let Ok(text) = value.cast_exact::<PyString>() {
        let text =
            text.to_str().map_err(|_| Refusal::new("a str with a lone surrogate has no durable form"))?;
        put_bytes(out, b's', text.as_bytes());
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        out.push(b'f');
        out.extend_from_slice(&number.value().to_le_bytes());
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        put_bytes(out, b'b', bytes.as_bytes());
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        put_items(b'l', list.len(), list.iter(), out, depth)?;
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        put_items(b't', tuple.len(), tuple.iter(), out, depth)?;
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        out.push(b'd');
        put_count(out, dict.len() as u64);
        for (key, item) in dict.iter() {
            let place = |key: &Bound<'_, PyAny>| {
                format!("[{}]", key.repr().map_or_else(|_| "?".into(), |r| r.to_string()))
            };
            put(&key, out, depth + 1).map_err(|refusal| refusal.inside(place(&key)))?;
            put(&item, out, depth + 1).map_err(|refusal| refusal.inside(place(&key)))?;
        }
    } else if let Ok(set) = value.cast_exact::<PySet>() {
        put_sorted(b'S', set.len(), set.iter(), out, depth)?;
    } else if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
        put_sorted(b'Z', set.len(), set.iter(), out, depth)?;
    } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
        put_bytes(out, b'B', &bytes.to_vec());
    } else if let Ok(number) = value.cast_exact::<PyComplex>() {
        use pyo3::types::PyComplexMethods;
        out.push(b'c');
        out.extend_from_slice(&number.real().to_le_bytes());
        out.extend_from_slice(&number.imag().to_le_bytes());
    } else {
        put_extension(value, out, depth)?;
    }
    Ok(())
}

fn put_int(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if let Ok(number) = value.extract::<i64>() {
        out.push(b'i');
        put_count(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
        return Ok(());
    }
    let bits: usize = value.call_method0("bit_length")?.extract()?;
    let kwargs = PyDict::new(value.py());
    kwargs.set_item("signed", true)?;
    let bytes = value.call_method("to_bytes", (bits / 8 + 1, "little"), Some(&kwargs))?;
    put_bytes(out, b'I', bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes());
    Ok(())
}

fn put_items<'py>(
    tag: u8,
    count: usize,
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Refusal> {
    out.push(tag);
    put_count(out, count as u64);
    for (index, item) in items.enumerate() {
        put(&item, out, depth + 1).map_err(|refusal| refusal.inside(format!("[{index}]")))?;
    }
    Ok(())
}

fn put_sorted<'py>(
    tag: u8,
    count: usize,
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Refusal> {
    out.push(tag);
    put_count(out, count as u64);
    let mut parts = Vec::with_capacity(count);
    for item in items {
        let mut part = Vec::new();
        put(&item, &mut part, depth + 1).map_err(|refusal| refusal.inside("{…}".to_owned()))?;
        parts.push(part);
    }
    parts.sort_unstable();
    for part in &parts {
        out.extend_from_slice(part);
    }
    Ok(())
}

fn put_extension(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Result<(), Refusal> {
    let reduced = extensions(value.py(), "reduce")?.call1((value,))?;
    if reduced.is_none() {
        let name = value.get_type().name()?;
        return Err(Refusal::new(format!("a value of type {name} has no durable form")));
    }
    let (name, plain): (String, Bound<'_, PyAny>) = reduced.extract()?;
    put_bytes(out, b'x', name.as_bytes());
    let unwrapped = |mut refusal: Refusal| {
        // A record's fields lie in a dict behind its name: show them as attributes.
        if name == "record" {
            refusal.path.pop();
            if let Some(last) = refusal.path.last_mut() {
                *last = format!(".{}", last.trim_matches(['[', ']', '\'']));
            }
        }
        refusal
    };
    put(&plain, out, depth + 1).map_err(unwrapped)
}

/// The durable form of a value. Raises ConversionError, which names the path to what has none.
#[pyfunction]
pub(crate) fn encode<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::with_capacity(64);
    put(value, &mut out, 0).map_err(|refusal| {
        let path: String = refusal.path.iter().rev().map(String::as_str).collect();
        let message = if path.is_empty() { refusal.what } else { format!("{path}: {}", refusal.what) };
        errors::raise(py, "ConversionError", &message)
    })?;
    Ok(PyBytes::new(py, &out))
}

struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    fn take(&mut self, len: usize) -> PyResult<&'a [u8]> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| PyValueError::new_err("the encoded value is cut off"))?;
        self.rest = rest;
        Ok(head)
    }

    fn byte(&mut self) -> PyResult<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> PyResult<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(PyValueError::new_err("the encoded value holds a number that never ends"))
    }

    /// A count of items or bytes, each of which takes at least one byte.
    fn count(&mut self) -> PyResult<usize> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.rest.len() {
            return Err(PyValueError::new_err("the encoded value is cut off"));
        }
        Ok(count)
    }

    fn bytes(&mut self) -> PyResult<&'a [u8]> {
        let count = self.count()?;
        self.take(count)
    }

    fn text(&mut self) -> PyResult<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| PyValueError::new_err("encoded text is not UTF-8"))
    }

    fn float(&mut self) -> PyResult<f64> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(f64::from_le_bytes(bytes))
    }

    fn items<'py>(&mut self, py: Python<'py>, depth: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        (0..self.count()?).map(|_| self.value(py, depth + 1)).collect()
    }

    fn value<'py>(&mut self, py: Python<'py>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        if depth > MAX_DEPTH + 2 {
            return Err(PyValueError::new_err("the encoded value is nested too deep"));
        }
        Ok(match self.byte()? {
            b'N' => py.None().into_bound(py),
            b'T' => PyBool::new(py, true).to_owned().into_any(),
            b'F' => PyBool::new(py, false).to_owned().into_any(),
            b'i' => {
                let raw = self.number()?;
                let number = (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed());
                number.into_pyobject(py)?.into_any()
            }
            b'I' => {
                let kwargs = PyDict::new(py);
                kwargs.set_item("signed", true)?;
                let bytes = PyBytes::new(py, self.bytes()?);
                py.get_type::<PyInt>().call_method("from_bytes", (bytes, "little"), Some(&kwargs))?
            }
            b'f' => PyFloat::new(py, self.float()?).into_any(),
            b'c' => PyComplex::from_doubles(py, self.float()?, self.float()?).into_any(),
            b's' => PyString::new(py, self.text()?).into_any(),
            b'b' => PyBytes::new(py, self.bytes()?).into_any(),
            b'B' => PyByteArray::new(py, self.bytes()?).into_any(),
            b'l' => PyList::new(py, self.items(py, depth)?)?.into_any(),
            b't' => PyTuple::new(py, self.items(py, depth)?)?.into_any(),
            b'S' => PySet::new(py, self.items(py, depth)?)?.into_any(),
            b'Z' => PyFrozenSet::new(py, self.items(py, depth)?)?.into_any(),
            b'd' => {
                let dict = PyDict::new(py);
                for _ in 0..self.count()? {
                    let key = self.value(py, depth + 1)?;
                    dict.set_item(key, self.value(py, depth + 1)?)?;
                }
                dict.into_any()
            }
            b'x' => {
                let name = self.text()?;
                let plain = self.value(py, depth + 1)?;
                extensions(py, "revive")?.call1((name, plain))?
            }
            other => {
                return Err(PyValueError::new_err(format!(
                    "the encoded value holds an unknown tag {other:#04x}"
                )));
            }
        })
    }
}

/// The value that `encode` was given. Records come back as `symphony.values.Record`. Raises ValueError for other bytes.
#[pyfunction]
pub(crate) fn decode<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut source = Source { rest: data };
    let value = source.value(py, 0)?;
    if source.rest.is_empty() {
        return Ok(value);
    }
    Err(PyValueError::new_err(format!("{} bytes follow the encoded value", source.rest.len())))
}
