//! Lines of JSON on a socket, of bounded length.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest line that either side may send.
pub const MAX_FRAME: usize = 16 << 20;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Line(Vec<u8>),
    /// Longer than allowed; it was read to its end and thrown away.
    TooLong,
}

/// The lines of a stream.
pub struct Frames<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    too_long: bool,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(stream: R) -> Self {
        Self::with_limit(stream, MAX_FRAME)
    }

    fn with_limit(stream: R, limit: usize) -> Self {
        let reader = BufReader::with_capacity(64 << 10, stream);
        Self { reader, line: Vec::new(), too_long: false, limit }
    }

    /// The next line, or None at the end of the stream. What is read stays here when the caller stops waiting.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = &bytes[..end.unwrap_or(bytes.len())];
            let over = bytes.is_empty();
            self.too_long |= self.line.len() + taken.len() > self.limit;
            if self.too_long {
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(taken);
            }
            let used = taken.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() || (over && (self.too_long || !self.line.is_empty())) {
                let line = std::mem::take(&mut self.line);
                return Ok(Some(if std::mem::take(&mut self.too_long) {
                    Frame::TooLong
                } else {
                    Frame::Line(line)
                }));
            }
            if over {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn lines_are_split_bounded_and_the_last_needs_no_end() {
        let mut frames = Frames::with_limit(&b"one\n\n12345\n123456\nlast"[..], 5);
        let mut seen = Vec::new();
        while let Some(frame) = frames.next().await.unwrap() {
            seen.push(frame);
        }
        let line = |text: &str| Frame::Line(text.into());
        assert_eq!(seen, [line("one"), line(""), line("12345"), Frame::TooLong, line("last")]);
    }
}
