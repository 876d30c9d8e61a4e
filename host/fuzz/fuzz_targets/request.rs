//! What a client sends is parsed and checked as far as a method; every answer is JSON on one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symphony_host::control::examine;

fuzz_target!(|bytes: &[u8]| {
    for answer in examine(bytes) {
        assert!(!answer.contains('\n'), "{answer}");
        serde_json::from_str::<serde::de::IgnoredAny>(&answer).expect("an answer is JSON");
    }
});
