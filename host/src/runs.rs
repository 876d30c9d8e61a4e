//! The runs of a home: live ones as the Pit log tells them, followed record by record; finished ones from the history, which
//! gets them from here.
//!
//! Works while the interpreter is hung or dead, since it asks only log and history.

mod deleting;
mod documents;
mod explaining;
mod graph;
mod keeping;
mod naming;
mod reading;
mod showing;
mod watchers;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use symphony_dag_tracker::records::{Event, Outcome};
use symphony_dag_tracker::table::{RunRow, RunTable};
use symphony_pit_journal::Watch;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

pub use documents::{End, Filter, MOST, Report, required_time};
pub use explaining::Waits;
pub use watchers::{Interest, Sink, Watching};

use crate::clock;
use crate::failure::{Failure, Result};
use crate::history::{History, News as Written};
use crate::json::Json;
use crate::subprocess::Observer;
use crate::system;
use reading::{Log, fold};
use watchers::{News, Watchers};

/// The log is looked at this often even if no one says that it grew.
const BACKSTOP: Duration = Duration::from_millis(250);
/// Records are taken in batches: this long after one was seen, the next is not asked for.
const BATCH: Duration = Duration::from_millis(1);

/// The runs of one home.
pub struct Runs {
    /// None while the log is read for the first time.
    log: RefCell<Option<Log>>,
    history: RefCell<Option<Arc<History>>>,
    /// Changes with every batch that the history has got, or why it has not.
    written: watch::Sender<Option<String>>,
    watchers: Watchers,
    /// Unfinished runs that the interpreter cannot go on with, and why: its word, not the log's.
    blocked: RefCell<BTreeMap<String, Failure>>,
    /// Grows with every run that ends, is blocked or waits for a person.
    halted: watch::Sender<u64>,
    steps_completed: Cell<u64>,
    /// The last problem with reading the log, and how to report a new one.
    problem: RefCell<String>,
    report: Box<dyn Fn(&str)>,
}

impl Runs {
    /// No run is known before `load`. `report` is told of what is wrong with the log.
    pub fn new(report: impl Fn(&str) + 'static) -> Self {
        Self {
            log: RefCell::new(None),
            history: RefCell::default(),
            written: watch::Sender::new(None),
            watchers: Watchers::default(),
            blocked: RefCell::default(),
            halted: watch::Sender::new(0),
            steps_completed: Cell::new(0),
            problem: RefCell::default(),
            report: Box::new(report),
        }
    }

    /// Read the log from its start, but for what the history has. A long one takes a while, so this is done on a thread.
    pub async fn load(&self, pit: PathBuf, history: Arc<History>) {
        self.history.replace(Some(history.clone()));
        let read = tokio::task::spawn_blocking(move || Log::read(&pit, Some(&history)));
        if let Ok((log, problem)) = read.await {
            *self.log.borrow_mut() = Some(log);
            self.complain(problem);
        }
    }

    /// Read history and log, for a single look at them.
    pub fn load_now(&self, pit: &Path, history: Option<History>) {
        let (log, problem) = Log::read(pit, history.as_ref());
        *self.history.borrow_mut() = history.map(Arc::new);
        *self.log.borrow_mut() = Some(log);
        self.complain(problem);
    }

    /// Take in what was recorded since the last call, and tell those who watch. Gives the number of records.
    pub fn poll(&self) -> usize {
        let mut log = self.log.borrow_mut();
        let Some(Log { reader, table, keeping }) = log.as_mut() else { return 0 };
        let mut ended = 0;
        let polled = reader.poll(|record| {
            fold(
                table,
                &record,
                |_| true,
                |row, event, time| {
                    match event {
                        Event::StepFinished { outcome: Outcome::Completed | Outcome::Cached, .. } => {
                            self.steps_completed.update(|count| count + 1);
                        }
                        Event::RunFinished { .. } => {
                            self.blocked.borrow_mut().remove(&row.run);
                            ended += 1;
                        }
                        _ => {}
                    }
                    ended += u64::from(!row.questions.is_empty());
                    keeping.note(row, event, record.position);
                    self.watchers.event(row, event, time);
                },
            );
            keeping.read(&record);
        });
        drop(log);
        if ended > 0 {
            self.halted.send_modify(|count| *count += ended);
        }
        match polled {
            Ok(count) => {
                self.complain(String::new());
                count
            }
            Err(error) => {
                self.complain(error.to_string());
                0
            }
        }
    }

    /// Give the history what it has not got, if it is time to.
    fn keep(&self, at_once: bool) {
        let mut log = self.log.borrow_mut();
        if let (Some(Log { table, keeping, .. }), Some(history)) = (log.as_mut(), &*self.history.borrow())
            && let Some(batch) = keeping.batch(table, at_once)
        {
            history.take(batch);
        }
    }

    /// Heed what the history tells. False: the log has to be read anew for it.
    fn heed(&self, news: Written) -> bool {
        match news {
            Written::Taken { finished, covered } => {
                if let Some(Log { table, keeping, .. }) = self.log.borrow_mut().as_mut() {
                    keeping.taken(finished, covered, table);
                }
                self.written.send_replace(None);
            }
            Written::Problem(problem) => {
                if self.written.borrow().as_ref() != Some(&problem) {
                    (self.report)(&format!("writing the history, tried again: {problem}"));
                }
                self.written.send_replace(Some(problem));
            }
            Written::Anew(aside) => {
                let what = if Path::new(&aside).exists() {
                    format!("is damaged: it was set aside as {aside}")
                } else {
                    "was deleted".to_owned()
                };
                (self.report)(&format!(
                    "the history {what}, and is made anew from the log as far as that goes"
                ));
                return false;
            }
        }
        true
    }

    /// Write what the history has not got, and nothing any more.
    pub fn close(&self) {
        self.poll();
        self.keep(true);
        if let Some(history) = &*self.history.borrow() {
            history.close();
        }
    }

    /// Each problem is told once, not four times a second.
    fn complain(&self, problem: String) {
        if *self.problem.borrow() != problem {
            if !problem.is_empty() {
                (self.report)(&format!("reading the Pit log: {problem}"));
            }
            *self.problem.borrow_mut() = problem;
        }
    }

    /// Follow the log of the Pit at `pit`, which was loaded, for good, with the history in step.
    pub async fn follow(
        &self,
        pit: &Path,
        watch: &Watch,
        history: &Arc<History>,
        mut written: UnboundedReceiver<Written>,
    ) -> io::Result<()> {
        let event = system::readable(watch.event().try_clone_to_owned()?)?;
        loop {
            watch.arm();
            let read = self.poll();
            self.keep(false);
            let mut news = written.try_recv().ok();
            if read > 0 {
                tokio::time::sleep(BATCH).await;
            } else if news.is_none() {
                tokio::select! {
                    ready = event.readable() => ready?.clear_ready(),
                    () = tokio::time::sleep(BACKSTOP) => {}
                    told = written.recv() => news = told,
                }
                watch.drain();
            }
            if news.is_some_and(|news| !self.heed(news)) {
                self.load(pit.to_owned(), history.clone()).await;
            }
        }
    }

    fn history(&self) -> Option<Arc<History>> {
        self.history.borrow().clone()
    }

    /// A finished run that is not in memory any more, or that is not in memory at all.
    fn kept(&self, run: &str) -> Result<Option<RunRow>> {
        self.history().map_or(Ok(None), |history| history.get(run))
    }

    fn with<T>(&self, look: impl FnOnce(&RunTable) -> T) -> Result<T> {
        self.poll();
        let log = self.log.borrow();
        let log = log.as_ref().ok_or_else(|| Failure::unavailable("the Pit log is still being read"))?;
        Ok(look(&log.table))
    }

    /// Whether a run is live, or has ended and is not in the history yet.
    pub fn is_in_memory(&self, run: &str) -> bool {
        self.with(|table| table.get(run).is_some()).unwrap_or(true)
    }

    /// Position of the last record up to which the history is complete.
    pub fn complete(&self) -> u64 {
        self.log.borrow().as_ref().map_or(0, |log| log.keeping.complete())
    }

    /// The position before which the log holds nothing that is not in the history, and nothing of a live run.
    pub fn retirable(&self) -> u64 {
        self.log.borrow().as_ref().map_or(0, |log| log.keeping.retirable())
    }

    /// Number of unfinished runs.
    pub fn live(&self) -> usize {
        self.with(RunTable::live).unwrap_or_default()
    }

    /// Number of unfinished runs that can go on.
    pub fn able(&self) -> usize {
        let able = |row: &&RunRow| row.finished.is_none() && !self.is_blocked(row);
        self.with(|table| table.iter().filter(able).count()).unwrap_or_default()
    }

    /// Whether a run was recorded and has not ended.
    pub fn is_live(&self, run: &str) -> bool {
        self.with(|table| table.get(run).is_some_and(|row| row.finished.is_none())).unwrap_or(false)
    }

    /// The run cannot go on until `unblock`. Gives the failure as those who wait for the run are told it.
    pub fn block(&self, run: &str, failure: Failure) -> Failure {
        let hint = if failure.hint.is_empty() { resume_hint(run) } else { failure.hint.clone() };
        let failure = failure.hint(hint).with("run", run);
        self.blocked.borrow_mut().insert(run.to_owned(), failure.clone());
        self.halted.send_modify(|count| *count += 1);
        failure
    }

    /// The interpreter is asked to go on with the run.
    pub fn unblock(&self, run: &str) {
        self.blocked.borrow_mut().remove(run);
    }

    /// Why the run cannot go on.
    pub fn obstacle(&self, run: &str) -> Option<Failure> {
        self.blocked.borrow().get(run).cloned()
    }

    fn is_blocked(&self, row: &RunRow) -> bool {
        self.blocked.borrow().contains_key(&row.run)
    }

    /// The run that a full id or an unambiguous beginning of one names.
    pub fn resolve(&self, given: &str) -> Result<String> {
        self.with(|table| naming::resolve(table, self.history().as_deref(), given))?
    }

    /// The full name of a run's workflow.
    pub fn workflow(&self, run: &str) -> Result<String> {
        match self.with(|table| table.get(run).map(documents::workflow))? {
            Some(workflow) => Ok(workflow),
            None => Ok(self.kept(run)?.as_ref().map(documents::workflow).unwrap_or_default()),
        }
    }

    /// How the run ended, or None while it lives.
    pub fn end(&self, run: &str) -> Result<Option<End>> {
        match self.with(|table| table.get(run).map(End::of))? {
            Some(end) => Ok(end),
            None => Ok(self.kept(run)?.as_ref().and_then(End::of)),
        }
    }

    /// What a run that does nothing before a person answers has come to; None if it goes on by itself.
    pub fn waiting(&self, run: &str) -> Result<Option<Json>> {
        self.with(|table| table.get(run).and_then(documents::waiting).map(Json::from))
    }

    /// Changes whenever a run ends, is blocked or waits for a person.
    pub fn halted(&self) -> watch::Receiver<u64> {
        self.halted.subscribe()
    }

    /// Tell `sink` what happens to a run, until the value returned is dropped. It begins with the steps that run already.
    pub fn watch(&self, run: &str, sink: &Rc<impl Sink + 'static>) -> Watching {
        let interest = Interest { run: Some(run.to_owned()), ..Interest::default() };
        let watching = self.watchers.add(interest, sink.clone());
        if let Some(row) = self.log.borrow().as_ref().and_then(|log| log.table.get(run)) {
            watchers::show_running(row, sink.as_ref());
        }
        watching
    }

    /// Tell `sink` of what happens from now on, until the value returned is dropped.
    pub fn subscribe(&self, interest: Interest, sink: &Rc<impl Sink + 'static>) -> Watching {
        self.poll(); // what was recorded before is not for it
        self.watchers.add(interest, sink.clone())
    }

    fn tell(&self, run: &str, news: &News<'_>) {
        let log = self.log.borrow();
        self.watchers.tell(run, log.as_ref().and_then(|log| log.table.get(run)), news);
    }
}

impl Observer for Runs {
    fn is_live(&self, run: &str) -> bool {
        self.is_live(run)
    }

    fn steps_completed(&self) -> u64 {
        self.poll();
        self.steps_completed.get()
    }

    fn interpreter(&self, state: &str, message: &str) {
        self.poll(); // what it had recorded comes first
        self.tell("", &News { state, message, ..News::of("interpreter", clock::now()) });
    }

    fn progress(&self, notification: &Json) {
        if self.watchers.is_empty() {
            return;
        }
        self.poll(); // as above: it may be the first that is heard of the run
        let value = notification.value();
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        let (done, total, begun) = (&value["done"], &value["total"], News::of("progress", clock::now()));
        let news = News { key: text("key"), name: text("name"), message: text("message"), ..begun };
        self.tell(text("run"), &News { done, total, ..news });
    }

    fn begins(&self) {
        self.blocked.borrow_mut().clear();
    }

    fn unblocked(&self, notification: &Json) {
        self.unblock(notification.value()["run"].as_str().unwrap_or_default());
    }

    fn blocked(&self, notification: &Json) {
        let value = notification.value();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let run = text("run");
        if !matches!(self.end(&run), Ok(Some(_))) {
            self.block(&run, Failure::new(text("type"), text("message")).hint(text("hint")));
        }
    }
}

/// What to type once the obstacle is gone.
pub fn resume_hint(run: &str) -> String {
    format!("symphony runs resume {run}")
}

#[cfg(test)]
mod tests;
