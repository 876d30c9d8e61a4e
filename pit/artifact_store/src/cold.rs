//! The form of cold content: an LZ4 frame, which other tools read as well. Pure Rust, and fast enough to be read in place.

use std::io::{self, Read, Write};

use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// Smaller content stays as it is: a record and a new place cost as much as they would save.
pub(crate) const SMALL: u64 = 4 << 10;
/// What is decompressed at a time.
const PART: usize = 256 << 10;

/// Whether being cold is worth it: it saves at least an eighth.
pub(crate) const fn pays(size: u64, compressed: u64) -> bool {
    compressed <= size - size / 8
}

/// Takes the bytes of one content, and writes them compressed.
pub(crate) struct Compressor<W: Write>(FrameEncoder<W>);

impl<W: Write> Compressor<W> {
    pub fn new(size: u64, target: W) -> Self {
        let block = if size <= 64 << 10 { BlockSize::Max64KB } else { BlockSize::Max256KB };
        let frame = FrameInfo::new().block_size(block).content_size(Some(size));
        Self(FrameEncoder::with_frame_info(frame, target))
    }

    pub fn add(&mut self, part: &[u8]) -> io::Result<()> {
        self.0.write_all(part)
    }

    pub fn finish(self) -> io::Result<W> {
        Ok(self.0.finish()?)
    }
}

/// Hands over, part by part, what was compressed: exactly `size` bytes, or it is an error.
pub(crate) fn expand<E: From<io::Error>>(
    source: impl Read,
    size: u64,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut decoder = FrameDecoder::new(source);
    let mut part = vec![0; usize::try_from(size).unwrap_or(PART).clamp(1, PART)];
    let mut left = size;
    loop {
        let count = decoder.read(&mut part)?;
        if count == 0 && left == 0 {
            return Ok(());
        }
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        left = left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "more bytes than its artifact has"))?;
        visit(&part[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(content: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(content.len() as u64, Vec::new());
        content.chunks(10_000).for_each(|part| compressor.add(part).unwrap());
        compressor.finish().unwrap()
    }

    fn expanded(frame: &[u8], size: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        expand(frame, size as u64, |part| {
            content.extend_from_slice(part);
            Ok::<_, io::Error>(())
        })?;
        Ok(content)
    }

    #[test]
    fn content_of_any_size_comes_back() {
        for size in [0, 1, 4_096, 65_536, 300_000, 2_000_000] {
            let content: Vec<u8> = (0..size).map(|at: u32| (at / 100 % 251) as u8).collect();
            let frame = compressed(&content);
            assert_eq!(expanded(&frame, content.len()).unwrap(), content);
            if size > 4_096 {
                assert!(pays(content.len() as u64, frame.len() as u64), "{size} {}", frame.len());
            }
        }
    }

    #[test]
    fn a_frame_that_was_cut_or_is_of_another_size_is_an_error() {
        let content = b"some words, and some words again ".repeat(1_000);
        let frame = compressed(&content);
        for cut in [0, 3, 10, frame.len() / 2, frame.len() - 5] {
            assert!(expanded(&frame[..cut], content.len()).is_err(), "{cut}");
        }
        assert!(expanded(&frame, content.len() - 1).is_err());
        assert!(expanded(&frame, content.len() + 1).is_err());
        assert!(expanded(b"no frame at all, just text", 10).is_err());
    }
}
