//! The methods that clients call.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::client::Client;
use super::command::command;
use super::conductor;
use super::explain::explain;
use super::outbox::Outbox;
use super::run_commands;
use super::schema::{self, By, Method};
use super::{DRAIN, Host};
use crate::failure::{Failure, Result};
use crate::json::{Fields, Json, Object};
use crate::runs::{End, Filter, Interest, Report, Waits, required_time, resume_hint};
use crate::subprocess::Phase;

pub(super) async fn answer(host: &Rc<Host>, client: &Client, name: &str, fields: &Fields) -> Result<Json> {
    let method = Method::of(name, fields)?;
    match method.by {
        By::Interpreter => host.interpreter.call(name, &method.pass(fields)).await,
        By::Command => command(host, method, fields).await,
        By::Host if run_commands::knows(name) => {
            run_commands::command(host, named(host, fields)?, name, fields).await
        }
        By::Host => own(host, client, name, fields).await,
    }
}

/// What the host itself answers.
async fn own(host: &Rc<Host>, client: &Client, name: &str, fields: &Fields) -> Result<Json> {
    match name {
        "rpc.discover" => Ok(schema::discover()),
        "host.status" => Ok(host.status().into()),
        "host.stop" => stop(host, fields).await,
        "conductor.status" => Ok(host.interpreter.status().into()),
        "conductor.start" => conductor::start(host).await,
        "conductor.stop" => conductor::stop(host, fields).await,
        "conductor.restart" => conductor::restart(host).await,
        "host.linger" => {
            host.linger.set(true);
            Ok(host.status().into())
        }
        "workflows.run" => run(host, fields).await,
        "runs.list" => {
            Ok(host.runs.list(Filter::from_fields(fields)?, host.interpreter.drives()).await?.into())
        }
        "runs.get" => Ok(host.runs.get(&named(host, fields)?, host.interpreter.drives())?.into()),
        "runs.resume" => resume(host, fields).await,
        "runs.delete" => delete(host, fields).await,
        "runs.prune" => prune(host, fields).await,
        "runs.graph" => Ok(host.runs.graph(&named(host, fields)?, host.interpreter.drives())?.into()),
        "runs.explain" => explain(host, &named(host, fields)?).await,
        "runs.wait" => wait(host, &client.outbox, fields).await,
        "events.subscribe" => subscribe(host, client, fields),
        "events.unsubscribe" => unsubscribe(client, fields),
        _ => Err(schema::unknown(name)),
    }
}

/// The run that the field `run` names.
fn named(host: &Host, fields: &Fields) -> Result<String> {
    host.runs.resolve(&fields.str("run")?)
}

async fn stop(host: &Rc<Host>, fields: &Fields) -> Result<Json> {
    host.stop(fields.seconds("drain")?.map_or(DRAIN, Duration::from_secs_f64));
    let mut phase = host.interpreter.phase();
    let _ = phase.wait_for(|phase| matches!(phase, Phase::Stopped)).await;
    Ok(json!({"stopped": true}).into())
}

fn subscribe(host: &Host, client: &Client, fields: &Fields) -> Result<Json> {
    let run = fields.optional_str("run")?.map(|run| host.runs.resolve(&run)).transpose()?;
    let interest = Interest { run, ..Interest::from_fields(fields)? };
    let watching = host.runs.subscribe(interest, &client.outbox);
    let number = watching.number;
    client.subscriptions.borrow_mut().insert(number, watching);
    Ok(json!({"subscription": number}).into())
}

fn unsubscribe(client: &Client, fields: &Fields) -> Result<Json> {
    let number = fields.json("subscription").and_then(|number| number.value().as_u64());
    let ended = number.and_then(|number| client.subscriptions.borrow_mut().remove(&number));
    match ended {
        Some(_) => Ok(Object::default().finish()),
        None => Err(Failure::not_found("this client has no such subscription")
            .hint("it is the number that events.subscribe answered")),
    }
}

async fn run(host: &Rc<Host>, fields: &Fields) -> Result<Json> {
    fields.str("workflow")?;
    host.home.admits()?;
    let run = host.ids.make().map_err(|error| Failure::unavailable(format!("no random numbers: {error}")))?;
    let given = ["workflow", "inputs", "text", "cwd", "plugins", "executor"];
    let begun = Object::default().field("run", run.as_str());
    let given = given.iter().filter_map(|name| Some((*name, fields.json(name)?)));
    let parameters = given.fold(begun, |object, (name, value)| object.raw(name, &value)).finish();
    let answer = host.interpreter.keep("run.start", |_| parameters).await?;
    let answer = async { answer.await.unwrap_or_else(|_| Err(Failure::unavailable("the host is stopping"))) };
    let accepted = drive(host, &run, answer).await.map_err(|failure| {
        if !host.runs.is_live(&run) {
            return failure;
        }
        let message = format!("{}; run {run} is kept", failure.message);
        failure.saying(message).with("run", run.as_str())
    })?;
    let workflow = accepted.value()["workflow"].clone();
    Ok(json!({"run": run, "workflow": workflow}).into())
}

/// Let the interpreter work on a run. One that it takes on no more is blocked, though the client may have left meanwhile.
async fn drive(
    host: &Rc<Host>,
    run: &str,
    answer: impl Future<Output = Result<Json>> + 'static,
) -> Result<Json> {
    let (host, run) = (host.clone(), run.to_owned());
    let driving = spawn_local(async move {
        answer.await.map_err(|failure| {
            // Without an interpreter nobody refused: the next one takes the run up by itself.
            let refused = host.interpreter.is_ready() && host.runs.is_live(&run);
            if refused { host.runs.block(&run, failure) } else { failure }
        })
    });
    driving.await.unwrap_or_else(|_| Err(Failure::unavailable("the host ends")))
}

async fn resume(host: &Rc<Host>, fields: &Fields) -> Result<Json> {
    let run = named(host, fields)?;
    if host.runs.end(&run)?.is_none() {
        host.runs.unblock(&run);
        drive(host, &run, host.interpreter.order("run.resume", json!({"run": run}).into())).await?;
    }
    Ok(json!({"run": run, "workflow": host.runs.workflow(&run)?}).into())
}

async fn delete(host: &Rc<Host>, fields: &Fields) -> Result<Json> {
    let runs = fields.strings("runs")?;
    let runs = runs.iter().map(|run| host.runs.resolve(run)).collect::<Result<Vec<_>>>()?;
    host.runs.delete(runs.clone()).await?;
    Ok(json!({"deleted": runs}).into())
}

async fn prune(host: &Rc<Host>, fields: &Fields) -> Result<Json> {
    let before = required_time(fields, "before")?;
    let status = fields.optional_str("status")?;
    let dry = fields.flag("dry_run")?;
    let runs = host.runs.prune(before, status.as_deref(), dry).await?;
    Ok(json!({"deleted": runs, "dry_run": dry}).into())
}

async fn wait(host: &Rc<Host>, outbox: &Rc<Outbox>, fields: &Fields) -> Result<Json> {
    let run = named(host, fields)?;
    let mut halted = host.runs.halted();
    let mut phase = host.interpreter.phase();
    let until_waiting = fields.flag("waiting")?;
    let watching = fields.flag("events")?.then(|| host.runs.watch(&run, outbox));
    let end = loop {
        halted.borrow_and_update();
        if let Some(end) = host.runs.end(&run)? {
            break end;
        }
        if let Some(document) = until_waiting.then(|| host.runs.waiting(&run)).transpose()?.flatten() {
            return Ok(document);
        }
        given_up(&mut phase, &run)?;
        if let Some(failure) = host.runs.obstacle(&run) {
            return Err(failure);
        }
        tokio::select! {
            _ = halted.changed() => {}
            _ = phase.changed() => {}
        }
    };
    drop(watching);
    document(host, &run, &end).await
}

/// An error if no interpreter works on the run any more.
fn given_up(phase: &mut watch::Receiver<Phase>, run: &str) -> Result<()> {
    let resume = resume_hint(run);
    match &*phase.borrow_and_update() {
        Phase::Failed(failure) => {
            let hint = failure.hint.split("; then: ").next().unwrap_or_default();
            let hint = if hint.is_empty() { resume } else { format!("{hint}; then: {resume}") };
            Err(failure.clone().hint(hint).with("run", run))
        }
        Phase::Stopped => {
            Err(Failure::unavailable(format!("the host was stopped; run {run} is kept")).hint(resume))
        }
        _ => Ok(()),
    }
}

/// The result is in the record, or, if it is large, with the interpreter.
async fn document(host: &Rc<Host>, run: &str, end: &End) -> Result<Json> {
    let artifact = match &end.report {
        Report::Missing => return Ok(end.document(&Fields::default())),
        Report::Here(fields) => return Ok(end.document(fields)),
        Report::Stored(artifact) => artifact,
    };
    let wish = json!({"run": run, "artifact": artifact});
    let stored = host.interpreter.call("run.result", &wish.into()).await?;
    let fields = Fields::parse(stored.text().as_bytes());
    Ok(end.document(&fields.ok_or_else(|| Failure::died(format!("the result of run {run} cannot be read")))?))
}

/// What can be answered from the log alone, without a host.
pub fn offline(runs: &crate::runs::Runs, method: &str, fields: &Fields, driven: bool) -> Result<Value> {
    Method::of(method, fields)?;
    match method {
        "runs.list" => runs.list_now(Filter::from_fields(fields)?, driven),
        "runs.get" => runs.get(&runs.resolve(&fields.str("run")?)?, driven),
        "runs.graph" => runs.graph(&runs.resolve(&fields.str("run")?)?, driven),
        "runs.explain" => {
            let run = runs.resolve(&fields.str("run")?)?;
            let held = || Waits::held(format!("no host works on it: {}", resume_hint(&run)));
            let waits = if driven || !runs.is_live(&run) { Waits::default() } else { held() };
            runs.explain(&run, driven, &waits)
        }
        _ => Err(Failure::unavailable(format!("{method} needs a running host"))
            .hint("runs.list, runs.get, runs.graph and runs.explain work without one")),
    }
}
