//! Where the control socket lies: a private folder outside of the home, since a socket's path is limited to 107 bytes.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::Home;
use crate::failure::{Failure, Result};
use crate::system;

const MAX_PATH: usize = 107;
const NAME_LENGTH: usize = "/0123456789abcdef.sock".len();

/// Listen on the socket of this home. Only the holder of the home's lock may: what lies there is a dead host's.
pub fn listen(home: &Home) -> Result<(UnixListener, PathBuf)> {
    let path = folder()?.join(name(home.path()));
    let unusable = |error: io::Error| Failure::unusable(&path, &error);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(unusable)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(unusable)?;
    listener.set_nonblocking(true).map_err(unusable)?;
    Ok((listener, path))
}

/// Take the socket away; a missing one is fine.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path); // a leftover is replaced by the next host
}

fn folder() -> Result<PathBuf> {
    let own = system::effective_uid();
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = runtime.map(|path| path.join("symphony"))
        && folder.as_os_str().len() + NAME_LENGTH <= MAX_PATH
        && private(&folder, own).is_ok()
    {
        return Ok(folder);
    }
    let folder = PathBuf::from(format!("/tmp/symphony-{own}"));
    private(&folder, own)?;
    Ok(folder)
}

/// Make the folder 0700, or refuse what is there. Its parent may be writable by anyone, so links are not followed.
fn private(folder: &Path, own: u32) -> Result<()> {
    let unusable = |error: io::Error| Failure::unusable(folder, &error);
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(folder).map_err(unusable)?;
    if !found.is_dir() || found.uid() != own {
        return Err(Failure::refused(format!("{} is not a folder of uid {own}", folder.display()))
            .hint("set XDG_RUNTIME_DIR to a private folder of yours"));
    }
    if found.mode() & 0o777 != 0o700 {
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}

/// A short name that is the same for every host of one home: the FNV-1a hash of its path.
fn name(home: &Path) -> String {
    let path = fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
    let hash = path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}.sock")
}
