//! The host for Rust programs: what `symphony` does on the command line, as async methods.
//!
//! A client of the control socket like any other. The host itself stays a process of its own, so that neither it nor a plugin
//! can take the program down, and so that its runs outlive it.

mod artifacts;
mod base64;
mod conductor;
mod connection;
mod events;
mod launch;
mod models;
mod pit;
mod runs;

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

pub use artifacts::{Artifact, ArtifactQuery};
pub use conductor::{Conductor, HostStatus, Plugin};
pub use events::{Event, EventFilter, Events};
pub use launch::Launch;
pub use models::Model;
pub use pit::{Component, ComponentMethod};
pub use runs::{
    Explanation, Graph, GraphEdge, Order, Run, RunDetail, RunError, RunFilter, RunResult, RunRow, Step,
    StepCounts, StepStory, Workflow, WorkflowInput,
};

use crate::failure::{Failure, Result};
use crate::home::{self, Home};
use connection::Connection;

/// A connection to the host of a home. Cheap to clone, and shared by all who clone it; made for async code on tokio, such as
/// the commands of a Tauri application.
///
/// Every method fails with a [`Failure`]: `kind` is the class in `symphony.errors` (`NotFound`, `InvalidInput`,
/// `HostUnavailable`, …), `hint` says what to do. Answers that are nested more than 127 deep cannot be read.
///
/// ```no_run
/// use serde_json::json;
/// use symphony_host::client::{Host, Launch, Order};
///
/// # async fn example() -> symphony_host::failure::Result<()> {
/// let host = Host::start("/home/me/.local/share/symphony/mine", &Launch::new("symphonyd")).await?;
/// let (run, mut events) = host.follow(&Order::new("conductor.index", json!({"path": "/home/me/notes"}))).await?;
/// while let Some(event) = events.next().await {
///     println!("{} {}", event.kind, event.name);
///     if event.kind == "run_finished" {
///         break;
///     }
/// }
/// println!("{}", run.wait().await?.result["files"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Host {
    connection: Arc<Connection>,
}

impl Host {
    /// Connect to the host that runs for a home. Fails with `HostUnavailable` where none does, and with `Conflict` where it is
    /// of another version.
    pub async fn connect(home: impl Into<PathBuf>) -> Result<Self> {
        let home = Home::new(home);
        home.check()?;
        let Some(entry) = home::running(&home) else {
            let message = format!("no host runs for {}", home.path().display());
            return Err(Failure::unavailable(message).hint("symphony host start"));
        };
        let ours = env!("CARGO_PKG_VERSION");
        if entry.version != ours {
            let message =
                format!("the host (pid {}) has version {}, this program {ours}", entry.pid, entry.version);
            return Err(Failure::conflict(message).hint("install one version of symphony-host"));
        }
        let stream = UnixStream::connect(&entry.socket).await;
        let stream =
            stream.map_err(|error| Failure::unavailable(format!("{}: {error}", entry.socket.display())))?;
        Ok(Self { connection: Arc::new(Connection::open(stream)) })
    }

    /// Connect to the host of a home; start one as `launch` says where none runs.
    pub async fn start(home: impl Into<PathBuf>, launch: &Launch) -> Result<Self> {
        let home = home.into();
        match Self::connect(&home).await {
            Err(failure) if failure.kind == "HostUnavailable" => {
                launch.run(&home).await?;
                Self::connect(&home).await
            }
            connected => connected,
        }
    }

    /// Call any method of `control.openrpc.json`. The typed methods are this with names.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, parameters: Value) -> Result<T> {
        self.connection.call(method, parameters, None).await
    }
}
