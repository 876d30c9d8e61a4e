//! What the interpreter and everything it starts writes to stdout and stderr: into a log, and its end kept for reports.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::secrets::Secrets;
use crate::log_file::LogFile;

/// So much is kept in memory.
const KEPT: usize = 64 << 10;
/// So much of it goes into an error.
const REPORTED: usize = 4 << 10;

pub(super) struct Output {
    log: LogFile,
    kept: RefCell<VecDeque<u8>>,
}

impl Output {
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { log: LogFile::open(path)?, kept: RefCell::default() })
    }

    /// A new interpreter begins.
    pub fn begin(&self, pid: u32) {
        let mut kept = self.kept.borrow_mut();
        if kept.back().is_some_and(|last| *last != b'\n') {
            self.log.append(b"\n"); // the last one died in the middle of a line
        }
        kept.clear();
        self.log.line(&format!("--- interpreter {pid}"));
    }

    /// Take in everything until the last writer is gone.
    pub async fn take(&self, mut pipe: pipe::Receiver, mut secrets: Secrets) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            self.keep(&secrets.clean(&buffer[..count]));
        }
        self.keep(&secrets.rest());
    }

    fn keep(&self, written: &[u8]) {
        self.log.append(written);
        let mut kept = self.kept.borrow_mut();
        kept.extend(written);
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }

    /// The last lines, at most 4 KiB of them.
    pub fn tail(&self) -> String {
        self.last(REPORTED)
    }

    /// All that is kept.
    pub fn everything(&self) -> String {
        self.last(KEPT)
    }

    fn last(&self, bytes: usize) -> String {
        let kept = self.kept.borrow();
        let from = kept.len().saturating_sub(bytes);
        let bytes: Vec<u8> = kept.iter().skip(from).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let whole = if from > 0 { text.split_once('\n').map_or(&*text, |(_, rest)| rest) } else { &*text };
        whole.trim_end().to_owned()
    }

    /// The last line with something in it, which in a Python traceback is the exception.
    pub fn last_line(&self) -> Option<String> {
        self.tail().lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_end_of_a_long_output_is_kept_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::open(folder.path().join("out.log")).unwrap();
        let (sender, receiver) = pipe::pipe().unwrap();
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
        let text = lines.join("\n");
        let length = text.len();
        let writer = std::thread::spawn(move || {
            use std::io::Write;
            std::fs::File::from(sender.into_blocking_fd().unwrap()).write_all(text.as_bytes()).unwrap();
        });
        let told = std::os::unix::net::UnixStream::pair().unwrap().0;
        told.set_nonblocking(true).unwrap();
        output.take(receiver, Secrets::new(told)).await;
        writer.join().unwrap();
        assert_eq!(output.last_line().as_deref(), Some("line 19999"));
        let tail = output.tail();
        assert!(tail.starts_with("line ") && tail.len() > 4000 && tail.len() <= REPORTED);
        assert_eq!(std::fs::metadata(folder.path().join("out.log")).unwrap().len(), length as u64);
    }
}
