//! Orders that outlive the interpreter they were given to: sent again, in the same order, until one answers.
//!
//! Only for methods that may be repeated with the same parameters. Those that stand in the host log outlive the host, too.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::channel::{Answer, Channel};
use crate::failure::Failure;
use crate::host_log::HostLog;
use crate::json::{Fields, Json};

struct Order {
    number: u64,
    method: &'static str,
    parameters: Json,
    /// Whoever waits for the answer; nobody where a host before this one was told.
    reply: Option<oneshot::Sender<Answer>>,
    /// Where it stands in the host log, if it does.
    position: Option<u64>,
    /// Given to the present interpreter.
    sent: bool,
}

impl Order {
    /// A command was acknowledged, so it is given until an interpreter takes or refuses it.
    fn is_command(&self) -> bool {
        self.method == "run.command"
    }

    fn answer(self, log: &HostLog, answer: Answer) {
        match self.position {
            Some(position) if answer.is_err() => log.refuse(position),
            Some(position) => log.done(position),
            None => {}
        }
        let unheard = match self.reply {
            Some(reply) => reply.send(answer).err(),
            None => Some(answer),
        };
        if let (Some(Err(failure)), Some(_)) = (unheard, self.position) {
            log.refused(&self.parameters, &failure); // whoever gave it was told that it is kept, or has gone
        }
    }
}

pub(super) struct Orders {
    next: Cell<u64>,
    list: Rc<RefCell<Vec<Order>>>,
    log: Rc<HostLog>,
}

impl Orders {
    /// Begins with what earlier hosts were told and no interpreter has answered.
    pub fn new(log: Rc<HostLog>) -> Self {
        let orders = Self { next: Cell::new(0), list: Rc::default(), log };
        for (position, kept) in orders.log.pending() {
            orders.push(kept.method, kept.parameters, Some(position), None);
        }
        orders
    }

    fn push(
        &self,
        method: &'static str,
        parameters: Json,
        position: Option<u64>,
        reply: Option<oneshot::Sender<Answer>>,
    ) {
        let number = self.next.get();
        self.next.set(number + 1);
        self.list.borrow_mut().push(Order { number, method, parameters, reply, position, sent: false });
    }

    pub fn add(
        &self,
        method: &'static str,
        parameters: Json,
        position: Option<u64>,
    ) -> oneshot::Receiver<Answer> {
        let (reply, receiver) = oneshot::channel();
        self.push(method, parameters, position, Some(reply));
        receiver
    }

    /// Give what was not given yet.
    pub fn send(&self, channel: &Channel) {
        for order in self.list.borrow_mut().iter_mut().filter(|order| !order.sent) {
            order.sent = true;
            let answer = channel.call(order.method, &order.parameters);
            let (list, number, log) = (self.list.clone(), order.number, self.log.clone());
            spawn_local(async move {
                // Without an answer the order stays, for the next interpreter.
                let Ok(answer) = answer.await else { return };
                let mut list = list.borrow_mut();
                let Some(at) = list.iter().position(|order| order.number == number) else { return };
                let stopping = answer.as_ref().is_err_and(|failure| failure.kind == "HostUnavailable");
                if !(stopping && list[at].is_command()) {
                    list.remove(at).answer(&log, answer);
                }
            });
        }
    }

    /// Commands that no interpreter has answered: a new one is to know them before it takes runs up. What they give to a step
    /// or a question may be of any size and shape, and is not needed for that.
    pub fn commands(&self) -> Value {
        let list = self.list.borrow();
        let told = |order: &Order| {
            let fields = Fields::parse(order.parameters.text().as_bytes())?;
            let given = ["run", "command", "position"]
                .map(|name| Some((name.to_owned(), fields.json(name)?.value())));
            given.into_iter().collect::<Option<serde_json::Map<_, _>>>()
        };
        list.iter().filter(|order| order.is_command()).filter_map(told).map(Value::Object).collect()
    }

    /// A new interpreter: all that is left has to be given again.
    pub fn recall(&self) {
        self.list.borrow_mut().iter_mut().for_each(|order| order.sent = false);
    }

    /// No interpreter is there to answer. Commands stay, for a later one.
    pub fn refuse(&self, failure: &Failure) {
        let mut list = self.list.borrow_mut();
        let (commands, others) = list.drain(..).partition(Order::is_command);
        *list = commands;
        list.iter_mut().for_each(|order| order.reply = None);
        for order in others {
            order.answer(&self.log, Err(failure.clone()));
        }
    }

    /// Whether one of them is about a run.
    pub fn concern(&self, run: &str) -> bool {
        let names = |order: &Order| Fields::parse(order.parameters.text().as_bytes())?.str("run").ok();
        self.list.borrow().iter().any(|order| names(order).as_deref() == Some(run))
    }

    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;
    use crate::log_file::LogFile;

    #[test]
    fn whatever_a_command_gives_a_new_interpreter_hears_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let complaints = Rc::new(LogFile::open(folder.path().join("text.log")).unwrap());
        let log = HostLog::open(folder.path().join("host.log"), complaints).unwrap();
        let orders = Orders::new(Rc::new(log));
        for (position, given) in [(1, r#""\ud800""#), (2, &"9".repeat(5000))] {
            let text = format!(
                r#"{{"run": "a", "position": {position}, "command": "input", "name": "it", "value": {given}}}"#
            );
            let parameters: &RawValue = serde_json::from_str(&text).unwrap();
            drop(orders.add("run.command", parameters.into(), Some(position)));
        }
        let told = |position: u64| json!({"run": "a", "position": position, "command": "input"});
        assert_eq!(orders.commands(), json!([told(1), told(2)]));
        assert!(orders.concern("a") && !orders.concern("b"));
    }
}
