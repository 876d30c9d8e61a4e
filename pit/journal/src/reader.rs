//! Following a log that another process writes: by pread, every field checked, nothing trusted and nothing mapped.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::begin::Begin;
use crate::error::{Error, Result};
use crate::format::{
    MAX_PAYLOAD, RecordView, SEGMENT_HEADER, SegmentHeader, Slot, parse, parse_segment_header, record_size,
};
use crate::recovery::segment_indices;
use crate::retire::kept;
use crate::segment::path_of;

/// Larger than the largest record, so that one is always read whole.
const CHUNK: usize = 2 * record_size(MAX_PAYLOAD);
const FIRST_READ: usize = 64 << 10;

struct Open {
    file: File,
    path: PathBuf,
    index: u64,
    header: SegmentHeader,
    /// What is left of a retired segment; others, or the log itself, come after it.
    kept: bool,
}

/// A place in the log of a Pit, which moves on with every [`Reader::poll`].
pub struct Reader {
    dir: PathBuf,
    begin: u64,
    kept: VecDeque<(u64, PathBuf)>,
    open: Option<Open>,
    offset: usize,
    names: HashMap<u16, String>,
    buffer: Vec<u8>,
}

impl Reader {
    /// Read the log of the Pit at `pit` from its beginning, with what is kept from before that; it need not exist yet.
    pub fn new(pit: &Path) -> Self {
        Self {
            dir: pit.join("log"),
            begin: 0,
            kept: VecDeque::new(),
            open: None,
            offset: SEGMENT_HEADER,
            names: HashMap::new(),
            buffer: Vec::new(),
        }
    }

    /// Visit every record published since the last call; gives their number.
    pub fn poll(&mut self, mut visit: impl FnMut(RecordView<'_>)) -> Result<usize> {
        let mut count = 0;
        loop {
            if self.open.is_none() && !self.open_first()? {
                return Ok(count);
            }
            count += self.read_segment(&mut visit)?;
            if !self.advance()? {
                return Ok(count);
            }
        }
    }

    fn open_first(&mut self) -> Result<bool> {
        if !self.dir.exists() {
            return Ok(false);
        }
        let begin = Begin::read(&self.dir)?;
        self.names.extend(begin.names().map(|(number, name)| (number, name.to_owned())));
        self.kept = kept(&self.dir, &begin)?.into();
        self.begin = begin.index;
        self.open_next_kept()
    }

    /// Open the next of the kept files, or behind them the first segment of the log.
    fn open_next_kept(&mut self) -> Result<bool> {
        if let Some((index, path)) = self.kept.pop_front() {
            return self.open_segment(index, path, true).map(|()| true);
        }
        let begin = Begin { index: self.begin, ..Begin::default() };
        let Some(index) = segment_indices(&self.dir, &begin)?.first().copied() else {
            return Ok(false);
        };
        self.open_segment(index, path_of(&self.dir, index), false).map(|()| true)
    }

    fn open_segment(&mut self, index: u64, path: PathBuf, kept: bool) -> Result<()> {
        let file = File::open(&path).map_err(|error| Error::io(&path, "open", error))?;
        let header = read_header(&file, &path)?;
        self.open = Some(Open { file, path, index, header, kept });
        self.offset = SEGMENT_HEADER;
        Ok(())
    }

    /// Read on from `offset` to the first record that is not published.
    fn read_segment(&mut self, visit: &mut impl FnMut(RecordView<'_>)) -> Result<usize> {
        let Some(open) = &self.open else { return Ok(0) };
        let size = usize::try_from(open.header.size).unwrap_or(0);
        let mut count = 0;
        let mut want = FIRST_READ;
        while self.offset < size {
            self.buffer.resize(want.min(size - self.offset), 0);
            let read = read_at(&open.file, &mut self.buffer, self.offset as u64)
                .map_err(|error| Error::io(&open.path, "read", error))?;
            let mut at = 0;
            let more = loop {
                let left = size - self.offset - at;
                match parse(&self.buffer[at..read], left) {
                    Slot::Record(record) => {
                        self.names.extend(record.naming().map(|(number, name)| (number, name.to_owned())));
                        let position = open.header.first + (self.offset + at) as u64;
                        let name = self.names.get(&record.head.component).map(String::as_str);
                        if let Some(view) = record.view(position, name) {
                            visit(view);
                            count += 1;
                        }
                        at += record.size; // a pad may reach beyond what was read
                        if at >= read {
                            break true;
                        }
                    }
                    Slot::Short => break true,
                    // A reader may see a record while recovery is at work on it; it looks again at the next poll.
                    Slot::Empty | Slot::Damaged => break false,
                }
            };
            self.offset += at;
            if !more || (at == 0 && want == CHUNK) {
                break;
            }
            want = if at == 0 { CHUNK } else { FIRST_READ };
        }
        Ok(count)
    }

    /// Go to the next segment once this one is sealed and read to its end.
    fn advance(&mut self) -> Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        open.header = read_header(&open.file, &open.path)?;
        if open.header.sealed.is_none_or(|sealed| (self.offset as u64) < sealed) {
            return Ok(false);
        }
        if open.kept {
            return self.open_next_kept();
        }
        let next = open.index + 1;
        let path = path_of(&self.dir, next);
        if !path.exists() {
            return Ok(false);
        }
        self.open_segment(next, path, false)?;
        Ok(true)
    }
}

fn read_header(file: &File, path: &Path) -> Result<SegmentHeader> {
    let mut bytes = [0; SEGMENT_HEADER];
    let read = read_at(file, &mut bytes, 0).map_err(|error| Error::io(path, "read", error))?;
    parse_segment_header(&bytes[..read]).map_err(|found| Error::Foreign { path: path.into(), found })
}

/// As many bytes as the file has, up to the buffer's length.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
