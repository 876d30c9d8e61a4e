//! What the host gives a component: log, clock, and by id timers, threads, calls of other components, callouts.

use std::ffi::c_void;
use std::sync::{Arc, OnceLock, Weak};

use symphony_pit_abi::{
    ASK_EXTENSION, ASYNC_EXTENSION, AskTable, AsyncTable, CALLOUT_EXTENSION, CALLS_EXTENSION, CalloutTable,
    CallsTable, Error, ErrorKind, FLAG_ASYNC, HostTable, RawValue, RawWaker, Returned, STATUS_OK, Str,
    ValueRef,
};
use symphony_pit_journal::{Error as LogError, Log};

use super::callouts::{Callout, Callouts};
use super::component::Component;
use super::defaults;
use super::error::LoadError;
use super::jobs::Jobs;
use super::questions::question;
use super::timers::Timers;

/// What the components of one Pit share.
pub(super) struct Services {
    /// None where a component only reads its past.
    log: Option<Log>,
    pub timers: Timers,
    pub jobs: Jobs,
    pub callouts: Callouts,
    /// Set once all are created; weak, since a component's table leads here.
    components: OnceLock<Vec<Weak<Component>>>,
}

impl Services {
    pub fn new(log: Log) -> Self {
        Self {
            log: Some(log),
            timers: Timers::default(),
            jobs: Jobs::default(),
            callouts: Callouts::default(),
            components: OnceLock::new(),
        }
    }

    /// For components that are brought back and never started.
    pub fn without_log() -> Self {
        let (timers, jobs) = (Timers::default(), Jobs::default());
        Self { log: None, timers, jobs, callouts: Callouts::default(), components: OnceLock::new() }
    }

    pub fn log(&self) -> Result<&Log, LoadError> {
        self.log.as_ref().ok_or(LoadError::Log(LogError::Closed))
    }

    /// The number under which a component's records are stored.
    pub fn number(&self, id: &str) -> Result<u16, LoadError> {
        self.log.as_ref().map_or(Ok(0), |log| Ok(log.component(id)?))
    }

    /// From now on they may call each other.
    pub fn introduce(&self, components: &[Arc<Component>]) {
        let _ = self.components.set(components.iter().map(Arc::downgrade).collect()); // once, at the start
    }

    /// Refuse every further append, and give the lease back.
    pub fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }
}

/// What the functions of a host table get back as their context.
pub(super) struct Context {
    pub services: Arc<Services>,
    pub id: &'static str,
    /// Number of the component in the log.
    pub number: u16,
    /// Highest record revision that the component reads.
    pub revision: u16,
    pub calls: Vec<&'static str>,
}

impl Context {
    /// The table for this context, which must outlive it, as must `data_dir`.
    pub fn table(&self, data_dir: &str) -> HostTable {
        HostTable {
            size: u32::try_from(size_of::<HostTable>()).unwrap_or(0),
            durable: u32::from(self.services.log.as_ref().is_some_and(Log::durable)),
            context: std::ptr::from_ref(self).cast_mut().cast(),
            data_dir: Str::borrow(data_dir),
            append,
            now,
            log,
            flush_to,
            extension,
        }
    }

    fn component(&self, id: &str) -> Result<Arc<Component>, Error> {
        if !self.calls.contains(&id) {
            let message = format!("{} calls {id}, which it does not declare", self.id);
            return Err(Error::invalid(message).with("declared", self.calls.join(", ")));
        }
        let known = self.services.components.get().into_iter().flatten().filter_map(Weak::upgrade);
        known
            .into_iter()
            .find(|component| component.description.id() == id)
            .ok_or_else(|| Error::conflict(format!("{id} is not running yet")))
    }

    fn call(&self, id: &str, method: &str, args: &[RawValue], out: *mut Returned) -> Result<u32, Error> {
        let component = self.component(id)?;
        let target = component
            .description
            .methods()
            .find(|known| known.name() == method)
            .ok_or_else(|| Error::not_found(format!("component {id} has no method {method:?}")))?;
        if target.raw.flags & FLAG_ASYNC != 0 {
            return Err(Error::invalid(format!("{id}.{method} is asynchronous: call its blocking twin")));
        }
        let params = target.params();
        if args.len() > params.len() {
            let message = format!("{id}.{method} takes {} arguments, got {}", params.len(), args.len());
            return Err(Error::invalid(message));
        }
        let rest = params[args.len()..].iter().map(|param| {
            defaults::value(param.default)
                .ok_or_else(|| Error::invalid(format!("{id}.{method}: {} is missing", param.name)))
        });
        let rest = rest.collect::<Result<Vec<_>, _>>()?;
        Ok(symphony_pit_abi::with_raw(&rest, |rest| {
            let values: Vec<RawValue> = args.iter().chain(rest).copied().collect();
            // SAFETY: an instance of this method's component; values that live for the call.
            unsafe { (target.raw.call)(component.instance(), values.as_ptr(), values.len(), out) }
        }))
    }
}

/// # Safety
/// `context` is the one of a table made above, which lives as long as its instance.
unsafe fn context<'a>(context: *mut c_void) -> &'a Context {
    // SAFETY: promised by the caller.
    unsafe { &*context.cast_const().cast::<Context>() }
}

/// # Safety
/// `ptr` points to `len` items borrowed for the call.
unsafe fn borrowed<'a, T>(ptr: *const T, len: usize) -> &'a [T] {
    // SAFETY: promised by the caller.
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(ptr, len) } }
}

unsafe extern "C" fn append(
    own: *mut c_void,
    kind: u16,
    revision: u16,
    time: i64,
    payload: *const u8,
    len: usize,
) -> i64 {
    // SAFETY: the component passes its own context, and a payload borrowed for the call.
    let (context, payload) = unsafe { (context(own), borrowed(payload, len)) };
    if revision > context.revision {
        return -1; // it could not be read back
    }
    let Some(log) = &context.services.log else { return -4 };
    match log.append(context.number, kind, revision, time, payload) {
        Ok(position) => position.cast_signed(),
        Err(LogError::TooLarge { .. }) => -3,
        Err(LogError::Closed | LogError::Forked) => -4,
        Err(_) => -8,
    }
}

unsafe extern "C" fn now(_own: *mut c_void) -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

unsafe extern "C" fn log(own: *mut c_void, level: u32, text: Str) {
    const NAMES: [&str; 4] = ["debug", "info", "warning", "error"];
    // SAFETY: the component passes its own context, and text borrowed for the call.
    let (id, text) = unsafe { (context(own).id, borrowed(text.ptr, text.len)) };
    let level = NAMES.get(level as usize).copied().unwrap_or("info");
    if level != "debug" {
        eprintln!("{id}: {level}: {}", String::from_utf8_lossy(text)); // the host keeps what is printed
    }
}

unsafe extern "C" fn flush_to(own: *mut c_void, _position: u64) -> u32 {
    // A flush covers all that was appended before it, so it need not know which record is waited for.
    // SAFETY: the component passes its own context.
    match unsafe { context(own) }.services.log.as_ref().map(Log::flush_if_durable) {
        Some(Err(_)) => ErrorKind::Io as u32,
        _ => STATUS_OK,
    }
}

unsafe extern "C" fn extension(_own: *mut c_void, id: Str) -> *const c_void {
    static ASYNC: AsyncTable =
        AsyncTable { size: size::<AsyncTable>(), reserved: 0, sleep_until, cancel_sleep, spawn_blocking };
    static CALLS: CallsTable = CallsTable { size: size::<CallsTable>(), reserved: 0, call };
    static CALLOUT: CalloutTable = CalloutTable { size: size::<CalloutTable>(), reserved: 0, callout };
    static ASK: AskTable = AskTable { size: size::<AskTable>(), reserved: 0, ask };
    // SAFETY: text borrowed for the call.
    match unsafe { borrowed(id.ptr, id.len) } {
        id if id == ASYNC_EXTENSION.as_bytes() => (&raw const ASYNC).cast(),
        id if id == CALLS_EXTENSION.as_bytes() => (&raw const CALLS).cast(),
        id if id == CALLOUT_EXTENSION.as_bytes() => (&raw const CALLOUT).cast(),
        id if id == ASK_EXTENSION.as_bytes() => (&raw const ASK).cast(),
        _ => std::ptr::null(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "tables of a few pointers")]
const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

unsafe extern "C" fn sleep_until(own: *mut c_void, when: i64, waker: *const RawWaker) -> u64 {
    // SAFETY: the component passes its own context and a waker borrowed for the call, of which this takes a clone.
    unsafe { context(own).services.timers.add(when, symphony_pit_abi::waker(&*waker)) }
}

unsafe extern "C" fn cancel_sleep(own: *mut c_void, timer: u64) {
    // SAFETY: the component passes its own context.
    unsafe { context(own) }.services.timers.cancel(timer);
}

unsafe extern "C" fn spawn_blocking(
    own: *mut c_void,
    run: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> u32 {
    // SAFETY: the component passes its own context, and a function that may run on any thread.
    match unsafe { context(own).services.jobs.spawn(run, data) } {
        Ok(()) => STATUS_OK,
        Err(_) => ErrorKind::Exhausted as u32,
    }
}

unsafe extern "C" fn call(
    own: *mut c_void,
    component: Str,
    method: Str,
    args: *const RawValue,
    count: usize,
    out: *mut Returned,
) -> u32 {
    // SAFETY: the component passes its own context; everything else is borrowed for the call.
    let result =
        unsafe { context(own).call(component.as_str(), method.as_str(), borrowed(args, count), out) };
    result.unwrap_or_else(|error| {
        let kind = error.kind as u32;
        // SAFETY: the caller's slot.
        unsafe { out.write(Returned::from_error(error)) };
        kind
    })
}

unsafe extern "C" fn callout(own: *mut c_void, name: Str, args: *const RawValue, count: usize) -> u32 {
    // SAFETY: as above; the arguments are copied.
    let (context, callout) = unsafe {
        let args = borrowed(args, count).iter().map(|raw| ValueRef::new(raw).to_owned()).collect();
        let context = context(own);
        (context, Callout { component: context.id, name: name.as_str().to_owned(), args, question: None })
    };
    if context.services.callouts.post(callout) { STATUS_OK } else { ErrorKind::WouldBlock as u32 }
}

unsafe extern "C" fn ask(
    own: *mut c_void,
    name: Str,
    args: *const RawValue,
    count: usize,
    out: *mut Returned,
) -> u32 {
    // SAFETY: as above.
    let (context, name, args) = unsafe {
        let args = borrowed(args, count).iter().map(|raw| ValueRef::new(raw).to_owned()).collect();
        (context(own), name.as_str().to_owned(), args)
    };
    let (question, mut operation) = question(&context.services);
    let callout = Callout { component: context.id, name, args, question: Some(question) };
    if context.services.callouts.post(callout) {
        // SAFETY: the caller's slot.
        unsafe { out.write(operation) };
        return STATUS_OK;
    }
    // SAFETY: released once, never polled.
    unsafe { operation.release() };
    ErrorKind::WouldBlock as u32
}
