//! Appending: claim space, copy, publish the length. Appenders never wait for one another but to change segments.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::format::{
    FLAG_PAD, LOG_COMPONENT, MAX_PAYLOAD, Parsed, RecordView, SEGMENT_HEADER, Slot, crc, header_tail, parse,
    record_size,
};
use crate::lease::Lease;
use crate::map::Map;
use crate::notify::Notifier;
use crate::recovery::{self, Damage};

/// Segment size unless told otherwise: 16 MiB, some 60,000 records.
pub const DEFAULT_SEGMENT_BYTES: usize = 16 << 20;
/// A segment takes at least one record of the largest size.
const MIN_SEGMENT_BYTES: usize = MAX_PAYLOAD + 4096;

static FORKED: AtomicBool = AtomicBool::new(false);
static FORK_GUARD: Once = Once::new();

extern "C" fn mark_forked() {
    FORKED.store(true, Ordering::Relaxed);
}

/// How to open a log.
#[derive(Default)]
pub struct Options {
    /// Size of new segments in bytes; 0 = [`DEFAULT_SEGMENT_BYTES`].
    pub segment_bytes: usize,
    /// Wakes the reader in another process.
    pub notifier: Option<Notifier>,
}

/// A segment in use.
pub(crate) struct Segment {
    pub map: Map,
    pub index: u64,
    pub first: u64,
    pub tail: AtomicUsize,
}

impl Segment {
    pub fn path(dir: &Path, index: u64) -> PathBuf {
        dir.join(format!("{index:08}.seg"))
    }
}

/// The log, open for writing.
pub struct Log {
    dir: PathBuf,
    segment_bytes: usize,
    current: AtomicPtr<Segment>,
    /// Every segment that was current. They stay mapped, since an appender may still be copying into one.
    #[expect(clippy::vec_box, reason = "`current` points to them")]
    segments: Mutex<Vec<Box<Segment>>>,
    names: Mutex<HashMap<String, u16>>,
    notifier: Option<Notifier>,
    damage: Vec<Damage>,
    closed: AtomicBool,
    lease: Mutex<Option<Lease>>,
}

impl Log {
    /// Take the lease of the Pit at `pit`, open its log (made if new) and find its end.
    pub fn open(pit: &Path, options: Options) -> Result<Self> {
        // SAFETY: registers a function that only stores to a static.
        FORK_GUARD.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(mark_forked));
        });
        let dir = pit.join("log");
        std::fs::create_dir_all(&dir).map_err(|error| Error::io(&dir, "create", error))?;
        let lease = Lease::take(&pit.join("lease"))?;
        let segment_bytes = match options.segment_bytes {
            0 => DEFAULT_SEGMENT_BYTES,
            bytes => bytes.max(MIN_SEGMENT_BYTES).next_multiple_of(4096),
        };
        let recovered = recovery::recover(&dir)?;
        let mut segments: Vec<Box<Segment>> = recovered.segments.into_iter().map(Box::new).collect();
        if segments.is_empty() {
            let map = Map::create(&Segment::path(&dir, 0), segment_bytes, 0, wall_clock())?;
            segments.push(Box::new(Segment {
                map,
                index: 0,
                first: 0,
                tail: AtomicUsize::new(SEGMENT_HEADER),
            }));
        }
        let last = segments.last_mut().map_or(std::ptr::null_mut(), |segment| &raw mut **segment);
        Ok(Self {
            dir,
            segment_bytes,
            current: AtomicPtr::new(last),
            segments: Mutex::new(segments),
            names: Mutex::new(recovered.names),
            notifier: options.notifier,
            damage: recovered.damage,
            closed: AtomicBool::new(false),
            lease: Mutex::new(Some(lease)),
        })
    }

    /// Refuse every further append and give the lease back, while readers of this process keep their references.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether records survive power loss; in this mode they survive the process.
    pub const fn durable(&self) -> bool {
        false
    }

    /// Wait until the record at a position is as lasting as the mode promises: here it is, once it is appended.
    pub const fn flush_to(&self, _position: u64) -> Result<()> {
        Ok(())
    }

    /// What was found broken and set aside when the log was opened.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The number under which records of this component are stored; given, and recorded, at the first use.
    pub fn component(&self, id: &str) -> Result<u16> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = names.get(id) {
            return Ok(*number);
        }
        let number = u16::try_from(names.len() + 1)
            .map_err(|_| Error::TooLarge { bytes: names.len(), limit: 65_535 })?;
        let mut payload = number.to_le_bytes().to_vec();
        payload.extend_from_slice(id.as_bytes());
        self.append(LOG_COMPONENT, 0, 1, wall_clock(), &payload)?;
        names.insert(id.to_owned(), number);
        Ok(number)
    }

    /// Append one record; gives its position. Once this returns, the record outlives the process.
    pub fn append(&self, component: u16, kind: u16, revision: u16, time: i64, payload: &[u8]) -> Result<u64> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD });
        }
        if FORKED.load(Ordering::Relaxed) {
            return Err(Error::Forked);
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        let size = record_size(payload.len());
        loop {
            // SAFETY: points into `segments`, which only grows.
            let segment = unsafe { &*self.current.load(Ordering::Acquire) };
            let offset = segment.tail.fetch_add(size, Ordering::Relaxed);
            if offset + size <= segment.map.len() {
                publish(&segment.map, offset, payload.len(), payload, component, kind, revision, 0, time);
                if let Some(notifier) = &self.notifier {
                    notifier.published();
                }
                return Ok(segment.first + offset as u64);
            }
            if let Err(error) = self.roll(segment, offset) {
                // Give the claim back, so that the segment is not sealed for a record that never came.
                segment.tail.fetch_sub(size, Ordering::Relaxed);
                return Err(error);
            }
        }
    }

    /// Go on in a new segment. Of all appenders that found `full` too small, the first one seals it.
    fn roll(&self, full: &Segment, offset: usize) -> Result<()> {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(self.current.load(Ordering::Acquire), full) {
            return Ok(());
        }
        let index = full.index + 1;
        let first = full.first + full.map.len() as u64;
        let map = Map::create(&Segment::path(&self.dir, index), self.segment_bytes, first, wall_clock())?;
        full.map.sealed().store(offset.min(full.map.len()) as u64, Ordering::Release);
        let mut next = Box::new(Segment { map, index, first, tail: AtomicUsize::new(SEGMENT_HEADER) });
        let pointer = &raw mut *next;
        segments.push(next);
        self.current.store(pointer, Ordering::Release);
        Ok(())
    }

    /// Every record so far, in order, for the replay at start; nothing may be appended meanwhile.
    pub fn replay<E>(
        &self,
        mut visit: impl FnMut(RecordView<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let by_number: HashMap<u16, &str> =
            names.iter().map(|(name, number)| (*number, name.as_str())).collect();
        for segment in segments.iter() {
            let bytes = segment.map.bytes();
            let mut offset = SEGMENT_HEADER;
            while let Slot::Record(record) = parse(&bytes[offset..], bytes.len() - offset) {
                if let Some(view) =
                    view(&record, segment.first + offset as u64, by_number.get(&record.component).copied())
                {
                    visit(view)?;
                }
                offset += record.size;
            }
        }
        Ok(())
    }
}

/// A record as readers see it; none for pads and the log's own records.
pub(crate) fn view<'a>(record: &Parsed<'a>, position: u64, name: Option<&'a str>) -> Option<RecordView<'a>> {
    if record.flags & FLAG_PAD != 0 || record.component == LOG_COMPONENT {
        return None;
    }
    Some(RecordView {
        position,
        component: name?,
        kind: record.kind,
        revision: record.revision,
        time: record.time,
        payload: record.payload,
    })
}

/// Write a record into claimed space; its length goes last, with release order. `length` is the payload's, or a pad's.
#[expect(clippy::too_many_arguments, reason = "the fields of the record header, written at one place")]
pub(crate) fn publish(
    map: &Map,
    offset: usize,
    length: usize,
    payload: &[u8],
    component: u16,
    kind: u16,
    revision: u16,
    flags: u16,
    time: i64,
) {
    let published = u32::try_from(length + 1).unwrap_or(u32::MAX); // a segment is smaller than 4 GiB
    let tail = header_tail(component, kind, revision, flags, time);
    map.write(offset + 24, payload);
    map.write(offset + 8, &tail);
    map.write(offset + 4, &crc(published, &tail, payload).to_le_bytes());
    map.published(offset).store(published.to_le(), Ordering::Release);
}

/// Microseconds since the epoch, UTC.
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
