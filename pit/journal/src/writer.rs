//! Appending: claim space, copy, publish the word. Appenders never wait for one another but to change segments.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::backend::Backend;
use crate::begin::Begin;
use crate::clock::wall_clock;
use crate::error::{Error, Result};
use crate::flush::Flush;
use crate::fork::{forked, guard};
use crate::format::{Head, LOG_COMPONENT, MAX_PAYLOAD, MAX_SEGMENT_BYTES, RecordView};
use crate::lease::Lease;
use crate::notify::Notifier;
use crate::recovery::{self, Damage, Last, segment_indices};
use crate::retire::{Coverage, Retirement, clear_leftovers, kept, retire};
use crate::scan::Contents;
use crate::segment::{Segment, path_of};

/// Segment size unless told otherwise: 16 MiB, some 60,000 records.
pub const DEFAULT_SEGMENT_BYTES: usize = 16 << 20;
/// A segment takes at least one record of the largest size.
const MIN_SEGMENT_BYTES: usize = MAX_PAYLOAD + 4096;

/// No flush was made yet.
const NEVER: u64 = u64::MAX;

/// What a record survives once its append, or the wait for it, has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process; after a power loss, records of the last so long may be missing. Zero: of any time.
    Process { flush_interval: Duration },
    /// Power loss, for those who wait in [`Log::flush_if_durable`].
    Machine,
}

impl Default for Durability {
    fn default() -> Self {
        Self::Process { flush_interval: Duration::from_secs(1) }
    }
}

/// How to open a log.
#[derive(Default)]
pub struct Options {
    /// Size of new segments in bytes; 0 = [`DEFAULT_SEGMENT_BYTES`].
    pub segment_bytes: usize,
    /// Wakes the reader in another process.
    pub notifier: Option<Notifier>,
    pub durability: Durability,
    /// Back end to use whatever the file system is; else it is probed.
    pub backend: Option<Backend>,
}

/// The log, open for writing.
pub struct Log {
    core: Arc<Core>,
    names: Mutex<HashMap<String, u16>>,
    damage: Vec<Damage>,
    lease: Mutex<Option<Lease>>,
    /// Flushes now and then; ends with the log.
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Retirements take turns.
    retiring: Mutex<()>,
}

struct Core {
    dir: PathBuf,
    segment_bytes: usize,
    backend: Backend,
    durability: Durability,
    current: AtomicPtr<Segment>,
    /// Every segment that was current. They stay mapped, since an appender may still be copying into one.
    #[expect(clippy::vec_box, reason = "`current` points to them")]
    segments: Mutex<Vec<Box<Segment>>>,
    notifier: Option<Notifier>,
    flush: Flush,
    /// Index of the segment that was current at the last flush.
    flushed: AtomicU64,
    closed: AtomicBool,
    /// Wakes the keeper when the log closes.
    closing: (Mutex<()>, Condvar),
}

impl Log {
    /// Take the lease of the Pit at `pit`, open its log (made if new) and find its end.
    pub fn open(pit: &Path, options: Options) -> Result<Self> {
        guard();
        let dir = pit.join("log");
        std::fs::create_dir_all(&dir).map_err(|error| Error::io(&dir, "create", error))?;
        let lease = Lease::take(&pit.join("lease"))?;
        let segment_bytes = match options.segment_bytes {
            0 => DEFAULT_SEGMENT_BYTES,
            bytes => bytes.clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES).next_multiple_of(4096),
        };
        let backend = options.backend.map_or_else(|| Backend::probe(&dir).map(|(backend, _)| backend), Ok)?;
        let begin = Begin::read(&dir)?;
        clear_leftovers(&dir, &begin)?;
        let recovered = recovery::recover(&dir, &begin)?;
        let segment = match recovered.last {
            Some(Last { index, first, len, end }) => Segment::open(&dir, backend, index, first, len, end)?,
            None => Segment::create(&dir, backend, begin.index, begin.first, segment_bytes, wall_clock())?,
        };
        let mut segments = vec![Box::new(segment)];
        let core = Arc::new(Core {
            dir,
            segment_bytes,
            backend,
            durability: options.durability,
            current: AtomicPtr::new(&raw mut *segments[0]),
            segments: Mutex::new(segments),
            notifier: options.notifier,
            flush: Flush::default(),
            flushed: AtomicU64::new(NEVER),
            closed: AtomicBool::new(false),
            closing: (Mutex::default(), Condvar::new()),
        });
        Ok(Self {
            keeper: Mutex::new(keep(&core)?),
            core,
            names: Mutex::new(recovered.names),
            damage: recovered.damage,
            lease: Mutex::new(Some(lease)),
            retiring: Mutex::default(),
        })
    }

    /// Refuse every further append, flush unless the mode never does, and give the lease back.
    pub fn close(&self) {
        let closed = self.core.closed.swap(true, Ordering::Relaxed);
        {
            let _closing = self.core.closing.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.core.closing.1.notify_all();
        }
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper.filter(|_| !forked()) {
            let _ = keeper.join(); // it panics no more than the flush it runs
        }
        if self.durable() && !closed {
            let _ = self.flush(); // of what nobody waited for; who did was told
        }
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether [`Log::flush_if_durable`] waits for the disk, so that what it covers survives power loss.
    pub fn durable(&self) -> bool {
        self.core.durability == Durability::Machine
    }

    pub fn durability(&self) -> Durability {
        self.core.durability
    }

    pub fn backend(&self) -> Backend {
        self.core.backend
    }

    /// Wait until everything whose append has returned is as lasting as the mode promises. Many who wait at once share one
    /// flush.
    pub fn flush_if_durable(&self) -> Result<()> {
        if self.durable() { self.flush() } else { Ok(()) }
    }

    /// Write everything appended so far to the disk, in any mode.
    pub fn flush(&self) -> Result<()> {
        if forked() {
            return Err(Error::Forked);
        }
        self.core.flush.wait(|| self.core.sync()).map_err(|error| Error::io(&self.core.dir, "flush", error))
    }

    /// Whether the log has gone on to another segment behind one that ends before `before`: a cheap look, before a retirement.
    pub fn has_left(&self, before: u64) -> bool {
        let found = || -> Result<bool> {
            let begin = Begin::read(&self.core.dir)?;
            let first = segment_indices(&self.core.dir, &begin)?.into_iter().next();
            let Some(index) = first.filter(|index| *index < self.core.current().index) else {
                return Ok(false);
            };
            let header = Contents::read_header(&path_of(&self.core.dir, index))?;
            Ok(header.first + header.size <= before)
        };
        found().unwrap_or(true) // the retirement tells what is wrong
    }

    /// Let go of the oldest segments: those that end before `before`, and that the components can do without.
    pub fn retire(&self, before: u64, coverage: &Coverage) -> Result<Retirement> {
        if forked() {
            return Err(Error::Forked);
        }
        let _turn = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        if self.core.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        let current = self.core.current().index;
        retire(&self.core.dir, coverage, before, current, |index| self.core.let_go(index))
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

    /// The component that a number stands for.
    pub fn name(&self, number: u16) -> Option<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().find(|(_, known)| **known == number).map(|(name, _)| name.clone())
    }

    /// Append one record; gives its position. Once this returns, the record outlives the process.
    pub fn append(&self, component: u16, kind: u16, revision: u16, time: i64, payload: &[u8]) -> Result<u64> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD });
        }
        if forked() {
            return Err(Error::Forked);
        }
        if self.core.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        self.core.append(&Head { component, kind, revision, flags: 0, time }, payload)
    }

    /// Position behind the last record so far.
    pub fn end(&self) -> u64 {
        self.core.current().end()
    }

    /// Every record from a position on, in order, for the replay at start; nothing may be appended meanwhile.
    pub fn replay<E: From<Error>>(
        &self,
        from: u64,
        mut visit: impl FnMut(RecordView<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_number = vec![None; names.values().max().map_or(0, |most| usize::from(*most) + 1)];
        names.iter().for_each(|(name, number)| by_number[usize::from(*number)] = Some(name.as_str()));
        let (dir, current) = (&self.core.dir, self.core.current().index);
        let begin = Begin::read(dir)?;
        let segments = segment_indices(dir, &begin)?.into_iter().filter(|index| *index <= current);
        let kept = kept(dir, &begin)?.into_iter().map(|(_, path)| path);
        let mut read = None;
        for path in kept.chain(segments.map(|index| path_of(dir, index))) {
            let header = Contents::read_header(&path)?;
            if header.first + header.size <= from {
                continue;
            }
            let contents = Contents::read_over(&path, read.take())?;
            for (offset, record) in contents.records() {
                let position = header.first + offset as u64;
                let name = by_number.get(usize::from(record.head.component)).copied().flatten();
                if let Some(view) = record.view(position, name).filter(|_| position >= from) {
                    visit(view)?;
                }
            }
            read = Some(contents);
        }
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    fn current(&self) -> &Segment {
        // SAFETY: points into `segments`, which only grows and lives as long as self.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    fn append(&self, head: &Head, payload: &[u8]) -> Result<u64> {
        loop {
            let segment = self.current();
            match segment.append(head, payload) {
                Ok(Some(offset)) => {
                    self.note_if_late(segment);
                    if let Some(notifier) = &self.notifier {
                        notifier.published();
                    }
                    return Ok(segment.first + offset as u64);
                }
                Ok(None) => self.roll(segment)?,
                Err(error) => return Err(Error::io(&segment.path, "append to", error)),
            }
        }
    }

    /// A flush counts a segment as done once the log has gone on elsewhere; who publishes there afterwards has to say so.
    fn note_if_late(&self, segment: &Segment) {
        if self.durability == Durability::Machine {
            fence(Ordering::SeqCst); // either this sees the change of segments, or the flush after it sees the record
        }
        if !std::ptr::eq(self.current.load(Ordering::Acquire), segment) {
            segment.late.store(true, Ordering::Release);
        }
    }

    /// Go on in a new segment; of all appenders that found `full` too small, the first one makes it.
    fn roll(&self, full: &Segment) -> Result<()> {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(self.current.load(Ordering::Acquire), full) {
            return Ok(());
        }
        let (index, first) = (full.index + 1, full.first + full.len as u64);
        let next = Segment::create(&self.dir, self.backend, index, first, self.segment_bytes, wall_clock())?;
        full.seal()?;
        if !self.flushes() {
            full.let_file_go();
        }
        let mut next = Box::new(next);
        let pointer = &raw mut *next;
        segments.push(next);
        self.current.store(pointer, Ordering::Release);
        Ok(())
    }

    /// Have the kernel write out the segments that were current since the last flush, those that got a late record, and the
    /// names of new ones. Never run twice at a time.
    fn sync(&self) -> io::Result<()> {
        let before = self.flushed.load(Ordering::Acquire);
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.current().index;
        let files: Vec<Arc<File>> = segments
            .iter()
            .filter(|segment| {
                let late = segment.late.swap(false, Ordering::AcqRel);
                (late || before == NEVER || segment.index >= before)
                    && !segment.retired.load(Ordering::Acquire)
            })
            .map(|segment| segment.file())
            .collect::<io::Result<_>>()?;
        drop(segments);
        for file in &files {
            file.sync_data()?;
        }
        if index != before {
            File::open(&self.dir)?.sync_all()?;
        }
        self.flushed.store(index, Ordering::Release);
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.iter().filter(|segment| segment.index < index).for_each(|segment| segment.let_file_go());
        Ok(())
    }

    /// The file of a segment is about to go.
    fn let_go(&self, index: u64) {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        for segment in segments.iter().filter(|segment| segment.index == index) {
            segment.retired.store(true, Ordering::Release);
            segment.let_file_go();
        }
    }

    /// Whether anything is flushed but at somebody's wish.
    const fn flushes(&self) -> bool {
        !matches!(self.durability, Durability::Process { flush_interval: Duration::ZERO })
    }
}

/// The thread that bounds what a power loss takes, where the mode asks for it.
fn keep(core: &Arc<Core>) -> Result<Option<JoinHandle<()>>> {
    let Durability::Process { flush_interval } = core.durability else { return Ok(None) };
    if !core.flushes() {
        return Ok(None);
    }
    let core = Arc::clone(core);
    let dir = core.dir.clone();
    let run = move || {
        let mut flushed = core.current().end();
        let mut last = false;
        while !last {
            let closing = core.closing.0.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = core
                .closing
                .1
                .wait_timeout_while(closing, flush_interval, |()| !core.closed.load(Ordering::Relaxed));
            drop(wait);
            last = core.closed.load(Ordering::Relaxed);
            let end = core.current().end();
            if end != flushed && core.flush.wait(|| core.sync()).is_ok() {
                flushed = end;
            }
        }
    };
    let spawned = std::thread::Builder::new().name("symphony-flush".to_owned()).spawn(run);
    spawned.map(Some).map_err(|error| Error::io(dir, "start the thread that flushes", error))
}
