//! A segment file mapped shared, its space reserved on disk, so that no store into it can meet a full disk.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: plain shared memory; every access goes through the methods below, whose callers keep records apart by claiming.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Map a file whose space is reserved up to `len`.
    pub fn of(file: &File, len: usize) -> io::Result<Self> {
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
        let base = base.ok_or_else(io::Error::last_os_error)?;
        // A forked child must never write to the log: there the mapping does not exist.
        // SAFETY: the mapping just made.
        unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_DONTFORK) };
        Ok(Self { base, len })
    }

    /// Copy into space that the caller has claimed for itself.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "write beyond the segment");
        // SAFETY: in bounds; claimed, so that no one else writes or reads it before it is published.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(offset), bytes.len()) };
    }

    /// The word of the record at `offset`.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(8) && offset + 4 <= self.len, "no record can begin here");
        // SAFETY: in bounds and aligned, since the mapping begins on a page.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// An aligned word of eight bytes.
    pub fn long(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len, "no word can begin here");
        // SAFETY: in bounds and aligned.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped in `of`, unmapped once.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
