//! What waits to be written to one client: every answer, and as many events as a slow reader is allowed to fall behind.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::Host;
use crate::runs::Sink;

/// Events that may wait (some 2 MiB); later ones are dropped and counted.
const EVENTS: usize = 8192;

/// A request that was taken on; it counts as unanswered until its answer is written.
pub(super) struct Ticket {
    host: Rc<Host>,
    _room: OwnedSemaphorePermit,
}

impl Ticket {
    pub fn new(host: &Rc<Host>, room: OwnedSemaphorePermit) -> Self {
        host.unanswered.update(|count| count + 1);
        Self { host: host.clone(), _room: room }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.host.unanswered.update(|count| count - 1);
    }
}

enum Line {
    Event(String),
    Answer(String, Ticket),
}

#[derive(Default)]
pub(super) struct Outbox {
    lines: RefCell<VecDeque<Line>>,
    events: Cell<usize>,
    lost: Cell<u64>,
    filled: Notify,
    emptied: Notify,
    /// Nothing waits and nothing is being written.
    idle: Cell<bool>,
}

impl Outbox {
    /// Everything is one document without an end of line.
    pub fn answer(&self, mut document: String, ticket: Ticket) {
        self.confess();
        document.push('\n');
        self.push(Line::Answer(document, ticket));
    }

    fn push(&self, line: Line) {
        self.lines.borrow_mut().push_back(line);
        self.idle.set(false);
        self.filled.notify_one();
    }

    fn push_event(&self, parameters: &Value) {
        self.events.update(|count| count + 1);
        self.push(Line::Event(format!(
            "{}\n",
            json!({"jsonrpc": "2.0", "method": "event", "params": parameters})
        )));
    }

    /// Before anything else is sent, say how many events were lost.
    fn confess(&self) {
        let lost = self.lost.take();
        if lost > 0 {
            let message = format!("{lost} events were lost: this client reads too slowly");
            self.push_event(&json!({"kind": "lost", "message": message, "lost": lost}));
        }
    }

    /// Returns when everything is written.
    pub async fn drained(&self) {
        while !self.idle.get() {
            self.emptied.notified().await;
        }
    }

    /// Write for good, in order.
    pub async fn write(&self, stream: &OwnedWriteHalf) -> io::Result<()> {
        loop {
            let Some(line) = self.lines.borrow_mut().pop_front() else {
                if self.lost.get() > 0 {
                    self.confess(); // also when nothing happens any more
                    continue;
                }
                self.idle.set(true);
                self.emptied.notify_one();
                self.filled.notified().await;
                continue;
            };
            match line {
                Line::Event(text) => {
                    self.events.update(|count| count - 1);
                    write_all(stream, text.as_bytes()).await?;
                }
                Line::Answer(text, ticket) => {
                    write_all(stream, text.as_bytes()).await?;
                    drop(ticket);
                }
            }
        }
    }
}

impl Sink for Outbox {
    fn event(&self, parameters: Value) {
        if self.events.get() >= EVENTS {
            self.lost.update(|count| count + 1);
            return;
        }
        self.confess();
        self.push_event(&parameters);
    }
}

async fn write_all(stream: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
