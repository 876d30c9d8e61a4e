//! Which contents there are, and what is known of them. Changes by [`Catalog::apply`] alone, also in a replay.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use symphony_pit::{Error, Result, Value};

use crate::by_hash::ByHash;
use crate::hash::{Hash, hex};
use crate::place::{Kept, Place};
use crate::records::{Access, Event, Naming};

/// One content.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub kept: Kept,
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
    pub contents: ByHash<Stored>,
    pub names: BTreeMap<Arc<str>, Vec<Version>>,
    extras: HashMap<Hash, Extra>,
    /// Sum of all sizes, each content once.
    pub bytes: u64,
    /// Changes so far that concern the search index.
    pub changes: u64,
    /// Deleted since the start of the process or in its replay: the index may not have seen it.
    pub deleted: Vec<Hash>,
    /// Files that content has left in that time: a process that was killed may not have removed them.
    pub left: Vec<(Hash, Kept)>,
    /// How many contents are cold, and the bytes that this saves.
    pub cold: u64,
    pub saved: u64,
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

    /// Account for content that has come to a place.
    fn enter(&mut self, kept: Kept) {
        if let Place::Pack { pack, .. } = kept.place {
            self.packs.entry(pack).or_default().0 += kept.bytes();
        }
        if kept.cold.is_some() {
            self.cold += 1;
            self.saved += kept.saved();
        }
    }

    /// Account for content that is at this place no more.
    fn leave(&mut self, hash: &Hash, kept: Kept) {
        match kept.place {
            Place::Pack { pack, .. } => self.packs.entry(pack).or_default().1 += kept.bytes(),
            Place::File => self.left.push((*hash, kept)),
        }
        if kept.cold.is_some() {
            self.cold -= 1;
            self.saved -= kept.saved();
        }
    }

    /// What lies in a pack.
    pub fn contents_of(&self, pack: u32) -> Vec<(Hash, Kept)> {
        let here = |(hash, stored): &(&Hash, &Stored)| {
            matches!(stored.kept.place, Place::Pack { pack: own, .. } if own == pack)
                && self.extra(hash).archived.is_none()
        };
        self.contents.iter().filter(here).map(|(hash, stored)| (*hash, stored.kept)).collect()
    }

    /// Whether the content lies there, and nowhere else.
    pub fn lies(&self, hash: &Hash, kept: Kept) -> bool {
        self.contents.get(hash).is_some_and(|stored| stored.kept == kept)
            && self.extra(hash).archived.is_none()
    }

    pub fn apply(&mut self, event: Event, time: i64) {
        match event {
            Event::Stored { hash, size, place } => self.store(hash, Kept { place, size, cold: None }, time),
            Event::Cooled { hash, place, bytes } => self.cool(hash, place, bytes, time),
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
                if let Some(stored) = self.contents.get_mut(&hash) {
                    let kept = stored.kept;
                    stored.kept.cold = None; // as it lies in the folder
                    self.leave(&hash, kept);
                }
                self.extras.entry(hash).or_default().archived = Some(folder);
            }
        }
    }

    fn store(&mut self, hash: Hash, kept: Kept, time: i64) {
        self.enter(kept);
        let moved = self.contents.get_mut(&hash).map(|known| std::mem::replace(&mut known.kept, kept));
        if let Some(old) = moved {
            let archived = self.extras.get_mut(&hash).and_then(|extra| extra.archived.take()).is_some();
            if !archived {
                self.leave(&hash, old);
            }
            return;
        }
        self.changes += 1;
        let (accesses, last_access, named, trashed) = (0, time, Vec::new(), false);
        let changed = self.changes;
        let stored = Stored { kept, created: time, accesses, last_access, changed, named, trashed };
        self.contents.insert(hash, stored);
        self.bytes += kept.size;
    }

    fn cool(&mut self, hash: Hash, place: Place, bytes: NonZeroU64, time: i64) {
        if let Some(size) = self.contents.get(&hash).map(|stored| stored.kept.size) {
            self.store(hash, Kept { place, size, cold: Some(bytes) }, time);
        }
    }

    fn name(&mut self, mut naming: Naming, time: i64) {
        self.changes += 1;
        let entry = self.names.entry(std::mem::take(&mut naming.name).into());
        let name = Arc::clone(entry.key());
        if let Some(stored) = self.contents.get_mut(&naming.hash) {
            stored.changed = self.changes;
            if stored.named.is_empty() {
                stored.named.reserve_exact(1); // most contents have one name, and a growing list takes room for four
            }
            if !stored.named.contains(&name) {
                stored.named.push(name);
            }
        }
        let versions = entry.or_default();
        if versions.is_empty() {
            versions.reserve_exact(1); // most names have one version
        }
        let number = versions.last().map_or(0, |version| version.number) + 1;
        versions.push(Version { number, naming, created: time });
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
        self.bytes -= stored.kept.size;
        let extra = self.extras.remove(hash).unwrap_or_default();
        if extra.archived.is_none() {
            self.leave(hash, stored.kept);
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
        self.deleted.push(*hash);
    }
}
