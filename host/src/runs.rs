//! The runs of a home: live ones as the Pit log tells them, followed record by record; finished ones from the history, which
//! gets them from here.
//!
//! Works while the interpreter is hung or dead, since it asks only log and history.

mod documents;
mod graph;
mod keeping;
mod naming;
mod watchers;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use symphony_dag_tracker::ID;
use symphony_dag_tracker::records::{Event, Outcome, RunStatus};
use symphony_dag_tracker::table::{RunRow, RunTable};
use symphony_pit_journal::{Covered, Reader, RecordView, Watch};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

pub use documents::{End, Filter, MOST, Report, required_time};
pub use watchers::{Interest, Sink, Watching};

use crate::clock;
use crate::failure::{FREE_SPACE, Failure, Result};
use crate::history::{History, Kept, News as Written};
use crate::json::Json;
use crate::subprocess::Observer;
use crate::system;
use documents::Listed;
use keeping::Keeping;
use watchers::{News, Watchers};

/// The log is looked at this often even if no one says that it grew.
const BACKSTOP: Duration = Duration::from_millis(250);
/// Records are taken in batches: this long after one was seen, the next is not asked for.
const BATCH: Duration = Duration::from_millis(1);

/// Runs of one deletion: new ones are written in between.
const DELETED_AT_ONCE: usize = 1_000;

/// What the log tells that the history does not, or not yet: runs that are live, and those that ended just now.
struct Log {
    reader: Reader,
    table: RunTable,
    keeping: Keeping,
}

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
    /// Grows with every run that ends or is blocked.
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
                (self.report)(&format!(
                    "the history is damaged: it was set aside as {aside}, and is made anew from the log as far as that goes"
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

    /// `runs list`: newest first. `driven`: whether an interpreter works on the unfinished ones.
    pub async fn list(&self, filter: Filter, driven: bool) -> Result<Value> {
        let wish = self.wish(filter, driven)?;
        match self.history().filter(|_| wish.filter.takes_ended()) {
            None => Ok(wish.answer(Vec::new())),
            Some(history) => {
                let read = tokio::task::spawn_blocking(move || wish.read(&history));
                read.await.unwrap_or_else(|_| Err(Failure::unavailable("the host ends")))
            }
        }
    }

    /// As `list`, by a process that has nothing else to do.
    pub fn list_now(&self, filter: Filter, driven: bool) -> Result<Value> {
        let wish = self.wish(filter, driven)?;
        match self.history().filter(|_| wish.filter.takes_ended()) {
            None => Ok(wish.answer(Vec::new())),
            Some(history) => wish.read(&history),
        }
    }

    /// Memory comes first: what leaves it meanwhile is in the history by then.
    fn wish(&self, mut filter: Filter, driven: bool) -> Result<Wish> {
        if let Some(before) = &filter.before {
            let run = self.resolve(before)?;
            let live = self.with(|table| table.get(&run).map(|row| row.accepted))?;
            let kept = || self.history().map_or(Ok(None), |history| history.accepted(&run));
            let accepted = live.map_or_else(kept, |accepted| Ok(Some(accepted)))?;
            filter.older = accepted.map(|accepted| (accepted, run));
        }
        let driven = |row: &RunRow| driven && !self.is_blocked(row);
        let rows = self.with(|table| documents::list(table, &filter, driven))?;
        Ok(Wish { filter, rows })
    }

    /// `runs show` of a run that exists.
    pub fn get(&self, run: &str, driven: bool) -> Result<Value> {
        let obstacle = |row: &RunRow| self.obstacle(&row.run).filter(|_| row.finished.is_none());
        self.show(run, |row| documents::detail(row, driven, obstacle(row).as_ref()))
    }

    /// `runs graph` of a run that exists.
    pub fn graph(&self, run: &str, driven: bool) -> Result<Value> {
        self.show(run, |row| graph::graph(row, driven))
    }

    /// `runs explain` of a run that exists.
    pub fn explain(&self, run: &str, driven: bool) -> Result<Value> {
        self.show(run, |row| graph::explain(row, driven))
    }

    /// A run as a document, from where it is.
    fn show(&self, run: &str, document: impl Fn(&RunRow) -> Value) -> Result<Value> {
        match self.with(|table| table.get(run).map(&document))? {
            Some(shown) => Ok(shown),
            None => Ok(self.kept(run)?.as_ref().map_or(Value::Null, document)),
        }
    }

    /// How the run ended, or None while it lives.
    pub fn end(&self, run: &str) -> Result<Option<End>> {
        match self.with(|table| table.get(run).map(End::of))? {
            Some(end) => Ok(end),
            None => Ok(self.kept(run)?.as_ref().and_then(End::of)),
        }
    }

    /// Delete finished runs for good: all of them, or none where one is live.
    pub async fn delete(&self, runs: Vec<String>) -> Result<()> {
        if let Some(live) = runs.iter().find(|run| self.is_live(run)) {
            return Err(Failure::conflict(format!("run {live} has not ended, and is not deleted"))
                .hint(format!("symphony runs cancel {live}")));
        }
        self.written_without(|row| runs.contains(&row.run)).await?;
        let history = self.history().ok_or_else(|| Failure::unavailable("there is no history here"))?;
        for some in runs.chunks(DELETED_AT_ONCE) {
            history.delete(some.to_vec()).await?;
        }
        Ok(())
    }

    /// Delete the runs that ended before a time (µs), in this state if one is given; `dry`: only tell which.
    pub async fn prune(&self, time: i64, status: Option<&str>, dry: bool) -> Result<Vec<String>> {
        self.written_without(|row| row.finished.is_some_and(|(_, end)| end < time)).await?;
        let history = self.history().ok_or_else(|| Failure::unavailable("there is no history here"))?;
        let runs = history.ended_before(time, status)?;
        if !dry {
            self.delete(runs.clone()).await?;
        }
        Ok(runs)
    }

    /// Wait until no such run is in memory, so that the history alone knows of it.
    async fn written_without(&self, such: impl Fn(&RunRow) -> bool) -> Result<()> {
        let mut written = self.written.subscribe();
        while self.with(|table| table.iter().any(&such))? {
            self.keep(true);
            let _ = written.changed().await; // the sender is ours
            if let Some(problem) = &*written.borrow_and_update() {
                return Err(Failure::unavailable(format!("the history cannot be written: {problem}"))
                    .hint(FREE_SPACE));
            }
        }
        Ok(())
    }

    /// Changes whenever a run ends or is blocked.
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

/// What a list is made of, but for what the history adds.
struct Wish {
    filter: Filter,
    rows: Vec<Listed>,
}

impl Wish {
    fn limit(&self) -> usize {
        self.filter.limit.unwrap_or(MOST).min(MOST)
    }

    fn read(self, history: &History) -> Result<Value> {
        let both = self.rows.len(); // as many may be in memory and history
        let kept = history.list(&self.filter, self.limit().saturating_add(both))?;
        Ok(self.answer(kept))
    }

    fn answer(self, kept: Vec<Kept>) -> Value {
        let limit = self.limit();
        documents::merged(self.rows, kept, limit)
    }
}

/// Fold one record into the table, then show the row, the event and its time. Records of others, of runs that `wanted` refuses, and
/// those that cannot be read, are not ours.
fn fold(
    table: &mut RunTable,
    record: &RecordView<'_>,
    wanted: impl FnOnce(&str) -> bool,
    mut seen: impl FnMut(&RunRow, &Event<'_>, i64),
) {
    if record.component == ID
        && let Ok((run, event)) = Event::decode(record.kind, record.payload)
        && wanted(run)
    {
        table.apply(run, &event, record.time);
        if let Event::RunFinished { status: RunStatus::Failed, .. } = event {
            let report = table.get(run).map(Report::of);
            if let Some(step) = report.and_then(|report| report.error()["step"].as_str().map(str::to_owned)) {
                table.blame(run, &step);
            }
        }
        if let Some(row) = table.get(run) {
            seen(row, &event, record.time);
        }
    }
}

impl Log {
    /// Read the log of the Pit at `pit` from its start. Of what the history has, only its live runs are taken in again: all
    /// else is finished, or deleted. Gives also what is wrong, or nothing.
    fn read(pit: &Path, history: Option<&History>) -> (Self, String) {
        let known =
            history.map_or(Ok((None, Vec::new())), |history| Ok((history.covered()?, history.live()?)));
        let (covered, live) = known.unwrap_or_else(|_: Failure| (None, Vec::new())); // damaged: its thread deals with it
        // A log without this record is another one, or was cut short by damage: then it is all new.
        let covered = covered.filter(|covered: &Covered| covered.is_in(pit).unwrap_or(false));
        let covers =
            |record: &RecordView<'_>| covered.is_some_and(|covered| record.position <= covered.position);
        let again: HashSet<&str> = live.iter().map(String::as_str).collect();
        let mut table = RunTable::default();
        let mut keeping = Keeping::from(covered);
        let mut reader = Reader::new(pit);
        let read = reader.poll(|record| {
            let known = covers(&record);
            fold(
                &mut table,
                &record,
                |run| !known || again.contains(run),
                |row, event, _| {
                    if known {
                        keeping.recall(row, event, record.position);
                    } else {
                        keeping.note(row, event, record.position);
                    }
                },
            );
            keeping.read(&record);
        });
        let gone = live.iter().filter(|run| table.get(run).is_none()).cloned().collect();
        keeping.forget(gone);
        (Self { reader, table, keeping }, read.err().map(|error| error.to_string()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
