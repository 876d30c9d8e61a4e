//! What a Rust component does wrong stays an answer of that call. markers: unit
#![allow(unsafe_code)] // calls the glue as the host does

use symphony_pit_abi::{self as abi, Component, ErrorKind, Host, HostTable, Record, Result, Returned, Str};

struct Panics;

impl Component for Panics {
    fn create(_host: Host) -> Result<Self> {
        panic!("no luck today")
    }

    fn replay(&self, _record: &Record<'_>) -> Result<()> {
        Ok(())
    }
}

unsafe extern "C" fn append(_: *mut std::ffi::c_void, _: u16, _: u16, _: i64, _: *const u8, _: usize) -> i64 {
    0
}
unsafe extern "C" fn now(_: *mut std::ffi::c_void) -> i64 {
    0
}
unsafe extern "C" fn log(_: *mut std::ffi::c_void, _: u32, _: Str) {}
unsafe extern "C" fn flush_to(_: *mut std::ffi::c_void, _: u64) -> u32 {
    0
}
unsafe extern "C" fn extension(_: *mut std::ffi::c_void, _: Str) -> *const std::ffi::c_void {
    std::ptr::null()
}

#[test]
fn a_create_that_panics_gives_no_instance_and_says_so() {
    let table = HostTable {
        size: 0,
        durable: 0,
        context: std::ptr::null_mut(),
        data_dir: Str::new(""),
        append,
        now,
        log,
        flush_to,
        extension,
    };
    let mut out = Returned::EMPTY;
    // SAFETY: a table that outlives the call, and no instance came of it; the error is read once and released.
    let error = unsafe {
        assert!(abi::create::<Panics>(&raw const table, &raw mut out).is_null());
        let error = out.to_error(ErrorKind::Internal as u32);
        out.release();
        error
    };
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Panic, "no luck today"));
}
