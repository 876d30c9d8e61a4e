//! Requests and answers on one socket; whoever stops waiting leaves nothing half said.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::events::{Event, Subscriber};
use crate::failure::{Failure, Result};
use crate::frames::{Frame, Frames, MAX_FRAME};
use crate::json::{Fields, Json};

struct Waiting {
    reply: oneshot::Sender<Result<Json>>,
    /// Of a subscription: gets its events from the answer on.
    subscriber: Option<Subscriber>,
}

#[derive(Default)]
struct Shared {
    /// None once the host has closed the connection.
    waiting: Mutex<Option<HashMap<u64, Waiting>>>,
    subscribers: Mutex<HashMap<u64, Subscriber>>,
}

pub(super) struct Connection {
    next: AtomicU64,
    lines: mpsc::UnboundedSender<String>,
    shared: Arc<Shared>,
    reader: AbortHandle,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // no panic can leave these half changed
}

fn gone() -> Failure {
    Failure::unavailable("the host closed the connection").hint("its runs are kept: connect again")
}

impl Connection {
    /// Must be called where tokio runs.
    pub fn open(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        let (lines, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { waiting: Mutex::new(Some(HashMap::new())), ..Shared::default() });
        tokio::spawn(write_all(queue, write)); // ends with `lines`
        let reader = tokio::spawn(read_all(shared.clone(), read)).abort_handle();
        Self { next: AtomicU64::new(1), lines, shared, reader }
    }

    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        parameters: Value,
        subscriber: Option<Subscriber>,
    ) -> Result<T> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}).to_string();
        if line.len() >= MAX_FRAME {
            return Err(Failure::invalid(format!("{method}: a request has at most 16 MiB")));
        }
        let (reply, answer) = oneshot::channel();
        match locked(&self.shared.waiting).as_mut() {
            Some(waiting) => waiting.insert(id, Waiting { reply, subscriber }),
            None => return Err(gone()),
        };
        let _ = self.lines.send(line + "\n"); // a closed one was noticed by the reader
        let text = answer.await.map_err(|_| gone())??.into_text();
        serde_json::from_str(&text)
            .map_err(|error| Failure::incompatible(format!("the answer to {method} cannot be read: {error}")))
    }

    /// Forget a subscription; what is still on its way is dropped.
    pub fn unsubscribe(&self, number: u64) {
        if locked(&self.shared.subscribers).remove(&number).is_some() {
            let parameters = json!({"subscription": number});
            let line = json!({"jsonrpc": "2.0", "method": "events.unsubscribe", "params": parameters});
            let _ = self.lines.send(format!("{line}\n")); // as above
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn write_all(mut queue: mpsc::UnboundedReceiver<String>, mut write: OwnedWriteHalf) {
    while let Some(line) = queue.recv().await {
        if write.write_all(line.as_bytes()).await.is_err() {
            return; // the reader sees the same end
        }
    }
}

async fn read_all(shared: Arc<Shared>, read: OwnedReadHalf) {
    let mut frames = Frames::new(read);
    while let Ok(Some(frame)) = frames.next().await {
        if let Frame::Line(line) = frame
            && let Some(fields) = Fields::parse(&line)
        {
            shared.take(&fields);
        }
    }
    locked(&shared.waiting).take(); // nothing comes any more
    locked(&shared.subscribers).clear();
}

impl Shared {
    fn take(&self, fields: &Fields) {
        if fields.get("method").is_some() {
            if let Some(event) = fields.get("params").and_then(|raw| serde_json::from_str(raw.get()).ok()) {
                self.tell(event);
            }
            return;
        }
        let id = fields.json("id").and_then(|id| id.value().as_u64());
        let asked = id.and_then(|id| locked(&self.waiting).as_mut().and_then(|waiting| waiting.remove(&id)));
        let Some(Waiting { reply, subscriber }) = asked else { return };
        let answer = match fields.json("error") {
            Some(error) => Err(Failure::from_rpc(&error.value())),
            None => Ok(fields.json("result").unwrap_or_else(|| Json::from(Value::Null))),
        };
        if let (Some(subscriber), Ok(answer)) = (subscriber, &answer)
            && let Some(number) = answer.value()["subscription"].as_u64()
        {
            locked(&self.subscribers).insert(number, subscriber);
        }
        let _ = reply.send(answer); // whoever asked may have gone
    }

    fn tell(&self, event: Event) {
        let mut subscribers = locked(&self.subscribers);
        match event.subscription {
            Some(number) => {
                if let Some(subscriber) = subscribers.get_mut(&number) {
                    subscriber.take(event);
                }
            }
            None if event.lost > 0 => {
                subscribers.values_mut().for_each(|subscriber| subscriber.take(event.clone()));
            }
            None => {}
        }
    }
}
