//! Which run is meant by what somebody typed.

use std::collections::BTreeSet;

use symphony_dag_tracker::table::RunTable;

use crate::failure::{Failure, Result};
use crate::history::History;

/// Ids shown where one was not enough, or was not found.
const CANDIDATES: usize = 5;

/// The run that a full id or an unambiguous beginning of one names.
pub(super) fn resolve(table: &RunTable, history: Option<&History>, given: &str) -> Result<String> {
    let given = given.to_ascii_lowercase();
    if table.get(&given).is_some() {
        return Ok(given);
    }
    let hint = "symphony runs list";
    if given.is_empty() {
        return Err(Failure::invalid("the run's id is empty").hint(hint));
    }
    let live = table.with_prefix(&given).take(CANDIDATES + 1).map(|row| row.run.clone());
    let mut found: BTreeSet<String> = live.collect();
    if let Some(history) = history {
        found.extend(history.with_prefix(&given, CANDIDATES + 1)?);
    }
    if found.contains(&given) {
        return Ok(given);
    }
    match found.len() {
        0 => {
            Err(Failure::not_found(format!("there is no run {given:?}"))
                .hint(closest(table, history, &given)?))
        }
        1 => Ok(found.pop_first().unwrap_or_default()),
        count => {
            let more = if count > CANDIDATES { ", …" } else { "" };
            let listed: Vec<String> = found.into_iter().take(CANDIDATES).collect();
            let listed = listed.join(", ");
            Err(Failure::invalid(format!("{given:?} is the beginning of several runs: {listed}{more}"))
                .hint(hint))
        }
    }
}

/// The runs that share the longest beginning with what was typed; the newest where all share nothing.
fn closest(table: &RunTable, history: Option<&History>, given: &str) -> Result<String> {
    let shared = |run: &str| run.bytes().zip(given.bytes()).take_while(|(one, two)| one == two).count();
    let mut known: Vec<String> = table.iter().map(|row| row.run.clone()).collect();
    if let Some(history) = history {
        known.extend(history.around(given)?);
    }
    let best = known.into_iter().max_by_key(|run| (shared(run), run.clone())); // ids are ordered by time
    Ok(best.map_or_else(
        || "this home has no runs yet: symphony run WORKFLOW".to_owned(),
        |best| format!("the closest one is {best}; symphony runs list"),
    ))
}
