//! Commands to a run: recorded in the host log, then given to the interpreter, now or as soon as there is one.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::Host;
use crate::failure::{Failure, Result};
use crate::json::{Fields, Json, Object};

/// An interpreter that is there answers within this time; a client is not kept waiting for one that is not.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The methods, what the interpreter calls them, and the fields that they take beside `run`.
const COMMANDS: [(&str, &str, &[&str]); 6] = [
    ("runs.cancel", "cancel", &[]),
    ("runs.pause", "pause", &[]),
    ("runs.unpause", "unpause", &[]),
    ("runs.retry_step", "retry", &["step"]),
    ("runs.skip_step", "skip", &["step"]),
    ("runs.provide_input", "input", &["name", "value", "text"]),
];

/// Whether a method is a command to a run.
pub(super) fn knows(method: &str) -> bool {
    COMMANDS.iter().any(|(known, ..)| *known == method)
}

/// Record the command and give it. `applied` in the answer is false where no interpreter has taken it yet.
pub(super) async fn command(host: &Rc<Host>, run: String, method: &str, fields: &Fields) -> Result<Json> {
    let Some((_, command, taken)) = COMMANDS.iter().find(|(known, ..)| *known == method) else {
        return Err(super::schema::unknown(method));
    };
    let answer = |applied: bool| {
        Object::default()
            .field("run", run.as_str())
            .field("command", *command)
            .field("applied", applied)
            .finish()
    };
    if let Some(end) = host.runs.end(&run)? {
        if *command == "cancel" {
            return Ok(answer(true)); // what is wanted has come about
        }
        let message = format!("run {run} has ended: {}", end.status());
        return Err(Failure::conflict(message).hint(format!("symphony runs show {run}")));
    }
    let given = host.interpreter.keep("run.command", |position| {
        let begun = Object::default()
            .field("run", run.as_str())
            .field("position", position)
            .field("command", *command);
        let taken = taken.iter().filter_map(|name| Some((*name, fields.json(name)?)));
        taken.fold(begun, |object, (name, value)| object.raw(name, &value)).finish()
    });
    match timeout(ANSWER_LIMIT, given.await?).await {
        Ok(Ok(applied)) => applied.map(|_| answer(true)),
        Ok(Err(_)) | Err(_) => Ok(answer(false)),
    }
}
