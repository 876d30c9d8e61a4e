//! Runs as documents: those in memory and those in the history, as one.

use serde_json::Value;
use symphony_dag_tracker::table::RunRow;

use super::documents::{self, Listed};
use super::{Filter, MOST, Runs, Waits, explaining, graph};
use crate::failure::{Failure, Result};
use crate::history::{History, Kept};

impl Runs {
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
    pub fn explain(&self, run: &str, driven: bool, waits: &Waits) -> Result<Value> {
        self.show(run, |row| explaining::explain(row, driven, waits))
    }

    /// A run as a document, from where it is.
    fn show(&self, run: &str, document: impl Fn(&RunRow) -> Value) -> Result<Value> {
        match self.with(|table| table.get(run).map(&document))? {
            Some(shown) => Ok(shown),
            None => Ok(self.kept(run)?.as_ref().map_or(Value::Null, document)),
        }
    }
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
