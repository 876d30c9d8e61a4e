//! The command line of `symphonyd`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use crate::failure::{Failure, Result};

pub const USAGE: &str = "\
symphonyd: the Symphony host

usage: symphonyd --home DIR [--python EXE] [--prefix PREFIX] [--linger | --stdio] [--no-plugins]
                 [--set KEY=VALUE]...
       symphonyd query --home DIR METHOD [JSON]
       symphonyd --help | --version

Runs in the foreground. When it is ready it writes one JSON line to stdout and closes it; if it cannot
be, the line is {\"error\": …} and the exit code says why. Without --linger it ends some seconds after
the last run and the last client.

  --home DIR       the home; default SYMPHONY_HOME
  --python EXE     the Python to manage; default SYMPHONY_PYTHON, VIRTUAL_ENV, python3 on PATH
  --prefix PREFIX  the environment it belongs to; default the sys.prefix of that Python
  --linger         stay until told to stop
  --stdio          speak the control protocol on stdin and stdout, nothing else; the end of stdin stops
                   the host. Where one runs for this home already, that one is spoken to, and stays
  --no-plugins     load no plugins
  --set KEY=VALUE  a setting in place of that in config.toml, such as hang_after=10

query reads the log of a home and starts nothing:
  symphonyd query --home ~/.local/share/symphony/1f0c2ab9 runs.list '{\"status\": \"failed\"}'
  symphonyd query --home ~/.local/share/symphony/1f0c2ab9 runs.get '{\"run\": \"01jd3k\"}'
";

/// What is asked of the program.
#[derive(Debug)]
pub enum Command {
    Help,
    Version,
    Serve(Options),
    Query { home: PathBuf, method: String, parameters: String },
}

/// How to serve.
#[derive(Debug)]
pub struct Options {
    pub home: PathBuf,
    pub python: PathBuf,
    pub prefix: String,
    pub linger: bool,
    /// Speak on stdin and stdout.
    pub stdio: bool,
    pub no_plugins: bool,
    /// KEY=VALUE, as they were given.
    pub settings: Vec<String>,
    /// How long to stay without a run and a client.
    pub linger_time: Duration,
    pub start_limit: Duration,
}

#[derive(Default)]
struct Given {
    home: Option<OsString>,
    python: Option<OsString>,
    prefix: Option<OsString>,
    linger: bool,
    stdio: bool,
    no_plugins: bool,
    settings: Vec<String>,
    words: Vec<OsString>,
}

impl Command {
    /// Read the arguments, without the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut given = Given::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            let (name, joined) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
                _ => (text.as_str(), None),
            };
            let mut value = || {
                let value = joined.clone().or_else(|| arguments.next());
                value
                    .ok_or_else(|| Failure::invalid(format!("{name} needs a value")).hint("symphonyd --help"))
            };
            match name {
                "--help" | "-h" => return Ok(Self::Help),
                "--version" | "-V" => return Ok(Self::Version),
                "--home" => given.home = Some(value()?),
                "--python" => given.python = Some(value()?),
                "--prefix" => given.prefix = Some(value()?),
                "--set" => given.settings.push(value()?.to_string_lossy().into_owned()),
                "--linger" => given.linger = true,
                "--stdio" => given.stdio = true,
                "--no-plugins" => given.no_plugins = true,
                _ if name.starts_with('-') => {
                    return Err(
                        Failure::invalid(format!("there is no option {name}")).hint("symphonyd --help")
                    );
                }
                _ => given.words.push(argument),
            }
        }
        given.command()
    }
}

impl Given {
    fn command(self) -> Result<Command> {
        let home = self.home.clone().or_else(|| set("SYMPHONY_HOME"));
        let home = home.ok_or_else(|| Failure::invalid("--home DIR is missing").hint("symphonyd --help"));
        let words: Vec<&str> = self.words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
        match words[..] {
            [] => Ok(Command::Serve(self.options(absolute(&home?)?)?)),
            ["query", method] => Ok(Command::Query {
                home: absolute(&home?)?,
                method: method.to_owned(),
                parameters: "{}".to_owned(),
            }),
            ["query", method, parameters] => Ok(Command::Query {
                home: absolute(&home?)?,
                method: method.to_owned(),
                parameters: parameters.to_owned(),
            }),
            ["query", ..] => {
                Err(Failure::invalid("query takes METHOD [JSON]")
                    .hint("symphonyd query --home DIR runs.list"))
            }
            _ => Err(Failure::invalid(format!("{:?} is not understood", words[0])).hint("symphonyd --help")),
        }
    }

    fn options(self, home: PathBuf) -> Result<Options> {
        let python = self.python.map_or_else(default_python, PathBuf::from);
        let prefix = match self.prefix {
            Some(prefix) => prefix.to_string_lossy().into_owned(),
            None => prefix_of(&python).unwrap_or_else(|| folder_of(&python)),
        };
        Ok(Options {
            home,
            python,
            prefix,
            linger: self.linger,
            stdio: self.stdio,
            no_plugins: self.no_plugins,
            settings: self.settings,
            linger_time: seconds("SYMPHONY_LINGER", 10.0)?,
            start_limit: seconds("SYMPHONY_START_LIMIT", 30.0)?,
        })
    }
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn absolute(path: &OsStr) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Failure::invalid(format!("--home {}: {error}", path.display())))
}

fn default_python() -> PathBuf {
    let environment = || set("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    set("SYMPHONY_PYTHON").map(PathBuf::from).or_else(environment).unwrap_or_else(|| "python3".into())
}

/// Ask the Python itself.
fn prefix_of(python: &Path) -> Option<String> {
    let mut question = Program::new(python);
    question.args(["-I", "-c", "import sys; print(sys.prefix)"]).stderr(Stdio::null());
    let output = question.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where there is none to be asked the host serves all the same, and says what is missing when an interpreter is wanted: as the
/// host of the folder whose `bin` it would be in, or of any.
fn folder_of(python: &Path) -> String {
    let folder = python.parent().and_then(Path::parent).filter(|folder| folder.is_absolute());
    folder.map_or_else(String::new, |folder| folder.display().to_string())
}

fn seconds(name: &str, default: f64) -> Result<Duration> {
    let Some(given) = set(name) else { return Ok(Duration::from_secs_f64(default)) };
    let parsed = given
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (0.0..=86_400.0).contains(seconds));
    let wrong =
        || Failure::invalid(format!("{name} must be seconds from 0 to 86400, not {}", given.display()));
    parsed.map(Duration::from_secs_f64).ok_or_else(wrong)
}
