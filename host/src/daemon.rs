//! The host as a process: takes the home, listens, keeps the interpreter, and ends when nobody needs it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::panic;
use std::process::{self, ExitCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symphony_pit_journal::Watch;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{interval, sleep, timeout};

use crate::control::{self, DRAIN, Host};
use crate::failure::{Failure, Result};
use crate::history::{History, News};
use crate::home::{self, Acquired, Door, Home, HostEntry};
use crate::log_file::LogFile;
use crate::options::Options;
use crate::retirement;
use crate::runs::Runs;
use crate::stdio;
use crate::subprocess::{Phase, Settings, Supervisor};
use crate::system;

/// How often it is looked whether the host is still needed, and its home still there.
const LOOK: Duration = Duration::from_millis(250);
/// At the end clients get this long to take their last answers.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Serve until stopped. Must be called on the main thread.
pub fn serve(options: Options) -> ExitCode {
    let stdio = options.stdio;
    match try_serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let exit = failure.exit;
            announce(&if stdio {
                control::refusal(failure)
            } else {
                json!({"error": failure.document()}).to_string()
            });
            ExitCode::from(exit)
        }
    }
}

/// The one line that a parent process waits for. One that does not wait any more is no reason to end.
fn announce(document: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{document}").and_then(|()| stdout.flush());
}

fn try_serve(options: Options) -> Result<()> {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |bug| {
        report(bug);
        process::abort(); // half a host would leave clients waiting; the next one takes the runs up
    }));
    let home = Home::new(&options.home);
    home.ensure()?;
    let acquired = home::acquire(&home, &options.prefix, VERSION)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unavailable(format!("no event loop: {error}")))?;
    let served = match &acquired {
        Acquired::Lock(lock) => LocalSet::new().block_on(&runtime, run(options, home, lock)),
        Acquired::Other(entry) if options.stdio => {
            let relayed = runtime.block_on(stdio::relay(&entry.socket, || ()));
            relayed.map_err(|error| Failure::unavailable(format!("the host (pid {}): {error}", entry.pid)))
        }
        Acquired::Other(entry) => {
            announce(&json!({"ready": true, "pid": entry.pid, "socket": entry.socket}).to_string());
            Ok(())
        }
    };
    runtime.shutdown_background(); // a thread that still reads a long log is not waited for
    served
}

async fn run(options: Options, home: Home, lock: &File) -> Result<()> {
    let unusable = |error: io::Error| Failure::unusable(home.path(), &error);
    let log = Rc::new(LogFile::open(home.symphonyd_log()).map_err(unusable)?);
    let watch = Rc::new(Watch::new().map_err(unusable)?);
    let hash_seed = home.hash_seed()?;
    let (listener, socket) = home::listen(&home)?;
    let listener = UnixListener::from_std(listener).map_err(unusable)?;
    log.line(&format!("symphonyd {VERSION} started, pid {}, {}", process::id(), options.prefix));

    let (history, written) = History::open(home.history(), |text| log.line(text))?;
    let complaints = log.clone();
    let runs = Rc::new(Runs::new(move |text| complaints.line(text)));
    let settings = Settings {
        home: home.clone(),
        python: options.python.clone(),
        prefix: options.prefix.clone(),
        version: VERSION.to_owned(),
        no_plugins: options.no_plugins,
        settings: options.settings.clone(),
        hash_seed,
        start_limit: options.start_limit,
    };
    let interpreter = Supervisor::new(settings, runs.clone(), log.clone(), watch.clone())?;
    let (prefix, python) = (options.prefix.clone(), options.python.clone());
    let host = Host::new(home.clone(), prefix, python, runs.clone(), interpreter.clone(), log.clone());
    host.linger.set(options.linger || options.stdio);

    let supervised = spawn_local(interpreter.clone().run());
    spawn_local(obey_signals(host.clone()));
    spawn_local(retirement::keep_told(host.clone()));
    let entry = HostEntry {
        pid: process::id(),
        socket: socket.clone(),
        prefix: options.prefix,
        version: VERSION.to_owned(),
        python: options.python.display().to_string(),
    };
    let door = Rc::new(Door::new(home.clone(), entry, lock.try_clone().map_err(unusable)?));
    let serving = spawn_local(attend(host.clone(), listener, door.clone(), watch, history, written));
    door.open()?;

    let input_ended = Rc::new(Cell::new(false));
    let mut relay = None;
    let began = if options.stdio {
        let (host, socket, ended) = (host.clone(), socket.clone(), input_ended.clone());
        relay = Some(spawn_local(async move {
            let stop = || ended.set(true);
            let _ = stdio::relay(&socket, stop).await; // at the end of stdin, or when nobody reads stdout
            host.stop(DRAIN);
        }));
        Ok(())
    } else {
        begin(&host, &socket).await
    };
    let drain = match &began {
        Ok(()) => {
            tokio::select! {
                drain = host.stop_wanted() => drain,
                () = unneeded(&host, options.linger_time) => Duration::ZERO,
                () = lost(&host, &door) => Duration::ZERO,
            }
        }
        Err(_) => Duration::ZERO,
    };
    let kept = door.is_kept(); // otherwise entry and socket are those of another host by now
    if kept {
        let _ = std::fs::remove_file(home.host_json()); // new clients start a new host, which waits for the lock
    }
    host.stop(drain);
    interpreter.stop(drain).await;
    let _ = supervised.await; // it returns once the interpreter is gone
    let deadline = Instant::now() + FLUSH_LIMIT;
    let in_answers = || input_ended.get() && relay.as_ref().is_some_and(|relay| !relay.is_finished());
    while (host.unanswered() > 0 || in_answers()) && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
    serving.abort(); // which closes the connections
    if let Some(relay) = relay {
        let _ = timeout(FLUSH_LIMIT, relay).await;
    }
    host.runs.close();
    if kept {
        home::remove_socket(&door.socket());
    }
    log.line("symphonyd ends");
    began
}

/// Read the log, then serve clients and follow it.
async fn attend(
    host: Rc<Host>,
    listener: UnixListener,
    door: Rc<Door>,
    watch: Rc<Watch>,
    history: History,
    written: UnboundedReceiver<News>,
) {
    let history = Arc::new(history);
    host.runs.load(host.home.pit(), history.clone()).await;
    let pit = host.home.pit();
    let follow = async {
        if let Err(error) = host.runs.follow(&pit, &watch, &history, written).await {
            host.log.line(&format!("the log is not followed any more: {error}"));
        }
    };
    tokio::join!(control::accept(host.clone(), listener, &door), follow);
}

/// Wait for the first interpreter and tell whoever started this process. Without `--linger` a host whose interpreter cannot
/// be started is of no use and ends; with it, it stays to show history, and tries again when asked.
async fn begin(host: &Rc<Host>, socket: &std::path::Path) -> Result<()> {
    let mut phase = host.interpreter.phase();
    let settled = |phase: &Phase| matches!(phase, Phase::Ready(_) | Phase::Failed(_) | Phase::Stopped);
    let problem = tokio::select! {
        phase = phase.wait_for(settled) => match phase.as_deref() {
            Ok(Phase::Failed(failure)) if host.linger.get() => failure.document(),
            Ok(Phase::Failed(failure)) => return Err(failure.clone()),
            _ => Value::Null,
        },
        _ = host.stop_wanted() => return Err(Failure::unavailable("the host was stopped before it was ready")),
    };
    let mut line = json!({"ready": true, "pid": process::id(), "socket": socket});
    if !problem.is_null() {
        line["problem"] = problem;
    }
    announce(&line.to_string());
    // The parent's pipe or terminal is not kept: a panic's message goes to the log.
    if let (Ok(null), Ok(file)) = (File::options().write(true).open("/dev/null"), host.log.file()) {
        let _ = system::redirect(libc::STDOUT_FILENO, &null);
        let _ = system::redirect(libc::STDERR_FILENO, &file);
    }
    Ok(())
}

/// Returns when nobody has needed the host for a while.
async fn unneeded(host: &Rc<Host>, linger: Duration) {
    let mut look = interval(LOOK);
    let mut since = Instant::now();
    loop {
        look.tick().await;
        if host.busy() {
            since = Instant::now();
        } else if since.elapsed() >= linger {
            host.log.line("no run that can go on, and no client");
            return;
        }
    }
}

/// Returns when somebody has deleted the home: nobody can find this host any more, and nothing that it does is kept.
async fn lost(host: &Rc<Host>, door: &Door) {
    while door.is_kept() {
        sleep(LOOK).await;
    }
    host.log.line("the home was deleted: the host ends");
}

/// The first signal stops the host, the second kills the interpreter.
async fn obey_signals(host: Rc<Host>) {
    let streams = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = streams else {
        host.log.line("signals cannot be caught: one will end this process at once");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        if host.stopping() {
            host.log.line("a second signal: the interpreter is killed");
            host.interpreter.hurry();
        } else {
            host.log.line("a signal: the host stops");
            host.stop(DRAIN);
        }
    }
}
