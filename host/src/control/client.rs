//! One client from its first line to its last answer.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::outbox::{Outbox, Ticket};
use super::request::{Request, answer};
use super::{Host, methods};
use crate::failure::{Failure, INVALID_REQUEST};
use crate::frames::{Frame, Frames};
use crate::json::Json;

/// Requests of one client at a time; the next one is not read before an answer was written.
const REQUESTS: usize = 256;
/// How often a client that sends nothing more is looked at.
const LOOK: Duration = Duration::from_millis(200);
const TURN_AWAY_LIMIT: Duration = Duration::from_secs(1);

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
    let outbox = Rc::new(Outbox::default());
    let mut tasks = JoinSet::new();
    let mut writing = pin!(outbox.write(&write)); // one future to the end: a line must not be left half written
    tokio::select! {
        _ = &mut writing => return,
        _ = read_all(&host, read, &outbox, &mut tasks) => {}
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
    outbox: &Rc<Outbox>,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    let mut frames = Frames::new(read);
    let room = Arc::new(Semaphore::new(REQUESTS));
    loop {
        while tasks.try_join_next().is_some() {} // forget those that ended
        let Ok(place) = room.clone().acquire_owned().await else { return Ok(()) };
        let Some(frame) = frames.next().await? else { return Ok(()) };
        let ticket = Ticket::new(host, place);
        match frame {
            Frame::Line(line) if line.iter().all(u8::is_ascii_whitespace) => {}
            Frame::Line(line) => match Request::parse(&line) {
                Ok(request) => drop(tasks.spawn_local(handle(host.clone(), outbox.clone(), request, ticket))),
                Err((id, failure)) => outbox.answer(answer(&id, &Err(failure)), ticket),
            },
            Frame::TooLong => {
                let failure = Failure::invalid("a request has at most 16 MiB").code(INVALID_REQUEST);
                outbox.answer(answer(&Json::from(Value::Null), &Err(failure)), ticket);
            }
        }
    }
}

async fn handle(host: Rc<Host>, outbox: Rc<Outbox>, request: Request, ticket: Ticket) {
    let result = methods::answer(&host, &outbox, &request.method, &request.parameters).await;
    if let Some(id) = request.id {
        outbox.answer(answer(&id, &result), ticket);
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
    let line = answer(&Json::from(Value::Null), &Err(failure));
    let _ = timeout(TURN_AWAY_LIMIT, stream.write_all(line.as_bytes())).await;
}
