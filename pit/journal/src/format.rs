//! The bytes of a segment: one header, then records on 8-byte boundaries, then zeros.
//!
//! Segment header (64 bytes): magic 8, version u32, header crc u32 (of bytes 16..40), size u64, first position u64, created
//! (µs) i64, sealed offset u64 (0 while the segment is written to; not covered by the crc).
//! Record header (24 bytes): length + 1 as u32 (0 = not published, written last), crc u32, component u16, kind u16, revision
//! u16, flags u16, time (µs) i64; the crc covers the length, bytes 8..24 and the payload.

pub(crate) const MAGIC: [u8; 8] = *b"SYMPLOG\0";
pub(crate) const VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER: usize = 64;
pub(crate) const SEALED_AT: usize = 40;
pub(crate) const RECORD_HEADER: usize = 24;
/// Fills a hole left by a writer that died before it published.
pub(crate) const FLAG_PAD: u16 = 1;
/// Component number of the log's own records, which give numbers their names.
pub(crate) const LOG_COMPONENT: u16 = 0;
/// Largest payload of one record; larger content belongs into the Artifact Store.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// One record, borrowed from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Byte position in the log as a whole, growing from record to record.
    pub position: u64,
    pub component: &'a str,
    pub kind: u16,
    pub revision: u16,
    /// Microseconds since the epoch, UTC.
    pub time: i64,
    pub payload: &'a [u8],
}

/// A parsed record header with its payload; `component` is still a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<'a> {
    pub component: u16,
    pub kind: u16,
    pub revision: u16,
    pub flags: u16,
    pub time: i64,
    pub payload: &'a [u8],
    /// Bytes to the next record.
    pub size: usize,
}

#[derive(Debug)]
pub(crate) enum Slot<'a> {
    Record(Parsed<'a>),
    /// Not published (yet).
    Empty,
    /// Published, but these bytes cannot be what was written.
    Damaged,
    /// The record goes on beyond the given bytes.
    Short,
}

pub(crate) const fn record_size(payload: usize) -> usize {
    (RECORD_HEADER + payload + 7) & !7
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(array)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(array)
}

pub(crate) fn crc(length: u32, header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// Header bytes 8..24.
pub(crate) fn header_tail(component: u16, kind: u16, revision: u16, flags: u16, time: i64) -> [u8; 16] {
    let mut tail = [0; 16];
    tail[0..2].copy_from_slice(&component.to_le_bytes());
    tail[2..4].copy_from_slice(&kind.to_le_bytes());
    tail[4..6].copy_from_slice(&revision.to_le_bytes());
    tail[6..8].copy_from_slice(&flags.to_le_bytes());
    tail[8..16].copy_from_slice(&time.to_le_bytes());
    tail
}

/// Read the record at the start of `bytes`, of which `left` belong to the segment. A pad carries no payload bytes, so its
/// crc covers its header alone.
pub(crate) fn parse(bytes: &[u8], left: usize) -> Slot<'_> {
    if bytes.len() < RECORD_HEADER {
        return if left < RECORD_HEADER { Slot::Empty } else { Slot::Short };
    }
    let published = u32_at(bytes, 0);
    if published == 0 {
        return Slot::Empty;
    }
    let length = (published - 1) as usize;
    let size = record_size(length);
    let flags = u16_at(bytes, 14);
    if size > left || (flags & FLAG_PAD == 0 && length > MAX_PAYLOAD) {
        return Slot::Damaged;
    }
    let payload = if flags & FLAG_PAD == 0 {
        match bytes.get(RECORD_HEADER..RECORD_HEADER + length) {
            Some(payload) => payload,
            None => return Slot::Short,
        }
    } else {
        &[]
    };
    if crc(published, &bytes[8..24], payload) != u32_at(bytes, 4) {
        return Slot::Damaged;
    }
    Slot::Record(Parsed {
        component: u16_at(bytes, 8),
        kind: u16_at(bytes, 10),
        revision: u16_at(bytes, 12),
        flags,
        time: u64_at(bytes, 16).cast_signed(),
        payload,
        size,
    })
}

/// The header of a segment, as it is read back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentHeader {
    pub size: u64,
    pub first: u64,
    pub sealed: u64,
}

pub(crate) fn segment_header(size: u64, first: u64, created: i64) -> [u8; SEGMENT_HEADER] {
    let mut bytes = [0; SEGMENT_HEADER];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&size.to_le_bytes());
    bytes[24..32].copy_from_slice(&first.to_le_bytes());
    bytes[32..40].copy_from_slice(&created.to_le_bytes());
    let crc = crc32fast::hash(&bytes[16..40]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The header, or a description of what is there instead.
pub(crate) fn parse_segment_header(bytes: &[u8]) -> Result<SegmentHeader, String> {
    if bytes.len() < SEGMENT_HEADER {
        return Err(format!("{} bytes", bytes.len()));
    }
    if bytes[0..8] != MAGIC {
        return Err(format!("the bytes {:02x?}", &bytes[0..8]));
    }
    let version = u32_at(bytes, 8);
    if version != VERSION {
        return Err(format!("version {version}"));
    }
    if crc32fast::hash(&bytes[16..40]) != u32_at(bytes, 12) {
        return Err("a damaged header (crc mismatch)".to_owned());
    }
    Ok(SegmentHeader { size: u64_at(bytes, 16), first: u64_at(bytes, 24), sealed: u64_at(bytes, SEALED_AT) })
}
