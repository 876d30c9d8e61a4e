//! Orders that outlive the interpreter they were given to: sent again, in the same order, until one answers.
//!
//! Only for methods that may be repeated with the same parameters.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::channel::{Answer, Channel};
use crate::failure::Failure;
use crate::json::Json;

struct Order {
    number: u64,
    method: &'static str,
    parameters: Json,
    reply: oneshot::Sender<Answer>,
    /// Given to the present interpreter.
    sent: bool,
}

#[derive(Default)]
pub(super) struct Orders {
    next: Cell<u64>,
    list: Rc<RefCell<Vec<Order>>>,
}

impl Orders {
    pub fn add(&self, method: &'static str, parameters: Json) -> oneshot::Receiver<Answer> {
        let (reply, receiver) = oneshot::channel();
        let number = self.next.get();
        self.next.set(number + 1);
        self.list.borrow_mut().push(Order { number, method, parameters, reply, sent: false });
        receiver
    }

    /// Give what was not given yet.
    pub fn send(&self, channel: &Channel) {
        for order in self.list.borrow_mut().iter_mut().filter(|order| !order.sent) {
            order.sent = true;
            let answer = channel.call(order.method, &order.parameters);
            let (list, number) = (self.list.clone(), order.number);
            spawn_local(async move {
                // Without an answer the order stays, for the next interpreter.
                if let Ok(answer) = answer.await {
                    let mut list = list.borrow_mut();
                    if let Some(at) = list.iter().position(|order| order.number == number) {
                        let _ = list.remove(at).reply.send(answer); // whoever gave it may have gone
                    }
                }
            });
        }
    }

    /// A new interpreter: all that is left has to be given again.
    pub fn recall(&self) {
        self.list.borrow_mut().iter_mut().for_each(|order| order.sent = false);
    }

    pub fn refuse(&self, failure: &Failure) {
        for order in self.list.borrow_mut().drain(..) {
            let _ = order.reply.send(Err(failure.clone())); // as above
        }
    }

    /// Whether one of them is about a run.
    pub fn concern(&self, run: &str) -> bool {
        self.list.borrow().iter().any(|order| order.parameters.value()["run"] == run)
    }

    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }
}
