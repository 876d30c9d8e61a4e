//! One client from its first line to its last answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::outbox::{Outbox, Ticket};
use super::request::{Message, Parsed, Request, answer, batch};
use super::{Host, methods, refusal};
use crate::failure::Failure;
use crate::frames::{Frame, Frames};
use crate::runs::Watching;

/// Requests of one client at a time; the next one is not read before an answer was written.
const REQUESTS: usize = 256;
/// How often a client that sends nothing more is looked at.
const LOOK: Duration = Duration::from_millis(200);
const TURN_AWAY_LIMIT: Duration = Duration::from_secs(1);

/// What the methods may use of the client that calls them.
#[derive(Default)]
pub(super) struct Client {
    pub outbox: Rc<Outbox>,
    /// By their numbers; they end with the client.
    pub subscriptions: RefCell<BTreeMap<u64, Watching>>,
}

/// Counts the client while it is there.
struct Presence(Rc<Host>);

impl Presence {
    fn new(host: Rc<Host>) -> Self {
        host.clients.update(|count| count + 1);
        Self(host)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.clients.update(|count| count - 1);
    }
}

/// Serve a client until it is gone; what it waits for is then given up, what it ordered is not.
pub(super) async fn serve(host: Rc<Host>, stream: UnixStream) {
    let _presence = Presence::new(host.clone());
    let (read, write) = stream.into_split();
    let client = Rc::new(Client::default());
    let outbox = client.outbox.clone();
    let mut tasks = JoinSet::new();
    let mut writing = pin!(outbox.write(&write)); // one future to the end: a line must not be left half written
    tokio::select! {
        _ = &mut writing => return,
        _ = read_all(&host, read, &client, &mut tasks) => {}
    }
    // A client may close its sending side and still wait for answers.
    tokio::select! {
        _ = &mut writing => {}
        () = async { while tasks.join_next().await.is_some() {} outbox.drained().await } => {}
        () = gone(&write) => {}
    }
}

async fn read_all(
    host: &Rc<Host>,
    read: OwnedReadHalf,
    client: &Rc<Client>,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    let mut frames = Frames::new(read);
    let room = Arc::new(Semaphore::new(REQUESTS));
    loop {
        while tasks.try_join_next().is_some() {} // forget those that ended
        let Ok(place) = room.clone().acquire_owned().await else { return Ok(()) };
        let Some(frame) = frames.next().await? else { return Ok(()) };
        let ticket = Ticket::new(host, place);
        let message = match frame {
            Frame::Line(line) => Message::parse(&line),
            Frame::TooLong => Message::too_long(),
        };
        let (host, client) = (host.clone(), client.clone());
        tasks.spawn_local(async move {
            if let Some(answer) = respond(&host, &client, message).await {
                client.outbox.answer(answer, ticket);
            }
        });
    }
}

async fn respond(host: &Rc<Host>, client: &Rc<Client>, message: Message) -> Option<String> {
    match message {
        Message::Nothing => None,
        Message::Single(request) => handle(host.clone(), client.clone(), request).await,
        Message::Batch(requests) => {
            // All at the same time; the answers go when the last one is there.
            let mut tasks = JoinSet::new();
            for request in requests {
                tasks.spawn_local(handle(host.clone(), client.clone(), request));
            }
            let answers: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
            (!answers.is_empty()).then(|| batch(&answers))
        }
    }
}

/// The answer, where one is wanted.
async fn handle(host: Rc<Host>, client: Rc<Client>, parsed: Parsed) -> Option<String> {
    match parsed {
        Ok(Request { id, method, parameters }) => {
            let result = methods::answer(&host, &client, &method, &parameters).await;
            id.map(|id| answer(&id, &result))
        }
        Err((id, failure)) => Some(answer(&id, &Err(failure))),
    }
}

/// Returns when the client closed both directions.
async fn gone(write: &OwnedWriteHalf) {
    loop {
        match write.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => sleep(LOOK).await,
            _ => return,
        }
    }
}

/// Tell somebody why nobody talks to them.
pub(super) async fn turn_away(mut stream: UnixStream, failure: Failure) {
    let line = format!("{}\n", refusal(failure));
    let _ = timeout(TURN_AWAY_LIMIT, stream.write_all(line.as_bytes())).await;
}
