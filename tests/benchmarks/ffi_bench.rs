//! Conversions of values, and a Pit call through the method table, by themselves: what of a call from Python they are.
//! `make bench-rust` runs it. Each says first that what it times is right.
#![allow(unsafe_code)] // the bridge's own functions, and the ABI's
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up ends")]

use std::ffi::CStr;
use std::time::Duration;

use divan::{Bencher, black_box};
use pyo3::prelude::*;
use symphony_host::pit_api::{MethodView, Pit};
use symphony_host::types::{Arena, from_raw, to_raw};
use symphony_pit_abi::{RawValue, Returned, STATUS_OK, Tag, Value};
use symphony_pit_journal::Options;

const KINDS: [&str; 8] = ["int", "big int", "float", "str", "bytes", "list", "dict", "nested"];

/// The value of a kind, in Python.
fn source(kind: &str) -> &'static CStr {
    match kind {
        "int" => c"123_456_789",
        "big int" => c"2**80",
        "float" => c"1.5",
        "str" => c"'thirty-two characters of a text.'",
        "bytes" => c"b'x' * 32",
        "list" => c"list(range(100))",
        "dict" => c"{f'key {number}': number for number in range(100)}",
        _ => {
            c"{'steps': [{'name': f'step {at}', 'timeout': at / 2, 'needs': [at, at + 1], 'tags': ('a', None)} for at in range(20)]}"
        }
    }
}

/// The object of a kind, which was there and back.
fn object<'py>(py: Python<'py>, kind: &str) -> Bound<'py, PyAny> {
    let object = py.eval(source(kind), None, None).unwrap();
    let mut arena = Arena::default();
    // SAFETY: a live object; the arena outlives the value. A new reference comes back.
    let back = unsafe {
        let raw = to_raw(object.as_ptr(), &mut arena, false, 0).ok().unwrap();
        Bound::from_owned_ptr(py, from_raw(&raw))
    };
    assert!(back.eq(&object).unwrap() && back.get_type().is(object.get_type()), "{kind}");
    object
}

#[divan::bench(args = KINDS)]
fn from_python(bencher: Bencher<'_, '_>, kind: &str) {
    Python::attach(|py| {
        let object = object(py, kind);
        bencher.bench_local(|| {
            let mut arena = Arena::default();
            // SAFETY: a live object; attached.
            let raw = unsafe { to_raw(black_box(object.as_ptr()), &mut arena, false, 0) };
            black_box(raw.is_ok()) // what was borrowed for the call is given back here
        });
    });
}

#[divan::bench(args = KINDS)]
fn to_python(bencher: Bencher<'_, '_>, kind: &str) {
    Python::attach(|py| {
        let object = object(py, kind);
        let mut arena = Arena::default();
        // SAFETY: a live object; the arena outlives the value.
        let raw = unsafe { to_raw(object.as_ptr(), &mut arena, false, 0) }.ok().unwrap();
        bencher.bench_local(|| {
            // SAFETY: a well-formed value; attached. The new reference is given back at once.
            drop(unsafe { Bound::from_owned_ptr(py, from_raw(black_box(&raw))) });
        });
    });
}

fn text(text: &str) -> RawValue {
    RawValue::span(Tag::Str, text.as_ptr().cast(), text.len())
}

/// Call a method of the component of `tests/fixtures/components/shapes`, which gives `expected`.
fn pit_call(bencher: Bencher<'_, '_>, method: &str, values: &[RawValue], expected: &Value) {
    let program = std::env::current_exe().unwrap(); // in target/release/deps
    let library = program.ancestors().nth(2).unwrap().join("libsymphony_shapes.so");
    let home = tempfile::tempdir().unwrap();
    let pit = Pit::open(home.path(), &[library], Options::default(), Duration::from_secs(10)).unwrap();
    let component = &pit.components()[0];
    let found: Option<MethodView> = component.description.methods().find(|found| found.name() == method);
    let call = found.unwrap().raw.call;
    let called = |out: &mut Returned| {
        // SAFETY: an instance of the method's component, values for its parameters, a place for its result.
        unsafe { call(component.instance(), values.as_ptr(), values.len(), out) }
    };
    let mut out = Returned::EMPTY;
    assert_eq!(called(&mut out), STATUS_OK);
    // SAFETY: a well-formed result, released once after it was read.
    unsafe {
        assert_eq!(symphony_pit_abi::ValueRef::new(&out.value).to_owned(), *expected);
        out.release();
    }
    bencher.bench_local(|| {
        let mut out = Returned::EMPTY;
        let status = called(black_box(&mut out));
        // SAFETY: released once.
        unsafe { out.release() };
        status
    });
    pit.close();
}

#[divan::bench]
fn call_without_arguments(bencher: Bencher<'_, '_>) {
    pit_call(bencher, "ping", &[], &Value::None);
}

#[divan::bench]
fn call_with_text_and_number(bencher: Bencher<'_, '_>) {
    pit_call(bencher, "add", &[text("abc"), RawValue::int(4)], &Value::Int(7));
}

#[divan::bench]
fn call_with_a_list_of_100(bencher: Bencher<'_, '_>) {
    let items: Vec<RawValue> = (0..100).map(RawValue::int).collect();
    let list = RawValue::span(Tag::List, items.as_ptr().cast(), items.len());
    pit_call(bencher, "echo", &[list], &Value::List((0..100).map(Value::Int).collect()));
}

fn main() {
    Python::initialize();
    divan::main();
}
