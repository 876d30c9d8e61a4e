//! How urgent a wish is: any whole number, five of which have names.

use symphony_pit::convert::{FromPit, unexpected};
use symphony_pit::{Error, Result, ValueRef};

const NAMED: [(&str, i64); 5] =
    [("CRITICAL", 1000), ("HIGH", 100), ("NORMAL", 0), ("LOW", -100), ("BACKGROUND", -1000)];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Priority(pub i64);

impl<'a> FromPit<'a> for Priority {
    const NAME: &'static str = "int | str";

    fn from_pit(value: ValueRef<'a>) -> Result<Self> {
        if let Some(number) = value.as_i64() {
            return Ok(Self(number));
        }
        let name = value.as_str().ok_or_else(|| unexpected("int or str", value))?;
        let found = NAMED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, number)| Self(*number)).ok_or_else(|| {
            let known = NAMED.map(|(known, _)| known).join(", ");
            Error::invalid(format!(": expected an int or one of {known}, got {name:?}"))
        })
    }
}
