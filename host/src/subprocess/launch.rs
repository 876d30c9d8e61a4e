//! Starting one interpreter process.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use symphony_pit_journal::Watch;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::Settings;
use super::secrets::Secrets;
use crate::failure::{Failure, Result};
use crate::pulse::Pulse;
use crate::system;

/// A process that was started, and our ends of what it inherited.
pub(super) struct Launched {
    pub child: Child,
    pub pid: u32,
    pub stream: UnixStream,
    pub output: pipe::Receiver,
    pub secrets: Secrets,
    pub pulse: Pulse,
}

pub(super) fn launch(settings: &Settings, watch: &Watch) -> Result<Launched> {
    start(settings, watch).map_err(|error| {
        Failure::unavailable(format!("{} cannot be started: {error}", settings.python.display()))
            .hint("name a Python with symphony-host in it: symphonyd --python EXE")
    })
}

fn start(settings: &Settings, watch: &Watch) -> io::Result<Launched> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let (told, teller) = StdStream::pair()?;
    told.set_nonblocking(true)?;
    let (output, written) = io::pipe()?;
    let mut command = Command::new(&settings.python);
    command
        .args(["-P", "-m", "symphony.interpreter"])
        .env("SYMPHONY_HOME", settings.home.path())
        .env("PYTHONHASHSEED", settings.hash_seed.to_string())
        .stdin(Stdio::null())
        .stdout(written.try_clone()?)
        .stderr(written)
        .kill_on_drop(true);
    let pulse = Pulse::new()?;
    let [memory, stacks] = pulse.descriptors();
    let child = system::spawn(
        command,
        [theirs.as_fd(), watch.event(), watch.memory(), memory, stacks, teller.as_fd()],
    )?;
    let pid = child.id().ok_or_else(|| io::Error::other("it was gone at once"))?;
    Ok(Launched {
        child,
        pid,
        stream: UnixStream::from_std(ours)?,
        output: pipe::Receiver::from_owned_fd(output.into())?,
        secrets: Secrets::new(told),
        pulse,
    })
}

/// How a process ended, in words: `signal 9 (SIGKILL)`, `exit code 3`.
pub(super) fn cause(status: &io::Result<ExitStatus>) -> String {
    let Ok(status) = status else { return "an unknown cause".to_owned() };
    match (status.signal(), status.code()) {
        (Some(signal), _) => match name(signal) {
            Some(name) => format!("signal {signal} ({name})"),
            None => format!("signal {signal}"),
        },
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "an unknown cause".to_owned(),
    }
}

const fn name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGIO => "SIGIO",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}
