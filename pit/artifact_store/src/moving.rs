//! Giving content another place or form: the cold tier and back, another folder and back.

use std::path::{Path, PathBuf};

use symphony_pit::{Error, ErrorKind, Result, ToPit};

use crate::cold::SMALL;
use crate::hash::{Hash, hex};
use crate::place::Kept;
use crate::records::Event;
use crate::staged::Staged;
use crate::store::Store;

/// What became of content that was to be compressed.
#[derive(Clone, PartialEq, Eq, Debug, ToPit)]
pub(crate) struct Cooled {
    pub cold: bool,
    pub size: u64,
    /// Bytes that it takes now.
    pub bytes: u64,
    /// Why nothing was done; empty where it was.
    pub reason: String,
}

/// What became of a page of contents.
#[derive(Default, ToPit)]
pub(crate) struct CooledAll {
    pub checked: u64,
    pub cooled: u64,
    pub saved: u64,
    pub damaged: Vec<String>,
    pub next: Option<String>,
}

pub(crate) fn archive_path(folder: &str, hash: &Hash) -> PathBuf {
    Path::new(folder).join(hex(hash))
}

impl Store {
    /// Keep content compressed from now on, where that pays.
    pub fn cool(&self, hash: &Hash) -> Result<Cooled> {
        let kept = self.lock().catalog.find(hash)?.kept;
        let row = |kept: Kept, reason: &str| Cooled {
            cold: kept.cold.is_some(),
            size: kept.size,
            bytes: kept.bytes(),
            reason: reason.to_owned(),
        };
        if kept.cold.is_some() {
            return Ok(row(kept, "cold already"));
        }
        if kept.size < SMALL {
            return Ok(row(kept, "smaller than 4 KiB"));
        }
        match self.wherever(hash, kept, |kept| self.content.compress(hash, kept))? {
            None => Ok(row(kept, "compressing saves less than an eighth")),
            Some(staged) => Ok(row(self.replace(hash, staged)?, "")),
        }
    }

    /// Cool those of the contents that were not used for so many seconds.
    pub fn cool_idle(&self, hashes: Vec<Hash>, idle: f64) -> Result<CooledAll> {
        let mut all = CooledAll::default();
        for hash in hashes {
            if !self.is_idle(&hash, idle) {
                continue;
            }
            all.checked += 1;
            match self.cool(&hash) {
                Ok(cooled) if cooled.reason.is_empty() => {
                    all.cooled += 1;
                    all.saved += cooled.size - cooled.bytes;
                }
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::Corrupt => all.damaged.push(hex(&hash)),
                Err(error) if error.kind == ErrorKind::NotFound => {} // deleted meanwhile, or the file is gone
                Err(error) => return Err(error),
            }
        }
        self.rewrite_packs()?;
        Ok(all)
    }

    /// In the trash or in another folder nothing is to be done about it.
    fn is_idle(&self, hash: &Hash, idle: f64) -> bool {
        let state = self.lock();
        let last = Self::accesses(&state, hash).1;
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let seconds = (self.host.now() - last) as f64 / 1e6;
        state.catalog.find(hash).is_ok() && seconds >= idle
    }

    /// Keep content as it was put from now on.
    pub fn warm(&self, hash: &Hash) -> Result<()> {
        let kept = self.lock().catalog.find(hash)?.kept;
        if kept.cold.is_some() {
            let bytes = self.wherever(hash, kept, |kept| self.content.read(hash, kept))?;
            self.replace(hash, self.content.stage(bytes.as_ref())?)?;
        }
        Ok(())
    }

    /// Complete at the new place first, then named by a record, then removed from the old place.
    fn replace(&self, hash: &Hash, staged: Staged<'_>) -> Result<Kept> {
        let _leaving = self.leaving();
        let old = self.lock().catalog.find(hash)?.kept;
        if old.cold.is_some() == staged.cold.is_some() {
            return Ok(old); // another thread was faster
        }
        let new = self.content.settle(hash, staged)?;
        let recorded = self.record(&mut self.lock(), new.event(*hash), &[]);
        recorded.inspect_err(|_| {
            let _ = self.content.remove(hash, new); // nothing names it
        })?;
        self.left(vec![(*hash, old)])?;
        Ok(new)
    }

    /// Move content to another folder, verified there before it goes here.
    pub fn archive(&self, hash: &Hash, folder: &str) -> Result<()> {
        if !Path::new(folder).is_absolute() {
            return Err(Error::invalid(format!("folder: expected an absolute path, got {folder:?}")));
        }
        let kept = self.lock().catalog.find(hash)?.kept;
        let path = archive_path(folder, hash);
        let io = |error: std::io::Error| Error::io(format!("cannot write {}", path.display()), &error);
        let bytes = self.wherever(hash, kept, |kept| self.content.read(hash, kept))?;
        if Hash::from(blake3::hash(bytes.as_ref())) != *hash {
            return Err(Error::corrupt(format!("artifact {} is damaged and stays where it is", hex(hash))));
        }
        std::fs::create_dir_all(folder).map_err(io)?;
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, bytes.as_ref()).map_err(io)?;
        std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::rename(&temporary, &path).map_err(io)?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        let _leaving = self.leaving();
        let mut state = self.lock();
        let kept = state.catalog.find(hash)?.kept;
        self.record(&mut state, Event::Archived { hash: *hash, folder: folder.to_owned() }, &[*hash])?;
        drop(state);
        self.left(vec![(*hash, kept)])
    }

    pub fn retrieve(&self, hash: &Hash) -> Result<()> {
        let folder = self.lock().catalog.extra(hash).archived.clone();
        let folder =
            folder.ok_or_else(|| Error::conflict(format!("artifact {} is not archived", hex(hash))))?;
        let path = archive_path(&folder, hash);
        let bytes = std::fs::read(&path)
            .map_err(|error| Error::io(format!("cannot read {}", path.display()), &error))?;
        if Hash::from(blake3::hash(&bytes)) != *hash {
            return Err(Error::corrupt(format!("{} is damaged", path.display())));
        }
        drop(self.ensure(hash, || self.content.stage(&bytes))?);
        let _ = std::fs::remove_file(path); // a copy that stays does no harm
        Ok(())
    }
}
