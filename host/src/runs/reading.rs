//! Reading the Pit log into memory, as far as the history does not have it.

use std::collections::HashSet;
use std::path::Path;

use symphony_dag_tracker::ID;
use symphony_dag_tracker::records::{Event, RunStatus};
use symphony_dag_tracker::table::{RunRow, RunTable};
use symphony_pit_journal::{Covered, Reader, RecordView};

use super::Report;
use super::keeping::Keeping;
use crate::failure::Failure;
use crate::history::History;

/// What the log tells that the history does not, or not yet: runs that are live, and those that ended just now.
pub(super) struct Log {
    pub reader: Reader,
    pub table: RunTable,
    pub keeping: Keeping,
}

/// Fold one record into the table, then show the row, the event and its time. Records of others, of runs that `wanted` refuses, and
/// those that cannot be read, are not ours.
pub(super) fn fold(
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
    pub(super) fn read(pit: &Path, history: Option<&History>) -> (Self, String) {
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
