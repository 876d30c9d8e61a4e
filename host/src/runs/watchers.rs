//! Who is told what happens to which run, while it happens.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};
use symphony_dag_tracker::records::{Event, Outcome, RunControl};
use symphony_dag_tracker::table::{RunRow, StepState};

/// Takes the events of a run; must not block.
pub trait Sink {
    fn event(&self, parameters: Value);
}

struct Watcher {
    number: u64,
    run: String,
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
    number: u64,
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
    pub key: &'a str,
    pub name: &'a str,
    pub state: &'a str,
    pub message: &'a str,
    pub done: &'a Value,
    pub total: &'a Value,
}

impl News<'static> {
    pub const fn of(kind: &'static str) -> Self {
        Self { kind, key: "", name: "", state: "", message: "", done: &Value::Null, total: &Value::Null }
    }
}

impl News<'_> {
    fn document(&self, run: &str) -> Value {
        json!({
            "run": run, "kind": self.kind, "key": self.key, "name": self.name, "state": self.state,
            "message": self.message, "done": self.done, "total": self.total,
        })
    }
}

/// Let a new watcher know which steps run.
pub(super) fn show_running(row: &RunRow, sink: &dyn Sink) {
    for step in row.steps.iter().filter(|step| step.state == StepState::Running) {
        let news = News { key: &step.key, name: &step.name, state: "running", ..News::of("step_started") };
        sink.event(news.document(&row.run));
    }
}

impl Watchers {
    pub fn add(&self, run: &str, sink: Rc<dyn Sink>) -> Watching {
        let number = self.next.get();
        self.next.set(number + 1);
        self.list.borrow_mut().push(Watcher { number, run: run.to_owned(), sink });
        Watching { number, list: self.list.clone() }
    }

    pub fn tell(&self, run: &str, news: &News<'_>) {
        for watcher in self.list.borrow().iter().filter(|watcher| watcher.run == run) {
            watcher.sink.event(news.document(run));
        }
    }

    /// What happens to the interpreter concerns every run that is watched.
    pub fn interpreter(&self, message: &str) {
        let runs: Vec<String> = self.list.borrow().iter().map(|watcher| watcher.run.clone()).collect();
        for (at, run) in runs.iter().enumerate() {
            if !runs[..at].contains(run) {
                self.tell(run, &News { message, ..News::of("interpreter") });
            }
        }
    }

    /// `row` is the run after the event.
    pub fn event(&self, row: &RunRow, event: &Event<'_>) {
        if self.list.borrow().is_empty() {
            return;
        }
        match *event {
            Event::StepStarted { key, name, .. } => {
                self.tell(&row.run, &News { key, name, state: "running", ..News::of("step_started") });
            }
            Event::StepFinished { key, name, outcome, .. } => {
                let state = match outcome {
                    Outcome::Completed => "completed",
                    Outcome::Failed => "failed",
                    Outcome::Cached => "cached",
                    Outcome::Skipped => "skipped",
                };
                self.tell(&row.run, &News { key, name, state, ..News::of("step_finished") });
            }
            Event::AttemptFailed { key, error, .. } => {
                let step = row.steps.iter().find(|step| step.key == key);
                let name = step.map_or("", |step| step.name.as_str());
                self.tell(
                    &row.run,
                    &News { key, name, state: "queued", message: error, ..News::of("attempt_failed") },
                );
            }
            Event::RunControlled { control: RunControl::Wait, key, text } => {
                self.tell(&row.run, &News { key, message: text, ..News::of("waiting") });
            }
            Event::Commanded { ref event, .. } => self.event(row, event),
            _ => {}
        }
    }
}
