//! A running component: an instance, and the table that the host gave it.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use symphony_pit_abi as abi;
use symphony_pit_abi::{HostTable, RawRecord, Returned};
use symphony_pit_journal::forked;

use super::LoadError;
use super::description::Description;
use super::host_table::{Context, Services};

/// What an instance's host table points to, and the table. Boxed, so that none of it moves.
struct Given {
    table: HostTable,
    context: Box<Context>,
    _data_dir: Box<str>,
}

// SAFETY: immutable once made; the pointers in it lead to its own boxes.
unsafe impl Send for Given {}
// SAFETY: as above.
unsafe impl Sync for Given {}

/// A component, from `create` to `destroy`.
pub struct Component {
    pub description: Description,
    instance: *mut c_void,
    /// Between `start` and `stop`.
    started: AtomicBool,
    /// Declared after the instance's last use: dropped after `destroy`.
    given: Box<Given>,
}

// SAFETY: the ABI demands that an instance may be used from any thread.
unsafe impl Send for Component {}
// SAFETY: as above.
unsafe impl Sync for Component {}

/// An instance on its way from the thread that made it.
struct Made(*mut c_void, Returned);

// SAFETY: as for `Component`; the result is only read by the receiver.
unsafe impl Send for Made {}

/// Folder that a component writes to: the Artifact Store's is part of the home's layout, others get one below `pit`.
fn data_dir(home: &Path, id: &str) -> PathBuf {
    if id == "symphony.artifact_store" { home.join("artifacts") } else { home.join("pit/data").join(id) }
}

impl Component {
    /// Make an instance; one that takes longer than `patience` is left alone for good.
    pub(super) fn create(
        description: Description,
        services: &Arc<Services>,
        home: &Path,
        patience: Duration,
    ) -> Result<Self, LoadError> {
        let id = description.id();
        let number = services.number(id)?;
        let calls = description.calls().collect();
        let (services, revision) = (Arc::clone(services), description.revision());
        let context = Box::new(Context { services, id, number, revision, calls });
        let data_dir = data_dir(home, id).to_string_lossy().into_owned().into_boxed_str();
        let given = Box::new(Given { table: context.table(&data_dir), context, _data_dir: data_dir });
        let given = Box::into_raw(given);
        let (send, receive) = mpsc::channel();
        let (table, create) = (given as usize, description.entry.create);
        let thread = std::thread::Builder::new().name(format!("create {id}"));
        let spawned = thread.spawn(move || {
            let mut out = Returned::EMPTY;
            // SAFETY: the table is first in what `given` points to, which lives until the answer has come.
            let instance = unsafe { create(&raw const (*(table as *const Given)).table, &raw mut out) };
            let _ = send.send(Made(instance, out)); // nobody waits any more: it is left alone
        });
        let failed = |kind, message: String| LoadError::Component {
            id: id.to_owned(),
            action: "start",
            error: abi::Error::new(kind, message),
        };
        if let Err(error) = spawned {
            return Err(failed(abi::ErrorKind::Io, format!("no thread for it: {error}")));
        }
        let Ok(Made(instance, out)) = receive.recv_timeout(patience) else {
            // What was given stays: the thread may still use it.
            let message = format!("create did not return within {} s", patience.as_secs_f64());
            return Err(failed(abi::ErrorKind::TimedOut, message));
        };
        // SAFETY: made by `into_raw` above; the thread is done with it.
        let given = unsafe { Box::from_raw(given) };
        if instance.is_null() {
            return Err(failure(id, "start", abi::ErrorKind::Internal as u32, out));
        }
        Ok(Self { description, instance, started: AtomicBool::new(false), given })
    }

    fn checked(&self, action: &'static str, status: u32, out: Returned) -> Result<(), LoadError> {
        if status == abi::STATUS_OK {
            Ok(())
        } else {
            Err(failure(self.description.id(), action, status, out))
        }
    }

    pub(super) fn restore(&self, snapshot: &[u8]) -> Result<(), LoadError> {
        let mut out = Returned::EMPTY;
        let status = match self.description.entry.restore {
            // SAFETY: an instance of this entry, bytes borrowed for the call.
            Some(restore) => unsafe {
                restore(self.instance, snapshot.as_ptr(), snapshot.len(), &raw mut out)
            },
            None => return Err(self.cannot("read its snapshot", "it has no restore")),
        };
        self.checked("read its snapshot", status, out)
    }

    /// A record that is newer than the library, as after a step back to an older one, is not even shown to it.
    pub(super) fn replay(&self, record: &RawRecord) -> Result<(), LoadError> {
        const ACTION: &str = "read its records";
        let known = self.description.revision();
        if record.revision > known {
            let newer = format!("one is of revision {}, it reads up to {known}", record.revision);
            return Err(self.cannot(ACTION, &newer));
        }
        let mut out = Returned::EMPTY;
        let status = match self.description.entry.replay {
            // SAFETY: an instance of this entry, a record borrowed for the call.
            Some(replay) => unsafe { replay(self.instance, record, &raw mut out) },
            None => return Err(self.cannot(ACTION, "it has no replay")),
        };
        self.checked(ACTION, status, out)
    }

    fn cannot(&self, action: &'static str, why: &str) -> LoadError {
        let error = abi::Error::corrupt(why);
        LoadError::Component { id: self.description.id().to_owned(), action, error }
    }

    /// The whole lasting state, where the component makes snapshots; only before `start`.
    pub(super) fn snapshot(&self) -> Result<Option<Vec<u8>>, LoadError> {
        let Some(snapshot) = self.description.entry.snapshot else {
            return Ok(None);
        };
        let mut out = Returned::EMPTY;
        // SAFETY: an instance of this entry; a well-formed result, released once after it was read.
        unsafe {
            let status = snapshot(self.instance, &raw mut out);
            if status != abi::STATUS_OK {
                return Err(failure(self.description.id(), "make a snapshot", status, out));
            }
            let bytes = abi::ValueRef::new(&out.value).as_bytes().map(<[u8]>::to_vec);
            out.release();
            Ok(bytes)
        }
    }

    pub(super) fn start(&self) -> Result<(), LoadError> {
        self.started.store(true, Ordering::Release);
        let mut out = Returned::EMPTY;
        let status = match self.description.entry.start {
            // SAFETY: an instance of this entry.
            Some(start) => unsafe { start(self.instance, &raw mut out) },
            None => abi::STATUS_OK,
        };
        self.checked("start", status, out)
    }

    /// Tell it once that the end has come; its methods must not be called any more.
    pub(super) fn stop(&self) {
        if let (true, Some(stop)) = (self.started.swap(false, Ordering::AcqRel), self.description.entry.stop)
        {
            // SAFETY: an instance of this entry.
            unsafe { stop(self.instance) };
        }
    }

    /// What a method's `call` gets as its first argument.
    pub const fn instance(&self) -> *const c_void {
        self.instance
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        if forked() {
            // Its threads are the parent's, and its locks, as those of the services, may be held by them for ever.
            std::mem::forget(Arc::clone(&self.given.context.services));
            return;
        }
        self.stop();
        // SAFETY: made by `create`, destroyed once; calls and operations hold an Arc, so none is under way.
        unsafe { (self.description.entry.destroy)(self.instance) };
    }
}

/// The error that a component gave, which is released.
fn failure(id: &str, action: &'static str, status: u32, mut out: Returned) -> LoadError {
    // SAFETY: an error result of the component, read once and released.
    let error = unsafe {
        let error = out.to_error(status);
        out.release();
        error
    };
    LoadError::Component { id: id.to_owned(), action, error }
}
