//! A segment of arbitrary bytes is looked at, and recovered by a writer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symphony_pit_journal::{Log, Options, examine};

fuzz_target!(|bytes: &[u8]| {
    let told = examine(bytes);
    let pit = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(pit.path().join("log")).expect("a folder");
    std::fs::write(pit.path().join("log/00000000.seg"), bytes).expect("a file");
    let log = Log::open(pit.path(), Options::default()).expect("damage is no error");
    assert_eq!(told.damage.is_some(), !log.damage().is_empty());
    log.component("fuzz").expect("the log goes on");
});
