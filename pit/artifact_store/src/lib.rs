//! The Artifact Store: everything that runs produce, addressed by content.
//!
//! `content` keeps the bytes in pack files and files of their own, a `place` each; they come in through `staged`, or in parts
//! through `writer`, and go out through `reading`; `cold` is the compressed form. `catalog` knows which contents there are, their
//! names, versions, tags and lineage (in a map `by_hash`), and changes by `records` alone, or by a `snapshot`; `index` searches
//! what `searchable` says. `store` puts these together: `moving` gives content another place or form, `deleting` takes it away,
//! `finding` looks for it. `component` is the method table. Content is complete on disk before any record names it.

mod about;
mod by_hash;
mod catalog;
mod cold;
mod component;
mod content;
mod deleting;
mod finding;
mod hash;
mod index;
mod moving;
mod place;
mod reading;
mod records;
mod searchable;
mod snapshot;
mod staged;
mod store;
mod writer;
