//! Taking contents away: the trash, and deleting for good.

use std::collections::BTreeSet;
use std::sync::MutexGuard;

use symphony_pit::{Error, Result};

use crate::catalog::{Catalog, Stored};
use crate::hash::{Hash, hex};
use crate::moving::archive_path;
use crate::place::Kept;
use crate::records::Event;
use crate::store::{State, Store};

/// Ids in one record.
const HASHES_PER_RECORD: usize = 10_000;

/// The current pack is left early where so many of its bytes are dead, and these are most of them.
const LEFT_EARLY: u64 = 1 << 20;

/// What was deleted.
#[derive(Clone, Copy, Default, symphony_pit::ToPit)]
pub(crate) struct Emptied {
    pub deleted: u64,
    pub bytes: u64,
}

impl Store {
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
        if let Some(missing) = unique.iter().find(|hash| !state.catalog.contents.contains_key(hash)) {
            return Err(Error::not_found(format!("no artifact {}", hex(missing))));
        }
        let concerned: Vec<Hash> = unique.into_iter().filter(|hash| concerns(&state, hash)).collect();
        for lot in concerned.chunks(HASHES_PER_RECORD) {
            self.record(&mut state, event(lot.to_vec()), lot)?;
        }
        Ok(concerned.len() as u64)
    }

    /// Delete content for good. What something else points to is only deleted by force, which would break that.
    pub fn delete(&self, hash: &Hash, force: bool) -> Result<()> {
        {
            let _leaving = self.leaving();
            let state = self.lock();
            if !state.catalog.contents.contains_key(hash) {
                return Err(Error::not_found(format!("no artifact {}", hex(hash))));
            }
            if !force && state.catalog.is_referenced(hash) {
                return Err(referenced(&state.catalog, hash));
            }
            self.take_away(state, &[*hash])?;
        }
        self.rewrite_packs()
    }

    /// Delete what is in the trash, or of it these. Unless by force, what is referenced by now comes back instead.
    pub fn commit_trash(&self, only: Option<&BTreeSet<Hash>>, force: bool) -> Result<Emptied> {
        let emptied = {
            let _leaving = self.leaving();
            let mut state = self.lock();
            let contents = &state.catalog.contents;
            let trashed = |hash: &&Hash| contents.get(hash).is_some_and(|stored| stored.trashed);
            let found: Vec<Hash> = match only {
                Some(only) => only.iter().filter(trashed).copied().collect(),
                None => contents.keys().filter(trashed).copied().collect(),
            };
            let (spared, gone): (Vec<Hash>, Vec<Hash>) =
                found.into_iter().partition(|hash| !force && state.catalog.is_referenced(hash));
            for lot in spared.chunks(HASHES_PER_RECORD) {
                self.record(&mut state, Event::Restored { hashes: lot.to_vec() }, lot)?;
            }
            self.take_away(state, &gone)?
        };
        self.rewrite_packs()?;
        Ok(emptied)
    }

    /// The record comes first, so that no record ever names what is not there.
    fn take_away(&self, mut state: MutexGuard<'_, State>, hashes: &[Hash]) -> Result<Emptied> {
        let mut emptied = Emptied::default();
        let (mut places, mut archived) = (Vec::new(), Vec::new());
        for lot in hashes.chunks(HASHES_PER_RECORD) {
            for hash in lot {
                if let Some(stored) = state.catalog.contents.get(hash) {
                    emptied.deleted += 1;
                    emptied.bytes += stored.kept.size;
                    match &state.catalog.extra(hash).archived {
                        Some(folder) => archived.push(archive_path(folder, hash)),
                        None => places.push((*hash, stored.kept)),
                    }
                }
                state.accesses.remove(hash);
            }
            self.record(&mut state, Event::Deleted { hashes: lot.to_vec() }, lot)?;
        }
        state.catalog.deleted.clear();
        drop(state);
        for path in archived {
            let _ = std::fs::remove_file(path); // its folder may be on a disk that is elsewhere by now
        }
        self.left(places)?;
        Ok(emptied)
    }

    /// Remove the files that contents have left. To be called while nothing gets a place.
    pub fn left(&self, places: Vec<(Hash, Kept)>) -> Result<()> {
        for (hash, kept) in places {
            self.content.remove(&hash, kept)?;
        }
        self.lock().catalog.left.clear();
        Ok(())
    }

    /// What is in the trash: id, size, reason, since when (µs).
    pub fn trashed(&self) -> Vec<(Hash, u64, String, i64)> {
        let state = self.lock();
        let trashed = state.catalog.contents.iter().filter(|(_, stored)| stored.trashed);
        let row = |(hash, stored): (&Hash, &Stored)| {
            let (reason, since) = state.catalog.extra(hash).trash.clone()?;
            Some((*hash, stored.kept.size, reason, since))
        };
        trashed.filter_map(row).collect()
    }

    /// Move what is left in packs that are mostly dead, and remove them.
    pub fn rewrite_packs(&self) -> Result<()> {
        for pack in self.dead_packs() {
            let contents = self.lock().catalog.contents_of(pack);
            for (hash, kept) in contents {
                self.repack(&hash, kept)?;
            }
            let _leaving = self.leaving();
            let mut state = self.lock();
            if state.catalog.contents_of(pack).is_empty() {
                state.catalog.packs.remove(&pack);
                drop(state);
                self.content.remove_pack(pack)?;
            }
        }
        Ok(())
    }

    /// The current pack is left for a new one where much of it is dead.
    fn dead_packs(&self) -> Vec<u32> {
        let _leaving = self.leaving();
        let state = self.lock();
        let packs = state.catalog.packs.iter();
        let dead = packs.filter(|(_, (all, dead))| *dead * 2 > *all);
        let current = self.content.current_pack();
        let worth = |pack: &u32, dead: u64| {
            if *pack == current && dead >= LEFT_EARLY {
                self.content.leave_pack();
            }
            *pack != self.content.current_pack()
        };
        dead.filter(|(pack, (_, dead))| worth(pack, *dead)).map(|(pack, _)| *pack).collect()
    }

    fn repack(&self, hash: &Hash, kept: Kept) -> Result<()> {
        let _placing = self.placing();
        if !self.lock().catalog.lies(hash, kept) {
            return Ok(()); // deleted or moved meanwhile
        }
        let place = self.content.append(&self.content.read_raw(hash, kept)?)?;
        let mut state = self.lock();
        if state.catalog.lies(hash, kept) {
            self.record(&mut state, Kept { place, ..kept }.event(*hash), &[])?;
        }
        Ok(())
    }
}

fn referenced(catalog: &Catalog, hash: &Hash) -> Error {
    let names: Vec<&str> = catalog.versions_of(hash).map(|(name, _)| name).collect();
    let consumers: Vec<String> = catalog.extra(hash).consumers.iter().map(hex).collect();
    Error::conflict(format!("artifact {} is referenced", hex(hash)))
        .with("names", names.join(", "))
        .with("made from it", consumers.join(", "))
}
