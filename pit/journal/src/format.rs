//! The bytes of a segment: one header, then records on 8-byte boundaries, then zeros.
//!
//! Segment header (64 bytes): magic 8, version u32, header crc u32 (of bytes 16..40), size u64, first position u64, created
//! (µs) i64, sealed offset u64 (0 while the segment is written to), crc u32 of the sealed offset.
//! Record header (24 bytes): word u32, crc u32, component u16, kind u16, revision u16, flags u16, time (µs) i64. The word is
//! written last: 0 = not published, else the payload's length with the two highest bits set, so that no single flipped bit
//! makes it 0. The crc covers the word, bytes 8..24 and the payload.

pub(crate) const MAGIC: [u8; 8] = *b"SYMPLOG\0";
pub(crate) const VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER: usize = 64;
pub(crate) const SEALED_AT: usize = 40;
pub(crate) const SEAL_CRC_AT: usize = 48;
pub(crate) const RECORD_HEADER: usize = 24;
/// Fills a hole left by a writer that died before it published.
pub(crate) const FLAG_PAD: u16 = 1;
/// Component number of the log's own records, which give numbers their names.
pub(crate) const LOG_COMPONENT: u16 = 0;
/// Largest payload of one record; larger content belongs into the Artifact Store.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Lengths, those of pads too, stay below the two bits of the word.
pub(crate) const MAX_SEGMENT_BYTES: usize = 1 << 30;

const PUBLISHED: u32 = 0b11 << 30;

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
    /// CRC-32 of the record: with the position it tells this record from any other.
    pub checksum: u32,
}

/// What a record header says beside length and checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub component: u16,
    pub kind: u16,
    pub revision: u16,
    pub flags: u16,
    /// Microseconds since the epoch, UTC.
    pub time: i64,
}

impl Head {
    pub fn pad(time: i64) -> Self {
        Self { component: LOG_COMPONENT, kind: 0, revision: 1, flags: FLAG_PAD, time }
    }

    const fn is_pad(&self) -> bool {
        self.flags & FLAG_PAD != 0
    }

    /// The word to be published last, and the header before it, whose first four bytes are zero. `length` is the payload's, or
    /// that of the hole behind a pad's header.
    pub fn encode(&self, length: usize, payload: &[u8]) -> (u32, [u8; RECORD_HEADER]) {
        let word = PUBLISHED | u32::try_from(length).unwrap_or(0); // a segment is smaller than 1 GiB
        let mut bytes = [0; RECORD_HEADER];
        bytes[8..10].copy_from_slice(&self.component.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.kind.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.revision.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time.to_le_bytes());
        let checksum = crc(word, &bytes[8..], payload);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        (word, bytes)
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            component: u16_at(bytes, 8),
            kind: u16_at(bytes, 10),
            revision: u16_at(bytes, 12),
            flags: u16_at(bytes, 14),
            time: u64_at(bytes, 16).cast_signed(),
        }
    }
}

/// A parsed record; `component` is still a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<'a> {
    pub head: Head,
    pub payload: &'a [u8],
    pub checksum: u32,
    /// Bytes to the next record.
    pub size: usize,
}

impl<'a> Parsed<'a> {
    /// The number and the name that a record of the log itself gives a component.
    pub fn naming(&self) -> Option<(u16, &'a str)> {
        if self.head.component != LOG_COMPONENT || self.head.is_pad() {
            return None;
        }
        let (number, name) = self.payload.split_first_chunk()?;
        Some((u16::from_le_bytes(*number), std::str::from_utf8(name).ok()?))
    }

    /// The record as readers see it; none for pads and the log's own records.
    pub fn view(&self, position: u64, name: Option<&'a str>) -> Option<RecordView<'a>> {
        if self.head.is_pad() || self.head.component == LOG_COMPONENT {
            return None;
        }
        Some(RecordView {
            position,
            component: name?,
            kind: self.head.kind,
            revision: self.head.revision,
            time: self.head.time,
            payload: self.payload,
            checksum: self.checksum,
        })
    }
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

fn crc(word: u32, header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&word.to_le_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// Length in a published word; the first releases wrote length + 1 without the bits. None where it is neither.
fn length_in(word: u32) -> Option<usize> {
    match (word & PUBLISHED, word & !PUBLISHED) {
        (PUBLISHED, length) => Some(length as usize),
        (0, plain) => plain.checked_sub(1).map(|length| length as usize),
        _ => None,
    }
}

/// Read the record at the start of `bytes`, of which `left` belong to the segment. A pad carries no payload bytes, so its
/// crc covers its header alone.
pub(crate) fn parse(bytes: &[u8], left: usize) -> Slot<'_> {
    if bytes.len() < RECORD_HEADER {
        return if left < RECORD_HEADER { Slot::Empty } else { Slot::Short };
    }
    match u32_at(bytes, 0) {
        0 => Slot::Empty,
        word => parse_as(bytes, left, word),
    }
}

/// As [`parse`], of a record whose word would be this one.
fn parse_as(bytes: &[u8], left: usize, word: u32) -> Slot<'_> {
    let head = Head::decode(bytes);
    let Some(length) = length_in(word) else { return Slot::Damaged };
    let size = record_size(length);
    if size > left || (!head.is_pad() && length > MAX_PAYLOAD) {
        return Slot::Damaged;
    }
    let payload = if head.is_pad() {
        &[]
    } else if let Some(payload) = bytes.get(RECORD_HEADER..RECORD_HEADER + length) {
        payload
    } else {
        return Slot::Short;
    };
    let checksum = u32_at(bytes, 4);
    if crc(word, &bytes[8..RECORD_HEADER], payload) != checksum {
        return Slot::Damaged;
    }
    Slot::Record(Parsed { head, payload, checksum, size })
}

/// The word of a record that fills `bytes` and is complete but for its word: its writer died just before it published, or
/// the word was wiped out.
pub(crate) fn unpublished_word(bytes: &[u8]) -> Option<u32> {
    let longest = bytes.len().checked_sub(RECORD_HEADER)?;
    (longest.saturating_sub(7)..=longest)
        .rev()
        .map(|length| PUBLISHED | u32::try_from(length).unwrap_or(0))
        .find(|word| matches!(parse_as(bytes, bytes.len(), *word), Slot::Record(found) if found.size == bytes.len()))
}

/// The header of a segment, as it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub size: u64,
    pub first: u64,
    /// Where the records end, once nothing is appended any more.
    pub sealed: Option<u64>,
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

/// What seals a segment: the crc is written before the offset that it covers.
pub(crate) fn seal_crc(sealed: u64) -> u32 {
    crc32fast::hash(&sealed.to_le_bytes())
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
    let (sealed, check) = (u64_at(bytes, SEALED_AT), u32_at(bytes, SEAL_CRC_AT));
    // The first releases wrote no crc of it.
    let possible = sealed >= SEGMENT_HEADER as u64 && sealed.is_multiple_of(8);
    let believed = possible && (check == seal_crc(sealed) || check == 0);
    Ok(SegmentHeader {
        size: u64_at(bytes, 16),
        first: u64_at(bytes, 24),
        sealed: believed.then_some(sealed),
    })
}
