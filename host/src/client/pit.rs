//! The Pit's components.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Host;
use crate::failure::Result;

/// A component.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Component {
    /// `symphony.pool_manager`
    pub id: String,
    /// `pool_manager`
    pub name: String,
    pub version: String,
    pub description: String,
    pub methods: Vec<ComponentMethod>,
}

/// A method of a component.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComponentMethod {
    pub name: String,
    pub signature: String,
    pub doc: String,
}

impl Host {
    pub async fn pit(&self) -> Result<Vec<Component>> {
        self.call("pit.list", json!({})).await
    }

    /// Call a method of a component, named by its name or id.
    pub async fn pit_call(&self, component: &str, method: &str, args: &[Value]) -> Result<Value> {
        let parameters = json!({"component": component, "method": method, "args": args});
        self.call("pit.call", parameters).await.map(|mut answer: Value| answer["value"].take())
    }
}
