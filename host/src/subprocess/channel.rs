//! Requests to the interpreter over the inherited socket, and its answers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};

use crate::failure::{Failure, Result};
use crate::frames::{Frame, Frames};
use crate::json::{Fields, Json, Object, shortened};

/// What came back for a request.
pub type Answer = Result<Json>;

type Notified = Box<dyn Fn(&str, &Json)>;

/// The connection to one interpreter.
pub struct Channel {
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Answer>>>,
    lines: mpsc::UnboundedSender<String>,
    closed: Cell<bool>,
    writer: AbortHandle,
}

impl Channel {
    /// `notified` gets method and parameters of each notification, `complain` what cannot be read. The future reads until
    /// the interpreter closes its end.
    pub fn open(
        stream: UnixStream,
        notified: Notified,
        complain: impl Fn(&str) + 'static,
    ) -> (Rc<Self>, impl Future<Output = ()>) {
        let (read, write) = stream.into_split();
        let (lines, queue) = mpsc::unbounded_channel();
        let writer = spawn_local(write_all(queue, write)).abort_handle();
        let waiting = RefCell::default();
        let channel = Rc::new(Self { next: Cell::new(0), waiting, lines, closed: Cell::new(false), writer });
        let reader = channel.clone().read_all(read, notified, complain);
        (channel, reader)
    }

    /// Send a request at once. The receiver ends without an answer when the interpreter goes away.
    pub fn call(&self, method: &str, parameters: &Json) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        if !self.closed.get() {
            let id = self.next.get();
            self.next.set(id + 1);
            self.waiting.borrow_mut().insert(id, sender);
            let request = Object::default()
                .field("jsonrpc", "2.0")
                .field("id", id)
                .field("method", method)
                .raw("params", parameters)
                .finish();
            let _ = self.lines.send(format!("{}\n", request.text())); // a closed one was noticed by the reader
        }
        receiver
    }

    pub fn is_open(&self) -> bool {
        !self.closed.get()
    }

    /// Let go of all who wait: nothing comes any more.
    pub fn close(&self) {
        self.closed.set(true);
        self.waiting.borrow_mut().clear();
        self.writer.abort();
    }

    async fn read_all(self: Rc<Self>, read: OwnedReadHalf, notified: Notified, complain: impl Fn(&str)) {
        let mut frames = Frames::new(read);
        loop {
            match frames.next().await {
                Ok(Some(Frame::Line(line))) => self.take(&line, &notified, &complain),
                Ok(Some(Frame::TooLong)) => complain("the interpreter sent a line longer than 16 MiB"),
                Ok(None) | Err(_) => break,
            }
        }
        self.close();
    }

    fn asker(&self, id: u64) -> Option<oneshot::Sender<Answer>> {
        self.waiting.borrow_mut().remove(&id)
    }

    /// An answer that is no JSON (such as one with NaN in it) must not leave its asker waiting. The id stands before the result.
    fn fail(&self, text: &str) {
        let after = text.split_once("\"id\":").map(|(_, after)| after.trim_start());
        let digits =
            after.map(|after| after.split(|next: char| !next.is_ascii_digit()).next().unwrap_or_default());
        if let Some(sender) = digits.and_then(|digits| digits.parse().ok()).and_then(|id| self.asker(id)) {
            let _ = sender.send(Err(Failure::invalid("the answer cannot be written as JSON"))); // as below
        }
    }

    fn take(&self, line: &[u8], notified: &Notified, complain: &impl Fn(&str)) {
        let Some(fields) = Fields::parse(line) else {
            let text = String::from_utf8_lossy(line);
            complain(&format!("the interpreter sent what is no JSON object: {}", shortened(&text)));
            self.fail(&text);
            return;
        };
        if let Ok(Some(method)) = fields.optional_str("method") {
            notified(&method, &fields.json("params").unwrap_or_else(|| Object::default().finish()));
            return;
        }
        let id = fields.json("id").and_then(|id| id.value().as_u64());
        let Some(sender) = id.and_then(|id| self.asker(id)) else {
            complain("the interpreter answered what was not asked");
            return;
        };
        let answer = match fields.json("error") {
            Some(error) => Err(Failure::from_rpc(&error.value())),
            None => Ok(fields.json("result").unwrap_or_else(|| Json::from(serde_json::Value::Null))),
        };
        let _ = sender.send(answer); // whoever asked may have gone
    }
}

async fn write_all(mut queue: mpsc::UnboundedReceiver<String>, mut write: OwnedWriteHalf) {
    while let Some(line) = queue.recv().await {
        if write.write_all(line.as_bytes()).await.is_err() {
            return; // the reader sees the same end
        }
    }
}
