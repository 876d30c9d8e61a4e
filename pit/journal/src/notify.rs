//! Waking the reader of the log: an armed word in shared memory, and an eventfd that is signalled only if it was armed.
//! So an append costs a load, and at most one system call per batch that the reader has asked to hear of.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

const PAGE: usize = 4096;

struct Shared(NonNull<AtomicU32>);

// SAFETY: one atomic word in memory that stays mapped.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn map(memory: &OwnedFd) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping of one page of an open memfd.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                memory.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(Self).ok_or_else(|| io::Error::other("mapped at null"))
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: mapped until drop; a page is aligned.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, unmapped once.
        unsafe { libc::munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

/// The writer's side.
pub struct Notifier {
    event: OwnedFd,
    shared: Shared,
}

impl Notifier {
    /// From the descriptors that a [`Watch`] handed over.
    pub fn new(event: OwnedFd, memory: &OwnedFd) -> io::Result<Self> {
        Ok(Self { event, shared: Shared::map(memory)? })
    }

    pub(crate) fn published(&self) {
        // Orders the record before the look at the word; pairs with the fence in `Watch::arm`.
        fence(Ordering::SeqCst);
        let armed = self.shared.word();
        if armed.load(Ordering::Relaxed) == 1 && armed.swap(0, Ordering::Relaxed) == 1 {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: an open eventfd and 8 bytes. A full counter means that it is signalled already.
            unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

/// The reader's side: owns both descriptors, which a writer process inherits.
pub struct Watch {
    event: OwnedFd,
    memory: OwnedFd,
    shared: Shared,
}

impl Watch {
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain system calls that return a new descriptor or −1.
        let (event, memory) = unsafe {
            let event = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            let memory = libc::memfd_create(c"symphony-log".as_ptr(), libc::MFD_CLOEXEC);
            if event < 0 || memory < 0 {
                return Err(io::Error::last_os_error());
            }
            (OwnedFd::from_raw_fd(event), OwnedFd::from_raw_fd(memory))
        };
        let file = File::from(memory.try_clone()?);
        file.set_len(PAGE as u64)?;
        Ok(Self { shared: Shared::map(&memory)?, event, memory })
    }

    /// Readable when something was published after [`Watch::arm`].
    pub fn event(&self) -> std::os::fd::BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub fn memory(&self) -> std::os::fd::BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Ask to be woken. The caller reads the log once more before it sleeps.
    pub fn arm(&self) {
        self.shared.word().store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Take the signal.
    pub fn drain(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: an open, non-blocking eventfd and 8 bytes.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}
