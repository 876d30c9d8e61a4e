//! The bytes: content below 64 KiB lies in append-only pack files, larger content is a file of its own under its hash.
//! Cold content is compressed in either.
//!
//! A place is reserved under a lock of a few instructions; all reading and writing is done without one. That a file is not
//! removed while another thread gives the same content a place is the matter of `store`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphony_pit::{Buffer, Error, Result};

use crate::hash::{Hash, hex};
use crate::place::{Kept, Place};
use crate::reading::unreadable;
use crate::staged::Temporary;

/// Content of this size or more gets a file of its own.
pub(crate) const OWN_FILE: usize = 64 << 10;
/// A pack that has grown to this is left for a new one.
const PACK_BYTES: u64 = 64 << 20;
/// Large contents that stay mapped after a read, so that the next one costs no system call.
const MAPPED: usize = 32;

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
    pub durable: bool,
    state: Mutex<State>,
}

pub(crate) fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let text = format!("cannot {what} {}", path.display());
    move |error| Error::io(text, &error)
}

impl Content {
    pub fn new(dir: &Path, durable: bool) -> Self {
        Self { dir: dir.to_owned(), durable, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Note a place that a record names, so that new content goes behind it.
    pub fn note(&self, kept: Kept) {
        if let Place::Pack { pack, offset } = kept.place {
            let mut state = self.state();
            if pack > state.current {
                (state.current, state.end) = (pack, 0);
            }
            if pack == state.current {
                state.end = state.end.max(offset + kept.bytes());
            }
        }
    }

    /// A place in the current pack.
    pub fn reserve(&self, bytes: u64) -> (u32, u64) {
        let mut state = self.state();
        if state.end >= PACK_BYTES {
            (state.current, state.end) = (state.current + 1, 0);
        }
        let place = (state.current, state.end);
        state.end += bytes;
        place
    }

    /// Leave the current pack for a new one. Nothing may be about to be written to it.
    pub fn leave_pack(&self) {
        let mut state = self.state();
        (state.current, state.end) = (state.current + 1, 0);
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

    pub fn path(&self, hash: &Hash, kept: Kept) -> PathBuf {
        match kept.place {
            Place::Pack { pack, .. } => self.pack_path(pack),
            Place::File if kept.cold.is_some() => self.file_path(hash).with_extension("lz4"),
            Place::File => self.file_path(hash),
        }
    }

    /// See that a folder is there; where content is synced, so are the names of the folders above it.
    pub fn folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        if self.durable {
            for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.dir)) {
                File::open(above)?.sync_all()?;
            }
        }
        Ok(())
    }

    pub fn pack(&self, pack: u32, create: bool) -> Result<Arc<File>> {
        if let Some(file) = self.state().packs.get(&pack) {
            return Ok(Arc::clone(file));
        }
        let path = self.pack_path(pack);
        let open = || -> io::Result<File> {
            let folder = self.dir.join("packs");
            if create {
                self.folder(&folder)?;
            }
            let file =
                OpenOptions::new().read(true).write(true).create(create).truncate(false).open(&path)?;
            if create && self.durable {
                File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        let file = Arc::new(open().map_err(|error| unreadable(&path, 0, error))?);
        Ok(Arc::clone(self.state().packs.entry(pack).or_insert(file)))
    }

    /// What is told of bytes that are not those of their id any more.
    pub fn damaged(&self, hash: &Hash, kept: Kept) -> Error {
        let path = self.path(hash, kept);
        Error::corrupt(format!("{} is damaged: it does not hold artifact {}", path.display(), hex(hash)))
    }

    /// A file for content that is not complete.
    pub fn temporary(&self) -> Result<Temporary> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let folder = self.dir.join("incoming");
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Temporary::new(folder.join(format!("{}-{number}", std::process::id()))))
    }

    /// What an earlier process began to write and did not complete.
    pub fn remove_incomplete(&self) {
        let _ = fs::remove_dir_all(self.dir.join("incoming")); // it only takes space
    }

    pub fn mapped(&self, hash: &Hash) -> Option<Buffer> {
        self.state().mapped.get(hash).cloned()
    }

    pub fn keep_mapped(&self, hash: Hash, buffer: Buffer) {
        let mut state = self.state();
        if state.mapped.len() >= MAPPED {
            state.mapped.clear();
        }
        state.mapped.insert(hash, buffer);
    }

    /// Remove the file of content; whoever reads it keeps its bytes. In a pack it stays until the pack is rewritten.
    pub fn remove(&self, hash: &Hash, kept: Kept) -> Result<()> {
        if kept.place != Place::File {
            return Ok(());
        }
        self.state().mapped.remove(hash);
        remove_file(&self.path(hash, kept))
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
