//! The defaults of a method table, for calls between components; Python reads the same literals by itself.

use symphony_pit_abi::Value;

/// `None`, `True`, `-1`, `0.5`, `'text'`; none where the parameter is required, or the literal is another one.
pub(super) fn value(literal: &str) -> Option<Value> {
    match literal {
        "None" => Some(Value::None),
        "True" => Some(Value::Bool(true)),
        "False" => Some(Value::Bool(false)),
        _ => literal.parse().map(Value::Int).or_else(|_| literal.parse().map(Value::Float)).ok().or_else(
            || {
                let quote = literal.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
                let text = literal.strip_prefix(quote)?.strip_suffix(quote)?;
                (!text.contains('\\')).then(|| Value::Str(text.to_owned()))
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_as_python_reads_them() {
        let table = [
            ("None", Some(Value::None)),
            ("True", Some(Value::Bool(true))),
            ("-3", Some(Value::Int(-3))),
            ("0.5", Some(Value::Float(0.5))),
            ("''", Some(Value::Str(String::new()))),
            ("\"a\"", Some(Value::Str("a".to_owned()))),
            ("", None),
            ("'", None),
            ("[]", None),
        ];
        for (literal, expected) in table {
            assert_eq!(value(literal), expected, "{literal}");
        }
    }
}
