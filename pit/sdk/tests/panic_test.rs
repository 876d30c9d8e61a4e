//! A component that panics wherever it can, called through its exported table: each time the call alone fails. markers: unit
#![allow(unsafe_code, clippy::unwrap_used, clippy::panic)] // calls through the table; panics are what is tested

use std::ffi::c_void;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use symphony_pit::abi::{self, RawRecord, RawValue, Returned, STATUS_OK, STATUS_PENDING};
use symphony_pit::testing::TestHost;
use symphony_pit::{Component, Error, ErrorKind, Host, Record, Result, Value, ValueRef, pit_component};

/// No test takes so long that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Panics in the call that its data folder is named after.
struct Fragile {
    host: Host,
}

/// Panics where it is dropped.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("the trap sprang");
    }
}

/// A future that is done at once, and that panics where it is dropped.
struct Leftover(Trap);

impl Future for Leftover {
    type Output = Result<Value>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<Value>> {
        Poll::Ready(Ok(Value::Int(4)))
    }
}

impl Fragile {
    fn risk(&self, call: &str) {
        assert!(self.host.data_dir() != call, "out of luck in {call}");
    }
}

#[pit_component(id = "test.fragile", description = "For tests", revision = 1)]
impl Fragile {
    /// Panic with a text made on the way, a plain one, none, or not at all.
    #[pit_method]
    fn method(&self, way: u32) -> Result<u32> {
        match way {
            0 => panic!("number {way} fell"),
            1 => panic!("fell"),
            2 => std::panic::panic_any(7_u8),
            _ => Ok(way),
        }
    }

    /// Panic after waiting.
    #[pit_method]
    async fn later(self: Arc<Self>, when: i64) -> Result<()> {
        self.host.sleep_until(when).await;
        self.risk("nowhere");
        panic!("fell at {when}")
    }

    /// Panic on another thread.
    #[pit_method]
    async fn blocking(self: Arc<Self>) -> Result<()> {
        self.host.run_blocking(|| panic!("fell elsewhere")).await
    }

    /// Leave something behind that panics when it is dropped.
    #[pit_method]
    async fn trapped(self: Arc<Self>, when: i64) -> Result<()> {
        let _trap = Trap;
        self.host.sleep_until(when).await;
        Ok(())
    }
}

impl Component for Fragile {
    fn create(host: Host) -> Result<Self> {
        let this = Self { host };
        this.risk("create");
        if host.data_dir() == "refused" {
            return Err(Error::conflict("not today").with("state", "closed"));
        }
        Ok(this)
    }

    fn restore(&self, _snapshot: &[u8]) -> Result<()> {
        self.risk("restore");
        Ok(())
    }

    fn replay(&self, _record: &Record<'_>) -> Result<()> {
        self.risk("replay");
        Ok(())
    }

    fn start(&self) -> Result<()> {
        self.risk("start");
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        self.risk("snapshot");
        Ok(Some(b"whole".to_vec()))
    }

    fn stop(&self) {
        self.risk("stop");
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.risk("drop");
    }
}

fn entry() -> &'static abi::Entry {
    unsafe extern "C" {
        #[link_name = "symphony_pit_entry_v1"]
        static ENTRY: abi::Entry;
    }
    unsafe { &ENTRY }
}

fn create(folder: &str) -> (TestHost, std::result::Result<*mut c_void, Error>) {
    let host = TestHost::new(Path::new(folder));
    let mut out = Returned::EMPTY;
    let instance = unsafe { (entry().create)(host.table(), &raw mut out) };
    if !instance.is_null() {
        return (host, Ok(instance));
    }
    // No status goes with it: the error itself says of which kind it is.
    (host, Err(take(ErrorKind::Internal as u32, out).unwrap_err()))
}

fn take(status: u32, mut out: Returned) -> std::result::Result<Value, Error> {
    unsafe {
        let result = match status {
            STATUS_OK => Ok(ValueRef::new(&out.value).to_owned()),
            status => Err(out.to_error(status)),
        };
        out.release();
        result
    }
}

fn call(instance: *mut c_void, name: &str, args: &[Value]) -> (u32, Returned) {
    let methods = unsafe { std::slice::from_raw_parts(entry().methods, entry().method_count) };
    let method = methods.iter().find(|method| unsafe { method.name.as_str() } == name).unwrap();
    let mut out = Returned::EMPTY;
    let status = abi::with_raw(args, |raw: &[RawValue]| unsafe {
        (method.call)(instance, raw.as_ptr(), raw.len(), &raw mut out)
    });
    (status, out)
}

fn method(instance: *mut c_void, way: i64) -> std::result::Result<Value, Error> {
    let (status, out) = call(instance, "method", &[Value::Int(way)]);
    take(status, out)
}

fn poll(operation: &Returned, waker: &Waker) -> (u32, Returned) {
    let operation: *mut abi::Operation = operation.owner.cast();
    let (waker, mut result) = (abi::raw_waker(waker), Returned::EMPTY);
    let status = unsafe { ((*operation).poll)(operation, &raw const waker, &raw mut result) };
    (status, result)
}

fn assert_panicked(result: std::result::Result<Value, Error>, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Panic, message));
    let place = error.context.iter().find(|(key, _)| key == "location").map(|(_, place)| place.as_str());
    assert!(place.is_some_and(|place| place.contains("panic_test.rs:")), "{place:?}");
}

#[test]
fn a_create_that_panics_or_refuses_gives_no_instance_and_says_why() {
    assert_panicked(create("create").1.map(|_| Value::None), "out of luck in create");
    let refused = create("refused").1.unwrap_err();
    assert_eq!(refused, Error::conflict("not today").with("state", "closed"));
}

#[test]
fn a_panic_in_any_call_of_a_life_is_its_error_and_the_instance_lives_on() {
    let record = RawRecord {
        position: 0,
        time: 0,
        kind: 1,
        revision: 1,
        reserved: 0,
        payload: std::ptr::null(),
        len: 0,
    };
    for folder in ["restore", "replay", "start", "snapshot", "stop", "drop", "none"] {
        let instance = create(folder).1.unwrap();
        let expect = |call: &str, status: u32, out: Returned| match take(status, out) {
            result if call == folder => assert_panicked(result, &format!("out of luck in {call}")),
            result => assert!(result.is_ok(), "{call} in {folder}"),
        };
        unsafe {
            let mut out = Returned::EMPTY;
            let status = (entry().restore.unwrap())(instance, b"x".as_ptr(), 1, &raw mut out);
            expect("restore", status, out);
            let mut out = Returned::EMPTY;
            let status = (entry().replay.unwrap())(instance, &raw const record, &raw mut out);
            expect("replay", status, out);
            let mut out = Returned::EMPTY;
            let status = (entry().snapshot.unwrap())(instance, &raw mut out);
            expect("snapshot", status, out);
            let mut out = Returned::EMPTY;
            let status = (entry().start.unwrap())(instance, &raw mut out);
            expect("start", status, out);
            assert_eq!(method(instance, 3), Ok(Value::Int(3)), "{folder}");
            // Neither has an error to give: that they return at all is what counts.
            (entry().stop.unwrap())(instance);
            (entry().destroy)(instance);
        }
    }
}

#[test]
fn a_panic_in_a_method_is_its_error_with_the_message() {
    let instance = create("none").1.unwrap();
    for (way, message) in [(0, "number 0 fell"), (1, "fell"), (2, "unknown panic")] {
        assert_panicked(method(instance, way), message);
    }
    assert_eq!(method(instance, 9), Ok(Value::Int(9)));
    unsafe { (entry().destroy)(instance) };
}

#[test]
fn a_panic_while_an_operation_is_polled_is_its_error_with_the_message() {
    let (host, instance) = create("none");
    let instance = instance.unwrap();
    let (status, mut operation) = call(instance, "later", &[Value::Int(5_000_000)]);
    assert_eq!(status, STATUS_OK);
    assert_eq!(poll(&operation, Waker::noop()).0, STATUS_PENDING);
    host.set_now(5_000_000);
    let (status, out) = poll(&operation, Waker::noop());
    assert_panicked(take(status, out), "fell at 5000000");
    assert_eq!(
        poll(&operation, Waker::noop()).0,
        STATUS_PENDING,
        "it is over: there is nothing more to give"
    );
    assert_eq!(method(instance, 3), Ok(Value::Int(3)));
    unsafe {
        operation.release();
        (entry().destroy)(instance);
    }
}

struct Woken(AtomicBool, std::thread::Thread);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
        self.1.unpark();
    }
}

#[test]
fn a_panic_on_the_thread_of_an_operation_is_its_error_with_the_message() {
    let instance = create("none").1.unwrap();
    let (_, mut operation) = call(instance, "blocking", &[]);
    let woken = Arc::new(Woken(AtomicBool::new(false), std::thread::current()));
    let (mut status, mut out) = poll(&operation, &Waker::from(Arc::clone(&woken)));
    let since = Instant::now();
    while status == STATUS_PENDING {
        while !woken.0.swap(false, Ordering::Acquire) {
            assert!(since.elapsed() < PATIENCE, "the operation is never woken");
            std::thread::park_timeout(PATIENCE);
        }
        (status, out) = poll(&operation, &Waker::from(Arc::clone(&woken)));
    }
    assert_panicked(take(status, out), "fell elsewhere");
    unsafe {
        operation.release();
        (entry().destroy)(instance);
    }
}

#[test]
fn a_panic_while_an_operation_is_dropped_stays_inside() {
    let (host, instance) = create("none");
    let instance = instance.unwrap();
    let (_, mut cancelled) = call(instance, "trapped", &[Value::Int(5_000_000)]);
    let (_, mut finished) = call(instance, "trapped", &[Value::Int(5_000_000)]);
    for operation in [&cancelled, &finished] {
        assert_eq!(poll(operation, Waker::noop()).0, STATUS_PENDING);
    }
    unsafe { cancelled.release() };
    host.set_now(5_000_000);
    let (status, out) = poll(&finished, Waker::noop());
    assert_panicked(take(status, out), "the trap sprang");
    unsafe {
        finished.release();
        (entry().destroy)(instance);
    }
}

#[test]
fn a_panic_in_what_is_left_of_a_finished_operation_takes_nothing_from_its_result() {
    let mut operation = abi::operation(Box::pin(Leftover(Trap)));
    let (status, out) = poll(&operation, Waker::noop());
    assert_eq!(take(status, out), Ok(Value::Int(4)));
    unsafe { operation.release() };
}
