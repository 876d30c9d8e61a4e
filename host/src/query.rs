//! `symphonyd query`: a question about runs, answered from history and log of a home. Starts nothing and writes nothing.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::control;
use crate::failure::{Failure, Result};
use crate::history::History;
use crate::home::{self, Home};
use crate::json::Fields;
use crate::runs::Runs;

/// Print the answer as one JSON document.
pub fn query(home: std::path::PathBuf, method: &str, parameters: &str) -> ExitCode {
    let (document, code) = match answer(&Home::new(home), method, parameters) {
        Ok(document) => (document, 0),
        Err(failure) => (json!({"error": failure.document()}), failure.exit),
    };
    println!("{document}");
    ExitCode::from(code)
}

fn answer(home: &Home, method: &str, parameters: &str) -> Result<Value> {
    let fields = Fields::parse(parameters.as_bytes())
        .ok_or_else(|| Failure::invalid(format!("{parameters:?} is no JSON object")))?;
    home.check()?;
    let complain = |problem: &str| eprintln!("symphonyd: {problem}");
    let runs = Runs::new(complain);
    runs.load_now(&home.pit(), History::look(home.history(), complain)?);
    let driven = home::running(home).is_some() || home::in_process(home).is_some();
    control::offline(&runs, method, &fields, driven)
}
