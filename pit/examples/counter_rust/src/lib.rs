//! A Pit component in Rust: a counter whose value survives the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Component, Error, ErrorKind, Host, Record, Result, pit_component};

const KIND_ADDED: u16 = 1;
const REVISION: u16 = 1;

struct Counter {
    host: Host,
    value: Mutex<i64>,
}

impl Counter {
    fn value_now(&self) -> MutexGuard<'_, i64> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pit_component(id = "acme.counter_rust", description = "A counter, written in Rust", revision = 1)]
impl Counter {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: value.
    #[pit_method]
    fn stats(&self) -> Result<BTreeMap<String, i64>> {
        Ok(BTreeMap::from([("value".to_owned(), *self.value_now())]))
    }

    /// The sum of what was added.
    #[pit_method]
    fn value(&self) -> Result<i64> {
        Ok(*self.value_now())
    }

    /// Add to the counter; gives the new value.
    #[pit_method]
    fn add(&self, #[default(1)] amount: i64) -> Result<i64> {
        let mut value = self.value_now();
        let sum = value
            .checked_add(amount)
            .ok_or_else(|| Error::new(ErrorKind::Exhausted, "the counter would overflow"))?;
        // The record first, under the lock; the change is made once it is there.
        self.host.append(KIND_ADDED, REVISION, self.host.now(), &Writer::default().i64(amount).finish())?;
        *value = sum;
        Ok(sum)
    }

    /// Wait some seconds, then add.
    #[pit_method]
    async fn add_later(self: Arc<Self>, seconds: f64, #[default(1)] amount: i64) -> Result<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "a wait of less than 290,000 years")]
        let when = self.host.now() + (seconds * 1e6) as i64;
        self.host.sleep_until(when).await;
        self.add(amount)
    }
}

impl Component for Counter {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { host, value: Mutex::new(0) })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        *self.value_now() = Reader::new(snapshot).i64()?;
        Ok(())
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        if record.kind != KIND_ADDED {
            return Err(Error::corrupt(format!("a record of kind {}", record.kind)));
        }
        *self.value_now() += Reader::new(record.payload).i64()?;
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(Writer::default().i64(*self.value_now()).finish()))
    }
}
