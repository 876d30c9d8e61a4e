//! The Artifact Store: everything that runs produce, addressed by content.
//!
//! `content` keeps the bytes in pack files and files of their own, `writer` takes them in parts; `catalog` knows which
//! contents there are, their names, versions, tags and lineage, and changes by `records` alone; `index` searches;
//! `store` puts these together, `component` is the method table. Content is complete on disk before any record names it.

mod catalog;
mod component;
mod content;
mod hash;
mod index;
mod records;
mod store;
mod writer;
