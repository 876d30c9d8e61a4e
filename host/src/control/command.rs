//! Methods that are commands: what needs Python but neither the Pit nor a plugin runs as `symphony …` in a process of its own.

use std::process::Stdio;
use std::rc::Rc;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::process::Command;
use tokio::task::spawn_local;

use super::Host;
use super::schema::Method;
use crate::failure::{Failure, INVALID_PARAMS, Result};
use crate::json::{Fields, Json, shortened};

/// The parameters that are arguments; all others are options.
const ARGUMENTS: [&str; 3] = ["name", "names", "specs"];

/// Run the command of the same name. It goes on when the client leaves: half an installation helps nobody.
pub(super) async fn command(host: &Rc<Host>, method: &Method, fields: &Fields) -> Result<Json> {
    let words = words(&method.pass(fields).value());
    if words.iter().any(|word| word.contains('\0')) {
        return Err(
            Failure::invalid(format!("{}: a parameter has a NUL in it", method.name)).code(INVALID_PARAMS)
        );
    }
    let mut command = Command::new(&host.python);
    command.args(["-P", "-m", "symphony"]).args(method.name.split('.'));
    command.args(words).env("SYMPHONY_HOME", host.home.path());
    command.stdin(Stdio::null()).current_dir("/");
    let name = method.name.clone();
    let run = spawn_local(async move { command.output().await });
    let failed = |what: String| Failure::unavailable(format!("{name}: {what}"));
    let output = match run.await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(format!("Python cannot be started: {error}"))),
        Err(_) => return Err(failed("the host ends".to_owned())),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if !said.trim().is_empty() {
        host.log.line(&format!("{}: {}", method.name, said.trim()));
    }
    let answer = serde_json::from_slice::<&RawValue>(&output.stdout).ok().map(Json::from);
    match answer {
        Some(answer) if answer.value()["error"].is_object() => {
            Err(Failure::from_document(&answer.value()["error"]))
        }
        Some(answer) => Ok(answer), // also with exit code 1, by which a doctor says that it found something
        _ => {
            let last = said.trim().lines().last().unwrap_or_default();
            Err(failed(format!("{}: {}", output.status, shortened(last))))
        }
    }
}

/// The parameters as words of a command line: options first, since an argument may look like one.
fn words(parameters: &Value) -> Vec<String> {
    let (mut options, mut arguments) = (vec!["--json".to_owned()], vec!["--".to_owned()]);
    for (name, value) in parameters.as_object().into_iter().flatten() {
        let given = match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            value => value.as_str().into_iter().collect::<Vec<_>>(),
        };
        if ARGUMENTS.contains(&name.as_str()) {
            arguments.extend(given.into_iter().map(str::to_owned));
        } else if value.as_bool() == Some(true) {
            options.push(option(name));
        } else {
            options.extend(given.into_iter().map(|given| format!("{}={given}", option(name))));
        }
    }
    options.extend(arguments);
    options
}

fn option(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_parameter_is_taken_for_another_one() {
        let parameters = json!({"names": ["--help", "a b"], "pre": true, "no_index": false,
                                "find_links": ["--x"], "index_url": "https://a.example"});
        let expected =
            ["--json", "--pre", "--find-links=--x", "--index-url=https://a.example", "--", "--help", "a b"];
        assert_eq!(words(&parameters), expected);
        assert_eq!(words(&json!({})), ["--json", "--"]);
    }
}
