//! Give the components their past: a snapshot where there is one, then the records behind it, under a mark.
//!
//! A record, or a snapshot, that kills the process is met again by the next one; the mark tells which it was. A third party's
//! component is then disabled, one of Symphony's own keeps the Pit closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use symphony_pit_journal::{Log, Mark, Poison, RecordView, Snapshot, dropped};

use super::component::Component;
use super::description::Description;
use super::error::LoadError;
use super::raw;

/// Deaths at one record after which it is not tried again.
const DEATHS: u64 = 2;

/// A component that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    pub id: String,
    pub reason: String,
    /// Remove it to have the component tried again.
    pub note: PathBuf,
}

fn folder(pit: &Path) -> PathBuf {
    pit.join("disabled")
}

/// Symphony's own components: no Pit works without them.
fn is_own(id: &str) -> bool {
    id.starts_with("symphony.")
}

/// Components that were disabled in the Pit at `pit`, in the order of their ids.
pub fn disabled(pit: &Path) -> Vec<Disabled> {
    let entries = std::fs::read_dir(folder(pit)).into_iter().flatten();
    let mut found: Vec<Disabled> = entries
        .filter_map(|entry| {
            let note = entry.ok()?.path();
            let id = note.file_name()?.to_str()?.to_owned();
            let reason = std::fs::read_to_string(&note).ok()?.trim_end().to_owned();
            Some(Disabled { id, reason, note })
        })
        .collect();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    found
}

fn disable(pit: &Path, id: &str, reason: &str) -> Result<(), LoadError> {
    let note = folder(pit).join(id);
    let write = || {
        std::fs::create_dir_all(folder(pit))?;
        std::fs::write(&note, format!("{reason}\n"))
    };
    write().map_err(|source| LoadError::Io { path: note.clone(), source })
}

/// The components without those that are disabled, and those that call one of them.
pub(super) fn enabled(pit: &Path, described: Vec<Description>) -> Vec<Description> {
    let mut out: Vec<String> = disabled(pit).into_iter().map(|known| known.id).collect();
    let mut left = described;
    loop {
        let (kept, gone): (Vec<_>, Vec<_>) = left.into_iter().partition(|known| {
            !out.iter().any(|id| id == known.id())
                && !known.calls().any(|callee| out.iter().any(|id| id == callee))
        });
        left = kept;
        if gone.is_empty() {
            return left;
        }
        out.extend(gone.iter().map(|known| known.id().to_owned()));
    }
}

/// Draw the consequence of a death during the replay before this one.
pub(super) fn heed(pit: &Path, log: &Log, mark: &Mark) -> Result<(), LoadError> {
    let Some(Poison { component, position, deaths }) = mark.found() else { return Ok(()) };
    let Some(id) = log.name(component) else { return Ok(()) };
    let snapshot = Snapshot::read(pit, &id).ok().flatten();
    let of_snapshot = snapshot.is_some_and(|snapshot| snapshot.covered.position == position);
    if of_snapshot && whole(pit, &id, 0).is_ok() {
        return forget_snapshot(pit, &id); // the log has all that is in it
    }
    if deaths < DEATHS {
        return Ok(());
    }
    let what = if of_snapshot { "snapshot up to" } else { "record at" };
    let reason = format!("reading its {what} position {position} ended the process {deaths} times");
    if is_own(&id) {
        return Err(LoadError::Poisoned { id, reason });
    }
    disable(pit, &id, &reason)?;
    mark.forgive();
    Ok(())
}

fn forget_snapshot(pit: &Path, id: &str) -> Result<(), LoadError> {
    let path = Snapshot::path(pit, id);
    let aside = path.with_extension("snap.unreadable");
    std::fs::rename(&path, aside).map_err(|source| LoadError::Io { path, source })
}

/// The snapshot of a component that belongs to this log; one that does not, or is damaged, is put aside if the log has all that
/// was in it.
fn snapshot(pit: &Path, id: &str) -> Result<Option<Snapshot>, LoadError> {
    match Snapshot::read(pit, id) {
        Ok(None) => Ok(None),
        Ok(Some(snapshot)) if snapshot.covered.is_in(pit)? => Ok(Some(snapshot)),
        Ok(Some(_)) | Err(symphony_pit_journal::Error::Snapshot { .. }) => {
            whole(pit, id, 0)?;
            forget_snapshot(pit, id)?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether all records of a component from a position on are there to be read.
pub(super) fn whole(pit: &Path, id: &str, from: u64) -> Result<(), LoadError> {
    match dropped(pit, id)?.filter(|position| *position >= from) {
        Some(position) => Err(LoadError::Incomplete { id: id.to_owned(), position }),
        None => Ok(()),
    }
}

/// A component on its way back.
struct Returning {
    component: Arc<Component>,
    number: u16,
    /// Its first record that is not in its snapshot.
    from: u64,
}

/// Restore and replay. `make` makes a component anew whose snapshot it could not read.
pub(super) fn bring_back(
    pit: &Path,
    log: &Log,
    mark: &Mark,
    components: Vec<Arc<Component>>,
    make: impl Fn(Description) -> Result<Arc<Component>, LoadError>,
) -> Result<Vec<Arc<Component>>, LoadError> {
    let back = replayed(pit, log, mark, components, make);
    mark.clear(); // an error is no death
    back
}

fn replayed(
    pit: &Path,
    log: &Log,
    mark: &Mark,
    components: Vec<Arc<Component>>,
    make: impl Fn(Description) -> Result<Arc<Component>, LoadError>,
) -> Result<Vec<Arc<Component>>, LoadError> {
    let mut returning = Vec::with_capacity(components.len());
    for component in components {
        let id = component.description.id().to_owned();
        let number = log.component(&id)?;
        match restored(pit, mark, number, component, &make) {
            Ok((component, from)) => returning.push(Returning { component, number, from }),
            Err(error @ (LoadError::Incomplete { .. } | LoadError::Component { .. })) if !is_own(&id) => {
                disable(pit, &id, &error.to_string())?;
            }
            Err(error) => return Err(error),
        }
    }
    let start = returning.iter().map(|one| one.from).min().unwrap_or(0);
    log.replay(start, |record| replay(pit, mark, &mut returning, &record))?;
    Ok(returning.into_iter().map(|one| one.component).collect())
}

/// The component with its snapshot, and the position from which on it needs its records.
fn restored(
    pit: &Path,
    mark: &Mark,
    number: u16,
    component: Arc<Component>,
    make: impl Fn(Description) -> Result<Arc<Component>, LoadError>,
) -> Result<(Arc<Component>, u64), LoadError> {
    let id = component.description.id();
    let Some(snapshot) = snapshot(pit, id)? else {
        return whole(pit, id, 0).map(|()| (component, 0));
    };
    mark.set(number, snapshot.covered.position);
    match component.restore(&snapshot.payload) {
        Ok(()) => {
            let from = snapshot.covered.position + 1;
            whole(pit, id, from).map(|()| (component, from))
        }
        Err(refused) => {
            whole(pit, id, 0).map_err(|_| refused)?; // it stays: a later version may read it
            forget_snapshot(pit, id)?;
            make(component.description.clone()).map(|component| (component, 0))
        }
    }
}

fn replay(
    pit: &Path,
    mark: &Mark,
    returning: &mut Vec<Returning>,
    record: &RecordView<'_>,
) -> Result<(), LoadError> {
    // Without one, its plugin is not installed now, or it is disabled; the records stay.
    let known = returning.iter().position(|one| one.component.description.id() == record.component);
    let Some(at) = known.filter(|at| returning[*at].from <= record.position) else { return Ok(()) };
    mark.set(returning[at].number, record.position);
    match returning[at].component.replay(&raw(record)) {
        Err(error) if !is_own(record.component) => {
            disable(pit, record.component, &format!("{error} (its record at position {})", record.position))?;
            returning.remove(at);
            Ok(())
        }
        result => result,
    }
}
