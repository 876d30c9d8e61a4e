//! Who holds a home: the lock that one host has, and the entry by which clients find it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symphony_pit_journal::holder;

use super::{Home, replace};
use crate::failure::{Failure, Result};

/// A host that is starting or stopping holds the lock without an entry; this is longer than either takes.
const ENTRY_LIMIT: Duration = Duration::from_secs(25);

/// What `host.json` says of the running host.
#[derive(Clone, Debug)]
pub struct HostEntry {
    pub pid: u32,
    pub socket: PathBuf,
    pub prefix: String,
    pub version: String,
    pub python: String,
}

impl HostEntry {
    fn read(home: &Home) -> Option<Self> {
        let value: Value = serde_json::from_slice(&fs::read(home.host_json()).ok()?).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            pid: u32::try_from(value["pid"].as_u64()?).ok()?,
            socket: text("socket")?.into(),
            prefix: text("prefix")?,
            version: text("version")?,
            python: text("python").unwrap_or_default(),
        })
    }

    pub fn publish(&self, home: &Home) -> Result<()> {
        let Self { pid, socket, prefix, version, python } = self;
        let document =
            json!({"pid": pid, "socket": socket, "prefix": prefix, "version": version, "python": python});
        let path = home.host_json();
        replace(&path, format!("{document}\n").as_bytes()).map_err(|error| Failure::unusable(&path, &error))
    }

    /// Whether something still listens there: an entry outlives a host that was killed.
    fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }
}

/// The program that has the home without being a host of its own: `Host(isolated=False)`. Its entry has no socket, and counts
/// for as long as it holds the Pit.
pub fn in_process(home: &Home) -> Option<i32> {
    let value: Value = serde_json::from_slice(&fs::read(home.host_json()).ok()?).ok()?;
    let pid = value["pid"].as_i64().filter(|_| value["isolated"] == Value::Bool(false))?;
    holder(&home.lease()).filter(|holder| i64::from(*holder) == pid)
}

/// The host that runs for this home now.
pub fn running(home: &Home) -> Option<HostEntry> {
    HostEntry::read(home).filter(HostEntry::answers)
}

/// The home's lock, or the host of the same environment that has it.
pub enum Acquired {
    /// Held until the file is dropped.
    Lock(File),
    Other(HostEntry),
}

/// Whether the home is the one that was locked.
pub fn is_kept(home: &Home, lock: &File) -> bool {
    let place = |found: fs::Metadata| (found.dev(), found.ino());
    match (fs::metadata(lock_of(home)).map(place), lock.metadata().map(place)) {
        (Ok(there), Ok(held)) => there == held,
        (Err(error), _) => error.kind() != ErrorKind::NotFound, // what cannot be told now is told later
        (_, Err(_)) => true,
    }
}

fn lock_of(home: &Home) -> PathBuf {
    home.path().join("host.lock")
}

/// Take the home, or say who has it. A host of another environment is a conflict.
pub fn acquire(home: &Home, prefix: &str, version: &str) -> Result<Acquired> {
    let path = lock_of(home);
    let unusable = |error| Failure::unusable(&path, &error);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    let deadline = Instant::now() + ENTRY_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => {
                let _ = fs::remove_file(home.host_json()); // of a host that was killed
                return Ok(Acquired::Lock(file));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        if let Some(entry) = running(home) {
            return if entry.prefix == prefix && entry.version == version {
                Ok(Acquired::Other(entry))
            } else {
                Err(Failure::conflict(format!(
                    "home {} is held by the host of another environment: {} ({}), pid {}; this one is {prefix} ({version})",
                    home.path().display(),
                    entry.prefix,
                    entry.version,
                    entry.pid
                ))
                .hint("stop that host from its own environment, or choose another --home"))
            };
        }
        if let Some(pid) = in_process(home) {
            let home = home.path().display();
            return Err(Failure::conflict(format!(
                "home {home} is held by process {pid}, which runs workflows in itself"
            ))
            .hint("wait for its end, close its Host, or choose another --home"));
        }
        if Instant::now() > deadline {
            return Err(Failure::conflict(format!(
                "{} is locked by a host that does not answer",
                path.display()
            ))
            .hint(format!("see who holds it: fuser -v {}", path.display())));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
