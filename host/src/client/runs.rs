//! Workflows and their runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{EventFilter, Events, Host};
use crate::failure::{Failure, Result};

/// A workflow that a plugin adds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workflow {
    /// `conductor.index`
    pub name: String,
    /// `symphony-conductor:index`
    pub id: String,
    pub plugin: String,
    pub summary: String,
    pub inputs: Vec<WorkflowInput>,
}

/// An input of a workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkflowInput {
    pub name: String,
    /// As its type hint is written.
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    pub default: Value,
}

/// What to run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Order {
    pub workflow: String,
    /// Values by name.
    pub inputs: Value,
    /// The folder that relative paths start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Files to use as plugins.
    pub plugins: Vec<PathBuf>,
    /// Where steps run that name no executor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
}

impl Order {
    /// `inputs`: an object.
    pub fn new(workflow: impl Into<String>, inputs: Value) -> Self {
        Self { workflow: workflow.into(), inputs, ..Self::default() }
    }

    /// Use a file as a plugin.
    #[must_use]
    pub fn plugin(mut self, file: impl Into<PathBuf>) -> Self {
        self.plugins.push(file.into());
        self
    }
}

/// How many steps; a failed one was executed, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCounts {
    pub executed: u64,
    pub reused: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// Why a run failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunError {
    /// The class of the exception.
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    pub step: Option<String>,
    pub report: Option<String>,
}

/// The end of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    pub run: String,
    pub workflow: String,
    /// `completed`, `failed` or `cancelled`.
    pub status: String,
    /// What the workflow returned.
    pub result: Value,
    pub error: Option<RunError>,
    pub steps: StepCounts,
    pub seconds: f64,
}

/// A run in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRow {
    pub run: String,
    pub workflow: String,
    /// `pending`, `running`, `paused`, `waiting`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// ISO 8601, UTC.
    pub started: String,
    pub seconds: Option<f64>,
    pub steps: StepCounts,
}

/// A step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Unique in its run.
    pub key: String,
    pub name: String,
    pub state: String,
    pub attempts: u32,
    pub seconds: Option<f64>,
}

/// A run and its steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunDetail {
    #[serde(flatten)]
    pub row: RunRow,
    #[serde(rename = "graph")]
    pub step_list: Vec<Step>,
    /// Why it failed, or what keeps it from going on.
    pub error: Option<RunError>,
}

/// A run as a graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Graph {
    pub run: String,
    pub nodes: Vec<Step>,
    pub edges: Vec<GraphEdge>,
}

/// Keys of two steps: `to` waited for `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphEdge {
    pub from: String,
    pub to: String,
}

/// Why each step started when it did, as far as it is recorded, or what it waits for now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    pub run: String,
    /// Why the run as a whole does not go on now.
    pub because: Option<String>,
    pub steps: Vec<StepStory>,
    /// What the records do not tell.
    pub not_recorded: Vec<String>,
}

/// One step of an explanation; times in ISO 8601, UTC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepStory {
    pub key: String,
    pub state: String,
    /// The last dependency was done.
    pub ready: Option<String>,
    pub started: Option<String>,
    pub finished: Option<String>,
    /// Seconds from ready to started, or until now where it waits.
    pub waited: Option<f64>,
    pub because: String,
}

/// Which runs to list. What is left out is no limit.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub status: Option<String>,
    pub workflow: Option<String>,
    /// A date, a time, or an age such as `2h`.
    pub since: Option<String>,
}

/// A run of this host. Dropping it changes nothing: it goes on.
#[derive(Clone)]
pub struct Run {
    pub id: String,
    /// Its full name.
    pub workflow: String,
    host: Host,
}

#[derive(Deserialize)]
struct Deleted {
    deleted: Vec<String>,
}

#[derive(Deserialize)]
struct Taken {
    run: String,
    workflow: String,
}

impl Run {
    fn of(host: &Host, taken: Taken) -> Self {
        Self { id: taken.run, workflow: taken.workflow, host: host.clone() }
    }

    /// Wait for its end. A run that failed or was cancelled is a result, too; an error says why nobody works on it.
    pub async fn wait(&self) -> Result<RunResult> {
        self.host.call("runs.wait", json!({"run": self.id})).await
    }

    /// Stop its running steps, and start no more.
    pub async fn cancel(&self) -> Result<()> {
        self.host.cancel_run(&self.id).await
    }
}

impl Host {
    pub async fn workflows(&self) -> Result<Vec<Workflow>> {
        self.call("workflows.list", json!({})).await
    }

    /// Start a run; returns once it is recorded, and survives every death.
    pub async fn run(&self, order: &Order) -> Result<Run> {
        let parameters = serde_json::to_value(order) // a path need not be Unicode
            .map_err(|error| Failure::invalid(format!("the order cannot be written as JSON: {error}")))?;
        Ok(Run::of(self, self.call("workflows.run", parameters).await?))
    }

    /// Start a run, and be told all that happens to it, from the first event on.
    pub async fn follow(&self, order: &Order) -> Result<(Run, Events)> {
        let filter = EventFilter { workflow: Some(order.workflow.clone()), ..EventFilter::default() };
        let mut events = self.events(&filter).await?;
        let run = self.run(order).await?;
        events.run = Some(run.id.clone());
        Ok((run, events))
    }

    /// Newest first.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>> {
        let RunFilter { status, workflow, since } = filter;
        self.call("runs.list", json!({"status": status, "workflow": workflow, "since": since})).await
    }

    /// `run`: an id, or the beginning of one; so for all methods below.
    pub async fn run_detail(&self, run: &str) -> Result<RunDetail> {
        self.call("runs.get", json!({"run": run})).await
    }

    /// Its steps, and which waited for which.
    pub async fn run_graph(&self, run: &str) -> Result<Graph> {
        self.call("runs.graph", json!({"run": run})).await
    }

    /// Why each step started when it did, and of a live run what it and its steps wait for now.
    pub async fn explain_run(&self, run: &str) -> Result<Explanation> {
        self.call("runs.explain", json!({"run": run})).await
    }

    /// Delete finished runs for good: all of them, or none where one is unknown or live. Their artifacts stay.
    pub async fn delete_runs(&self, runs: &[&str]) -> Result<Vec<String>> {
        self.call("runs.delete", json!({"runs": runs})).await.map(|gone: Deleted| gone.deleted)
    }

    /// Delete the runs that ended before a time: a date, a time, or an age such as `30d`.
    pub async fn prune_runs(&self, before: &str, status: Option<&str>) -> Result<Vec<String>> {
        let parameters = json!({"before": before, "status": status});
        self.call("runs.prune", parameters).await.map(|gone: Deleted| gone.deleted)
    }

    /// Take a run up again that nobody works on.
    pub async fn resume_run(&self, run: &str) -> Result<Run> {
        Ok(Run::of(self, self.call("runs.resume", json!({"run": run})).await?))
    }

    pub async fn cancel_run(&self, run: &str) -> Result<()> {
        self.call("runs.cancel", json!({"run": run})).await.map(|_: Value| ())
    }

    /// Start no more steps of a run; those that run finish.
    pub async fn pause_run(&self, run: &str) -> Result<()> {
        self.call("runs.pause", json!({"run": run})).await.map(|_: Value| ())
    }

    /// Let it start steps again.
    pub async fn unpause_run(&self, run: &str) -> Result<()> {
        self.call("runs.unpause", json!({"run": run})).await.map(|_: Value| ())
    }

    pub async fn retry_step(&self, run: &str, step: &str) -> Result<()> {
        self.call("runs.retry_step", json!({"run": run, "step": step})).await.map(|_: Value| ())
    }

    pub async fn skip_step(&self, run: &str, step: &str) -> Result<()> {
        self.call("runs.skip_step", json!({"run": run, "step": step})).await.map(|_: Value| ())
    }

    /// Answer the question `name` of a waiting run.
    pub async fn provide_input(&self, run: &str, name: &str, value: Value) -> Result<()> {
        let answer = json!({"run": run, "name": name, "value": value});
        self.call("runs.provide_input", answer).await.map(|_: Value| ())
    }
}
