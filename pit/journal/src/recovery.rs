//! Opening a log that a dead writer left: find its end, pad over what was claimed and never published, and set aside what
//! comes after damage. What is kept is always a prefix of what was published.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::format::{
    FLAG_PAD, LOG_COMPONENT, RECORD_HEADER, SEGMENT_HEADER, SegmentHeader, Slot, parse, parse_segment_header,
};
use crate::map::Map;
use crate::writer::{Segment, publish, wall_clock};

/// Where the log was found broken; everything from there on was copied to `aside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub offset: usize,
    pub aside: PathBuf,
}

pub(crate) struct Recovered {
    pub segments: Vec<Segment>,
    pub names: HashMap<String, u16>,
    pub damage: Vec<Damage>,
}

/// Indices of the segment files in `dir`, ascending.
pub(crate) fn segment_indices(dir: &Path) -> Result<Vec<u64>> {
    let entries = fs::read_dir(dir).map_err(|error| Error::io(dir, "list", error))?;
    let mut indices: Vec<u64> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".seg")?.parse().ok())
        .collect();
    indices.sort_unstable();
    Ok(indices)
}

pub(crate) fn recover(dir: &Path) -> Result<Recovered> {
    let mut recovered = Recovered { segments: Vec::new(), names: HashMap::new(), damage: Vec::new() };
    let indices = segment_indices(dir)?;
    let mut expected = indices.first().copied().unwrap_or(0);
    for (at, &index) in indices.iter().enumerate() {
        let path = Segment::path(dir, index);
        let map = Map::open(&path)?;
        let header = header_of(&map, &path)?;
        let gap = index != expected;
        let end = if gap { End::Damaged(SEGMENT_HEADER) } else { scan(&map, &header, &mut recovered.names) };
        expected = index + 1;
        let tail = match end {
            End::At(tail) => tail,
            End::Damaged(offset) => {
                let from = if gap { at } else { at + 1 };
                let aside = set_aside(dir, &path, &indices[from..], !gap)?;
                recovered.damage.push(Damage { path, offset, aside });
                if gap {
                    return Ok(recovered);
                }
                map.sealed().store(0, Ordering::Release);
                map.zero(offset);
                offset
            }
        };
        let tail = AtomicUsize::new(tail);
        recovered.segments.push(Segment { map, index, first: header.first, tail });
        if !recovered.damage.is_empty() {
            break;
        }
    }
    Ok(recovered)
}

fn header_of(map: &Map, path: &Path) -> Result<SegmentHeader> {
    let header =
        parse_segment_header(map.bytes()).map_err(|found| Error::Foreign { path: path.into(), found })?;
    if header.size == map.len() as u64 {
        return Ok(header);
    }
    Err(Error::Foreign {
        path: path.into(),
        found: format!("{} bytes where the header says {}", map.len(), header.size),
    })
}

enum End {
    At(usize),
    Damaged(usize),
}

/// Walk the records, padding holes, up to the first space that no record follows.
fn scan(map: &Map, header: &SegmentHeader, names: &mut HashMap<String, u16>) -> End {
    let bytes = map.bytes();
    let sealed = usize::try_from(header.sealed).ok().filter(|sealed| *sealed != 0);
    let limit = sealed.unwrap_or(bytes.len()).min(bytes.len());
    let mut offset = SEGMENT_HEADER;
    loop {
        match parse(&bytes[offset..], bytes.len() - offset) {
            Slot::Record(record) => {
                if record.component == LOG_COMPONENT
                    && record.flags & FLAG_PAD == 0
                    && record.payload.len() > 2
                {
                    let number = u16::from_le_bytes([record.payload[0], record.payload[1]]);
                    names.insert(String::from_utf8_lossy(&record.payload[2..]).into_owned(), number);
                }
                offset += record.size;
            }
            Slot::Empty => {
                let next = (offset + 8..limit.saturating_sub(RECORD_HEADER - 1)).step_by(8).find(|&at| {
                    bytes[at..at + 4] != [0; 4]
                        && matches!(parse(&bytes[at..], bytes.len() - at), Slot::Record(_))
                });
                let next = next.or(sealed.filter(|sealed| *sealed >= offset + RECORD_HEADER));
                let Some(next) = next else {
                    map.zero(offset); // what a dying writer began to copy
                    return End::At(offset);
                };
                let length = next - offset - RECORD_HEADER;
                publish(map, offset, length, &[], LOG_COMPONENT, 0, 1, FLAG_PAD, wall_clock());
                offset = next;
            }
            Slot::Damaged | Slot::Short => return End::Damaged(offset),
        }
        if sealed.is_some_and(|sealed| offset >= sealed) {
            return End::At(offset);
        }
    }
}

/// Keep a copy of the damaged segment and move away those after it.
fn set_aside(dir: &Path, damaged: &Path, later: &[u64], copy: bool) -> Result<PathBuf> {
    let aside = dir.join(format!("aside-{}", wall_clock()));
    fs::create_dir_all(&aside).map_err(|error| Error::io(&aside, "create", error))?;
    if let (true, Some(name)) = (copy, damaged.file_name()) {
        fs::copy(damaged, aside.join(name)).map_err(|error| Error::io(damaged, "copy", error))?;
    }
    for &index in later {
        let path = Segment::path(dir, index);
        if let Some(name) = path.file_name() {
            fs::rename(&path, aside.join(name)).map_err(|error| Error::io(&path, "move", error))?;
        }
    }
    Ok(aside)
}
