//! Which components there are, and who calls whom: ids are unique, calls lead to what is there and form no cycle.

use super::LoadError;
use super::description::Description;

/// The same components, each after those that it calls.
pub(super) fn callees_first(described: &[Description]) -> Result<Vec<Description>, LoadError> {
    for (at, library) in described.iter().enumerate() {
        if let Some(first) = described[..at].iter().find(|other| other.id() == library.id()) {
            return Err(LoadError::Twice {
                id: library.id().to_owned(),
                first: first.path.clone(),
                second: library.path.clone(),
            });
        }
    }
    let mut order = Vec::with_capacity(described.len());
    let mut path = Vec::new();
    for at in 0..described.len() {
        visit(described, at, &mut path, &mut order)?;
    }
    Ok(order.into_iter().map(|at: usize| described[at].clone()).collect())
}

fn visit(
    all: &[Description],
    at: usize,
    path: &mut Vec<usize>,
    order: &mut Vec<usize>,
) -> Result<(), LoadError> {
    if order.contains(&at) {
        return Ok(());
    }
    let edges = |problem| LoadError::Edges { id: all[at].id().to_owned(), problem };
    if let Some(start) = path.iter().position(|known| *known == at) {
        let cycle: Vec<&str> = path[start..].iter().chain([&at]).map(|at| all[*at].id()).collect();
        return Err(edges(format!("calls itself through others: {}", cycle.join(" → "))));
    }
    path.push(at);
    for callee in all[at].calls() {
        let next = all.iter().position(|other| other.id() == callee);
        let next = next.ok_or_else(|| edges(format!("calls {callee}, which is not there")))?;
        visit(all, next, path, order)?;
    }
    path.pop();
    order.push(at);
    Ok(())
}
