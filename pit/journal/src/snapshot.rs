//! A component's lasting state in one file, with the last record that is in it: what comes before need not be replayed.
//!
//! File: magic 8, version u32, crc u32 (of all that follows), position u64, checksum u32, revision u32, payload. It is written
//! under a temporary name, flushed and renamed, so that it is there in full or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::begin::Begin;
use crate::error::{Error, Result};
use crate::format::{Parsed, u32_at, u64_at};
use crate::recovery::segment_indices;
use crate::scan::Contents;
use crate::segment::path_of;

const MAGIC: [u8; 8] = *b"SYMSNAP\0";
const VERSION: u32 = 1;
const HEADER: usize = 32;

/// The last record that a snapshot covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    pub position: u64,
    /// Of the record at that position: a log that does not hold it is another one than the snapshot was made from.
    pub checksum: u32,
}

/// A snapshot, read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub covered: Covered,
    pub payload: Vec<u8>,
}

impl Snapshot {
    /// Where the snapshot of a component lies, in the Pit at `pit`.
    pub fn path(pit: &Path, component: &str) -> PathBuf {
        pit.join("snapshots").join(format!("{component}.snap"))
    }

    pub fn write(&self, pit: &Path, component: &str) -> Result<()> {
        let path = Self::path(pit, component);
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.covered.position.to_le_bytes());
        bytes.extend_from_slice(&self.covered.checksum.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.payload);
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(pit);
            fs::create_dir_all(folder)?;
            let temporary = path.with_extension(format!("{}.new", std::process::id()));
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| Error::io(&path, "write", error))
    }

    /// Clear away what compactors left that were killed in the middle of writing. One that is alive starts over later.
    pub fn clear_leftovers(pit: &Path) {
        let entries = fs::read_dir(pit.join("snapshots")).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "new")) {
            let _ = fs::remove_file(path); // it only takes space
        }
    }

    /// Up to which position each snapshot in the Pit at `pit` covers its component's records; damaged ones cover nothing.
    pub fn positions(pit: &Path) -> BTreeMap<String, u64> {
        let entries = fs::read_dir(pit.join("snapshots")).into_iter().flatten();
        let read = |entry: io::Result<fs::DirEntry>| {
            let name = entry.ok()?.file_name();
            let id = name.to_str()?.strip_suffix(".snap")?;
            Some((id.to_owned(), Self::read(pit, id).ok()??.covered.position))
        };
        entries.filter_map(read).collect()
    }

    /// The snapshot of a component, if there is one; one that is damaged is an error that says so.
    pub fn read(pit: &Path, component: &str) -> Result<Option<Self>> {
        let path = Self::path(pit, component);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, "read", error)),
        };
        let damaged = |found: String| Err(Error::Snapshot { path: path.clone(), found });
        if bytes.len() < HEADER || bytes[..8] != MAGIC {
            return damaged(format!("{} bytes that are none", bytes.len()));
        }
        if u32_at(&bytes, 8) != VERSION {
            return damaged(format!("version {}", u32_at(&bytes, 8)));
        }
        if crc32fast::hash(&bytes[16..]) != u32_at(&bytes, 12) {
            return damaged("a checksum that does not fit".to_owned());
        }
        let covered = Covered { position: u64_at(&bytes, 16), checksum: u32_at(&bytes, 24) };
        Ok(Some(Self { covered, payload: bytes[HEADER..].to_vec() }))
    }
}

impl Covered {
    /// Whether the log of the Pit at `pit` holds this very record.
    pub fn is_in(self, pit: &Path) -> Result<bool> {
        let dir = pit.join("log");
        if !dir.exists() {
            return Ok(false);
        }
        for index in segment_indices(&dir, &Begin::read(&dir)?)?.into_iter().rev() {
            let path = path_of(&dir, index);
            let Ok(header) = Contents::read_header(&path) else { return Ok(false) };
            if header.first <= self.position {
                let found = |(at, record): (usize, Parsed<'_>)| {
                    header.first + at as u64 == self.position && record.checksum == self.checksum
                };
                return Ok(Contents::read(&path)?.records().any(found));
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_back_and_every_damage_of_it_is_seen() {
        let pit = tempfile::tempdir().unwrap();
        let snapshot =
            Snapshot { covered: Covered { position: 1 << 40, checksum: 7 }, payload: b"state".to_vec() };
        assert_eq!(Snapshot::read(pit.path(), "c").unwrap(), None);
        snapshot.write(pit.path(), "c").unwrap();
        assert_eq!(Snapshot::read(pit.path(), "c").unwrap().as_ref(), Some(&snapshot));
        let path = Snapshot::path(pit.path(), "c");
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(matches!(Snapshot::read(pit.path(), "c"), Err(Error::Snapshot { .. })), "bit {bit}");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(Snapshot::read(pit.path(), "c").is_err(), "{length} bytes");
        }
    }
}
