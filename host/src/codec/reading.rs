//! From the durable form to a Python value. The bytes may be damaged or someone else's: whatever they say is checked first.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyList, PySet, PyString, PyTuple,
};

use crate::extensions;
use crate::types::MAX_DEPTH;

pub(super) fn read<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut source = Source { rest: data };
    let value = source.value(py, 0)?;
    if source.rest.is_empty() {
        return Ok(value);
    }
    Err(PyValueError::new_err(format!("{} bytes follow the encoded value", source.rest.len())))
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
        if depth > MAX_DEPTH {
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
            b'I' => extensions::big_from_bytes(py, self.bytes()?)?,
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
                extensions::revive(py, name, plain)?
            }
            other => {
                return Err(PyValueError::new_err(format!(
                    "the encoded value holds an unknown tag {other:#04x}"
                )));
            }
        })
    }
}
