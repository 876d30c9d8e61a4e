//! Reading content back, whatever its place and form.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use symphony_pit::{Buffer, Error, Result};

use crate::cold::expand;
use crate::content::{Content, failed};
use crate::hash::Hash;
use crate::place::{Kept, Place};

pub(crate) fn unreadable(path: &Path, size: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("the content {} is gone", path.display())),
        io::ErrorKind::UnexpectedEof => {
            Error::corrupt(format!("{} ends before all {size} bytes of the content", path.display()))
        }
        // No error of the system's: what was read is no LZ4 frame, or another one.
        _ if error.raw_os_error().is_none() => {
            Error::corrupt(format!("{} is damaged: {error}", path.display()))
        }
        _ => failed("read", path)(error),
    }
}

/// A part of a file, read from its beginning.
struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Why reading in parts ended early.
enum Stop {
    Reader(io::Error),
    Visitor(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Reader(error)
    }
}

fn read_whole(
    mut section: Section,
    mut visit: impl FnMut(&[u8]) -> std::result::Result<(), Stop>,
) -> std::result::Result<(), Stop> {
    const PART: u64 = 1 << 20;
    let mut part = vec![0; usize::try_from(section.left.min(PART)).unwrap_or(0)];
    while section.left > 0 {
        part.truncate(usize::try_from(section.left).unwrap_or(usize::MAX));
        section.read_exact(&mut part)?;
        visit(&part)?;
    }
    Ok(())
}

impl Content {
    /// The bytes: those of a file of their own where they lie, those of a pack as a copy, cold ones decompressed and verified.
    pub fn read(&self, hash: &Hash, kept: Kept) -> Result<Buffer> {
        let path = self.path(hash, kept);
        let len = usize::try_from(kept.size).map_err(|_| Error::corrupt("content larger than memory"))?;
        if kept.place == Place::File && kept.cold.is_none() {
            if let Some(buffer) = self.mapped(hash) {
                return Ok(buffer);
            }
            let file = File::open(&path).map_err(|error| unreadable(&path, kept.size, error))?;
            let buffer = Buffer::map(&file, 0, len)?;
            self.keep_mapped(*hash, buffer.clone());
            return Ok(buffer);
        }
        let mut bytes = Vec::with_capacity(len);
        self.read_parts(hash, kept, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        if kept.cold.is_some() && Hash::from(blake3::hash(&bytes)) != *hash {
            return Err(self.damaged(hash, kept));
        }
        Ok(Buffer::new(bytes))
    }

    /// The bytes in parts, each a copy, not through a mapping: a file that someone cuts short is an error here, and no fault of
    /// the process.
    pub fn read_parts(
        &self,
        hash: &Hash,
        kept: Kept,
        mut visit: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let section = self.section(hash, kept)?;
        let path = self.path(hash, kept);
        let visit = |part: &[u8]| visit(part).map_err(Stop::Visitor);
        let read = match kept.cold {
            Some(_) => expand(BufReader::new(section), kept.size, visit),
            None => read_whole(section, visit),
        };
        read.map_err(|stop| match stop {
            Stop::Reader(error) => unreadable(&path, kept.size, error),
            Stop::Visitor(error) => error,
        })
    }

    /// The bytes of content in a pack as they lie there, in whatever form.
    pub fn read_raw(&self, hash: &Hash, kept: Kept) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut section = self.section(hash, kept)?;
        let all = section.left;
        let read = section.read_to_end(&mut bytes).and_then(|_| match section.left {
            0 => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        });
        read.map_err(|error| unreadable(&self.path(hash, kept), all, error))?;
        Ok(bytes)
    }

    fn section(&self, hash: &Hash, kept: Kept) -> Result<Section> {
        let (file, at) = match kept.place {
            Place::Pack { pack, offset } => (self.pack(pack, false)?, offset),
            Place::File => {
                let path = self.path(hash, kept);
                let file = File::open(&path).map_err(|error| unreadable(&path, kept.size, error))?;
                (Arc::new(file), 0)
            }
        };
        Ok(Section { file, at, left: kept.bytes() })
    }
}
