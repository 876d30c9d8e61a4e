//! The Pit lease: a POSIX record lock that ends with the process, is not inherited by forked children, and names its holder.
//!
//! Closing any descriptor of the file drops the lock, so only this module opens it, and never twice in one process.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::error::{Error, Result};

static HELD: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// The right to write to one Pit; given back on drop, or by the kernel when the process ends.
pub struct Lease {
    path: PathBuf,
    _file: File,
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: all-zero is a valid flock: whole file, from the start.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind.try_into().unwrap_or_default();
    lock
}

fn query(file: &File) -> Option<i32> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: an open descriptor and a valid flock.
    let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    (status == 0 && i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
}

impl Lease {
    /// Take the lease, or say who holds it.
    pub fn take(path: &Path) -> Result<Self> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(path) {
            return Err(Error::Held { path: path.into(), pid: std::process::id().cast_signed() });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| Error::io(path, "open", error))?;
        let lock = whole_file(libc::F_WRLCK);
        // SAFETY: an open descriptor and a valid flock.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) } == -1 {
            let error = io::Error::last_os_error();
            return Err(match (error.raw_os_error(), query(&file)) {
                (Some(libc::EACCES | libc::EAGAIN), pid) => {
                    Error::Held { path: path.into(), pid: pid.unwrap_or(0) }
                }
                _ => Error::io(path, "lock", error),
            });
        }
        held.insert(path.into());
        Ok(Self { path: path.into(), _file: file })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

/// Process that holds the lease at `path`, if any. Not for the holder itself: closing the file would drop its lease.
pub fn holder(path: &Path) -> Option<i32> {
    if HELD.lock().unwrap_or_else(PoisonError::into_inner).contains(path) {
        return Some(std::process::id().cast_signed());
    }
    // A lock for writing is asked about, which needs no right to write.
    query(&File::open(path).ok()?)
}
