//! The bytes: content below 64 KiB lies in append-only pack files, larger content is a file of its own under its hash.
//!
//! A place is reserved under a lock of a few instructions; all reading and writing is done without one.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphony_pit::{Buffer, Error, Result};

use crate::hash::{Hash, hex};

/// Content of this size or more gets a file of its own.
pub(crate) const OWN_FILE: usize = 64 << 10;
/// A pack that has grown to this is left for a new one.
const PACK_BYTES: u64 = 64 << 20;
/// Large contents that stay mapped after a read, so that the next one costs no system call.
const MAPPED: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Pack { pack: u32, offset: u64 },
    File,
}

#[derive(Default)]
struct State {
    packs: HashMap<u32, Arc<File>>,
    current: u32,
    /// Where the next content goes in the current pack.
    end: u64,
    mapped: HashMap<Hash, Buffer>,
}

/// Where content lies on disk.
pub(crate) struct Content {
    dir: PathBuf,
    /// Whether content is synced before its record is written.
    durable: bool,
    state: Mutex<State>,
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let text = format!("cannot {what} {}", path.display());
    move |error| Error::io(text, &error)
}

fn unreadable(path: &Path, size: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("the content {} is gone", path.display())),
        io::ErrorKind::UnexpectedEof => {
            Error::corrupt(format!("{} ends before all {size} bytes of the content", path.display()))
        }
        _ => failed("read", path)(error),
    }
}

impl Content {
    pub fn new(dir: &Path, durable: bool) -> Self {
        Self { dir: dir.to_owned(), durable, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Note a place that a record names, so that new content goes behind it.
    pub fn note(&self, place: Place, size: u64) {
        if let Place::Pack { pack, offset } = place {
            let mut state = self.state();
            if pack > state.current {
                (state.current, state.end) = (pack, 0);
            }
            if pack == state.current {
                state.end = state.end.max(offset + size);
            }
        }
    }

    pub fn current_pack(&self) -> u32 {
        self.state().current
    }

    pub fn pack_path(&self, pack: u32) -> PathBuf {
        self.dir.join("packs").join(format!("{pack:08}.pack"))
    }

    pub fn file_path(&self, hash: &Hash) -> PathBuf {
        let name = hex(hash);
        self.dir.join("objects").join(&name[..2]).join(&name[2..])
    }

    pub fn path(&self, hash: &Hash, place: Place) -> PathBuf {
        match place {
            Place::Pack { pack, .. } => self.pack_path(pack),
            Place::File => self.file_path(hash),
        }
    }

    fn pack(&self, pack: u32) -> Result<Arc<File>> {
        if let Some(file) = self.state().packs.get(&pack) {
            return Ok(Arc::clone(file));
        }
        let path = self.pack_path(pack);
        let open = || -> io::Result<File> {
            fs::create_dir_all(self.dir.join("packs"))?;
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
        };
        let file = Arc::new(open().map_err(failed("open", &path))?);
        Ok(Arc::clone(self.state().packs.entry(pack).or_insert(file)))
    }

    /// Write content; it may be named by a record once this has returned.
    pub fn write(&self, hash: &Hash, bytes: &[u8]) -> Result<Place> {
        if bytes.len() >= OWN_FILE {
            let temporary = self.temporary_path()?;
            let written = fs::write(&temporary, bytes).map_err(failed("write", &temporary));
            return written.and_then(|()| self.adopt(&temporary, hash)).inspect_err(|_| {
                let _ = fs::remove_file(&temporary); // a half-written file only takes space
            });
        }
        let (pack, offset) = {
            let mut state = self.state();
            if state.end >= PACK_BYTES {
                (state.current, state.end) = (state.current + 1, 0);
            }
            let place = (state.current, state.end);
            state.end += bytes.len() as u64;
            place
        };
        let file = self.pack(pack)?;
        let write = || -> io::Result<()> {
            file.write_all_at(bytes, offset)?;
            if self.durable { file.sync_data() } else { Ok(()) }
        };
        write().map_err(failed("write", &self.pack_path(pack)))?;
        Ok(Place::Pack { pack, offset })
    }

    /// A name for content that is not complete.
    pub fn temporary_path(&self) -> Result<PathBuf> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let folder = self.dir.join("incoming");
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(folder.join(format!("{}-{number}", std::process::id())))
    }

    /// Give a complete file its place.
    pub fn adopt(&self, temporary: &Path, hash: &Hash) -> Result<Place> {
        let path = self.file_path(hash);
        let adopt = || -> io::Result<()> {
            if self.durable {
                File::open(temporary)?.sync_all()?;
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
                fs::rename(temporary, &path)?;
                if self.durable {
                    File::open(parent)?.sync_all()?;
                }
            }
            Ok(())
        };
        adopt().map_err(failed("write", &path))?;
        Ok(Place::File)
    }

    /// What an earlier process began to write and did not complete.
    pub fn remove_incomplete(&self) {
        let _ = fs::remove_dir_all(self.dir.join("incoming")); // it only takes space
    }

    /// The bytes: those of a file of their own where they lie, those of a pack as a copy.
    pub fn read(&self, hash: &Hash, place: Place, size: u64) -> Result<Buffer> {
        let path = self.path(hash, place);
        let len = usize::try_from(size).map_err(|_| Error::corrupt("content larger than memory"))?;
        let missing = |error| unreadable(&path, size, error);
        match place {
            Place::Pack { .. } => {
                let mut bytes = Vec::with_capacity(len);
                self.read_parts(hash, place, size, |part| bytes.extend_from_slice(part))?;
                Ok(Buffer::new(bytes))
            }
            Place::File => {
                if let Some(buffer) = self.state().mapped.get(hash) {
                    return Ok(buffer.clone());
                }
                let buffer = Buffer::map(&File::open(&path).map_err(missing)?, 0, len)?;
                let mut state = self.state();
                if state.mapped.len() >= MAPPED {
                    state.mapped.clear();
                }
                state.mapped.insert(*hash, buffer.clone());
                Ok(buffer)
            }
        }
    }

    /// The bytes in parts, each a copy, not through a mapping: a file that someone cuts short is an error here, and no fault of
    /// the process.
    pub fn read_parts(
        &self,
        hash: &Hash,
        place: Place,
        size: u64,
        mut visit: impl FnMut(&[u8]),
    ) -> Result<()> {
        const PART: u64 = 1 << 20;
        let path = self.path(hash, place);
        let missing = |error| unreadable(&path, size, error);
        let (file, start) = match place {
            Place::Pack { pack, offset } => (self.pack(pack)?, offset),
            Place::File => (Arc::new(File::open(&path).map_err(missing)?), 0),
        };
        let mut part = vec![0; usize::try_from(size.min(PART)).unwrap_or(0)];
        let mut read = 0;
        while read < size {
            part.truncate(usize::try_from(size - read).unwrap_or(usize::MAX));
            file.read_exact_at(&mut part, start + read).map_err(missing)?;
            visit(&part);
            read += part.len() as u64;
        }
        Ok(())
    }

    /// Remove the file of content; whoever reads it keeps its bytes. In a pack it stays until the pack is rewritten.
    pub fn remove(&self, hash: &Hash, place: Place) -> Result<()> {
        self.state().mapped.remove(hash);
        match place {
            Place::Pack { .. } => Ok(()),
            Place::File => remove_file(&self.file_path(hash)),
        }
    }

    /// Remove a pack none of whose content is named any more.
    pub fn remove_pack(&self, pack: u32) -> Result<()> {
        self.state().packs.remove(&pack);
        remove_file(&self.pack_path(pack))
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}
