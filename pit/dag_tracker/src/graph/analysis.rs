//! What a graph says as a whole: its errors, an order, the longest way, what is left.

use std::collections::{BTreeMap, HashSet};

use super::{EdgeKind, Graph, OPTIONAL};
use crate::interner::NONE;
use crate::states::StepState;

/// One thing that is wrong with a graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Invalid {
    Duplicate {
        key: String,
    },
    Unknown {
        key: String,
        dependency: String,
        kind: &'static str,
    },
    /// Each step needs the next; the last is the first again.
    Cycle {
        path: Vec<String>,
    },
}

impl Invalid {
    pub fn message(&self) -> String {
        match self {
            Self::Duplicate { key } => format!("step {key} was added twice, with different terms"),
            Self::Unknown { key, dependency, .. } => {
                format!("step {key} needs {dependency}, which is not there")
            }
            Self::Cycle { path } => format!("cycle: {}", path.join(" needs ")),
        }
    }
}

/// Seconds that steps take, by name, as far as known.
pub(crate) struct Weights<'a> {
    pub known: &'a BTreeMap<String, f64>,
    /// For names that are not known.
    pub otherwise: f64,
}

/// Seconds per step on the longest way to the end, itself included, and the next step on that way.
struct Ways {
    rank: Vec<f64>,
    next: Vec<u32>,
}

impl Graph {
    /// Everything that is wrong, together.
    pub fn validate(&self) -> Vec<Invalid> {
        let text = |number: u32| self.key(number).to_owned();
        let mut errors: Vec<Invalid> =
            self.duplicates.iter().map(|number| Invalid::Duplicate { key: text(*number) }).collect();
        if self.added.len() < self.keys.len() as usize {
            let unknown = self
                .edges
                .iter()
                .filter(|edge| edge.word & 3 != OPTIONAL && !self.node(edge.word >> 2).is_there());
            errors.extend(unknown.map(|edge| Invalid::Unknown {
                key: text(edge.dependent),
                dependency: text(edge.word >> 2),
                kind: EdgeKind::ALL[(edge.word & 3) as usize].name(),
            }));
        }
        let order = self.sorted();
        if order.len() < self.added.len() {
            let cycles = self.cycles(&order);
            errors.extend(
                cycles.into_iter().map(|path| Invalid::Cycle { path: path.into_iter().map(text).collect() }),
            );
        }
        errors
    }

    /// Every step after its dependencies; shorter than the graph if there is a cycle.
    fn sorted(&self) -> Vec<u32> {
        if !self.forward {
            return self.added.clone();
        }
        let mut unmet = vec![0_u32; self.keys.len() as usize];
        for edge in &self.edges {
            unmet[edge.dependent as usize] += u32::from(self.node(edge.word >> 2).is_there());
        }
        let mut order: Vec<u32> = Vec::with_capacity(self.added.len());
        order.extend(self.added.iter().filter(|number| unmet[**number as usize] == 0));
        let mut at = 0;
        while at < order.len() {
            for edge in self.dependents(order[at]) {
                let left = &mut unmet[edge.dependent as usize];
                *left -= 1;
                if *left == 0 {
                    order.push(edge.dependent);
                }
            }
            at += 1;
        }
        order
    }

    /// Every step after its dependencies, or what is wrong.
    pub fn order(&self) -> Result<Vec<u32>, Vec<Invalid>> {
        let order = self.sorted();
        if order.len() == self.added.len() { Ok(order) } else { Err(self.validate()) }
    }

    /// At least one cycle of every knot of steps that need each other; no two share a step.
    fn cycles(&self, sorted: &[u32]) -> Vec<Vec<u32>> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        const TOLD: u8 = 3;
        let mut mark = vec![NEW; self.keys.len() as usize];
        for number in sorted {
            mark[*number as usize] = DONE;
        }
        let mut found = Vec::new();
        for root in &self.added {
            if mark[*root as usize] != NEW {
                continue;
            }
            let mut way = vec![(*root, 0)];
            mark[*root as usize] = OPEN;
            while let Some((number, at)) = way.last_mut() {
                let Some(edge) = self.dependencies(*number).get(*at) else {
                    let told = mark[*number as usize] == TOLD;
                    mark[*number as usize] = if told { TOLD } else { DONE };
                    way.pop();
                    continue;
                };
                *at += 1;
                let next = edge.word >> 2;
                match mark[next as usize] {
                    NEW if self.node(next).is_there() => {
                        mark[next as usize] = OPEN;
                        way.push((next, 0));
                    }
                    OPEN => {
                        let start = way.iter().rposition(|(number, _)| *number == next).unwrap_or(0);
                        let mut path: Vec<u32> = way[start..].iter().map(|(number, _)| *number).collect();
                        if path.iter().all(|number| mark[*number as usize] == OPEN) {
                            for number in &path {
                                mark[*number as usize] = TOLD;
                            }
                            path.push(next);
                            found.push(path);
                        }
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// The way by which a step that is about to be added would need itself. Only a key that others already need can close
    /// a cycle, so that nothing is searched for a step whose dependencies came first.
    pub fn cycle_closed_by(
        &self,
        number: u32,
        dependencies: impl Iterator<Item = u32> + Clone,
    ) -> Option<Vec<u32>> {
        if dependencies.clone().any(|dependency| dependency == number) {
            return Some(vec![number, number]);
        }
        if self.node(number).dependents == NONE {
            return None;
        }
        let mut seen: HashSet<u32> = HashSet::new();
        let mut way = Vec::new();
        for start in dependencies {
            way.push((start, 0));
            while let Some((at, next)) = way.last_mut() {
                let Some(edge) = self.dependencies(*at).get(*next) else {
                    way.pop();
                    continue;
                };
                *next += 1;
                let dependency = edge.word >> 2;
                if dependency == number {
                    let between = way.iter().map(|(number, _)| *number);
                    return Some([number].into_iter().chain(between).chain([number]).collect());
                }
                if seen.insert(dependency) {
                    way.push((dependency, 0));
                }
            }
        }
        None
    }

    fn weight(&self, number: u32, weights: &Weights<'_>) -> f64 {
        weights.known.get(self.name(number)).copied().unwrap_or(weights.otherwise)
    }

    fn ways(&self, order: &[u32], weight: impl Fn(u32) -> f64) -> Ways {
        let mut ways =
            Ways { rank: vec![0.0; self.keys.len() as usize], next: vec![NONE; self.keys.len() as usize] };
        for number in order.iter().rev() {
            let rank = ways.rank[*number as usize] + weight(*number);
            ways.rank[*number as usize] = rank;
            for edge in self.dependencies(*number) {
                let dependency = (edge.word >> 2) as usize;
                // Backwards, so that of equals the first in the order stays.
                if rank >= ways.rank[dependency] {
                    ways.rank[dependency] = rank;
                    ways.next[dependency] = *number;
                }
            }
        }
        ways
    }

    /// Upward rank of every step, in the order of adding: seconds from its start to the end of the run, at best.
    pub fn ranks(&self, weights: &Weights<'_>) -> Result<Vec<(u32, f64)>, Vec<Invalid>> {
        let ways = self.ways(&self.order()?, |number| self.weight(number, weights));
        Ok(self.added.iter().map(|number| (*number, ways.rank[*number as usize])).collect())
    }

    /// The longest way through the graph, and its seconds; of equal ones the first in the order.
    pub fn critical_path(&self, weights: &Weights<'_>) -> Result<(Vec<u32>, f64), Vec<Invalid>> {
        let ways = self.ways(&self.order()?, |number| self.weight(number, weights));
        let rank = |number: u32| ways.rank[number as usize];
        let longest = |best: Option<u32>, number: &u32| match best {
            Some(best) if rank(best) >= rank(*number) => Some(best),
            _ => Some(*number),
        };
        let Some(start) = self.added.iter().fold(None, longest) else {
            return Ok((Vec::new(), 0.0));
        };
        let next = |number: &u32| Some(ways.next[*number as usize]).filter(|next| *next != NONE);
        Ok((std::iter::successors(Some(start), next).collect(), rank(start)))
    }

    /// Seconds until the end: the longest way through what is not done, or the work shared by `slots` if that is more.
    pub fn remaining(&self, weights: &Weights<'_>, slots: u32, now: i64) -> Result<f64, Vec<Invalid>> {
        let left = |number: u32| match self.node(number).state {
            StepState::Pending | StepState::Queued => self.weight(number, weights),
            StepState::Running => {
                let since = self.started.get(&number).copied().unwrap_or(now);
                #[expect(clippy::cast_precision_loss, reason = "a duration in microseconds")]
                let ran = (now - since).max(0) as f64 / 1e6;
                (self.weight(number, weights) - ran).max(0.0)
            }
            _ => 0.0,
        };
        let ways = self.ways(&self.order()?, left);
        let longest = ways.rank.iter().copied().fold(0.0, f64::max);
        if slots == 0 {
            return Ok(longest);
        }
        let work: f64 = self.added.iter().map(|number| left(*number)).sum();
        Ok(longest.max(work / f64::from(slots)))
    }
}
