//! Turn the log so far into snapshots, in a process of its own: nothing is taken from the one that appends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use symphony_pit_journal::{Covered, Reader, Snapshot};

use super::component::Component;
use super::error::LoadError;
use super::host_table::Services;
use super::{described, past, raw};

/// A snapshot that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    pub id: String,
    /// Of the last record that it covers.
    pub position: u64,
    pub bytes: usize,
}

/// Write the snapshot of every component that makes one. Reads the log of `home` without its lease.
pub fn compact(home: &Path, libraries: &[PathBuf], patience: Duration) -> Result<Vec<Compacted>, LoadError> {
    let pit = home.join("pit");
    let services = Arc::new(Services::without_log());
    let mut returning = Vec::new();
    for library in past::enabled(&pit, described(libraries)?) {
        let component = Component::create(library, &services, home, patience)?;
        let id = component.description.id();
        let snapshot = Snapshot::read(&pit, id).ok().flatten();
        let valid = match snapshot {
            Some(snapshot) if snapshot.covered.is_in(&pit)? => Some(snapshot),
            _ => None,
        };
        if let Some(snapshot) = &valid {
            component.restore(&snapshot.payload)?;
        }
        let covered = valid.map(|snapshot| snapshot.covered);
        past::whole(&pit, id, covered.map_or(0, |covered| covered.position + 1))?;
        returning.push((component, covered));
    }
    let mut last = None;
    let mut failed = None;
    Reader::new(&pit).poll(|record| {
        last = Some(Covered { position: record.position, checksum: record.checksum });
        let known = returning.iter().find(|(component, _)| component.description.id() == record.component);
        if let Some((component, covered)) = known
            && failed.is_none()
            && covered.is_none_or(|covered| covered.position < record.position)
        {
            failed = component.replay(&raw(&record)).err();
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let Some(covered) = last else { return Ok(Vec::new()) };
    let mut written = Vec::new();
    for (component, before) in &returning {
        if *before == Some(covered) {
            continue;
        }
        if let Some(payload) = component.snapshot()? {
            let (id, bytes) = (component.description.id(), payload.len());
            Snapshot { covered, payload }.write(&pit, id)?;
            written.push(Compacted { id: id.to_owned(), position: covered.position, bytes });
        }
    }
    Ok(written)
}
