//! One line from a client, as the request it is, or the reason why it is none.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Failure, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};
use crate::json::{Fields, Json, Object};

pub(super) struct Request {
    /// None for a notification, which gets no answer.
    pub id: Option<Json>,
    pub method: String,
    pub parameters: Fields,
}

impl Request {
    /// A failure comes with the id to answer to.
    pub fn parse(line: &[u8]) -> Result<Self, (Json, Failure)> {
        let nobody = || Json::from(Value::Null);
        let Some(fields) = Fields::parse(line) else {
            return Err((nobody(), unreadable(line)));
        };
        let id = fields.json("id").filter(|id| matches!(id.value(), Value::String(_) | Value::Number(_)));
        let wrong = |message: &str| {
            let failure = Failure::invalid(message).code(INVALID_REQUEST);
            (id.clone().unwrap_or_else(nobody), failure)
        };
        if fields.has("id") && id.is_none() {
            return Err(wrong("id must be a string or a number"));
        }
        if fields.optional_str("jsonrpc").ok().flatten().as_deref() != Some("2.0") {
            return Err(wrong("this is no JSON-RPC 2.0 request: jsonrpc must be \"2.0\""));
        }
        let Ok(method) = fields.str("method") else {
            return Err(wrong("method must be a string"));
        };
        let parameters = match fields.get("params") {
            None => Some(Fields::default()),
            Some(raw) => Fields::parse(raw.get().as_bytes()),
        };
        let Some(parameters) = parameters else {
            let failure = Failure::invalid("params must be an object").code(INVALID_PARAMS);
            return Err((id.unwrap_or_else(nobody), failure));
        };
        Ok(Self { id, method, parameters })
    }
}

fn unreadable(line: &[u8]) -> Failure {
    match serde_json::from_slice::<&RawValue>(line) {
        Ok(_) => Failure::invalid("a request is one JSON object").code(INVALID_REQUEST),
        Err(error) => Failure::invalid(format!("this is no JSON: {error}")).code(PARSE_ERROR),
    }
}

/// The line that answers the request `id`.
pub(super) fn answer(id: &Json, result: &Result<Json, Failure>) -> String {
    let begun = Object::default().field("jsonrpc", "2.0").raw("id", id);
    let whole = match result {
        Ok(result) => begun.raw("result", result),
        Err(failure) => begun.field("error", failure.rpc()),
    };
    format!("{}\n", whole.finish().text())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    #[test]
    fn what_is_no_request_gets_the_code_of_the_protocol() {
        let code = |line: &str| {
            Request::parse(line.as_bytes()).err().map(|(id, failure)| (id.text().to_owned(), failure.code))
        };
        let null = || "null".to_owned();
        assert_eq!(code("{"), Some((null(), PARSE_ERROR)));
        assert_eq!(code("[1,2]"), Some((null(), INVALID_REQUEST)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":[],"method":"m"}"#), Some((null(), INVALID_REQUEST)));
        assert_eq!(code(r#"{"id":"a","method":"m"}"#), Some((r#""a""#.to_owned(), INVALID_REQUEST)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":7,"method":7}"#), Some(("7".to_owned(), INVALID_REQUEST)));
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","id":7,"method":"m","params":[]}"#),
            Some(("7".to_owned(), INVALID_PARAMS))
        );
        let request =
            Request::parse(br#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"run":"a"}}"#).ok().unwrap();
        assert_eq!((request.method.as_str(), request.parameters.str("run").unwrap()), ("m", "a".to_owned()));
    }
}
