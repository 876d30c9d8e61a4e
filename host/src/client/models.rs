//! The models that plugins provide.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Host;
use crate::failure::Result;

/// A model, as the Pool Manager knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    pub name: String,
    /// The plugin.
    pub provider: String,
    /// Bytes, estimated.
    pub memory: u64,
    /// Slots that may be leased at once.
    pub instances: u32,
    /// `cold`, `warming`, `hot`, `cooling` or `failed`.
    pub state: String,
    /// Why it failed.
    pub reason: String,
    pub leased: u32,
    pub waiting: u32,
    pub calls: u64,
    pub cost: f64,
    /// A loaded plugin can load it.
    pub provided: bool,
}

impl Host {
    pub async fn models(&self) -> Result<Vec<Model>> {
        self.call("models.list", json!({})).await
    }

    /// Load a model; returns when it is hot.
    pub async fn load_model(&self, name: &str) -> Result<Model> {
        self.call("models.load", json!({"model": name})).await
    }

    /// Unload a model. Fails with `Conflict` while somebody uses it.
    pub async fn unload_model(&self, name: &str) -> Result<Model> {
        self.call("models.unload", json!({"model": name})).await
    }

    /// Load a model in the background; returns at once.
    pub async fn prewarm_model(&self, name: &str) -> Result<Model> {
        self.call("models.prewarm", json!({"model": name})).await
    }
}
