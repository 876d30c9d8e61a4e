//! Bytes that cross the ABI without a copy and live until the other side lets go.

use std::fs::File;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Immutable bytes with shared ownership: the whole result of a method, which Python sees as a memoryview.
#[derive(Clone)]
pub struct Buffer(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Buffer {
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }

    /// Map a part of a file for reading. The mapping outlives the file's name: a deleted file stays readable.
    ///
    /// The file must not be cut shorter while the buffer lives; its owner replaces files, and never changes them.
    pub fn map(file: &File, offset: u64, len: usize) -> Result<Self> {
        if len == 0 {
            return Ok(Self::new([]));
        }
        let io = |error: std::io::Error| Error::io("cannot map the content", &error);
        let end = offset.saturating_add(len as u64);
        let found = file.metadata().map_err(io)?.len();
        if end > found {
            return Err(Error::corrupt(format!("the file ends at {found} where content should reach {end}")));
        }
        // SAFETY: promised by the caller: the mapped part is never written to again, nor cut off.
        let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(len).map(file) }.map_err(io)?;
        Ok(Self::new(map))
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer of {} bytes", self.as_ref().len())
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}
