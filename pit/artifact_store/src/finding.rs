//! Looking for contents by words and filters, and what is told of those found.

use std::collections::{BTreeMap, BTreeSet};

use symphony_pit::{Result, Value};

use crate::catalog::{Catalog, Version};
use crate::hash::{Hash, hex};
use crate::store::Store;

impl Store {
    pub fn search(
        &self,
        query: &str,
        keep: impl Fn(&Catalog, &Hash) -> bool,
        limit: usize,
    ) -> Result<Vec<Value>> {
        if query.trim().is_empty() {
            let state = self.lock();
            let mut found: Vec<(i64, Hash)> = state
                .catalog
                .contents
                .iter()
                .filter(|(hash, stored)| !stored.trashed && keep(&state.catalog, hash))
                .map(|(hash, stored)| (stored.created, *hash))
                .collect();
            found.sort_unstable_by(|one, other| other.cmp(one));
            return Ok(found.iter().take(limit).map(|(_, hash)| row(&state.catalog, hash, None)).collect());
        }
        // Filters are asked of what was found, so more is found where they let too little through.
        let mut wanted = limit.saturating_mul(4).max(64);
        loop {
            let found = self.index.search(query, wanted)?;
            let exhausted = found.len() < wanted;
            let state = self.lock();
            let kept: Vec<Value> = found
                .iter()
                .filter(|(hash, _)| state.catalog.find(hash).is_ok() && keep(&state.catalog, hash))
                .take(limit)
                .map(|(hash, score)| row(&state.catalog, hash, Some(*score)))
                .collect();
            if exhausted || kept.len() >= limit {
                return Ok(kept);
            }
            wanted = wanted.saturating_mul(8);
        }
    }
}

/// All that is reached over so many generations, nearest first, without the beginning.
pub(crate) fn reach(from: Hash, generations: u32, next: impl Fn(&Hash) -> Vec<Hash>) -> Vec<Hash> {
    let (mut seen, mut found, mut edge) = (BTreeSet::from([from]), Vec::new(), vec![from]);
    for _ in 0..generations {
        edge = edge.iter().flat_map(&next).filter(|hash| seen.insert(*hash)).collect();
        if edge.is_empty() {
            break;
        }
        found.extend(&edge);
    }
    found
}

pub(crate) fn filter(
    tags: Option<Vec<String>>,
    metadata: Option<BTreeMap<String, Value>>,
    media_type: String,
) -> impl Fn(&Catalog, &Hash) -> bool {
    let (tags, metadata) = (tags.unwrap_or_default(), metadata.unwrap_or_default());
    move |catalog, hash| {
        let extra = catalog.extra(hash);
        let holds = |value: &Value, key: &str, wanted: &Value| {
            let Value::Map(pairs) = value else { return false };
            pairs.iter().any(|(known, value)| *known == Value::from(key) && value == wanted)
        };
        tags.iter().all(|tag| extra.tags.contains(tag))
            && metadata.iter().all(|(key, wanted)| {
                holds(&extra.metadata, key, wanted)
                    || catalog
                        .versions_of(hash)
                        .any(|(_, version)| holds(&version.naming.metadata, key, wanted))
            })
            && (media_type.is_empty()
                || catalog
                    .versions_of(hash)
                    .any(|(_, version)| version.naming.media_type.starts_with(media_type.as_str())))
    }
}

fn tags(catalog: &Catalog, hash: &Hash) -> Value {
    Value::List(catalog.extra(hash).tags.iter().map(|tag| Value::from(tag.as_str())).collect())
}

pub(crate) fn version_row(catalog: &Catalog, name: &str, version: &Version) -> Value {
    let naming = &version.naming;
    Value::map([
        ("id", Value::from(hex(&naming.hash))),
        ("name", Value::from(name)),
        ("version", Value::from(version.number)),
        ("size", Value::from(catalog.contents.get(&naming.hash).map(|stored| stored.kept.size))),
        ("media_type", Value::from(naming.media_type.as_str())),
        ("step", Value::from(naming.step.as_str())),
        ("metadata", naming.metadata.clone()),
        ("created", Value::from(version.created)),
        ("parent", Value::from((naming.parent > 0).then_some(naming.parent))),
        ("message", Value::from(naming.message.as_str())),
        ("author", Value::from(naming.author.as_str())),
        ("tags", tags(catalog, &naming.hash)),
    ])
}

/// One found content: its newest name, and how well it matched.
fn row(catalog: &Catalog, hash: &Hash, score: Option<f64>) -> Value {
    let newest = catalog.versions_of(hash).max_by_key(|(_, version)| version.created);
    let mut pairs =
        if let Some(Value::Map(pairs)) = newest.map(|(name, version)| version_row(catalog, name, version)) {
            pairs
        } else {
            let stored = catalog.contents.get(hash);
            let row = Value::map([
                ("id", Value::from(hex(hash))),
                ("name", Value::from("")),
                ("version", Value::None),
                ("size", Value::from(stored.map(|stored| stored.kept.size))),
                ("media_type", Value::from("")),
                ("step", Value::from(catalog.extra(hash).made.last().map_or("", |(step, _)| step))),
                ("metadata", catalog.extra(hash).metadata.clone()),
                ("created", Value::from(stored.map(|stored| stored.created))),
                ("parent", Value::None),
                ("message", Value::from("")),
                ("author", Value::from("")),
                ("tags", tags(catalog, hash)),
            ]);
            if let Value::Map(pairs) = row { pairs } else { Vec::new() }
        };
    pairs.push((Value::from("score"), Value::from(score)));
    Value::Map(pairs)
}
