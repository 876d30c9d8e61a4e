//! One line from a client: the request that it is, a batch of them, or the reason why it is none.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Failure, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};
use crate::frames::MAX_FRAME;
use crate::json::{Fields, Json, Object};

/// How deep lists and objects may be nested: what reads them recursively takes more, Python's reader a thousand.
pub const MAX_DEPTH: usize = 256;
/// Requests of a batch.
pub const MAX_BATCH: usize = 256;

/// A request, or a failure with the id to answer to.
pub(super) type Parsed = Result<Request, (Json, Failure)>;

/// What a line holds.
pub(super) enum Message {
    Nothing,
    Single(Parsed),
    Batch(Vec<Parsed>),
}

pub(super) struct Request {
    /// None for a notification, which gets no answer.
    pub id: Option<Json>,
    pub method: String,
    pub parameters: Fields,
}

fn null() -> Json {
    Json::from(Value::Null)
}

fn no_request(message: impl Into<String>) -> (Json, Failure) {
    (null(), Failure::invalid(message).code(INVALID_REQUEST))
}

impl Message {
    pub fn parse(line: &[u8]) -> Self {
        let Some(first) = line.iter().find(|byte| !byte.is_ascii_whitespace()) else { return Self::Nothing };
        if too_deep(line) {
            return Self::Single(Err(no_request(format!("a request is nested at most {MAX_DEPTH} deep"))));
        }
        if *first != b'[' {
            return Self::Single(Request::parse(line));
        }
        match serde_json::from_slice::<Vec<&RawValue>>(line) {
            Err(error) => Self::Single(Err((null(), no_json(&error)))),
            Ok(requests) if requests.is_empty() => Self::Single(Err(no_request("a batch has a request"))),
            Ok(requests) if requests.len() > MAX_BATCH => {
                Self::Single(Err(no_request(format!("a batch has at most {MAX_BATCH} requests"))))
            }
            Ok(requests) => {
                Self::Batch(requests.iter().map(|raw| Request::parse(raw.get().as_bytes())).collect())
            }
        }
    }

    /// Instead of a line that was too long to be kept.
    pub fn too_long() -> Self {
        Self::Single(Err(no_request("a request has at most 16 MiB")))
    }
}

/// Brackets are counted before anything recursive sees them; in a string they mean nothing.
fn too_deep(line: &[u8]) -> bool {
    let (mut depth, mut string, mut escaped) = (0_usize, false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            b'[' | b'{' if !string => depth += 1,
            b']' | b'}' if !string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

impl Request {
    fn parse(line: &[u8]) -> Parsed {
        let Some(fields) = Fields::parse(line) else {
            return Err((null(), unreadable(line)));
        };
        let id = fields.raw("id").map(Json::from);
        let valid = |id: &Json| matches!(id.value(), Value::String(_) | Value::Number(_) | Value::Null);
        if !id.as_ref().is_none_or(valid) {
            return Err(no_request("id must be a string, a number or null"));
        }
        let wrong = |message: &str, code| {
            Err((id.clone().unwrap_or_else(null), Failure::invalid(message).code(code)))
        };
        if fields.optional_str("jsonrpc").ok().flatten().as_deref() != Some("2.0") {
            return wrong("this is no JSON-RPC 2.0 request: jsonrpc must be \"2.0\"", INVALID_REQUEST);
        }
        let Ok(method) = fields.str("method") else {
            return wrong("method must be a string", INVALID_REQUEST);
        };
        let parameters = match fields.get("params") {
            None => Some(Fields::default()),
            Some(raw) => Fields::parse(raw.get().as_bytes()),
        };
        let Some(parameters) = parameters else {
            return wrong("params must be an object", INVALID_PARAMS);
        };
        Ok(Self { id, method, parameters })
    }
}

fn unreadable(line: &[u8]) -> Failure {
    match serde_json::from_slice::<&RawValue>(line) {
        Ok(_) => Failure::invalid("a request is one JSON object").code(INVALID_REQUEST),
        Err(error) => no_json(&error),
    }
}

fn no_json(error: &serde_json::Error) -> Failure {
    Failure::invalid(format!("this is no JSON: {error}")).code(PARSE_ERROR)
}

/// The document that answers the request `id`, without the end of its line.
pub(super) fn answer(id: &Json, result: &Result<Json, Failure>) -> String {
    let begun = || Object::default().field("jsonrpc", "2.0").raw("id", id);
    let failed = |failure: &Failure| begun().field("error", failure.rpc()).finish().into_text();
    let whole = match result {
        Ok(result) => begun().raw("result", result).finish().into_text(),
        Err(failure) => failed(failure),
    };
    if whole.len() < MAX_FRAME {
        return whole;
    }
    failed(
        &Failure::invalid(format!("the answer has {} bytes, a line has at most 16 MiB", whole.len()))
            .hint("ask for a part of it"),
    )
}

/// The answers of a batch as one document.
pub(super) fn batch(answers: &[String]) -> String {
    let whole = format!("[{}]", answers.join(","));
    if whole.len() < MAX_FRAME {
        return whole;
    }
    let failure =
        Failure::invalid(format!("the answers have {} bytes, a line has at most 16 MiB", whole.len()));
    answer(&null(), &Err(failure.hint("ask one by one")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    #[test]
    fn what_is_no_request_gets_the_code_of_the_protocol() {
        let code = |line: &str| match Message::parse(line.as_bytes()) {
            Message::Single(Err((id, failure))) => Some((id.text().to_owned(), failure.code)),
            _ => None,
        };
        let null = || "null".to_owned();
        assert_eq!(code("{"), Some((null(), PARSE_ERROR)));
        assert_eq!(code("[1,"), Some((null(), PARSE_ERROR)));
        assert_eq!(code("[]"), Some((null(), INVALID_REQUEST)));
        assert_eq!(code(&format!("[{}1]", "1,".repeat(MAX_BATCH))), Some((null(), INVALID_REQUEST)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":[],"method":"m"}"#), Some((null(), INVALID_REQUEST)));
        assert_eq!(code(r#"{"id":"a","method":"m"}"#), Some((r#""a""#.to_owned(), INVALID_REQUEST)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":7,"method":7}"#), Some(("7".to_owned(), INVALID_REQUEST)));
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","id":7,"method":"m","params":[]}"#),
            Some(("7".to_owned(), INVALID_PARAMS))
        );
        assert!(matches!(Message::parse(b" \t"), Message::Nothing));
    }

    fn request(line: &str) -> Request {
        match Message::parse(line.as_bytes()) {
            Message::Single(Ok(request)) => request,
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn a_request_keeps_its_id_as_it_was_written() {
        let parsed = request(r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"run":"a"}}"#);
        assert_eq!((parsed.method.as_str(), parsed.parameters.str("run").unwrap()), ("m", "a".to_owned()));
        for id in ["7.50", "null", r#""\u00e4""#, "1180591620717411303424", "-1e3"] {
            let parsed = request(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#));
            assert_eq!(parsed.id.unwrap().text(), id);
        }
        assert!(request(r#"{"jsonrpc":"2.0","method":"m"}"#).id.is_none());
    }

    #[test]
    fn nesting_is_limited_but_not_in_strings() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"a":{open}{close}}}}}"#)
        };
        request(&nested(MAX_DEPTH - 2));
        assert!(matches!(Message::parse(nested(MAX_DEPTH - 1).as_bytes()), Message::Single(Err(_))));
        let brackets = "[".repeat(1000);
        request(&format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"a":"\"\\{brackets}"}}}}"#));
    }

    #[test]
    fn each_of_a_batch_is_taken_by_itself() {
        let line = br#"[{"jsonrpc":"2.0","id":1,"method":"m"}, 5, {"jsonrpc":"2.0","method":"n"}]"#;
        let Message::Batch(parsed) = Message::parse(line) else { panic!("no batch") };
        let shown: Vec<_> =
            parsed.iter().map(|parsed| parsed.as_ref().map(|it| it.method.as_str()).ok()).collect();
        assert_eq!(shown, [Some("m"), None, Some("n")]);
        assert_eq!(batch(&["1".to_owned(), "2".to_owned()]), "[1,2]");
    }

    #[test]
    fn an_answer_that_no_client_would_take_is_an_error() {
        let large = Json::from(Value::from("x".repeat(MAX_FRAME)));
        let text = answer(&Json::from(Value::from(1)), &Ok(large));
        assert!(text.len() < 1000 && text.contains("a line has at most 16 MiB"), "{text}");
    }
}
