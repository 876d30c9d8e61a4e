//! A host for the tests of components: a clock that is set by hand, records that can be replayed, no process around it.
#![allow(unsafe_code)] // the functions of a host table
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;

use symphony_pit_abi as abi;
use symphony_pit_abi::{
    AsyncTable, CalloutTable, CallsTable, Component, Error, ErrorKind, Host, HostTable, RawValue, RawWaker,
    Record, Result, Returned, STATUS_OK, Str, Value, ValueRef,
};

/// One appended record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub kind: u16,
    pub revision: u16,
    pub time: i64,
    pub payload: Vec<u8>,
}

type Answer = Box<dyn Fn(&[Value]) -> Result<Value> + Send>;

struct State {
    now: i64,
    full: bool,
    listening: bool,
    records: Vec<Recorded>,
    callouts: Vec<(String, Vec<Value>)>,
    answers: BTreeMap<(String, String), Answer>,
    timers: BTreeMap<(i64, u64), Waker>,
    next_timer: u64,
}

/// A host that lives as long as the test process.
///
/// ```
/// # use symphony_pit::testing::TestHost;
/// let folder = std::env::temp_dir();
/// let host = TestHost::new(&folder);
/// host.set_now(1_000_000);
/// assert_eq!(host.host().now(), 1_000_000);
/// ```
#[derive(Clone, Copy)]
pub struct TestHost {
    state: &'static Mutex<State>,
    table: &'static HostTable,
    host: Host,
}

impl TestHost {
    /// A host whose component may write below `folder`. The clock begins at one second.
    pub fn new(folder: &Path) -> Self {
        let state: &'static Mutex<State> = Box::leak(Box::new(Mutex::new(State {
            now: 1_000_000,
            full: false,
            listening: true,
            records: Vec::new(),
            callouts: Vec::new(),
            answers: BTreeMap::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
        })));
        let folder: &'static str = Box::leak(folder.to_string_lossy().into_owned().into_boxed_str());
        let table: &'static HostTable = Box::leak(Box::new(HostTable {
            size: size::<HostTable>(),
            durable: 0,
            context: std::ptr::from_ref(state).cast_mut().cast(),
            data_dir: Str::new(folder),
            append,
            now,
            log,
            flush_to,
            extension,
        }));
        Self { state, table, host: Host::new(table) }
    }

    pub const fn host(&self) -> Host {
        self.host
    }

    /// What an exported `create` takes.
    pub const fn table(&self) -> &'static HostTable {
        self.table
    }

    fn state(&self) -> MutexGuard<'static, State> {
        self.state.lock().expect("no test panics under this lock")
    }

    /// Set the clock (µs since the epoch); timers that fall due are woken.
    pub fn set_now(&self, now: i64) {
        let mut state = self.state();
        state.now = now;
        let later = state.timers.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut state.timers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }

    /// Move the clock on by seconds.
    #[expect(clippy::cast_possible_truncation, reason = "a test's seconds")]
    pub fn advance(&self, seconds: f64) {
        let now = self.state().now;
        self.set_now(now + (seconds * 1e6) as i64);
    }

    /// Whether appends fail from now on, as on a full disk.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Whether an engine listens to callouts; it does unless told otherwise.
    pub fn set_listening(&self, listening: bool) {
        self.state().listening = listening;
    }

    /// What was appended so far.
    pub fn records(&self) -> Vec<Recorded> {
        self.state().records.clone()
    }

    /// The callouts since the last call of this.
    pub fn callouts(&self) -> Vec<(String, Vec<Value>)> {
        std::mem::take(&mut self.state().callouts)
    }

    /// Answer calls of another component's method.
    pub fn on_call(
        &self,
        component: &str,
        method: &str,
        answer: impl Fn(&[Value]) -> Result<Value> + Send + 'static,
    ) {
        self.state().answers.insert((component.to_owned(), method.to_owned()), Box::new(answer));
    }

    /// Replay everything that was appended here into another instance, as after a restart.
    pub fn replay_into<C: Component>(&self, component: &C) -> Result<()> {
        for (position, record) in self.records().iter().enumerate() {
            component.replay(&Record {
                position: position as u64,
                time: record.time,
                kind: record.kind,
                revision: record.revision,
                payload: &record.payload,
            })?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "tables of a few pointers")]
const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

// SAFETY (all below): the context is the leaked state of a `TestHost`; what else comes is borrowed for the call.
unsafe fn state(context: *mut c_void) -> MutexGuard<'static, State> {
    unsafe { &*context.cast_const().cast::<Mutex<State>>() }.lock().expect("no test panics under this lock")
}

unsafe fn values(args: *const RawValue, count: usize) -> Vec<Value> {
    (0..count).map(|at| unsafe { ValueRef::new(&*args.add(at)) }.to_owned()).collect()
}

unsafe extern "C" fn append(
    context: *mut c_void,
    kind: u16,
    revision: u16,
    time: i64,
    payload: *const u8,
    len: usize,
) -> i64 {
    let payload = if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(payload, len) } };
    let mut state = unsafe { state(context) };
    if state.full {
        return -8;
    }
    if len > 1 << 20 {
        return -3;
    }
    state.records.push(Recorded { kind, revision, time, payload: payload.to_vec() });
    i64::try_from(state.records.len() - 1).expect("few records")
}

unsafe extern "C" fn now(context: *mut c_void) -> i64 {
    unsafe { state(context) }.now
}

unsafe extern "C" fn log(_context: *mut c_void, level: u32, text: Str) {
    println!("log {level}: {}", unsafe { text.as_str() });
}

unsafe extern "C" fn flush_to(_context: *mut c_void, _position: u64) -> u32 {
    STATUS_OK
}

unsafe extern "C" fn extension(_context: *mut c_void, id: Str) -> *const c_void {
    static ASYNC: AsyncTable =
        AsyncTable { size: size::<AsyncTable>(), reserved: 0, sleep_until, cancel_sleep, spawn_blocking };
    static CALLS: CallsTable = CallsTable { size: size::<CallsTable>(), reserved: 0, call };
    static CALLOUT: CalloutTable = CalloutTable { size: size::<CalloutTable>(), reserved: 0, callout };
    match unsafe { id.as_str() } {
        abi::ASYNC_EXTENSION => (&raw const ASYNC).cast(),
        abi::CALLS_EXTENSION => (&raw const CALLS).cast(),
        abi::CALLOUT_EXTENSION => (&raw const CALLOUT).cast(),
        _ => std::ptr::null(),
    }
}

unsafe extern "C" fn sleep_until(context: *mut c_void, when: i64, waker: *const RawWaker) -> u64 {
    let waker = unsafe { abi::waker(&*waker) };
    let mut state = unsafe { state(context) };
    state.next_timer += 1;
    let number = state.next_timer;
    state.timers.insert((when, number), waker);
    number
}

unsafe extern "C" fn cancel_sleep(context: *mut c_void, timer: u64) {
    unsafe { state(context) }.timers.retain(|(_, number), _| *number != timer);
}

unsafe extern "C" fn spawn_blocking(
    _context: *mut c_void,
    run: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> u32 {
    let data = data as usize;
    std::thread::spawn(move || unsafe { run(data as *mut c_void) });
    STATUS_OK
}

unsafe extern "C" fn call(
    context: *mut c_void,
    component: Str,
    method: Str,
    args: *const RawValue,
    count: usize,
    out: *mut Returned,
) -> u32 {
    let args = unsafe { values(args, count) };
    let (component, method) = unsafe { (component.as_str().to_owned(), method.as_str().to_owned()) };
    // Taken out for the call, which may come back to this host.
    let answer = unsafe { state(context) }.answers.remove(&(component.clone(), method.clone()));
    let result = match &answer {
        Some(answer) => answer(&args),
        None => Err(Error::not_found(format!("no answer to {component}.{method} in this test"))),
    };
    if let Some(answer) = answer {
        unsafe { state(context) }.answers.entry((component, method)).or_insert(answer);
    }
    let (status, returned) = match result {
        Ok(value) => (STATUS_OK, Returned::from_value(value)),
        Err(error) => (error.kind as u32, Returned::from_error(error)),
    };
    unsafe { out.write(returned) };
    status
}

unsafe extern "C" fn callout(context: *mut c_void, name: Str, args: *const RawValue, count: usize) -> u32 {
    let args = unsafe { values(args, count) };
    let mut state = unsafe { state(context) };
    if !state.listening {
        return ErrorKind::WouldBlock as u32;
    }
    state.callouts.push((unsafe { name.as_str() }.to_owned(), args));
    STATUS_OK
}
