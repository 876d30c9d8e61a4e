//! The host itself, its interpreter, and its plugins.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Host;
use crate::failure::Result;

/// The managed interpreter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conductor {
    /// `starting`, `ready`, `restarting`, `stopping`, `failed` or `stopped`.
    pub state: String,
    pub pid: Option<u32>,
    /// After deaths, since the host started.
    pub restarts: u32,
    /// Seconds.
    pub uptime: f64,
    /// Bytes of memory.
    pub rss: u64,
    pub last_death: Option<String>,
    /// Why it is not started again: type, message, hint, exit.
    pub problem: Option<Value>,
    /// While it is ready: `running`, `blocked` or `stopped`.
    pub liveness: Option<String>,
    /// What blocks it: run, key, name, workflow.
    pub step: Option<Value>,
}

/// The host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostStatus {
    pub pid: u32,
    pub interpreter: Conductor,
    /// Runs that have not ended.
    pub runs: u64,
    /// Why no new run begins: type, message, hint, exit.
    pub paused: Option<Value>,
    pub version: String,
    /// `sys.prefix` of its Python environment.
    pub prefix: String,
    pub home: String,
}

/// A plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plugin {
    pub name: String,
    pub version: String,
    /// `active`, `disabled`, `broken`, `incompatible`, `conflict`, `quarantined`, `changed` or `missing`.
    pub status: String,
    pub enabled: bool,
    /// What it adds: kind, name, id.
    pub contributions: Vec<Value>,
    /// What is wrong with it: code, message, at, hint.
    pub problem: Option<Value>,
}

#[derive(Deserialize)]
struct Listed {
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
struct Removed {
    removed: Vec<String>,
}

#[derive(Deserialize)]
struct Reloaded {
    stale: Vec<String>,
}

impl Host {
    pub async fn status(&self) -> Result<HostStatus> {
        self.call("host.status", json!({})).await
    }

    /// End the host. Running steps may take as long as `drain`; their runs go on with the next host.
    pub async fn stop(&self, drain: Duration) -> Result<()> {
        self.call("host.stop", json!({"drain": drain.as_secs_f64()})).await.map(|_: Value| ())
    }

    pub async fn conductor_status(&self) -> Result<Conductor> {
        self.call("conductor.status", json!({})).await
    }

    /// Start the interpreter where none comes by itself; returns when it is ready.
    pub async fn conductor_start(&self) -> Result<Conductor> {
        self.call("conductor.start", json!({})).await
    }

    /// End the interpreter until it is started again; history and status can still be read.
    pub async fn conductor_stop(&self, drain: Duration) -> Result<Conductor> {
        self.call("conductor.stop", json!({"drain": drain.as_secs_f64()})).await
    }

    /// A fresh interpreter; returns when it is ready. Unfinished runs go on.
    pub async fn conductor_restart(&self) -> Result<Conductor> {
        self.call("conductor.restart", json!({})).await
    }

    pub async fn plugins(&self) -> Result<Vec<Plugin>> {
        self.call("plugins.list", json!({})).await.map(|listed: Listed| listed.plugins)
    }

    pub async fn plugin(&self, name: &str) -> Result<Plugin> {
        self.call("plugins.info", json!({"name": name})).await
    }

    /// Install plugins: a name, `NAME==VERSION`, the absolute path of a wheel or a project.
    pub async fn install_plugins(&self, specs: &[&str]) -> Result<Vec<Plugin>> {
        self.call("plugins.install", json!({"specs": specs})).await.map(|listed: Listed| listed.plugins)
    }

    /// Gives the names of those that were removed.
    pub async fn uninstall_plugins(&self, names: &[&str]) -> Result<Vec<String>> {
        self.call("plugins.uninstall", json!({"names": names})).await.map(|gone: Removed| gone.removed)
    }

    /// Read the plugins again. Gives the names of those that stay as they are until the interpreter is restarted.
    pub async fn reload_plugins(&self) -> Result<Vec<String>> {
        self.call("plugins.reload", json!({})).await.map(|read: Reloaded| read.stale)
    }

    /// Use a plugin, or leave it alone.
    pub async fn enable_plugin(&self, name: &str, enabled: bool) -> Result<Plugin> {
        let method = if enabled { "plugins.enable" } else { "plugins.disable" };
        self.call(method, json!({"name": name})).await
    }
}
