//! What clients find a host by, made anew where somebody took it away: who cleans `/tmp`, a logout that ends the runtime folder.

use std::cell::RefCell;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::{Home, HostEntry, listen};
use crate::failure::Result;

/// The socket's file and the entry that names it.
pub struct Door {
    home: Home,
    entry: RefCell<HostEntry>,
}

impl Door {
    pub fn new(home: Home, entry: HostEntry) -> Self {
        Self { home, entry: RefCell::new(entry) }
    }

    /// Let clients find it.
    pub fn open(&self) -> Result<()> {
        self.entry.borrow().publish(&self.home)
    }

    pub fn socket(&self) -> PathBuf {
        self.entry.borrow().socket.clone()
    }

    /// A listener in place of one whose file is gone. Only for the holder of the home's lock.
    pub fn repair(&self) -> Result<Option<UnixListener>> {
        if self.socket().exists() {
            return if self.home.host_json().exists() { Ok(None) } else { self.open().map(|()| None) };
        }
        let (listener, socket) = listen(&self.home)?;
        self.entry.borrow_mut().socket = socket;
        self.open().map(|()| Some(listener))
    }
}
