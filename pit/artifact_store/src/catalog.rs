//! Which contents there are, and what is known of them. Changes by [`Catalog::apply`] alone, also in a replay.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Record, Result, Value};

use crate::content::Place;
use crate::hash::{Hash, hex};
use crate::records::{Access, Event, Naming, REVISION};

/// One content.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub place: Place,
    pub size: u64,
    pub created: i64,
    pub accesses: u64,
    pub last_access: i64,
    /// Number of the change that the search index must have seen.
    pub changed: u64,
    /// Names that have a version of it.
    pub named: Vec<Arc<str>>,
    pub trashed: bool,
}

/// One version of a name, which stands in the catalog's key alone.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub number: u32,
    pub naming: Naming,
    pub created: i64,
}

/// What only some contents have.
#[derive(Clone, Default, Debug)]
pub(crate) struct Extra {
    pub tags: BTreeSet<String>,
    /// Which steps made it, and from what.
    pub made: Vec<(String, Vec<Hash>)>,
    /// Contents that were made from it.
    pub consumers: Vec<Hash>,
    pub mark: Option<f64>,
    pub metadata: Value,
    pub archived: Option<String>,
    /// Why it is in the trash, and since when (µs).
    pub trash: Option<(String, i64)>,
}

#[derive(Default)]
pub(crate) struct Catalog {
    pub contents: BTreeMap<Hash, Stored>,
    pub names: BTreeMap<Arc<str>, Vec<Version>>,
    extras: HashMap<Hash, Extra>,
    /// Sum of all sizes, each content once.
    pub bytes: u64,
    /// Changes so far that concern the search index.
    pub changes: u64,
    /// Deleted since the start of the process or in its replay: their files may be left over.
    pub deleted: Vec<(Hash, Place)>,
    /// Bytes of each pack, and of those the ones that nothing names any more.
    pub packs: BTreeMap<u32, (u64, u64)>,
}

static NO_EXTRA: std::sync::LazyLock<Extra> = std::sync::LazyLock::new(Extra::default);

impl Catalog {
    /// Content that is there and not in the trash.
    pub fn find(&self, hash: &Hash) -> Result<&Stored> {
        let stored =
            self.contents.get(hash).ok_or_else(|| Error::not_found(format!("no artifact {}", hex(hash))))?;
        if stored.trashed {
            let message = format!("artifact {} is in the trash", hex(hash));
            return Err(Error::not_found(message).with("bring it back", "restore([id])"));
        }
        if let Some(folder) = &self.extra(hash).archived {
            let message = format!("artifact {} is archived in {folder}", hex(hash));
            return Err(Error::not_found(message).with("bring it back", "retrieve(id)"));
        }
        Ok(stored)
    }

    pub fn extra(&self, hash: &Hash) -> &Extra {
        self.extras.get(hash).unwrap_or(&NO_EXTRA)
    }

    /// Every version of a content, by name.
    pub fn versions_of(&self, hash: &Hash) -> impl Iterator<Item = (&str, &Version)> {
        let names = self.contents.get(hash).into_iter().flat_map(|stored| &stored.named);
        names.filter_map(|name| self.names.get_key_value(name)).flat_map(move |(name, versions)| {
            versions.iter().filter(|version| version.naming.hash == *hash).map(|version| (&**name, version))
        })
    }

    /// Whether something that is kept points to it: a name's newest version, or an artifact made from it.
    pub fn is_referenced(&self, hash: &Hash) -> bool {
        let named = self.contents.get(hash).into_iter().flat_map(|stored| &stored.named);
        let newest = |name| self.names.get(name).and_then(|versions: &Vec<Version>| versions.last());
        named.filter_map(newest).any(|version| version.naming.hash == *hash)
            || self
                .extra(hash)
                .consumers
                .iter()
                .any(|consumer| self.contents.get(consumer).is_some_and(|stored| !stored.trashed))
    }

    fn touch(&mut self, hash: &Hash) {
        self.changes += 1;
        if let Some(stored) = self.contents.get_mut(hash) {
            stored.changed = self.changes;
        }
    }

    fn forget_place(&mut self, place: Place, size: u64) {
        if let Place::Pack { pack, .. } = place {
            self.packs.entry(pack).or_default().1 += size;
        }
    }

    pub fn apply(&mut self, event: Event, time: i64) {
        match event {
            Event::Stored { hash, size, place } => self.store(hash, size, place, time),
            Event::Named(naming) => self.name(naming, time),
            Event::Tagged { hash, added, removed } => {
                let tags = &mut self.extras.entry(hash).or_default().tags;
                tags.extend(added);
                for tag in &removed {
                    tags.remove(tag);
                }
                self.touch(&hash);
            }
            Event::Made { hash, step, inputs } => {
                for input in &inputs {
                    let consumers = &mut self.extras.entry(*input).or_default().consumers;
                    if !consumers.contains(&hash) {
                        consumers.push(hash);
                    }
                }
                self.extras.entry(hash).or_default().made.push((step, inputs));
            }
            Event::Trashed { hashes, reason } => {
                for hash in hashes {
                    self.set_trashed(&hash, true);
                    self.extras.entry(hash).or_default().trash = Some((reason.clone(), time));
                }
            }
            Event::Restored { hashes } => {
                for hash in hashes {
                    self.set_trashed(&hash, false);
                    self.extras.entry(hash).or_default().trash = None;
                }
            }
            Event::Deleted { hashes } => hashes.iter().for_each(|hash| self.delete(hash)),
            Event::Accessed { accesses } => {
                for access in accesses {
                    self.access(&access);
                }
            }
            Event::Marked { hash, value } => self.extras.entry(hash).or_default().mark = value,
            Event::Annotated { hash, metadata } => {
                self.extras.entry(hash).or_default().metadata = metadata;
                self.touch(&hash);
            }
            Event::Archived { hash, folder } => {
                if let Some(place) = self.contents.get(&hash).map(|stored| (stored.place, stored.size)) {
                    self.forget_place(place.0, place.1);
                }
                self.extras.entry(hash).or_default().archived = Some(folder);
            }
        }
    }

    fn store(&mut self, hash: Hash, size: u64, place: Place, time: i64) {
        if let Place::Pack { pack, .. } = place {
            self.packs.entry(pack).or_default().0 += size;
        }
        let moved = self.contents.get_mut(&hash).map(|known| std::mem::replace(&mut known.place, place));
        if let Some(old) = moved {
            let archived = self.extras.get_mut(&hash).and_then(|extra| extra.archived.take()).is_some();
            if !archived {
                self.forget_place(old, size);
            }
            return;
        }
        let (accesses, last_access, named, trashed) = (0, time, Vec::new(), false);
        let stored = Stored { place, size, created: time, accesses, last_access, changed: 0, named, trashed };
        self.contents.insert(hash, stored);
        self.bytes += size;
        self.touch(&hash);
    }

    fn name(&mut self, mut naming: Naming, time: i64) {
        let (hash, text) = (naming.hash, std::mem::take(&mut naming.name));
        let name =
            self.names.get_key_value(text.as_str()).map_or_else(|| text.into(), |(name, _)| Arc::clone(name));
        let versions = self.names.entry(Arc::clone(&name)).or_default();
        let number = versions.last().map_or(0, |version| version.number) + 1;
        versions.push(Version { number, naming, created: time });
        if let Some(stored) = self.contents.get_mut(&hash)
            && !stored.named.contains(&name)
        {
            stored.named.push(name);
        }
        self.touch(&hash);
    }

    fn set_trashed(&mut self, hash: &Hash, trashed: bool) {
        if let Some(stored) = self.contents.get_mut(hash) {
            stored.trashed = trashed;
        }
        self.touch(hash);
    }

    fn access(&mut self, access: &Access) {
        if let Some(stored) = self.contents.get_mut(&access.hash) {
            stored.accesses += access.count;
            stored.last_access = stored.last_access.max(access.last);
        }
    }

    fn delete(&mut self, hash: &Hash) {
        self.changes += 1;
        let Some(stored) = self.contents.remove(hash) else { return };
        self.bytes -= stored.size;
        let extra = self.extras.remove(hash).unwrap_or_default();
        if extra.archived.is_none() {
            self.forget_place(stored.place, stored.size);
        }
        for input in extra.made.iter().flat_map(|(_, inputs)| inputs) {
            if let Some(extra) = self.extras.get_mut(input) {
                extra.consumers.retain(|consumer| consumer != hash);
            }
        }
        for name in stored.named {
            if let Some(versions) = self.names.get_mut(&name) {
                versions.retain(|version| version.naming.hash != *hash);
                if versions.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
        self.deleted.push((*hash, stored.place));
    }

    /// Text and filters of one content, for the search index.
    pub fn searchable(&self, hash: &Hash) -> Option<Searchable> {
        let stored = self.contents.get(hash).filter(|stored| !stored.trashed)?;
        let extra = self.extra(hash);
        let mut found = Searchable {
            names: String::new(),
            tags: extra.tags.iter().flat_map(|tag| [tag.as_str(), " "]).collect(),
            metadata: String::new(),
            media_type: String::new(),
            place: stored.place,
            size: if extra.archived.is_some() { 0 } else { stored.size },
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

    /// The shortest log that leads to this state, and the numbers that no event carries.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut events: Vec<(i64, Event)> = Vec::new();
        for (hash, stored) in &self.contents {
            let (hash, extra) = (*hash, self.extra(hash));
            events.push((stored.created, Event::Stored { hash, size: stored.size, place: stored.place }));
            if stored.accesses > 0 {
                let access = Access { hash, count: stored.accesses, last: stored.last_access };
                events.push((0, Event::Accessed { accesses: vec![access] }));
            }
            if !extra.tags.is_empty() {
                let added = extra.tags.iter().cloned().collect();
                events.push((0, Event::Tagged { hash, added, removed: Vec::new() }));
            }
            if extra.mark.is_some() {
                events.push((0, Event::Marked { hash, value: extra.mark }));
            }
            if extra.metadata != Value::None {
                events.push((0, Event::Annotated { hash, metadata: extra.metadata.clone() }));
            }
            if let Some(folder) = &extra.archived {
                events.push((0, Event::Archived { hash, folder: folder.clone() }));
            }
            if let Some((reason, time)) = &extra.trash {
                events.push((*time, Event::Trashed { hashes: vec![hash], reason: reason.clone() }));
            }
            for (step, inputs) in &extra.made {
                events.push((0, Event::Made { hash, step: step.clone(), inputs: inputs.clone() }));
            }
        }
        let numbers: Vec<(&str, u32)> =
            self.names.iter().flat_map(|(name, all)| all.iter().map(move |v| (&**name, v.number))).collect();
        for (name, version) in self.names.iter().flat_map(|(name, all)| all.iter().map(move |v| (name, v))) {
            let naming = Naming { name: name.to_string(), ..version.naming.clone() };
            events.push((version.created, Event::Named(naming)));
        }
        Writer::default()
            .each(events.iter(), |writer, (time, event)| {
                writer.i64(*time).u32(event.kind().into()).bytes(&event.encode())
            })
            .each(numbers.into_iter(), |writer, (name, number)| writer.str(name).u32(number))
            .each(self.packs.iter(), |writer, (pack, (all, dead))| writer.u32(*pack).u64(*all).u64(*dead))
            .u64(self.changes)
            .finish()
    }

    pub fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let mut reader = Reader::new(snapshot);
        let events = reader.each(|reader| Ok((reader.i64()?, reader.u32()?, reader.bytes()?)))?;
        for (time, kind, payload) in events {
            let kind = u16::try_from(kind).unwrap_or(u16::MAX);
            self.apply(
                Event::decode(&Record { position: 0, time, kind, revision: REVISION, payload })?,
                time,
            );
        }
        let numbers = reader.each(|reader| Ok((reader.str()?, reader.u32()?)))?;
        for (version, (_, number)) in self.names.values_mut().flatten().zip(numbers) {
            version.number = number;
        }
        let packs = reader.each(|reader| Ok((reader.u32()?, (reader.u64()?, reader.u64()?))))?;
        self.packs = packs.into_iter().collect();
        self.changes = reader.u64()?;
        Ok(())
    }
}

/// What the index is told of a content.
pub(crate) struct Searchable {
    pub names: String,
    pub tags: String,
    pub metadata: String,
    pub media_type: String,
    pub place: Place,
    pub size: u64,
}

/// Every text and number in a value.
fn words(value: &Value, text: &mut String) {
    match value.base() {
        Value::Str(word) => text.push_str(word),
        Value::Int(number) => text.push_str(&number.to_string()),
        Value::Float(number) => text.push_str(&number.to_string()),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
            items.iter().for_each(|item| words(item, text));
        }
        Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            words(key, text);
            words(value, text);
        }),
        _ => return,
    }
    text.push(' ');
}
