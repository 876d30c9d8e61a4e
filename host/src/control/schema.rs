//! The methods as `control.openrpc.json` describes them, which is the one list of them and of what they take.
//!
//! A method that stands there is known, and its parameters are checked before anything sees them; no other list is kept.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;
use serde_json::value::RawValue;

use super::closest::did_you_mean;
use super::parameter::Parameter;
use crate::failure::{Failure, INVALID_PARAMS, METHOD_NOT_FOUND, Result};
use crate::json::{Fields, Json, Object};

/// What `rpc.discover` answers.
pub const DOCUMENT: &str = include_str!("../../control.openrpc.json");

static METHODS: LazyLock<BTreeMap<String, Method>> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default(); // a test reads it
    let methods = document["methods"].as_array().into_iter().flatten();
    methods.map(Method::read).map(|method| (method.name.clone(), method)).collect()
});

/// Who knows the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Host,
    /// It is asked the same, and answers as it is.
    Interpreter,
    /// A process of its own: the command of the same name.
    Command,
}

#[derive(Debug)]
pub(super) struct Method {
    pub name: String,
    pub by: By,
    pub parameters: Vec<Parameter>,
}

impl Method {
    fn read(value: &Value) -> Self {
        let by = match value["x-answered-by"].as_str() {
            Some("interpreter") => By::Interpreter,
            Some("command") => By::Command,
            _ => By::Host,
        };
        let parameters = value["params"].as_array().into_iter().flatten().map(Parameter::read).collect();
        Self { name: value["name"].as_str().unwrap_or_default().to_owned(), by, parameters }
    }

    /// The method of this name, once the fields are what it takes.
    pub fn of(name: &str, fields: &Fields) -> Result<&'static Self> {
        let method = METHODS.get(name).ok_or_else(|| unknown(name))?;
        method.check(fields)?;
        Ok(method)
    }

    fn check(&self, fields: &Fields) -> Result<()> {
        let known = || self.parameters.iter().map(|parameter| parameter.name.as_str());
        if let Some(stranger) = fields.names().find(|name| !known().any(|parameter| parameter == *name)) {
            let takes = match known().collect::<Vec<_>>()[..] {
                [] => "it takes none".to_owned(),
                ref names => format!("it takes {}", names.join(", ")),
            };
            return Err(Failure::invalid(format!("{} has no parameter {stranger:?}", self.name))
                .code(INVALID_PARAMS)
                .hint(did_you_mean(stranger, known()).unwrap_or(takes)));
        }
        self.parameters.iter().try_for_each(|parameter| parameter.check(fields))
    }

    /// Its parameters as they were given, null left out.
    pub fn pass(&self, fields: &Fields) -> Json {
        let given = self.parameters.iter().filter_map(|it| Some((&it.name, fields.json(&it.name)?)));
        given.fold(Object::default(), |object, (name, value)| object.raw(name, &value)).finish()
    }
}

/// The document, in one line.
pub(super) fn discover() -> Json {
    serde_json::from_str::<&RawValue>(DOCUMENT).map_or_else(|_| Json::from(Value::Null), Json::from)
}

pub(super) fn unknown(name: &str) -> Failure {
    let otherwise = || "rpc.discover describes every method".to_owned();
    Failure::not_found(format!("there is no method {name:?}"))
        .code(METHOD_NOT_FOUND)
        .hint(did_you_mean(name, METHODS.keys().map(String::as_str)).unwrap_or_else(otherwise))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    fn wrong(method: &str, fields: &str) -> (String, String) {
        let failure = Method::of(method, &Fields::parse(fields.as_bytes()).unwrap()).unwrap_err();
        (failure.message, failure.hint)
    }

    #[test]
    fn the_document_is_read() {
        assert!(METHODS.len() > 20 && discover().text().starts_with("{ "), "{}", METHODS.len());
        let list = &METHODS["artifacts.list"];
        assert_eq!((list.by, list.parameters.len()), (By::Interpreter, 4));
        assert_eq!(METHODS["host.status"].by, By::Host);
    }

    #[test]
    fn a_check_means_all_that_the_document_says_of_a_parameter() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        for method in document["methods"].as_array().unwrap() {
            assert_eq!(method["paramStructure"], "by-name", "{method}");
            for parameter in method["params"].as_array().unwrap() {
                super::super::parameter::assert_understood(&parameter["schema"]);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_was_meant() {
        let of = |message: &str, hint: &str| (message.to_owned(), hint.to_owned());
        assert_eq!(
            wrong("run.list", "{}"),
            of(r#"there is no method "run.list""#, "did you mean runs.list?")
        );
        assert_eq!(
            wrong("zzzzzz", "{}"),
            of(r#"there is no method "zzzzzz""#, "rpc.discover describes every method")
        );
        assert_eq!(
            wrong("runs.get", r#"{"rnu": "x"}"#),
            of(r#"runs.get has no parameter "rnu""#, "did you mean run?")
        );
        assert_eq!(
            wrong("runs.get", r#"{"zzzzzz": "x"}"#),
            of(r#"runs.get has no parameter "zzzzzz""#, "it takes run")
        );
        assert_eq!(wrong("host.status", r#"{"a": 1}"#).1, "it takes none");
        assert_eq!(wrong("runs.get", r#"{"run": null}"#).0, "run is missing");
    }
}
