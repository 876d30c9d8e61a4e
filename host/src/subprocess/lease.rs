//! The Pit lease that a dead host's interpreter may still hold.

use std::path::Path;
use std::time::{Duration, Instant};

use symphony_pit_journal::holder;

use crate::failure::{Failure, Result};
use crate::system::{self, ProcessHandle};

/// An interpreter whose host died ends by itself; it gets this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// A killed process is gone long before this, unless it hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
/// The argument that marks a managed interpreter.
const MODULE: &str = "symphony.interpreter";

/// Wait until nobody holds the lease; a managed interpreter that keeps it is killed, any other process is named.
pub(super) async fn free(lease: &Path, report: impl Fn(&str)) -> Result<()> {
    let Some(pid) = holder(lease) else { return Ok(()) };
    let started = system::start_time(pid);
    if wait(lease, pid, PATIENCE).await {
        return Ok(());
    }
    let held = |why: &str| {
        Failure::conflict(format!("the Pit {} is held by process {pid}{why}", lease.display()))
            .hint("end that process, or choose another --home")
    };
    if !system::arguments(pid).iter().any(|argument| argument == MODULE) {
        return Err(held(", which is no interpreter of a host"));
    }
    let Ok(process) = ProcessHandle::open(pid) else {
        return if holder(lease).is_none() { Ok(()) } else { Err(held(", which cannot be reached")) };
    };
    // The handle is that of the holder only if the pid did not change hands before it was opened.
    if started.is_some() && system::start_time(pid) == started && holder(lease) == Some(pid) {
        report(&format!("killing interpreter {pid}, which outlived its host and holds the Pit"));
        process.kill().map_err(|error| held(&format!(", which cannot be killed: {error}")))?;
    }
    if wait(lease, pid, KILL_LIMIT).await { Ok(()) } else { Err(held(" and does not let go")) }
}

/// Whether `pid` lets go of the lease in time.
async fn wait(lease: &Path, pid: i32, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while holder(lease) == Some(pid) {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}
