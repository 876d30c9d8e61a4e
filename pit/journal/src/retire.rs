//! Letting go of the oldest segments, once all that is in them is known elsewhere.
//!
//! In this order: what is still wanted of a segment is written beside the log, then `begin` says that the log begins behind
//! it, then the file goes. Each step is on the disk before the next; a death in between leaves what the next start clears away.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::begin::{Begin, Known, kept_folder};
use crate::error::{Error, Result};
use crate::format::{Head, Parsed, RECORD_HEADER, SEGMENT_HEADER, SegmentHeader, segment_header};
use crate::recovery::segment_indices;
use crate::scan::Contents;
use crate::segment::{path_of, seal};

/// What the components of a Pit know without the log.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Position up to which a snapshot has a component's records, for each component that has one, loaded or not.
    pub snapshots: BTreeMap<String, u64>,
    /// Components that are loaded: a snapshot of theirs that is not as far yet will be.
    pub loaded: Vec<String>,
}

/// What was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retirement {
    pub segments: usize,
    /// Records that no snapshot has, of components that are not loaded or make none: they are kept beside the log.
    pub kept: usize,
}

impl Coverage {
    /// Where the log may begin at the latest: before it, no loaded component that makes snapshots needs a record.
    fn bound(&self) -> u64 {
        let loaded = self.loaded.iter().filter_map(|id| self.snapshots.get(id)).copied();
        loaded.min().unwrap_or(0)
    }

    fn has(&self, component: &str, position: u64) -> bool {
        self.snapshots.get(component).is_some_and(|covered| position <= *covered)
    }
}

/// A segment that can go.
struct Leaving {
    index: u64,
    header: SegmentHeader,
    contents: Contents,
}

/// Find the segments of the log in `dir` that can go: sealed, read to their end, and before `before`.
fn leaving(dir: &Path, begin: &Begin, before: u64, current: u64) -> Result<Vec<Leaving>> {
    let mut found = Vec::new();
    for index in segment_indices(dir, begin)?.into_iter().filter(|index| *index < current) {
        let path = path_of(dir, index);
        let header = Contents::read_header(&path)?;
        let Some(sealed) = header.sealed.filter(|_| header.first + header.size <= before) else { break };
        let contents = Contents::read(&path)?;
        let end = contents.records().last().map_or(SEGMENT_HEADER, |(at, record)| at + record.size);
        if (end as u64) < sealed {
            break; // a thread has not published yet what it claimed
        }
        found.push(Leaving { index, header, contents });
    }
    Ok(found)
}

/// Retire what can go of the log in `dir`; `gone` is told of each segment before its file goes. Only for the holder of the lease.
pub(crate) fn retire(
    dir: &Path,
    coverage: &Coverage,
    before: u64,
    current: u64,
    mut gone: impl FnMut(u64),
) -> Result<Retirement> {
    let mut begin = Begin::read(dir)?;
    let found = leaving(dir, &begin, before.min(coverage.bound()), current)?;
    let Some(last) = found.last() else { return Ok(Retirement::default()) };
    (begin.index, begin.first) = (last.index + 1, last.header.first + last.header.size);
    // What the snapshots cover must be in the log as it lies on the disk: by that they are told from those of another log.
    for index in segment_indices(dir, &begin)? {
        let path = path_of(dir, index);
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(|error| Error::io(path, "flush", error))?;
    }
    let kept_before = kept(dir, &begin)?;
    for Leaving { contents, .. } in &found {
        for (number, name) in contents.records().filter_map(|(_, record)| record.naming()) {
            begin.known.entry(number).or_insert_with(|| Known { name: name.to_owned(), dropped: None });
        }
    }
    let mut retirement = Retirement { segments: found.len(), kept: 0 };
    for Leaving { index, header, contents } in &found {
        let wanted = sift(contents, header.first, &mut begin, coverage);
        if !wanted.is_empty() {
            retirement.kept += wanted.len();
            keep(dir, *index, header, contents, &wanted)?;
        }
    }
    let mut done_with = Vec::new();
    for (_, path) in kept_before {
        let contents = Contents::read(&path)?;
        let header = Contents::read_header(&path)?;
        let before = begin.clone();
        if sift(&contents, header.first, &mut begin, coverage).is_empty() {
            done_with.push(path);
        } else {
            begin = before; // the file stays whole
        }
    }
    begin.write(dir)?;
    for path in done_with {
        fs::remove_file(&path).map_err(|error| Error::io(path, "remove", error))?;
    }
    for Leaving { index, .. } in &found {
        gone(*index);
        remove(&path_of(dir, *index))?;
    }
    Ok(retirement)
}

/// The offsets of the records that no snapshot has; the others are written off in `begin`.
fn sift(contents: &Contents, first: u64, begin: &mut Begin, coverage: &Coverage) -> Vec<usize> {
    let mut wanted = Vec::new();
    for (at, record) in contents.records() {
        let (number, position) = (record.head.component, first + at as u64);
        let Some(name) = begin.known.get(&number).map(|known| known.name.as_str()) else { continue };
        if record.view(position, Some(name)).is_none() {
            continue;
        }
        if coverage.has(name, position) {
            begin.drop_record(number, position);
        } else {
            wanted.push(at);
        }
    }
    wanted
}

/// Write these records of a segment where they were, and pads over all between them, which take no space.
fn keep(dir: &Path, index: u64, header: &SegmentHeader, contents: &Contents, wanted: &[usize]) -> Result<()> {
    let folder = kept_folder(dir);
    let path = path_of(&folder, index);
    let write = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        let temporary = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all_at(&segment_header(header.size, header.first, 0), 0)?;
        let mut end = SEGMENT_HEADER;
        for (at, record) in contents.records().filter(|(at, _)| wanted.binary_search(at).is_ok()) {
            pad(&file, end, at, &record)?;
            end = at + record.size;
            file.write_all_at(&contents.bytes[at..end], at as u64)?;
        }
        seal(&file, end as u64)?;
        file.set_len(header.size)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&folder)?.sync_all()?;
        File::open(dir)?.sync_all() // the folder may be new
    };
    write().map_err(|error| Error::io(&path, "write", error))
}

/// Records lie on 8-byte boundaries and are no smaller than a header, so that a gap between two takes a pad.
fn pad(file: &File, from: usize, to: usize, next: &Parsed<'_>) -> io::Result<()> {
    if from == to {
        return Ok(());
    }
    let (word, mut header) = Head::pad(next.head.time).encode(to - from - RECORD_HEADER, &[]);
    header[..4].copy_from_slice(&word.to_le_bytes());
    file.write_all_at(&header, from as u64)
}

/// A mapping of the file may live as long as this process; the space that it takes must not.
fn remove(path: &Path) -> Result<()> {
    let remove = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        let length = libc::off_t::try_from(file.metadata()?.len()).unwrap_or(libc::off_t::MAX);
        fs::remove_file(path)?;
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: an open descriptor and a range of its file; where the file system cannot do it, the space is free later.
        unsafe { libc::fallocate(file.as_raw_fd(), mode, 0, length) };
        Ok(())
    };
    remove().map_err(|error| Error::io(path, "remove", error))
}

/// What is kept of segments before the beginning, oldest first.
pub(crate) fn kept(dir: &Path, begin: &Begin) -> Result<Vec<(u64, PathBuf)>> {
    let folder = kept_folder(dir);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let indices = segment_indices(&folder, &Begin::default())?.into_iter();
    Ok(indices.filter(|index| *index < begin.index).map(|index| (index, path_of(&folder, index))).collect())
}

/// Clear away what a death in the middle of a retirement, or of the making of a segment, left.
pub(crate) fn clear_leftovers(dir: &Path, begin: &Begin) -> Result<()> {
    let folder = kept_folder(dir);
    let mut leftovers = Vec::new();
    for (folder, stale) in [(dir, 0..begin.index), (folder.as_path(), begin.index..u64::MAX)] {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        leftovers.extend(entries.filter(|path| {
            let index = || path.file_stem()?.to_str()?.parse::<u64>().ok();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("new") => true,
                Some("seg") => index().is_some_and(|index| stale.contains(&index)),
                _ => false,
            }
        }));
    }
    leftovers
        .into_iter()
        .try_for_each(|path| fs::remove_file(&path).map_err(|error| Error::io(path, "remove", error)))
}
