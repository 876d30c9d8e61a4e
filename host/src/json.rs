//! JSON that passes through: values are kept as text, so that large numbers and deep nesting of a workflow's own data survive.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Failure, INVALID_PARAMS, Result};

/// The text of one JSON value, without line breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    pub fn text(&self) -> &str {
        &self.0
    }

    pub fn into_text(self) -> String {
        self.0
    }

    /// The value, for those few fields that the host itself looks at.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        // A line break can only stand between tokens: inside a string JSON does not allow it.
        Self(raw.get().replace(['\n', '\r'], " "))
    }
}

/// Writes an object field by field, in the order given.
#[derive(Default)]
pub struct Object(String);

impl Object {
    #[must_use]
    pub fn raw(mut self, name: &str, value: &Json) -> Self {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(value.text());
        self
    }

    #[must_use]
    pub fn field(self, name: &str, value: impl Into<Value>) -> Self {
        self.raw(name, &Json::from(value.into()))
    }

    pub fn finish(mut self) -> Json {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        Json(self.0)
    }
}

/// The fields of a JSON object, each as text.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// None if the text is no JSON object.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(Self)
    }

    /// None for a missing field as for null.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.raw(name).filter(|raw| raw.get() != "null")
    }

    /// None for a missing field only.
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name).map(AsRef::as_ref)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn json(&self, name: &str) -> Option<Json> {
        self.get(name).map(Json::from)
    }

    pub fn optional_str(&self, name: &str) -> Result<Option<String>> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub fn str(&self, name: &str) -> Result<String> {
        self.optional_str(name)?.ok_or_else(|| wrong(format!("{name} is missing")))
    }

    pub fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub fn seconds(&self, name: &str) -> Result<Option<f64>> {
        let valid = |value: &Value| value.as_f64().filter(|seconds| (0.0..=86_400.0).contains(seconds));
        self.typed(name, "seconds from 0 to 86400", valid)
    }

    pub fn strings(&self, name: &str) -> Result<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let all = |value: &Value| value.as_array()?.iter().map(text).collect();
        self.typed(name, "a list of strings", all)?.ok_or_else(|| wrong(format!("{name} is missing")))
    }

    pub fn count(&self, name: &str) -> Result<Option<usize>> {
        self.typed(name, "a whole number from 0", |value| usize::try_from(value.as_u64()?).ok())
    }

    fn typed<T>(
        &self,
        name: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(raw) = self.get(name) else { return Ok(None) };
        let value = serde_json::from_str::<Value>(raw.get()).ok();
        match value.as_ref().and_then(convert) {
            Some(converted) => Ok(Some(converted)),
            None => Err(wrong(format!("{name} must be {expected}, got {}", shortened(raw.get())))),
        }
    }
}

fn wrong(message: String) -> Failure {
    Failure::invalid(message).code(INVALID_PARAMS)
}

/// For messages: the beginning of a text that may be huge.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    #[test]
    fn numbers_beyond_64_bits_and_deep_nesting_pass_unchanged() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let text = format!(r#"{{"big": 1180591620717411303424, "deep": {deep}, "none": null}}"#);
        let fields = Fields::parse(text.as_bytes()).unwrap();
        let written = Object::default()
            .raw("big", &fields.json("big").unwrap())
            .raw("deep", &fields.json("deep").unwrap())
            .field("last", "ä\n")
            .finish();
        assert_eq!(written.text(), format!(r#"{{"big":1180591620717411303424,"deep":{deep},"last":"ä\n"}}"#));
        assert!(fields.get("none").is_none() && fields.raw("none").is_some());
        assert_eq!(Object::default().finish().text(), "{}");
    }

    #[test]
    fn a_wrong_field_names_itself() {
        let fields = Fields::parse(br#"{"run": 5}"#).unwrap();
        assert_eq!(fields.str("run").unwrap_err().message, "run must be a string, got 5");
        assert_eq!(fields.str("id").unwrap_err().message, "id is missing");
        assert!(Fields::parse(b"[1]").is_none());
    }
}
