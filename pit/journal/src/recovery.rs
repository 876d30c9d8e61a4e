//! Opening a log that a dead writer left: find its end, finish or pad over what was claimed and never published, and set aside
//! what comes after damage. What is kept is always a prefix of what was published.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::begin::Begin;
use crate::clock::wall_clock;
use crate::error::{Error, Result};
use crate::format::{
    Head, MAX_SEGMENT_BYTES, SEALED_AT, SEGMENT_HEADER, SegmentHeader, Slot, parse, parse_segment_header,
    segment_header,
};
use crate::scan::{Contents, Repair};
use crate::segment::{path_of, seal};

/// Name of the file in a folder of things set aside that tells where they come from.
const WHAT: &str = "damage.txt";

/// A place where the log was found broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub offset: usize,
    pub what: String,
    /// Folder with a copy of the segment as it was, and the segments behind it.
    pub aside: PathBuf,
}

/// The segment that the log goes on in.
#[derive(Clone, Copy)]
pub(crate) struct Last {
    pub index: u64,
    pub first: u64,
    pub len: usize,
    pub end: usize,
}

#[derive(Default)]
pub(crate) struct Recovered {
    pub last: Option<Last>,
    pub names: HashMap<String, u16>,
    pub damage: Vec<Damage>,
}

/// Indices of the segment files in `dir`, ascending; those before the log's beginning are on their way out.
pub(crate) fn segment_indices(dir: &Path, begin: &Begin) -> Result<Vec<u64>> {
    let entries = fs::read_dir(dir).map_err(|error| Error::io(dir, "list", error))?;
    let mut indices: Vec<u64> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".seg")?.parse().ok())
        .filter(|index| *index >= begin.index)
        .collect();
    indices.sort_unstable();
    Ok(indices)
}

/// A segment's header; where it is damaged and the records behind it are not, the header that it must have had, with what
/// is wrong. `first` is the position where the segment before it ends, or where the log begins.
pub(crate) fn header_of(
    bytes: &[u8],
    first: Option<u64>,
) -> std::result::Result<(SegmentHeader, Option<String>), String> {
    let found = match parse_segment_header(bytes) {
        Ok(header) if first.is_some_and(|first| first != header.first) => Err(format!(
            "it begins at position {}, the one before it ends at {}",
            header.first,
            first.unwrap_or(0)
        )),
        Ok(header) if !possible_size(header.size) => Err(format!("a size of {} bytes", header.size)),
        found => found,
    };
    found.map(|header| (header, None)).or_else(|what| {
        let records = bytes
            .get(SEGMENT_HEADER..)
            .is_some_and(|rest| matches!(parse(rest, rest.len()), Slot::Record(_)));
        let first = first.filter(|_| records).ok_or_else(|| what.clone())?;
        let size = bytes.len() as u64 & !7;
        Ok((SegmentHeader { size, first, sealed: None }, Some(what)))
    })
}

/// What damage a file is that is none of the log's.
pub(crate) fn foreign(found: &str) -> String {
    format!("no segment of a Pit log: expected SYMPLOG version 1, found {found}")
}

fn possible_size(size: u64) -> bool {
    (SEGMENT_HEADER as u64..=MAX_SEGMENT_BYTES as u64).contains(&size) && size.is_multiple_of(8)
}

pub(crate) fn recover(dir: &Path, begin: &Begin) -> Result<Recovered> {
    let names = begin.names().map(|(number, name)| (name.to_owned(), number)).collect();
    let mut recovered = Recovered { names, ..Recovered::default() };
    let indices = segment_indices(dir, begin)?;
    let mut read = None;
    for (at, &index) in indices.iter().enumerate() {
        let path = path_of(dir, index);
        let (later, before) = (&indices[at + 1..], recovered.last);
        let mut broken = |offset, what: String, copy: bool, moved: &[u64]| -> Result<()> {
            let aside = set_aside(dir, &path, offset, &what, copy, moved)?;
            recovered.damage.push(Damage { path: path.clone(), offset, what, aside });
            Ok(())
        };
        if let Some(before) = before.filter(|before| before.index + 1 != index) {
            broken(0, format!("segment {} is missing before it", before.index + 1), false, &indices[at..])?;
            break;
        }
        let contents = match Contents::read_over(&path, read.take()) {
            Err(Error::Foreign { found, .. }) => {
                broken(0, foreign(&found), false, &indices[at..])?;
                break;
            }
            read => read?,
        };
        let begins = (index == begin.index).then_some(begin.first);
        let first = before.map(|before| before.first + before.len as u64).or(begins);
        let (header, wrong) = match header_of(&contents.bytes, first) {
            Ok(found) => found,
            Err(what) => {
                broken(0, foreign(&what), false, &indices[at..])?;
                break;
            }
        };
        let len = usize::try_from(header.size).unwrap_or(MAX_SEGMENT_BYTES);
        let mut scan = contents.scan(len, header.sealed);
        let loses = scan.damage.is_some();
        if let Some(what) = wrong {
            broken(0, format!("its header, which was made anew: {what}"), true, &[])?;
        }
        if let Some((offset, what)) = scan.damage.take() {
            broken(offset, what, true, later)?;
        }
        let continues = !loses && !later.is_empty();
        let file =
            OpenOptions::new().write(true).open(&path).map_err(|error| Error::io(&path, "open", error))?;
        let mend = || -> io::Result<()> {
            if parse_segment_header(&contents.bytes).ok() != Some(header) {
                file.write_all_at(&segment_header(header.size, header.first, wall_clock()), 0)?;
            }
            for repair in &scan.repairs {
                mend(&file, *repair)?;
            }
            if continues && header.sealed != Some(scan.end as u64) {
                seal(&file, scan.end as u64)?; // its writer died between making the next one and sealing it
            } else if !continues && contents.bytes.get(SEALED_AT..SEGMENT_HEADER) != Some(&[0; 24]) {
                file.write_all_at(&[0; SEGMENT_HEADER - SEALED_AT], SEALED_AT as u64)?;
            }
            if contents.has_data_behind(scan.end) {
                file.set_len(scan.end as u64)?; // what a dying writer began to copy, or what is damaged
                file.set_len(contents.bytes.len() as u64)?;
            }
            Ok(())
        };
        mend().map_err(|error| Error::io(&path, "mend", error))?;
        recovered.names.extend(scan.names.into_iter().map(|(number, name)| (name, number)));
        recovered.last = Some(Last { index, first: header.first, len, end: scan.end });
        if loses {
            break;
        }
        read = Some(contents);
    }
    Ok(recovered)
}

fn mend(file: &File, repair: Repair) -> io::Result<()> {
    match repair {
        Repair::Publish { offset, word } => file.write_all_at(&word.to_le_bytes(), offset as u64),
        Repair::Pad { offset, length } => {
            let (word, mut header) = Head::pad(wall_clock()).encode(length, &[]);
            header[..4].copy_from_slice(&word.to_le_bytes());
            file.write_all_at(&header, offset as u64)
        }
    }
}

/// Keep a copy of the damaged segment, move away those after it, and write down what was found.
fn set_aside(
    dir: &Path,
    damaged: &Path,
    offset: usize,
    what: &str,
    copy: bool,
    moved: &[u64],
) -> Result<PathBuf> {
    let mut aside = dir.join(format!("aside-{}", wall_clock()));
    while aside.exists() {
        aside = dir.join(format!("aside-{}", wall_clock()));
    }
    fs::create_dir_all(&aside).map_err(|error| Error::io(&aside, "create", error))?;
    if let (true, Some(name)) = (copy, damaged.file_name()) {
        fs::copy(damaged, aside.join(name)).map_err(|error| Error::io(damaged, "copy", error))?;
    }
    for &index in moved {
        let path = path_of(dir, index);
        if let Some(name) = path.file_name() {
            fs::rename(&path, aside.join(name)).map_err(|error| Error::io(&path, "move", error))?;
        }
    }
    let note = aside.join(WHAT);
    let name = damaged.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let write = || writeln!(File::create(&note)?, "{name} at byte {offset}: {what}");
    write().map_err(|error| Error::io(&note, "write", error))?;
    Ok(aside)
}

/// Folders of damage that was set aside, each with what was found.
pub(crate) fn set_asides(dir: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_aside = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("aside-"))
    };
    let mut found: Vec<(PathBuf, String)> = entries
        .filter(is_aside)
        .map(|path| {
            let what = fs::read_to_string(path.join(WHAT)).unwrap_or_default().trim_end().to_owned();
            (path, what)
        })
        .collect();
    found.sort();
    found
}
