//! What a Rust component does wrong stays an answer of that call. markers: unit
#![allow(unsafe_code)] // calls the glue as the host does

use symphony_pit_abi::{
    self as abi, Component, Error, ErrorKind, Host, HostTable, Record, Result, Returned, Str,
};

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
    let table = Box::leak(Box::new(HostTable {
        size: 0,
        durable: 0,
        context: std::ptr::null_mut(),
        data_dir: Str::new(""),
        append,
        now,
        log,
        flush_to,
        extension,
    }));
    let mut out = Returned::EMPTY;
    // SAFETY: a table that lives for ever; the error is read once and released.
    let error = unsafe {
        assert!(abi::create::<Panics>(table, &raw mut out).is_null());
        let error = out.to_error(ErrorKind::Internal as u32);
        out.release();
        error
    };
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Panic, "no luck today"));
}

#[test]
fn an_error_crosses_with_its_context_and_the_chain_of_its_causes() {
    let parse = "soon".parse::<u32>().map_err(std::io::Error::other).err();
    let middle =
        parse.map(|parse| Error::corrupt("the header is bad").with("file", "a.idx").caused_by(&parse));
    let error = middle.map(|middle| Error::conflict("the index cannot be opened").caused_by(&middle));
    let Some(error) = error else { panic!("soon is no number") };
    let mut out = Returned::from_error(error.clone());
    // SAFETY: read once and released.
    let back = unsafe {
        let back = out.to_error(ErrorKind::Conflict as u32);
        out.release();
        back
    };
    assert_eq!(back, error);
    let chain: Vec<String> = std::iter::successors(Some(&back), |error| error.source.as_deref())
        .map(|error| format!("{:?}: {error}", error.kind))
        .collect();
    assert_eq!(
        chain,
        [
            "Conflict: the index cannot be opened",
            "Corrupt: the header is bad (file: a.idx)",
            "Io: invalid digit found in string",
        ]
    );
}
