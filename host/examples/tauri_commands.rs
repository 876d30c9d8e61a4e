//! The host behind a desktop application: conductor status and control, model management, workflow execution, as Tauri commands.
//!
//! With Tauri, `use tauri::{State, ipc::Channel};` takes the place of the two types below, `#[tauri::command]` stands before
//! each function, and the application begins with
//!
//! ```ignore
//! let host = tauri::async_runtime::block_on(Host::start(home, &Launch::new(symphonyd)))?;
//! tauri::Builder::default().manage(host).invoke_handler(tauri::generate_handler![conductor_status, /* … */]);
//! ```
//!
//! `main` calls every command as a window would: `tauri_commands HOME SYMPHONYD PYTHON PLUGIN WORKFLOW INPUTS MODEL [OPTION …]`.

use std::ops::Deref;
use std::time::Duration;

use serde_json::{Value, json};
use symphony_host::client::{
    Artifact, ArtifactQuery, Conductor, Event, Explanation, Graph, Host, HostStatus, Launch, Model, Order,
    Plugin, RunDetail, RunFilter, RunResult, RunRow, Workflow,
};

/// As `tauri::State`: what the application manages.
pub struct State<'r, T>(&'r T);

impl<T> Deref for State<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

/// As `tauri::ipc::Channel`: what a command sends to the window while it runs.
pub struct Channel<T>(Box<dyn Fn(T) + Send + Sync>);

impl<T> Channel<T> {
    pub fn send(&self, message: T) -> Result<(), String> {
        (self.0)(message);
        Ok(())
    }
}

/// What a window shows of a failure: the message, and what to do.
fn shown(failure: symphony_host::failure::Failure) -> String {
    if failure.hint.is_empty() { failure.message } else { format!("{} ({})", failure.message, failure.hint) }
}

// Conductor status and control.

pub async fn host_status(host: State<'_, Host>) -> Result<HostStatus, String> {
    host.status().await.map_err(shown)
}

pub async fn conductor_status(host: State<'_, Host>) -> Result<Conductor, String> {
    host.conductor_status().await.map_err(shown)
}

pub async fn conductor_start(host: State<'_, Host>) -> Result<Conductor, String> {
    host.conductor_start().await.map_err(shown)
}

pub async fn conductor_stop(host: State<'_, Host>, drain_seconds: f64) -> Result<Conductor, String> {
    let drain = Duration::try_from_secs_f64(drain_seconds).map_err(|error| error.to_string())?;
    host.conductor_stop(drain).await.map_err(shown)
}

pub async fn conductor_restart(host: State<'_, Host>) -> Result<Conductor, String> {
    host.conductor_restart().await.map_err(shown)
}

pub async fn plugins(host: State<'_, Host>) -> Result<Vec<Plugin>, String> {
    host.plugins().await.map_err(shown)
}

// Model management.

pub async fn models(host: State<'_, Host>) -> Result<Vec<Model>, String> {
    host.models().await.map_err(shown)
}

pub async fn load_model(host: State<'_, Host>, name: String) -> Result<Model, String> {
    host.load_model(&name).await.map_err(shown)
}

pub async fn unload_model(host: State<'_, Host>, name: String) -> Result<Model, String> {
    host.unload_model(&name).await.map_err(shown)
}

pub async fn prewarm_model(host: State<'_, Host>, name: String) -> Result<Model, String> {
    host.prewarm_model(&name).await.map_err(shown)
}

// Workflow execution.

pub async fn workflows(host: State<'_, Host>) -> Result<Vec<Workflow>, String> {
    host.workflows().await.map_err(shown)
}

/// Run a workflow to its end; the window gets every event of it meanwhile.
pub async fn run_workflow(
    host: State<'_, Host>,
    workflow: String,
    inputs: Value,
    plugins: Vec<String>,
    on_event: Channel<Event>,
) -> Result<RunResult, String> {
    let order = plugins.into_iter().fold(Order::new(workflow, inputs), Order::plugin);
    let (run, mut events) = host.follow(&order).await.map_err(shown)?;
    let mut end = std::pin::pin!(run.wait());
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => {
                let last = event.kind == "run_finished";
                on_event.send(event)?;
                if last {
                    return end.await.map_err(shown);
                }
            }
            // Also where the run cannot go on, of which no record tells.
            ended = &mut end => return ended.map_err(shown),
        }
    }
}

pub async fn runs(host: State<'_, Host>, status: Option<String>) -> Result<Vec<RunRow>, String> {
    host.runs(&RunFilter { status, ..RunFilter::default() }).await.map_err(shown)
}

pub async fn run_detail(host: State<'_, Host>, run: String) -> Result<RunDetail, String> {
    host.run_detail(&run).await.map_err(shown)
}

pub async fn run_graph(host: State<'_, Host>, run: String) -> Result<Graph, String> {
    host.run_graph(&run).await.map_err(shown)
}

pub async fn explain_run(host: State<'_, Host>, run: String) -> Result<Explanation, String> {
    host.explain_run(&run).await.map_err(shown)
}

/// For good; what it made stays.
pub async fn delete_run(host: State<'_, Host>, run: String) -> Result<Vec<String>, String> {
    host.delete_runs(&[&run]).await.map_err(shown)
}

pub async fn cancel_run(host: State<'_, Host>, run: String) -> Result<(), String> {
    host.cancel_run(&run).await.map_err(shown)
}

pub async fn artifacts(host: State<'_, Host>) -> Result<Vec<Artifact>, String> {
    host.artifacts(&ArtifactQuery::default()).await.map_err(shown)
}

/// Tauri awaits commands on any of its threads.
fn sendable<T: Send>(future: T) -> T {
    future
}

/// Every command once, and what it gave as one JSON document.
async fn every_command(
    host: &Host,
    plugin: &str,
    workflow: &str,
    inputs: Value,
    model: &str,
) -> Result<Value, String> {
    let state = || State(host);
    let (sender, events) = std::sync::mpsc::channel();
    let on_event = Channel(Box::new(move |event: Event| drop(sender.send(event))));
    let result = sendable(run_workflow(
        state(),
        workflow.to_owned(),
        inputs.clone(),
        vec![plugin.to_owned()],
        on_event,
    ))
    .await?;
    let run = result.run.clone();
    cancel_run(state(), run.clone()).await?; // it has ended: nothing happens
    let model = || model.to_owned();
    let silent = Channel(Box::new(drop::<Event>));
    Ok(json!({
        "result": result,
        "events": events.try_iter().collect::<Vec<_>>(),
        "detail": run_detail(state(), run.clone()).await?,
        "graph": run_graph(state(), run.clone()).await?,
        "story": explain_run(state(), run.clone()).await?,
        "runs": runs(state(), Some("completed".to_owned())).await?,
        "deleted": delete_run(state(), run).await?,
        "workflows": workflows(state()).await?,
        "artifacts": artifacts(state()).await?,
        "plugins": plugins(state()).await?,
        "models": [
            models(state()).await?,
            vec![load_model(state(), model()).await?],
            vec![unload_model(state(), model()).await?],
            vec![prewarm_model(state(), model()).await?],
        ],
        "unknown_model": load_model(state(), "no-such-model".to_owned()).await.err(),
        "conductor": [
            conductor_status(state()).await?,
            conductor_stop(state(), 0.0).await?,
            conductor_start(state()).await?,
            conductor_restart(state()).await?,
        ],
        "refused": run_workflow(state(), "no.such".to_owned(), inputs, vec![], silent).await.err(),
        "status": host_status(state()).await?,
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [home, symphonyd, python, plugin, workflow, inputs, model, options @ ..] = given.as_slice() else {
        return Err(
            "usage: tauri_commands HOME SYMPHONYD PYTHON PLUGIN WORKFLOW INPUTS MODEL [OPTION …]".to_owned()
        );
    };
    let inputs = serde_json::from_str(inputs).map_err(|error| format!("INPUTS: {error}"))?;
    let launch = options.iter().fold(Launch::new(symphonyd).python(python), Launch::argument);
    let host = Host::start(home, &launch).await.map_err(shown)?;
    let document = every_command(&host, plugin, workflow, inputs, model).await?;
    println!("{document}");
    let content = host.artifact_content("note/abc").await.map_err(shown)?;
    assert_eq!(content, b"abc");
    host.stop(Duration::ZERO).await.map_err(shown)?;
    match Host::connect(home).await {
        Ok(_) => Err("the host was stopped and still answers".to_owned()),
        Err(_) => Ok(()),
    }
}
