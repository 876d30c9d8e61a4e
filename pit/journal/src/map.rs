//! One mapped segment file: reserved on disk first, so that no later store can meet a full disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::error::{Error, Result};
use crate::format::{SEALED_AT, SEGMENT_HEADER, segment_header};

pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: plain shared memory; every access goes through the methods below, whose callers keep records apart by claiming.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

/// Reserve blocks by the system call itself: the C library would emulate it by writes that race with the mapping.
fn reserve(file: &File, len: u64) -> io::Result<()> {
    // SAFETY: an open descriptor.
    let status = unsafe { libc::syscall(libc::SYS_fallocate, file.as_raw_fd(), 0, 0_i64, len.cast_signed()) };
    if status == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) {
        return Err(error);
    }
    // The file system reserves nothing: write the zeros, once.
    let zeros = vec![0; 1 << 20];
    let mut writer = file;
    let mut left = len;
    while left > 0 {
        let chunk = left.min(zeros.len() as u64);
        writer.write_all(&zeros[..usize::try_from(chunk).unwrap_or(zeros.len())])?;
        left -= chunk;
    }
    Ok(())
}

impl Map {
    /// Make a segment file of `len` bytes under a temporary name; it gets its own only when it is complete.
    pub fn create(path: &Path, len: usize, first: u64, created: i64) -> Result<Self> {
        let temporary = path.with_extension("new");
        let attempt = || -> io::Result<File> {
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary)?;
            reserve(&file, len as u64)?;
            std::os::unix::fs::FileExt::write_all_at(&file, &segment_header(len as u64, first, created), 0)?;
            std::fs::rename(&temporary, path)?;
            Ok(file)
        };
        let file = attempt().map_err(|error| {
            let _ = std::fs::remove_file(&temporary); // a half-made file only takes space
            Error::io(path, "reserve space for", error)
        })?;
        Self::of(&file, len, path)
    }

    pub fn open(path: &Path) -> Result<Self> {
        let io = |error| Error::io(path, "open", error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        let len = usize::try_from(file.metadata().map_err(io)?.len()).unwrap_or(0);
        if len < SEGMENT_HEADER {
            return Err(Error::Foreign { path: path.into(), found: format!("{len} bytes") });
        }
        Self::of(&file, len, path)
    }

    fn of(file: &File, len: usize, path: &Path) -> Result<Self> {
        // SAFETY: a fresh shared mapping of an open file; its length is the file's.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        let failed = base == libc::MAP_FAILED;
        let base = NonNull::new(base.cast::<u8>()).filter(|_| !failed);
        let base = base.ok_or_else(|| Error::io(path, "map", io::Error::last_os_error()))?;
        // A forked child must never write to the log: there the mapping does not exist.
        // SAFETY: the mapping just made.
        unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_DONTFORK) };
        Ok(Self { base, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The whole segment. Published records never change; nothing else of it may be relied on.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for the life of self.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// Copy into space that the caller has claimed for itself.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "write beyond the segment");
        // SAFETY: in bounds; claimed, so that no one else writes or reads it before it is published.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(offset), bytes.len()) };
    }

    pub fn zero(&self, from: usize) {
        assert!(from <= self.len, "zero beyond the segment");
        // SAFETY: in bounds; only recovery does this, before any append.
        unsafe { std::ptr::write_bytes(self.base.as_ptr().add(from), 0, self.len - from) };
    }

    /// The length word of the record at `offset`.
    pub fn published(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(8) && offset + 4 <= self.len, "no record can begin here");
        // SAFETY: in bounds and aligned, since the mapping begins on a page.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    pub fn sealed(&self) -> &AtomicU64 {
        // SAFETY: in the header, aligned.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(SEALED_AT).cast()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped in `of`, unmapped once.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
