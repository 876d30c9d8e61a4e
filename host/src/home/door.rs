//! What clients find a host by, made anew where somebody took it away: who cleans `/tmp`, a logout that ends the runtime folder.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::{Home, HostEntry, listen, lock};
use crate::failure::Result;

/// The socket's file and the entry that names it.
pub struct Door {
    home: Home,
    entry: RefCell<HostEntry>,
    lock: File,
}

impl Door {
    /// `lock` is the home's, which this host holds.
    pub fn new(home: Home, entry: HostEntry, lock: File) -> Self {
        Self { home, entry: RefCell::new(entry), lock }
    }

    /// Whether the home is still the one that was locked: somebody may have deleted it, and made another in its place.
    pub fn is_kept(&self) -> bool {
        lock::is_kept(&self.home, &self.lock)
    }

    /// Let clients find it.
    pub fn open(&self) -> Result<()> {
        self.entry.borrow().publish(&self.home)
    }

    pub fn socket(&self) -> PathBuf {
        self.entry.borrow().socket.clone()
    }

    /// A listener in place of one whose file is gone.
    pub fn repair(&self) -> Result<Option<UnixListener>> {
        if !self.is_kept() {
            return Ok(None); // entry and socket are another host's by now
        }
        if self.socket().exists() {
            return if self.home.host_json().exists() { Ok(None) } else { self.open().map(|()| None) };
        }
        let (listener, socket) = listen(&self.home)?;
        self.entry.borrow_mut().socket = socket;
        self.open().map(|()| Some(listener))
    }
}
