//! What is in a log, told without changing it and without its lease: for people who look after one.

use std::collections::BTreeMap;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::begin::Begin;
use crate::error::{Error, Result};
use crate::mark::{self, Poison};
use crate::recovery::{foreign, header_of, segment_indices, set_asides};
use crate::scan::{Contents, Repair};
use crate::segment::path_of;

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    pub path: PathBuf,
    /// Position of its first byte in the log as a whole.
    pub first: u64,
    pub bytes: usize,
    pub records: usize,
    /// Behind the last record.
    pub end: usize,
    pub sealed: bool,
    /// Places that were claimed and not published; the next writer closes them.
    pub holes: usize,
    /// The first broken place and what it is.
    pub damage: Option<(usize, String)>,
}

/// A log as it lies there.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// None: the folder takes no file now.
    pub backend: Option<Backend>,
    /// Why this back end fits the file system, or why there is none.
    pub reason: String,
    pub segments: Vec<SegmentReport>,
    /// Records of each component, in what can be kept.
    pub records: BTreeMap<String, u64>,
    /// The record at which the replay died last, with the component's name.
    pub poison: Option<(String, Poison)>,
    /// Folders of what was set aside, with what was found.
    pub aside: Vec<(PathBuf, String)>,
}

/// Look at the log of the Pit at `pit`. A running writer is not disturbed; what it is writing may show as a hole.
pub fn inspect(pit: &Path) -> Result<Inspection> {
    let dir = pit.join("log");
    loop {
        let begin = Begin::read(&dir)?;
        match inspect_from(pit, &dir, &begin) {
            // A segment was retired just before it would have been looked at.
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && Begin::read(&dir)? != begin => {}
            found => return found,
        }
    }
}

fn inspect_from(pit: &Path, dir: &Path, begin: &Begin) -> Result<Inspection> {
    let (backend, reason) = match Backend::probe(dir) {
        Ok((backend, reason)) => (Some(backend), reason),
        Err(error) => (None, error.to_string()),
    };
    let mut found = Inspection {
        backend,
        reason,
        segments: Vec::new(),
        records: BTreeMap::new(),
        poison: None,
        aside: set_asides(dir),
    };
    let mut names: BTreeMap<u16, String> =
        begin.names().map(|(number, name)| (number, name.to_owned())).collect();
    let mut next = Some((begin.index, begin.first));
    for index in segment_indices(dir, begin)? {
        let path = path_of(dir, index);
        let contents = match Contents::read(&path) {
            Err(Error::Foreign { found, .. }) => Err(foreign(&found)),
            read => Ok(read?),
        };
        let first = next.filter(|(expected, _)| *expected == index).map(|(_, first)| first);
        let mut report = match &contents {
            Ok(contents) => report(path, contents, first),
            Err(what) => {
                let nothing = report(path, &Contents::of(&[][..], 0), first);
                SegmentReport { damage: Some((0, what.clone())), ..nothing }
            }
        };
        if let Some((expected, _)) = next.filter(|(expected, _)| *expected != index) {
            report.damage.get_or_insert((0, format!("segment {expected} is missing before it")));
        }
        let kept = found.segments.iter().all(|segment: &SegmentReport| segment.damage.is_none());
        for (offset, record) in contents.iter().flat_map(Contents::records).filter(|_| kept) {
            names.extend(record.naming().map(|(number, name)| (number, name.to_owned())));
            let name = names.get(&record.head.component).map(String::as_str);
            if let Some(view) = record.view(offset as u64, name).filter(|_| offset < report.end) {
                *found.records.entry(view.component.to_owned()).or_default() += 1;
            }
        }
        next = Some((index + 1, report.first + report.bytes as u64));
        found.segments.push(report);
    }
    found.poison =
        mark::read(pit).map(|poison| (names.remove(&poison.component).unwrap_or_default(), poison));
    Ok(found)
}

/// Look at bytes as if they were the first segment of a log. Never fails, whatever they are.
pub fn examine(bytes: &[u8]) -> SegmentReport {
    report(PathBuf::new(), &Contents::of(bytes, bytes.len()), Some(0))
}

fn report(
    path: PathBuf,
    contents: &Contents<impl Deref<Target = [u8]>>,
    first: Option<u64>,
) -> SegmentReport {
    let bytes = contents.bytes.len();
    let mut report = SegmentReport {
        path,
        first: first.unwrap_or(0),
        bytes,
        records: 0,
        end: 0,
        sealed: false,
        holes: 0,
        damage: None,
    };
    match header_of(&contents.bytes, first) {
        Err(what) => report.damage = Some((0, foreign(&what))),
        Ok((header, wrong)) => {
            let size = usize::try_from(header.size).unwrap_or(bytes);
            let scan = contents.scan(size, header.sealed);
            report.first = header.first;
            report.bytes = size;
            report.records = scan.records;
            report.end = scan.end;
            report.sealed = header.sealed.is_some();
            report.holes = scan.repairs.iter().filter(|repair| matches!(repair, Repair::Pad { .. })).count();
            report.damage = wrong.map(|what| (0, format!("its header: {what}"))).or(scan.damage);
        }
    }
    report
}
