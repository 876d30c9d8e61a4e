//! Deleting finished runs for good.

use symphony_dag_tracker::table::RunRow;

use super::Runs;
use crate::failure::{FREE_SPACE, Failure, Result};

/// Runs of one deletion: new ones are written in between.
const DELETED_AT_ONCE: usize = 1_000;

impl Runs {
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
}
