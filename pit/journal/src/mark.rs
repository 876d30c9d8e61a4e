//! A mark that stands while a record is replayed: when the process dies of it, the next one knows which record it was.
//!
//! One mapped page, so that setting it costs two stores and outlives the process. Layout: magic 8, position + 1 u64 (0 = no
//! replay under way), component u64, deaths u64, position + 1 of the last death u64.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::format::u64_at;
use crate::map::Map;
use crate::segment::reserve_or_extend;

const PAGE: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"SYMMARK\0");
const MAGIC_AT: usize = 0;
const POSITION_AT: usize = 8;
const COMPONENT_AT: usize = 16;
const DEATHS_AT: usize = 24;
const LAST_AT: usize = 32;

/// The record at which replay died, and how often in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Number of the component in the log.
    pub component: u16,
    pub position: u64,
    pub deaths: u64,
}

/// The mark of one Pit; its file is `pit/replaying`.
pub struct Mark {
    page: Map,
    found: Option<Poison>,
}

impl Mark {
    /// Open the mark, and count the death if the process before this one left it standing. Only for the holder of the lease.
    pub fn open(pit: &Path) -> Result<Self> {
        let path = pit.join("replaying");
        let open = || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            reserve_or_extend(&file, PAGE)?;
            Map::of(&file, PAGE)
        };
        let page = open().map_err(|error| Error::io(&path, "open", error))?;
        let mut mark = Self { page, found: None };
        if mark.word(MAGIC_AT).swap(MAGIC, Ordering::Relaxed) != MAGIC {
            mark.forgive(); // new, or not one
            mark.clear();
        }
        mark.found = mark.death();
        Ok(mark)
    }

    /// The record at which the process before this one died, if it did.
    pub const fn found(&self) -> Option<Poison> {
        self.found
    }

    /// This record is replayed now.
    pub fn set(&self, component: u16, position: u64) {
        self.word(COMPONENT_AT).store(u64::from(component), Ordering::Relaxed);
        self.word(POSITION_AT).store(position + 1, Ordering::Release);
    }

    /// The replay is over, well or with an error.
    pub fn clear(&self) {
        self.word(POSITION_AT).store(0, Ordering::Release);
    }

    /// Forget the deaths: their cause was dealt with.
    pub fn forgive(&self) {
        self.word(DEATHS_AT).store(0, Ordering::Relaxed);
        self.word(LAST_AT).store(0, Ordering::Relaxed);
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        self.page.long(at)
    }

    fn death(&self) -> Option<Poison> {
        let standing = self.word(POSITION_AT).load(Ordering::Acquire);
        let position = standing.checked_sub(1)?;
        let same = self.word(LAST_AT).swap(standing, Ordering::Relaxed) == standing;
        let deaths = if same { self.word(DEATHS_AT).load(Ordering::Relaxed) + 1 } else { 1 };
        self.word(DEATHS_AT).store(deaths, Ordering::Relaxed);
        let component = u16::try_from(self.word(COMPONENT_AT).load(Ordering::Relaxed)).unwrap_or(u16::MAX);
        self.clear();
        Some(Poison { component, position, deaths })
    }
}

/// The record at which the newest replay died, or dies; told without the lease, so also of one that is under way.
pub(crate) fn read(pit: &Path) -> Option<Poison> {
    let bytes = std::fs::read(pit.join("replaying")).ok().filter(|bytes| bytes.len() == PAGE)?;
    let word = |at: usize| u64_at(&bytes, at);
    let (standing, last) = (word(POSITION_AT), word(LAST_AT));
    let (position, deaths) = match (standing, last) {
        (0, last) => (last.checked_sub(1)?, word(DEATHS_AT)),
        (standing, last) if standing == last => (last - 1, word(DEATHS_AT) + 1),
        (standing, _) => (standing - 1, 1),
    };
    let component = u16::try_from(word(COMPONENT_AT)).ok()?;
    (word(MAGIC_AT) == MAGIC && deaths > 0).then_some(Poison { component, position, deaths })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_at_one_record_are_counted_and_others_begin_anew() {
        let pit = tempfile::tempdir().unwrap();
        let die_at = |position| {
            let mark = Mark::open(pit.path()).unwrap();
            mark.set(3, position);
            mark.found()
        };
        let poison = |position, deaths| Some(Poison { component: 3, position, deaths });
        assert_eq!((die_at(64), die_at(64), die_at(64)), (None, poison(64, 1), poison(64, 2)));
        assert_eq!(read(pit.path()), poison(64, 3));
        assert_eq!((die_at(0), die_at(0)), (poison(64, 3), poison(0, 1)));
        let mark = Mark::open(pit.path()).unwrap();
        assert_eq!(mark.found(), poison(0, 2));
        mark.forgive();
        mark.clear();
        assert_eq!(read(pit.path()), None);
        assert_eq!(Mark::open(pit.path()).unwrap().found(), None);
    }

    #[test]
    fn a_file_that_is_no_mark_tells_of_no_death() {
        let pit = tempfile::tempdir().unwrap();
        std::fs::write(pit.path().join("replaying"), [0xff; 100]).unwrap();
        assert_eq!(Mark::open(pit.path()).unwrap().found(), None);
    }
}
