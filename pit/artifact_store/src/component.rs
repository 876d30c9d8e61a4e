//! The component: its method table, and what of it lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use symphony_pit::{Buffer, Component, Error, Host, Record, Result, ToPit, Value, ValueRef, pit_component};

use crate::catalog::{Catalog, Version};
use crate::content::Place;
use crate::hash::{Hash, hex, parse, parse_all};
use crate::records::Event;
use crate::store::{About, Emptied, Store, version_row};

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
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// Metadata: a dict, or none.
fn metadata(value: ValueRef<'_>) -> Result<Value> {
    if value.is_none() || value.as_map().is_some() {
        return Ok(value.to_owned());
    }
    Err(Error::invalid(format!("metadata: expected dict, got {}", value.type_name())))
}

fn find_version<'a>(catalog: &'a Catalog, name: &str, version: Option<u32>) -> Option<&'a Version> {
    let versions = catalog.names.get(name)?;
    match version {
        Some(number) => versions.iter().find(|version| version.number == number),
        None => versions.last(),
    }
}

impl ArtifactStore {
    fn about(
        name: &str,
        media_type: &str,
        metadata_value: ValueRef<'_>,
        step: &str,
        tags: Option<Vec<&str>>,
        inputs: Option<Vec<&str>>,
    ) -> Result<About> {
        Ok(About {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            metadata: metadata(metadata_value)?,
            step: step.to_owned(),
            tags: texts(&tags.unwrap_or_default()),
            inputs: parse_all(&inputs.unwrap_or_default())?,
            ..About::default()
        })
    }

    /// Deleting what something else points to would break it.
    fn check_unreferenced(&self, hashes: &[Hash]) -> Result<()> {
        let state = self.store.lock();
        match hashes.iter().find(|hash| state.catalog.is_referenced(hash)) {
            None => Ok(()),
            Some(hash) => {
                let names: Vec<&str> = state.catalog.versions_of(hash).map(|(name, _)| name).collect();
                let message = format!("artifact {} is referenced", hex(hash));
                Err(Error::conflict(message).with("names", names.join(", ")).with("made from it", {
                    let consumers = &state.catalog.extra(hash).consumers;
                    consumers.iter().map(hex).collect::<Vec<_>>().join(", ")
                }))
            }
        }
    }
}

#[pit_component(
    id = "symphony.artifact_store",
    description = "Everything that runs produce, addressed by content",
    revision = 2
)]
impl ArtifactStore {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: contents, names, bytes (of contents, each once), trashed, writers (open ones).
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
        #[default("")] name: &str,
        #[default("")] media_type: &str,
        #[default(None)] metadata: ValueRef<'_>,
        #[default("")] step: &str,
        #[default(None)] tags: Option<Vec<&str>>,
        #[default(None)] inputs: Option<Vec<&str>>,
        #[default(None)] parent: Option<u32>,
        #[default("")] message: &str,
        #[default("")] author: &str,
    ) -> Result<String> {
        let about = About {
            parent: parent.unwrap_or(0),
            message: message.to_owned(),
            author: author.to_owned(),
            ..Self::about(name, media_type, metadata, step, tags, inputs)?
        };
        self.store.put(content, about).map(|hash| hex(&hash))
    }

    /// As put, on a thread that may block.
    #[pit_method]
    async fn put_async(
        self: Arc<Self>,
        content: Vec<u8>,
        #[default("")] name: String,
        #[default("")] media_type: String,
        #[default("")] step: String,
    ) -> Result<String> {
        let (store, about) = (Arc::clone(&self.store), About { name, media_type, step, ..About::default() });
        self.store.host.run_blocking(move || store.put(&content, about)).await.map(|hash| hex(&hash))
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
        let store = Arc::clone(&self.store);
        self.store.host.run_blocking(move || store.incoming.write(&store.content, writer, &content)).await
    }

    /// All parts have come: the content is stored as put does. Returns its id.
    #[pit_method(blocking)]
    #[expect(clippy::too_many_arguments, reason = "as put")]
    fn commit_writer(
        &self,
        writer: u64,
        #[default("")] name: &str,
        #[default("")] media_type: &str,
        #[default(None)] metadata: ValueRef<'_>,
        #[default("")] step: &str,
        #[default(None)] tags: Option<Vec<&str>>,
        #[default(None)] inputs: Option<Vec<&str>>,
    ) -> Result<String> {
        let about = Self::about(name, media_type, metadata, step, tags, inputs)?;
        let hash = match self.store.incoming.complete(writer)? {
            Some(complete) => self.store.put_complete(complete, about)?,
            None => self.store.put(b"", about)?,
        };
        Ok(hex(&hash))
    }

    /// As `commit_writer`, on a thread that may block.
    #[pit_method]
    async fn commit_writer_async(
        self: Arc<Self>,
        writer: u64,
        #[default("")] name: String,
        #[default("")] media_type: String,
        #[default("")] step: String,
    ) -> Result<String> {
        let (store, about) = (Arc::clone(&self.store), About { name, media_type, step, ..About::default() });
        let job = move || match store.incoming.complete(writer)? {
            Some(complete) => store.put_complete(complete, about),
            None => store.put(b"", about),
        };
        self.store.host.run_blocking(job).await.map(|hash| hex(&hash))
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
    /// artifact was deleted.
    #[pit_method]
    fn read(&self, id: &str) -> Result<Buffer> {
        self.store.read(&parse(id)?)
    }

    /// Where the bytes of an id lie: path, offset, size. A pack may be rewritten when the trash is committed.
    #[pit_method]
    fn locate(&self, id: &str) -> Result<Location> {
        let hash = parse(id)?;
        let state = self.store.lock();
        let stored = state.catalog.find(&hash)?;
        let path = self.store.content.path(&hash, stored.place).to_string_lossy().into_owned();
        let offset = if let Place::Pack { offset, .. } = stored.place { offset } else { 0 };
        Ok(Location { path, offset, size: stored.size })
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
    /// archived (a folder or None), and its named versions.
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
            ("size", Value::from(stored.size)),
            ("created", Value::from(stored.created)),
            ("accesses", Value::from(accesses)),
            ("last_access", Value::from(last_access)),
            ("tags", Value::List(extra.tags.iter().map(|tag| Value::from(tag.as_str())).collect())),
            ("metadata", extra.metadata.clone()),
            ("mark", Value::from(extra.mark)),
            ("referenced", Value::from(catalog.is_referenced(&hash))),
            ("trashed", Value::from(stored.trashed)),
            ("archived", Value::from(extra.archived.clone())),
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
        #[default("")] media_type: &str,
        #[default(20)] limit: usize,
    ) -> Result<Vec<Value>> {
        self.store.search(query, filter(tags, metadata, media_type.to_owned()), limit)
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
        let store = Arc::clone(&self.store);
        let job = move || store.search(&query, filter(tags, metadata, media_type), limit);
        self.store.host.run_blocking(job).await
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
    fn annotate(&self, id: &str, metadata: ValueRef<'_>) -> Result<()> {
        let (hash, metadata) = (parse(id)?, self::metadata(metadata)?);
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
        let (store, hash) = (Arc::clone(&self.store), parse(&id)?);
        self.store.host.run_blocking(move || store.verify(&hash)).await
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
                size: stored.size,
                created: stored.created,
                last_access,
                accesses,
                names: stored.named.iter().map(ToString::to_string).collect(),
                tags: extra.tags.iter().cloned().collect(),
                referenced: catalog.is_referenced(&hash),
                mark: extra.mark,
                archived: extra.archived.is_some(),
            })
        });
        Ok(rows.collect())
    }

    /// Delete an artifact and all its versions at once. Raises `PitConflict` while it is the newest version of a name or
    /// another artifact was made from it, unless force.
    #[pit_method(blocking)]
    fn delete(&self, id: &str, #[default(false)] force: bool) -> Result<()> {
        let hash = parse(id)?;
        if !self.store.lock().catalog.contents.contains_key(&hash) {
            return Err(Error::not_found(format!("no artifact {id}")));
        }
        if !force {
            self.check_unreferenced(&[hash])?;
        }
        self.store.delete(&[hash]).map(|_| ())
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
        let trashed = self.store.trashed();
        let state = self.store.lock();
        let rows = trashed.into_iter().filter_map(|hash| {
            let (reason, since) = state.catalog.extra(&hash).trash.clone()?;
            let size = state.catalog.contents.get(&hash)?.size;
            Some(Trashed { id: hex(&hash), size, reason, since })
        });
        Ok(rows.collect())
    }

    /// Delete what is in the trash, or of it the ids given; gives how many and how many bytes.
    #[pit_method(blocking)]
    fn commit_trash(&self, #[default(None)] ids: Option<Vec<&str>>) -> Result<Emptied> {
        let trashed = self.store.trashed();
        let hashes = match ids {
            None => trashed,
            Some(ids) => {
                let wanted: BTreeSet<Hash> = parse_all(&ids)?.into_iter().collect();
                trashed.into_iter().filter(|hash| wanted.contains(hash)).collect()
            }
        };
        self.store.delete(&hashes)
    }

    /// As `commit_trash`, on a thread that may block.
    #[pit_method]
    async fn commit_trash_async(
        self: Arc<Self>,
        #[default(None)] ids: Option<Vec<String>>,
    ) -> Result<Emptied> {
        self.elsewhere(move |this| {
            this.commit_trash(ids.as_ref().map(|ids| ids.iter().map(String::as_str).collect()))
        })
        .await
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
        let from = if after.is_empty() {
            std::ops::Bound::Unbounded
        } else {
            std::ops::Bound::Excluded(parse(after)?)
        };
        let state = self.store.lock();
        Ok(state
            .catalog
            .contents
            .range((from, std::ops::Bound::Unbounded))
            .take(limit)
            .map(|(hash, _)| *hash)
            .collect())
    }
}

/// All that is reached over so many generations, nearest first, without the beginning.
fn reach(from: Hash, generations: u32, next: impl Fn(&Hash) -> Vec<Hash>) -> Vec<Hash> {
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

fn filter(
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

impl Component for ArtifactStore {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { store: Arc::new(Store::new(host)) })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        let mut state = self.store.lock();
        state.catalog.restore(snapshot)?;
        for stored in state.catalog.contents.values() {
            self.store.content.note(stored.place, stored.size);
        }
        Ok(())
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        let event = Event::decode(record)?;
        if let Event::Stored { size, place, .. } = &event {
            self.store.content.note(*place, *size);
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
mod tests;
