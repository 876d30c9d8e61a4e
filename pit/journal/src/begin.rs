//! Where the log begins once its first segments were retired, and what was in those: the file `log/begin`.
//!
//! A few lines of text, written under a temporary name, flushed and renamed: whatever the process dies of, segments before the
//! beginning are either still there and of no account, or gone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const TITLE: &str = "symphony log begin 1";
const NAME: &str = "begin";
/// Beneath the log's folder: retired segments of which some records are still wanted.
const KEPT: &str = "kept";

/// A component of which there were records in retired segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub name: String,
    /// Position of its last record that is in no file any more: a snapshot must have it.
    pub dropped: Option<u64>,
}

/// The beginning of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Of the first segment.
    pub index: u64,
    /// Its position.
    pub first: u64,
    /// By number.
    pub known: BTreeMap<u16, Known>,
}

impl Begin {
    /// Of the log in `dir`; the start of everything where nothing was retired.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io(&path, "read", error)),
        };
        Self::parse(&text).ok_or(Error::Begin { path })
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, check) = text.strip_suffix('\n')?.rsplit_once("\ncheck ")?;
        if check != check_of(body) {
            return None;
        }
        let mut lines = body.split('\n');
        if lines.next()? != TITLE {
            return None;
        }
        let index = lines.next()?.strip_prefix("segment ")?.parse().ok()?;
        let first = lines.next()?.strip_prefix("position ")?.parse().ok()?;
        let known = lines.map(|line| {
            let (number, rest) = line.split_once(' ')?;
            let (dropped, name) = rest.split_once(' ')?;
            let dropped = if dropped == "-" { None } else { Some(dropped.parse().ok()?) };
            Some((number.parse().ok()?, Known { name: name.to_owned(), dropped }))
        });
        Some(Self { index, first, known: known.collect::<Option<_>>()? })
    }

    fn text(&self) -> String {
        let mut text = format!("{TITLE}\nsegment {}\nposition {}", self.index, self.first);
        for (number, Known { name, dropped }) in &self.known {
            let dropped = dropped.map_or_else(|| "-".to_owned(), |position| position.to_string());
            let _ = write!(text, "\n{number} {dropped} {name}"); // a String takes everything
        }
        let check = check_of(&text);
        format!("{text}\ncheck {check}\n")
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        write_whole(&dir.join(NAME), self.text().as_bytes())
    }

    /// Account for a record that no file holds any more.
    pub fn drop_record(&mut self, number: u16, position: u64) {
        if let Some(known) = self.known.get_mut(&number) {
            known.dropped = known.dropped.max(Some(position));
        }
    }

    pub fn names(&self) -> impl Iterator<Item = (u16, &str)> {
        self.known.iter().map(|(number, known)| (*number, known.name.as_str()))
    }
}

fn check_of(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// Write a file so that it is there in full or not at all, whatever happens.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error| Error::io(path, "write", error))
}

/// The folder of what is kept of retired segments.
pub(crate) fn kept_folder(dir: &Path) -> PathBuf {
    dir.join(KEPT)
}

/// Position of a component's last record that only a snapshot of it can have, in the log of the Pit at `pit`.
pub fn dropped(pit: &Path, component: &str) -> Result<Option<u64>> {
    let begin = Begin::read(&pit.join("log"))?;
    Ok(begin.known.into_values().find(|known| known.name == component).and_then(|known| known.dropped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_every_damage_of_it_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Begin::read(dir.path()).unwrap(), Begin::default());
        let known = [("a.b", Some(u64::MAX)), ("odd name", None)];
        let known = known.map(|(name, dropped)| Known { name: name.to_owned(), dropped });
        let begin = Begin { index: 3, first: 48 << 20, known: (1..).zip(known).collect() };
        begin.write(dir.path()).unwrap();
        assert_eq!(Begin::read(dir.path()).unwrap(), begin);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let path = dir.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(Begin::read(dir.path()).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(Begin::read(dir.path()).is_err(), "{length} bytes");
        }
    }
}
