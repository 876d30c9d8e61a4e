//! The store: content on disk, its catalog under one lock, its index behind a thread.
//!
//! A change is recorded under the lock that orders it; content is written and read outside of it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphony_pit::{Buffer, Error, Host, Result, Value};

use crate::catalog::{Catalog, Version};
use crate::content::{Content, OWN_FILE, Place};
use crate::hash::{Hash, hex};
use crate::index::{Document, Index, Text};
use crate::records::{Access, Event, Naming, REVISION};
use crate::writer::{Complete, Incoming};

/// Text content up to this size is searched; of larger content only name, tags and metadata are.
const SEARCHED_BYTES: u64 = 256 << 10;
/// Reads are recorded in lots of this many contents: that many counts may be lost with a killed process.
const ACCESSES_PER_RECORD: usize = 1_000;
/// Ids in one record.
const HASHES_PER_RECORD: usize = 10_000;

/// What a put says about content beside its bytes.
#[derive(Default)]
pub(crate) struct About {
    pub name: String,
    pub media_type: String,
    pub metadata: Value,
    pub step: String,
    pub parent: u32,
    pub message: String,
    pub author: String,
    pub tags: Vec<String>,
    pub inputs: Vec<Hash>,
}

#[derive(Default)]
pub(crate) struct State {
    pub catalog: Catalog,
    /// Reads that are not recorded yet.
    accesses: HashMap<Hash, Access>,
}

pub(crate) struct Store {
    pub host: Host,
    pub content: Content,
    pub incoming: Incoming,
    index: Index,
    state: Mutex<State>,
}

/// What a commit of the trash came to.
#[derive(Clone, Copy, Default, symphony_pit::ToPit)]
pub(crate) struct Emptied {
    pub deleted: u64,
    pub bytes: u64,
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
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let state = self.lock();
        for (hash, place) in &state.catalog.deleted {
            if !state.catalog.contents.contains_key(hash) {
                self.content.remove(hash, *place)?;
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
            .chain(state.catalog.deleted.iter().map(|(hash, _)| (changes, *hash)))
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
            let body = if is_text && (1..=SEARCHED_BYTES).contains(&found.size) {
                // Content that cannot be read is found by its names all the same; `verify` says what is wrong with it.
                let mut bytes = Vec::new();
                let read = self
                    .content
                    .read_parts(&id, found.place, found.size, |part| bytes.extend_from_slice(part));
                read.ok().and_then(|()| String::from_utf8(bytes).ok()).unwrap_or_default()
            } else {
                String::new()
            };
            Text { names: found.names, tags: found.tags, metadata: found.metadata, body }
        });
        Document { id, text }
    }

    /// Store content once, and say what it is.
    pub fn put(&self, bytes: &[u8], about: About) -> Result<Hash> {
        let hash: Hash = blake3::hash(bytes).into();
        if !self.has(&hash) {
            let place = self.content.write(&hash, bytes)?;
            self.stored(hash, bytes.len() as u64, place)?;
        }
        self.describe(hash, about)?;
        Ok(hash)
    }

    /// Content whose parts have all come.
    pub fn put_complete(&self, complete: Complete, about: About) -> Result<Hash> {
        let Complete { path, hash, size } = complete;
        let small = usize::try_from(size).is_ok_and(|size| size < OWN_FILE);
        let placed = if self.has(&hash) {
            Ok(())
        } else if small {
            std::fs::read(&path)
                .map_err(|error| Error::io(format!("cannot read {}", path.display()), &error))
                .and_then(|bytes| self.content.write(&hash, &bytes))
                .and_then(|place| self.stored(hash, size, place))
        } else {
            self.content.adopt(&path, &hash).and_then(|place| self.stored(hash, size, place))
        };
        let _ = std::fs::remove_file(&path); // gone where it was adopted; else the next start removes it
        placed?;
        self.describe(hash, about)?;
        Ok(hash)
    }

    /// Whether the bytes are here. Content in the trash comes back by being put again.
    fn has(&self, hash: &Hash) -> bool {
        let state = self.lock();
        state.catalog.contents.contains_key(hash) && state.catalog.extra(hash).archived.is_none()
    }

    fn stored(&self, hash: Hash, size: u64, place: Place) -> Result<()> {
        let mut state = self.lock();
        if state.catalog.contents.contains_key(&hash) && state.catalog.extra(&hash).archived.is_none() {
            return Ok(()); // another thread was faster
        }
        self.record(&mut state, Event::Stored { hash, size, place }, &[hash]).map(|_| ())
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
        let (place, size) = {
            let mut state = self.lock();
            let stored = state.catalog.find(hash)?;
            let place = (stored.place, stored.size);
            let access = state.accesses.entry(*hash).or_insert(Access { hash: *hash, count: 0, last: now });
            access.count += 1;
            access.last = now;
            if state.accesses.len() >= ACCESSES_PER_RECORD {
                self.record_accesses(&mut state)?;
            }
            place
        };
        match self.content.read(hash, place, size) {
            // Its pack was rewritten between the two: it has a new place now.
            Err(error) if error.kind == symphony_pit::ErrorKind::NotFound => {
                let moved = self.lock().catalog.find(hash)?.place;
                if moved == place { Err(error) } else { self.content.read(hash, moved, size) }
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
        let (place, size) = {
            let state = self.lock();
            let stored = state.catalog.find(hash)?;
            (stored.place, stored.size)
        };
        let mut hasher = blake3::Hasher::new();
        match self.content.read_parts(hash, place, size, |part| {
            hasher.update(part);
        }) {
            Ok(()) => Ok(Hash::from(hasher.finalize()) == *hash),
            Err(error) if error.kind == symphony_pit::ErrorKind::Io => Err(error),
            Err(_) => Ok(false), // gone or cut off
        }
    }

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

    /// Hide contents; they are restored, or deleted by the next commit.
    pub fn trash(&self, hashes: Vec<Hash>, reason: &str) -> Result<u64> {
        self.each(
            hashes,
            |state, hash| state.catalog.contents.get(hash).is_some_and(|stored| !stored.trashed),
            |hashes| Event::Trashed { hashes, reason: reason.to_owned() },
        )
    }

    pub fn restore(&self, hashes: Vec<Hash>) -> Result<u64> {
        self.each(
            hashes,
            |state, hash| state.catalog.contents.get(hash).is_some_and(|stored| stored.trashed),
            |hashes| Event::Restored { hashes },
        )
    }

    fn each(
        &self,
        hashes: Vec<Hash>,
        concerns: impl Fn(&State, &Hash) -> bool,
        event: impl Fn(Vec<Hash>) -> Event,
    ) -> Result<u64> {
        let mut state = self.lock();
        let unique: BTreeSet<Hash> = hashes.into_iter().collect();
        if let Some(missing) = unique.iter().find(|hash| !state.catalog.contents.contains_key(*hash)) {
            return Err(Error::not_found(format!("no artifact {}", hex(missing))));
        }
        let concerned: Vec<Hash> = unique.into_iter().filter(|hash| concerns(&state, hash)).collect();
        for lot in concerned.chunks(HASHES_PER_RECORD) {
            self.record(&mut state, event(lot.to_vec()), lot)?;
        }
        Ok(concerned.len() as u64)
    }

    /// Delete for good; the record comes first, so that no record ever names what is not there.
    pub fn delete(&self, hashes: &[Hash]) -> Result<Emptied> {
        let mut emptied = Emptied::default();
        let mut places = Vec::new();
        {
            let mut state = self.lock();
            for lot in hashes.chunks(HASHES_PER_RECORD) {
                for hash in lot {
                    if let Some(stored) = state.catalog.contents.get(hash) {
                        emptied.deleted += 1;
                        emptied.bytes += stored.size;
                        places.push((*hash, stored.place));
                    }
                    state.accesses.remove(hash);
                }
                self.record(&mut state, Event::Deleted { hashes: lot.to_vec() }, lot)?;
            }
            state.catalog.deleted.clear();
        }
        for (hash, place) in places {
            self.content.remove(&hash, place)?;
        }
        self.rewrite_packs()?;
        Ok(emptied)
    }

    /// Contents in the trash.
    pub fn trashed(&self) -> Vec<Hash> {
        let state = self.lock();
        state.catalog.contents.iter().filter(|(_, stored)| stored.trashed).map(|(hash, _)| *hash).collect()
    }

    /// Move what is left in packs that are mostly dead, and remove them.
    fn rewrite_packs(&self) -> Result<()> {
        let current = self.content.current_pack();
        let dead: Vec<u32> = {
            let state = self.lock();
            let packs = state.catalog.packs.iter();
            packs
                .filter(|(pack, (all, dead))| **pack != current && *dead * 2 > *all)
                .map(|(pack, _)| *pack)
                .collect()
        };
        for pack in dead {
            let live: Vec<(Hash, Place, u64)> = {
                let state = self.lock();
                let contents = state.catalog.contents.iter();
                let here = contents.filter(|(hash, stored)| {
                    matches!(stored.place, Place::Pack { pack: own, .. } if own == pack)
                        && state.catalog.extra(hash).archived.is_none()
                });
                here.map(|(hash, stored)| (*hash, stored.place, stored.size)).collect()
            };
            for (hash, place, size) in live {
                let bytes = self.content.read(&hash, place, size)?;
                let place = self.content.write(&hash, bytes.as_ref())?;
                let mut state = self.lock();
                if state.catalog.contents.contains_key(&hash) {
                    self.record(&mut state, Event::Stored { hash, size, place }, &[])?;
                }
            }
            self.lock().catalog.packs.remove(&pack);
            self.content.remove_pack(pack)?;
        }
        Ok(())
    }

    fn archive_path(folder: &str, hash: &Hash) -> PathBuf {
        Path::new(folder).join(hex(hash))
    }

    /// Move content to another folder, verified there before it goes here.
    pub fn archive(&self, hash: &Hash, folder: &str) -> Result<()> {
        if !Path::new(folder).is_absolute() {
            return Err(Error::invalid(format!("folder: expected an absolute path, got {folder:?}")));
        }
        let (place, size) = {
            let state = self.lock();
            let stored = state.catalog.find(hash)?;
            (stored.place, stored.size)
        };
        let path = Self::archive_path(folder, hash);
        let io = |error: std::io::Error| Error::io(format!("cannot write {}", path.display()), &error);
        let bytes = self.content.read(hash, place, size)?;
        if Hash::from(blake3::hash(bytes.as_ref())) != *hash {
            return Err(Error::corrupt(format!("artifact {} is damaged and stays where it is", hex(hash))));
        }
        std::fs::create_dir_all(folder).map_err(io)?;
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, bytes.as_ref()).map_err(io)?;
        std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::rename(&temporary, &path).map_err(io)?;
        let event = Event::Archived { hash: *hash, folder: folder.to_owned() };
        self.record(&mut self.lock(), event, &[*hash])?;
        self.content.remove(hash, place)
    }

    pub fn retrieve(&self, hash: &Hash) -> Result<()> {
        let folder = self.lock().catalog.extra(hash).archived.clone();
        let folder =
            folder.ok_or_else(|| Error::conflict(format!("artifact {} is not archived", hex(hash))))?;
        let path = Self::archive_path(&folder, hash);
        let bytes = std::fs::read(&path)
            .map_err(|error| Error::io(format!("cannot read {}", path.display()), &error))?;
        if Hash::from(blake3::hash(&bytes)) != *hash {
            return Err(Error::corrupt(format!("{} is damaged", path.display())));
        }
        let place = self.content.write(hash, &bytes)?;
        let event = Event::Stored { hash: *hash, size: bytes.len() as u64, place };
        self.record(&mut self.lock(), event, &[*hash])?;
        let _ = std::fs::remove_file(path); // a copy that stays does no harm
        Ok(())
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
        ("size", Value::from(catalog.contents.get(&naming.hash).map(|stored| stored.size))),
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
                ("size", Value::from(stored.map(|stored| stored.size))),
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
