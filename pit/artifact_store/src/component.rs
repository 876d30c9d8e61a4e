//! The component: its method table, and what of it lasts.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use symphony_pit::{Buffer, Component, Error, Host, Record, Result, ToPit, Value, pit_component};

use crate::about::{About, checked};
use crate::catalog::{Catalog, Version};
use crate::deleting::Emptied;
use crate::finding::{filter, reach, version_row};
use crate::hash::{Hash, hex, parse, parse_all};
use crate::moving::{Cooled, CooledAll};
use crate::place::{Kept, Place};
use crate::records::Event;
use crate::store::Store;

/// See the module documentation of the crate.
pub(crate) struct ArtifactStore {
    store: Arc<Store>,
}

/// One content, as the Stale Manager judges it.
#[derive(ToPit)]
struct Inventoried {
    id: String,
    size: u64,
    created: i64,
    last_access: i64,
    accesses: u64,
    names: Vec<String>,
    tags: Vec<String>,
    referenced: bool,
    mark: Option<f64>,
    archived: bool,
    cold: bool,
}

#[derive(ToPit)]
struct Trashed {
    id: String,
    size: u64,
    reason: String,
    since: i64,
}

/// Where the bytes lie, for readers that open the file themselves.
#[derive(ToPit)]
struct Location {
    path: String,
    offset: u64,
    size: u64,
    cold: bool,
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn find_version<'a>(catalog: &'a Catalog, name: &str, version: Option<u32>) -> Option<&'a Version> {
    let versions = catalog.names.get(name)?;
    match version {
        Some(number) => versions.iter().find(|version| version.number == number),
        None => versions.last(),
    }
}

#[pit_component(
    id = "symphony.artifact_store",
    description = "Everything that runs produce, addressed by content",
    revision = 3
)]
impl ArtifactStore {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: contents, names, bytes (of contents, each once), trashed, writers (open ones), cold (compressed contents) and
    /// saved (bytes that these do not take).
    #[pit_method]
    fn stats(&self) -> Result<BTreeMap<String, u64>> {
        let writers = self.store.incoming.len() as u64;
        let state = self.store.lock();
        let trashed = state.catalog.contents.values().filter(|stored| stored.trashed).count() as u64;
        let counters = [
            ("contents", state.catalog.contents.len() as u64),
            ("names", state.catalog.names.len() as u64),
            ("bytes", state.catalog.bytes),
            ("trashed", trashed),
            ("writers", writers),
            ("cold", state.catalog.cold),
            ("saved", state.catalog.saved),
        ];
        Ok(counters.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Store content, once; with a name, as the newest version of that name. Returns its id, the BLAKE3 hash in hexadecimal.
    ///
    /// step is the key of the step that made it, inputs the ids of the artifacts that it was made from, parent the number of
    /// the version that it goes back to (None: the newest one). Content of 64 KiB or more is written to a file of its own:
    /// on an event loop, `put_async` does that on another thread.
    #[pit_method]
    #[expect(clippy::too_many_arguments, reason = "what can be said of an artifact, all with defaults")]
    fn put(
        &self,
        content: &[u8],
        #[default("")] name: String,
        #[default("")] media_type: String,
        #[default(None)] metadata: Value,
        #[default("")] step: String,
        #[default(None)] tags: Option<Vec<String>>,
        #[default(None)] inputs: Option<Vec<String>>,
        #[default(None)] parent: Option<u32>,
        #[default("")] message: String,
        #[default("")] author: String,
    ) -> Result<String> {
        let about = About::new(name, media_type, metadata, step, tags, inputs, parent, message, author)?;
        self.store.put(content, about).map(|hash| hex(&hash))
    }

    /// As put, on a thread that may block.
    #[pit_method]
    #[expect(clippy::too_many_arguments, reason = "as put")]
    async fn put_async(
        self: Arc<Self>,
        content: Vec<u8>,
        #[default("")] name: String,
        #[default("")] media_type: String,
        #[default(None)] metadata: Value,
        #[default("")] step: String,
        #[default(None)] tags: Option<Vec<String>>,
        #[default(None)] inputs: Option<Vec<String>>,
        #[default(None)] parent: Option<u32>,
        #[default("")] message: String,
        #[default("")] author: String,
    ) -> Result<String> {
        let about = About::new(name, media_type, metadata, step, tags, inputs, parent, message, author)?;
        self.elsewhere(move |this| this.store.put(&content, about).map(|hash| hex(&hash))).await
    }

    /// Begin content that comes in parts; gives the number of the writer.
    #[pit_method]
    fn open_writer(&self) -> Result<u64> {
        Ok(self.store.incoming.open())
    }

    /// Add a part; gives the size so far.
    #[pit_method(blocking)]
    fn write(&self, writer: u64, content: &[u8]) -> Result<u64> {
        self.store.incoming.write(&self.store.content, writer, content)
    }

    /// As write, on a thread that may block.
    #[pit_method]
    async fn write_async(self: Arc<Self>, writer: u64, content: Vec<u8>) -> Result<u64> {
        self.elsewhere(move |this| this.write(writer, &content)).await
    }

    /// All parts have come: the content is stored as put does. Returns its id.
    #[pit_method(blocking)]
    #[expect(clippy::too_many_arguments, reason = "as put")]
    fn commit_writer(
        &self,
        writer: u64,
        #[default("")] name: String,
        #[default("")] media_type: String,
        #[default(None)] metadata: Value,
        #[default("")] step: String,
        #[default(None)] tags: Option<Vec<String>>,
        #[default(None)] inputs: Option<Vec<String>>,
        #[default(None)] parent: Option<u32>,
        #[default("")] message: String,
        #[default("")] author: String,
    ) -> Result<String> {
        let about = About::new(name, media_type, metadata, step, tags, inputs, parent, message, author)?;
        let hash = match self.store.incoming.complete(writer)? {
            Some(complete) => self.store.put_complete(complete, about)?,
            None => self.store.put(b"", about)?,
        };
        Ok(hex(&hash))
    }

    /// As `commit_writer`, on a thread that may block.
    #[pit_method]
    #[expect(clippy::too_many_arguments, reason = "as put")]
    async fn commit_writer_async(
        self: Arc<Self>,
        writer: u64,
        #[default("")] name: String,
        #[default("")] media_type: String,
        #[default(None)] metadata: Value,
        #[default("")] step: String,
        #[default(None)] tags: Option<Vec<String>>,
        #[default(None)] inputs: Option<Vec<String>>,
        #[default(None)] parent: Option<u32>,
        #[default("")] message: String,
        #[default("")] author: String,
    ) -> Result<String> {
        self.elsewhere(move |this| {
            this.commit_writer(
                writer, name, media_type, metadata, step, tags, inputs, parent, message, author,
            )
        })
        .await
    }

    /// Give a writer and what it wrote up.
    #[pit_method]
    fn abort_writer(&self, writer: u64) -> Result<()> {
        self.store.incoming.abort(writer)
    }

    /// The content of an id, as a copy.
    #[pit_method]
    fn get(&self, id: &str) -> Result<Vec<u8>> {
        self.store.read(&parse(id)?).map(|bytes| bytes.as_ref().to_vec())
    }

    /// The content of an id where it lies, without a copy; it stays readable while the memoryview is used, also after the
    /// artifact was deleted. That of cold content is decompressed and verified, in memory of its own.
    #[pit_method]
    fn read(&self, id: &str) -> Result<Buffer> {
        self.store.read(&parse(id)?)
    }

    /// As read, on a thread that may block: for large content that is cold.
    #[pit_method]
    async fn read_async(self: Arc<Self>, id: String) -> Result<Buffer> {
        self.elsewhere(move |this| this.read(&id)).await
    }

    /// Where the bytes of an id lie: path, offset, size there; cold says that they are an LZ4 frame. A pack may be rewritten when
    /// the trash is committed.
    #[pit_method]
    fn locate(&self, id: &str) -> Result<Location> {
        let hash = parse(id)?;
        let kept = self.store.lock().catalog.find(&hash)?.kept;
        let path = self.store.content.path(&hash, kept).to_string_lossy().into_owned();
        let offset = if let Place::Pack { offset, .. } = kept.place { offset } else { 0 };
        Ok(Location { path, offset, size: kept.bytes(), cold: kept.cold.is_some() })
    }

    /// Id of the newest version of a name, or of the version with a number; None where there is none.
    #[pit_method]
    fn find(&self, name: &str, #[default(None)] version: Option<u32>) -> Result<Option<String>> {
        let state = self.store.lock();
        Ok(find_version(&state.catalog, name, version).map(|version| hex(&version.naming.hash)))
    }

    /// All versions of a name, oldest first.
    #[pit_method]
    fn versions(&self, name: &str) -> Result<Vec<Value>> {
        let state = self.store.lock();
        let versions = state.catalog.names.get(name).into_iter().flatten();
        Ok(versions.map(|version| version_row(&state.catalog, name, version)).collect())
    }

    /// What is known of an id: size, created (µs), accesses, `last_access` (µs), tags, metadata, mark, referenced, trashed,
    /// archived (a folder or None), cold (the bytes that it takes compressed, or None), and its named versions.
    #[pit_method]
    fn info(&self, id: &str) -> Result<Value> {
        let hash = parse(id)?;
        let state = self.store.lock();
        let (catalog, missing) = (&state.catalog, || Error::not_found(format!("no artifact {id}")));
        let stored = catalog.contents.get(&hash).ok_or_else(missing)?;
        let extra = catalog.extra(&hash);
        let versions = catalog.versions_of(&hash).map(|(name, version)| version_row(catalog, name, version));
        let (accesses, last_access) = Store::accesses(&state, &hash);
        Ok(Value::map([
            ("id", Value::from(id)),
            ("size", Value::from(stored.kept.size)),
            ("created", Value::from(stored.created)),
            ("accesses", Value::from(accesses)),
            ("last_access", Value::from(last_access)),
            ("tags", Value::List(extra.tags.iter().map(|tag| Value::from(tag.as_str())).collect())),
            ("metadata", extra.metadata.clone()),
            ("mark", Value::from(extra.mark)),
            ("referenced", Value::from(catalog.is_referenced(&hash))),
            ("trashed", Value::from(stored.trashed)),
            ("archived", Value::from(extra.archived.clone())),
            ("cold", Value::from(stored.kept.cold.map(NonZeroU64::get))),
            ("versions", Value::List(versions.collect())),
        ]))
    }

    /// The newest version of every name that begins with the prefix and, where a tag is given, has it; in the order of the
    /// names, from the one behind after. limit 0 = all.
    #[pit_method]
    fn list(
        &self,
        #[default("")] prefix: &str,
        #[default("")] tag: &str,
        #[default(0)] limit: usize,
        #[default("")] after: &str,
    ) -> Result<Vec<Value>> {
        let state = self.store.lock();
        let from = if after > prefix { after } else { prefix };
        let bounds = (std::ops::Bound::Included(from), std::ops::Bound::Unbounded);
        let names = state.catalog.names.range::<str, _>(bounds);
        let rows = names
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| after.is_empty() || &***name != after)
            .filter_map(|(name, versions)| Some((&**name, versions.last()?)))
            .filter(|(_, newest)| {
                let hash = &newest.naming.hash;
                let hidden = state.catalog.contents.get(hash).is_none_or(|stored| stored.trashed);
                !hidden && (tag.is_empty() || state.catalog.extra(hash).tags.contains(tag))
            });
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(rows.take(limit).map(|(name, newest)| version_row(&state.catalog, name, newest)).collect())
    }

    /// Artifacts that match all words of the query in name, message, tags, metadata or text content (up to 256 KiB), best
    /// first, each with its score; a word that ends with * is the beginning of one. Without words: all, newest first. Tags,
    /// metadata (pairs that must be equal) and media type (or its beginning) narrow the result.
    #[pit_method(blocking)]
    fn search(
        &self,
        #[default("")] query: &str,
        #[default(None)] tags: Option<Vec<String>>,
        #[default(None)] metadata: Option<BTreeMap<String, Value>>,
        #[default("")] media_type: String,
        #[default(20)] limit: usize,
    ) -> Result<Vec<Value>> {
        self.store.search(query, filter(tags, metadata, media_type), limit)
    }

    /// As search, on a thread that may block.
    #[pit_method]
    async fn search_async(
        self: Arc<Self>,
        #[default("")] query: String,
        #[default(None)] tags: Option<Vec<String>>,
        #[default(None)] metadata: Option<BTreeMap<String, Value>>,
        #[default("")] media_type: String,
        #[default(20)] limit: usize,
    ) -> Result<Vec<Value>> {
        self.elsewhere(move |this| this.search(&query, tags, metadata, media_type, limit)).await
    }

    /// Add tags to an artifact.
    #[pit_method]
    fn tag(&self, id: &str, tags: Vec<&str>) -> Result<()> {
        self.retag(&parse(id)?, texts(&tags), Vec::new())
    }

    /// Take tags off an artifact.
    #[pit_method]
    fn untag(&self, id: &str, tags: Vec<&str>) -> Result<()> {
        self.retag(&parse(id)?, Vec::new(), texts(&tags))
    }

    /// Set the metadata of an artifact itself, beside those of its versions.
    #[pit_method]
    fn annotate(&self, id: &str, metadata: Value) -> Result<()> {
        let (hash, metadata) = (parse(id)?, checked(metadata)?);
        let mut state = self.store.lock();
        state.catalog.find(&hash)?;
        self.store.record(&mut state, Event::Annotated { hash, metadata }, &[hash]).map(|_| ())
    }

    /// Say what an artifact is worth to you, from 0 (nothing) to 1 (never delete it); None takes the mark away.
    #[pit_method]
    fn mark(&self, id: &str, #[default(None)] value: Option<f64>) -> Result<()> {
        if let Some(value) = value
            && !(0.0..=1.0).contains(&value)
        {
            return Err(Error::invalid(format!("value: expected a number from 0 to 1, got {value}")));
        }
        let hash = parse(id)?;
        let mut state = self.store.lock();
        state.catalog.find(&hash)?;
        self.store.record(&mut state, Event::Marked { hash, value }, &[]).map(|_| ())
    }

    /// Which steps made an artifact, from what, and what was made from it: steps, inputs, consumers, and all ancestors and
    /// descendants over so many generations.
    #[pit_method]
    fn lineage(&self, id: &str, #[default(100)] generations: u32) -> Result<Value> {
        let hash = parse(id)?;
        let state = self.store.lock();
        let catalog = &state.catalog;
        if !catalog.contents.contains_key(&hash) {
            return Err(Error::not_found(format!("no artifact {id}")));
        }
        let inputs = |hash: &Hash| -> Vec<Hash> {
            catalog.extra(hash).made.iter().flat_map(|(_, inputs)| inputs.clone()).collect()
        };
        let consumers = |hash: &Hash| catalog.extra(hash).consumers.clone();
        let ids = |hashes: Vec<Hash>| Value::List(hashes.iter().map(|hash| Value::from(hex(hash))).collect());
        let steps = catalog.extra(&hash).made.iter().map(|(step, _)| Value::from(step.as_str()));
        Ok(Value::map([
            ("id", Value::from(id)),
            ("steps", Value::List(steps.collect())),
            ("inputs", ids(inputs(&hash))),
            ("consumers", ids(consumers(&hash))),
            ("ancestors", ids(reach(hash, generations, inputs))),
            ("descendants", ids(reach(hash, generations, consumers))),
        ]))
    }

    /// Whether the stored content still has the hash that is its id.
    #[pit_method(blocking)]
    fn verify(&self, id: &str) -> Result<bool> {
        self.store.verify(&parse(id)?)
    }

    /// As verify, on a thread that may block.
    #[pit_method]
    async fn verify_async(self: Arc<Self>, id: String) -> Result<bool> {
        self.elsewhere(move |this| this.verify(&id)).await
    }

    /// Verify so many contents, in the order of their ids from the one behind after: checked, damaged (ids), next (where to
    /// go on, or None).
    #[pit_method(blocking)]
    fn verify_all(&self, #[default("")] after: &str, #[default(1000)] limit: usize) -> Result<Value> {
        let hashes = self.page(after, limit)?;
        let next = (hashes.len() == limit).then(|| hashes.last().map(hex)).flatten();
        let mut damaged = Vec::new();
        let mut checked = 0;
        for hash in hashes {
            if self.store.lock().catalog.find(&hash).is_err() {
                continue; // in the trash, archived, or gone meanwhile
            }
            checked += 1;
            if !self.store.verify(&hash)? {
                damaged.push(Value::from(hex(&hash)));
            }
        }
        Ok(Value::map([
            ("checked", Value::Int(checked)),
            ("damaged", Value::List(damaged)),
            ("next", Value::from(next)),
        ]))
    }

    /// As `verify_all`, on a thread that may block.
    #[pit_method]
    async fn verify_all_async(
        self: Arc<Self>,
        #[default("")] after: String,
        #[default(1000)] limit: usize,
    ) -> Result<Value> {
        self.elsewhere(move |this| this.verify_all(&after, limit)).await
    }

    /// Every content with what tells its worth, in the order of the ids, from the one behind after.
    #[pit_method]
    fn inventory(
        &self,
        #[default("")] after: &str,
        #[default(10000)] limit: usize,
    ) -> Result<Vec<Inventoried>> {
        let hashes = self.page(after, limit)?;
        let state = self.store.lock();
        let catalog = &state.catalog;
        let rows = hashes.into_iter().filter_map(|hash| {
            let stored = catalog.contents.get(&hash).filter(|stored| !stored.trashed)?;
            let extra = catalog.extra(&hash);
            let (accesses, last_access) = Store::accesses(&state, &hash);
            Some(Inventoried {
                id: hex(&hash),
                size: stored.kept.size,
                created: stored.created,
                last_access,
                accesses,
                names: stored.named.iter().map(ToString::to_string).collect(),
                tags: extra.tags.iter().cloned().collect(),
                referenced: catalog.is_referenced(&hash),
                mark: extra.mark,
                archived: extra.archived.is_some(),
                cold: stored.kept.cold.is_some(),
            })
        });
        Ok(rows.collect())
    }

    /// Delete an artifact and all its versions at once. Raises `PitConflict` while it is the newest version of a name or
    /// another artifact was made from it, unless force.
    #[pit_method(blocking)]
    fn delete(&self, id: &str, #[default(false)] force: bool) -> Result<()> {
        self.store.delete(&parse(id)?, force)
    }

    /// As `delete`, on a thread that may block.
    #[pit_method]
    async fn delete_async(self: Arc<Self>, id: String, #[default(false)] force: bool) -> Result<()> {
        self.elsewhere(move |this| this.delete(&id, force)).await
    }

    /// Hide artifacts until they are restored, put again, or deleted by `commit_trash`. Gives how many there were.
    #[pit_method]
    fn trash(&self, ids: Vec<&str>, #[default("")] reason: &str) -> Result<u64> {
        self.store.trash(parse_all(&ids)?, reason)
    }

    /// Bring artifacts back from the trash. Gives how many there were.
    #[pit_method]
    fn restore(&self, ids: Vec<&str>) -> Result<u64> {
        self.store.restore(parse_all(&ids)?)
    }

    /// What is in the trash, with the reason and since when (µs).
    #[pit_method]
    fn list_trash(&self) -> Result<Vec<Trashed>> {
        let rows = self.store.trashed().into_iter();
        Ok(rows.map(|(hash, size, reason, since)| Trashed { id: hex(&hash), size, reason, since }).collect())
    }

    /// Delete what is in the trash, or of it the ids given; gives how many and how many bytes. Without force, what is the newest
    /// version of a name or was made into another artifact comes back instead.
    #[pit_method(blocking)]
    fn commit_trash(
        &self,
        #[default(None)] ids: Option<Vec<String>>,
        #[default(true)] force: bool,
    ) -> Result<Emptied> {
        let only = ids.map(|ids| parse_all(&ids)).transpose()?;
        self.store.commit_trash(only.as_ref(), force)
    }

    /// As `commit_trash`, on a thread that may block.
    #[pit_method]
    async fn commit_trash_async(
        self: Arc<Self>,
        #[default(None)] ids: Option<Vec<String>>,
        #[default(true)] force: bool,
    ) -> Result<Emptied> {
        self.elsewhere(move |this| this.commit_trash(ids, force)).await
    }

    /// Keep an artifact compressed from now on; it is read as before. Gives cold, size, bytes (that it takes now) and the reason
    /// why it stays as it is: it is small, or compressing saves less than an eighth.
    #[pit_method(blocking)]
    fn cool(&self, id: &str) -> Result<Cooled> {
        let cooled = self.store.cool(&parse(id)?)?;
        self.store.rewrite_packs()?;
        Ok(cooled)
    }

    /// As cool, on a thread that may block.
    #[pit_method]
    async fn cool_async(self: Arc<Self>, id: String) -> Result<Cooled> {
        self.elsewhere(move |this| this.cool(&id)).await
    }

    /// Cool what was neither stored nor read within so many seconds, of so many contents in the order of their ids from the one
    /// behind after: checked, cooled, saved (bytes), damaged (ids; these stay as they are), next (where to go on, or None).
    #[pit_method(blocking)]
    fn cool_all(
        &self,
        idle: f64,
        #[default("")] after: &str,
        #[default(1000)] limit: usize,
    ) -> Result<CooledAll> {
        if !idle.is_finite() || idle < 0.0 {
            return Err(Error::invalid(format!("idle: expected seconds of at least 0, got {idle}")));
        }
        let hashes = self.page(after, limit)?;
        let next = (hashes.len() == limit).then(|| hashes.last().map(hex)).flatten();
        let cooled = self.store.cool_idle(hashes, idle)?;
        Ok(CooledAll { next, ..cooled })
    }

    /// As `cool_all`, on a thread that may block.
    #[pit_method]
    async fn cool_all_async(
        self: Arc<Self>,
        idle: f64,
        #[default("")] after: String,
        #[default(1000)] limit: usize,
    ) -> Result<CooledAll> {
        self.elsewhere(move |this| this.cool_all(idle, &after, limit)).await
    }

    /// Keep a cold artifact as it was put again.
    #[pit_method(blocking)]
    fn warm(&self, id: &str) -> Result<()> {
        self.store.warm(&parse(id)?)?;
        self.store.rewrite_packs()
    }

    /// As warm, on a thread that may block.
    #[pit_method]
    async fn warm_async(self: Arc<Self>, id: String) -> Result<()> {
        self.elsewhere(move |this| this.warm(&id)).await
    }

    /// Move the bytes of an artifact to another folder (an absolute path); what is known of it stays.
    #[pit_method(blocking)]
    fn archive(&self, id: &str, folder: &str) -> Result<()> {
        self.store.archive(&parse(id)?, folder)
    }

    /// As `archive`, on a thread that may block.
    #[pit_method]
    async fn archive_async(self: Arc<Self>, id: String, folder: String) -> Result<()> {
        self.elsewhere(move |this| this.archive(&id, &folder)).await
    }

    /// Bring the bytes of an archived artifact back.
    #[pit_method(blocking)]
    fn retrieve(&self, id: &str) -> Result<()> {
        self.store.retrieve(&parse(id)?)
    }

    /// As `retrieve`, on a thread that may block.
    #[pit_method]
    async fn retrieve_async(self: Arc<Self>, id: String) -> Result<()> {
        self.elsewhere(move |this| this.retrieve(&id)).await
    }
}

impl ArtifactStore {
    /// Do work that may take long on a thread of its own.
    async fn elsewhere<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let host = self.store.host;
        host.run_blocking(move || work(&self)).await
    }

    fn retag(&self, hash: &Hash, added: Vec<String>, removed: Vec<String>) -> Result<()> {
        let mut state = self.store.lock();
        state.catalog.find(hash)?;
        self.store.record(&mut state, Event::Tagged { hash: *hash, added, removed }, &[*hash]).map(|_| ())
    }

    /// Contents in the order of their ids, from the one behind `after`.
    fn page(&self, after: &str, limit: usize) -> Result<Vec<Hash>> {
        let after = if after.is_empty() { None } else { Some(parse(after)?) };
        let state = self.store.lock();
        Ok(state.catalog.contents.behind(after.as_ref()).take(limit).map(|(hash, _)| *hash).collect())
    }
}

impl Component for ArtifactStore {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { store: Arc::new(Store::new(host)) })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        let mut state = self.store.lock();
        state.catalog.restore(snapshot)?;
        for stored in state.catalog.contents.values() {
            self.store.content.note(stored.kept);
        }
        Ok(())
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        let event = Event::decode(record)?;
        if let Some(kept) = Kept::of(&event) {
            self.store.content.note(kept);
        }
        self.store.lock().catalog.apply(event, record.time);
        Ok(())
    }

    fn start(&self) -> Result<()> {
        self.store.start()
    }

    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.store.lock().catalog.snapshot()))
    }

    fn stop(&self) {
        self.store.stop();
    }
}

#[cfg(test)]
mod cold_test;
#[cfg(test)]
mod race_test;
#[cfg(test)]
mod tests;
