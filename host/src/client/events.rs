//! What happens, told while it happens.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Host;
use crate::failure::Result;

/// Events that may wait for whoever calls `next`; later ones are lost, and counted.
const WAITING: usize = 4096;

/// Something happened to a run, to one of its steps, or to the interpreter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Empty: it is the interpreter's.
    pub run: String,
    /// `run_accepted`, `run_finished`, `step_started`, `step_finished`, `attempt_failed`, `waiting`, `progress`, `interpreter` or `lost`.
    pub kind: String,
    /// ISO 8601, UTC.
    pub time: String,
    /// The step's key.
    pub key: String,
    /// The step's name; the workflow's, where a run was accepted or finished.
    pub name: String,
    pub state: String,
    pub message: String,
    /// What a step said of its progress.
    pub done: Value,
    pub total: Value,
    /// Events that were lost in the place of this one, since they were not taken fast enough.
    pub lost: u64,
    pub subscription: Option<u64>,
}

/// Which events to be told of. What is left out is no limit.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub run: Option<String>,
    pub workflow: Option<String>,
    pub kinds: Option<Vec<String>>,
}

/// The sending end of a subscription.
pub(super) struct Subscriber {
    sender: mpsc::Sender<Event>,
    lost: u64,
}

impl Subscriber {
    pub fn take(&mut self, event: Event) {
        if self.lost > 0 {
            let confession = Event { kind: "lost".to_owned(), lost: self.lost, ..Event::default() };
            if self.sender.try_send(confession).is_ok() {
                self.lost = 0;
            }
        }
        if self.lost > 0 || self.sender.try_send(event).is_err() {
            self.lost += 1;
        }
    }
}

/// A subscription; it ends when it is dropped.
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    number: u64,
    /// Others are left out.
    pub(super) run: Option<String>,
    host: Host,
}

impl Events {
    /// The next event; None once the host has closed the connection. Can be given up at any time without a loss.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.receiver.recv().await?;
            if event.run.is_empty() || self.run.as_ref().is_none_or(|run| *run == event.run) {
                return Some(event);
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.host.connection.unsubscribe(self.number);
    }
}

impl Host {
    /// Be told what happens from now on.
    pub async fn events(&self, filter: &EventFilter) -> Result<Events> {
        #[derive(Deserialize)]
        struct Answer {
            subscription: u64,
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        let parameters = json!({"run": filter.run, "workflow": filter.workflow, "kinds": filter.kinds});
        let subscriber = Some(Subscriber { sender, lost: 0 });
        let answer: Answer = self.connection.call("events.subscribe", parameters, subscriber).await?;
        Ok(Events { receiver, number: answer.subscription, run: None, host: self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_counted() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut subscriber = Subscriber { sender, lost: 0 };
        let event = |key: &str| Event { key: key.to_owned(), ..Event::default() };
        for key in ["a", "b", "c", "d"] {
            subscriber.take(event(key));
        }
        let taken =
            |receiver: &mut mpsc::Receiver<Event>| receiver.try_recv().map(|event| (event.key, event.lost));
        assert_eq!(taken(&mut receiver), Ok(("a".to_owned(), 0)));
        assert_eq!(taken(&mut receiver), Ok(("b".to_owned(), 0)));
        subscriber.take(event("e"));
        assert_eq!(taken(&mut receiver), Ok((String::new(), 2)));
        assert_eq!(taken(&mut receiver), Ok(("e".to_owned(), 0)));
    }
}
