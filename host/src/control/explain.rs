//! `runs.explain`: what the records tell of each step, and what those that have not ended wait for now.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::Host;
use crate::failure::Result;
use crate::json::Json;
use crate::runs::Waits;

/// An interpreter that is well answers within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn explain(host: &Rc<Host>, run: &str) -> Result<Json> {
    let waits = if host.runs.is_live(run) { waits(host, run).await } else { Waits::default() };
    Ok(host.runs.explain(run, host.interpreter.drives(), &waits)?.into())
}

/// The records do not have it, so the interpreter is asked; without an answer, that is why nothing goes on.
async fn waits(host: &Rc<Host>, run: &str) -> Waits {
    if let Some(failure) = host.runs.obstacle(run) {
        return Waits::held(format!("it cannot go on: {}", failure.message));
    }
    if let Some(reason) = host.interpreter.absence() {
        return Waits::held(reason);
    }
    match timeout(ANSWER_LIMIT, host.interpreter.call("run.waits", &json!({"run": run}).into())).await {
        Ok(Ok(answer)) => Waits::read(&answer.value()),
        Ok(Err(failure)) => Waits::held(host.interpreter.absence().unwrap_or(failure.message)),
        Err(_) => Waits::held(host.interpreter.silence()),
    }
}
