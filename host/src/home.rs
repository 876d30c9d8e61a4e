//! The home of a host: one private folder, held by one host at a time.
//!
//! Only paths, modes, the lock and small files of the host itself; what is in the Pit belongs to the Pit.

mod lock;
mod socket;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use lock::{Acquired, HostEntry, acquire, in_process, is_kept, running};
pub use socket::{listen, remove as remove_socket};

use crate::failure::{Failure, Result};
use crate::system;

/// With less free space no new run is begun: those that are running need it to finish.
const ADMISSION_ROOM: u64 = 2 << 20;

/// A home folder. Making the value touches nothing.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn pit(&self) -> PathBuf {
        self.path.join("pit")
    }

    pub fn lease(&self) -> PathBuf {
        self.path.join("pit/lease")
    }

    pub fn host_json(&self) -> PathBuf {
        self.path.join("host.json")
    }

    /// What the host was told to do.
    pub fn host_log(&self) -> PathBuf {
        self.path.join("host.log")
    }

    /// What the host says about itself, for people.
    pub fn symphonyd_log(&self) -> PathBuf {
        self.path.join("logs/symphonyd.log")
    }

    pub fn interpreter_log(&self) -> PathBuf {
        self.path.join("logs/interpreter.log")
    }

    pub fn reports(&self) -> PathBuf {
        self.path.join("reports")
    }

    pub fn history(&self) -> PathBuf {
        self.path.join("history.db")
    }

    /// Of plugins, which `symphony plugins` reads, too.
    pub fn plugin_deaths(&self) -> PathBuf {
        self.path.join("plugin_deaths.json")
    }

    /// Refuse a home that somebody else owns or may write to; one that is not there yet is fine.
    pub fn check(&self) -> Result<()> {
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.unusable(&error)),
        };
        let path = self.path.display();
        if !found.is_dir() {
            return Err(Failure::unavailable(format!("home {path} is not a folder"))
                .hint("choose another one with --home DIR"));
        }
        let own = system::effective_uid();
        if found.uid() != own {
            return Err(Failure::refused(format!(
                "home {path} belongs to uid {}, you are uid {own}",
                found.uid()
            ))
            .hint("choose another one with --home DIR"));
        }
        if found.mode() & 0o022 != 0 && !self.tighten_if_empty() {
            let mode = found.mode() & 0o7777;
            return Err(Failure::refused(format!("home {path} can be written by others (mode {mode:04o})"))
                .hint(format!("chmod 700 {path}")));
        }
        Ok(())
    }

    /// An empty folder is a home about to be made: it gets the mode it would have been made with.
    fn tighten_if_empty(&self) -> bool {
        fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none())
            && fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700)).is_ok()
    }

    /// Create what is missing (0700), and prove that the home is ours and takes data.
    pub fn ensure(&self) -> Result<()> {
        self.check()?;
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(|error| self.unusable(&error))?;
        }
        make(&self.path).map_err(|error| self.unusable(&error))?;
        self.check()?;
        for folder in ["logs", "pit"] {
            make(&self.path.join(folder)).map_err(|error| self.unusable(&error))?;
        }
        let trial = self.path.join(format!(".trial-{}", std::process::id()));
        let written = write_private(&trial, &vec![0; 64 << 10]);
        let _ = fs::remove_file(&trial); // it may never have been made
        written.map_err(|error| self.unusable(&error))
    }

    /// Whether there is room for one more run, else why not and what to do.
    pub fn admits(&self) -> Result<()> {
        let obstacle = match system::room(&self.path) {
            Ok(room) if room.read_only => io::Error::from_raw_os_error(libc::EROFS),
            Ok(room) if room.free < ADMISSION_ROOM => io::Error::from_raw_os_error(libc::ENOSPC),
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        Err(self.unusable(&obstacle))
    }

    /// The seed of Python's string hashes: one per home, because a replay must see the same set order as the run did.
    pub fn hash_seed(&self) -> Result<u32> {
        let path = self.path.join("hash_seed");
        if let Some(seed) = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
            return Ok(seed);
        }
        let failed = |error: io::Error| Failure::unusable(&path, &error);
        let mut bytes = [0; 4];
        fs::File::open("/dev/urandom")
            .and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes))
            .map_err(failed)?;
        let seed = u32::from_ne_bytes(bytes).max(1); // 0 would turn Python's randomisation off
        replace(&path, format!("{seed}\n").as_bytes()).map_err(failed)?;
        Ok(seed)
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        let failure = Failure::unusable(&self.path, error);
        let message = format!("home {}", failure.message);
        failure.saying(message)
    }
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// Write a file so that a reader sees the old content or the new one, never half of it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    write_private(&temporary, content)?;
    fs::rename(&temporary, path)
}
