//! How a host is started where none runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::failure::{Failure, Result};

/// The program to start as a host, and its options.
///
/// A program that embeds this crate can be its own host: in its `main`, before anything else, it hands the arguments after a
/// word of its choice to [`crate::options::Command::parse`] and calls [`crate::daemon::serve`] on the main thread; here it
/// names its own path and that word.
///
/// ```
/// use symphony_host::client::Launch;
///
/// let shipped = Launch::new("/opt/app/symphonyd").python("/opt/app/venv/bin/python").linger();
/// let itself = Launch::new(std::env::current_exe()?).argument("symphonyd");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Launch {
    /// `program`: a path, or a name to be found on PATH.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new() }
    }

    /// One more argument, before `--home`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The Python to manage, with symphony-host installed in its environment.
    #[must_use]
    pub fn python(self, python: impl Into<OsString>) -> Self {
        self.argument("--python").argument(python)
    }

    /// The host stays until it is told to stop. Otherwise it leaves some seconds after its last client and run.
    #[must_use]
    pub fn linger(self) -> Self {
        self.argument("--linger")
    }

    /// Returns when the host can be connected to, whoever started it. It outlives this process.
    pub(super) async fn run(&self, home: &Path) -> Result<()> {
        let failed = |what: String| Failure::unavailable(format!("{}: {what}", self.program.display()));
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--home").arg(home).current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| failed(format!("it cannot be started: {error}")))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no stdout".to_owned()))?;
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line).await;
        let answer: Value = read.ok().and_then(|_| serde_json::from_str(&line).ok()).unwrap_or_default();
        if answer["error"].is_object() {
            return Err(Failure::from_document(&answer["error"]));
        }
        if answer["ready"] != true {
            return Err(failed("it ended without a word".to_owned()));
        }
        Ok(())
    }
}
