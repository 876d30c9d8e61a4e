//! A component that remembers numbers by name. Its state survives a killed process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Component, Error, Host, Record, Result, pit_component};

/// The kinds of records, each with a number of its own.
const SET: u16 = 1;
/// Grows, as does `revision` below, when the layout of a record changes.
const REVISION: u16 = 1;

struct Tally {
    host: Host,
    numbers: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    fn numbers(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pit_component(id = "acme.tally", description = "Remembers numbers by name", revision = 1)]
impl Tally {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: names (different ones).
    #[pit_method]
    fn stats(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::from([("names".to_owned(), self.numbers().len() as u64)]))
    }

    /// Remember the number of a name; done twice it is the same as done once.
    #[pit_method]
    fn set(&self, name: &str, number: u64) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("name: expected at least one letter"));
        }
        let mut numbers = self.numbers();
        // The record first, under the lock that orders the changes; then the change.
        let payload = Writer::default().str(name).u64(number).finish();
        self.host.append(SET, REVISION, self.host.now(), &payload)?;
        numbers.insert(name.to_owned(), number);
        Ok(())
    }

    /// The number of a name; 0 where there is none.
    #[pit_method]
    fn total(&self, name: &str) -> Result<u64> {
        Ok(self.numbers().get(name).copied().unwrap_or_default())
    }
}

impl Component for Tally {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { host, numbers: Mutex::default() })
    }

    /// Each record again, in order, when the next process starts.
    fn replay(&self, record: &Record<'_>) -> Result<()> {
        if record.kind != SET {
            return Err(Error::corrupt(format!("a record of kind {}", record.kind)));
        }
        let mut reader = Reader::new(record.payload);
        let (name, number) = (reader.str()?, reader.u64()?);
        self.numbers().insert(name.to_owned(), number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use symphony_pit::testing::TestHost;

    use super::*;

    #[test]
    fn numbers_come_back_from_the_records() {
        let folder = tempfile::tempdir().unwrap();
        let host = TestHost::new(folder.path());
        let tally = Tally::create(host.host()).unwrap();
        tally.set("pit", 2).unwrap();
        let again = Tally::create(host.host()).unwrap();
        host.replay_into(&again).unwrap();
        assert_eq!(again.total("pit"), Ok(2));
    }
}
