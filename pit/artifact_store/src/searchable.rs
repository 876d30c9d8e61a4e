//! What is said about a content for the search index.

use symphony_pit::Value;

use crate::catalog::Catalog;
use crate::hash::Hash;
use crate::place::Kept;

/// What the index is told of a content.
pub(crate) struct Searchable {
    pub names: String,
    pub tags: String,
    pub metadata: String,
    pub media_type: String,
    /// None where the bytes are elsewhere.
    pub kept: Option<Kept>,
}

/// Every text and number in a value.
fn words(value: &Value, text: &mut String) {
    match value.base() {
        Value::Str(word) => text.push_str(word),
        Value::Int(number) => text.push_str(&number.to_string()),
        Value::Float(number) => text.push_str(&number.to_string()),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
            for item in items {
                words(item, text);
            }
        }
        Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            words(key, text);
            words(value, text);
        }),
        _ => return,
    }
    text.push(' ');
}

impl Catalog {
    /// Text and filters of one content, for the search index.
    pub fn searchable(&self, hash: &Hash) -> Option<Searchable> {
        let stored = self.contents.get(hash).filter(|stored| !stored.trashed)?;
        let extra = self.extra(hash);
        let mut found = Searchable {
            names: String::new(),
            tags: extra.tags.iter().flat_map(|tag| [tag.as_str(), " "]).collect(),
            metadata: String::new(),
            media_type: String::new(),
            kept: Some(stored.kept).filter(|_| extra.archived.is_none()),
        };
        words(&extra.metadata, &mut found.metadata);
        for (name, version) in self.versions_of(hash) {
            found.names.push_str(name);
            found.names.push(' ');
            found.names.push_str(&version.naming.message);
            found.names.push(' ');
            words(&version.naming.metadata, &mut found.metadata);
            found.media_type.clone_from(&version.naming.media_type);
        }
        Some(found)
    }
}
