//! What the benchmarks compare the Pit with: a body as a direct `#[pyfunction]` and as a C function; awaits, as a component's
//! methods and in other ways; and the log, timed from Rust against what it cannot do without (a copy and a CRC).
#![allow(unsafe_code)] // one exported C function, for ctypes and cffi

mod awaits;

use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use symphony_pit::{Component, Host, Record, Result, pit_component};
use symphony_pit_journal::{Log, Options};

/// What is awaited.
struct Bench {
    worker: awaits::Worker,
}

#[pit_component(id = "symphony.bench", description = "Bodies to time calls with", revision = 1)]
impl Bench {
    /// The number, at once.
    #[pit_method]
    #[expect(clippy::unused_async, reason = "what is timed is an operation that is ready")]
    async fn ready(self: Arc<Self>, number: i64) -> Result<i64> {
        Ok(number)
    }

    /// The number, once another thread has seen it.
    #[pit_method]
    async fn completed(self: Arc<Self>, number: i64) -> Result<i64> {
        self.worker.complete().await;
        Ok(number)
    }

    /// Pending for ever.
    #[pit_method]
    async fn never(self: Arc<Self>) -> Result<()> {
        let _counted = self.worker.count();
        std::future::pending::<()>().await;
        Ok(())
    }

    /// How many of those there are.
    #[pit_method]
    fn pending(&self) -> Result<usize> {
        Ok(self.worker.counted())
    }
}

impl Component for Bench {
    fn create(_host: Host) -> Result<Self> {
        Ok(Self { worker: awaits::Worker::start() })
    }

    fn replay(&self, _record: &Record<'_>) -> Result<()> {
        Ok(())
    }
}

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

/// Seconds of each of so many replays of a log of `count` records of `size` bytes, and of as many readings of its files, in turns.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned arguments")]
fn log_replay(pit: PathBuf, count: u64, size: usize, repeats: usize) -> PyResult<(Vec<f64>, Vec<f64>)> {
    let fail = |error: symphony_pit_journal::Error| PyRuntimeError::new_err(error.to_string());
    let log = Log::open(&pit, Options::default()).map_err(fail)?;
    let component = log.component("symphony.bench").map_err(fail)?;
    let mut payload = vec![7_u8; size];
    for number in 0..count {
        payload[..8].copy_from_slice(&number.to_le_bytes());
        log.append(component, 1, 1, 0, &payload).map_err(fail)?;
    }
    let replay = || {
        let mut next = 0_u64;
        log.replay(0, |record| {
            next += u64::from(record.payload[..8] == next.to_le_bytes());
            Ok::<(), symphony_pit_journal::Error>(())
        })
        .map(|()| next)
    };
    let read = || -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(pit.join("log"))? {
            bytes += std::hint::black_box(std::fs::read(entry?.path())?).len() as u64;
        }
        Ok(bytes)
    };
    let found = replay().map_err(fail)?;
    if found != count || read()? < count * size as u64 {
        return Err(PyRuntimeError::new_err(format!("{found} of {count} records came back in their order")));
    }
    let (mut replays, mut readings) = (Vec::with_capacity(repeats), Vec::with_capacity(repeats));
    for _ in 0..repeats {
        let start = Instant::now();
        replay().map_err(fail)?;
        replays.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        read()?;
        readings.push(start.elapsed().as_secs_f64());
    }
    Ok((replays, readings))
}

#[pymodule(gil_used = true)]
fn symphony_bench(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(add, module)?)?;
    module.add_function(wrap_pyfunction!(awaits::future_ready, module)?)?;
    module.add_function(wrap_pyfunction!(awaits::complete_future, module)?)?;
    module.add_function(wrap_pyfunction!(log_append, module)?)?;
    module.add_function(wrap_pyfunction!(log_replay, module)?)
}
