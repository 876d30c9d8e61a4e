//! One segment file that is appended to.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{Backend, reserve};
use crate::claims::{Claims, publish};
use crate::error::{Error, Result};
use crate::format::{
    Head, RECORD_HEADER, SEAL_CRC_AT, SEALED_AT, SEGMENT_HEADER, record_size, seal_crc, segment_header,
};
use crate::map::Map;

/// Bytes of the word that publishes a record.
const WORD: usize = 4;

enum Space {
    Mapped(Map),
    /// Appends take turns, so that one that fails leaves no hole.
    Written(Mutex<()>),
}

pub(crate) struct Segment {
    space: Space,
    claims: Claims<AtomicUsize>,
    /// None once nothing is appended any more and all of it was flushed: a long life must not keep every file open. A mapped
    /// one is only flushed by it, and it can only be read: foreign code that writes to a descriptor it has closed, and that is
    /// ours by now, must not meet the log.
    file: Mutex<Option<Arc<File>>>,
    /// A record was published after the log had gone on elsewhere, so that the flush that covered this segment may not have
    /// covered the record.
    pub late: AtomicBool,
    /// Its file is gone: nothing of it is flushed any more.
    pub retired: AtomicBool,
    pub path: PathBuf,
    pub index: u64,
    /// Position of its first byte in the log as a whole.
    pub first: u64,
    pub len: usize,
    /// Where its records end, once it is closed.
    end: AtomicUsize,
}

pub(crate) fn path_of(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:08}.seg"))
}

impl Segment {
    /// Make a segment under a temporary name; it gets its own only when it is complete.
    pub fn create(
        dir: &Path,
        backend: Backend,
        index: u64,
        first: u64,
        len: usize,
        created: i64,
    ) -> Result<Self> {
        let path = path_of(dir, index);
        let temporary = path.with_extension("new");
        let attempt = || -> io::Result<File> {
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary)?;
            extend(&file, backend, len)?;
            file.write_all_at(&segment_header(len as u64, first, created), 0)?;
            std::fs::rename(&temporary, &path)?;
            Ok(file)
        };
        let file = attempt().map_err(|error| {
            let _ = std::fs::remove_file(&temporary); // a half-made file only takes space
            Error::io(&path, "reserve space for", error)
        })?;
        Self::of(file, path, backend, index, first, len, SEGMENT_HEADER)
    }

    /// Go on behind the last record of a segment that was recovered.
    pub fn open(
        dir: &Path,
        backend: Backend,
        index: u64,
        first: u64,
        len: usize,
        end: usize,
    ) -> Result<Self> {
        let path = path_of(dir, index);
        let attempt = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            extend(&file, backend, len)?; // it may have been made by the other back end, or cut short
            Ok(file)
        };
        let file = attempt().map_err(|error| Error::io(&path, "open", error))?;
        Self::of(file, path, backend, index, first, len, end)
    }

    fn of(
        mut file: File,
        path: PathBuf,
        backend: Backend,
        index: u64,
        first: u64,
        len: usize,
        end: usize,
    ) -> Result<Self> {
        let space = match backend {
            Backend::Mapped => {
                let map = Map::of(&file, len).and_then(|map| {
                    file = File::open(&path)?;
                    Ok(map)
                });
                Space::Mapped(map.map_err(|error| Error::io(&path, "map", error))?)
            }
            Backend::Pwrite => Space::Written(Mutex::default()),
        };
        let claims = Claims::new(AtomicUsize::new(end));
        let file = Mutex::new(Some(Arc::new(file)));
        let (late, retired) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { space, claims, file, late, retired, path, index, first, len, end: AtomicUsize::new(end) })
    }

    /// Its file, opened again where it was let go.
    pub fn file(&self) -> io::Result<Arc<File>> {
        let writes = matches!(self.space, Space::Written(_));
        match &*self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => Ok(Arc::clone(file)),
            None => Ok(Arc::new(OpenOptions::new().read(true).write(writes).open(&self.path)?)),
        }
    }

    pub fn let_file_go(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Append a record; gives its offset, or none where it does not fit. The order of the writes is what recovery counts on:
    /// header, payload, and last the word.
    pub fn append(&self, head: &Head, payload: &[u8]) -> io::Result<Option<usize>> {
        let size = record_size(payload.len());
        match &self.space {
            Space::Mapped(map) => {
                let Some(offset) = self.claims.claim(size, self.len) else { return Ok(None) };
                let (word, header) = head.encode(payload.len(), payload);
                map.write(offset + 4, &header[4..]);
                map.write(offset + RECORD_HEADER, payload);
                publish(map.word(offset), word);
                Ok(Some(offset))
            }
            Space::Written(turn) => {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(offset) = self.claims.end().filter(|end| end + size <= self.len) else {
                    return Ok(None);
                };
                let (word, header) = head.encode(payload.len(), payload);
                let mut record = Vec::with_capacity(size + WORD);
                record.extend_from_slice(&header);
                record.extend_from_slice(payload);
                // Also over the word of the next one: an append that failed halfway may have left something there.
                record.resize((size + WORD).min(self.len - offset), 0);
                let file = self.file()?;
                file.write_all_at(&record, offset as u64)?;
                file.write_all_at(&word.to_le_bytes(), offset as u64)?;
                self.claims.claim(size, self.len);
                Ok(Some(offset))
            }
        }
    }

    /// Refuse further appends and write down where the records end.
    pub fn seal(&self) -> Result<()> {
        // One who has looked at the end and is about to claim what is behind it must not find it closed.
        let _turn = match &self.space {
            Space::Written(turn) => Some(turn.lock().unwrap_or_else(PoisonError::into_inner)),
            Space::Mapped(_) => None,
        };
        let Some(end) = self.claims.close() else { return Ok(()) };
        self.end.store(end, Ordering::Release);
        let end = end as u64;
        match &self.space {
            Space::Mapped(map) => {
                map.write(SEAL_CRC_AT, &seal_crc(end).to_le_bytes());
                map.long(SEALED_AT).store(end.to_le(), Ordering::Release);
                Ok(())
            }
            Space::Written(_) => self
                .file()
                .and_then(|file| seal(&file, end))
                .map_err(|error| Error::io(&self.path, "write to", error)),
        }
    }

    /// Position behind the last record so far.
    pub fn end(&self) -> u64 {
        self.first + self.claims.end().unwrap_or_else(|| self.end.load(Ordering::Acquire)) as u64
    }
}

/// The crc first: a reader that sees the offset finds its crc there.
pub(crate) fn seal(file: &File, end: u64) -> io::Result<()> {
    file.write_all_at(&seal_crc(end).to_le_bytes(), SEAL_CRC_AT as u64)?;
    file.write_all_at(&end.to_le_bytes(), SEALED_AT as u64)
}

/// Make a file at least so long, its space reserved where that is possible.
pub(crate) fn reserve_or_extend(file: &File, len: usize) -> io::Result<()> {
    extend(file, Backend::Mapped, len).or_else(|_| extend(file, Backend::Pwrite, len))
}

fn extend(file: &File, backend: Backend, len: usize) -> io::Result<()> {
    match backend {
        Backend::Mapped => reserve(file, len as u64),
        Backend::Pwrite if file.metadata()?.len() < len as u64 => file.set_len(len as u64),
        Backend::Pwrite => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_descriptor_of_a_mapped_segment_writes_nothing_and_flushes() {
        let dir = tempfile::tempdir().unwrap();
        let segment = Segment::create(dir.path(), Backend::Mapped, 0, 0, 1 << 20, 0).unwrap();
        segment.append(&Head::pad(0), b"kept").unwrap();
        let before = std::fs::read(&segment.path).unwrap();
        assert!((&*segment.file().unwrap()).write_all(b"of somebody else").is_err());
        segment.file().unwrap().sync_data().unwrap();
        assert!(std::fs::read(&segment.path).unwrap() == before);
    }

    #[test]
    fn a_segment_is_not_closed_in_the_middle_of_an_append() {
        let dir = tempfile::tempdir().unwrap();
        let segment = Segment::create(dir.path(), Backend::Pwrite, 0, 0, 1 << 20, 0).unwrap();
        let Space::Written(turn) = &segment.space else { panic!("another back end") };
        std::thread::scope(|scope| {
            let turn = turn.lock().unwrap();
            let sealing = scope.spawn(|| segment.seal().unwrap());
            std::thread::sleep(Duration::from_millis(20)); // time enough to do it too early
            assert_eq!(segment.claims.end(), Some(SEGMENT_HEADER));
            drop(turn);
            sealing.join().unwrap();
        });
        assert_eq!(segment.claims.end(), None);
        assert_eq!(segment.append(&Head::pad(0), b"late").unwrap(), None);
    }
}
