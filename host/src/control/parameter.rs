//! One parameter of a method, and the part of JSON Schema that parameters are described in.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Failure, INVALID_PARAMS, Result};
use crate::json::{Fields, shortened};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    String,
    Flag,
    Integer,
    Number,
    List,
    Object,
    Any,
}

impl Kind {
    fn read(schema: &Value) -> Self {
        match schema["type"].as_str() {
            Some("string") => Self::String,
            Some("boolean") => Self::Flag,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("array") => Self::List,
            Some("object") => Self::Object,
            _ => Self::Any,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Flag => "true or false",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::List => "a list",
            Self::Object => "an object",
            Self::Any => "a value",
        }
    }

    /// Of a text that is JSON. Of a container only the beginning is looked at: it may be large. A string may be none: half of
    /// a surrogate pair can be written as an escape, and means nothing.
    fn fits(self, text: &str) -> bool {
        let number = |first: char| first == '-' || first.is_ascii_digit();
        match (self, text.chars().next().unwrap_or_default()) {
            (Self::String, '"') => serde_json::from_str::<String>(text).is_ok(),
            (Self::Any, _) | (Self::List, '[') | (Self::Object, '{') | (Self::Flag, 't' | 'f') => true,
            (Self::Number, first) => number(first),
            (Self::Integer, first) => number(first) && !text.contains(['.', 'e', 'E']),
            _ => false,
        }
    }
}

/// A parameter as the schema describes it.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: String,
    required: bool,
    kind: Kind,
    /// Of a list.
    items: Kind,
    /// None: any.
    one_of: Option<Vec<String>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

impl Parameter {
    pub fn read(value: &Value) -> Self {
        let schema = &value["schema"];
        let words = schema["enum"]
            .as_array()
            .map(|words| words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Self {
            name: value["name"].as_str().unwrap_or_default().to_owned(),
            required: value["required"].as_bool().unwrap_or(false),
            kind: Kind::read(schema),
            items: Kind::read(&schema["items"]),
            one_of: words,
            minimum: schema["minimum"].as_f64(),
            maximum: schema["maximum"].as_f64(),
        }
    }

    /// null counts as left out.
    pub fn check(&self, fields: &Fields) -> Result<()> {
        match fields.get(&self.name) {
            None if self.required => Err(self.wrong("is missing")),
            None => Ok(()),
            Some(given) if self.fits(given.get()) => Ok(()),
            Some(given) => {
                Err(self.wrong(&format!("must be {}, got {}", self.expected(), shortened(given.get()))))
            }
        }
    }

    fn fits(&self, text: &str) -> bool {
        let word = || serde_json::from_str::<String>(text).unwrap_or_default();
        let number = || text.parse::<f64>().unwrap_or(f64::NAN);
        let items = || serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_default();
        self.kind.fits(text)
            && self.one_of.as_ref().is_none_or(|words| words.contains(&word()))
            && self.minimum.is_none_or(|minimum| number() >= minimum)
            && self.maximum.is_none_or(|maximum| number() <= maximum)
            && (self.items == Kind::Any || items().iter().all(|item| self.items.fits(item.get())))
    }

    fn expected(&self) -> String {
        let of = |kind: Kind| if kind == Kind::String { "strings" } else { "objects" };
        match (&self.one_of, self.minimum, self.maximum) {
            (Some(words), ..) => format!("one of {}", words.join(", ")),
            (None, Some(minimum), Some(maximum)) => {
                format!("{} from {minimum} to {maximum}", self.kind.name())
            }
            (None, Some(minimum), None) => format!("{} from {minimum} on", self.kind.name()),
            _ if self.items != Kind::Any => format!("a list of {}", of(self.items)),
            _ => self.kind.name().to_owned(),
        }
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::invalid(format!("{} {what}", self.name)).code(INVALID_PARAMS)
    }
}

/// A parameter's schema must not promise a check that is not made here.
#[cfg(test)]
pub(super) fn assert_understood(schema: &Value) {
    const CHECKED: [&str; 5] = ["type", "enum", "minimum", "maximum", "items"];
    const SAID: [&str; 3] = ["description", "default", "examples"];
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        assert!(CHECKED.contains(&keyword.as_str()) || SAID.contains(&keyword.as_str()), "{schema}");
        assert!(keyword != "type" || Kind::read(schema) != Kind::Any, "{schema}");
        assert!(keyword != "items" || matches!(Kind::read(value), Kind::String | Kind::Object), "{schema}");
        assert!(keyword != "items" || value.as_object().is_some_and(|items| items.len() == 1), "{schema}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use serde_json::json;

    use super::*;

    #[test]
    #[allow(clippy::needless_pass_by_value)] // `json!({})` reads better without & at every call
    fn a_value_is_held_against_its_schema() {
        let check = |schema: Value, given: &str| {
            let parameter = Parameter::read(&json!({"name": "it", "schema": schema}));
            let fields = Fields::parse(format!("{{\"it\": {given}}}").as_bytes()).unwrap();
            parameter.check(&fields).err().map(|failure| failure.message)
        };
        let wrong = |text: &str| Some(format!("it must be {text}"));
        assert_eq!(check(json!({"type": "string"}), "5"), wrong("a string, got 5"));
        let half = r#""\ud800""#;
        assert_eq!(check(json!({"type": "string"}), half), wrong(&format!("a string, got {half}")));
        assert_eq!(check(json!({"type": "boolean"}), "true"), None);
        assert_eq!(check(json!({"type": "boolean"}), "1"), wrong("true or false, got 1"));
        assert_eq!(check(json!({"type": "integer"}), "1180591620717411303424"), None);
        assert_eq!(check(json!({"type": "integer"}), "1.5"), wrong("a whole number, got 1.5"));
        assert_eq!(
            check(json!({"type": "number", "minimum": 0}), "-1e-9"),
            wrong("a number from 0 on, got -1e-9")
        );
        let limits = json!({"type": "number", "minimum": 0, "maximum": 9});
        assert_eq!(check(limits.clone(), "9"), None);
        assert_eq!(check(limits, "9.5"), wrong("a number from 0 to 9, got 9.5"));
        assert_eq!(check(json!({"type": "object"}), "[]"), wrong("an object, got []"));
        let words = json!({"type": "array", "items": {"type": "string"}});
        assert_eq!(check(words.clone(), r#"["a", "b"]"#), None);
        assert_eq!(check(words, r#"["a", 1]"#), wrong(r#"a list of strings, got ["a", 1]"#));
        let choice = json!({"type": "string", "enum": ["a", "b"]});
        assert_eq!(check(choice.clone(), r#""b""#), None);
        assert_eq!(check(choice, r#""c""#), wrong(r#"one of a, b, got "c""#));
        assert_eq!(check(json!({}), "[[1]]"), None);
    }
}
