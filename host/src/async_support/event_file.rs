//! A descriptor by which any thread wakes a loop.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

pub(super) struct EventFile(File);

impl EventFile {
    pub fn new() -> std::io::Result<Self> {
        // SAFETY: a plain system call; the descriptor is owned by the file from here on.
        unsafe {
            let descriptor = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if descriptor < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(Self(File::from_raw_fd(descriptor)))
        }
    }

    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn signal(&self) {
        // A full counter means that it is signalled already.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    pub fn clear(&self) {
        let mut count = [0; 8];
        let _ = (&self.0).read(&mut count); // non-blocking: an empty counter is no error here
    }

    /// Sleep until it is signalled. Not while attached to Python.
    pub fn wait(&self) {
        let mut entry = libc::pollfd { fd: self.descriptor(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry. Interrupted, it returns early, which its callers allow for.
        unsafe { libc::poll(&raw mut entry, 1, -1) };
        self.clear();
    }
}
