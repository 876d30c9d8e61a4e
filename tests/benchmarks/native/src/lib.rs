//! One body, reached in two ways: as the method of a Pit component and as a direct `#[pyfunction]`; awaits, in the same two
//! ways; and the log, timed from Rust against what it cannot do without (a copy and a CRC).

mod awaits;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use symphony_pit::{Component, Host, Record, Result, pit_component};
use symphony_pit_journal::{Log, Options};

struct Bench {
    worker: awaits::Worker,
}

#[expect(clippy::cast_possible_wrap, reason = "lengths of a few bytes")]
const fn body(text: &str, number: i64) -> i64 {
    text.len() as i64 + number
}

#[pit_component(id = "symphony.bench", description = "Bodies to time calls with", revision = 1)]
impl Bench {
    /// Nothing.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Length of the text plus the number.
    #[pit_method]
    fn add(&self, text: &str, number: i64) -> Result<i64> {
        Ok(body(text, number))
    }

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

#[pyfunction]
fn add(text: &str, number: i64) -> i64 {
    body(text, number)
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
    module.add_function(wrap_pyfunction!(awaits::future_ready, module)?)?;
    module.add_function(wrap_pyfunction!(awaits::complete_future, module)?)?;
    module.add_function(wrap_pyfunction!(log_append, module)?)?;
    module.add_function(wrap_pyfunction!(hash_and_write, module)?)
}
