//! What the benchmarks compare the Pit with: a body as a direct `#[pyfunction]` and as a C function, and the log, timed from
//! Rust against what it cannot do without (a copy and a CRC).
#![allow(unsafe_code)] // one exported C function, for ctypes and cffi

use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::time::Instant;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use symphony_pit_journal::{Log, Options};

/// As `symphony.shapes` adds.
#[pyfunction]
#[expect(clippy::cast_possible_wrap, reason = "lengths of a few bytes")]
const fn add(text: &str, number: i64) -> i64 {
    text.len() as i64 + number
}

/// The same for those who call C.
///
/// # Safety
/// `text` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bench_add(text: *const c_char, number: i64) -> i64 {
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(text) };
    i64::try_from(text.count_bytes()).unwrap_or(i64::MAX) + number
}

/// Nanoseconds of each of `count` appends of `size` bytes, and of as many copies with a CRC, in turns of 1,000.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned arguments")]
fn log_append(pit: PathBuf, count: usize, size: usize) -> PyResult<(Vec<u64>, Vec<u64>)> {
    let fail = |error: symphony_pit_journal::Error| PyRuntimeError::new_err(error.to_string());
    let log = Log::open(&pit, Options::default()).map_err(fail)?;
    let component = log.component("symphony.bench").map_err(fail)?;
    let payload = vec![7_u8; size];
    let mut target = vec![0_u8; size];
    let (mut appends, mut copies) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let nanos = |since: Instant| u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
    while appends.len() < count {
        for _ in 0..1_000 {
            let start = Instant::now();
            log.append(component, 1, 1, 0, std::hint::black_box(&payload)).map_err(fail)?;
            appends.push(nanos(start));
        }
        for _ in 0..1_000 {
            let start = Instant::now();
            target.copy_from_slice(std::hint::black_box(&payload));
            std::hint::black_box(crc32fast::hash(&target));
            copies.push(nanos(start));
        }
    }
    let mut found = 0;
    log.replay(0, |record| {
        found += usize::from(record.payload == payload);
        Ok::<(), symphony_pit_journal::Error>(())
    })
    .map_err(fail)?;
    if found != appends.len() {
        return Err(PyRuntimeError::new_err(format!("{found} of {} records are in the log", appends.len())));
    }
    Ok((appends, copies))
}

/// What storing content cannot do without: its BLAKE3 hash, and a file with it.
#[pyfunction]
fn hash_and_write(path: PathBuf, content: &[u8]) -> PyResult<String> {
    let hash = blake3::hash(content);
    std::fs::write(path, content)?;
    Ok(hash.to_string())
}

#[pymodule(gil_used = true)]
fn symphony_bench(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(add, module)?)?;
    module.add_function(wrap_pyfunction!(log_append, module)?)?;
    module.add_function(wrap_pyfunction!(hash_and_write, module)?)
}
