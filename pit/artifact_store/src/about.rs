//! What a put says about content beside its bytes.

use symphony_pit::{Error, Result, Value};

use crate::hash::{Hash, parse_all};

pub(crate) struct About {
    pub name: String,
    pub media_type: String,
    pub metadata: Value,
    pub step: String,
    pub tags: Vec<String>,
    pub inputs: Vec<Hash>,
    /// Number of a version; 0 = the newest one.
    pub parent: u32,
    pub message: String,
    pub author: String,
}

/// Metadata: a dict, or none.
pub(crate) fn checked(metadata: Value) -> Result<Value> {
    match metadata {
        Value::None | Value::Map(_) => Ok(metadata),
        _ => Err(Error::invalid("metadata: expected dict or None")),
    }
}

impl About {
    #[expect(clippy::too_many_arguments, reason = "what can be said of an artifact, in the order of put")]
    pub fn new(
        name: String,
        media_type: String,
        metadata: Value,
        step: String,
        tags: Option<Vec<String>>,
        inputs: Option<Vec<String>>,
        parent: Option<u32>,
        message: String,
        author: String,
    ) -> Result<Self> {
        Ok(Self {
            name,
            media_type,
            metadata: checked(metadata)?,
            step,
            tags: tags.unwrap_or_default(),
            inputs: parse_all(&inputs.unwrap_or_default())?,
            parent: parent.unwrap_or(0),
            message,
            author,
        })
    }
}
