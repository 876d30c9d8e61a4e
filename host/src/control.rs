//! The control socket: JSON-RPC 2.0, one document per line, many clients at once.
//!
//! Whatever a client sends gets an answer or an error; nothing it sends or leaves unread stops the host or another client.

mod client;
mod closest;
mod command;

mod conductor;
mod examine;
mod explain;
mod methods;
mod outbox;
mod parameter;
mod request;
mod run_commands;
mod schema;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{interval, sleep};

pub use examine::examine;
pub use methods::offline;
pub use schema::DOCUMENT;

use crate::failure::Failure;
use crate::home::{Door, Home};
use crate::json::Json;
use crate::log_file::LogFile;
use crate::run_id::RunIds;
use crate::runs::Runs;
use crate::subprocess::Supervisor;
use crate::system;

/// Kept from clients: for the interpreter that lives and the next one, for logs, the history, and commands.
const OWN_DESCRIPTORS: usize = 64;
/// How often it is looked whether clients still find the socket.
const LOOK: Duration = Duration::from_secs(2);
/// How long running steps may take when the host is stopped.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Everything that a client can ask for.
pub struct Host {
    pub home: Home,
    pub prefix: String,
    /// The Python of the interpreter, and of commands.
    pub python: PathBuf,
    pub version: String,
    pub runs: Rc<Runs>,
    pub interpreter: Rc<Supervisor>,
    pub log: Rc<LogFile>,
    pub ids: RunIds,
    /// Stays although nobody needs it.
    pub linger: Cell<bool>,
    /// Set once, when somebody wants the host to end: how long running steps may take.
    stop: watch::Sender<Option<Duration>>,
    clients: Cell<usize>,
    unanswered: Cell<usize>,
}

impl Host {
    pub fn new(
        home: Home,
        prefix: String,
        python: PathBuf,
        runs: Rc<Runs>,
        interpreter: Rc<Supervisor>,
        log: Rc<LogFile>,
    ) -> Rc<Self> {
        Rc::new(Self {
            home,
            prefix,
            python,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runs,
            interpreter,
            log,
            ids: RunIds::default(),
            linger: Cell::new(false),
            stop: watch::Sender::new(None),
            clients: Cell::new(0),
            unanswered: Cell::new(0),
        })
    }

    /// Let the host end. The first wish counts.
    pub fn stop(&self, drain: Duration) {
        self.stop.send_if_modified(|stop| stop.is_none() && stop.replace(drain).is_none());
    }

    pub fn stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Returns when somebody wants the host to end.
    pub async fn stop_wanted(&self) -> Duration {
        let mut stop = self.stop.subscribe();
        stop.wait_for(Option::is_some).await.ok().and_then(|stop| *stop).unwrap_or(DRAIN)
    }

    /// Whether there is a reason to stay: a client, a request, or a run that an interpreter can work on.
    pub fn busy(&self) -> bool {
        self.linger.get()
            || self.clients.get() > 0
            || self.interpreter.has_orders()
            || (self.interpreter.drives() && self.runs.able() > 0)
    }

    /// Requests without a written answer.
    pub fn unanswered(&self) -> usize {
        self.unanswered.get()
    }

    pub fn status(&self) -> Value {
        json!({
            "running": true,
            "pid": std::process::id(),
            "interpreter": self.interpreter.status(),
            "runs": self.runs.live(),
            "paused": self.home.admits().err().map(|failure| failure.document()),
            "version": self.version,
            "prefix": self.prefix,
            "home": self.home.path(),
            "settings": self.interpreter.settings(),
        })
    }
}

/// The line, without its end, by which somebody is told why nobody talks to them.
pub fn refusal(failure: Failure) -> String {
    request::answer(&Json::from(Value::Null), &Err(failure))
}

/// Accept clients for good, and stay where they find it.
pub async fn accept(host: Rc<Host>, mut listener: UnixListener, door: &Door) {
    let mut tasks = JoinSet::new();
    let mut look = interval(LOOK);
    let most = system::descriptor_limit().saturating_sub(OWN_DESCRIPTORS).max(1);
    loop {
        tokio::select! {
            Some(_ended) = tasks.join_next() => {}
            _ = look.tick(), if !host.stopping() => {
                // What cannot be repaired now, on a full disk for instance, is tried again the next time.
                if let Ok(Some(made)) = door.repair()
                    && let Ok(made) = UnixListener::from_std(made)
                {
                    host.log.line("the control socket was taken away, and is made anew");
                    listener = made;
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if !of_this_user(&stream) => {
                    turn_away(stream, Failure::refused("this host is another user's"));
                }
                Ok((stream, _)) if tasks.len() >= most => {
                    let busy = Failure::unavailable(format!("this host serves {most} clients already"));
                    turn_away(stream, busy.hint("close some of them, or raise the limit of open files: ulimit -n"));
                }
                Ok((stream, _)) => drop(tasks.spawn_local(client::serve(host.clone(), stream))),
                Err(error) => {
                    host.log.line(&format!("accepting a client: {error}"));
                    sleep(Duration::from_millis(100)).await; // out of descriptors: some client will leave
                }
            }
        }
    }
}

fn turn_away(stream: UnixStream, failure: Failure) {
    drop(spawn_local(client::turn_away(stream, failure)));
}

fn of_this_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == system::effective_uid())
}
