//! What the host answers when it cannot do what was asked: type, message, hint and exit code, as in `symphony.errors`.
//!
//! The same failure goes to clients as a JSON-RPC error and to the terminal as one line; it is made once, where it is known.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

pub type Result<T> = std::result::Result<T, Failure>;

/// JSON-RPC's own codes; everything of Symphony has `APPLICATION`.
pub const PARSE_ERROR: i64 = -32_700;
pub const INVALID_REQUEST: i64 = -32_600;
pub const METHOD_NOT_FOUND: i64 = -32_601;
pub const INVALID_PARAMS: i64 = -32_602;
const APPLICATION: i64 = -32_000;

/// One failure. `kind` is the class name in `symphony.errors`, `exit` the exit code of the command that meets it.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: i64,
    pub kind: Cow<'static, str>,
    pub message: String,
    pub hint: String,
    pub exit: u8,
    /// Further fields of `data`, such as the last lines of the interpreter's output.
    more: Option<Box<Map<String, Value>>>,
}

/// What to do about a full disk.
pub const FREE_SPACE: &str = "free space, or choose another home with --home DIR";

/// The exit code of a class of `symphony.errors`.
fn exit_of(kind: &str) -> u8 {
    match kind {
        "InvalidInput" | "ConversionError" | "PitInvalidArgument" | "PitWrongType" => 2,
        "NotFound" | "PitNotFound" | "TypeMissing" => 3,
        "PluginBroken" | "InterpreterDied" | "Quarantined" => 4,
        "Incompatible" => 5,
        "Conflict" | "PitUnavailable" => 6,
        "IndexUnreachable" => 7,
        "Refused" => 8,
        "HostUnavailable" => 9,
        _ => 1,
    }
}

impl Failure {
    /// `kind` as a class of `symphony.errors`, whose exit code it gets.
    pub fn new(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (kind, message) = (kind.into(), message.into());
        let exit = exit_of(&kind);
        Self { code: APPLICATION, kind, message, hint: String::new(), exit, more: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidInput", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("NotFound", message)
    }

    pub fn died(message: impl Into<String>) -> Self {
        Self::new("InterpreterDied", message)
    }

    pub fn incompatible(message: impl Into<String>) -> Self {
        Self::new("Incompatible", message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new("Conflict", message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new("Refused", message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new("HostUnavailable", message)
    }

    /// A home, or a file in it, that cannot be written: says what to free or change.
    pub fn unusable(path: &Path, error: &io::Error) -> Self {
        let elsewhere = "choose another home with --home DIR";
        let (reason, hint) = match error.raw_os_error() {
            Some(libc::ENOSPC) => ("the disk is full".to_owned(), FREE_SPACE),
            Some(libc::EDQUOT) => ("your disk quota is used up".to_owned(), FREE_SPACE),
            Some(libc::EROFS) => ("the file system is read-only".to_owned(), elsewhere),
            Some(libc::EACCES | libc::EPERM) => ("permission denied".to_owned(), elsewhere),
            Some(libc::ENOTDIR) => ("a part of the path is a file".to_owned(), elsewhere),
            _ => (error.to_string(), elsewhere),
        };
        Self::unavailable(format!("{}: {reason}", path.display())).hint(hint)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same failure in other words.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    #[must_use]
    pub fn code(mut self, code: i64) -> Self {
        self.code = code;
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// The `error` member of a JSON-RPC answer.
    pub fn rpc(&self) -> Value {
        let mut data = Map::new();
        data.insert("type".to_owned(), json!(self.kind));
        data.insert("hint".to_owned(), json!(self.hint));
        data.insert("exit".to_owned(), json!(self.exit));
        data.extend(self.more.iter().flat_map(|more| more.as_ref().clone()));
        json!({"code": self.code, "message": self.message, "data": data})
    }

    /// What goes to a terminal or a parent process.
    pub fn document(&self) -> Value {
        json!({"type": self.kind, "message": self.message, "hint": self.hint, "exit": self.exit})
    }

    /// The failure that `document` describes.
    pub fn from_document(error: &Value) -> Self {
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        let exit = error["exit"].as_u64().and_then(|exit| u8::try_from(exit).ok()).unwrap_or(1);
        Self { exit, ..Self::new(text("type"), text("message")).hint(text("hint")) }
    }

    /// The failure that another process reported as a JSON-RPC error.
    pub fn from_rpc(error: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let data = &error["data"];
        let kind = data["type"].as_str().unwrap_or("SymphonyError").to_owned();
        let mut more = data.as_object().cloned().unwrap_or_default();
        more.retain(|name, _| !matches!(name.as_str(), "type" | "hint" | "exit"));
        Self {
            code: error["code"].as_i64().unwrap_or(APPLICATION),
            kind: Cow::Owned(kind),
            message: text(&error["message"]),
            hint: text(&data["hint"]),
            exit: data["exit"].as_u64().and_then(|exit| u8::try_from(exit).ok()).unwrap_or(1),
            more: (!more.is_empty()).then(|| Box::new(more)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use std::collections::HashMap;

    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_python_classes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/symphony/errors.py");
        let text = std::fs::read_to_string(path).unwrap();
        let mut codes = HashMap::from([("Exception", 1)]);
        let mut class = "";
        for line in text.lines() {
            if let Some((name, bases)) = line.strip_prefix("class ").and_then(|line| line.split_once('(')) {
                class = name;
                let base = bases.split([',', ')']).next().unwrap();
                codes.insert(class, codes[base]);
            } else if let Some((_, code)) =
                line.trim().strip_prefix("exit_code").and_then(|rest| rest.split_once("= "))
            {
                codes.insert(class, code.parse().unwrap());
            }
        }
        assert!(codes.len() > 20, "{codes:?}");
        for (class, code) in codes {
            assert_eq!(Failure::new(class.to_owned(), "").exit, code, "{class}");
        }
    }
}
