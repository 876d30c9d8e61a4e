//! Who is told what happens to which run, and to the interpreter, while it happens.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};
use symphony_dag_tracker::records::{Event, Outcome, RunControl};
use symphony_dag_tracker::table::{RunRow, StepState};

use super::documents;
use crate::clock;
use crate::failure::Result;
use crate::json::Fields;

/// Takes events; must not block.
pub trait Sink {
    fn event(&self, parameters: Value);
}

/// Which events somebody wants. What is left out is no limit.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// A full id.
    pub run: Option<String>,
    /// A name or an id.
    pub workflow: Option<String>,
    pub kinds: Option<Vec<String>>,
    /// Events carry the number of the subscription.
    pub numbered: bool,
}

impl Interest {
    /// `run` is not looked at: it may be the beginning of an id.
    pub fn from_fields(fields: &Fields) -> Result<Self> {
        let kinds = fields.json("kinds").map(|kinds| {
            let words = kinds.value();
            words.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        });
        Ok(Self { run: None, workflow: fields.optional_str("workflow")?, kinds, numbered: true })
    }

    fn takes(&self, kind: &str, run: &str, row: Option<&RunRow>) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|wanted| wanted == kind))
            && (run.is_empty() // of the interpreter, which concerns every run
                || (self.run.as_ref().is_none_or(|wanted| wanted == run)
                    && self.workflow.as_ref().is_none_or(|wanted| {
                        row.is_some_and(|row| documents::is_of(row, wanted))
                    })))
    }
}

struct Watcher {
    number: u64,
    interest: Interest,
    sink: Rc<dyn Sink>,
}

type List = Rc<RefCell<Vec<Watcher>>>;

#[derive(Default)]
pub(super) struct Watchers {
    list: List,
    next: Cell<u64>,
}

/// A subscription; ends on drop.
pub struct Watching {
    pub number: u64,
    list: List,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.list.borrow_mut().retain(|watcher| watcher.number != self.number);
    }
}

/// One event, in the words of the control protocol.
pub(super) struct News<'a> {
    pub kind: &'static str,
    /// Microseconds since the epoch.
    pub time: i64,
    pub key: &'a str,
    pub name: &'a str,
    pub state: &'a str,
    pub message: &'a str,
    pub done: &'a Value,
    pub total: &'a Value,
}

impl News<'static> {
    pub const fn of(kind: &'static str, time: i64) -> Self {
        let (key, name, state, message) = ("", "", "", "");
        Self { kind, time, key, name, state, message, done: &Value::Null, total: &Value::Null }
    }
}

impl News<'_> {
    fn document(&self, run: &str, subscription: Option<u64>) -> Value {
        let mut document = json!({
            "run": run, "kind": self.kind, "time": clock::iso(self.time), "key": self.key, "name": self.name,
            "state": self.state, "message": self.message, "done": self.done, "total": self.total,
        });
        if let Some(number) = subscription {
            document["subscription"] = json!(number);
        }
        document
    }
}

/// Let a new watcher know which steps run.
pub(super) fn show_running(row: &RunRow, sink: &dyn Sink) {
    for step in row.steps.iter().filter(|step| step.state == StepState::Running) {
        let began = News::of("step_started", step.started.unwrap_or_default());
        let news = News { key: &step.key, name: &step.name, state: "running", ..began };
        sink.event(news.document(&row.run, None));
    }
}

impl Watchers {
    pub fn add(&self, interest: Interest, sink: Rc<dyn Sink>) -> Watching {
        let number = self.next.get() + 1;
        self.next.set(number);
        self.list.borrow_mut().push(Watcher { number, interest, sink });
        Watching { number, list: self.list.clone() }
    }

    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// `row`: the run, where it is known. An empty `run`: the news are of the interpreter.
    pub fn tell(&self, run: &str, row: Option<&RunRow>, news: &News<'_>) {
        for watcher in self.list.borrow().iter().filter(|it| it.interest.takes(news.kind, run, row)) {
            let run = watcher.interest.run.as_deref().filter(|_| run.is_empty()).unwrap_or(run);
            watcher.sink.event(news.document(run, watcher.interest.numbered.then_some(watcher.number)));
        }
    }

    /// `row` is the run after the event.
    pub fn event(&self, row: &RunRow, event: &Event<'_>, time: i64) {
        if self.is_empty() {
            return;
        }
        let tell = |news: &News<'_>| self.tell(&row.run, Some(row), news);
        match *event {
            Event::RunAccepted { .. } => {
                let workflow = documents::workflow(row);
                tell(&News { name: &workflow, state: "running", ..News::of("run_accepted", time) });
            }
            Event::RunFinished { status, .. } => {
                let workflow = documents::workflow(row);
                tell(&News { name: &workflow, state: status.name(), ..News::of("run_finished", time) });
            }
            Event::StepStarted { key, name, .. } => {
                tell(&News { key, name, state: "running", ..News::of("step_started", time) });
            }
            Event::StepFinished { key, name, outcome, .. } => {
                tell(&News { key, name, state: word(outcome), ..News::of("step_finished", time) });
            }
            Event::StepsFinished { ref steps } => {
                for step in steps {
                    let (key, name, state) = (step.key, step.name, word(step.outcome));
                    tell(&News { key, name, state, ..News::of("step_finished", time) });
                }
            }
            Event::AttemptFailed { key, error, .. } => {
                let step = row.steps.iter().find(|step| step.key == key);
                let name = step.map_or("", |step| step.name.as_str());
                let failed = News::of("attempt_failed", time);
                tell(&News { key, name, state: "queued", message: error, ..failed });
            }
            Event::RunControlled { control: RunControl::Wait, key, text } => {
                tell(&News { key, message: text, ..News::of("waiting", time) });
            }
            Event::Commanded { ref event, .. } => self.event(row, event, time),
            _ => {}
        }
    }
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Cached => "cached",
        Outcome::Skipped => "skipped",
    }
}
