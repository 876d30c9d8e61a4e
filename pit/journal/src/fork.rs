//! Whether this process was forked off one that had a log open. Its mappings are not there, its threads do not run, and its
//! locks may be held for ever by threads of the parent; so nothing of the log may be touched.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static FORKED: AtomicBool = AtomicBool::new(false);
static GUARD: Once = Once::new();

extern "C" fn mark() {
    FORKED.store(true, Ordering::Relaxed);
}

/// From now on a forked child knows that it is one.
pub(crate) fn guard() {
    // SAFETY: registers a function that only stores to a static.
    GUARD.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(mark));
    });
}

/// Whether this is a forked child of a process that had a log open.
#[inline]
pub fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}
