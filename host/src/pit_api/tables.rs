//! Whether an entry's tables hold what the header demands: judged once at load, so that nothing behind it need doubt them.
//! An id becomes the name of files, names become attributes, and the bridge has room for so many arguments.

use symphony_pit_abi::{
    Entry, FLAG_ASYNC, FLAG_BLOCKING, FLAG_FAST, FLAG_STREAM, FLAG_WAITING, Method, Param, Str,
};

/// Arguments lie in an array on the bridge's stack.
pub const MAX_PARAMS: usize = 12;
/// Ids are parts of file names.
const MAX_ID: usize = 128;

/// What was expected, and what is there instead.
pub(super) struct Fault {
    pub expected: String,
    pub found: String,
}

fn fault<T>(expected: impl Into<String>, found: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { expected: expected.into(), found: found.into() })
}

/// # Safety
/// `ptr` points to `len` items that live for ever, where it is not null.
unsafe fn items<T>(ptr: *const T, len: usize, what: &str) -> Result<&'static [T], Fault> {
    match (ptr.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, len) => fault(what, format!("null for {len} of them")),
        // SAFETY: promised by the caller.
        (false, len) => Ok(unsafe { std::slice::from_raw_parts(ptr, len) }),
    }
}

fn text(raw: Str, what: &str) -> Result<&'static str, Fault> {
    let expected = format!("{what} as UTF-8 text without zeros");
    // SAFETY: texts of an entry are static.
    let bytes = unsafe { items(raw.ptr, raw.len, &expected)? };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => fault(expected, format!("{:?}", String::from_utf8_lossy(bytes))),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn id(raw: Str, what: &str) -> Result<(), Fault> {
    let id = text(raw, what)?;
    if id.len() <= MAX_ID
        && id.contains('.')
        && id.split('.').all(|part| is_name(part) && !part.starts_with('_'))
    {
        return Ok(());
    }
    fault(format!("{what} such as acme.vectors"), format!("{id:?}"))
}

/// Nothing, or the first fault. `entry` is as large as this ABI's.
pub(super) fn check(entry: &Entry) -> Result<(), Fault> {
    id(entry.id, "an id")?;
    text(entry.version, "a version")?;
    text(entry.description, "a description")?;
    // SAFETY: an entry's tables are static.
    let (methods, calls) = unsafe {
        (
            items(entry.methods, entry.method_count, "methods")?,
            items(entry.calls, entry.call_count, "ids of the components it calls")?,
        )
    };
    for callee in calls {
        id(*callee, "the id of a component it calls")?;
    }
    let mut names: Vec<&str> = Vec::with_capacity(methods.len());
    for method in methods {
        let name = method_name(method)?;
        if names.contains(&name) {
            return fault("methods of different names", format!("two called {name}"));
        }
        names.push(name);
        check_params(name, method)?;
    }
    if entry.restore.is_some() != entry.snapshot.is_some() {
        let (there, missing) =
            if entry.restore.is_some() { ("restore", "snapshot") } else { ("snapshot", "restore") };
        return fault("snapshot and restore, or neither", format!("{there} without {missing}"));
    }
    Ok(())
}

/// What a method can be.
const KINDS: [u32; 5] =
    [FLAG_FAST, FLAG_BLOCKING, FLAG_BLOCKING | FLAG_WAITING, FLAG_ASYNC, FLAG_ASYNC | FLAG_STREAM];

/// Its size tells where the next method begins, so it is compared before anything behind it is read.
fn method_name(method: &Method) -> Result<&'static str, Fault> {
    if method.size as usize != size_of::<Method>() {
        let expected = format!("methods of {} bytes", size_of::<Method>());
        return fault(expected, format!("{} bytes", method.size));
    }
    let name = text(method.name, "a method's name")?;
    if !is_name(name) || name.starts_with('_') {
        return fault("a method's name that is one in Python", format!("{name:?}"));
    }
    if !KINDS.contains(&method.flags) {
        let expected = format!("{name} to be one of FAST, BLOCKING (also WAITING) and ASYNC (also STREAM)");
        return fault(expected, format!("the flags {:#x}", method.flags));
    }
    text(method.doc, &format!("the doc of {name}"))?;
    text(method.returns, &format!("the result type of {name}"))?;
    Ok(name)
}

fn check_params(method: &str, table: &Method) -> Result<(), Fault> {
    // SAFETY: an entry's tables are static.
    let params: &[Param] = unsafe { items(table.params, table.param_count, "parameters")? };
    if params.len() > MAX_PARAMS {
        let expected = format!("at most {MAX_PARAMS} parameters of {method}");
        return fault(expected, params.len().to_string());
    }
    let mut before: Vec<(&str, bool)> = Vec::with_capacity(params.len());
    for param in params {
        let name = text(param.name, &format!("a parameter's name of {method}"))?;
        let required = text(param.default, &format!("the default of {method}'s {name}"))?.is_empty();
        text(param.type_name, &format!("the type of {method}'s {name}"))?;
        if !is_name(name) {
            return fault(
                format!("a parameter's name of {method} that is one in Python"),
                format!("{name:?}"),
            );
        }
        if before.iter().any(|(other, _)| *other == name) {
            return fault(
                format!("parameters of {method} with different names"),
                format!("two called {name}"),
            );
        }
        if required && before.last().is_some_and(|(_, required)| !required) {
            let expected = format!("a default of {method}'s {name}, since one before it has one");
            return fault(expected, "none");
        }
        before.push((name, required));
    }
    Ok(())
}
