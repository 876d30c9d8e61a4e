//! One life of an interpreter: from its start over READY to its end.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symphony_pit_abi::{ABI_MAJOR, ABI_MINOR};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout, timeout_at};

use super::channel::{Answer, Channel};
use super::launch::{self, Launched, cause};
use super::phase::{Phase, Stop, Wanted};
use super::vigil::Patience;
use super::watching::Condition;
use super::{RESTART_DRAIN, Supervisor, lease};
use crate::failure::{Failure, Result};
use crate::json::Json;
use crate::pulse::Pulse;
use crate::system;

/// Beyond the drain limit, for what comes after the last step.
const STOP_MARGIN: Duration = Duration::from_secs(3);
/// Between TERM and KILL.
const TERM_LIMIT: Duration = Duration::from_secs(2);
/// A process that closed its socket is about to end; this long it may take.
const CLOSED_LIMIT: Duration = Duration::from_secs(2);
/// What is left of a dead process is read for at most this long: a stranger may have inherited its descriptors.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How a life ended.
pub(super) enum Ending {
    /// As it was wished.
    Stopped,
    /// It makes no sense to start another one like this.
    Refused(Failure),
    /// As above; the reason is in what it wrote last.
    Early(String),
    Died {
        cause: String,
        signal: Option<i32>,
        ready_for: Duration,
    },
}

fn signal_of(status: &io::Result<ExitStatus>) -> Option<i32> {
    status.as_ref().ok().and_then(ExitStatusExt::signal)
}

/// A running process with the tasks that serve it.
struct Process {
    child: Child,
    pid: u32,
    channel: Rc<Channel>,
    /// Ends when the interpreter closes its end of the socket.
    reader: JoinHandle<()>,
    output: JoinHandle<()>,
    pulse: Rc<Pulse>,
    wanted: watch::Receiver<Wanted>,
    /// It went on without its end of the socket, and was ended for that.
    hung_up: bool,
}

/// What ended a wait for the process.
enum Event {
    Exit(io::Result<ExitStatus>),
    /// A stop or a fresh interpreter is wanted.
    Wish,
}

impl Process {
    /// Its end by itself, or the wish to end it.
    async fn event(&mut self) -> Event {
        tokio::select! {
            biased;
            status = self.child.wait() => Event::Exit(status),
            _ = self.wanted.changed() => Event::Wish,
        }
    }

    /// As `event`, and notices one that closed its socket without ending.
    async fn event_while_ready(&mut self) -> Event {
        tokio::select! {
            biased;
            status = self.child.wait() => return Event::Exit(status),
            _ = self.wanted.changed() => return Event::Wish,
            _ = &mut self.reader => {}
        }
        match timeout(CLOSED_LIMIT, self.event()).await {
            Ok(event) => event,
            Err(_still_there) => {
                self.hung_up = true;
                Event::Exit(self.kill().await)
            }
        }
    }

    async fn kill(&mut self) -> io::Result<ExitStatus> {
        system::signal_group(self.pid, libc::SIGKILL);
        self.child.wait().await
    }

    /// Its end, if it comes in time. A later wish to stop can shorten the wait, any other is for later.
    async fn end_within(&mut self, limit: Duration) -> Option<io::Result<ExitStatus>> {
        let mut deadline = tokio::time::Instant::now() + limit;
        loop {
            match timeout_at(deadline, self.event()).await {
                Ok(Event::Exit(status)) => return Some(status),
                Ok(Event::Wish) => match self.wanted.borrow().ending() {
                    Some(Stop { hurry: true, .. }) => return None,
                    Some(Stop { drain, .. }) => {
                        deadline = deadline.min(tokio::time::Instant::now() + drain + STOP_MARGIN);
                    }
                    None => {}
                },
                Err(_late) => return None,
            }
        }
    }

    /// Ask, then TERM, then KILL; a wish to hurry shortens each wait.
    async fn stop(&mut self, ready: bool) -> io::Result<ExitStatus> {
        let stop = self.wanted.borrow_and_update().ending();
        let Stop { drain, hurry } = stop.unwrap_or(Stop { drain: RESTART_DRAIN, hurry: false });
        if ready && !hurry {
            let parameters = Json::from(json!({"drain": drain.as_secs_f64()}));
            let _unanswered = self.channel.call("stop", &parameters); // its end is the answer
            if let Some(status) = self.end_within(drain + STOP_MARGIN).await {
                return status;
            }
        }
        if !self.wanted.borrow_and_update().stop.is_some_and(|stop| stop.hurry) {
            system::signal_group(self.pid, libc::SIGTERM);
            if let Some(status) = self.end_within(TERM_LIMIT).await {
                return status;
            }
        }
        self.kill().await
    }

    /// After its end: whatever it started ends too, and the last that it said and wrote is read.
    async fn bury(mut self) {
        system::signal_group(self.pid, libc::SIGKILL);
        let last = async {
            if !self.reader.is_finished() {
                let _ = (&mut self.reader).await;
            }
            let _ = (&mut self.output).await;
        };
        let _ = timeout(LAST_WORDS, last).await;
        self.channel.close();
        self.reader.abort();
        self.output.abort();
    }
}

impl Supervisor {
    /// Start one, and see it to its end.
    pub(super) async fn live(&self, mut wanted: watch::Receiver<Wanted>) -> Ending {
        let lease = self.settings.home.lease();
        let freed = tokio::select! {
            freed = lease::free(&lease, |text| self.log.line(text)) => freed,
            _ = wanted.changed() => return Ending::Stopped,
        };
        let mut process = match freed.and_then(|()| self.launch(wanted)) {
            Ok(process) => process,
            Err(failure) => return Ending::Refused(failure),
        };
        let ending = match self.configure(&mut process).await {
            Ok(()) => self.serve(&mut process).await,
            Err(ending) => ending,
        };
        let pid = process.pid;
        process.bury().await;
        self.log.line(&format!("interpreter {pid} is gone"));
        match ending {
            Ending::Early(what) => Ending::Refused(self.with_output(&what)),
            ending => ending,
        }
    }

    fn launch(&self, wanted: watch::Receiver<Wanted>) -> Result<Process> {
        let Launched { child, pid, stream, output, secrets, pulse } =
            launch::launch(&self.settings, &self.watch)?;
        self.process.set(Some((pid, Instant::now())));
        self.log.line(&format!("interpreter {pid} started: {}", self.settings.python.display()));
        self.output.begin(pid);
        let (observer, log, kept) = (self.observer.clone(), self.log.clone(), self.output.clone());
        let notified = move |method: &str, parameters: &Json| match method {
            "progress" => observer.progress(parameters),
            "blocked" => observer.blocked(parameters),
            "unblocked" => observer.unblocked(parameters),
            _ => {}
        };
        self.observer.begins(); // before the new one can say anything
        let (channel, reading) = Channel::open(stream, Box::new(notified), move |text| log.line(text));
        let reader = spawn_local(reading);
        let output = spawn_local(async move { kept.take(output, secrets).await });
        let pulse = Rc::new(pulse);
        self.condition.replace(Condition::of(pid));
        self.pulse.replace(Some(pulse.clone()));
        self.starved.set(system::starved());
        Ok(Process { child, pid, channel, reader, output, pulse, wanted, hung_up: false })
    }

    /// From the start to READY.
    async fn configure(&self, process: &mut Process) -> std::result::Result<(), Ending> {
        let settings = &self.settings;
        let (quarantined, suspects) = self.ledger.borrow().orders();
        let parameters = json!({
            "home": settings.home.path(), "prefix": settings.prefix, "version": settings.version,
            "notify": [4, 5], "no_plugins": settings.no_plugins,
            "quarantined": quarantined, "suspects": suspects, "commands": self.orders.commands(),
            "settings": settings.settings,
        });
        let answer = process.channel.call("configure", &Json::from(parameters));
        tokio::select! {
            biased;
            event = process.event() => match event {
                Event::Exit(status) => Err(Self::ended_early(&status, &process.pulse)),
                Event::Wish => {
                    let _ = process.stop(false).await;
                    Err(Ending::Stopped)
                }
            },
            answer = answer => match answer {
                Ok(answer) => match self.fits(answer) {
                    Ok(()) => Ok(()),
                    Err(failure) => {
                        let _ = process.stop(false).await;
                        Err(Ending::Refused(failure))
                    }
                },
                // It closed its socket: its end is near, and says more.
                Err(_gone) => match process.event_while_ready().await {
                    Event::Exit(status) => Err(Self::ended_early(&status, &process.pulse)),
                    Event::Wish => {
                        let _ = process.stop(false).await;
                        Err(Ending::Stopped)
                    }
                },
            },
            () = sleep(settings.start_limit) => {
                let _ = process.kill().await;
                Err(self.late(&process.pulse))
            }
        }
    }

    /// An exit before READY is a mistake in the set-up that a restart would repeat; a signal may not come again, and a plugin
    /// that ends the process while it is imported is soon not loaded any more.
    fn ended_early(status: &io::Result<ExitStatus>, pulse: &Pulse) -> Ending {
        let signal = signal_of(status);
        let cause = cause(status);
        if signal.is_some() || pulse.importing().is_some() {
            let cause = format!("{cause} before it was ready");
            return Ending::Died { cause, signal, ready_for: Duration::ZERO };
        }
        Ending::Early(format!("the interpreter ended before it was ready ({cause})"))
    }

    /// The first one's time limit tells of a broken set-up; later it is a machine under load.
    fn late(&self, pulse: &Pulse) -> Ending {
        let cause = format!("it was not ready within {} s", self.settings.start_limit.as_secs_f64());
        if self.was_ready.get() || pulse.importing().is_some() {
            return Ending::Died {
                cause: format!("signal 9 (SIGKILL) from the host, since {cause}"),
                signal: Some(libc::SIGKILL),
                ready_for: Duration::ZERO,
            };
        }
        Ending::Early(format!("the interpreter was killed, since {cause}"))
    }

    /// The failure of an interpreter that could not say itself what is wrong.
    fn with_output(&self, what: &str) -> Failure {
        let message = match self.output.last_line() {
            Some(line) => format!("{what}: {line}"),
            None => format!("{what}: {} wrote nothing", self.settings.python.display()),
        };
        Failure::unavailable(message)
            .hint(self.logs_hint("then: symphony host restart"))
            .with("stderr", self.output.tail())
    }

    /// Whether the interpreter is of this version.
    fn fits(&self, answer: Answer) -> Result<()> {
        let answer = answer?.value();
        let python = self.settings.python.display();
        let mismatch = |what: &str, ours: &str, theirs: &str| {
            Failure::incompatible(format!(
                "this host has {what} {ours}, the interpreter {python} has {theirs}"
            ))
            .hint("install one version of symphony-host, and stop hosts of the old one")
        };
        let version = answer["version"].as_str().unwrap_or("none");
        if version != self.settings.version {
            return Err(mismatch("version", &self.settings.version, version));
        }
        let abi = [0, 1].map(|at| answer["abi"][at].as_u64().unwrap_or(0));
        if abi[0] != u64::from(ABI_MAJOR) || abi[1] < u64::from(ABI_MINOR) {
            let (ours, theirs) = (format!("{ABI_MAJOR}.{ABI_MINOR}"), format!("{}.{}", abi[0], abi[1]));
            return Err(mismatch("component ABI", &ours, &theirs));
        }
        if answer["ready"] != Value::Bool(true) {
            return Err(Failure::incompatible(format!(
                "the interpreter {python} did not answer that it is ready"
            )));
        }
        answer["python"].as_str().unwrap_or_default().clone_into(&mut self.python_version.borrow_mut());
        self.host_log.set_lasting(answer["durability"] != "process");
        answer["limits"].as_str().unwrap_or_default().clone_into(&mut self.limits.borrow_mut());
        if let Some(seconds) = answer["hang_after"].as_f64() {
            let hang_after = Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero());
            let kill_stopped = answer["kill_stopped"].as_bool().unwrap_or(false);
            self.patience.set(Patience { hang_after, kill_stopped });
        }
        Ok(())
    }

    /// From READY to the end.
    async fn serve(&self, process: &mut Process) -> Ending {
        let ready = Instant::now();
        let again = self.was_ready.replace(true);
        self.observer.interpreter("ready", if again { "is back, its runs go on" } else { "is ready" });
        self.log.line(&format!("interpreter {} is ready", process.pid));
        self.phase.send_replace(Phase::Ready(process.channel.clone()));
        self.orders.recall();
        self.orders.send(&process.channel);
        let (pid, pulse) = (process.pid, process.pulse.clone());
        let event = tokio::select! {
            biased;
            event = process.event_while_ready() => event,
            never = self.keep_vigil(pid, &pulse) => match never {},
        };
        match event {
            Event::Exit(status) => {
                self.phase.send_replace(Phase::Restarting); // nobody is to ask the dead one
                let hang = self.condition.borrow().hang.clone();
                let reason = match hang {
                    Some(hang) => Some(hang.reason()),
                    None if process.hung_up => Some("it had closed its channel to the host".to_owned()),
                    None => None,
                };
                let cause = match reason {
                    Some(reason) => format!("{} from the host, since {reason}", cause(&status)),
                    None => cause(&status),
                };
                Ending::Died { cause, signal: signal_of(&status), ready_for: ready.elapsed() }
            }
            Event::Wish => {
                self.phase.send_replace(Phase::Stopping);
                let status = process.stop(true).await;
                self.log.line(&format!("interpreter {} was stopped: {}", process.pid, cause(&status)));
                Ending::Stopped
            }
        }
    }
}
