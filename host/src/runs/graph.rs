//! A run as a graph.

use serde_json::{Value, json};
use symphony_dag_tracker::table::RunRow;

use super::documents::{status, step_document, workflow};

pub(super) fn graph(row: &RunRow, driven: bool) -> Value {
    let nodes: Vec<Value> = row.steps.iter().map(|step| step_document(step, driven)).collect();
    let edges = row.steps.iter().flat_map(|step| {
        step.dependencies.iter().map(|dependency| json!({"from": dependency, "to": step.key}))
    });
    json!({"run": row.run, "workflow": workflow(row), "status": status(row, driven), "nodes": nodes,
           "edges": edges.collect::<Vec<_>>()})
}
