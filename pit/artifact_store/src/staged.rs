//! Content on its way: complete, but without a place yet.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use symphony_pit::{Error, Result};

use crate::cold::{Compressor, pays};
use crate::content::{Content, OWN_FILE, failed};
use crate::hash::{Hash, hex};
use crate::place::{Kept, Place};

/// A file under a temporary name; it goes unless it was renamed.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // renamed, or else the next start removes it
    }
}

pub(crate) enum Bytes<'a> {
    Given(&'a [u8]),
    Owned(Vec<u8>),
    /// Synced already, where that is asked for.
    File(Temporary),
}

/// What is to be given a place: the bytes as they will lie there, and the form they have.
pub(crate) struct Staged<'a> {
    pub bytes: Bytes<'a>,
    pub size: u64,
    pub cold: Option<NonZeroU64>,
}

impl Content {
    /// Prepare content for its place: large content is written to a file, and synced if asked for, before any lock is taken.
    pub fn stage<'a>(&self, bytes: &'a [u8]) -> Result<Staged<'a>> {
        let size = bytes.len() as u64;
        if bytes.len() < OWN_FILE {
            return Ok(Staged { bytes: Bytes::Given(bytes), size, cold: None });
        }
        let temporary = self.temporary()?;
        let write = || -> io::Result<()> {
            let mut file = File::create(temporary.path())?;
            file.write_all(bytes)?;
            if self.durable { file.sync_all() } else { Ok(()) }
        };
        write().map_err(failed("write", temporary.path()))?;
        Ok(Staged { bytes: Bytes::File(temporary), size, cold: None })
    }

    /// Prepare content that lies in a temporary file, of which `bytes` are to be kept.
    pub fn stage_file(
        &self,
        temporary: Temporary,
        size: u64,
        cold: Option<NonZeroU64>,
    ) -> Result<Staged<'static>> {
        let bytes = cold.map_or(size, NonZeroU64::get);
        if usize::try_from(bytes).is_ok_and(|bytes| bytes < OWN_FILE) {
            let bytes = fs::read(temporary.path()).map_err(failed("read", temporary.path()))?;
            return Ok(Staged { bytes: Bytes::Owned(bytes), size, cold });
        }
        if self.durable {
            let sync = || File::open(temporary.path())?.sync_all();
            sync().map_err(failed("sync", temporary.path()))?;
        }
        Ok(Staged { bytes: Bytes::File(temporary), size, cold })
    }

    /// Give content its place; it may be named by a record once this has returned.
    pub fn settle(&self, hash: &Hash, staged: Staged<'_>) -> Result<Kept> {
        let Staged { bytes, size, cold } = staged;
        let place = match &bytes {
            Bytes::Given(bytes) => self.append(bytes)?,
            Bytes::Owned(bytes) => self.append(bytes)?,
            Bytes::File(_) => Place::File,
        };
        let kept = Kept { place, size, cold };
        if let Bytes::File(temporary) = bytes {
            self.adopt(temporary.path(), &self.path(hash, kept))?;
        }
        Ok(kept)
    }

    fn adopt(&self, temporary: &Path, path: &Path) -> Result<()> {
        let adopt = || -> io::Result<()> {
            if let Some(parent) = path.parent() {
                self.folder(parent)?;
                fs::rename(temporary, path)?;
                if self.durable {
                    File::open(parent)?.sync_all()?;
                }
            }
            Ok(())
        };
        adopt().map_err(failed("write", path))
    }

    /// Compress content, and verify it on the way; none where that saves too little.
    pub fn compress(&self, hash: &Hash, kept: Kept) -> Result<Option<Staged<'static>>> {
        let size = kept.size;
        let pays = |bytes: u64| NonZeroU64::new(bytes).filter(|_| pays(size, bytes));
        if usize::try_from(size).is_ok_and(|size| size < OWN_FILE) {
            let bytes = self.compress_to(hash, kept, Vec::new())?;
            let cold = pays(bytes.len() as u64);
            return Ok(cold.map(|_| Staged { bytes: Bytes::Owned(bytes), size, cold }));
        }
        let temporary = self.temporary()?;
        let unwritten = || failed("write", temporary.path());
        let file = File::create(temporary.path()).map_err(unwritten())?;
        let file = self.compress_to(hash, kept, file)?;
        match pays(file.metadata().map_err(unwritten())?.len()) {
            None => Ok(None),
            cold => self.stage_file(temporary, size, cold).map(Some),
        }
    }

    fn compress_to<W: Write>(&self, hash: &Hash, kept: Kept, target: W) -> Result<W> {
        let unwritten = |error| Error::io(format!("cannot compress artifact {}", hex(hash)), &error);
        let mut hasher = blake3::Hasher::new();
        let mut compressor = Compressor::new(kept.size, target);
        self.read_parts(hash, kept, |part| {
            hasher.update(part);
            compressor.add(part).map_err(unwritten)
        })?;
        if Hash::from(hasher.finalize()) != *hash {
            return Err(self.damaged(hash, kept));
        }
        compressor.finish().map_err(unwritten)
    }

    /// Write bytes to the current pack.
    pub fn append(&self, bytes: &[u8]) -> Result<Place> {
        let (pack, offset) = self.reserve(bytes.len() as u64);
        let file = self.pack(pack, true)?;
        let write = || -> io::Result<()> {
            file.write_all_at(bytes, offset)?;
            if self.durable { file.sync_data() } else { Ok(()) }
        };
        write().map_err(failed("write", &self.pack_path(pack)))?;
        Ok(Place::Pack { pack, offset })
    }
}
