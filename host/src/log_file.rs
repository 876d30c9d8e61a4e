//! A log file of bounded size: at its limit it becomes `NAME.1`, and a new one begins.
//!
//! A log that cannot be written (full disk) is no reason to stop anything: what does not fit is dropped.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock;

/// Size at which a log is put aside.
const LIMIT: u64 = 8 << 20;

struct Open {
    file: File,
    size: u64,
}

/// An append-only text file, mode 0600.
pub struct LogFile {
    path: PathBuf,
    open: RefCell<Open>,
}

fn open(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok(Open { file, size })
}

impl LogFile {
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let open = RefCell::new(open(&path)?);
        Ok(Self { path, open })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One line with the time.
    pub fn line(&self, text: &str) {
        self.append(format!("{} {text}\n", clock::iso(clock::now())).as_bytes());
    }

    pub fn append(&self, bytes: &[u8]) {
        let mut current = self.open.borrow_mut();
        if current.size > 0 && current.size + bytes.len() as u64 > LIMIT {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            if fs::rename(&self.path, aside).is_ok()
                && let Ok(next) = open(&self.path)
            {
                *current = next;
            }
        }
        if current.file.write_all(bytes).is_ok() {
            current.size += bytes.len() as u64;
        }
    }

    /// The file itself, for a descriptor that must end in it.
    pub fn file(&self) -> io::Result<File> {
        self.open.borrow().file.try_clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    #[test]
    fn a_full_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogFile::open(folder.path().join("x.log")).unwrap();
        let block = vec![b'x'; 3 << 20];
        for _ in 0..7 {
            log.append(&block);
        }
        let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!((size("x.log"), size("x.log.1")), (3 << 20, 6 << 20));
    }
}
