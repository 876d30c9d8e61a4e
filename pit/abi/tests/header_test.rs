//! The C header and this crate describe the same bytes. markers: unit
//!
//! A C program made from the tables below prints what the header says; each line is compared with what Rust says.
#![allow(clippy::cast_lossless, clippy::unwrap_used)] // constants of several types; an unwrap is an assertion

use std::fmt::Write;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use symphony_pit_abi as abi;

/// Rust type as C type, its fields by their Rust names (and C names where those are keywords or taken).
macro_rules! structs {
    ($( $rust:ty as $c:literal { $( $field:ident $(as $c_field:literal)? ),* $(,)? } )*) => {
        vec![ $(
            (format!("sizeof({})", $c), size_of::<$rust>() as u64),
            $( {
                let name = [$( $c_field, )? stringify!($field)][0];
                (format!("offsetof({}, {name})", $c), offset_of!($rust, $field) as u64)
            }, )*
        )* ]
    };
}

macro_rules! constants {
    ($( $c:literal = $value:expr ),* $(,)?) => { vec![ $( ($c.to_owned(), u64::from($value as u32)) ),* ] };
}

fn layout() -> Vec<(String, u64)> {
    structs! {
        abi::Str as "symphony_str" { ptr, len }
        abi::Span as "symphony_span" { ptr, len }
        abi::Data as "symphony_data" { int as "integer", uint, float as "real", span }
        abi::RawValue as "symphony_value" { tag, kind, data }
        abi::Returned as "symphony_returned" { value, owner, release }
        abi::RawWaker as "symphony_waker" { data, clone, wake, wake_by_ref, drop }
        abi::Operation as "symphony_operation" { size, reserved, poll }
        abi::Param as "symphony_param" { name, type_name, default as "default_literal" }
        abi::Method as "symphony_method" { size, flags, name, params, param_count, returns, doc, call }
        abi::RawRecord as "symphony_record" { position, time, kind, revision, reserved, payload, len }
        abi::HostTable as "symphony_host" {
            size, durable, context, data_dir, append, now, log, flush_to, extension
        }
        abi::AsyncTable as "symphony_async" { size, reserved, sleep_until, cancel_sleep, spawn_blocking }
        abi::CallsTable as "symphony_calls" { size, reserved, call }
        abi::CalloutTable as "symphony_callout" { size, reserved, callout }
        abi::AskTable as "symphony_ask" { size, reserved, ask }
        abi::Entry as "symphony_entry" {
            magic, size, abi_major, abi_minor, id, version, description, methods, method_count, calls, call_count,
            revision, reserved, create, restore, replay, start, snapshot, stop, destroy, extension
        }
    }
}

fn values() -> Vec<(String, u64)> {
    use abi::{ErrorKind, Level, ListKind, Tag};
    constants! {
        "SYMPHONY_PIT_ABI_MAJOR" = abi::ABI_MAJOR, "SYMPHONY_PIT_ABI_MINOR" = abi::ABI_MINOR,
        "SYMPHONY_OK" = abi::STATUS_OK, "SYMPHONY_PENDING" = abi::STATUS_PENDING,
        "SYMPHONY_END" = abi::STATUS_END,
        "SYMPHONY_INVALID_ARGUMENT" = ErrorKind::InvalidArgument, "SYMPHONY_NOT_FOUND" = ErrorKind::NotFound,
        "SYMPHONY_EXHAUSTED" = ErrorKind::Exhausted, "SYMPHONY_CONFLICT" = ErrorKind::Conflict,
        "SYMPHONY_WOULD_BLOCK" = ErrorKind::WouldBlock, "SYMPHONY_CANCELLED" = ErrorKind::Cancelled,
        "SYMPHONY_TIMED_OUT" = ErrorKind::TimedOut, "SYMPHONY_IO" = ErrorKind::Io,
        "SYMPHONY_CORRUPT" = ErrorKind::Corrupt, "SYMPHONY_INTERNAL" = ErrorKind::Internal,
        "SYMPHONY_PANIC" = ErrorKind::Panic, "SYMPHONY_WRONG_TYPE" = ErrorKind::WrongType,
        "SYMPHONY_NONE" = Tag::None, "SYMPHONY_BOOL" = Tag::Bool, "SYMPHONY_INT" = Tag::Int,
        "SYMPHONY_UINT" = Tag::UInt, "SYMPHONY_FLOAT" = Tag::Float, "SYMPHONY_TEXT" = Tag::Str,
        "SYMPHONY_BYTES" = Tag::Bytes, "SYMPHONY_LIST" = Tag::List, "SYMPHONY_MAP" = Tag::Map,
        "SYMPHONY_BUFFER" = Tag::Buffer, "SYMPHONY_ERROR" = Tag::Error, "SYMPHONY_HANDLE" = Tag::Handle,
        "SYMPHONY_BIG" = Tag::Big, "SYMPHONY_EXTENSION" = Tag::Extension,
        "SYMPHONY_KIND_LIST" = ListKind::List, "SYMPHONY_KIND_TUPLE" = ListKind::Tuple,
        "SYMPHONY_KIND_SET" = ListKind::Set, "SYMPHONY_KIND_FROZENSET" = ListKind::FrozenSet,
        "SYMPHONY_FAST" = abi::FLAG_FAST, "SYMPHONY_BLOCKING" = abi::FLAG_BLOCKING,
        "SYMPHONY_ASYNC" = abi::FLAG_ASYNC, "SYMPHONY_STREAM" = abi::FLAG_STREAM,
        "SYMPHONY_WAITING" = abi::FLAG_WAITING,
        "SYMPHONY_DEBUG" = Level::Debug, "SYMPHONY_INFO" = Level::Info, "SYMPHONY_WARNING" = Level::Warning,
        "SYMPHONY_SEVERE" = Level::Error,
    }
}

fn texts() -> [(&'static str, &'static str); 5] {
    [
        ("SYMPHONY_PIT_MAGIC", std::str::from_utf8(&abi::MAGIC).unwrap()),
        ("SYMPHONY_ASYNC_EXTENSION", abi::ASYNC_EXTENSION),
        ("SYMPHONY_CALLS_EXTENSION", abi::CALLS_EXTENSION),
        ("SYMPHONY_CALLOUT_EXTENSION", abi::CALLOUT_EXTENSION),
        ("SYMPHONY_ASK_EXTENSION", abi::ASK_EXTENSION),
    ]
}

fn include() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../include")
}

#[test]
fn the_header_and_the_crate_have_one_layout() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("layout.c"), folder.path().join("layout"));
    let numbers: Vec<(String, u64)> = layout().into_iter().chain(values()).collect();
    let mut code = "#include <stdio.h>\n#include \"symphony_pit.h\"\nint main(void) {\n".to_owned();
    for (name, _) in &numbers {
        writeln!(code, "  printf(\"%llu\\n\", (unsigned long long)({name}));").unwrap();
    }
    for (name, _) in texts() {
        writeln!(code, "  puts({name});").unwrap();
    }
    code.push_str("  return 0;\n}\n");
    std::fs::write(&source, code).unwrap();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(include())
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
    let mut lines = printed.lines();
    for (name, expected) in numbers {
        assert_eq!(lines.next(), Some(expected.to_string().as_str()), "{name}");
    }
    for (name, expected) in texts() {
        assert_eq!(lines.next(), Some(expected), "{name}");
    }
}

#[test]
fn every_name_of_the_header_is_compared() {
    let header = std::fs::read_to_string(include().join("symphony_pit.h")).unwrap();
    let compared: Vec<String> = layout().into_iter().chain(values()).map(|(name, _)| name).collect();
    let words = header.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words.filter(|word| word.starts_with("SYMPHONY_") || word.starts_with("symphony_")) {
        let known = compared.iter().any(|name| name == word || name.contains(&format!("({word}")))
            || texts().iter().any(|(name, _)| *name == word);
        let other = [
            "SYMPHONY_PIT_H",
            "SYMPHONY_STR",
            "SYMPHONY_EXPORT",
            "symphony_pit_entry_v1",
            "symphony_pit",
            "symphony_status",
            "symphony_tag",
            "symphony_list_kind",
            "symphony_flag",
            "symphony_level",
        ];
        assert!(known || other.contains(&word), "{word} is in the header and in no comparison");
    }
}

#[test]
fn every_function_of_the_header_says_where_it_is_called_and_how_it_fails() {
    let header = std::fs::read_to_string(include().join("symphony_pit.h")).unwrap();
    let (mut comment, mut inside, mut functions) = (String::new(), false, 0);
    for line in header.lines() {
        if line.trim_start().starts_with("/*") {
            comment.clear();
            inside = true;
        }
        if inside {
            comment.push_str(line);
            inside = !line.contains("*/");
            continue;
        }
        if let Some((_, rest)) = line.split_once("(*") {
            functions += 1;
            let name = rest.split(')').next().unwrap();
            let tagged =
                ["[any thread]", "[one at a time]", "[start]"].iter().any(|tag| comment.contains(tag));
            assert!(tagged, "{name}: on which thread? {comment}");
            assert!(
                comment.contains("Fails ") || comment.contains("Cannot fail"),
                "{name}: errors? {comment}"
            );
            comment.clear();
        }
    }
    assert_eq!(functions, 26, "a new function is counted here");
}

#[test]
fn the_header_is_also_cxx() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("include.cc");
    std::fs::write(&source, "#include \"symphony_pit.h\"\n").unwrap();
    let Ok(compiled) = Command::new("c++")
        .args(["-fsyntax-only", "-Wall", "-Werror", "-I"])
        .arg(include())
        .arg(&source)
        .output()
    else {
        return; // this machine has no C++ compiler
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}
