//! The store: content on disk, its catalog under one lock, its index behind a thread.
//!
//! A change is recorded under the lock that orders it; content is written and read outside of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use symphony_pit::{Buffer, ErrorKind, Host, Result};

use crate::about::About;
use crate::catalog::Catalog;
use crate::content::Content;
use crate::hash::Hash;
use crate::index::{Document, Index, Text};
use crate::place::Kept;
use crate::records::{Access, Event, Naming, REVISION};
use crate::staged::Staged;
use crate::writer::{Complete, Incoming};

/// Text content up to this size is searched; of larger content only name, tags and metadata are.
const SEARCHED_BYTES: u64 = 256 << 10;
/// Reads are recorded in lots of this many contents: that many counts may be lost with a killed process.
const ACCESSES_PER_RECORD: usize = 1_000;
#[derive(Default)]
pub(crate) struct State {
    pub catalog: Catalog,
    /// Reads that are not recorded yet.
    pub accesses: HashMap<Hash, Access>,
}

pub(crate) struct Store {
    pub host: Host,
    pub content: Content,
    pub incoming: Incoming,
    pub index: Index,
    state: Mutex<State>,
    /// Held by all while content gets a place and a record, and by one alone while content leaves its place: so nobody removes a
    /// file or a pack that another is about to name.
    places: RwLock<()>,
}

impl Store {
    pub fn new(host: Host) -> Self {
        let folder = Path::new(host.data_dir());
        Self {
            host,
            content: Content::new(folder, host.durable()),
            incoming: Incoming::default(),
            index: Index::new(folder),
            state: Mutex::default(),
            places: RwLock::default(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held, no content leaves its place.
    pub fn placing(&self) -> RwLockReadGuard<'_, ()> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held, no content gets a place.
    pub fn leaving(&self) -> RwLockWriteGuard<'_, ()> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Append an event under the lock that orders it, apply it, and have the index look at what it changed.
    pub fn record(&self, state: &mut State, event: Event, index: &[Hash]) -> Result<i64> {
        let now = self.host.now();
        self.host.append(event.kind(), REVISION, now, &event.encode())?;
        state.catalog.apply(event, now);
        for hash in index {
            self.index.note(state.catalog.changes, *hash);
        }
        Ok(now)
    }

    pub fn start(self: &Arc<Self>) -> Result<()> {
        self.content.remove_incomplete();
        let mut state = self.lock();
        for (hash, kept) in std::mem::take(&mut state.catalog.left) {
            if !state.catalog.lies(&hash, kept) {
                self.content.remove(&hash, kept)?;
            }
        }
        let changes = state.catalog.changes;
        let weak = Arc::downgrade(self);
        let seen = self.index.start(changes, move |id| {
            weak.upgrade().map_or(Document { id, text: None }, |store| store.document(id))
        })?;
        let mut behind: Vec<(u64, Hash)> = state
            .catalog
            .contents
            .iter()
            .filter(|(_, stored)| stored.changed > seen)
            .map(|(hash, stored)| (stored.changed, *hash))
            .chain(state.catalog.deleted.iter().map(|hash| (changes, *hash)))
            .collect();
        behind.sort_unstable();
        for (change, hash) in behind {
            self.index.note(change, hash);
        }
        Ok(())
    }

    pub fn stop(&self) {
        self.index.stop();
        let mut state = self.lock();
        let _ = self.record_accesses(&mut state); // counts only, and the log may be closed or full
    }

    /// What the index finds under an id; read on the index's thread.
    fn document(&self, id: Hash) -> Document {
        let found = self.lock().catalog.searchable(&id);
        let text = found.map(|found| {
            let is_text = found.media_type.is_empty() || found.media_type.starts_with("text/");
            let small = |kept: &Kept| (1..=SEARCHED_BYTES).contains(&kept.size);
            let body = found.kept.filter(|kept| is_text && small(kept)).and_then(|kept| {
                // Content that cannot be read is found by its names all the same; `verify` says what is wrong with it.
                let mut bytes = Vec::new();
                let read = self.content.read_parts(&id, kept, |part| {
                    bytes.extend_from_slice(part);
                    Ok(())
                });
                read.ok().and_then(|()| String::from_utf8(bytes).ok())
            });
            let body = body.unwrap_or_default();
            Text { names: found.names, tags: found.tags, metadata: found.metadata, body }
        });
        Document { id, text }
    }

    /// Store content once, and say what it is.
    pub fn put(&self, bytes: &[u8], about: About) -> Result<Hash> {
        let hash: Hash = blake3::hash(bytes).into();
        let _placing = self.ensure(&hash, || self.content.stage(bytes))?;
        self.describe(hash, about)?;
        Ok(hash)
    }

    /// Content whose parts have all come.
    pub fn put_complete(&self, complete: Complete, about: About) -> Result<Hash> {
        let Complete { temporary, hash, size } = complete;
        let _placing = self.ensure(&hash, || self.content.stage_file(temporary, size, None))?;
        self.describe(hash, about)?;
        Ok(hash)
    }

    /// See that content is here; it stays while the answer is held.
    pub fn ensure<'a>(
        &self,
        hash: &Hash,
        prepare: impl FnOnce() -> Result<Staged<'a>>,
    ) -> Result<RwLockReadGuard<'_, ()>> {
        let placing = self.placing();
        if self.has(hash) {
            return Ok(placing);
        }
        drop(placing);
        let staged = prepare()?;
        let placing = self.placing();
        if !self.has(hash) {
            let kept = self.content.settle(hash, staged)?;
            let mut state = self.lock();
            // Another thread may have been faster; both files are one then.
            if !Self::known(&state, hash) {
                self.record(&mut state, kept.event(*hash), &[*hash])?;
            }
        }
        Ok(placing)
    }

    /// Whether the bytes are here. Content in the trash comes back by being put again.
    fn has(&self, hash: &Hash) -> bool {
        Self::known(&self.lock(), hash)
    }

    fn known(state: &State, hash: &Hash) -> bool {
        state.catalog.contents.contains_key(hash) && state.catalog.extra(hash).archived.is_none()
    }

    fn describe(&self, hash: Hash, about: About) -> Result<()> {
        let mut state = self.lock();
        if state.catalog.contents.get(&hash).is_some_and(|stored| stored.trashed) {
            self.record(&mut state, Event::Restored { hashes: vec![hash] }, &[hash])?;
        }
        let newest = state.catalog.names.get(about.name.as_str()).and_then(|versions| versions.last());
        if !about.name.is_empty() && newest.is_none_or(|newest| newest.naming.hash != hash) {
            let parent = match (about.parent, newest) {
                (0, newest) => newest.map_or(0, |newest| newest.number),
                (parent, _) => parent,
            };
            let naming = Naming {
                hash,
                name: about.name,
                media_type: about.media_type,
                step: about.step.clone(),
                metadata: about.metadata,
                parent,
                message: about.message,
                author: about.author,
            };
            self.record(&mut state, Event::Named(naming), &[hash])?;
        }
        let added: Vec<String> = {
            let known = &state.catalog.extra(&hash).tags;
            about.tags.into_iter().filter(|tag| !known.contains(tag)).collect()
        };
        if !added.is_empty() {
            self.record(&mut state, Event::Tagged { hash, added, removed: Vec::new() }, &[hash])?;
        }
        let made = (about.step, about.inputs);
        if !made.1.is_empty() && !state.catalog.extra(&hash).made.contains(&made) {
            self.record(&mut state, Event::Made { hash, step: made.0, inputs: made.1 }, &[])?;
        }
        Ok(())
    }

    /// The bytes of content that is there, counted as a read.
    pub fn read(&self, hash: &Hash) -> Result<Buffer> {
        let now = self.host.now();
        let kept = {
            let mut state = self.lock();
            let kept = state.catalog.find(hash)?.kept;
            let access = state.accesses.entry(*hash).or_insert(Access { hash: *hash, count: 0, last: now });
            access.count += 1;
            access.last = now;
            if state.accesses.len() >= ACCESSES_PER_RECORD {
                self.record_accesses(&mut state)?;
            }
            kept
        };
        self.wherever(hash, kept, |kept| self.content.read(hash, kept))
    }

    /// Read content that may get another place meanwhile: then from there. It may also have come back to the same one.
    pub fn wherever<T>(&self, hash: &Hash, kept: Kept, read: impl Fn(Kept) -> Result<T>) -> Result<T> {
        match read(kept) {
            Err(error) if error.kind == ErrorKind::NotFound => {
                let _placing = self.placing();
                let kept = self.lock().catalog.find(hash)?.kept;
                read(kept)
            }
            read => read,
        }
    }

    fn record_accesses(&self, state: &mut State) -> Result<()> {
        if state.accesses.is_empty() {
            return Ok(());
        }
        let mut accesses: Vec<Access> = state.accesses.drain().map(|(_, access)| access).collect();
        accesses.sort_unstable_by_key(|access| access.hash);
        self.record(state, Event::Accessed { accesses }, &[]).map(|_| ())
    }

    /// Reads so far, also those not recorded yet, and the last one (µs).
    pub fn accesses(state: &State, hash: &Hash) -> (u64, i64) {
        let stored =
            state.catalog.contents.get(hash).map_or((0, 0), |known| (known.accesses, known.last_access));
        match state.accesses.get(hash) {
            Some(access) => (stored.0 + access.count, stored.1.max(access.last)),
            None => stored,
        }
    }

    /// Whether the bytes still have the hash that is their id.
    pub fn verify(&self, hash: &Hash) -> Result<bool> {
        let kept = self.lock().catalog.find(hash)?.kept;
        let read = self.wherever(hash, kept, |kept| {
            let mut hasher = blake3::Hasher::new();
            self.content.read_parts(hash, kept, |part| {
                hasher.update(part);
                Ok(())
            })?;
            Ok(Hash::from(hasher.finalize()))
        });
        match read {
            Ok(found) => Ok(found == *hash),
            Err(error) if error.kind == ErrorKind::Io => Err(error),
            Err(_) => Ok(false), // gone, cut off, or no longer to be decompressed
        }
    }
}
