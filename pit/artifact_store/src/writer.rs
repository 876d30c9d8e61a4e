//! Content that comes in parts: written to a file of no name yet, hashed on the way.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use symphony_pit::{Error, Result};

use crate::content::{Content, failed};
use crate::hash::Hash;
use crate::staged::Temporary;

struct Part {
    temporary: Temporary,
    file: File,
    hasher: blake3::Hasher,
    size: u64,
}

/// A writer's file; none before the first part, so that opening a writer touches no disk.
#[derive(Default)]
struct Open(Mutex<Option<Part>>);

/// Complete content under its temporary name.
pub(crate) struct Complete {
    pub temporary: Temporary,
    pub hash: Hash,
    pub size: u64,
}

#[derive(Default)]
pub(crate) struct Writers {
    next: u64,
    open: HashMap<u64, Arc<Open>>,
}

/// The writers of a store; a part is written outside their lock.
#[derive(Default)]
pub(crate) struct Incoming(Mutex<Writers>);

impl Incoming {
    pub fn open(&self) -> u64 {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.next += 1;
        let number = writers.next;
        writers.open.insert(number, Arc::default());
        number
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.len()
    }

    fn find(&self, number: u64) -> Result<Arc<Open>> {
        let writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.open.get(&number).map(Arc::clone).ok_or_else(|| missing(number))
    }

    fn take(&self, number: u64) -> Result<Arc<Open>> {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.open.remove(&number).ok_or_else(|| missing(number))
    }

    /// Gives the size so far.
    pub fn write(&self, content: &Content, number: u64, bytes: &[u8]) -> Result<u64> {
        let open = self.find(number)?;
        let mut slot = open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let temporary = content.temporary()?;
            let file = File::create(temporary.path()).map_err(failed("create", temporary.path()))?;
            *slot = Some(Part { temporary, file, hasher: blake3::Hasher::new(), size: 0 });
        }
        let Some(part) = slot.as_mut() else { return Ok(0) };
        part.file.write_all(bytes).map_err(failed("write", part.temporary.path()))?;
        part.hasher.update(bytes);
        part.size += bytes.len() as u64;
        Ok(part.size)
    }

    /// The whole of what was written, or none where nothing was.
    pub fn complete(&self, number: u64) -> Result<Option<Complete>> {
        let open = self.take(number)?;
        let part = open.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(part.map(|part| Complete {
            temporary: part.temporary,
            hash: part.hasher.finalize().into(),
            size: part.size,
        }))
    }

    pub fn abort(&self, number: u64) -> Result<()> {
        self.take(number).map(drop)
    }
}

fn missing(number: u64) -> Error {
    Error::not_found(format!("no writer {number}: it was committed, aborted, or never opened"))
}
