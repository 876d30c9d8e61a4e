//! Telling the interpreter what the history has: its Pit lets go of those runs, and its log of segments that nobody needs.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::control::Host;
use crate::failure::Result;

/// How often it is looked whether there is something to tell.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keep the interpreter told for good.
pub async fn keep_told(host: Rc<Host>) {
    let mut told = None;
    loop {
        sleep(INTERVAL).await;
        let now = (host.interpreter.pid(), host.runs.complete(), host.runs.retirable());
        if host.interpreter.is_ready() && told != Some(now) {
            match tell(&host).await {
                Ok(()) => told = Some(now),
                Err(failure) => {
                    host.log.line(&format!("the interpreter keeps runs that have ended: {failure}"));
                }
            }
        }
    }
}

/// The interpreter says which finished runs it has; those that the history has it is told to forget, until there are none.
///
/// A run that an order is under way for is left to it: an interpreter that had forgotten it would begin it anew.
async fn tell(host: &Host) -> Result<()> {
    let mut forget: Vec<String> = Vec::new();
    loop {
        let wish = json!({"runs": forget, "before": host.runs.retirable()});
        let answer = host.interpreter.call("runs.forget", &wish.into()).await?.value();
        host.runs.poll(); // the records of what it names are there
        let named = answer["finished"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let settled =
            named.filter(|run| !host.runs.is_in_memory(run) && !host.interpreter.has_order_for(run));
        forget = settled.map(str::to_owned).collect();
        if forget.is_empty() {
            return Ok(());
        }
    }
}
