//! The Artifact Store: everything that runs produce, addressed by content.
//!
//! `content` keeps the bytes in pack files and files of their own, `store` is the component: which contents there are, and
//! which versions of which names. Content is complete on disk before any record names it.

mod content;
mod export;
mod store;
