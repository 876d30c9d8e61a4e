//! What the bytes of a segment hold: pure, for recovery, replay, inspection and fuzzing alike. Trusts nothing.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::MmapMut;

use crate::error::{Error, Result};
use crate::format::{
    MAX_SEGMENT_BYTES, Parsed, RECORD_HEADER, SEGMENT_HEADER, SegmentHeader, Slot, parse,
    parse_segment_header, unpublished_word,
};

/// The bytes of a segment file. Read into pages of their own, which the system gives only where there is data and takes back
/// at once: space that was reserved and never written costs neither time nor memory.
pub(crate) struct Contents<B = MmapMut> {
    pub bytes: B,
    /// Behind it there are only zeros.
    data_end: usize,
}

impl Contents {
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_over(path, None)
    }

    /// Read into the pages of one that was read before, for which the system need not find new ones.
    pub fn read_over(path: &Path, before: Option<Self>) -> Result<Self> {
        let io = |error| Error::io(path, "read", error);
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let fits = usize::try_from(len).ok().filter(|len| *len <= MAX_SEGMENT_BYTES);
        let len = fits.ok_or_else(|| Error::Foreign { path: path.into(), found: format!("{len} bytes") })?;
        let (mut bytes, used) = match before.filter(|before| before.bytes.len() == len) {
            Some(before) => (before.bytes, before.data_end),
            None => (MmapMut::map_anon(len).map_err(io)?, 0),
        };
        let mut at = 0;
        while let Some(start) = seek(&file, at, libc::SEEK_DATA).map_err(io)?.filter(|start| *start < len) {
            bytes[at.min(used)..start.min(used)].fill(0);
            at = seek(&file, start, libc::SEEK_HOLE).map_err(io)?.unwrap_or(len).min(len);
            file.read_exact_at(&mut bytes[start..at], start as u64).map_err(io)?;
        }
        bytes[at.min(used)..used].fill(0);
        Ok(Self::of(bytes, at))
    }

    /// The header alone.
    pub fn read_header(path: &Path) -> Result<SegmentHeader> {
        let io = |error| Error::io(path, "read", error);
        let mut bytes = [0; SEGMENT_HEADER];
        let file = File::open(path).map_err(io)?;
        let length =
            usize::try_from(file.metadata().map_err(io)?.len()).unwrap_or(usize::MAX).min(SEGMENT_HEADER);
        file.read_exact_at(&mut bytes[..length], 0).map_err(io)?;
        parse_segment_header(&bytes[..length]).map_err(|found| Error::Foreign { path: path.into(), found })
    }
}

impl<B: Deref<Target = [u8]>> Contents<B> {
    pub fn of(bytes: B, data_end: usize) -> Self {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut data = &bytes[..data_end];
        while let Some(rest) = data.strip_suffix(&ZEROS) {
            data = rest;
        }
        let data_end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self { bytes, data_end }
    }

    /// The records in order, with their offsets, up to the first place where none is published.
    pub fn records(&self) -> impl Iterator<Item = (usize, Parsed<'_>)> {
        let mut offset = SEGMENT_HEADER;
        std::iter::from_fn(move || {
            let rest = self.bytes.get(offset..)?;
            let Slot::Record(record) = parse(rest, rest.len()) else { return None };
            let at = offset;
            offset += record.size;
            Some((at, record))
        })
    }

    /// Walk a segment of `size` bytes to the last record that can be kept.
    pub fn scan(&self, size: usize, sealed: Option<u64>) -> Scan {
        let mut scan =
            Scan { names: Vec::new(), records: 0, repairs: Vec::new(), end: SEGMENT_HEADER, damage: None };
        let bytes = self.bytes.get(..size.min(self.bytes.len())).unwrap_or_default();
        let sealed = sealed.and_then(|sealed| usize::try_from(sealed).ok()).filter(|sealed| *sealed <= size);
        loop {
            let rest = bytes.get(scan.end..).unwrap_or(&[]);
            match parse(rest, size.saturating_sub(scan.end)) {
                Slot::Record(record) => scan.take(&record),
                Slot::Damaged => {
                    scan.damage = Some((scan.end, "a record whose checksum does not fit".to_owned()));
                    return scan;
                }
                Slot::Short => {
                    scan.damage = Some((scan.end, cut_short(bytes.len(), size)));
                    return scan;
                }
                Slot::Empty => {
                    let Some(next) = self.behind_hole(scan.end, sealed) else { break };
                    let hole = &bytes[scan.end..next];
                    let repaired = unpublished_word(hole).map_or(
                        Repair::Pad { offset: scan.end, length: hole.len() - RECORD_HEADER },
                        |word| Repair::Publish { offset: scan.end, word },
                    );
                    if let Repair::Publish { word, .. } = repaired {
                        let complete = [&word.to_le_bytes()[..], &hole[4..]].concat();
                        if let Slot::Record(record) = parse(&complete, complete.len()) {
                            scan.count(&record);
                        }
                    }
                    scan.repairs.push(repaired);
                    scan.end = next;
                }
            }
        }
        if bytes.len() < size {
            scan.damage = Some((bytes.len(), cut_short(bytes.len(), size)));
        } else if let Some(sealed) = sealed.filter(|sealed| *sealed < scan.end) {
            scan.damage =
                Some((scan.end, format!("records beyond the end that its header tells ({sealed})")));
        }
        scan
    }

    /// Whether a segment that ends at `end` has anything behind it.
    pub const fn has_data_behind(&self, end: usize) -> bool {
        self.data_end > end
    }

    /// Where records go on behind space that was claimed and never published.
    fn behind_hole(&self, hole: usize, sealed: Option<usize>) -> Option<usize> {
        let bytes: &[u8] = &self.bytes;
        let candidates = (hole + RECORD_HEADER..self.data_end.saturating_sub(RECORD_HEADER - 1)).step_by(8);
        let next = candidates.into_iter().find(|&at| {
            bytes[at..at + 4] != [0; 4] && matches!(parse(&bytes[at..], bytes.len() - at), Slot::Record(_))
        });
        next.or(sealed.filter(|sealed| *sealed >= hole + RECORD_HEADER && *sealed <= bytes.len()))
    }
}

fn cut_short(found: usize, size: usize) -> String {
    format!("the file is cut short: {found} bytes of {size}")
}

fn seek(file: &File, from: usize, whence: libc::c_int) -> io::Result<Option<usize>> {
    // SAFETY: an open descriptor; only its own offset moves, which nothing else uses.
    let found = unsafe { libc::lseek(file.as_raw_fd(), i64::try_from(from).unwrap_or(i64::MAX), whence) };
    if let Ok(found) = usize::try_from(found) {
        return Ok(Some(found));
    }
    let error = io::Error::last_os_error();
    match (error.raw_os_error(), whence) {
        (Some(libc::EINVAL | libc::EOPNOTSUPP), libc::SEEK_DATA) => Ok(Some(from)), // then all of it is data
        (Some(libc::ENXIO | libc::EINVAL | libc::EOPNOTSUPP), _) => Ok(None),
        _ => Err(error),
    }
}

/// What recovery writes into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// A record that is complete but for its word gets it.
    Publish { offset: usize, word: u32 },
    /// A hole becomes a pad of so many bytes behind its header.
    Pad { offset: usize, length: usize },
}

/// What a walk over a segment found.
pub(crate) struct Scan {
    pub names: Vec<(u16, String)>,
    pub records: usize,
    pub repairs: Vec<Repair>,
    /// Behind the last record that is kept.
    pub end: usize,
    /// The first place that cannot be what was written, and what it is.
    pub damage: Option<(usize, String)>,
}

impl Scan {
    fn take(&mut self, record: &Parsed<'_>) {
        self.count(record);
        self.end += record.size;
    }

    fn count(&mut self, record: &Parsed<'_>) {
        self.records += usize::from(record.view(0, Some("")).is_some());
        self.names.extend(record.naming().map(|(number, name)| (number, name.to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_read_before_shows_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (full, sparse) = (dir.path().join("full"), dir.path().join("sparse"));
        fs::write(&full, vec![7; 5 << 16]).unwrap();
        let file = File::create(&sparse).unwrap();
        for at in [1, 3] {
            file.write_all_at(&vec![9; 1 << 16], at << 16).unwrap(); // between holes
        }
        file.set_len(5 << 16).unwrap();
        let before = Contents::read(&full).unwrap();
        let over = Contents::read_over(&sparse, Some(before)).unwrap();
        let fresh = Contents::read(&sparse).unwrap();
        assert_eq!((&over.bytes[..], over.data_end), (&fs::read(&sparse).unwrap()[..], 4 << 16));
        assert_eq!(over.data_end, fresh.data_end);
    }
}
