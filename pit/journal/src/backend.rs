//! How records reach the file: through a shared mapping, or by pwrite where a mapping cannot be trusted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::error::{Error, Result};

/// The way of appending; the bytes in the file are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Copies into a mapping of space that was reserved before: no system call a record.
    Mapped,
    /// Two system calls a record; a full disk is met by the append, as an error.
    Pwrite,
}

/// File systems that copy on write, or whose pages another machine can change, by their magic number (statfs(2)). On them
/// reserved space does not keep a store to a mapping from failing.
const UNFIT: [(u32, &str); 12] = [
    (0x9123_683e, "btrfs"),
    (0xca45_1a4e, "bcachefs"),
    (0x2fc1_2fc1, "zfs"),
    (0x0000_6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0000_517b, "smb"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_544e, "ntfs"),
    (0x0bd0_0bd0, "lustre"),
];

impl Backend {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mapped => "mmap",
            Self::Pwrite => "pwrite",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::Mapped, Self::Pwrite].into_iter().find(|known| known.name() == name)
    }

    /// The back end that fits the file system of a folder, and why.
    pub fn probe(dir: &Path) -> Result<(Self, String)> {
        if let Some((_, name)) = UNFIT.iter().find(|(magic, _)| file_system(dir) == Some(*magic)) {
            return Ok((Self::Pwrite, format!("a mapping cannot be relied on: {name}")));
        }
        let path = dir.join("probe.new");
        let attempt = || -> io::Result<Option<io::Error>> {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            let refused = reserve(&file, 4096).err();
            std::fs::remove_file(&path)?;
            Ok(refused)
        };
        let refused = attempt().map_err(|error| Error::io(dir, "write to", error))?;
        match refused {
            None => Ok((Self::Mapped, "the file system reserves space".to_owned())),
            Some(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                Ok((Self::Pwrite, format!("the file system reserves no space: {error}")))
            }
            Some(error) => Err(Error::io(dir, "reserve space in", error)),
        }
    }
}

fn file_system(dir: &Path) -> Option<u32> {
    let path = std::ffi::CString::new(dir.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: all-zero is a valid statfs, which the call fills; a path that ends with a zero.
    unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        (libc::statfs(path.as_ptr(), &raw mut found) == 0)
            .then(|| u32::try_from(found.f_type & 0xffff_ffff).ok())?
    }
}

/// Reserve blocks by the system call itself: the C library would emulate it by writes that race with the mapping.
pub(crate) fn reserve(file: &File, len: u64) -> io::Result<()> {
    // SAFETY: an open descriptor.
    let status = unsafe { libc::syscall(libc::SYS_fallocate, file.as_raw_fd(), 0, 0_i64, len.cast_signed()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
