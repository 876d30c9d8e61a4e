//! The bytes: content below 64 KiB lies in append-only pack files, larger content is a file of its own under its hash.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use symphony_pit::{Error, Result};

/// Content of this size or more gets a file of its own.
const OWN_FILE: usize = 64 << 10;
/// A pack that has grown to this is left for a new one.
const PACK_BYTES: u64 = 64 << 20;

pub(crate) type Hash = [u8; 32];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Pack { pack: u32, offset: u64 },
    File,
}

pub(crate) fn hex(hash: &Hash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// Where content lies on disk.
pub(crate) struct Content {
    dir: PathBuf,
    packs: HashMap<u32, Arc<File>>,
    current: u32,
    /// Where the next content goes in the current pack.
    end: u64,
}

impl Content {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), packs: HashMap::new(), current: 0, end: 0 }
    }

    /// Note a place that a record names, so that new content goes behind it.
    pub fn note(&mut self, place: Place, size: u64) {
        if let Place::Pack { pack, offset } = place {
            if pack > self.current {
                (self.current, self.end) = (pack, 0);
            }
            if pack == self.current {
                self.end = self.end.max(offset + size);
            }
        }
    }

    fn pack_path(&self, pack: u32) -> PathBuf {
        self.dir.join("packs").join(format!("{pack:08}.pack"))
    }

    fn file_path(&self, hash: &Hash) -> PathBuf {
        let name = hex(hash);
        self.dir.join("objects").join(&name[..2]).join(&name[2..])
    }

    fn pack(&mut self, pack: u32) -> Result<Arc<File>> {
        if let Some(file) = self.packs.get(&pack) {
            return Ok(Arc::clone(file));
        }
        let path = self.pack_path(pack);
        let open = || -> io::Result<File> {
            fs::create_dir_all(self.dir.join("packs"))?;
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
        };
        let file =
            Arc::new(open().map_err(|error| Error::io(format!("cannot open {}", path.display()), &error))?);
        self.packs.insert(pack, Arc::clone(&file));
        Ok(file)
    }

    pub fn write(&mut self, hash: &Hash, bytes: &[u8]) -> Result<Place> {
        if bytes.len() >= OWN_FILE {
            let path = self.file_path(hash);
            write_file(&path, bytes)
                .map_err(|error| Error::io(format!("cannot write {}", path.display()), &error))?;
            return Ok(Place::File);
        }
        if self.end >= PACK_BYTES {
            (self.current, self.end) = (self.current + 1, 0);
        }
        let place = Place::Pack { pack: self.current, offset: self.end };
        let path = self.pack_path(self.current);
        self.pack(self.current)?
            .write_all_at(bytes, self.end)
            .map_err(|error| Error::io(format!("cannot write {}", path.display()), &error))?;
        // Only now: a write that failed half-way is overwritten by the next one.
        self.end += bytes.len() as u64;
        Ok(place)
    }

    /// How to read a place without holding the store's lock.
    pub fn reader(&mut self, hash: &Hash, place: Place, size: u64) -> Result<Reading> {
        Ok(match place {
            Place::Pack { pack, offset } => {
                Reading { file: Some(self.pack(pack)?), path: self.pack_path(pack), offset, size }
            }
            Place::File => Reading { file: None, path: self.file_path(hash), offset: 0, size },
        })
    }
}

pub(crate) struct Reading {
    file: Option<Arc<File>>,
    path: PathBuf,
    offset: u64,
    size: u64,
}

impl Reading {
    pub fn read(&self) -> Result<Vec<u8>> {
        let attempt = || -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(self.size).map_err(io::Error::other)?];
            match &self.file {
                Some(file) => file.read_exact_at(&mut bytes, self.offset)?,
                None => File::open(&self.path)?.read_exact_at(&mut bytes, self.offset)?,
            }
            Ok(bytes)
        };
        attempt().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::not_found(format!("the content {} is gone", self.path.display()))
            }
            io::ErrorKind::UnexpectedEof => Error::corrupt(format!(
                "{} ends before offset {} + {} bytes",
                self.path.display(),
                self.offset,
                self.size
            )),
            _ => Error::io(format!("cannot read {}", self.path.display()), &error),
        })
    }
}

/// Complete under a name of its own first, so that no reader ever meets a part of it.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary); // a half-written file only takes space
    })
}
